//! Requests and answers beside sessions, in whichever framing they come and however slowly: what passes, and what two parsers could
//! read differently.

mod raw;

use raw::http::*;
use raw::*;
use std::net::Shutdown;
use std::thread;

const MB: usize = 1 << 20;

#[test]
fn bodies_pass_whatever_frames_them() {
    let (provider, proxy) = open(&[]);
    let mut app = Wire::connect(proxy.listen);
    let (small, large) = (noise(1, 1_000), noise(2, 3 * MB));
    let mut extended = b"4;name=\"value\"\r\n".to_vec();
    extended.extend([&small[..4], b"\r\n3e4 ".strip_suffix(b" ").unwrap(), b"\r\n", &small[4..]].concat());
    extended.extend(b"\r\n000\r\nTrailer: x\r\n\r\n");
    let pieces: Vec<&[u8]> = large.chunks(70_001).collect();
    for (headers, wire, body) in [
        (&["Content-Length: 1000"][..], small.clone(), &small),
        (&["Content-Length: 3145728"], large.clone(), &large),
        (&["Transfer-Encoding: chunked"], chunked(&[&small]), &small),
        (&["Transfer-Encoding: chunked"], extended, &small),
        (&["Transfer-Encoding: chunked"], chunked(&pieces), &large),
        (&["Transfer-Encoding: chunked"], chunked(&[]), &Vec::new()),
        (&["Content-Length: 0"], Vec::new(), &Vec::new()),
    ] {
        // A large one is sent on before it is whole, on a connection of its own.
        let (answer, asked) = thread::scope(|scope| {
            scope
                .spawn(|| {
                    let mut server = provider.accept();
                    let asked = message(&mut server);
                    server.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
                    asked
                })
                .join_with(|| {
                    app.send(ask("POST /v1/files", headers));
                    app.send(&wire);
                    message(&mut app)
                })
        });
        assert_eq!(answer.status, 200);
        assert!(asked.body == *body, "{headers:?}: {} of {} bytes came", asked.body.len(), body.len());
        assert_eq!(asked.header("trailer"), None);
    }
}

/// Runs something beside a thread, and gives what both gave.
trait JoinWith<T> {
    fn join_with<U>(self, beside: impl FnOnce() -> U) -> (U, T);
}

impl<T> JoinWith<T> for thread::ScopedJoinHandle<'_, T> {
    fn join_with<U>(self, beside: impl FnOnce() -> U) -> (U, T) {
        let here = beside();
        (here, self.join().unwrap())
    }
}

#[test]
fn answers_pass_whatever_frames_them() {
    let (provider, proxy) = open(&[]);
    let large = noise(3, 2 * MB);
    let pieces: Vec<&[u8]> = large.chunks(100_000).collect();
    let until_close = [&b"HTTP/1.0 200 OK\r\n\r\n"[..], &large].concat();
    let length =
        [format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", large.len()).as_bytes(), &large].concat();
    let head = |lines: &str| format!("HTTP/1.1 200 OK\r\n{lines}\r\n").into_bytes();
    let chunks = [head("Transfer-Encoding: chunked\r\n"), chunked(&pieces)].concat();
    let odd =
        [head("Transfer-Encoding: chunked\r\n"), b"3;x=y\r\nabc\r\n0\r\nT: v\r\n\r\n".to_vec()].concat();
    for (method, wire, body, ends) in [
        ("GET", length, &large, false),
        ("GET", chunks, &large, false),
        ("GET", odd, &b"abc".to_vec(), false),
        ("GET", until_close, &large, true),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(), &Vec::new(), false),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n".to_vec(), &Vec::new(), false),
        ("HEAD", head("Content-Length: 9\r\n"), &Vec::new(), false),
        ("HEAD", head("Transfer-Encoding: chunked\r\n"), &Vec::new(), false),
    ] {
        let (mut app, mut server) = provider.asked(proxy.listen, ask(&format!("{method} /v1/files"), &[]));
        thread::scope(|scope| {
            scope.spawn(|| {
                server.send(&wire);
                if ends {
                    server.stream.shutdown(Shutdown::Both).unwrap();
                }
            });
            match body.is_empty() {
                true => drop(app.head()),
                false => assert!(message(&mut app).body == *body, "{}", String::from_utf8_lossy(&wire[..40])),
            }
        });
        // The connection is where it should be: the next answer is read as one.
        app.send(ask("GET /next", &["Connection: close"]));
        let mut next = if ends { provider.accept() } else { server };
        message(&mut next);
        next.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nnext");
        assert_eq!(message(&mut app).body, b"next", "{method}");
        app.expect_end();
    }
}

#[test]
fn an_old_client_is_answered_in_its_own_words() {
    let (provider, proxy) = open(&[]);
    let mut app = Wire::connect(proxy.listen);
    app.send(ask("GET /v1/files", &[]).replace("HTTP/1.1", "HTTP/1.0"));
    let mut server = provider.accept();
    assert!(message(&mut server).head.contains("HTTP/1.1"));
    server.send(
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec(), chunked(&[b"a", b"b"])].concat(),
    );
    let head = app.head();
    assert!(!head.to_ascii_lowercase().contains("transfer-encoding"), "{head}");
    assert_eq!(app.rest(), b"ab", "it ends with the connection");
}

/// Every request that two parsers could read differently is refused, and nothing of it goes up.
#[test]
fn what_could_be_read_in_two_ways_is_refused_before_a_provider_is_asked() {
    let (provider, proxy) = open(&[]);
    let both = ["Content-Length: 4", "Transfer-Encoding: chunked"];
    for (headers, body) in [
        (&both[..], "0\r\n\r\n"),
        (&["Content-Length: 4", "Content-Length: 5"], "abcde"),
        (&["Content-Length: 4", "Content-Length: 4"], "abcd"),
        (&["Content-Length: 4, 4"], "abcd"),
        (&["Content-Length: +4"], "abcd"),
        (&["Content-Length: 0x4"], "abcd"),
        (&["Content-Length: 99999999999999999999"], "abcd"),
        (&["Transfer-Encoding: gzip, chunked"], "0\r\n\r\n"),
        (&["Transfer-Encoding: identity"], ""),
        (&["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"], "0\r\n\r\n"),
        (&["Transfer-Encoding : chunked"], "0\r\n\r\n"),
        (&["Transfer-Encoding:\r\n chunked"], "0\r\n\r\n"),
        (&["Content-Length: 1\nX: y"], "a"),
        (&["X: y\n", "Content-Length: 1"], "a"),
        (&["X: y\rZ: w", "Content-Length: 1"], "a"),
        (&["Transfer-Encoding: chunked"], "4\nabcd\r\n0\r\n\r\n"),
        (&["Transfer-Encoding: chunked"], "4;a\nb\r\nabcd\r\n0\r\n\r\n"),
        (&["Transfer-Encoding: chunked"], "4\r\nabcde\r\n0\r\n\r\n"),
        (&["Transfer-Encoding: chunked"], "+4\r\nabcd\r\n0\r\n\r\n"),
        (&["Transfer-Encoding: chunked"], "0x4\r\nabcd\r\n0\r\n\r\n"),
        (&["Transfer-Encoding: chunked"], "4 \r\nabcd\r\n0\r\n\r\n"),
        (&["Transfer-Encoding: chunked"], "10000000000000004\r\nabcd\r\n0\r\n\r\n"),
        (&["Transfer-Encoding: chunked"], "0\r\nbad trailer\r\n\r\n"),
    ] {
        let mut app = Wire::connect(proxy.listen);
        app.send(ask("POST /v1/files", headers) + body + &ask("GET /smuggled", &[]));
        let answer = app.answer();
        assert_eq!(answer.status, 400, "{headers:?} {body:?}: {answer:?}");
        assert!(answer.head.contains("Connection: close"), "{answer:?}");
        assert!(provider.poll().is_none(), "{headers:?} {body:?}");
    }
    let mut old = Wire::connect(proxy.listen);
    old.send(
        ask("POST /v1/files", &["Transfer-Encoding: chunked"]).replace("HTTP/1.1", "HTTP/1.0") + "0\r\n\r\n",
    );
    assert_eq!(old.answer().status, 400);
}

#[test]
fn a_body_that_goes_wrong_on_its_way_takes_its_request_along() {
    let (provider, proxy) = open(&[]);
    let (mut app, mut server) = provider
        .asked(proxy.listen, ask("POST /v1/files", &["Transfer-Encoding: chunked"]) + "4\r\nabcd\r\n");
    server.expect(b"4\r\nabcd\r\n", "what is sound goes on");
    app.send("5\nabcde\r\n");
    assert_eq!(app.answer().status, 400);
    server.expect_end();
}

#[test]
fn slow_ends_are_served_byte_by_byte() {
    let (provider, proxy) = open(&[]);
    let mut app = Wire::connect(proxy.listen);
    app.trickle(ask("POST /v1/files", &["Transfer-Encoding: chunked"]).as_bytes());
    app.trickle(&chunked(&[b"slow", b"ly"]));
    let mut server = provider.accept();
    assert_eq!(message(&mut server).body, b"slowly");
    server
        .trickle(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: text/event-stream\r\n\r\n");
    for piece in ["data: 1\n\n", "data: 2\n\n"] {
        server.trickle(&chunked(&[piece.as_bytes()])[..piece.len() + 5]);
    }
    let head = app.head();
    assert!(head.contains("text/event-stream"));
    let mut body = Vec::new();
    while body.len() < 18 {
        let size = chunk_size(&mut app);
        body.extend(app.read(size));
        app.read(2);
    }
    assert_eq!(body, b"data: 1\n\ndata: 2\n\n", "before the provider has ended its answer");
    server.send("0\r\n\r\n");
    app.expect(b"0\r\n\r\n", "the end");
}

#[test]
fn a_client_that_waits_for_a_word_gets_it_if_it_may_ask() {
    let (provider, proxy) = open(&[]);
    let mut app = Wire::connect(proxy.listen);
    app.send(ask("POST /v1/files", &["Content-Length: 4", "Expect: 100-continue"]));
    app.expect(b"HTTP/1.1 100 Continue\r\n\r\n", "the word");
    app.send("body");
    let mut server = provider.accept();
    let asked = message(&mut server);
    assert_eq!((asked.header("expect"), &*asked.body), (None, &b"body"[..]));
    server.send(
        ["HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n", &ok("fine")].concat(),
    );
    assert_eq!(message(&mut app).body, b"fine", "what only announces an answer is none");
    let mut stranger = Wire::connect(proxy.listen);
    stranger.send(request("POST /v1/files", &["Content-Length: 4", "Expect: 100-continue"]));
    assert_eq!(message(&mut stranger).status, 401, "and no word before it");
}

#[test]
fn large_bodies_take_no_memory() {
    let (provider, proxy) = open(&[]);
    let before = settled_memory(&proxy);
    let (count, piece) = (64, noise(9, MB));
    let (mut app, mut server) =
        provider.asked(proxy.listen, ask("POST /v1/files", &[&format!("Content-Length: {}", count * MB)]));
    thread::scope(|scope| {
        scope.spawn(|| (0..count).for_each(|_| app.send(&piece)));
        (0..count).for_each(|_| server.expect(&piece, "up"));
    });
    server.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", count * MB));
    app.head();
    thread::scope(|scope| {
        scope.spawn(|| (0..count).for_each(|_| server.send(&piece)));
        (0..count).for_each(|_| app.expect(&piece, "down"));
    });
    let grown = settled_memory(&proxy).saturating_sub(before);
    assert!(grown < 4 * MB as u64, "{grown} bytes more");
}
