//! What it comes to when one end of a request leaves, says nothing, takes nothing, or answers too early.

mod raw;

use raw::http::*;
use raw::*;
use serde_json::json;
use std::io::Write;
use std::thread;
use std::time::Duration;

const MB: usize = 1 << 20;

#[test]
fn a_body_may_take_longer_than_a_dial_as_long_as_it_goes_on() {
    let provider = Upstream::start();
    let proxy = start(&provider.origin(), &[("proxy.dial_seconds", "1")]);
    let body = format!(r#"{{"model":"gpt-5-mini","input":"{}"}}"#, "x".repeat(7 << 20));
    let mut app = Wire::connect(proxy.listen);
    thread::scope(|scope| {
        let server = scope.spawn(|| {
            let mut server = provider.accept();
            thread::sleep(Duration::from_millis(2_500));
            assert_eq!(message(&mut server).body, body.as_bytes());
            server
        });
        app.send(ask_json("POST /v1/responses", &[], &body));
        let mut server = server.join().unwrap();
        server.send(answer_of("application/json", None, b"{}"));
        assert_eq!(message(&mut app).status, 200);
    });
}

/// Wherever the body stops: while it is held, on its way to a provider that waits for it, and once that has answered.
#[test]
fn a_client_that_stops_in_its_body_is_told_so_unless_its_answer_has_begun() {
    let (provider, proxy) = open(&[("http.body_seconds", "1")]);
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
    let (mut app, mut server) =
        provider.asked(proxy.listen, ask("POST /v1/files", &["Content-Length: 100000"]) + "beginning");
    server.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n");
    assert!(app.head().starts_with("HTTP/1.1 200"));
    assert!(!String::from_utf8(app.rest()).unwrap().contains("HTTP/1.1"));
    server.expect(b"beginning", "what had come");
    server.expect_end();
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

/// A provider may take its time, but not for ever: before its answer the client is told, within it the answer has no end.
#[test]
fn a_provider_that_says_nothing_is_not_waited_for() {
    let (provider, proxy) = open(&[("http.answer_seconds", "1")]);
    for said in ["", "HTTP/1.1 200 OK\r\nContent-", "HTTP/1.1 103 Early Hints\r\n\r\n"] {
        let (mut app, mut server) = provider.asked(proxy.listen, ask("GET /v1/files", &[]));
        server.send(said);
        let answer = message(&mut app);
        assert_eq!((answer.status, &*answer.code()), (502, "upstream_failed"), "{said:?}");
        server.expect_end();
    }
    let (mut app, mut server) = provider.asked(proxy.listen, ask("GET /v1/files", &[]));
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
    let (provider, proxy) = open(&[("proxy.ping_seconds", "1")]);
    let before = settled_memory(&proxy);
    let (mut app, mut server) = provider.asked(proxy.listen, ask("GET /v1/files", &[]));
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
    let (provider, proxy) = open(&[]);
    let wrong = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nwrong";
    for said in ["", "HTTP/1.1 200", "HTTP/1.1 200 OK\r\nContent-", "nonsense\r\n\r\n", wrong] {
        let (mut app, mut server) = provider.asked(proxy.listen, ask("GET /v1/files", &[]));
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
        let (mut app, mut server) = provider.asked(proxy.listen, ask("GET /v1/files", &[]));
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
    let (provider, proxy) = open(&[]);
    // Before the answer, in its middle, and in the middle of the body.
    let (app, mut server) = provider.asked(proxy.listen, ask("GET /v1/files", &[]));
    drop(app);
    server.expect_end();
    let (mut app, mut server) = provider.asked(proxy.listen, ask("GET /v1/files", &[]));
    server.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n");
    app.head();
    app.reset();
    server.expect_end();
    let (app, mut server) =
        provider.asked(proxy.listen, ask("POST /v1/files", &["Content-Length: 100000"]) + "beginning");
    server.expect(b"beginning", "what has come");
    drop(app);
    server.expect_end();
}

#[test]
fn a_connection_that_the_provider_has_closed_costs_nobody_a_request() {
    let (provider, proxy) = open(&[]);
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
fn a_provider_that_has_read_a_request_is_not_asked_twice() {
    let (provider, proxy) = open(&[]);
    let (mut app, mut server) = provider.asked(proxy.listen, ask("GET /v1/files", &[]));
    server.send(ok("one"));
    message(&mut app);
    app.send(ask("GET /v1/files", &[]));
    message(&mut server);
    thread::sleep(Duration::from_millis(600));
    drop(server);
    assert_eq!(message(&mut app).status, 502);
    assert!(provider.poll().is_none(), "it is not asked again");
}

#[test]
fn an_answer_that_comes_before_the_body_is_whole_is_the_answer() {
    let (provider, proxy) = open(&[]);
    let (mut app, mut server) =
        provider.asked(proxy.listen, ask("POST /v1/files", &["Content-Length: 100000"]) + "beginning");
    server.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 5\r\n\r\nlarge");
    let answer = message(&mut app);
    assert_eq!((answer.status, &*answer.body), (413, &b"large"[..]));
    assert_eq!(answer.header("connection"), Some("close"), "nobody reads the rest");
    app.send(noise(1, 1_000));
    app.expect_end();
}

/// A provider that answers before it has read the body, and reads no more of it, is heard.
#[test]
fn an_answer_that_comes_before_a_large_body_is_read_is_the_answer() {
    let provider = Upstream::start();
    let proxy = start(&provider.origin(), &[("limits.max_cost_usd", "-1")]);
    let body = json!({"model": "gpt-5-mini", "messages": ["x".repeat(7 * MB)]}).to_string();
    let (mut app, mut server) =
        provider.asked(proxy.listen, ask_json("POST /v1/chat/completions", &[], &body));
    server.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 5\r\n\r\nlarge");
    let answer = message(&mut app);
    assert_eq!((answer.status, &*answer.body), (413, &b"large"[..]));
}
