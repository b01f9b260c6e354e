//! What a turn costs that nobody waits for any more, or that its provider leaves: it is heard out and booked as it is billed,
//! or by an estimate that is near.

mod reckon;

use reckon::{DEAR, GENEROUS, MODEL, audited, billed, open, settled, take_turns};
use serde_json::json;
use std::thread;
use std::time::{Duration, Instant};
use tokenist_core::money::NanoUsd;
use tokenist_kit::{Client, PATIENCE, Provider, Scratch, Tokenist, eventually};

#[test]
fn a_provider_that_dies_in_mid_response_is_owed_an_estimate_of_what_it_said() {
    let provider = Provider::start(&[]);
    let tokenist = Tokenist::start(&provider.origin(), &[GENEROUS]);
    for (user, fault, expected) in [
        ("die", "die@end", 4502),
        ("reset", "pace=1,reset@end", 4502),
        ("close", "close@end=1011:broken", 1011),
    ] {
        let mut client = open(&tokenist, user, "");
        take_turns(&mut client, "", 1);
        client.ask_response(&format!("chunks=20,{fault}"));
        let (events, close) = client.hear_out();
        let (code, _) = close.unwrap_or_else(|| panic!("{user}: no close"));
        assert_eq!(code, expected, "{user}");
        if code == 4502 {
            assert_eq!(events.last().unwrap()["error"]["code"], "upstream_failed", "{user}");
        }
        let total = settled(&tokenist, user);
        let stated = audited(&provider, user)[MODEL];
        assert_eq!(total.cost - total.estimated, stated.cost, "{user}: the first response is exact");
        let estimated =
            (total.usage.audio_out - stated.usage.audio_out, total.usage.text_out - stated.usage.text_out);
        assert_eq!(estimated, (40, 60), "{user}");
        assert_eq!(total.usage.requests, 2);
    }
    assert_eq!(tokenist.metric("tokenist_events_estimated_total"), Some(3.0));
}

#[test]
fn an_application_that_leaves_in_mid_response_owes_what_it_was_told() {
    let provider = Provider::start(&[]);
    let tokenist = Tokenist::start(&provider.origin(), &[GENEROUS]);
    let mut client = open(&tokenist, "alice", "");
    client.ask_response("chunks=10,stall@end");
    for _ in 0..10 {
        client.hear_until("response.output_audio.delta").unwrap();
    }
    drop(client);
    let total = settled(&tokenist, "alice");
    assert_eq!((total.usage.requests, total.estimated), (1, NanoUsd::ZERO), "the provider was heard out");
    assert_eq!((total.usage.audio_out, total), (20, billed(&provider, "alice")));
    assert_eq!(tokenist.metric("tokenist_sessions_lingered_total"), Some(1.0));
}

#[test]
fn sixty_abandoned_turns_are_booked_as_they_are_billed() {
    const USERS: usize = 6;
    let provider = Provider::start(&["--shards", "2"]);
    let tokenist = Tokenist::start(&provider.origin(), &[GENEROUS, ("proxy.shard_count", "2")]);
    thread::scope(|scope| {
        for user in 0..USERS {
            let tokenist = &tokenist;
            scope.spawn(move || {
                for turn in 0..10 {
                    let mut client = open(tokenist, &format!("user-{user}"), DEAR);
                    take_turns(&mut client, "", turn % 3);
                    client.ask_response("chunks=8,pace=100");
                    for _ in 0..4 {
                        client.hear_until("response.output_audio.delta").unwrap();
                    }
                    // 0.4 seconds before its end.
                    client.reset();
                }
            });
        }
    });
    for user in 0..USERS {
        let user = format!("user-{user}");
        let (booked, billed) = (settled(&tokenist, &user), billed(&provider, &user));
        assert_eq!(booked, billed, "{user}");
        assert_eq!(booked.usage.requests, 19);
    }
    assert_eq!(tokenist.metric("tokenist_sessions_lingered_total"), Some(60.0));
    let (agrees, table) = tokenist_kit::audit(&provider, &tokenist);
    assert!(agrees, "{table}");
}

/// How an application may be done with a response under way, or be made to be.
type End = fn(&Tokenist, Client, &str);

#[test]
fn however_a_turn_is_broken_off_it_is_booked_as_it_is_billed() {
    let ends: [(&str, End); 6] = [
        ("reset", |_, client, _| client.reset()),
        ("dropped", |_, client, _| drop(client)),
        ("closed", |_, client, _| client.leave()),
        ("killed", |tokenist, mut client, user| {
            // What is of now is listed a moment later.
            let listed = || {
                let sessions = tokenist.get("/admin/sessions");
                let mut sessions = sessions["sessions"].as_array().unwrap().iter();
                sessions.find(|session| session["userId"] == user).map(|session| session["sessionId"].clone())
            };
            let id = eventually(PATIENCE, listed, Option::is_some).expect("it is listed");
            assert_eq!(tokenist.delete(&format!("/admin/sessions/{}", id.as_str().unwrap())).status, 200);
            assert_eq!(client.hear_out().1.expect("a close").0, 4003);
        }),
        ("blocked", |tokenist, mut client, user| {
            assert_eq!(tokenist.post(&format!("/admin/users/{user}/block"), &json!({})).status, 200);
            assert_eq!(client.hear_out().1.expect("a close").0, 4003);
        }),
        ("lowered", |tokenist, mut client, user| {
            let limit = json!({"maxTotalTokens": 1});
            assert_eq!(tokenist.post(&format!("/admin/users/{user}/threshold"), &limit).status, 200);
            assert_eq!(client.hear_out().1.expect("a close").0, 4004);
        }),
    ];
    let provider = Provider::start(&[]);
    let tokenist = Tokenist::start(&provider.origin(), &[GENEROUS]);
    for (user, end) in ends {
        let mut client = open(&tokenist, user, DEAR);
        take_turns(&mut client, "", 2);
        client.ask_response("chunks=600,pace=100");
        client.hear_until("response.output_audio.delta").unwrap();
        let begun = Instant::now();
        end(&tokenist, client, user);
        assert!(begun.elapsed() < Duration::from_secs(20), "{user}: nobody waits for the provider");
        let total = settled(&tokenist, user);
        assert_eq!((total, total.estimated), (billed(&provider, user), NanoUsd::ZERO), "{user}");
        assert_eq!(total.usage.requests, 3, "{user}");
    }
    // The one that said goodbye has been told so to the provider as well.
    let told = || provider.audit()["sessions"][2]["close_code"].clone();
    assert_eq!(eventually(PATIENCE, told, |code| *code == 1000), 1000);
}

#[test]
fn a_drain_hears_providers_out_too() {
    let provider = Provider::start(&[]);
    let scratch = Scratch::new();
    let path = scratch.path().join("ledger");
    let store = ("store.path", path.to_str().unwrap());
    let mut tokenist = Tokenist::start(&provider.origin(), &[GENEROUS, store, ("proxy.drain_seconds", "1")]);
    let mut client = open(&tokenist, "alice", DEAR);
    take_turns(&mut client, "", 2);
    client.ask_response("chunks=600,pace=100");
    client.hear_until("response.output_audio.delta").unwrap();
    tokenist.signal(tokenist_kit::Signal::Terminate);
    assert_eq!(client.hear_out().1.expect("a close").0, 1001);
    assert!(tokenist.wait(PATIENCE).is_some_and(|status| status.success()));
    let tokenist = Tokenist::start(&provider.origin(), &[GENEROUS, store]);
    let usage = tokenist.get("/admin/users/alice/usage");
    assert_eq!(reckon::nano(&usage["usage"]["costUsd"]), billed(&provider, "alice").cost);
    assert_eq!(usage["usage"]["estimatedCostUsd"], 0.0);
}

#[test]
fn a_provider_that_says_nothing_more_is_not_waited_for_and_owed_an_estimate() {
    let provider = Provider::start(&[]);
    for (linger_seconds, lingered) in [("1", 2.0), ("0", 0.0)] {
        let tokenist =
            Tokenist::start(&provider.origin(), &[GENEROUS, ("metering.linger_seconds", linger_seconds)]);
        let user = format!("lingers-{linger_seconds}");
        for end in ["deaf,stall@end", "deaf,pace=100,chunks=600"] {
            let mut client = open(&tokenist, &user, &format!("deaf,{DEAR}"));
            take_turns(&mut client, "", 2);
            client.ask_response(end);
            client.hear_until("response.output_audio.delta").unwrap();
            client.reset();
        }
        let total = settled(&tokenist, &user);
        assert_eq!(total.usage.requests, 6);
        assert!(total.estimated > NanoUsd::ZERO);
        let bill = eventually(PATIENCE, || billed(&provider, &user), |bill| bill.usage.requests == 6);
        is_near(total.cost, bill.cost);
        assert_eq!(tokenist.metric("tokenist_sessions_lingered_total"), Some(lingered));
        assert_eq!(tokenist.metric("tokenist_events_estimated_total"), Some(2.0));
    }
}

#[test]
fn a_provider_that_dies_is_owed_what_it_read_too() {
    let provider = Provider::start(&[]);
    let tokenist = Tokenist::start(&provider.origin(), &[GENEROUS]);
    let said = |client: &mut Client| {
        let content = json!([{"type": "input_text", "text": "word ".repeat(2_000)}]);
        client.say(&json!({"type": "conversation.item.create", "item": {"type": "message", "role": "user", "content": content}}));
        client.say(&json!({"type": "input_audio_buffer.append", "audio": "A".repeat(640_000)}));
        client.say(&json!({"type": "input_audio_buffer.commit"}));
        client.hear_until("input_audio_buffer.committed").unwrap();
    };
    for (user, context, turns) in
        [("cached", DEAR, 2), ("fresh", "context=20000:10000:0", 1), ("short", "context=0:0:0", 0)]
    {
        let mut client = open(&tokenist, user, context);
        take_turns(&mut client, "", turns);
        if user != "cached" {
            said(&mut client);
        }
        client.ask_response("chunks=20,die@end");
        client.hear_out();
        let total = settled(&tokenist, user);
        assert!(total.estimated > NanoUsd::ZERO, "{user}");
        let count = total.usage.requests;
        let bill = eventually(PATIENCE, || billed(&provider, user), |bill| bill.usage.requests == count);
        is_near(total.cost, bill.cost);
    }
    let (agrees, table) = tokenist_kit::audit(&provider, &tokenist);
    assert!(agrees && table.contains("estimated within 5 %"), "{table}");
}

#[track_caller]
fn is_near(booked: NanoUsd, billed: NanoUsd) {
    let percent = booked.0 as f64 / billed.0 as f64 * 100.0;
    assert!((95.0..=105.0).contains(&percent), "booked {booked}, billed {billed}: {percent:.1} %");
}

#[test]
fn a_client_that_says_no_more_may_hear_its_response_to_the_end() {
    let provider = Provider::start(&[]);
    let tokenist = Tokenist::start(&provider.origin(), &[GENEROUS]);
    let mut client = open(&tokenist, "alice", "");
    client.ask_response("chunks=5,pace=50");
    client.hear_until("response.created").unwrap();
    client.finish();
    assert_eq!(client.hear_until("response.done").unwrap()["response"]["status"], "completed");
    assert_eq!(settled(&tokenist, "alice"), billed(&provider, "alice"));
}

#[test]
fn speech_that_is_still_being_written_down_is_booked() {
    let provider = Provider::start(&[]);
    let tokenist = Tokenist::start(&provider.origin(), &[GENEROUS]);
    let transcription = |model: &str| json!({"audio": {"input": {"transcription": {"model": model}}}});
    let mut client = open(&tokenist, "heard", "");
    client.say(&json!({"type": "session.update", "session": transcription("whisper-1")}));
    client.hear_until("session.updated").unwrap();
    client.say(&json!({"type": "input_audio_buffer.append", "audio": "A".repeat(640_000)}));
    client.say(&json!({"type": "input_audio_buffer.commit"}));
    client.hear_until("input_audio_buffer.committed").unwrap();
    client.reset();
    assert_eq!(settled(&tokenist, "heard"), billed(&provider, "heard"));
}
