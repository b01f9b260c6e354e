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
            .map(|length| frame(TEXT, &noise(length as u32, length), key))
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
    let short = |key| [frame(TEXT, &noise(1, 200), key), fragments(key), frame(BINARY, b"end", key)].concat();
    let (down, up) = (short(None), short(Some(KEY)));
    trickle(&mut server, &mut app, &down);
    trickle(&mut app, &mut server, &up);
    // Every split of a frame with each length of header.
    for (length, key) in [(5, None), (5, Some(KEY)), (300, None), (300, Some(KEY)), (66_000, Some(KEY))] {
        let bytes = frame(TEXT, &noise(2, length), key);
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
    let answer = [frame(TEXT, &noise(5, 200_000), None), close(1000, "", None)].concat();
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
    saturate(&proxy, &mut server, &mut app, None);
    saturate(&proxy, &mut app, &mut server, Some(KEY));
}

#[test]
fn messages_pass_up_to_the_bound_and_no_further() {
    let provider = Upstream::start();
    let proxy = start(&provider.origin(), &[("proxy.message_max_bytes", "1000000")]);
    let whole = |key| frame(TEXT, &noise(1, 1_000_000), key);
    let parts = |key| [frame(0x01, &noise(2, 600_000), key), frame(FIN, &noise(3, 400_000), key)].concat();
    // The headers alone; what they announce never comes.
    let too_big = |key| header(TEXT, 1_000_001, key);
    let too_many = |key| [frame(0x01, &noise(4, 600_000), key), header(FIN, 400_001, key)].concat();
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
            assert_eq!(app.refusal(), ("message_too_big".to_owned(), 1009));
        } else {
            // Inside a message no event can be told.
            assert_eq!(app.frame().close_code(), 1009);
        }
        app.expect_end();
        assert_eq!(server.frame().close_code(), 1000);
        server.expect_end();
    }
    for (refused, passed) in [(too_big(Some(KEY)), 0), (too_many(Some(KEY)), 600_014), (giant(Some(KEY)), 0)]
    {
        let (mut app, mut server) = provider.session(proxy.listen);
        app.send(&refused);
        server.expect(&refused[..passed], "what may pass");
        assert_eq!(app.refusal(), ("message_too_big".to_owned(), 1009));
        app.expect_end();
        assert_eq!(server.frame().close_code(), 1000);
    }
}

#[test]
fn frames_that_break_the_protocol_end_the_session_with_1002() {
    let provider = Upstream::start();
    let proxy = start(&provider.origin(), &[]);
    let violations = |key: Option<[u8; 4]>| {
        let wrong = key.xor(Some(KEY));
        [
            ("RSV1", frame(0xc1, b"x", key)),
            ("RSV2", frame(0xa1, b"x", key)),
            ("RSV3 on a ping", frame(0x99, b"x", key)),
            ("wrong mask", frame(TEXT, b"x", wrong)),
            ("wrong mask on a ping", frame(PING, b"x", wrong)),
            ("reserved opcode 3", frame(0x83, b"x", key)),
            ("reserved opcode 11", frame(0x8b, b"x", key)),
            ("reserved opcode 15", frame(0x8f, b"x", key)),
            ("fragmented ping", frame(0x09, b"x", key)),
            ("fragmented close", frame(0x08, &close_payload(1000, ""), key)),
            ("126 bytes of ping", frame(PING, &[b'x'; 126], key)),
            ("126 bytes of close", frame(CLOSE, &[3; 126], key)),
            ("close with one byte", frame(CLOSE, &[3], key)),
            ("continuation of nothing", frame(FIN, b"x", key)),
            ("length with its top bit", header(TEXT, 1 << 63, key)),
            (
                "length longer than needed",
                [&[TEXT, if key.is_some() { 0xfe } else { 126 }, 0, 5][..], &KEY].concat(),
            ),
        ]
    };
    for (what, bytes) in violations(None) {
        let (mut app, mut server) = provider.session(proxy.listen);
        let before = frame(TEXT, b"{}", None);
        server.send([&before[..], &bytes].concat());
        app.expect(&before, "what came before");
        assert_eq!(app.refusal(), ("protocol_error".to_owned(), 1002), "{what}, from the provider");
        app.expect_end();
        let told = server.frame();
        assert_eq!((told.close_code(), told.key.is_some()), (1000, true), "{what}");
    }
    for (what, bytes) in violations(Some(KEY)) {
        let (mut app, mut server) = provider.session(proxy.listen);
        let before = frame(TEXT, b"{}", Some(KEY));
        app.send([&before[..], &bytes].concat());
        server.expect(&before, "what came before");
        assert_eq!(app.refusal(), ("protocol_error".to_owned(), 1002), "{what}, from the application");
        app.expect_end();
        let told = server.frame();
        assert_eq!((told.close_code(), told.key.is_some()), (1000, true), "{what}");
    }
    // Inside a message, where no event can be told: the close alone.
    let (mut app, mut server) = provider.session(proxy.listen);
    let begun = frame(0x01, b"begun", None);
    server.send([&begun[..], &frame(TEXT, b"another", None)].concat());
    app.expect(&begun, "what came before");
    assert_eq!(app.frame().close_code(), 1002);
    app.expect_end();
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
    let begun = &frame(TEXT, &noise(1, 300_000), None)[..200_000];
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
