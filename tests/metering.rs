//! What is booked is what the provider delivered: every count, by user, feature and model, and its cost to the
//! nano-dollar, whatever shape it comes in.

mod reckon;

use reckon::{Bill, DEAR, GENEROUS, MODEL, agree, booked, open, rows, settled, take_turns};
use serde_json::{Value, json};
use std::path::Path;
use std::thread;
use tokenist_core::money::NanoUsd;
use tokenist_core::usage::Usage;
use tokenist_kit::{
    Certificate, Client, Handshake, Heard, PATIENCE, Provider, Scratch, Tokenist, eventually,
};

#[test]
fn usage_is_exact_whatever_shape_it_comes_in() {
    let provider = Provider::start(&[]);
    let tokenist = Tokenist::start(&provider.origin(), &[GENEROUS]);
    for (index, (session, response)) in [
        ("", ""),
        ("", "usage=twice"),
        ("", "usage=toplevel"),
        ("", "text_in=123456,cached_text=123,audio_in=7,cached_audio=7,image_in=85,text_out=9,reasoning=3,audio_out=1"),
        ("", "status=incomplete"),
        ("", "status=content_filter"),
        ("", "status=failed"),
        ("", "chunks=0"),
        ("", "chunks=100"),
        ("bytewise,chunk_bytes=480", ""),
        ("split=7,fragment=64,chunk_bytes=480", ""),
        ("fragment=1,chunk_bytes=48", "chunks=1"),
        ("fragment=100", "usage=twice"),
        ("binary", ""),
        ("binary,fragment=1000", ""),
        ("type_last", "usage=twice"),
        ("type_last,bytewise,chunk_bytes=480", "usage=toplevel"),
        ("", "invalid_json@created,invalid_json@end"),
        ("", "giant@end=20000000"),
        ("fragment=100000", "giant=3000000"),
        ("ping_ms=1", "pace=2"),
    ]
    .into_iter()
    .enumerate()
    {
        let user = format!("user-{index}");
        let mut client = open(&tokenist, &user, session);
        take_turns(&mut client, response, 3);
        client.leave();
        let bills = agree(&tokenist, &user, &provider, &user);
        let bill = bills[MODEL];
        assert_eq!((bill.usage.requests, bill.estimated), (3, NanoUsd::ZERO), "{session} {response}");
        assert!(bill.cost > NanoUsd::ZERO && bill.usage.total_tokens() > 0, "{session} {response}");
    }
    assert_eq!(tokenist.metric("tokenist_events_duplicate_total"), Some(9.0));
    assert_eq!(tokenist.metric("tokenist_events_estimated_total"), Some(0.0));
}

#[test]
fn a_response_that_ends_without_usage_is_booked_by_its_estimate_and_marked() {
    let provider = Provider::start(&[]);
    let tokenist = Tokenist::start(&provider.origin(), &[GENEROUS]);
    for (user, sim) in [("null", "usage=null"), ("absent", "usage=absent"), ("empty", "usage=empty")] {
        let mut client = open(&tokenist, user, "");
        take_turns(&mut client, &format!("chunks=20,{sim}"), 2);
        client.leave();
        let total = settled(&tokenist, user);
        assert_eq!((total.usage.requests, total.estimated), (2, total.cost), "{user}: {total:?}");
        assert_eq!((total.usage.audio_out, total.usage.text_out), (80, 120), "{user}");
        let audit = &provider.audit()["by_key"][user][MODEL];
        assert_eq!((&audit["responses"], &audit["without_usage"]), (&json!(2), &json!(2)));
    }
    assert_eq!(tokenist.metric("tokenist_events_estimated_total"), Some(6.0));
}

#[test]
fn two_hundred_turns_from_the_cache_are_exact_and_nobody_is_cut_below_his_limit() {
    const TURN: &str = "chunks=2,text_out=20,audio_out=4,reasoning=0";
    let provider = Provider::start(&[]);
    let tokenist = Tokenist::start(&provider.origin(), &[GENEROUS]);
    let mut client = open(&tokenist, "free", DEAR);
    take_turns(&mut client, TURN, 200);
    client.leave();
    let whole = agree(&tokenist, "free", &provider, "free")[MODEL];
    assert_eq!((whole.usage.requests, whole.estimated), (200, NanoUsd::ZERO));
    assert!(whole.usage.cached_tokens() * 100 > whole.usage.input_tokens() * 88, "{whole:?}");
    // A nano-dollar more than it takes.
    let limit = json!({"maxCostUsd": NanoUsd(whole.cost.0 + 1).usd(), "window": "total"});
    assert_eq!(tokenist.post("/admin/users/bound/threshold", &limit).status, 200);
    let mut client = open(&tokenist, "bound", DEAR);
    take_turns(&mut client, TURN, 200);
    assert_eq!(cost_of_turns(&tokenist, "bound", 200), whole.cost);
    client.ask_response(TURN);
    let (events, close) = client.hear_out();
    assert_eq!(events.last().unwrap()["error"]["code"], "cost_limit_reached");
    assert_eq!(close.unwrap().0, 4004);
}

/// What a user has been booked, once it is so many turns.
fn cost_of_turns(tokenist: &Tokenist, user: &str, turns: u64) -> NanoUsd {
    let look = || booked(tokenist, user).get(MODEL).copied().unwrap_or_default();
    eventually(PATIENCE, look, |bill| bill.usage.requests == turns).cost
}

#[test]
fn two_sockets_of_one_call_count_each_response_once() {
    let provider = Provider::start(&["--shards", "2"]);
    let tokenist = Tokenist::start(&provider.origin(), &[GENEROUS, ("proxy.shard_count", "2")]);
    let attach = |user: &str, call: &str| {
        let handshake = Handshake::of(user).target(&format!("/v1/realtime?call_id={call}&audit={user}"));
        Client::open(tokenist.listen, &handshake).expect("let in")
    };
    for call in 0..8 {
        let call = format!("rtc_{call}");
        let mut sockets = [attach("alice", &call), attach("alice", &call), attach("alice", &call)];
        for _ in 0..3 {
            for socket in &mut sockets {
                socket.ask_response("chunks=3,pace=5");
            }
            for socket in &mut sockets {
                socket.hear_until("response.done").unwrap();
            }
        }
        let [first, mut second, third] = sockets;
        first.leave();
        third.reset();
        // Whoever is left meters what is still to come.
        take_turns(&mut second, "", 2);
        second.leave();
    }
    let bill = agree(&tokenist, "alice", &provider, "alice")[MODEL];
    assert_eq!(bill.usage.requests, 8 * 5);
    let total = settled(&tokenist, "alice");
    assert_eq!((total.cost, total.estimated), (bill.cost, NanoUsd::ZERO));
}

#[test]
fn a_server_that_uses_an_id_again_is_paid_for_each_response() {
    let provider = Provider::start(&[]);
    let tokenist = Tokenist::start(&provider.origin(), &[GENEROUS]);
    let mut client = open(&tokenist, "alice", "same_ids");
    for (sim, ends) in [("", 1), ("usage=twice", 2), ("chunks=9", 1), ("usage=toplevel", 1)] {
        client.ask_response(sim);
        for _ in 0..ends {
            client.hear_until("response.done").unwrap();
        }
    }
    client.leave();
    assert_eq!(agree(&tokenist, "alice", &provider, "alice")[MODEL].usage.requests, 4);
}

#[test]
fn an_event_is_metered_however_long_what_it_quotes_is() {
    let provider = Provider::start(&[]);
    let tokenist = Tokenist::start(&provider.origin(), &[GENEROUS]);
    // The transcript that the end repeats makes it longer than is kept of it.
    let mut client = open(&tokenist, "alice", "chunk_bytes=48");
    take_turns(&mut client, "chunks=100000", 1);
    take_turns(&mut client, "", 1);
    client.leave();
    assert_eq!(agree(&tokenist, "alice", &provider, "alice")[MODEL].usage.requests, 2);
    assert_eq!(tokenist.metric("tokenist_events_unmetered_total"), Some(0.0));
    assert_eq!(tokenist.metric("tokenist_events_estimated_total"), Some(0.0));
}

#[test]
fn a_cancelled_response_costs_what_the_provider_says() {
    let provider = Provider::start(&[]);
    let tokenist = Tokenist::start(&provider.origin(), &[GENEROUS]);
    let mut client = open(&tokenist, "alice", "");
    for _ in 0..3 {
        client.ask_response("chunks=100000,pace=1");
        client.hear_until("response.output_audio.delta").unwrap();
        client.say(&json!({"type": "response.cancel"}));
        assert_eq!(client.hear_until("response.done").unwrap()["response"]["status"], "cancelled");
    }
    client.leave();
    assert_eq!(agree(&tokenist, "alice", &provider, "alice")[MODEL].usage.requests, 3);
}

#[test]
fn transcriptions_are_billed_by_tokens_or_by_time_as_their_model_is() {
    let provider = Provider::start(&[]);
    let tokenist = Tokenist::start(&provider.origin(), &[GENEROUS]);
    // A tenth of a second, in base64.
    let sound = "A".repeat(6_400);
    for (user, model) in [("tokens", "gpt-4o-mini-transcribe"), ("time", "whisper-1")] {
        let mut client = open(&tokenist, user, "");
        let transcription = json!({"audio": {"input": {"transcription": {"model": model}}}});
        client.say(&json!({"type": "session.update", "session": transcription}));
        client.hear_until("session.updated").unwrap();
        for turn in 1..=3 {
            for _ in 0..turn * 7 {
                client.say(&json!({"type": "input_audio_buffer.append", "audio": sound}));
            }
            client.say(&json!({"type": "input_audio_buffer.commit"}));
            client.hear_until("conversation.item.input_audio_transcription.completed").unwrap();
            take_turns(&mut client, "", 1);
        }
        client.leave();
        let bills = agree(&tokenist, user, &provider, user);
        assert_eq!(bills.keys().map(String::as_str).collect::<Vec<_>>().len(), 2, "{bills:?}");
        let bill = bills[model];
        match user {
            "time" => assert_eq!((bill.usage.duration_ms, bill.usage.total_tokens()), (4_200, 0)),
            _ => assert_eq!((bill.usage.duration_ms, bill.usage.audio_in), (0, 42)),
        }
        assert!(bill.cost > NanoUsd::ZERO);
    }
}

#[test]
fn a_session_that_only_transcribes_is_metered_too() {
    let provider = Provider::start(&[]);
    let tokenist = Tokenist::start(&provider.origin(), &[GENEROUS]);
    let handshake = Handshake::of("alice").target("/v1/realtime?intent=transcription&audit=alice");
    let mut client = Client::open(tokenist.listen, &handshake).unwrap();
    let transcription = json!({"type": "transcription",
        "audio": {"input": {"transcription": {"model": "gpt-4o-transcribe"}}}});
    client.say(&json!({"type": "session.update", "session": transcription}));
    client.hear_until("session.updated").unwrap();
    client.say(&json!({"type": "input_audio_buffer.append", "audio": "A".repeat(64_000)}));
    client.say(&json!({"type": "input_audio_buffer.commit"}));
    client.hear_until("conversation.item.input_audio_transcription.completed").unwrap();
    client.leave();
    let bills = agree(&tokenist, "alice", &provider, "alice");
    assert_eq!(bills["gpt-4o-transcribe"].usage.audio_in, 10);
}

#[test]
fn a_response_costs_what_the_model_of_its_time_costs() {
    let provider = Provider::start(&[]);
    let tokenist = Tokenist::start(&provider.origin(), &[GENEROUS]);
    let mut client = open(&tokenist, "alice", "");
    take_turns(&mut client, "", 2);
    client.say(&json!({"type": "session.update", "session": {"model": "gpt-realtime-mini"}}));
    client.hear_until("session.updated").unwrap();
    take_turns(&mut client, "", 3);
    client.leave();
    let bills = agree(&tokenist, "alice", &provider, "alice");
    assert_eq!((bills[MODEL].usage.requests, bills["gpt-realtime-mini"].usage.requests), (2, 3));

    // The provider's word counts, not the URL's.
    let mut client = open(&tokenist, "bob", "model=gpt-realtime-mini");
    take_turns(&mut client, "", 1);
    client.leave();
    assert_eq!(agree(&tokenist, "bob", &provider, "bob").keys().collect::<Vec<_>>(), ["gpt-realtime-mini"]);
}

#[test]
fn a_provider_that_names_no_model_is_paid_for_the_one_that_the_url_asks_for() {
    let provider = Provider::start(&[]);
    let tokenist = Tokenist::start(&provider.origin(), &[GENEROUS]);
    for (user, target) in [
        ("alice", "/v1/realtime?model=gpt-realtime-mini&audit=alice"),
        ("bob", "/openai/v1/realtime?model=gpt%2Drealtime-mini&audit=bob"),
        (
            "carol",
            "/openai/v1/realtime?api-version=2025-04-01-preview&deployment=gpt-realtime-mini&model=gpt-realtime-mini&audit=carol",
        ),
    ] {
        let handshake = Handshake::of(user).target(target).sim("nameless");
        let mut client = Client::open(tokenist.listen, &handshake).expect("let in");
        take_turns(&mut client, "", 2);
        client.say(&json!({"type": "session.update", "session": {"audio": {"output": {"voice": "cedar"}}}}));
        let updated = client.hear_until("session.updated").expect("an answer");
        assert_eq!(updated["session"]["model"], Value::Null);
        take_turns(&mut client, "", 1);
        client.leave();
        let bills = agree(&tokenist, user, &provider, user);
        assert_eq!(bills.keys().collect::<Vec<_>>(), ["gpt-realtime-mini"]);
    }
    assert_eq!(tokenist.metric("tokenist_events_unpriced_total"), Some(0.0));
}

#[test]
fn a_model_that_no_list_names_is_never_free() {
    let provider = Provider::start(&[]);
    let tokenist = Tokenist::start(&provider.origin(), &[GENEROUS]);
    let mut client = open(&tokenist, "alice", "model=tomorrows-model");
    take_turns(&mut client, "", 2);
    client.leave();
    let mut known = open(&tokenist, "bob", "");
    take_turns(&mut known, "", 1);
    known.leave();
    let bills = agree(&tokenist, "alice", &provider, "alice");
    assert!(bills["tomorrows-model"].cost > NanoUsd::ZERO);
    assert_eq!(tokenist.metric("tokenist_events_unpriced_total"), Some(2.0));
    tokenist.logged("tomorrows-model");
}

#[test]
fn responses_side_by_side_are_counted_each() {
    let provider = Provider::start(&[]);
    let tokenist = Tokenist::start(&provider.origin(), &[GENEROUS]);
    let mut client = open(&tokenist, "alice", "");
    let count = 8;
    for index in 0..count {
        let response =
            json!({"conversation": "none", "metadata": {"sim": format!("chunks={},pace=1", index * 3)}});
        client.say(&json!({"type": "response.create", "response": response}));
    }
    for _ in 0..count {
        client.hear_until("response.done").unwrap();
    }
    client.leave();
    let bill = agree(&tokenist, "alice", &provider, "alice")[MODEL];
    assert_eq!((bill.usage.requests, bill.estimated), (count, NanoUsd::ZERO));
}

#[test]
fn many_sessions_of_many_users_at_once_add_up() {
    const USERS: usize = 12;
    let shapes =
        ["", "usage=twice", "usage=toplevel", "chunks=30", "invalid_json@created", "status=incomplete"];
    let ways = ["", "fragment=200", "split=50", "binary", "type_last"];
    let provider = Provider::start(&["--shards", "2", "--seed", "77"]);
    let tokenist = Tokenist::start(&provider.origin(), &[GENEROUS, ("proxy.shard_count", "2")]);
    thread::scope(|scope| {
        for index in 0..60 {
            let tokenist = &tokenist;
            scope.spawn(move || {
                let mut client = open(tokenist, &format!("user-{}", index % USERS), ways[index % ways.len()]);
                for turn in 0..5 {
                    take_turns(&mut client, shapes[(index + turn) % shapes.len()], 1);
                }
                client.leave();
            });
        }
    });
    let mut total = Bill::default();
    for index in 0..USERS {
        let user = format!("user-{index}");
        let bill = agree(&tokenist, &user, &provider, &user)[MODEL];
        assert_eq!(bill.usage.requests, 25);
        total += bill;
    }
    let all: Usage = serde_json::from_value(provider.audit()["totals"].clone()).unwrap();
    assert_eq!(total, Bill::stated(MODEL, all));
    // The list of users says the same as each user's own page.
    let users = tokenist.get("/admin/users");
    let users = users["users"].as_array().unwrap();
    let listed: NanoUsd = users.iter().map(|user| reckon::nano(&user["usage"]["costUsd"])).sum();
    assert_eq!((users.len(), listed), (USERS, total.cost));
}

#[test]
fn a_session_in_tls_on_both_sides_is_metered_like_any_other() {
    let scratch = Scratch::new();
    let authority = scratch.path().join("authority.pem");
    let authority = authority.to_str().expect("a path in UTF-8");
    let provider = Provider::start(&["--tls-listen", "127.0.0.1:0", "--write-ca", authority]);
    let certificate = Certificate::write(&scratch);
    let path = |path: &Path| path.to_str().expect("a path in UTF-8").to_owned();
    let (cert, key) = (path(&certificate.certificate), path(&certificate.key));
    let tokenist = Tokenist::start(
        &provider.tls_origin().expect("it listens in TLS"),
        &[
            GENEROUS,
            ("provider.ca_file", authority),
            ("proxy.tls_listen", "127.0.0.1:0"),
            ("proxy.tls_cert", &cert),
            ("proxy.tls_key", &key),
        ],
    );
    let address = tokenist.tls_listen.expect("it listens in TLS");
    let handshake = Handshake::of("alice").parameter("audit=alice");
    let mut client = Client::open_tls(address, certificate.trust(), &handshake).expect("let in");
    for sim in ["", "chunks=200", "giant=3000000", "usage=twice"] {
        take_turns(&mut client, sim, 2);
    }
    client.leave();
    assert_eq!(agree(&tokenist, "alice", &provider, "alice")[MODEL].usage.requests, 8);
}

#[test]
fn who_and_what_a_session_is_for_is_told_and_kept_from_the_provider() {
    let provider = Provider::start(&[]);
    let tokenist = Tokenist::start(&provider.origin(), &[GENEROUS]);
    let mut clients = Vec::new();
    for feature in ["support", "sales"] {
        let handshake = Handshake::of("alice")
            .parameter("audit=alice")
            .header("x-org-id", "acme-org")
            .header("x-feature", feature)
            .header("x-conversation-id", "conversation-of-alice")
            .header("x-user-email", "alice@example.org")
            .header("x-user-name", "Alice Example");
        let mut client = Client::open(tokenist.listen, &handshake).unwrap();
        take_turns(&mut client, "", if feature == "sales" { 2 } else { 1 });
        clients.push(client);
    }
    agree(&tokenist, "alice", &provider, "alice");
    let mut by_feature = rows(&tokenist, "alice");
    by_feature.sort_by_key(|(feature, ..)| feature.clone());
    let counts: Vec<_> =
        by_feature.iter().map(|(feature, _, bill)| (feature.as_deref(), bill.usage.requests)).collect();
    assert_eq!(counts, [(Some("sales"), 2), (Some("support"), 1)]);

    let live = |page: &Value| page["total"] == 2;
    let sessions = eventually(PATIENCE, || tokenist.get("/admin/sessions"), live)["sessions"].clone();
    for (session, feature) in sessions.as_array().unwrap().iter().zip(["support", "sales"]) {
        assert_eq!((&session["orgId"], &session["feature"]), (&json!("acme-org"), &json!(feature)));
    }
    let user = &tokenist.get("/admin/users?org=acme-org")["users"][0];
    assert_eq!((&user["userId"], &user["orgId"]), (&json!("alice"), &json!("acme-org")));
    assert_eq!((&user["email"], &user["name"]), (&json!("alice@example.org"), &json!("Alice Example")));

    let handshakes = provider.audit()["handshakes"].to_string();
    for ours in [
        "acme-org",
        "support",
        "sales",
        "conversation-of-alice",
        "alice@example.org",
        "Alice Example",
        "x-user-id",
    ] {
        assert!(!handshakes.contains(ours), "{ours} went to the provider");
    }
    clients.into_iter().for_each(Client::leave);
}

#[test]
fn a_provider_that_closes_has_its_code_and_reason_passed_on() {
    let provider = Provider::start(&[]);
    let tokenist = Tokenist::start(&provider.origin(), &[GENEROUS]);
    let mut client = open(&tokenist, "alice", "");
    take_turns(&mut client, "close@done=4321:as you wish", 1);
    assert_eq!(client.hear(), Heard::Close { code: 4321, reason: "as you wish".into() });
    assert_eq!(booked_requests(&tokenist, "alice"), 1);
}

#[test]
fn a_call_that_is_told_of_again_counts_once_after_a_restart_too() {
    let scratch = Scratch::new();
    let path = scratch.path().join("ledger");
    let settings = [("store.path", path.to_str().unwrap())];
    let bearer = format!("Bearer {}", tokenist_kit::TOKEN);
    let told = |tokenist: &Tokenist, key: &str| {
        let headers = [("Authorization", bearer.as_str()), ("Idempotency-Key", key)];
        let call = json!({"userId": "alice", "model": "gpt-4o-mini", "requestType": "chat", "inputTokens": 100,
            "outputTokens": 50, "latencyMs": 1, "success": true});
        let answer =
            tokenist_kit::request(tokenist.admin, "POST", "/sdk/record", &headers, &call.to_string());
        answer.json()["usage"]["tokens"].as_u64().unwrap_or_else(|| panic!("{answer:?}"))
    };
    let kept = |tokenist: &Tokenist| {
        let look = || tokenist.get("/admin/usage?period=total&grain=none")["usage"]["totalTokens"].clone();
        eventually(PATIENCE, look, |tokens| tokens.as_u64() > Some(0))
    };
    let mut tokenist = Tokenist::start("http://127.0.0.1:9", &settings);
    assert_eq!((told(&tokenist, "one"), told(&tokenist, "one")), (150, 150));
    assert_eq!(kept(&tokenist), 150);
    tokenist.kill();
    let tokenist = Tokenist::start("http://127.0.0.1:9", &settings);
    assert_eq!((told(&tokenist, "one"), told(&tokenist, "two")), (150, 300));
    tokenist.leave();
    let tokenist = Tokenist::start("http://127.0.0.1:9", &settings);
    assert_eq!((told(&tokenist, "two"), told(&tokenist, "one")), (300, 300));
}

fn booked_requests(tokenist: &Tokenist, user: &str) -> u64 {
    let requests = || booked(tokenist, user).values().map(|bill| bill.usage.requests).sum();
    eventually(PATIENCE, requests, |&count: &u64| count > 0)
}
