//! Requests and answers beside sessions, on raw sockets at both ends: what passes, in which framing, on which connection, and
//! what each break of HTTP/1.1 and each end in the middle comes to.

mod raw;

use raw::http::*;
use raw::*;
use serde_json::json;
use std::io::Write;
use std::net::Shutdown;
use std::thread;
use std::time::Duration;
use tokenist_kit::{PATIENCE, Tokenist, eventually};

const MB: usize = 1 << 20;

/// A proxy that passes what it cannot meter.
fn start_open(origin: &str) -> Tokenist {
    start(origin, &[("http.unmetered", "pass")])
}

#[test]
fn requests_on_one_connection_go_up_on_one_connection() {
    let provider = Upstream::start();
    let proxy = start_open(&provider.origin());
    let mut app = Wire::connect(proxy.listen);
    let mut server = None;
    for turn in 0..5 {
        let body = format!("body {turn}");
        let length = format!("Content-Length: {}", body.len());
        app.send(
            ask("POST /v1/files?purpose=x&user_id=", &[&length, "OpenAI-Beta: x", "x-feature: f"]) + &body,
        );
        let server = server.get_or_insert_with(|| provider.accept());
        let asked = message(server);
        assert!(asked.head.starts_with("POST /v1/files?purpose=x"), "{}", asked.head);
        assert_eq!(asked.header("authorization"), Some("Bearer sk-test"));
        assert_eq!(asked.header("openai-beta"), Some("x"));
        assert_eq!((asked.header("x-user-id"), asked.header("x-feature")), (None, None), "{}", asked.head);
        assert_eq!(asked.body, body.as_bytes());
        server.send(ok(&format!("answer {turn}")));
        let answer = message(&mut app);
        assert_eq!((answer.status, &*answer.body), (200, format!("answer {turn}").as_bytes()));
        assert_eq!(answer.header("connection"), None, "it goes on");
    }
    assert!(provider.poll().is_none(), "one connection served all");
}

#[test]
fn a_provider_that_has_read_a_request_is_not_asked_twice() {
    let provider = Upstream::start();
    let proxy = start_open(&provider.origin());
    let mut app = Wire::connect(proxy.listen);
    app.send(ask("GET /v1/files", &[]));
    let mut server = provider.accept();
    message(&mut server);
    server.send(ok("one"));
    message(&mut app);
    app.send(ask("GET /v1/files", &[]));
    message(&mut server);
    std::thread::sleep(std::time::Duration::from_millis(600));
    drop(server);
    assert_eq!(message(&mut app).status, 502);
    assert!(provider.poll().is_none(), "it is not asked again");
}

#[test]
fn a_body_may_take_longer_than_a_dial_as_long_as_it_goes_on() {
    let provider = Upstream::start();
    let proxy = start(&provider.origin(), &[("proxy.dial_seconds", "1")]);
    let body = format!(r#"{{"model":"gpt-5-mini","input":"{}"}}"#, "x".repeat(7 << 20));
    let mut app = Wire::connect(proxy.listen);
    std::thread::scope(|scope| {
        let server = scope.spawn(|| {
            let mut server = provider.accept();
            std::thread::sleep(std::time::Duration::from_millis(2_500));
            assert_eq!(message(&mut server).body, body.as_bytes());
            server
        });
        app.send(ask_json("POST /v1/responses", &[], &body));
        let mut server = server.join().unwrap();
        server.send(answer_of("application/json", None, b"{}"));
        assert_eq!(message(&mut app).status, 200);
    });
}

#[test]
fn a_metered_path_that_is_spelled_otherwise_does_not_pass_unmetered() {
    let provider = Upstream::start();
    let proxy = start_open(&provider.origin());
    for path in [
        "/v1/./embeddings",
        "/v1/x/../embeddings",
        "/v1/embeddings;a=b",
        "/V1/embeddings",
        "/v1%2Fembeddings",
    ] {
        let mut app = Wire::connect(proxy.listen);
        app.send(ask_json(&format!("POST {path}"), &[], r#"{"model":"m","input":"x"}"#));
        assert_eq!(message(&mut app).status, 404, "{path}");
    }
    assert!(provider.poll().is_none());
}

#[test]
fn pipelined_requests_are_answered_in_turn() {
    let provider = Upstream::start();
    let proxy = start_open(&provider.origin());
    let mut app = Wire::connect(proxy.listen);
    let chunks = String::from_utf8(chunked(&[b"ab", b"c"])).unwrap();
    app.send(
        ask("POST /one", &["Content-Length: 3"])
            + "abc"
            + &ask("POST /two", &["Transfer-Encoding: chunked"])
            + &chunks
            + &ask("GET /three", &[])
            + &ask("GET /four", &["Connection: close"]),
    );
    let mut server = provider.accept();
    for path in ["/one", "/two", "/three", "/four"] {
        let asked = message(&mut server);
        assert_eq!(asked.head.split(' ').nth(1), Some(path));
        thread::sleep(Duration::from_millis(20));
        assert!(!server.is_readable() && provider.poll().is_none(), "the next one waits for this answer");
        server.send(ok(path));
        assert_eq!(message(&mut app).body, path.as_bytes());
    }
    app.expect_end();
}

#[test]
fn bodies_pass_whatever_frames_them() {
    let provider = Upstream::start();
    let proxy = start_open(&provider.origin());
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
fn a_client_that_waits_for_a_word_gets_it_if_it_may_ask() {
    let provider = Upstream::start();
    let proxy = start_open(&provider.origin());
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
fn answers_pass_whatever_frames_them() {
    let provider = Upstream::start();
    let proxy = start_open(&provider.origin());
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
        let mut app = Wire::connect(proxy.listen);
        app.send(ask(&format!("{method} /v1/files"), &[]));
        let mut server = provider.accept();
        message(&mut server);
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
    let provider = Upstream::start();
    let proxy = start_open(&provider.origin());
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
    let provider = Upstream::start();
    let proxy = start_open(&provider.origin());
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
    let provider = Upstream::start();
    let proxy = start_open(&provider.origin());
    let mut app = Wire::connect(proxy.listen);
    app.send(ask("POST /v1/files", &["Transfer-Encoding: chunked"]) + "4\r\nabcd\r\n");
    let mut server = provider.accept();
    server.head();
    server.expect(b"4\r\nabcd\r\n", "what is sound goes on");
    app.send("5\nabcde\r\n");
    assert_eq!(app.answer().status, 400);
    server.expect_end();
}

#[test]
fn slow_ends_are_served_byte_by_byte() {
    let provider = Upstream::start();
    let proxy = start_open(&provider.origin());
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

/// Wherever the body stops: while it is held, on its way to a provider that waits for it, and once that has answered.
#[test]
fn a_client_that_stops_in_its_body_is_told_so_unless_its_answer_has_begun() {
    let provider = Upstream::start();
    let proxy = start(&provider.origin(), &[("http.unmetered", "pass"), ("http.body_seconds", "1")]);
    let json = "Content-Type: application/json";
    for (line, begins) in [
        ("POST /v1/chat/completions", "{\"model\":"),
        ("POST /v1/files", ""),
        ("POST /v1/files", "beginning"),
    ] {
        let mut app = Wire::connect(proxy.listen);
        app.send(ask(line, &["Content-Length: 100000", json]) + begins);
        let mut server = (line == "POST /v1/files").then(|| provider.accept());
        let refused = message(&mut app);
        assert_eq!((refused.status, &*refused.code()), (408, "body_stalled"), "{line} {begins:?}");
        assert_eq!(refused.header("connection"), Some("close"));
        app.expect_end();
        if let Some(server) = &mut server {
            server.head();
            server.expect(begins.as_bytes(), "what had come");
            server.expect_end();
        }
    }
    // Bytes that come slowly are no stop.
    let mut app = Wire::connect(proxy.listen);
    app.send(ask("POST /v1/files", &["Content-Length: 4"]));
    for byte in [b"b", b"o", b"d", b"y"] {
        thread::sleep(Duration::from_millis(600));
        app.send(byte);
    }
    let mut server = provider.accept();
    assert_eq!(message(&mut server).body, b"body");
    server.send(ok("fine"));
    assert_eq!(message(&mut app).body, b"fine");
    // An answer that has begun is no place for another one.
    let mut app = Wire::connect(proxy.listen);
    app.send(ask("POST /v1/files", &["Content-Length: 100000"]) + "beginning");
    let mut server = provider.accept();
    server.head();
    server.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n");
    assert!(app.head().starts_with("HTTP/1.1 200"));
    assert!(!String::from_utf8(app.rest()).unwrap().contains("HTTP/1.1"));
    server.expect(b"beginning", "what had come");
    server.expect_end();
}

/// A provider may take its time, but not for ever: before its answer the client is told, within it the answer has no end.
#[test]
fn a_provider_that_says_nothing_is_not_waited_for() {
    let provider = Upstream::start();
    let proxy = start(&provider.origin(), &[("http.unmetered", "pass"), ("http.answer_seconds", "1")]);
    for said in ["", "HTTP/1.1 200 OK\r\nContent-", "HTTP/1.1 103 Early Hints\r\n\r\n"] {
        let mut app = Wire::connect(proxy.listen);
        app.send(ask("GET /v1/files", &[]));
        let mut server = provider.accept();
        server.head();
        server.send(said);
        let answer = message(&mut app);
        assert_eq!((answer.status, &*answer.code()), (502, "upstream_failed"), "{said:?}");
        server.expect_end();
    }
    let mut app = Wire::connect(proxy.listen);
    app.send(ask("GET /v1/files", &[]));
    let mut server = provider.accept();
    server.head();
    let chunks =
        ["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\na\r\n", "1\r\nb\r\n", "1\r\nc\r\n"];
    for chunk in chunks {
        thread::sleep(Duration::from_millis(600));
        server.send(chunk);
    }
    assert!(app.head().starts_with("HTTP/1.1 200"));
    assert_eq!(app.rest(), b"1\r\na\r\n1\r\nb\r\n1\r\nc\r\n", "slow is not silent, and silent is no end");
    server.expect_end();
}

/// It gets no more than fits on the way, and its request is ended when it takes nothing for long.
#[test]
fn a_client_that_takes_nothing_of_its_answer_is_not_waited_for() {
    let provider = Upstream::start();
    let proxy = start(&provider.origin(), &[("http.unmetered", "pass"), ("proxy.ping_seconds", "1")]);
    let before = settled_memory(&proxy);
    let mut app = Wire::connect(proxy.listen);
    app.send(ask("GET /v1/files", &[]));
    let mut server = provider.accept();
    server.head();
    let (length, piece) = (512 * MB, noise(4, MB));
    server.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"));
    app.head();
    let taken = (0..512).take_while(|_| server.stream.write_all(&piece).is_ok()).count();
    assert!(taken < 256, "{taken} MB were taken for a client that takes none");
    let grown = settled_memory(&proxy).saturating_sub(before);
    assert!(grown < 4 * MB as u64, "{grown} bytes more");
    assert!(app.rest().len() < length);
}

/// How a provider's end comes to the client, for each place where it can come.
#[test]
fn a_provider_that_leaves_is_told_as_far_as_http_can() {
    let provider = Upstream::start();
    let proxy = start_open(&provider.origin());
    let wrong = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nwrong";
    for said in ["", "HTTP/1.1 200", "HTTP/1.1 200 OK\r\nContent-", "nonsense\r\n\r\n", wrong] {
        let mut app = Wire::connect(proxy.listen);
        app.send(ask("GET /v1/files", &[]));
        let mut server = provider.accept();
        server.head();
        server.send(said);
        drop(server);
        let answer = message(&mut app);
        assert_eq!((answer.status, &*answer.code()), (502, "upstream_failed"), "{said:?}");
        assert_eq!(answer.header("retry-after"), Some("5"));
    }
    let length = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf";
    let chunk = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n";
    let within = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf";
    for said in [length, chunk, within] {
        let mut app = Wire::connect(proxy.listen);
        app.send(ask("GET /v1/files", &[]));
        let mut server = provider.accept();
        server.head();
        server.send(said);
        drop(server);
        let head = app.head();
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        let rest = String::from_utf8(app.rest()).unwrap();
        assert!(
            rest.contains("half") && !rest.ends_with("0\r\n\r\n"),
            "no end is told for {said:?}: {rest:?}"
        );
    }
}

#[test]
fn a_client_that_leaves_takes_its_request_along() {
    let provider = Upstream::start();
    let proxy = start_open(&provider.origin());
    // Before the answer, in its middle, and in the middle of the body.
    let mut app = Wire::connect(proxy.listen);
    app.send(ask("GET /v1/files", &[]));
    let mut server = provider.accept();
    server.head();
    drop(app);
    server.expect_end();
    let mut app = Wire::connect(proxy.listen);
    app.send(ask("GET /v1/files", &[]));
    let mut server = provider.accept();
    server.head();
    server.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n");
    app.head();
    app.reset();
    server.expect_end();
    let mut app = Wire::connect(proxy.listen);
    app.send(ask("POST /v1/files", &["Content-Length: 100000"]) + "beginning");
    let mut server = provider.accept();
    server.head();
    server.expect(b"beginning", "what has come");
    drop(app);
    server.expect_end();
}

#[test]
fn a_connection_that_the_provider_has_closed_costs_nobody_a_request() {
    let provider = Upstream::start();
    let proxy = start_open(&provider.origin());
    let mut app = Wire::connect(proxy.listen);
    let turn = |app: &mut Wire, server: &mut Wire| {
        message(server);
        server.send(ok("fine"));
        assert_eq!(message(app).body, b"fine");
    };
    app.send(ask("GET /v1/files", &[]));
    let mut server = provider.accept();
    turn(&mut app, &mut server);
    drop(server);
    // It is found closed before it is used.
    app.send(ask("GET /v1/files", &[]));
    let mut server = provider.accept();
    turn(&mut app, &mut server);
    // It is closed as the request comes: nothing was answered, so it is asked again elsewhere.
    app.send(ask("POST /v1/files", &["Content-Length: 4"]) + "body");
    message(&mut server);
    drop(server);
    let mut server = provider.accept();
    turn(&mut app, &mut server);
    // But of what it has begun to answer nothing is asked twice.
    app.send(ask("POST /v1/files", &["Content-Length: 4"]) + "body");
    message(&mut server);
    server.send("HTTP/1.1 2");
    drop(server);
    assert_eq!(message(&mut app).status, 502);
    assert!(provider.poll().is_none());
}

#[test]
fn an_answer_that_comes_before_the_body_is_whole_is_the_answer() {
    let provider = Upstream::start();
    let proxy = start_open(&provider.origin());
    let mut app = Wire::connect(proxy.listen);
    app.send(ask("POST /v1/files", &["Content-Length: 100000"]) + "beginning");
    let mut server = provider.accept();
    server.head();
    server.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 5\r\n\r\nlarge");
    let answer = message(&mut app);
    assert_eq!((answer.status, &*answer.body), (413, &b"large"[..]));
    assert_eq!(answer.header("connection"), Some("close"), "nobody reads the rest");
    app.send(noise(1, 1_000));
    app.expect_end();
}

#[test]
fn each_request_is_judged_anew() {
    let provider = Upstream::start();
    let proxy = start_open(&provider.origin());
    let mut app = Wire::connect(proxy.listen);
    app.send(ask("GET /v1/files", &[]));
    let mut server = provider.accept();
    message(&mut server);
    server.send(ok("one"));
    assert_eq!(message(&mut app).body, b"one");
    proxy.post("/admin/users/alice/block", &json!({"reason": "abuse"}));
    for _ in 0..5 {
        app.send(ask("POST /v1/files", &["Content-Length: 4"]) + "body");
        let refused = message(&mut app);
        assert_eq!((refused.status, &*refused.code()), (403, "user_blocked"), "{refused:?}");
        assert_eq!((refused.header("x-should-retry"), refused.header("connection")), (Some("false"), None));
    }
    proxy.post("/admin/users/alice/unblock", &json!({}));
    app.send(ask("GET /v1/files", &[]));
    message(&mut server);
    server.send(ok("two"));
    assert_eq!(message(&mut app).body, b"two");
    // Somebody else on the same connection, or nobody.
    app.send(request("GET /v1/files", &["x-user-id: bob"]));
    assert_eq!(message(&mut app).status, 401);
}

#[test]
fn a_block_ends_a_request_that_is_under_way() {
    let provider = Upstream::start();
    let proxy = start_open(&provider.origin());
    let mut waiting = Wire::connect(proxy.listen);
    waiting.send(ask("GET /v1/files", &[]));
    let mut first = provider.accept();
    first.head();
    let mut listening = Wire::connect(proxy.listen);
    listening.send(ask("GET /v1/files", &[]));
    let mut second = provider.accept();
    second.head();
    second.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n");
    listening.head();
    listening.expect(b"4\r\nhalf\r\n", "what had come");
    proxy.post("/admin/users/alice/block", &json!({"reason": "abuse"}));
    let refused = message(&mut waiting);
    assert_eq!((refused.status, &*refused.code()), (403, "user_blocked"));
    listening.expect_end();
    first.expect_end();
    second.expect_end();
}

#[test]
fn a_request_that_lasts_is_seen_and_can_be_ended() {
    let provider = Upstream::start();
    let proxy = start_open(&provider.origin());
    let mut app = Wire::connect(proxy.listen);
    app.send(ask("GET /v1/files", &[]));
    let mut server = provider.accept();
    server.head();
    let listed = || proxy.get("/admin/sessions")["sessions"].as_array().cloned().unwrap_or_default();
    let sessions = eventually(PATIENCE, listed, |sessions| !sessions.is_empty());
    assert_eq!(sessions.len(), 1, "{sessions:?}");
    let id = sessions[0]["sessionId"].as_str().unwrap().to_owned();
    proxy.delete(&format!("/admin/sessions/{id}"));
    let refused = message(&mut app);
    assert_eq!((refused.status, &*refused.code()), (403, "session_killed"));
    server.expect_end();
    let left = eventually(PATIENCE, listed, |sessions| sessions.is_empty());
    assert!(left.is_empty(), "{left:?}");
    let past = || proxy.get("/admin/sessions/past")["sessions"][0]["closeCode"].clone();
    assert_eq!(eventually(PATIENCE, past, |code| !code.is_null()), 4003, "as a session's");
}

#[test]
fn a_drain_lets_requests_finish_and_connections_go() {
    let provider = Upstream::start();
    let mut proxy = start_open(&provider.origin());
    let mut idle = Wire::connect(proxy.listen);
    idle.send(ask("GET /v1/files", &[]));
    let mut server = provider.accept();
    message(&mut server);
    server.send(ok("fine"));
    message(&mut idle);
    let mut busy = Wire::connect(proxy.listen);
    busy.send(ask("GET /v1/files", &[]));
    message(&mut server);
    proxy.signal(tokenist_kit::Signal::Terminate);
    idle.expect_end();
    server.send(ok("last"));
    let answer = message(&mut busy);
    assert_eq!((&*answer.body, answer.header("connection")), (&b"last"[..], Some("close")));
    busy.expect_end();
    server.expect_end();
    assert!(proxy.wait(PATIENCE).is_some_and(|status| status.success()));
}

#[test]
fn a_session_may_begin_on_a_connection_that_served_requests() {
    let provider = Upstream::start();
    let proxy = start_open(&provider.origin());
    let mut app = Wire::connect(proxy.listen);
    app.send(ask("GET /v1/files", &[]));
    let mut server = provider.accept();
    message(&mut server);
    server.send(ok("fine"));
    message(&mut app);
    app.send(upgrade(&WHO));
    let mut session = provider.accept();
    session.head();
    session.send(switching(&[]));
    assert_eq!(app.answer().status, 101);
    session.send(frame(TEXT, b"{}", None));
    assert_eq!(app.frame().payload, b"{}");
}

#[test]
fn large_bodies_take_no_memory() {
    let provider = Upstream::start();
    let proxy = start_open(&provider.origin());
    let before = settled_memory(&proxy);
    let (count, piece) = (64, noise(9, MB));
    let mut app = Wire::connect(proxy.listen);
    app.send(ask("POST /v1/files", &[&format!("Content-Length: {}", count * MB)]));
    let mut server = provider.accept();
    server.head();
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

#[test]
fn what_cannot_be_metered_is_refused_unless_a_setting_says_otherwise() {
    let provider = Upstream::start();
    let proxy = start(&provider.origin(), &[]);
    let mut app = Wire::connect(proxy.listen);
    app.send(ask("GET /v1/files", &[]));
    let answer = app.answer();
    assert_eq!(answer.status, 404);
    assert!(answer.body.contains("http.unmetered"), "{}", answer.body);
    assert!(provider.poll().is_none());
}

/// What one end says of its connection, and whatever is written like a key of ours, stays here.
#[test]
fn what_is_for_a_connection_does_not_go_on() {
    let provider = Upstream::start();
    let proxy = start_open(&provider.origin());
    let mut app = Wire::connect(proxy.listen);
    let headers = [
        "Connection: x-openai-one, keep-alive",
        "x-openai-one: 1",
        "x-openai-two: 2",
        "OpenAI-Project: a/ug_0123",
        "OpenAI-Organization: org%2Fug_0123456789abcdef0123456789abcdef",
    ];
    app.send(ask("GET /v1/files", &headers));
    let mut server = provider.accept();
    let asked = message(&mut server);
    assert_eq!(["x-openai-one", "x-openai-two"].map(|name| asked.header(name)), [None, Some("2")]);
    assert!(!asked.head.contains("ug_"), "{}", asked.head);
    server
        .send("HTTP/1.1 200 OK\r\nConnection: X-One\r\nX-One: 1\r\nX-Two: 2\r\nContent-Length: 2\r\n\r\nok");
    let answer = message(&mut app);
    assert_eq!(["x-one", "x-two"].map(|name| answer.header(name)), [None, Some("2")]);
    app.send(ask("DELETE /v1/files/1", &[]));
    message(&mut server);
    server.send("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\nX-Two: 2\r\n\r\n");
    let answer = app.head();
    assert!(answer.contains("204") && !answer.to_ascii_lowercase().contains("content-length"), "{answer}");
    app.send(ask("GET /v1/files", &[]));
    assert!(message(&mut server).head.starts_with("GET"), "the connection goes on");
    server.send(ok("ok"));
    assert_eq!(message(&mut app).body, b"ok");
    for (head, what) in [
        (
            "GET /v1/files HTTP/1.1\r\nAuthorization: Bearer sk-test\r\nx-user-id: alice\r\n\r\n".to_owned(),
            "Host",
        ),
        (ask("GET /v1/files", &["Connection: content-type", "Content-Type: a"]), "Connection"),
    ] {
        let mut app = Wire::connect(proxy.listen);
        app.send(head);
        let refused = message(&mut app);
        assert_eq!(refused.status, 400);
        assert!(String::from_utf8_lossy(&refused.body).contains(what), "{what}");
    }
    assert!(provider.poll().is_none());
}

/// A provider that answers before it has read the body, and reads no more of it, is heard.
#[test]
fn an_answer_that_comes_before_a_large_body_is_read_is_the_answer() {
    let provider = Upstream::start();
    let proxy = start(&provider.origin(), &[("limits.max_cost_usd", "-1")]);
    let body = json!({"model": "gpt-5-mini", "messages": ["x".repeat(7 * MB)]}).to_string();
    let mut app = Wire::connect(proxy.listen);
    app.send(ask_json("POST /v1/chat/completions", &[], &body));
    let mut server = provider.accept();
    server.head();
    server.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 5\r\n\r\nlarge");
    let answer = message(&mut app);
    assert_eq!((answer.status, &*answer.body), (413, &b"large"[..]));
}

#[test]
fn a_page_may_read_that_its_body_did_not_come() {
    let provider = Upstream::start();
    let settings = [("http.body_seconds", "1"), ("browser.origins", "https://app.example")];
    let proxy = start(&provider.origin(), &settings);
    let mut app = Wire::connect(proxy.listen);
    let headers = ["Content-Length: 100000", "Content-Type: application/json", "Origin: https://app.example"];
    app.send(ask("POST /v1/chat/completions", &headers) + "{\"model\":");
    let refused = message(&mut app);
    assert_eq!(refused.status, 408);
    assert_eq!(refused.header("access-control-allow-origin"), Some("https://app.example"));
}
