//! Relayed calls: sound and messages pass by tokenist, which counts, cuts and ends them, between an application and a provider that
//! are both here.

mod ends_of_calls;
mod raw;

use ends_of_calls::relay::*;
use ends_of_calls::{Heard, Peer, USUAL, Wish};
use raw::calls::{MODEL, WHO, expect_none, offer, sessions, usage};
use raw::http::message;
use raw::*;
use serde_json::{Value, json};
use std::net::TcpListener;
use std::time::{Duration, Instant};
use str0m::format::Codec;
use tokenist_kit::{PATIENCE, eventually, request as ask_http};

#[test]
fn sound_and_messages_pass_both_ways_as_they_are_and_usage_is_counted_to_the_token() {
    let provider = Upstream::start();
    let proxy = start_as(&provider, &[]);
    let call = call(&proxy, &provider);
    assert!(
        call.asked.head.starts_with("POST /v1/realtime/calls?model=gpt-realtime HTTP/1.1"),
        "{}",
        call.asked.head
    );
    assert_eq!(call.asked.header("content-type"), Some("application/sdp"));
    assert_eq!(call.answer.header("content-type"), Some("application/sdp"));
    let location = call.answer.header("location").unwrap_or_default();
    assert!(location.starts_with("/v1/realtime/calls/rtc_"), "{location}");

    call.app.say(r#"{"type":"session.update","session":{"type":"realtime"}}"#);
    assert_eq!(call.provider.message(), r#"{"type":"session.update","session":{"type":"realtime"}}"#);
    for codec in ALL {
        call.app.play(50, codec);
        let first = 50 * ALL.iter().position(|other| *other == codec).unwrap() as u64;
        assert_eq!(sounds(&call.provider, 50), (first..first + 50).collect::<Vec<_>>(), "{codec:?} up");
        call.provider.play(50, codec);
        assert_eq!(sounds(&call.app, 50), (first..first + 50).collect::<Vec<_>>(), "{codec:?} down");
    }
    for way in ["up", "down"] {
        assert_eq!(proxy.metric(&format!("tokenist_{way}stream_packets_total")), Some(150.0), "{way}");
    }
    for event in [began("resp_1"), done("resp_1", 100, 40), done("resp_1", 100, 40), done("resp_2", 200, 60)]
    {
        call.provider.say(&event);
        assert_eq!(call.app.message(), event);
    }
    call.provider.say_bytes(true, vec![0, 1, 255]);
    assert_eq!(call.app.next(), Heard::Binary(vec![0, 1, 255]));
    let long = format!(r#"{{"type":"session.updated","x":"{}"}}"#, "y".repeat(200_000));
    call.provider.say(&long);
    assert_eq!(call.app.message(), long);
    expect_tokens(&proxy, 400);
    let listed = sessions(&proxy);
    assert_eq!(
        (&listed[0]["transport"], &listed[0]["model"]),
        (&json!("webrtc"), &json!(MODEL)),
        "{listed:?}"
    );

    call.app.close();
    hangup(&provider, PATIENCE);
    assert_eq!(to_the_end(&call.provider).last(), Some(&Heard::Closed));
    expect_none(&proxy);
    let used = usage(&proxy, "alice");
    assert_eq!((&used["totalTokens"], &used["estimatedCostUsd"]), (&json!(400), &json!(0.0)), "{used}");
}

#[test]
fn at_a_limit_the_crossing_event_is_the_last_and_the_reason_comes_before_the_end() {
    let provider = Upstream::start();
    let proxy = start_as(&provider, &[("limits.max_total_tokens", "120")]);
    let call = call(&proxy, &provider);
    call.provider.say(&began("resp_1"));
    let crossing = done("resp_1", 100, 40);
    let beside = json!({"type": "rate_limits.updated"}).to_string();
    for event in [&crossing, &done("resp_2", 1, 1), &beside] {
        call.provider.say(event);
    }
    let crossed_at = Instant::now();
    // It speaks on, whatever it is told.
    for _ in 0..50 {
        call.provider.play(1, Codec::Opus);
        std::thread::sleep(Duration::from_millis(5));
    }
    let heard = to_the_end(&call.app);
    let texts = messages(&heard);
    assert_eq!((texts[0], texts[1]), (&*began("resp_1"), &*crossing), "{texts:?}");
    assert_eq!(texts.len(), 3, "{texts:?}");
    let error: Value = serde_json::from_str(texts[2]).unwrap();
    assert_eq!(
        (&error["type"], &error["error"]["code"]),
        (&json!("error"), &json!("token_limit_reached")),
        "{error}"
    );
    let late = heard.iter().filter(|heard| match heard {
        Heard::Sound(_, _, at) => *at > crossed_at + Duration::from_millis(100),
        _ => false,
    });
    assert_eq!(late.count(), 0, "sound stops at once");
    hangup(&provider, PATIENCE);
    expect_none(&proxy);
    // What it states of other responses is counted all the same.
    expect_tokens(&proxy, 142);
    let code = || proxy.get("/admin/sessions/past")["sessions"][0]["closeCode"].clone();
    assert_eq!(eventually(PATIENCE, code, |code| *code == 4004), 4004);
}

#[test]
fn a_response_that_is_cut_is_asked_to_stop_and_booked_as_its_provider_states_it() {
    let provider = Upstream::start();
    let proxy = start_as(&provider, &[("limits.max_total_tokens", "120")]);
    let call = call(&proxy, &provider);
    call.provider.say(&began("resp_1"));
    // Some 30 bytes are two seconds of speech, so 40 tokens of sound and 8 of text.
    (0..3).for_each(|_| call.provider.say(&words("resp_1")));
    let asked = call.provider.message();
    assert!(asked.contains("response.cancel"), "{asked}");
    let heard = to_the_end(&call.app);
    let texts = messages(&heard);
    assert_eq!(texts.len(), 5, "{texts:?}");
    assert!(texts[4].contains("token_limit_reached"), "{texts:?}");
    call.provider.say(&done("resp_1", 30, 90));
    hangup(&provider, PATIENCE);
    expect_none(&proxy);
    let used = usage(&proxy, "alice");
    assert_eq!((&used["totalTokens"], &used["estimatedCostUsd"]), (&json!(120), &json!(0.0)), "{used}");
}

#[test]
fn a_user_who_is_blocked_is_told_and_cut_off() {
    let provider = Upstream::start();
    let proxy = start_as(&provider, &[]);
    let calls = [call(&proxy, &provider), call(&proxy, &provider)];
    let blocked_at = Instant::now();
    proxy.post("/admin/users/alice/block", &json!({"reason": "abuse"}));
    for call in &calls {
        let (text, at) = call.app.find("a reason", |heard| match heard {
            Heard::Message(text, at) => Some((text.clone(), *at)),
            _ => None,
        });
        assert!(text.contains("user_blocked"), "{text}");
        assert!(at - blocked_at < Duration::from_millis(500), "{:?}", at - blocked_at);
        to_the_end(&call.app);
    }
    (0..2).for_each(|_| hangup(&provider, PATIENCE));
    expect_none(&proxy);
}

#[test]
fn a_message_that_its_reader_does_not_take_is_answered_by_an_event_and_counted() {
    let provider = Upstream::start();
    let proxy = start_as(&provider, &[]);
    let narrow = Wish { message_bytes_max: 65_536, ..USUAL };
    let call = call_as(&proxy, &provider, narrow, &WHO);
    let usage = r#""usage":{"total_tokens":7,"input_tokens":7,"output_tokens":0,"input_token_details":{"text_tokens":7}}"#;
    let long = format!(
        r#"{{"type":"response.done","response":{{"id":"resp_1","status":"completed",{usage},"x":"{}"}}}}"#,
        "y".repeat(100_000)
    );
    call.provider.say(&long);
    let told: Value = serde_json::from_str(&call.app.message()).unwrap();
    assert_eq!(told["error"]["code"], "message_too_big", "{told}");
    expect_tokens(&proxy, 7);
    call.provider.say(&began("resp_2"));
    assert_eq!(call.app.message(), began("resp_2"), "the call goes on");
}

#[test]
fn the_codecs_and_lines_of_an_answer_are_what_both_ends_have() {
    let provider = Upstream::start();
    let proxy = start_as(&provider, &[]);
    let narrow = Wish { codecs: &[Codec::PCMA, Codec::Opus], ..USUAL };
    let call = call_as(&proxy, &provider, narrow, &WHO);
    let offered = String::from_utf8_lossy(&call.asked.body).into_owned();
    assert!(offered.contains("PCMA/8000") && !offered.contains("PCMU/8000"), "{offered}");
    call.app.play(3, Codec::PCMA);
    assert_eq!(sounds(&call.provider, 3), [0, 1, 2]);
    drop(call);
    // Without sound.
    let silent = call_as(&proxy, &provider, Wish { has_sound: false, ..USUAL }, &WHO);
    assert!(!String::from_utf8_lossy(&silent.asked.body).contains("m=audio"));
    silent.app.say("{}");
    assert_eq!(silent.provider.message(), "{}");
}

#[test]
fn events_are_heard_also_where_the_application_opens_no_channel() {
    let provider = Upstream::start();
    let proxy = start_as(&provider, &[]);
    let call = call_as(&proxy, &provider, Wish { label: None, ..USUAL }, &WHO);
    assert_eq!(call.provider.opened(), "oai-events");
    call.provider.say(&done("resp_1", 100, 50));
    expect_tokens(&proxy, 150);
    call.app.play(3, Codec::Opus);
    assert_eq!(sounds(&call.provider, 3), [0, 1, 2]);
}

#[test]
fn a_channel_that_was_closed_leaves_its_place_to_another() {
    let provider = Upstream::start();
    let proxy = start_as(&provider, &[]);
    let call = call(&proxy, &provider);
    for number in 0..20 {
        let label = format!("channel {number}");
        call.app.open(&label);
        assert_eq!((call.app.opened(), call.provider.opened()), (label.clone(), label));
        call.app.say("{}");
        assert_eq!(call.provider.message(), "{}", "of {number}");
        call.app.close_channel();
    }
}

#[test]
fn where_no_udp_passes_a_call_goes_over_tcp() {
    let provider = Upstream::start();
    let port = free_port();
    let proxy = start_as(&provider, &[("webrtc.tcp_port", &port.to_string())]);
    let call = call_as(&proxy, &provider, Wish { over_tcp: true, ..USUAL }, &WHO);
    let told = String::from_utf8_lossy(&call.answer.body).into_owned();
    assert!(told.contains(&format!(" {port} typ host tcptype passive")), "{told}");
    call.app.play(50, Codec::Opus);
    assert_eq!(sounds(&call.provider, 50), (0..50).collect::<Vec<_>>());
    let long = format!(r#"{{"type":"session.updated","x":"{}"}}"#, "y".repeat(200_000));
    call.provider.say(&long);
    assert_eq!(call.app.message(), long);
    call.app.close();
    hangup(&provider, PATIENCE);
    expect_none(&proxy);
}

#[test]
fn a_provider_that_no_udp_gets_to_is_reached_over_tcp() {
    let provider = Upstream::start();
    let proxy = start_as(&provider, &[]);
    let call = begin_with(&proxy, &provider, USUAL, &WHO, |offer| Peer::answering_over_tcp(offer, &ALL));
    call.app.opened();
    call.provider.opened();
    call.provider.play(50, Codec::Opus);
    assert_eq!(sounds(&call.app, 50), (0..50).collect::<Vec<_>>());
    call.provider.say(&done("resp_1", 100, 50));
    expect_tokens(&proxy, 150);
    call.provider.close();
    to_the_end(&call.app);
    expect_none(&proxy);
}

/// A port that nobody has.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn a_page_keeps_to_its_token_over_the_data_channel() {
    let provider = Upstream::start();
    let settings = [("provider.api_key_env", "OPERATORS_KEY"), ("OPERATORS_KEY", "sk-operator")];
    let proxy = start_as(&provider, &settings);
    let made = proxy.post("/auth/api-keys", &json!({"name": "alice", "userId": "alice"}));
    let key = format!("Bearer {}", made.json()["apiKey"].as_str().unwrap());
    let session = json!({"type": "realtime", "model": MODEL, "max_output_tokens": 100});
    let headers = [("Authorization", &*key), ("Content-Type", "application/json")];
    let body = json!({"session": session}).to_string();
    let made = ask_http(proxy.listen, "POST", "/v1/realtime/client_secrets", &headers, &body);
    let token = format!("Authorization: Bearer {}", made.json()["value"].as_str().unwrap());

    let (app, sdp) = Peer::offering(USUAL);
    let mut client = Wire::connect(proxy.listen);
    client.send(offer("/v1/realtime/calls", &[&token], &bare(&sdp)));
    let mut line = provider.accept();
    let asked = message(&mut line);
    let form = String::from_utf8(asked.body.clone()).unwrap();
    assert!(form.contains("\"max_output_tokens\":100"), "{form}");
    let offered = form.split("\r\n\r\n").nth(1).and_then(|part| part.split("\r\n--tokenist").next()).unwrap();
    let (peer, answered) = Peer::answering(&format!("{offered}\r\n"), &ALL);
    line.send(created("application/sdp", &answered));
    app.accept(&String::from_utf8(message(&mut client).body).unwrap());
    app.opened();
    app.say(r#"{"type":"response.create","response":{"max_output_tokens":4000}}"#);
    let told = app.message();
    assert!(told.contains("token"), "{told}");
    to_the_end(&app);
    hangup(&provider, PATIENCE);
    let heard = to_the_end(&peer);
    assert!(messages(&heard).iter().all(|text| !text.contains("4000")), "{heard:?}");
}
