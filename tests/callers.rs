//! Who may begin, watch, steer and end a call.

mod raw;

use raw::calls::*;
use raw::http::message;
use raw::*;
use serde_json::json;
use tokenist_kit::{PATIENCE, Tokenist, eventually, request as ask_http};

/// Tokenist with the operator's key, and a key of its own for each of these users.
fn with_keys(provider: &Upstream, users: &[(&str, Option<&str>)]) -> (Tokenist, Vec<String>) {
    let settings = [
        ("provider.api_key_env", "OPERATORS_KEY"),
        ("OPERATORS_KEY", "sk-operator"),
        ("browser.origins", "https://app.example.com"),
    ];
    let proxy = start_as(provider, &settings);
    let keys = users.iter().map(|(user, org)| {
        let mut asked = json!({"name": user, "userId": user});
        org.iter().for_each(|org| asked["orgId"] = json!(org));
        let made = proxy.post("/auth/api-keys", &asked);
        assert_eq!(made.status, 201, "{}", made.body);
        format!("Authorization: Bearer {}", made.json()["apiKey"].as_str().unwrap())
    });
    let keys = keys.collect();
    (proxy, keys)
}

#[test]
fn an_apps_server_steers_and_watches_its_own_calls_alone_and_nothing_counts_twice() {
    let provider = Upstream::start();
    let users = [("alice", Some("acme")), ("server", Some("acme")), ("mallory", Some("other"))];
    let (proxy, keys) = with_keys(&provider, &users);
    let mut call = begin(&proxy, &provider, "/v1/realtime/calls", &[&keys[0]], &usual());
    assert_eq!(call.asked.header("authorization"), Some("Bearer sk-operator"));
    let attach = |key: &str| {
        let mut app = Wire::connect(proxy.listen);
        app.send(request("GET /v1/realtime?call_id=rtc_1", &[&UPGRADE[..], &[key]].concat()));
        app
    };
    let steer = |key: &str, verb: &str| {
        let mut app = Wire::connect(proxy.listen);
        let target = format!("POST /v1/realtime/calls/rtc_1/{verb}");
        app.send(request(&target, &[key, "Content-Type: application/json", "Content-Length: 2"]) + "{}");
        app
    };
    let mut stranger = attach(&keys[2]);
    assert_eq!(stranger.answer().status, 101);
    assert_eq!(stranger.refusal(), ("call_not_allowed".to_owned(), 4003));
    // Nor by a URL that could be read as that of a session of its own.
    for query in ["call_id=rtc_1&model=gpt-realtime", "model=m&call_id=rtc_1", "model=m?call_id=rtc_1"] {
        let mut stranger = Wire::connect(proxy.listen);
        stranger.send(request(&format!("GET /v1/realtime?{query}"), &[&UPGRADE[..], &[&keys[2]]].concat()));
        assert_eq!(stranger.answer().status, 400, "{query}");
    }
    let refused = message(&mut steer(&keys[2], "hangup"));
    assert_eq!((refused.status, &*refused.code()), (404, "call_not_found"));
    assert!(provider.poll().is_none());

    let mut server = attach(&keys[1]);
    let (mut beside, head) = {
        let mut socket = provider.accept();
        let head = socket.head();
        socket.send(switching(&[]));
        (socket, head)
    };
    assert!(head.starts_with("GET /v1/realtime?call_id=rtc_1 ") && head.contains("sk-operator"), "{head}");
    assert_eq!(server.answer().status, 101);
    for socket in [&mut beside, &mut call.socket] {
        say(socket, &done("resp_1", 100, 50));
    }
    server.expect(&frame(TEXT, done("resp_1", 100, 50).to_string().as_bytes(), None), "it hears all");
    let total = |user: &str| usage(&proxy, user)["totalTokens"].clone();
    assert_eq!(eventually(PATIENCE, || total("alice"), |total| *total == json!(150)), json!(150));

    let mut app = steer(&keys[1], "hangup");
    let (_, head) = hangup(&provider, "200 OK");
    assert!(head.starts_with("POST /v1/realtime/calls/rtc_1/hangup "), "{head}");
    assert_eq!(message(&mut app).status, 200);
    beside.send(close(1000, "", None));
    end(&provider, &mut call.socket);
    drop(server);
    expect_none(&proxy);
    assert_eq!((total("alice"), total("server")), (json!(150), json!(0)), "the call's user pays, once");
}

#[test]
fn a_page_begins_with_its_token_the_call_that_it_was_given_for() {
    let provider = Upstream::start();
    let (proxy, keys) = with_keys(&provider, &[("alice", None)]);
    let key = keys[0].strip_prefix("Authorization: ").unwrap();
    let session = json!({"type": "realtime", "model": MODEL, "max_output_tokens": 100});
    let headers = [("Authorization", key), ("Content-Type", "application/json")];
    let made = ask_http(
        proxy.listen,
        "POST",
        "/v1/realtime/client_secrets",
        &headers,
        &json!({"session": session}).to_string(),
    );
    let token = format!("Authorization: Bearer {}", made.json()["value"].as_str().unwrap());
    let page = [&*token, "Origin: https://app.example.com"];
    let sdp = ("application/sdp".to_owned(), SDP.to_owned());
    let mut call = begin(&proxy, &provider, "/v1/realtime/calls", &page, &sdp);
    assert_eq!(call.asked.header("authorization"), Some("Bearer sk-operator"));
    let sent = String::from_utf8_lossy(&call.asked.body).into_owned();
    assert!(
        sent.contains(SDP) && sent.contains(MODEL) && sent.contains("\"max_output_tokens\":100"),
        "{sent}"
    );
    assert!(
        call.answer.head.to_lowercase().contains("access-control-expose-headers: location"),
        "{}",
        call.answer.head
    );
    // Over its data channel it asks for more than it may.
    let wide = json!({"type": "session.updated", "session": {"model": MODEL, "max_output_tokens": "inf"}});
    say(&mut call.socket, &wide);
    hangup(&provider, "200 OK");
    call.socket.send(close(1000, "", None));
    expect_none(&proxy);
    // It names another model, or steers.
    for (target, body, status, code) in [
        ("/v1/realtime/calls?model=gpt-5", &sdp, 403, "model_not_allowed"),
        ("/v1/realtime/calls/rtc_1/hangup", &sdp, 401, "sessions_alone"),
        ("/v1/live/sessions", &sdp, 401, "token_for_other_session"),
    ] {
        let mut app = Wire::connect(proxy.listen);
        app.send(offer(target, &page, body));
        let refused = message(&mut app);
        assert_eq!(refused.status, status, "{target} {} {code}", refused.code());
    }
    assert!(provider.poll().is_none());
}

#[test]
fn what_may_not_be_a_call_is_refused_before_anybody_is_asked() {
    let provider = Upstream::start();
    let sdp = |body: &str| ("application/sdp".to_owned(), body.to_owned());
    let named = "/v1/realtime/calls?model=gpt-realtime";
    let long = format!("{SDP}{}", "a".repeat(40 << 10));
    let huge = format!("{SDP}{}", "a".repeat(300 << 10));
    let ek = ["Authorization: Bearer ek_68a1b2c3", ALICE];
    let nobody = ["Authorization: Bearer sk-alice"];
    let on = start_as(&provider, &[("limits.models", "gpt-realtime, gpt-live-1")]);
    let off = start_as(&provider, &[("webrtc.mode", "off")]);
    let open = start_as(&provider, &[("webrtc.mode", "off"), ("http.unmetered", "pass")]);
    for (proxy, who, target, body, status, code) in [
        (&off, &WHO[..], named, sdp(SDP), 403, "call_not_allowed"),
        (&open, &WHO[..], named, sdp(SDP), 403, "call_not_allowed"),
        (&open, &WHO[..], "/v1/x/../realtime/calls", sdp(SDP), 404, "unknown_path"),
        (&on, &ek[..], named, sdp(SDP), 403, "call_not_allowed"),
        (&on, &nobody[..], named, sdp(SDP), 401, "unauthorized"),
        (&on, &WHO[..], "/v1/realtime/calls", sdp(SDP), 400, "model_missing"),
        (&on, &WHO[..], "/v1/realtime/calls?model=gpt-5", sdp(SDP), 403, "model_not_allowed"),
        (&on, &WHO[..], "/v1/realtime/calls", form(&json!({"model": "gpt-5"})), 403, "model_not_allowed"),
        (&on, &WHO[..], named, form(&json!({"model": "gpt-5"})), 400, "bad_request"),
        (&on, &WHO[..], named, sdp("hello"), 400, "bad_request"),
        (&on, &WHO[..], named, ("text/html".to_owned(), SDP.to_owned()), 400, "bad_request"),
        (&on, &WHO[..], named, sdp(&long), 413, "message_too_big"),
        (&on, &WHO[..], named, sdp(&huge), 413, "message_too_big"),
    ] {
        let mut app = Wire::connect(proxy.listen);
        app.send(offer(target, who, &body));
        let refused = message(&mut app);
        assert_eq!((refused.status, &*refused.code()), (status, code), "{target} {:?}", refused.head);
    }
    assert!(provider.poll().is_none(), "nobody was asked");
}

#[test]
fn a_call_has_a_place_among_its_users_sessions_and_gives_it_back() {
    let provider = Upstream::start();
    let proxy = start_as(&provider, &[("limits.sessions_per_user", "1")]);
    let mut first = call(&proxy, &provider);
    let mut app = Wire::connect(proxy.listen);
    app.send(offer("/v1/realtime/calls", &WHO, &usual()));
    let refused = message(&mut app);
    assert_eq!((refused.status, &*refused.code()), (429, "too_many_sessions"));
    end(&provider, &mut first.socket);
    expect_none(&proxy);
    // One that the provider refuses, whose words pass, and one whose answer names no call.
    for (answer, status) in [
        ("HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\n{}".to_owned(), 400),
        (format!("HTTP/1.1 201 Created\r\nContent-Length: {}\r\n\r\n{ANSWER}", ANSWER.len()), 502),
    ] {
        app = Wire::connect(proxy.listen);
        app.send(offer("/v1/realtime/calls", &WHO, &usual()));
        let mut line = eventually(PATIENCE, || provider.poll(), Option::is_some).expect("it is asked");
        message(&mut line);
        line.send(answer);
        assert_eq!(message(&mut app).status, status);
    }
    call(&proxy, &provider);
}

#[test]
fn a_telephone_call_is_a_session_from_when_it_is_accepted() {
    let provider = Upstream::start();
    let proxy = start_as(&provider, &[]);
    let mut app = Wire::connect(proxy.listen);
    let body = ("application/json".to_owned(), json!({"type": "realtime", "model": MODEL}).to_string());
    app.send(offer("/v1/realtime/calls/rtc_9/accept", &WHO, &body));
    let mut line = provider.accept();
    assert_eq!(message(&mut line).body, body.1.as_bytes());
    line.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(message(&mut app).status, 200);
    let (mut socket, head) = attached(&provider);
    assert!(head.starts_with("GET /v1/realtime?call_id=rtc_9 "), "{head}");
    let listed = eventually(PATIENCE, || sessions(&proxy), |all| all.len() == 1);
    assert_eq!(listed[0]["transport"], "sip", "{listed:?}");
    say(&mut socket, &done("resp_1", 100, 0));
    end(&provider, &mut socket);
    expect_none(&proxy);
    assert_eq!(usage(&proxy, "alice")["totalTokens"], 100);
}
