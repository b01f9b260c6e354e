//! Who is let in, how the others are told, and what cannot shake a shard. Both ends are raw sockets.

mod raw;

use raw::*;
use std::io::Write;
use std::net::TcpListener;
use std::time::Instant;
use tokenist_kit::{PATIENCE, Tokenist, eventually};

/// Sends `wire` and gives the answer.
fn ask(proxy: &Tokenist, wire: impl AsRef<[u8]>) -> Answer {
    let mut app = Wire::connect(proxy.listen);
    app.send(wire);
    app.answer()
}

#[test]
fn who_does_not_say_who_he_is_gets_an_event_and_4001() {
    let provider = Upstream::start();
    // Always in WebSocket terms: the test refuses more often than a storming client may.
    let proxy = start(&provider.origin(), &[("admission.refuse", "close")]);
    let long = format!("x-user-id: {}", "a".repeat(257));
    for (what, headers) in [
        ("no key", vec![ALICE]),
        ("an empty key", vec!["Authorization: Bearer ", ALICE]),
        ("another scheme", vec!["Authorization: Basic c2s=", ALICE]),
        ("an unknown tokenist key", vec!["Authorization: Bearer ug_00000000000000000000000000000000", ALICE]),
        ("no user", vec![BEARER]),
        ("an empty user", vec![BEARER, "x-user-id: "]),
        ("a user given twice", vec![BEARER, ALICE, "X-User-Id: bob"]),
        ("a user with a tab", vec![BEARER, "x-user-id: al\tice"]),
        ("a user of 257 bytes", vec![BEARER, &long]),
        ("an org that is empty", vec![BEARER, ALICE, "x-org-id: "]),
    ] {
        let mut app = Wire::connect(proxy.listen);
        app.send(upgrade(&headers));
        assert_eq!(app.answer().status, 101, "{what}");
        assert_eq!(app.refusal(), ("unauthorized".to_owned(), 4001), "{what}");
        app.expect_end();
    }
    serve_one(&proxy, &provider);
}

#[test]
fn a_user_may_be_named_in_256_bytes_of_anything() {
    let provider = Upstream::start();
    let proxy = start(&provider.origin(), &[]);
    for user in ["a".repeat(256), "ä→語 %/?#\"<script>".to_owned()] {
        let mut app = Wire::connect(proxy.listen);
        app.send(upgrade(&[BEARER, &format!("x-user-id: {user}")]));
        let mut server = provider.accept();
        assert!(!server.head().contains(&user));
        server.send(switching(&[]));
        assert_eq!(app.answer().status, 101);
        let users = || {
            let sessions = proxy.get("/admin/sessions");
            let sessions = sessions["sessions"].as_array().unwrap();
            sessions.iter().map(|session| session["userId"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let seen = eventually(PATIENCE, users, |users| users.contains(&user));
        assert!(seen.contains(&user), "{seen:?}");
    }
}

#[test]
fn heads_that_are_no_heads_get_an_http_error() {
    let provider = Upstream::start();
    let proxy = start(&provider.origin(), &[]);
    let upgraded = |headers: &[&str]| upgrade(&[&[BEARER, ALICE], headers].concat());
    let replaced = |from: &str, to: &str| upgraded(&[]).replace(from, to);
    for (what, status, wire) in [
        ("a NUL in a user", 400, upgrade(&[BEARER, "x-user-id: al\0ice"])),
        ("an escape in a user", 400, upgrade(&[BEARER, "x-user-id: al\x1bice"])),
        ("a DEL in a user", 400, upgrade(&[BEARER, "x-user-id: al\x7fice"])),
        ("an absolute target", 400, replaced("GET /", "GET http://evil.example/")),
        ("a target with a scheme in it", 400, replaced("GET /", "GET /http://evil.example/")),
        ("a target with a fragment", 400, replaced(" HTTP/1.1", "#part HTTP/1.1")),
        ("two hosts", 400, upgraded(&["Host: evil.example"])),
        ("two bearers", 400, upgraded(&["Authorization: Bearer sk-other"])),
        ("one bearer twice", 400, upgraded(&[BEARER])),
        ("a key of ours beside", 400, upgraded(&["api-key: ug_other"])),
        ("both lengths", 400, upgraded(&["Content-Length: 5", "Transfer-Encoding: chunked"])),
        ("two lengths", 400, upgraded(&["Content-Length: 0", "Content-Length: 0"])),
        ("a length with a sign", 400, upgraded(&["Content-Length: +5"])),
        ("a folded line", 400, upgraded(&["X-A: b\r\n folded"])),
        ("a bare LF", 400, upgraded(&["X-A: b\nX-B: c"])),
        ("a bare CR", 400, upgraded(&["X-A: b\rX-B: c"])),
        ("bare LFs throughout", 400, format!("{}\r\n\r\n", upgraded(&[]).replace("\r\n", "\n"))),
        ("a blank before the colon", 400, upgraded(&["X-A : b"])),
        ("a name that is empty", 400, upgraded(&[": b"])),
        ("HTTP/2", 400, replaced("HTTP/1.1", "HTTP/2.0")),
        ("TLS on the plain port", 400, "\x16\x03\x01\x02\0\x01\0\r\n\r\n".to_owned()),
        ("a WebSocket key that is none", 400, replaced("dGhlIHNhbXBsZSBub25jZQ==", "short")),
        ("another WebSocket version", 400, replaced("Version: 13", "Version: 8")),
        ("an upgrade that is a POST", 400, replaced("GET ", "POST ")),
        ("no Connection: Upgrade", 400, replaced("Connection: Upgrade", "Connection: close")),
        ("101 lines", 431, upgraded(&["X-A: b"; 101])),
        ("a name of 70 KB", 431, upgraded(&[&format!("{}: b", "X".repeat(70_000))])),
        ("a target of 70 KB", 431, replaced("model=", &"m".repeat(70_000))),
    ] {
        let answer = ask(&proxy, wire);
        assert_eq!((answer.status, code(&answer).as_str()), (status, "bad_request"), "{what}");
        assert!(answer.head.contains("Connection: close\r\n"), "{what}: {}", answer.head);
        assert!(answer.head.contains("x-should-retry: false\r\n"), "{what}: {}", answer.head);
    }
    serve_one(&proxy, &provider);
}

#[test]
fn what_is_no_upgrade_of_the_relayed_path_is_answered_in_json() {
    let provider = Upstream::start();
    let proxy = start(&provider.origin(), &[]);
    for path in ["/", "/v1", "/v1/realtimes", "/v1/realtime/calls", "/v2/realtime", "/v1/chat/completions"] {
        let answer = ask(&proxy, request(&format!("GET {path}"), &[&UPGRADE[..], &[BEARER, ALICE]].concat()));
        assert_eq!((answer.status, code(&answer).as_str()), (404, "unknown_path"), "{path}");
        assert!(answer.head.contains("Content-Type: application/json\r\n"), "{}", answer.head);
    }
    for line in ["GET /v1/realtime", "POST /v1/realtime?model=m", "GET /x/v1/realtime"] {
        let answer = ask(&proxy, request(line, &[BEARER, ALICE]));
        assert_eq!((answer.status, code(&answer).as_str()), (400, "upgrade_required"), "{line}");
    }
    let health = ask(&proxy, request("GET /health", &[]));
    assert_eq!((health.status, health.body.as_str()), (200, r#"{"status":"ok"}"#));
    serve_one(&proxy, &provider);
}

#[test]
fn refusals_of_key_holders_behind_one_address_are_told_apart() {
    let provider = Upstream::start();
    let proxy = start(&provider.origin(), &[]);
    let status = |key: &str| ask(&proxy, upgrade(&[&format!("Authorization: Bearer {key}")])).status;
    let storming: Vec<u16> = (0..5).map(|_| status("ug_1")).collect();
    assert_eq!(storming, [101, 101, 101, 401, 401]);
    assert_eq!(status("ug_2"), 101, "another key's holder is told in its own terms");
}

/// Everything that a client without key and user is told: the status.
fn stranger(proxy: &Tokenist, start: &str, headers: &[&str]) -> u16 {
    let mut app = Wire::connect(proxy.listen);
    app.send([start, &upgrade(headers)].concat());
    app.answer().status
}

#[test]
fn clients_behind_a_trusted_proxy_are_told_apart() {
    let provider = Upstream::start();
    let storm = |proxy: &Tokenist, clients: [&str; 5]| {
        clients.map(|client| stranger(proxy, "", &[&format!("X-Forwarded-For: {client}")]))
    };
    let proxy = start(&provider.origin(), &[("proxy.trusted_proxies", "127.0.0.0/8, 10.0.0.0/8")]);
    assert_eq!(storm(&proxy, ["203.0.113.7"; 5]), [101, 101, 101, 401, 401]);
    assert_eq!(stranger(&proxy, "", &["X-Forwarded-For: 6.6.6.6, 203.0.113.7, 10.0.0.1"]), 401);
    assert_eq!(stranger(&proxy, "", &["X-Forwarded-For: 203.0.113.8"]), 101);
    assert_eq!(stranger(&proxy, "", &["Forwarded: for=203.0.113.7;proto=https"]), 401);
    assert_eq!(stranger(&proxy, "", &["Forwarded: for=\"[2001:db8::7]:4711\""]), 101);
    proxy.logged("client=2001:db8::7");
    let proxy = start(&provider.origin(), &[]);
    let invented = ["203.0.113.1", "203.0.113.2", "203.0.113.3", "203.0.113.4", "203.0.113.5"];
    assert_eq!(storm(&proxy, invented), [101, 101, 101, 401, 401], "nobody vouches for these");
}

#[test]
fn a_balancer_announces_its_client_or_is_closed() {
    let provider = Upstream::start();
    let settings = [
        ("proxy.trusted_proxies", "127.0.0.1"),
        ("proxy.proxy_protocol", "true"),
        ("proxy.head_seconds", "2"),
    ];
    let proxy = start(&provider.origin(), &settings);
    let v1 = |client: &str| format!("PROXY TCP4 {client} 127.0.0.1 4711 80\r\n");
    let v2 = "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x01\x02\x03\x04\x7f\0\0\x01\x01\x02\0\x50";
    for start in [v1("203.0.113.7").as_str(), v2, "PROXY UNKNOWN\r\n"] {
        let mut app = Wire::connect(proxy.listen);
        app.trickle(start.as_bytes());
        app.send(upgrade(&[BEARER, ALICE]));
        let mut server = provider.accept();
        server.head();
        server.send(switching(&[]));
        assert_eq!(app.answer().status, 101, "{start:?}");
    }
    let refused: Vec<u16> = (0..5).map(|_| stranger(&proxy, &v1("203.0.113.7"), &[])).collect();
    assert_eq!(refused, [101, 101, 101, 401, 401]);
    assert_eq!(stranger(&proxy, &v1("203.0.113.8"), &[]), 101, "another client of the same balancer");
    assert_eq!(stranger(&proxy, v2, &[]), 101);
    // An address that is announced and not trusted speaks for nobody else.
    let forwarded = ["X-Forwarded-For: 203.0.113.99"];
    assert_eq!(stranger(&proxy, &v1("203.0.113.7"), &forwarded), 401);
    for start in ["", "PROXY TCP4 nonsense\r\n", "\r\n\r\n\0\r\nQUIT\n\x31\x11\0\0", "PROXY "] {
        let mut app = Wire::connect(proxy.listen);
        let behind = if start == "PROXY " { String::new() } else { upgrade(&[BEARER, ALICE]) };
        app.send([start, &behind].concat());
        assert_eq!(app.rest(), b"", "{start:?}");
    }
    assert!(provider.poll().is_none());
    proxy.logged_times(3, "see proxy.proxy_protocol");
}

#[test]
fn a_provider_that_does_not_answer_is_told_of_with_4502() {
    let refused = |app: &mut Wire, what: &str| {
        assert_eq!(app.answer().status, 101, "{what}");
        assert_eq!(app.refusal(), ("upstream_failed".to_owned(), 4502), "{what}");
        app.expect_end();
    };
    let provider = Upstream::start();
    let proxy = start(&provider.origin(), &[("proxy.dial_seconds", "1")]);
    for (what, said) in [
        ("closes", ""),
        ("closes in its head", "HTTP/1.1 101 Switching"),
        ("speaks something else", "220 smtp.example.org ESMTP\r\n\r\n"),
        (
            "proves nothing",
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        ),
        (
            "proves something else",
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n",
        ),
        ("has more to say before its answer", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"),
        ("sends a head without end", &format!("HTTP/1.1 101 S\r\nX: {}", "x".repeat(17_000))),
    ] {
        let mut app = Wire::connect(proxy.listen);
        app.send(upgrade(&[BEARER, ALICE]));
        let mut server = provider.accept();
        server.head();
        server.send(said);
        drop(server);
        refused(&mut app, what);
    }
    // It accepts, and that is all.
    let mut app = Wire::connect(proxy.listen);
    app.send(upgrade(&[BEARER, ALICE]));
    let mut server = provider.accept();
    server.head();
    refused(&mut app, "says nothing");
    serve_one(&proxy, &provider);
    // Nobody listens there.
    let nowhere = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for origin in [format!("http://{nowhere}"), "http://tokenist.invalid".to_owned()] {
        let proxy = start(&origin, &[]);
        let mut app = Wire::connect(proxy.listen);
        app.send(upgrade(&[BEARER, ALICE]));
        refused(&mut app, &origin);
    }
}

#[test]
fn a_head_without_end_costs_no_memory() {
    let provider = Upstream::start();
    let proxy = start(&provider.origin(), &[]);
    serve_one(&proxy, &provider);
    let before = settled_memory(&proxy);
    for _ in 0..3 {
        let mut app = Wire::connect(proxy.listen);
        app.send("GET /v1/realtime HTTP/1.1\r\nX-Bomb: ");
        // It has been answered long before its end, so the rest may find the connection closed.
        let piece = vec![b'x'; 1 << 20];
        let taken = (0..48).take_while(|_| app.stream.write_all(&piece).is_ok()).count();
        let answer = app.answer();
        assert_eq!((answer.status, code(&answer).as_str()), (431, "bad_request"), "after {taken} MB");
    }
    let grown = memory(&proxy, "VmHWM") - before;
    assert!(grown < 4 << 20, "{grown} bytes for a head that was refused");
    serve_one(&proxy, &provider);
}

#[test]
fn who_is_slow_with_his_head_is_cut_off() {
    let provider = Upstream::start();
    let proxy = start(&provider.origin(), &[("proxy.head_seconds", "1")]);
    let head = upgrade(&[BEARER, ALICE]);
    let mut slow: Vec<Wire> = (0..200).map(|_| Wire::connect(proxy.listen)).collect();
    slow.iter_mut().for_each(|app| app.send(&head[..40]));
    // One that goes on sending is no better off.
    let mut busy = Wire::connect(proxy.listen);
    busy.send(&head[..40]);
    while busy.stream.write_all(b"x").is_ok() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    slow.iter_mut().for_each(Wire::expect_end);
    serve_one(&proxy, &provider);
}

#[test]
fn a_full_shard_says_when_to_come_again() {
    let provider = Upstream::start();
    let proxy = start(&provider.origin(), &[("proxy.session_max", "1")]);
    let (app, server) = provider.session(proxy.listen);
    let answer = ask(&proxy, "");
    assert_eq!((answer.status, code(&answer).as_str()), (503, "overloaded"));
    assert!(answer.head.contains("Retry-After: "), "{}", answer.head);
    // With the session its place becomes free.
    drop((app, server));
    let attempt = || {
        let mut app = Wire::connect(proxy.listen);
        app.send(upgrade(&[BEARER, ALICE]));
        while !app.is_readable() {
            if let Some(server) = provider.poll() {
                return Some(server);
            }
        }
        None
    };
    let deadline = Instant::now() + PATIENCE;
    while attempt().is_none() {
        assert!(Instant::now() < deadline, "the place stays taken");
    }
}

#[test]
fn a_client_that_storms_is_told_in_http() {
    let provider = Upstream::start();
    let proxy = start(&provider.origin(), &[]);
    let statuses: Vec<u16> = (0..5).map(|_| ask_without_end(&proxy)).collect();
    assert_eq!(statuses, [101, 101, 101, 401, 401]);
    serve_one(&proxy, &provider);
    for (refuse, status) in [("close", 101), ("http", 401)] {
        let proxy = start(&provider.origin(), &[("admission.refuse", refuse)]);
        assert!((0..5).all(|_| ask_without_end(&proxy) == status), "{refuse}");
    }
}

/// The status with which a client without a key is refused.
fn ask_without_end(proxy: &Tokenist) -> u16 {
    let answer = ask(proxy, upgrade(&[ALICE]));
    if answer.status != 101 {
        assert_eq!(code(&answer), "unauthorized");
        assert!(answer.head.contains("x-should-retry: false\r\n"), "{}", answer.head);
    }
    answer.status
}

#[test]
fn a_hundred_megabytes_in_a_header_cost_nothing() {
    let provider = Upstream::start();
    let proxy = start(&provider.origin(), &[]);
    serve_one(&proxy, &provider);
    let (mut app, mut server) = provider.session(proxy.listen);
    let before = settled_memory(&proxy);
    app.send(header(BINARY, 100 << 20, Some(KEY)));
    assert_eq!(app.frame().close_code(), 1009);
    assert_eq!(server.frame().close_code(), 1000);
    let grown = memory(&proxy, "VmHWM") - before;
    assert!(grown < 4 << 20, "{grown} bytes for a header");
    serve_one(&proxy, &provider);
}

#[test]
fn the_epoll_driver_serves_as_well() {
    let provider = Upstream::start();
    let proxy = start(&provider.origin(), &[("proxy.driver", "epoll"), ("proxy.dial_seconds", "1")]);
    assert_eq!(proxy.driver, "epoll");
    for _ in 0..3 {
        serve_one(&proxy, &provider);
    }
    let answer = ask(&proxy, upgrade(&[BEARER, ALICE, &format!("{}: b", "X".repeat(70_000))]));
    assert_eq!(answer.status, 431);
    let mut app = Wire::connect(proxy.listen);
    app.send(upgrade(&[BEARER]));
    assert_eq!((app.answer().status, app.refusal()), (101, ("unauthorized".to_owned(), 4001)));
    let mut app = Wire::connect(proxy.listen);
    app.send(upgrade(&[BEARER, ALICE]));
    let _silent = provider.accept();
    assert_eq!((app.answer().status, app.refusal()), (101, ("upstream_failed".to_owned(), 4502)));
    let (mut app, mut server) = provider.session(proxy.listen);
    let big = frame(BINARY, &noise(1, 5 << 20), None);
    std::thread::scope(|scope| {
        scope.spawn(|| server.send(&big));
        app.expect(&big, "5 MB");
    });
    drop(server);
    assert_eq!(app.refusal(), ("upstream_failed".to_owned(), 4502));
    serve_one(&proxy, &provider);
}

#[test]
fn no_key_and_no_body_is_ever_logged() {
    let provider = Upstream::start();
    let proxy = start(&provider.origin(), &[("log.level", "trace"), ("identity.query", "true")]);
    let secret = "sk-SECRET-0123456789";
    let asked = [
        upgrade(&[&format!("Authorization: Bearer {secret}"), ALICE]),
        upgrade(&[
            "x-user-id: alice",
            &format!("Sec-WebSocket-Protocol: realtime, openai-insecure-api-key.{secret}"),
        ]),
        upgrade(&[ALICE]).replace("model=", &format!("key={secret}&model=")),
    ];
    for head in asked {
        let mut app = Wire::connect(proxy.listen);
        app.send(head);
        let mut server = provider.accept();
        server.head();
        server.send(switching(&[]));
        assert_eq!(app.answer().status, 101);
        let event = frame(TEXT, format!("{{\"type\":\"error\",\"text\":\"{secret}\"}}").as_bytes(), None);
        server.send(&event);
        app.expect(&event, "an event");
        drop(server);
        assert_eq!(app.refusal().1, 4502);
    }
    ask(&proxy, upgrade(&[&format!("X-A: {secret}\0")]));
    ask(&proxy, upgrade(&[&format!("Authorization: Basic {secret}"), ALICE]));
    let log = proxy.leave();
    assert!(log.contains("session failed") && !log.contains("SECRET"), "{log}");
}
