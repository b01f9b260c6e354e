//! Requests beside sessions, on raw sockets at both ends: on which connection they go, by what each is judged, and what ends them.
//! How they are framed is in `http_framing.rs`, what becomes of them when one end fails in `http_ends.rs`.

mod raw;

use raw::http::*;
use raw::*;
use serde_json::json;
use std::thread;
use std::time::Duration;
use tokenist_kit::{PATIENCE, eventually};

#[test]
fn requests_on_one_connection_go_up_on_one_connection() {
    let (provider, proxy) = open(&[]);
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
fn a_metered_path_that_is_spelled_otherwise_does_not_pass_unmetered() {
    let (provider, proxy) = open(&[]);
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
    let (provider, proxy) = open(&[]);
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
fn each_request_is_judged_anew() {
    let (provider, proxy) = open(&[]);
    let (mut app, mut server) = provider.asked(proxy.listen, ask("GET /v1/files", &[]));
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
    let (provider, proxy) = open(&[]);
    let (mut waiting, mut first) = provider.asked(proxy.listen, ask("GET /v1/files", &[]));
    let (mut listening, mut second) = provider.asked(proxy.listen, ask("GET /v1/files", &[]));
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
    let (provider, proxy) = open(&[]);
    let (mut app, mut server) = provider.asked(proxy.listen, ask("GET /v1/files", &[]));
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
    let (provider, mut proxy) = open(&[]);
    let (mut idle, mut server) = provider.asked(proxy.listen, ask("GET /v1/files", &[]));
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
    let (provider, proxy) = open(&[]);
    let (mut app, mut server) = provider.asked(proxy.listen, ask("GET /v1/files", &[]));
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
    let (provider, proxy) = open(&[]);
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
