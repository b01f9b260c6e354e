//! The relay changes no byte, and breaks off where RFC 6455 says so. Both ends are raw sockets.

mod raw;

use raw::*;
use std::io::{ErrorKind, Write};
use std::thread;
use std::time::Duration;
use tokenist_kit::{PATIENCE, Tokenist, eventually};

const MB: usize = 1 << 20;

/// Frames of every shape, as `key` masks them.
fn shapes(key: Option<[u8; 4]>) -> Vec<Vec<u8>> {
    let mut shapes: Vec<Vec<u8>> =
        [0, 1, 2, 124, 125, 126, 127, 1_000, 65_534, 65_535, 65_536, 65_537, 300_000]
            .map(|length| frame(TEXT, &prose(length as u32, length), key))
            .into();
    shapes.push(frame(BINARY, &noise(7, 3 * MB), key));
    shapes.push(frame(TEXT, b"a message", Some(KEY).and(key).map(|_| [0; 4])));
    shapes.push(fragments(key));
    shapes.push(
        [frame(PING, b"", key), frame(PONG, &[b'p'; 125], key), frame(PING, &[0xff; 125], key)].concat(),
    );
    shapes
}

/// Messages in several frames, with control frames between them and empty frames among them.
fn fragments(key: Option<[u8; 4]>) -> Vec<u8> {
    [
        frame(0x01, b"{\"type\":", key),
        frame(PING, b"between", key),
        frame(0x00, b"", key),
        frame(0x00, b"\"x\"", key),
        frame(PONG, b"unasked", key),
        frame(FIN, b"}", key),
        // In the middle of a character.
        frame(0x01, b"\xf0\x9f", key),
        frame(PING, b"\xff", key),
        frame(0x00, b"\x9a", key),
        frame(FIN, b"\x82", key),
        frame(0x02, b"", key),
        frame(0x00, &noise(3, 70_000), key),
        frame(FIN, b"", key),
        frame(TEXT, b"whole", key),
    ]
    .concat()
}

#[test]
fn frames_of_every_shape_pass_byte_for_byte() {
    let provider = Upstream::start();
    let proxy = start(&provider.origin(), &[]);
    let (mut app, mut server) = provider.session(proxy.listen);
    for bytes in shapes(None) {
        // Who only writes and then only reads would wait for ever on what does not fit the sockets.
        thread::scope(|scope| {
            scope.spawn(|| server.send(&bytes));
            app.expect(&bytes, "down");
        });
    }
    for bytes in shapes(Some(KEY)) {
        thread::scope(|scope| {
            scope.spawn(|| app.send(&bytes));
            server.expect(&bytes, "up, masked as the application masked it");
        });
    }
}

#[test]
fn frames_pass_whatever_pieces_they_come_in() {
    let provider = Upstream::start();
    let proxy = start(&provider.origin(), &[]);
    let (mut app, mut server) = provider.session(proxy.listen);
    let short = |key| [frame(TEXT, &prose(1, 200), key), fragments(key), frame(BINARY, b"end", key)].concat();
    let (down, up) = (short(None), short(Some(KEY)));
    trickle(&mut server, &mut app, &down);
    trickle(&mut app, &mut server, &up);
    // Every split of a frame with each length of header.
    for (length, key) in [(5, None), (5, Some(KEY)), (300, None), (300, Some(KEY)), (66_000, Some(KEY))] {
        let bytes = frame(TEXT, &prose(2, length), key);
        let (from, to) = if key.is_some() { (&mut app, &mut server) } else { (&mut server, &mut app) };
        for split in 1..bytes.len().min(20) {
            from.send(&bytes[..split]);
            // The peer's answer proves that the first part has been read before the second is sent.
            to.send(frame(PING, b"?", key.xor(Some(KEY))));
            assert_eq!(from.frame().payload, b"?");
            from.send(&bytes[split..]);
            to.expect(&bytes, "split");
        }
    }
}

/// Sends the beginning and the end of `bytes` a byte at a time.
fn trickle(from: &mut Wire, to: &mut Wire, bytes: &[u8]) {
    let (head, tail) = (400, bytes.len() - 40);
    thread::scope(|scope| {
        scope.spawn(|| {
            from.trickle(&bytes[..head]);
            from.send(&bytes[head..tail]);
            from.trickle(&bytes[tail..]);
        });
        to.expect(bytes, "a byte at a time");
    });
}

#[test]
fn pings_pass_and_are_left_for_the_peer_to_answer() {
    let provider = Upstream::start();
    let proxy = start(&provider.origin(), &[]);
    let (mut app, mut server) = provider.session(proxy.listen);
    let (down, up) = (frame(PING, b"are you there?", None), frame(PONG, b"are you there?", Some(KEY)));
    server.send(&down);
    app.expect(&down, "a ping");
    app.send(&up);
    server.expect(&up, "its answer");
    let (up, down) = (frame(PING, b"", Some(KEY)), frame(PONG, b"", None));
    app.send(&up);
    server.expect(&up, "a ping");
    server.send(&down);
    app.expect(&down, "its answer");
}

#[test]
fn close_codes_and_reasons_pass_unchanged() {
    let provider = Upstream::start();
    let proxy = start(&provider.origin(), &[]);
    let long = "x".repeat(123);
    let codes = [1000, 1001, 1003, 1007, 1008, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4001, 4004, 4999];
    let mut payloads: Vec<Vec<u8>> =
        codes.iter().map(|code| close_payload(*code, "a reason, große")).collect();
    payloads.push(close_payload(4000, &long));
    payloads.push(Vec::new());
    for payload in payloads {
        let (down, up) = (frame(CLOSE, &payload, None), frame(CLOSE, &payload, Some(KEY)));
        let (mut app, mut server) = provider.session(proxy.listen);
        server.send(&down);
        app.expect(&down, "the provider's close");
        app.send(&up);
        server.expect(&up, "the application's answer");
        server.finish();
        app.expect_end();
        app.finish();
        server.expect_end();

        let (mut app, mut server) = provider.session(proxy.listen);
        app.send(&up);
        server.expect(&up, "the application's close");
        server.send(&down);
        app.expect(&down, "the provider's answer");
        server.finish();
        app.expect_end();
        app.finish();
        server.expect_end();
    }
}

fn close_payload(code: u16, reason: &str) -> Vec<u8> {
    [&code.to_be_bytes()[..], reason.as_bytes()].concat()
}

#[test]
fn an_application_that_stops_sending_still_hears() {
    let provider = Upstream::start();
    let proxy = start(&provider.origin(), &[]);
    let (mut app, mut server) = provider.session(proxy.listen);
    let last = frame(TEXT, b"{\"type\":\"response.create\"}", Some(KEY));
    app.send(&last);
    app.finish();
    server.expect(&last, "the last words");
    server.expect_end();
    let answer = [frame(TEXT, &prose(5, 200_000), None), close(1000, "", None)].concat();
    thread::scope(|scope| {
        scope.spawn(|| server.send(&answer));
        app.expect(&answer, "the answer");
    });
    server.finish();
    app.expect_end();
}

/// Sends until the other side's buffers are full, reads it all there, and compares.
fn saturate(proxy: &Tokenist, from: &mut Wire, to: &mut Wire, key: Option<[u8; 4]>) {
    const MESSAGES: usize = 100;
    let message = frame(BINARY, &noise(9, MB), key);
    from.stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let before = memory(proxy, "VmRSS");
    let mut sent = 0;
    while let Some(rest) = message[sent % message.len()..].chunks(64 * 1024).next() {
        match from.stream.write(rest) {
            Ok(count) => sent += count,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break,
            Err(error) => panic!("{error}"),
        }
        assert!(sent < 60 * MB, "a reader that does not read must stop the writer");
    }
    let grown = memory(proxy, "VmRSS").saturating_sub(before);
    assert!(grown < 4 * MB as u64, "{grown} bytes are kept for a slow reader");
    from.stream.set_write_timeout(Some(PATIENCE)).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            from.send(&message[sent % message.len()..]);
            (sent / message.len() + 1..MESSAGES).for_each(|_| from.send(&message));
        });
        (0..MESSAGES).for_each(|_| to.expect(&message, "100 MB"));
    });
    let grown = memory(proxy, "VmRSS").saturating_sub(before);
    assert!(grown < 4 * MB as u64, "{grown} bytes are kept after 100 MB");
}

#[test]
fn a_slow_reader_stops_the_writer_and_loses_nothing() {
    let provider = Upstream::start();
    let proxy = start(&provider.origin(), &[]);
    let (mut app, mut server) = provider.session(proxy.listen);
    // What a start takes is none of a slow reader's, and it goes on for a moment.
    settled_memory(&proxy);
    saturate(&proxy, &mut server, &mut app, None);
    saturate(&proxy, &mut app, &mut server, Some(KEY));
}

#[test]
fn messages_pass_up_to_the_bound_and_no_further() {
    let provider = Upstream::start();
    let proxy = start(&provider.origin(), &[("proxy.message_max_bytes", "1000000")]);
    let whole = |key| frame(TEXT, &prose(1, 1_000_000), key);
    let parts = |key| [frame(0x01, &prose(2, 600_000), key), frame(FIN, &prose(3, 400_000), key)].concat();
    // The headers alone; what they announce never comes.
    let too_big = |key| header(TEXT, 1_000_001, key);
    let too_many = |key| [frame(0x01, &prose(4, 600_000), key), header(FIN, 400_001, key)].concat();
    let giant = |key| header(BINARY, 100 << 20, key);
    for passing in [whole, parts] {
        let (mut app, mut server) = provider.session(proxy.listen);
        let (down, up) = (passing(None), passing(Some(KEY)));
        thread::scope(|scope| {
            scope.spawn(|| server.send(&down));
            app.expect(&down, "as long as may be");
        });
        thread::scope(|scope| {
            scope.spawn(|| app.send(&up));
            server.expect(&up, "as long as may be");
        });
    }
    for (refused, passed) in [(too_big(None), 0), (too_many(None), 600_010), (giant(None), 0)] {
        let (mut app, mut server) = provider.session(proxy.listen);
        server.send(&refused);
        app.expect(&refused[..passed], "what may pass");
        if passed == 0 {
            assert_eq!(app.refusal(), ("upstream_failed".to_owned(), 4502));
        } else {
            // Inside a message no event can be told.
            assert_eq!(app.frame().close_code(), 4502);
        }
        app.expect_end();
        let told = server.frame();
        assert_eq!((told.close_code(), told.close_reason()), (1009, "a message is too big"));
        server.expect_end();
    }
    for (refused, passed) in [(too_big(Some(KEY)), 0), (too_many(Some(KEY)), 600_014), (giant(Some(KEY)), 0)]
    {
        let (mut app, mut server) = provider.session(proxy.listen);
        app.send(&refused);
        server.expect(&refused[..passed], "what may pass");
        let told = app.frame();
        assert_eq!((told.close_code(), told.close_reason()), (1009, "Message is larger than 1000000 bytes"));
        app.expect_end();
        assert_eq!(server.frame().close_code(), 1000);
    }
}

/// A way to break RFC 6455.
struct Illegal {
    what: String,
    /// What comes before it and goes on.
    passing: Vec<u8>,
    /// No byte of this goes on.
    bytes: Vec<u8>,
    /// What whoever sent it is told.
    code: u16,
}

/// Everything that whoever masks with `key`, or not at all, may not send.
fn illegal(key: Option<[u8; 4]>) -> Vec<Illegal> {
    let wrong = key.xor(Some(KEY));
    let closing = |payload: &[u8]| frame(CLOSE, payload, key);
    let mut rows: Vec<(String, u16, Vec<u8>, Vec<u8>)> = Vec::new();
    let mut row =
        |what: &str, code, passing: Vec<u8>, bytes| rows.push((what.to_owned(), code, passing, bytes));
    for bits in [0x10, 0x20, 0x40, 0x70] {
        for opcode in [TEXT, BINARY, PING, PONG, CLOSE] {
            row(
                &format!("reserved bits {bits:#x} on {opcode:#x}"),
                1002,
                vec![],
                frame(opcode | bits, b"", key),
            );
        }
    }
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        row(&format!("reserved opcode {opcode}"), 1002, vec![], frame(FIN | opcode, b"x", key));
        row(&format!("reserved opcode {opcode}, begun"), 1002, vec![], frame(opcode, b"", key));
    }
    for (name, opcode) in
        [("text", TEXT), ("binary", BINARY), ("ping", PING), ("pong", PONG), ("close", CLOSE)]
    {
        row(&format!("{name}, masked as the other side masks"), 1002, vec![], frame(opcode, b"", wrong));
    }
    for (name, opcode) in [("ping", PING), ("pong", PONG), ("close", CLOSE)] {
        row(&format!("fragmented {name}"), 1002, vec![], frame(opcode & !FIN, b"", key));
        row(&format!("{name} of 126 bytes"), 1002, vec![], frame(opcode, &[3; 126], key));
        row(&format!("{name} of 70000 bytes"), 1002, vec![], header(opcode, 70_000, key));
    }
    row("continuation of nothing", 1002, vec![], frame(FIN, b"x", key));
    row("continuation of nothing, begun", 1002, vec![], frame(0x00, b"x", key));
    row("continuation of a message that is over", 1002, frame(TEXT, b"over", key), frame(FIN, b"x", key));
    for (name, begun) in [("text", 0x01), ("binary", 0x02)] {
        let first = || [frame(begun, b"begun", key), frame(PING, b"between", key)].concat();
        row(&format!("text inside {name}"), 1002, first(), frame(TEXT, b"x", key));
        row(&format!("begun binary inside {name}"), 1002, first(), frame(0x02, b"x", key));
        row(&format!("reserved bit inside {name}"), 1002, first(), frame(0x90, b"x", key));
    }
    row("length with its top bit", 1002, vec![], header(TEXT, 1 << 63, key));
    let second = if key.is_some() { 0xfe } else { 126 };
    row("length longer than needed", 1002, vec![], [&[TEXT, second, 0, 5][..], &KEY].concat());
    row("close of one byte", 1002, vec![], closing(&[3]));
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
        row(&format!("close with {code}"), 1002, vec![], closing(&close_payload(code, "a reason")));
    }
    for reason in [&b"\x03\xe8\xff"[..], b"\x03\xe8so far \xe2\x82", b"\x0f\xa0\xed\xa0\x80"] {
        row("close with a reason that is no text", 1007, vec![], closing(reason));
    }
    for text in [&b"\xff"[..], b"{\x80}", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"cut \xe2\x82"]
    {
        row(&format!("{text:x?} as text"), 1007, vec![], frame(TEXT, text, key));
        let padded = [&prose(1, 1_022), text, b"?"].concat();
        row(&format!("{text:x?} as a piece of text"), 1007, vec![], frame(TEXT, &padded, key));
    }
    let begun = |text: &[u8]| frame(0x01, text, key);
    row("a character that its next fragment breaks", 1007, begun(b"\xc3"), frame(0x00, b"x", key));
    row("a character that its last fragment breaks", 1007, begun(b"\xe2\x82"), frame(FIN, b"\x28", key));
    row("a character that never ends", 1007, begun(b"\xe2\x82"), frame(FIN, b"", key));
    // What cannot become one is told before it is whole.
    row("no character, in fragments", 1007, begun(b"\xf4"), frame(0x00, b"\x90", key));
    rows.into_iter().map(|(what, code, passing, bytes)| Illegal { what, code, passing, bytes }).collect()
}

#[test]
fn an_application_that_breaks_the_protocol_is_told_that_and_nothing_else() {
    let provider = Upstream::start();
    let proxy = start(&provider.origin(), &[]);
    let before = frame(TEXT, b"{}", Some(KEY));
    for Illegal { what, passing, bytes, code } in illegal(Some(KEY)) {
        let (mut app, mut server) = provider.session(proxy.listen);
        app.send([&before[..], &passing, &bytes].concat());
        server.expect(&[&before[..], &passing].concat(), &what);
        let told = app.frame();
        assert_eq!(told.close_code(), code, "{what}");
        assert!(told.close_reason().starts_with("WebSocket protocol error: "), "{what}: {told:?}");
        app.expect_end();
        let told = server.frame();
        assert_eq!((told.close_code(), told.key.is_some()), (1000, true), "{what}");
    }
    // Nothing of the provider's goes before it, either, nor does it wait for a message to end.
    let (mut app, mut server) = provider.session(proxy.listen);
    let begun = frame(0x01, b"begun", None);
    server.send(&begun);
    app.expect(&begun, "a message that does not end");
    app.send(frame(0x83, b"", Some(KEY)));
    assert_eq!(app.frame().close_code(), 1002);
    app.expect_end();
}

#[test]
fn a_provider_that_breaks_the_protocol_is_told_that_and_has_failed() {
    let provider = Upstream::start();
    let proxy = start(&provider.origin(), &[]);
    let before = frame(TEXT, b"{}", None);
    let rows = illegal(None);
    let count = rows.len() as f64;
    for Illegal { what, passing, bytes, code } in rows {
        let (mut app, mut server) = provider.session(proxy.listen);
        server.send([&before[..], &passing, &bytes].concat());
        app.expect(&[&before[..], &passing].concat(), &what);
        // Inside a message no event can be told.
        let inside = passing.first().is_some_and(|first| first & FIN == 0);
        let told = if inside { app.frame().close_code() } else { app.failure(&what) };
        assert_eq!(told, 4502, "{what}");
        app.expect_end();
        let told = server.frame();
        assert_eq!((told.close_code(), told.key.is_some()), (code, true), "{what}");
        assert!(!told.close_reason().is_empty(), "{what}");
    }
    assert_eq!(proxy.metric("tokenist_upstream_failures_total"), Some(count));
}

#[test]
fn nothing_is_heard_of_a_side_that_has_said_goodbye() {
    let provider = Upstream::start();
    let proxy = start(&provider.origin(), &[]);
    let (mut app, mut server) = provider.session(proxy.listen);
    let goodbye = close(1000, "", Some(KEY));
    app.send([&goodbye[..], &frame(TEXT, b"more", Some(KEY)), &[0xf1, 0xf1]].concat());
    server.expect(&goodbye, "the goodbye");
    let answer = close(1000, "", None);
    server.send([&answer[..], &frame(TEXT, b"more", None), &[0xf1, 0xf1]].concat());
    app.expect(&answer, "its answer");
    server.finish();
    app.expect_end();
    app.finish();
    server.expect_end();
}

#[test]
fn a_provider_that_dies_is_told_of() {
    let provider = Upstream::start();
    let proxy = start(&provider.origin(), &[]);
    let event = frame(TEXT, b"{}", None);
    for reset in [false, true] {
        let (mut app, mut server) = provider.session(proxy.listen);
        server.send(&event);
        app.expect(&event, "an event");
        if reset {
            server.reset();
        } else {
            drop(server);
        }
        assert_eq!(app.refusal(), ("upstream_failed".to_owned(), 4502), "reset: {reset}");
        app.expect_end();
    }
    // Between the frames of a message only a close fits, inside a frame nothing does.
    let (mut app, mut server) = provider.session(proxy.listen);
    let begun = frame(0x01, b"begun", None);
    server.send(&begun);
    app.expect(&begun, "a fragment");
    drop(server);
    assert_eq!(app.frame().close_code(), 4502);
    app.expect_end();
    let (mut app, mut server) = provider.session(proxy.listen);
    let begun = &frame(TEXT, &prose(1, 300_000), None)[..200_000];
    server.send(begun);
    drop(server);
    app.expect(begun, "part of a frame");
    app.expect_end();
}

#[test]
fn an_application_that_dies_takes_the_session_with_it() {
    let provider = Upstream::start();
    let proxy = start(&provider.origin(), &[]);
    let (app, mut server) = provider.session(proxy.listen);
    app.reset();
    server.expect_end();
    // One that is gone without a word is noticed when it is written to.
    let (app, mut server) = provider.session(proxy.listen);
    drop(app);
    server.expect_end();
    let event = frame(TEXT, b"{}", None);
    let sessions = || {
        // Who is left behind may find out by this, too.
        server.stream.write_all(&event).ok();
        proxy.get("/admin/sessions")["total"].clone()
    };
    assert_eq!(eventually(PATIENCE, sessions, |total| *total == 0), 0);
}

#[test]
fn our_pings_keep_the_living_and_end_the_dead() {
    let provider = Upstream::start();
    let proxy = start(&provider.origin(), &[("proxy.ping_seconds", "1")]);
    let (mut app, mut server) = provider.session(proxy.listen);
    let down = app.frame();
    assert_eq!((down.first, down.key, &down.payload[..]), (PING, None, &b"tokenist"[..]));
    let up = server.frame();
    assert_eq!((up.first, &up.payload[..]), (PING, &b"tokenist"[..]));
    assert!(up.key.is_some(), "what goes to the provider is masked");
    // Answers to us go no further; the frames around them do.
    let text = |key| frame(TEXT, b"{}", key);
    let pong = |key| frame(PONG, b"tokenist", key);
    app.send([text(Some(KEY)), pong(Some(KEY)), text(Some(KEY))].concat());
    server.expect(&[text(Some(KEY)), text(Some(KEY))].concat(), "without the pong");
    server.send([text(None), pong(None), text(None)].concat());
    app.expect(&[text(None), text(None)].concat(), "without the pong");
}

#[test]
fn a_peer_that_answers_no_ping_is_taken_for_dead() {
    let provider = Upstream::start();
    let proxy = start(&provider.origin(), &[("proxy.ping_seconds", "1")]);
    // A dead application: the provider's connection ends.
    let (_app, mut server) = provider.session(proxy.listen);
    answer_pings(&mut server, None);
    // A dead provider: the application is told.
    let (mut app, _server) = provider.session(proxy.listen);
    assert_eq!(answer_pings(&mut app, Some(KEY)).map(|event| event.first), Some(TEXT));
    assert_eq!(app.frame().close_code(), 4502);
    app.expect_end();
}

/// Sends messages until no more are taken; no less than a moment passes without any.
fn fill(wire: &mut Wire, key: Option<[u8; 4]>) {
    let message = frame(BINARY, &noise(4, 1_000), key);
    wire.stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    while wire.stream.write_all(&message).is_ok() {}
    wire.stream.set_write_timeout(Some(PATIENCE)).unwrap();
}

/// Says something now and then, without listening, until the other side has done what it does.
fn chatter(wire: &Wire, key: Option<[u8; 4]>, others: impl FnOnce() + Send) {
    thread::scope(|scope| {
        let others = scope.spawn(others);
        while !others.is_finished() {
            // It may be over.
            (&wire.stream).write_all(&frame(TEXT, b"{}", key)).ok();
            thread::sleep(Duration::from_millis(100));
        }
        others.join().unwrap();
    });
}

#[test]
fn an_application_that_talks_and_does_not_read_is_named_and_not_the_provider() {
    let provider = Upstream::start();
    let proxy = start(&provider.origin(), &[("proxy.ping_seconds", "1")]);
    let (mut app, mut server) = provider.session(proxy.listen);
    fill(&mut server, None);
    chatter(&app, Some(KEY), || {
        let told =
            std::iter::from_fn(|| server.next_frame()).find(|frame| ![TEXT, PING].contains(&frame.first));
        assert_eq!(told.map(|close| close.close_code()), Some(1000), "the provider did nothing wrong");
    });
    // It reads in time to be told.
    let told = std::iter::from_fn(|| app.next_frame()).find(|frame| ![BINARY, PING].contains(&frame.first));
    let event: serde_json::Value = serde_json::from_slice(&told.expect("a last event").payload).unwrap();
    assert_eq!(event["error"]["code"], "not_reading", "{event}");
    assert_eq!(app.frame().close_code(), 4008);
    app.expect_end();
    assert_eq!(proxy.metric("tokenist_upstream_failures_total"), Some(0.0));
    proxy.logged("downstream failed in relay: it takes nothing of what it is sent");
}

#[test]
fn a_provider_that_talks_and_does_not_read_is_named_and_not_the_application() {
    let provider = Upstream::start();
    let proxy = start(&provider.origin(), &[("proxy.ping_seconds", "1")]);
    let (mut app, server) = provider.session(proxy.listen);
    fill(&mut app, Some(KEY));
    chatter(&server, None, || {
        let told = std::iter::from_fn(|| app.next_frame()).find(|frame| frame.payload.len() > 8);
        let event: serde_json::Value = serde_json::from_slice(&told.expect("a last event").payload).unwrap();
        assert_eq!(event["error"]["code"], "upstream_failed", "{event}");
        assert_eq!(app.frame().close_code(), 4502);
    });
    assert_eq!(proxy.metric("tokenist_upstream_failures_total"), Some(1.0));
    proxy.logged("upstream failed in relay: it takes nothing of what it is sent");
}

#[test]
fn whoever_reads_slowly_and_says_nothing_is_left_alone() {
    let provider = Upstream::start();
    let proxy = start(&provider.origin(), &[("proxy.ping_seconds", "1")]);
    let (mut app, mut server) = provider.session(proxy.listen);
    let message = frame(BINARY, &noise(9, MB - 10), None);
    thread::scope(|scope| {
        scope.spawn(|| (0..24).for_each(|_| server.send(&message)));
        // Long enough for a side that is judged by its words to be ended; our pings wait behind all this.
        for _ in 0..4 {
            app.skip_pings();
            for piece in message.chunks(MB / 8) {
                app.expect(piece, "slowly");
                thread::sleep(Duration::from_millis(200));
            }
        }
        for _ in 4..24 {
            app.skip_pings();
            app.expect(&message, "the rest");
        }
    });
    server.send(frame(TEXT, b"{}", None));
    app.skip_pings();
    app.expect(&frame(TEXT, b"{}", None), "what comes after");
}

/// Answers our pings; gives the first frame that is none, if one comes before the end.
fn answer_pings(wire: &mut Wire, key: Option<[u8; 4]>) -> Option<Frame> {
    loop {
        match wire.next_frame()? {
            ping if ping.first == PING => wire.send(frame(PONG, &ping.payload, key)),
            other => return Some(other),
        }
    }
}

#[test]
fn extensions_are_never_negotiated() {
    let provider = Upstream::start();
    let proxy = start(&provider.origin(), &[]);
    let mut app = Wire::connect(proxy.listen);
    let offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits";
    app.send(upgrade(&["Authorization: Bearer sk-test", "x-user-id: alice", offer]));
    let mut server = provider.accept();
    assert!(!server.head().to_lowercase().contains("extensions"));
    server.send(switching(&[]));
    assert!(!app.answer().head.to_lowercase().contains("extensions"));
    // A provider that takes what was not offered cannot be understood.
    let mut app = Wire::connect(proxy.listen);
    app.send(upgrade(&["Authorization: Bearer sk-test", "x-user-id: alice", offer]));
    let mut server = provider.accept();
    server.head();
    server.send(switching(&["Sec-WebSocket-Extensions: permessage-deflate"]));
    assert_eq!(app.answer().status, 101);
    assert_eq!(app.refusal(), ("upstream_failed".to_owned(), 4502));
}

#[test]
fn a_subprotocol_is_answered_but_never_the_one_with_the_key() {
    let provider = Upstream::start();
    let proxy = start(&provider.origin(), &[]);
    let key = "openai-insecure-api-key.sk-browser";
    for (offered, sent, chosen, answered) in [
        (format!("realtime, {key}"), Some("realtime"), Some("realtime"), Some("realtime")),
        (format!("realtime, {key}"), Some("realtime"), None, Some("realtime")),
        (format!("realtime, {key}"), Some("realtime"), Some(key), Some("realtime")),
        (format!("realtime,{key},openai-organization.org-1"), Some("realtime"), None, Some("realtime")),
        (format!("{key}, mine"), Some("mine"), Some("mine"), Some("mine")),
        (key.to_owned(), None, None, None),
    ] {
        let mut app = Wire::connect(proxy.listen);
        app.send(upgrade(&["x-user-id: alice", &format!("Sec-WebSocket-Protocol: {offered}")]));
        let mut server = provider.accept();
        let request = server.head();
        let value = |head: &str| {
            let line = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Protocol: "));
            line.map(str::to_owned)
        };
        assert_eq!(value(&request).as_deref(), sent, "{request}");
        assert!(request.contains("Authorization: Bearer sk-browser\r\n") && !request.contains("insecure"));
        assert_eq!(request.contains("OpenAI-Organization: org-1\r\n"), offered.contains("org-1"));
        let header = chosen.map(|chosen| format!("Sec-WebSocket-Protocol: {chosen}"));
        server.send(switching(&header.iter().map(String::as_str).collect::<Vec<_>>()));
        assert_eq!(value(&app.answer().head).as_deref(), answered, "offered {offered}, chosen {chosen:?}");
    }
}

#[test]
fn what_comes_with_the_handshake_is_not_lost() {
    let provider = Upstream::start();
    let proxy = start(&provider.origin(), &[]);
    let early = |key| [frame(TEXT, b"{\"type\":\"session.created\"}", key), fragments(key)].concat();
    let mut app = Wire::connect(proxy.listen);
    let request = upgrade(&["Authorization: Bearer sk-test", "x-user-id: alice"]);
    app.send([request.as_bytes(), &early(Some(KEY))].concat());
    let mut server = provider.accept();
    server.head();
    // More than any buffer holds, before anybody has answered.
    let large = frame(BINARY, &noise(6, MB), Some(KEY));
    thread::scope(|scope| {
        scope.spawn(|| app.send(&large));
        server.send([switching(&[]).as_bytes(), &early(None)].concat());
        server.expect(&[early(Some(KEY)), large.clone()].concat(), "behind the request");
    });
    assert_eq!(app.answer().status, 101);
    app.expect(&early(None), "behind the 101");
}
