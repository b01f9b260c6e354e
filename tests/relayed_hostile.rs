//! Relayed calls that go wrong: who is gone, who is refused, and what comes to a port that is for no call.

mod ends_of_calls;
mod raw;

use ends_of_calls::relay::*;
use ends_of_calls::{Heard, Peer, USUAL, Wish};
use raw::calls::{MODEL, WHO, expect_none, offer, sessions, usage};
use raw::http::message;
use raw::*;
use serde_json::json;
use std::net::UdpSocket;
use std::time::{Duration, Instant};
use str0m::format::Codec;
use tokenist_kit::{PATIENCE, eventually};

#[test]
fn a_goodbye_that_is_lost_is_said_again() {
    let provider = Upstream::start();
    let proxy = start_as(&provider, &[]);
    let call = call(&proxy, &provider);
    call.app.lose_a_goodbye();
    proxy.post("/admin/users/alice/block", &json!({"reason": "abuse"}));
    let heard = to_the_end(&call.app);
    assert!(messages(&heard).iter().any(|text| text.contains("user_blocked")), "{heard:?}");
    hangup(&provider, PATIENCE);
    expect_none(&proxy);
}

#[test]
fn a_side_that_dies_without_a_word_is_noticed_and_what_was_under_way_is_booked() {
    let provider = Upstream::start();
    let proxy = start_as(&provider, &[]);
    let [of_app, of_provider] = [call(&proxy, &provider), call(&proxy, &provider)];
    for call in [&of_app, &of_provider] {
        call.provider.say(&began("resp_1"));
        call.provider.say(&words("resp_1"));
        assert_eq!(call.app.message(), began("resp_1"));
        assert_eq!(call.app.message(), words("resp_1"));
    }
    let died_at = Instant::now();
    of_app.app.die();
    of_provider.provider.die();
    let told = of_provider.app.find("a reason", |heard| match heard {
        Heard::Message(text, _) => Some(text.clone()),
        _ => None,
    });
    assert!(told.contains("error"), "{told}");
    (0..2).for_each(|_| hangup(&provider, Duration::from_secs(30)));
    let left = eventually(Duration::from_secs(10), || sessions(&proxy), Vec::is_empty);
    assert!(left.is_empty(), "{left:?}");
    assert!(died_at.elapsed() < Duration::from_secs(30), "{:?}", died_at.elapsed());
    let used = usage(&proxy, "alice");
    assert_eq!(used["requests"], 2, "{used}");
    assert!(used["estimatedCostUsd"].as_f64().is_some_and(|cost| cost > 0.0), "{used}");
}

#[test]
fn a_provider_that_ends_a_call_is_not_asked_to_end_it() {
    let provider = Upstream::start();
    let proxy = start_as(&provider, &[]);
    let call = call(&proxy, &provider);
    call.provider.say(&done("resp_1", 10, 10));
    call.app.message();
    call.provider.close();
    to_the_end(&call.app);
    expect_none(&proxy);
    assert!(provider.poll().is_none(), "it has ended it itself");
    expect_tokens(&proxy, 20);
}

#[test]
fn what_cannot_be_served_is_refused_before_anybody_is_asked() {
    let provider = Upstream::start();
    let proxy = start_as(&provider, &[]);
    let (_app, sdp) = Peer::offering(USUAL);
    let of_many = |line: &str, count: usize| sdp.clone() + &line.repeat(count);
    for (body, status, wanted) in [
        (of_many("m=video 9 UDP/TLS/RTP/SAVPF 96\r\n", 100), 400, "102 lines of media, more than 32"),
        (of_many("a=candidate:1 1 udp 1 1.1 1 typ host\r\n", 600), 400, "candidates, more than 256"),
        (of_many("a=x\r\n", 60_000), 413, "message_too_big"),
        (sdp.replace("a=fingerprint", "a=x"), 400, "it has no a=fingerprint"),
        (sdp.replace("a=ice-pwd", "a=x"), 400, "it has no a=ice-pwd"),
        (sdp.replacen("\r\nm=", "\r\na=ice-lite\r\nm=", 1), 400, "ICE-lite"),
        ("v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\n".to_owned(), 400, "neither a line of sound"),
    ] {
        let mut client = Wire::connect(proxy.listen);
        client.send(offer(&format!("/v1/realtime/calls?model={MODEL}"), &WHO, &bare(&body)));
        let refused = message(&mut client);
        let text = String::from_utf8_lossy(&refused.body).into_owned();
        assert!(refused.status == status && text.contains(wanted), "{wanted}: {} {text}", refused.status);
    }
    assert!(provider.poll().is_none(), "nobody was asked");
    expect_none(&proxy);
}

#[test]
fn an_answer_that_cannot_be_used_ends_the_call_at_its_provider() {
    let provider = Upstream::start();
    let proxy = start_as(&provider, &[]);
    let (_app, sdp) = Peer::offering(USUAL);
    let mut client = Wire::connect(proxy.listen);
    client.send(offer(&format!("/v1/realtime/calls?model={MODEL}"), &WHO, &bare(&sdp)));
    let mut line = provider.accept();
    message(&mut line);
    line.send(created("application/sdp", "v=0\r\ns=-\r\n"));
    assert_eq!(message(&mut client).status, 502);
    hangup(&provider, PATIENCE);
    expect_none(&proxy);
}

#[test]
fn garbage_and_wrong_credentials_at_the_port_disturb_no_call() {
    let provider = Upstream::start();
    let proxy = start_as(&provider, &[]);
    let call = call(&proxy, &provider);
    let told = String::from_utf8(call.answer.body.clone()).unwrap();
    let candidate: Vec<&str> =
        told.lines().find_map(|line| line.strip_prefix("a=candidate:")).unwrap().split(' ').collect();
    let port = format!("{}:{}", candidate[4], candidate[5]);
    let ufrag = told.lines().find_map(|line| line.strip_prefix("a=ice-ufrag:")).unwrap().to_owned();
    let noise = UdpSocket::bind("127.0.0.1:0").unwrap();
    let name = format!("{ufrag}:none");
    let mut check = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
    check.extend([0, 6, 0, name.len() as u8]);
    check.extend(name.as_bytes());
    check.resize(check.len().next_multiple_of(4), 0);
    check.extend([0, 8, 0, 20]);
    check.extend([0xee; 20]);
    check[3] = (check.len() - 20) as u8;
    let big = vec![0x16; 60_000];
    for round in 0..3_000_u32 {
        let first = [0, 22, 0x80, 0x90, 0xff][round as usize % 5];
        let garbage: Vec<u8> =
            std::iter::once(first).chain((0..round % 1_400).map(|at| (at * 7) as u8)).collect();
        for bytes in [&garbage, &check] {
            noise.send_to(bytes, &port).unwrap();
        }
        if round % 20 == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        if round % 100 == 0 {
            noise.send_to(&big, &port).unwrap();
            call.app.play(1, Codec::Opus);
        }
    }
    assert_eq!(sounds(&call.provider, 30).len(), 30);
    call.provider.say(&began("resp_1"));
    assert_eq!(call.app.message(), began("resp_1"));
    let mut answer = [0; 100];
    noise.set_nonblocking(true).unwrap();
    assert!(noise.recv(&mut answer).is_err(), "who shows no right password is not answered");
}

#[test]
fn calls_that_never_connect_are_bounded_in_number_memory_and_time() {
    let provider = Upstream::start();
    let proxy = start_as(&provider, &[]);
    // One of them stops within its handshake, which is no different.
    let stops = Wish { stops_in_handshake: true, ..USUAL };
    let stopped = begin(&proxy, &provider, stops, &WHO);
    stopped.app.find("the middle of a handshake", |heard| (*heard == Heard::Closed).then_some(()));
    let (_app, sdp) = Peer::offering(USUAL);
    let target = format!("/v1/realtime/calls?model={MODEL}");
    let ask = |who: &[&str]| {
        let mut client = Wire::connect(proxy.listen);
        client.send(offer(&target, who, &bare(&sdp)));
        client
    };
    let begin = |who: &[&str]| {
        let mut client = ask(who);
        let mut line = provider.accept();
        let offered = String::from_utf8(message(&mut line).body).unwrap();
        line.send(created("application/sdp", &Peer::answer_of_nobody(&offered)));
        assert_eq!(message(&mut client).status, 201);
    };
    let mut before = 0;
    for count in 1..256 {
        if count == 12 {
            before = memory(&proxy, "VmRSS");
        }
        begin(&WHO);
    }
    let each = (memory(&proxy, "VmRSS") - before) / 244;
    assert!(each <= 160 << 10, "{each} bytes a call");
    // At once: in 15 s the first of them is over.
    let refused = message(&mut ask(&WHO));
    assert_eq!((refused.status, &*refused.code()), (503, "overloaded"));
    // Whoever floods keeps nobody out, neither calls nor sessions.
    (0..128).for_each(|_| begin(&["Authorization: Bearer sk-bob", "x-user-id: bob"]));
    let (mut app, mut socket) = provider.session(proxy.listen);
    socket.send(frame(TEXT, b"{}", None));
    app.expect(&frame(TEXT, b"{}", None), "a session is undisturbed");
    (0..256 + 128).for_each(|_| hangup(&provider, Duration::from_secs(30)));
    let left = eventually(PATIENCE, || sessions(&proxy), |left| left.len() == 1);
    assert_eq!(left.len(), 1, "all but the session are over");
    assert_eq!(proxy.metric("tokenist_calls_unconnected_total"), Some(384.0));
}
