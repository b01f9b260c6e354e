//! Calls whose sound goes past tokenist: what is metered of them on their socket, and how they end. Over raw sockets, with a provider
//! that is told what to say.

mod raw;

use raw::calls::*;
use raw::http::message;
use raw::*;
use serde_json::json;
use std::time::{Duration, Instant};
use tokenist_kit::{PATIENCE, Signal, Tokenist, eventually};

#[test]
fn a_call_is_metered_on_its_socket_to_the_token() {
    let provider = Upstream::start();
    let proxy = start_as(&provider, &[]);
    let mut call = call(&proxy, &provider);
    assert!(call.asked.head.starts_with("POST /v1/realtime/calls HTTP/1.1"), "{}", call.asked.head);
    assert_eq!(call.asked.body, usual().1.as_bytes(), "what nobody has to change passes as it came");
    assert_eq!(call.asked.header("authorization"), Some("Bearer sk-alice"));
    assert_eq!(call.asked.header("x-user-id"), None);
    let told = (call.answer.status, call.answer.header("content-type"), call.answer.header("location"));
    let here = "http://tokenist/v1/realtime/calls/rtc_1";
    assert_eq!(told, (201, Some("text/plain; charset=utf-8"), Some(here)));
    assert_eq!((&*call.answer.body, call.answer.header("x-request-id")), (ANSWER.as_bytes(), Some("r1")));
    assert!(call.attach.starts_with("GET /v1/realtime?call_id=rtc_1 HTTP/1.1"), "{}", call.attach);
    assert!(call.attach.contains("Authorization: Bearer sk-alice"), "the caller's own key opens it");

    let listed = eventually(PATIENCE, || sessions(&proxy), |all| all.len() == 1);
    assert_eq!(
        (&listed[0]["transport"], &listed[0]["model"], &listed[0]["callId"]),
        (&json!("webrtc"), &json!(MODEL), &json!("rtc_1")),
        "{listed:?}"
    );
    for (id, text_in, audio_out) in [("resp_1", 100, 40), ("resp_2", 200, 60)] {
        say(&mut call.socket, &json!({"type": "response.created", "response": {"id": id}}));
        say(&mut call.socket, &done(id, text_in, audio_out));
        say(&mut call.socket, &done(id, text_in, audio_out));
    }
    call.socket.send(frame(PING, b"there?", None));
    let pong = call.socket.frame();
    assert_eq!((pong.first, &*pong.payload, pong.key.is_some()), (PONG, &b"there?"[..], true));
    end(&provider, &mut call.socket);
    expect_none(&proxy);
    assert!(provider.poll().is_none(), "a call that its provider has ended is not ended again");
    let past = || proxy.get("/admin/sessions/past")["sessions"][0]["callId"].clone();
    assert_eq!(eventually(PATIENCE, past, |call| *call == json!("rtc_1")), json!("rtc_1"));
    let calls = ["opened", "closed"].map(|what| proxy.metric(&format!("tokenist_calls_{what}_total")));
    assert_eq!(calls, [Some(1.0), Some(1.0)]);
    let used = usage(&proxy, "alice");
    assert_eq!((&used["totalTokens"], &used["estimatedCostUsd"]), (&json!(400), &json!(0.0)), "{used}");
}

/// What an application says before anybody hears the provider is not said again.
#[test]
fn an_answer_waits_for_the_calls_socket_but_not_for_long() {
    let provider = Upstream::start();
    let proxy = start_as(&provider, &[]);
    let mut app = Wire::connect(proxy.listen);
    app.send(offer("/v1/realtime/calls", &WHO, &usual()));
    let mut line = provider.accept();
    message(&mut line);
    let created_at = Instant::now();
    line.send(created("https://api.openai.com/v1/realtime/calls/rtc_1"));
    // The provider lets the socket wait.
    let mut socket = provider.accept();
    socket.head();
    assert_eq!(message(&mut app).status, 201);
    assert!(created_at.elapsed() >= Duration::from_millis(300), "{:?}", created_at.elapsed());
}

#[test]
fn each_form_of_an_offer_reaches_its_provider_and_names_its_model() {
    let sdp = ("application/sdp".to_owned(), SDP.to_owned());
    for (target, body, path) in [
        ("/v1/realtime/calls?model=gpt-realtime", &sdp, "/v1/realtime/calls?model=gpt-realtime"),
        ("/realtime/calls", &usual(), "/v1/realtime/calls"),
        ("/p/openai/v1/realtime/calls", &usual(), "/v1/realtime/calls"),
        ("/openai/v1/realtime/calls?webrtcfilter=on", &usual(), "/openai/v1/realtime/calls?webrtcfilter=on"),
        ("/v1/realtime?model=gpt-realtime", &sdp, "/v1/realtime?model=gpt-realtime"),
    ] {
        let provider = Upstream::start();
        let proxy = start_as(&provider, &[]);
        let mut call = begin(&proxy, &provider, target, &WHO, body);
        let first = format!("POST {path} HTTP/1.1\r\n");
        assert!(call.asked.head.starts_with(&first), "{target}: {}", call.asked.head);
        assert_eq!(call.asked.body, body.1.as_bytes(), "{target}");
        say(&mut call.socket, &done("resp_1", 1_000_000, 0));
        let cost = || usage(&proxy, "alice")["costUsd"].clone();
        assert_eq!(eventually(PATIENCE, cost, |cost| *cost == json!(4.0)), json!(4.0), "{target}");
    }
}

#[test]
fn a_live_session_costs_its_first_seconds_at_once_and_they_count_towards_its_time() {
    let provider = Upstream::start();
    let proxy = start_as(&provider, &[]);
    let body = json!({"session": {"model": "gpt-live-1.1"}, "transport": {"type": "webrtc", "sdp": SDP}});
    let body = ("application/json".to_owned(), body.to_string());
    let mut app = Wire::connect(proxy.listen);
    app.send(offer("/v1/live/sessions", &WHO, &body));
    let mut line = provider.accept();
    message(&mut line);
    let told =
        json!({"session": {"id": "live_1"}, "transport": {"type": "webrtc", "sdp": ANSWER}}).to_string();
    line.send(format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{told}",
        told.len()
    ));
    assert_eq!(message(&mut app).body, told.as_bytes());
    let (mut socket, head) = attached(&provider);
    assert!(head.starts_with("GET /v1/live/sessions/live_1/attach HTTP/1.1"), "{head}");
    let cost = || usage(&proxy, "alice")["costUsd"].as_f64().map(|cost| (cost * 1e6).round());
    // 15 s at $0.05 a minute.
    assert_eq!(eventually(PATIENCE, cost, |cost| *cost == Some(12_500.0)), Some(12_500.0));
    say(
        &mut socket,
        &json!({"type": "session.closed", "reason": "close_requested", "usage": {"seconds": 60}}),
    );
    end(&provider, &mut socket);
    expect_none(&proxy);
    assert_eq!(eventually(PATIENCE, cost, |cost| *cost == Some(50_000.0)), Some(50_000.0));
}

#[test]
fn a_limit_in_the_middle_of_a_response_ends_the_call_at_once() {
    let provider = Upstream::start();
    let proxy = start_as(&provider, &[("limits.max_total_tokens", "120")]);
    let mut call = call(&proxy, &provider);
    say(&mut call.socket, &json!({"type": "response.created", "response": {"id": "resp_1"}}));
    // Some 30 bytes are two seconds of speech, so 40 tokens of sound and 8 of text.
    let words = json!({"type": "response.output_audio_transcript.delta", "response_id": "resp_1",
        "delta": "thirty bytes of what is spoken"});
    say(&mut call.socket, &words);
    say(&mut call.socket, &words);
    std::thread::sleep(Duration::from_millis(200));
    assert!(provider.poll().is_none(), "it is not reached");
    let crossed_at = Instant::now();
    say(&mut call.socket, &words);
    let (at, head) = hangup(&provider, "200 OK");
    assert!(head.starts_with("POST /v1/realtime/calls/rtc_1/hangup HTTP/1.1"), "{head}");
    assert!(head.contains("Authorization: Bearer sk-alice"), "{head}");
    assert!(at - crossed_at < Duration::from_millis(500), "{:?}", at - crossed_at);
    let cancel = call.socket.frame();
    assert!(String::from_utf8_lossy(&cancel.payload).contains("response.cancel"), "it is asked to stop, too");
    // What it states after all is what is booked.
    say(&mut call.socket, &done("resp_1", 30, 90));
    call.socket.send(close(1000, "", None));
    expect_none(&proxy);
    let used = usage(&proxy, "alice");
    assert_eq!((&used["totalTokens"], &used["estimatedCostUsd"]), (&json!(120), &json!(0.0)), "{used}");
    // The next one is refused before anybody is asked.
    let mut app = Wire::connect(proxy.listen);
    app.send(offer("/v1/realtime/calls", &WHO, &usual()));
    let refused = message(&mut app);
    assert_eq!((refused.status, &*refused.code()), (429, "token_limit_reached"));
    assert!(provider.poll().is_none());
}

#[test]
fn a_response_that_begins_before_the_call_has_ended_is_booked_by_estimate() {
    let provider = Upstream::start();
    let proxy = start_as(&provider, &[("limits.max_total_tokens", "120")]);
    let mut call = call(&proxy, &provider);
    let mut line = {
        say(&mut call.socket, &done("resp_1", 100, 40));
        let mut line = provider.accept();
        message(&mut line);
        line
    };
    say(&mut call.socket, &json!({"type": "response.created", "response": {"id": "resp_2"}}));
    call.socket.send(close(1000, "", None));
    line.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    expect_none(&proxy);
    let used = usage(&proxy, "alice");
    assert!(used["totalTokens"].as_u64() > Some(140), "what it reads is estimated: {used}");
    assert!(used["estimatedCostUsd"].as_f64() > Some(0.0), "{used}");
}

#[test]
fn a_provider_that_does_not_answer_an_offer_is_not_waited_for_longer_than_one_that_is_dialled() {
    let provider = Upstream::start();
    let proxy = start_as(&provider, &[("proxy.dial_seconds", "1")]);
    let mut app = Wire::connect(proxy.listen);
    app.send(offer("/v1/realtime/calls", &WHO, &usual()));
    let mut line = provider.accept();
    message(&mut line);
    assert_eq!(message(&mut app).status, 502);
    expect_none(&proxy);
}

#[test]
fn sound_that_is_played_is_charged_while_it_plays() {
    let provider = Upstream::start();
    let proxy = start_as(&provider, &[("limits.max_total_tokens", "30")]);
    let mut call = call(&proxy, &provider);
    say(&mut call.socket, &json!({"type": "response.created", "response": {"id": "resp_1"}}));
    say(&mut call.socket, &json!({"type": "output_audio_buffer.started", "response_id": "resp_1"}));
    let began_at = Instant::now();
    let (at, _) = hangup(&provider, "200 OK");
    // 30 tokens are a second and a half of sound; time is charged each second.
    assert!((Duration::from_millis(1_400)..Duration::from_secs(4)).contains(&(at - began_at)));
    call.socket.send(close(1000, "", None));
    expect_none(&proxy);
}

#[test]
fn a_block_an_operator_and_a_drain_end_a_call() {
    type End = fn(&Tokenist);
    let block: End = |proxy| {
        assert_eq!(proxy.post("/admin/users/alice/block", &json!({"reason": "abuse"})).status, 200);
    };
    let kill: End = |proxy| {
        let id = sessions(proxy)[0]["sessionId"].as_str().unwrap().to_owned();
        assert_eq!(proxy.delete(&format!("/admin/sessions/{id}")).status, 200);
    };
    let drain: End = |proxy| proxy.signal(Signal::Terminate);
    for (what, end, code) in [("block", block, 4003), ("kill", kill, 4003), ("drain", drain, 1001)] {
        let provider = Upstream::start();
        let mut proxy = start_as(&provider, &[("proxy.drain_seconds", "1")]);
        let mut call = call(&proxy, &provider);
        eventually(PATIENCE, || sessions(&proxy), |all| all.len() == 1);
        end(&proxy);
        let (_, head) = hangup(&provider, "200 OK");
        assert!(head.contains("/calls/rtc_1/hangup"), "{what}: {head}");
        call.socket.send(close(1000, "", None));
        if what == "drain" {
            assert!(proxy.wait(PATIENCE).is_some_and(|status| status.success()), "{}", proxy.output());
            continue;
        }
        expect_none(&proxy);
        let past = || proxy.get("/admin/sessions/past")["sessions"][0].clone();
        let past = eventually(PATIENCE, past, |past| !past.is_null());
        assert_eq!((&past["closeCode"], &past["transport"]), (&json!(code), &json!("webrtc")), "{what}");
    }
}

#[test]
fn a_call_that_nobody_can_watch_is_ended() {
    let provider = Upstream::start();
    let proxy = start_as(&provider, &[]);
    let mut app = Wire::connect(proxy.listen);
    app.send(offer("/v1/realtime/calls", &WHO, &usual()));
    let mut line = provider.accept();
    message(&mut line);
    line.send(created("/v1/realtime/calls/rtc_1"));
    let began_at = Instant::now();
    assert_eq!(message(&mut app).header("location"), Some("/v1/realtime/calls/rtc_1"));
    let mut tries = 0;
    loop {
        let mut line = provider.accept();
        let head = line.head();
        if head.starts_with("POST") {
            assert!(head.contains("/calls/rtc_1/hangup"), "{head}");
            line.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            break;
        }
        tries += 1;
        line.send("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    }
    assert!((3..20).contains(&tries), "{tries} tries");
    assert!((Duration::from_secs(1)..Duration::from_secs(5)).contains(&began_at.elapsed()));
    expect_none(&proxy);
    assert_eq!(proxy.metric("tokenist_calls_unwatched_total"), Some(1.0));
}

#[test]
fn where_the_operator_says_so_a_call_goes_on_unwatched() {
    let provider = Upstream::start();
    let proxy = start_as(&provider, &[("webrtc.sideband", "best_effort")]);
    let mut app = Wire::connect(proxy.listen);
    // The provider's own token, which says of the session what nobody here knows.
    let sdp = ("application/sdp".to_owned(), SDP.to_owned());
    app.send(offer("/v1/realtime/calls", &["Authorization: Bearer ek_68a1b2c3", ALICE], &sdp));
    let mut line = provider.accept();
    assert_eq!(message(&mut line).header("authorization"), Some("Bearer ek_68a1b2c3"));
    line.send(created("/v1/realtime/calls/rtc_1"));
    assert_eq!(message(&mut app).status, 201);
    let until = Instant::now() + Duration::from_millis(3_500);
    while Instant::now() < until {
        if let Some(mut line) = provider.poll() {
            assert!(line.head().starts_with("GET"), "nobody ends it");
            line.send("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(sessions(&proxy).len(), 1);
    proxy.post("/admin/users/alice/block", &json!({"reason": "abuse"}));
    hangup(&provider, "200 OK");
    expect_none(&proxy);
}

#[test]
fn a_hangup_that_fails_is_tried_again_shown_and_charged_on() {
    let provider = Upstream::start();
    let proxy = start_as(&provider, &[]);
    let mut call = call(&proxy, &provider);
    eventually(PATIENCE, || sessions(&proxy), |all| all.len() == 1);
    proxy.post("/admin/users/alice/block", &json!({"reason": "abuse"}));
    for _ in 0..3 {
        hangup(&provider, "500 Internal Server Error");
    }
    let fails = || sessions(&proxy).first().map(|session| session["hangupFails"].clone());
    assert_eq!(eventually(PATIENCE, fails, |fails| *fails == Some(json!(true))), Some(json!(true)));
    say(&mut call.socket, &done("resp_1", 1_000, 0));
    let total = || usage(&proxy, "alice")["totalTokens"].clone();
    assert_eq!(eventually(PATIENCE, total, |total| *total == json!(1_000)), json!(1_000));
    hangup(&provider, "200 OK");
    call.socket.send(close(1000, "", None));
    expect_none(&proxy);
    assert_eq!(proxy.metric("tokenist_hangups_failed_total"), Some(3.0));
}

#[test]
fn a_socket_that_is_lost_is_opened_again_and_a_provider_that_is_gone_leaves_nothing_open() {
    let provider = Upstream::start();
    let proxy = start_as(&provider, &[]);
    let mut call = call(&proxy, &provider);
    say(&mut call.socket, &done("resp_1", 100, 0));
    call.socket.reset();
    let (mut socket, _) = attached(&provider);
    say(&mut socket, &done("resp_1", 100, 0));
    say(&mut socket, &done("resp_2", 200, 0));
    say(&mut socket, &json!({"type": "response.created", "response": {"id": "resp_3"}}));
    let words = json!({"type": "response.output_text.delta", "response_id": "resp_3", "delta": "abcdefgh"});
    say(&mut socket, &words);
    let total = || usage(&proxy, "alice")["totalTokens"].clone();
    assert_eq!(eventually(PATIENCE, total, |total| *total == json!(300)), json!(300));
    drop((socket, provider));
    let left = eventually(Duration::from_secs(30), || sessions(&proxy), Vec::is_empty);
    assert!(left.is_empty(), "{left:?}");
    let used = usage(&proxy, "alice");
    assert_eq!(used["requests"], 3, "what was under way is booked by estimate: {used}");
    assert!(used["estimatedCostUsd"].as_f64().is_some_and(|cost| cost > 0.0), "{used}");
}
