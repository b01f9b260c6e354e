//! What of a session's request goes up to the provider, and what of the provider's answer comes down: all that is theirs, and
//! nothing that is ours or another's. Both ends are raw sockets.

mod raw;

use raw::*;
use tokenist_kit::{PATIENCE, eventually};

#[test]
fn prefixes_slashes_and_parameters_go_upstream_as_they_came() {
    let provider = Upstream::start();
    let proxy = start(&provider.origin(), &[("identity.query", "true")]);
    for (asked, target) in [
        ("/v1/realtime?model=gpt-realtime", "/v1/realtime?model=gpt-realtime"),
        ("//v1//realtime?model=a%2Fb&x=%20", "/v1/realtime?model=a%2Fb&x=%20"),
        ("/team/a/v1/realtime?call_id=rtc_1", "/team/a/v1/realtime?call_id=rtc_1"),
        ("/v1/realtime/?intent=transcription", "/v1/realtime/?intent=transcription"),
        ("/v1/realtime", "/v1/realtime"),
        ("/v1/realtime?flag&empty=&model=m", "/v1/realtime?flag&empty=&model=m"),
        (
            "/v1/realtime?user_id=u&model=m&org_id=o&feature=f&key=sk-x&api-key=sk-y&access_token=z",
            "/v1/realtime?model=m",
        ),
    ] {
        let mut app = Wire::connect(proxy.listen);
        app.send(request(&format!("GET {asked}"), &[&UPGRADE[..], &[BEARER, ALICE]].concat()));
        let mut server = provider.accept();
        let head = server.head();
        assert_eq!(head.lines().next(), Some(&*format!("GET {target} HTTP/1.1")), "{asked}");
        server.send(switching(&[]));
        assert_eq!(app.answer().status, 101);
    }
}

#[test]
fn only_what_is_the_providers_goes_upstream_and_only_what_is_the_clients_comes_back() {
    let provider = Upstream::start();
    let proxy = start(&provider.origin(), &[]);
    let mut app = Wire::connect(proxy.listen);
    app.send(upgrade(&[
        BEARER,
        ALICE,
        "x-org-id: acme",
        "x-feature: chat",
        "x-conversation-id: 7",
        "x-user-email: a@example.org",
        "x-user-name: Alice",
        "api-key: sk-other",
        "x-api-key: sk-other",
        "Cookie: session=1",
        "OpenAI-Beta: realtime=v1",
        "OpenAI-Project: proj_1",
        "User-Agent: OpenAI/Python 3.54.0",
        "Keep-Alive: 5",
        "TE: trailers",
        "Sec-WebSocket-Extensions: permessage-deflate",
    ]));
    let mut server = provider.accept();
    let host = provider.origin().replace("http://", "");
    let mut lines: Vec<String> =
        server.head().lines().filter(|line| !line.is_empty()).map(str::to_owned).collect();
    lines[1..].sort();
    assert_eq!(
        lines,
        [
            "GET /v1/realtime?model=gpt-realtime HTTP/1.1".to_owned(),
            "Authorization: Bearer sk-test".to_owned(),
            "Connection: Upgrade".to_owned(),
            format!("Host: {host}"),
            "OpenAI-Project: proj_1".to_owned(),
            UPGRADE[3].to_owned(),
            UPGRADE[2].to_owned(),
            "Upgrade: websocket".to_owned(),
            "User-Agent: OpenAI/Python 3.54.0".to_owned(),
        ]
    );
    server.send(switching(&["openai-processing-ms: 12", "x-request-id: req_1"]));
    let answer = app.answer().head;
    assert!(answer.contains("openai-processing-ms: 12\r\n") && answer.contains("x-request-id: req_1\r\n"));
    assert_eq!(answer.matches("Sec-WebSocket-Accept").count(), 1);
}

/// An upgrade of this target.
fn upgrade_of(target: &str, headers: &[&str]) -> String {
    request(&format!("GET {target}"), &[&UPGRADE[..], headers].concat())
}

/// The names of a head's lines, in order.
fn names(head: &str) -> Vec<String> {
    let lines = head.lines().skip(1).filter(|line| !line.is_empty());
    lines.map(|line| line.split(':').next().unwrap().to_lowercase()).collect()
}

#[test]
fn nothing_that_is_decoded_adds_a_line_to_the_providers_head() {
    let provider = Upstream::start();
    let proxy = start(&provider.origin(), &[("identity.query", "true"), ("admission.refuse", "close")]);
    let injected = "sk-a%0d%0aX-Injected:%20yes%0d%0a%0d%0aGET%20/%20HTTP/1.1";
    for name in ["key", "api-key", "access_token", "Authorization", "KEY", "%6bey"] {
        let mut app = Wire::connect(proxy.listen);
        app.send(upgrade_of(&format!("/v1/realtime?model=m&{name}={injected}"), &[ALICE]));
        assert_eq!(app.answer().status, 101, "{name}");
        assert_eq!(app.refusal(), ("unauthorized".to_owned(), 4001), "{name}");
    }
    for name in ["user_id", "org_id", "feature"] {
        let mut app = Wire::connect(proxy.listen);
        app.send(upgrade_of(&format!("/v1/realtime?model=m&{name}={injected}"), &[BEARER]));
        assert_eq!((app.answer().status, app.refusal().1), (101, 4001), "{name}");
    }
    assert!(provider.poll().is_none(), "nobody was dialled for those");
    for target in [
        format!("/v1/realtime?model={injected}"),
        format!("/v1/realtime?call_id={injected}&{injected}"),
        format!("/{injected}/v1/realtime"),
    ] {
        let mut app = Wire::connect(proxy.listen);
        app.send(upgrade_of(&target, &[BEARER, ALICE]));
        let mut server = provider.accept();
        let head = server.head();
        assert!(head.starts_with(&format!("GET {target} HTTP/1.1\r\n")), "as it came: {head}");
        let ours =
            ["host", "connection", "upgrade", "sec-websocket-version", "sec-websocket-key", "authorization"];
        assert_eq!(names(&head), ours, "{head}");
        server.send(switching(&[]));
        assert_eq!(app.answer().status, 101);
        assert!(!server.is_readable(), "one request and no more");
    }
}

#[test]
fn a_query_that_was_appended_to_a_query_names_the_same_user_and_model() {
    let provider = Upstream::start();
    let proxy = start(&provider.origin(), &[("identity.query", "true"), ("admission.refuse", "close")]);
    for (asked, target) in [
        ("/v1/realtime?user_id=bob?model=m", "/v1/realtime?model=m"),
        ("/v1/realtime?model=m?user_id=bob", "/v1/realtime?model=m"),
        ("/v1/realtime?user_id=bob&x=a?b=c&model=m", "/v1/realtime?x=a?b=c&model=m"),
    ] {
        let mut app = Wire::connect(proxy.listen);
        app.send(upgrade_of(asked, &[BEARER]));
        let mut server = provider.accept();
        assert_eq!(server.head().lines().next(), Some(&*format!("GET {target} HTTP/1.1")), "{asked}");
        server.send(switching(&[]));
        assert_eq!(app.answer().status, 101, "{asked}");
        let users = || {
            let sessions = proxy.get("/admin/sessions");
            let sessions = sessions["sessions"].as_array().unwrap();
            sessions.iter().map(|session| session["userId"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let seen = eventually(PATIENCE, users, |users| !users.is_empty());
        assert!(seen.iter().all(|user| user == "bob"), "{asked}: {seen:?}");
    }
    assert_eq!(proxy.post("/admin/users/alice/block", &serde_json::json!({})).status, 200);
    for (asked, code) in [
        ("user_id=alice?model=m", 4003),
        ("model=m?user_id=alice", 4003),
        ("user_id=alice?", 4001),
        ("user_id=alice?m", 4001),
        ("user_id=alice?a=b?model=m", 4001),
        ("user_id=alice?user_id=bob", 4001),
        ("user_id=bob&model=m?x", 4001),
    ] {
        let mut app = Wire::connect(proxy.listen);
        app.send(upgrade_of(&format!("/v1/realtime?{asked}"), &[BEARER]));
        assert_eq!((app.answer().status, app.refusal().1), (101, code), "{asked}");
    }
}

#[test]
fn what_edges_add_and_what_is_ours_stays_here() {
    let provider = Upstream::start();
    let proxy = start(&provider.origin(), &[("provider.headers", "x-team, x-trace-*")]);
    let kept = [
        "User-Agent: OpenAI/Python 3.57.0",
        "Accept-Language: de",
        "Content-Type: application/json",
        "OpenAI-Organization: org-1",
        "X-Stainless-Lang: python",
        "Idempotency-Key: 7",
        "X-Team: blue",
        "X-Trace-Id: 8",
    ];
    let dropped = [
        "X-Forwarded-For: 203.0.113.7",
        "X-Forwarded-Proto: https",
        "Forwarded: for=203.0.113.7",
        "X-Real-IP: 203.0.113.7",
        "Via: 1.1 edge",
        "CF-Connecting-IP: 203.0.113.7",
        "CF-Ray: 1",
        "CDN-Loop: cloudflare",
        "True-Client-IP: 203.0.113.7",
        "traceparent: 00-1-2-01",
        "X-Amzn-Trace-Id: Root=1",
        "X-Cloud-Trace-Context: 1",
        "Origin: https://app.example",
        "Referer: https://app.example/alice",
        "X-Trace-Token: secret",
        "OpenAI-Api-Key: sk-other",
        "X-Goog-Api-Key: sk-other",
        "OpenAI-Project: ug_0123",
    ];
    let mut app = Wire::connect(proxy.listen);
    app.send(upgrade(&[&[BEARER, ALICE][..], &kept, &dropped].concat()));
    let head = provider.accept().head();
    for line in kept {
        assert!(head.contains(&format!("{line}\r\n")), "{line} is missing: {head}");
    }
    assert_eq!(names(&head).len(), 6 + kept.len(), "{head}");
    for (name, value) in [("Authorization", "Bearer ek_1"), ("x-api-key", "ek_1")] {
        let mut app = Wire::connect(proxy.listen);
        app.send(upgrade(&[ALICE, &format!("{name}: {value}")]));
        assert_eq!((app.answer().status, app.refusal().1), (101, 4001), "an ephemeral token goes nowhere");
    }
}

#[test]
fn a_redirect_goes_no_further() {
    let provider = Upstream::start();
    let proxy = start(&provider.origin(), &[]);
    for status in ["301 Moved", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let mut app = Wire::connect(proxy.listen);
        app.send(upgrade(&[BEARER, ALICE]));
        let mut server = provider.accept();
        server.head();
        server.send(format!(
            "HTTP/1.1 {status}\r\nLocation: https://elsewhere.example/?key=sk-test\r\nContent-Length: 4\r\n\r\naway"
        ));
        let answer = app.answer();
        assert_eq!((answer.status, code(&answer).as_str()), (502, "upstream_failed"), "{status}");
        assert!(answer.body.contains("redirect") && answer.body.contains("provider.base_url"), "{answer:?}");
        assert!(!format!("{answer:?}").contains("elsewhere"), "{answer:?}");
    }
    serve_one(&proxy, &provider);
}

#[test]
fn the_operators_key_is_blotted_out_of_what_the_provider_says_of_it() {
    const SECRET: &str = "sk-operator/0123456789";
    let provider = Upstream::start();
    let proxy = start(&provider.origin(), &[("OPENAI_API_KEY", SECRET)]);
    let made = proxy.post("/auth/api-keys", &serde_json::json!({"name": "k", "userId": "alice"})).json();
    let bearer = format!("Authorization: Bearer {}", made["apiKey"].as_str().unwrap());
    let refused = |status: &str, headers: &str, pieces: &[&str]| {
        let mut app = Wire::connect(proxy.listen);
        app.send(upgrade(&[&bearer]));
        let mut server = provider.accept();
        assert!(server.head().contains(&format!("Authorization: Bearer {SECRET}\r\n")));
        server.send(format!("HTTP/1.1 {status}\r\n{headers}\r\n"));
        pieces.iter().for_each(|piece| server.send(piece));
        server.finish();
        app.answer()
    };
    let said = format!("Incorrect API key provided: {SECRET}. {}", SECRET.replace('/', "%2F"));
    let halves = said.split_at(40);
    let length = format!("Content-Length: {}\r\nwww-authenticate: Bearer {SECRET}\r\n", said.len());
    let plain = refused("401 Unauthorized", &length, &[halves.0, halves.1]);
    let chunks = [halves.0, halves.1].map(|half| format!("{:x}\r\n{half}\r\n", half.len()));
    let chunked = "Transfer-Encoding: chunked\r\n";
    let chunked = refused("403 Forbidden", chunked, &[&chunks[0], &chunks[1], "0\r\n\r\n"]);
    for answer in [plain, chunked] {
        assert!(answer.body.contains("Incorrect API key provided: ****"), "{answer:?}");
        let shown = format!("{answer:?}");
        assert!(!shown.contains("sk-op") && !shown.contains("0123456789"), "{shown}");
    }
    let zipped =
        refused("401 Unauthorized", "Content-Encoding: gzip\r\nContent-Length: 3\r\n", &["\u{1f}zi"]);
    assert_eq!((zipped.status, code(&zipped).as_str()), (401, "upstream_failed"));
    let success = refused("200 OK", &format!("Content-Length: {}\r\n", SECRET.len()), &[SECRET]);
    assert_eq!(
        (success.status, success.body.as_str()),
        (200, SECRET),
        "the body of a success is the client's"
    );

    let mut app = Wire::connect(proxy.listen);
    app.send(upgrade(&[&bearer]));
    let mut server = provider.accept();
    server.head();
    server.send(switching(&[
        &format!("x-key: {SECRET}"),
        "Location: /",
        "Set-Cookie: a=b",
        "x-request-id: r",
    ]));
    let head = app.answer().head;
    assert!(head.contains("x-key: ****") && head.contains("x-request-id: r\r\n"), "{head}");
    assert!(!head.contains("Location") && !head.contains("Set-Cookie"), "{head}");
    let event = frame(TEXT, SECRET.as_bytes(), None);
    server.send(&event);
    app.expect(&event, "messages are never changed");
    server.send(close(4000, &format!("bad key {SECRET}"), None));
    let end = app.frame();
    assert_eq!(
        (end.close_code(), &end.payload[2..]),
        (4000, format!("bad key {}", "*".repeat(SECRET.len())).as_bytes())
    );
}

#[test]
fn a_providers_refusal_reaches_the_client_whole() {
    let provider = Upstream::start();
    let proxy = start(&provider.origin(), &[]);
    let body = format!("{{\"error\":{{\"message\":\"{}\"}}}}", "x".repeat(100_000));
    let chunked = format!("{:x}\r\n{body}\r\n3;ext=1\r\nend\r\n0\r\nTrailer: t\r\n\r\n", body.len());
    for (status, framing, sent) in [
        ("401 Unauthorized", format!("Content-Length: {}\r\n", body.len()), &body),
        ("403 Forbidden", "Content-Length: 0\r\n".to_owned(), &String::new()),
        ("404 Not Found", String::new(), &body),
        ("429 Too Many Requests", "retry-after: 7\r\nTransfer-Encoding: chunked\r\n".to_owned(), &chunked),
        ("500 Internal Server Error", format!("content-length: {}\r\n", body.len()), &body),
        ("503 Slow Down, Please", String::new(), &String::new()),
    ] {
        let mut app = Wire::connect(proxy.listen);
        app.send(upgrade(&[BEARER, ALICE]));
        let mut server = provider.accept();
        server.head();
        server.send(format!("HTTP/1.1 {status}\r\nx-request-id: req_1\r\n{framing}\r\n"));
        server.send(sent.as_bytes());
        // Where the length is told, the client need not wait for the provider to hang up.
        if framing.is_empty() {
            server.finish();
        }
        let answer = app.answer();
        assert!(answer.head.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{}", answer.head);
        assert!(answer.head.contains("x-request-id: req_1\r\n") && answer.head.contains(&framing));
        assert!(answer.body == **sent, "{status}: {} bytes of {}", answer.body.len(), sent.len());
        server.expect_end();
    }
    serve_one(&proxy, &provider);
}
