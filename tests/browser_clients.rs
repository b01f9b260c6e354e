//! A browser's own WebSocket, in a page of another origin, through whole turns and into a limit: what the page was told, what
//! the proxy booked and what the provider delivered are the same. It can set no header, so its key, which names the user, goes
//! as a subprotocol. The programs are in `clients/`; `scripts/lib/dashboard` and `scripts/lib/clients` install what they import.

mod reckon;

use reckon::agree;
use serde_json::{Value, json};
use tokenist_kit::clients::{Stage, hear};
use tokenist_kit::request;

const OPERATORS_KEY: &str = "sk-the-operators-key";
const RESPONSES: u64 = 4;

fn stage(arguments: &[&str], settings: &[(&str, &str)]) -> Stage {
    let ours = [
        ("identity.passthrough", "false"),
        ("provider.api_key_env", "OPERATORS_KEY"),
        ("OPERATORS_KEY", OPERATORS_KEY),
    ];
    let keyed = ["--seed", "7", "--key", OPERATORS_KEY];
    Stage::new(&[&keyed[..], arguments].concat(), &[&ours[..], settings].concat())
}

/// Runs a page to its end and gives what it says it heard.
fn run(stage: &Stage, page: &str, key: &str) -> Value {
    run_over(false, stage, page, key)
}

fn run_over(tls: bool, stage: &Stage, page: &str, key: &str) -> Value {
    let mut client = stage.client("browser.mjs", "venv");
    client.args([page, &stage.origin(tls), key]);
    hear(client)
}

#[test]
fn a_page_is_counted_as_it_was_told_and_as_the_provider_delivered() {
    // Events of text, and the same ones in pieces of bytes.
    for words in ["chunks=4", "binary,fragment=700"] {
        let stage = stage(&["--sim", words], &[]);
        assert_whole(&stage, &run(&stage, "page_realtime.mjs", &stage.key_of("alice")));
    }
}

/// All responses of a conversation, whose tokens the page was told as they were booked and as the provider delivered them.
fn assert_whole(stage: &Stage, heard: &Value) {
    assert_eq!(json!([heard["error"], heard["responses"]]), json!([null, RESPONSES]), "{heard}");
    let booked = agree(&stage.proxy, "alice", &stage.provider, "-");
    let tokens: u64 = booked.values().map(|bill| bill.usage.total_tokens()).sum();
    let told = ["input_tokens", "output_tokens"].map(|name| heard[name].as_u64().expect("a count"));
    assert_eq!(tokens, told.iter().sum::<u64>(), "{heard}");
    clean(&stage.provider.audit()["handshakes"]);
}

fn limit(stage: &Stage, user: &str, limit: &Value) {
    assert_eq!(stage.proxy.post(&format!("/admin/users/{user}/threshold"), limit).status, 200);
}

/// The operator's key alone went up, and nothing that tells of a browser's page or of our key.
fn clean(handshakes: &Value) {
    let text = handshakes.to_string();
    assert_eq!(text.matches(OPERATORS_KEY).count(), 1, "{text}");
    for ours in ["ug_", "ek_", "origin", "cookie", "insecure"] {
        assert!(!text.contains(ours), "{ours} went upstream: {text}");
    }
}

/// A token for a page of this user, whose sessions use this model.
fn token_of(stage: &Stage, user: &str, model: &str) -> String {
    let bearer = format!("Bearer {}", stage.key_of(user));
    let asked = json!({"session": {"type": "realtime", "model": model}}).to_string();
    let headers = [("Authorization", &*bearer)];
    let answer = request(stage.proxy.listen, "POST", "/v1/realtime/client_secrets", &headers, &asked);
    answer.json()["value"].as_str().unwrap_or_else(|| panic!("{}", answer.body)).to_owned()
}

const ANY_PAGE: (&str, &str) = ("browser.origins", "*");

#[test]
fn a_page_that_holds_nothing_but_a_token_is_counted_to_its_user_and_keeps_to_its_model() {
    for (words, page) in [
        ("chunks=4", "page_realtime.mjs"),
        ("binary,fragment=700", "page_realtime.mjs"),
        ("chunks=4", "page_agents.mjs"),
    ] {
        let stage = stage(&["--sim", words], &[ANY_PAGE]);
        assert_whole(&stage, &run(&stage, page, &token_of(&stage, "alice", "gpt-realtime")));
    }
    let stage = stage(&[], &[ANY_PAGE]);
    let other = run(&stage, "page_realtime.mjs", &token_of(&stage, "alice", "gpt-realtime-2.1"));
    assert_eq!(json!([other["error"], other["close_code"]]), json!(["model_not_allowed", 4003]), "{other}");
    assert_eq!(stage.provider.audit()["handshake_count"], 0);
}

#[test]
fn a_page_with_a_token_is_stopped_at_its_users_limit_and_shows_what_is_left() {
    let stage = stage(&[], &[ANY_PAGE]);
    limit(&stage, "bob", &json!({"maxTotalTokens": 300}));
    let token = token_of(&stage, "bob", "gpt-realtime");
    let left = |tokens: &Value| json!({"status": 200, "user": "bob", "remaining": {"cost_usd": null, "tokens": tokens}, "models": ["gpt-realtime"]});
    assert_eq!(run(&stage, "page_left.mjs", &token), left(&json!(300)));
    let stopped = run(&stage, "page_realtime.mjs", &token);
    assert_eq!(
        json!([stopped["error"], stopped["close_code"]]),
        json!(["token_limit_reached", 4004]),
        "{stopped}"
    );
    assert_eq!(run(&stage, "page_left.mjs", &token), left(&json!(0)));
}

#[test]
fn openai_python_and_openai_node_ask_for_a_token_and_speak_with_it() {
    for (file, tls) in [("openai_token.py", false), ("openai_token.mjs", true)] {
        let stage = stage(&["--sim", "chunks=2"], &[]);
        let mut client = stage.client(file, "venv");
        client
            .args([&format!("{}/v1", stage.origin(tls)), "alice"])
            .env("OPENAI_API_KEY", stage.key_of("alice"));
        assert_whole(&stage, &hear(client));
    }
}

#[test]
fn google_genai_asks_for_a_token_with_which_a_page_speaks() {
    let stage = stage(&[], &[("provider.dialect", "gemini"), ANY_PAGE]);
    let mut client = stage.client("gemini_token.py", "google");
    client.args([&stage.origin(false), &stage.key_of("alice")]);
    let name = hear(client)["name"].as_str().expect("a token's name").to_owned();
    assert_whole(&stage, &run(&stage, "page_gemini.mjs", &name));
}

#[test]
fn bytes_and_text_of_all_lengths_come_back_as_they_went() {
    let stage = stage(&[], &[]);
    let heard = run(&stage, "page_echo.mjs", &stage.key_of("alice"));
    assert_eq!(
        heard,
        json!({"sent": 14, "same": 14, "protocol": "realtime", "close_code": 3000, "close_reason": "all is said"})
    );
}

#[test]
fn a_page_sees_why_its_session_was_ended_in_its_middle_and_may_not_begin_again() {
    let stage = stage(&[], &[("limits.max_total_tokens", "300")]);
    let key = stage.key_of("alice");
    for may_begin in [true, false] {
        let stopped = run(&stage, "page_realtime.mjs", &key);
        let told = json!([stopped["error"], stopped["close_code"]]);
        assert_eq!(told, json!(["token_limit_reached", 4004]), "{stopped}");
        let reason = stopped["close_reason"].as_str().unwrap_or_default();
        assert!(reason.starts_with("Token limit reached: "), "{stopped}");
        let responses = stopped["responses"].as_u64().expect("a count");
        assert_eq!((1..RESPONSES).contains(&responses), may_begin, "{stopped}");
    }
    assert_eq!(stage.provider.audit()["handshake_count"], 1, "who is over the limit reaches no provider");
}

#[test]
fn sound_in_bytes_is_billed_by_its_length_and_stopped_at_a_limit() {
    let deepgram = [("provider.dialect", "deepgram")];
    let stage = stage(&["--sim", "chunks=0"], &deepgram);
    let heard = run(&stage, "page_deepgram.mjs", &stage.key_of("alice"));
    assert_eq!(
        json!([heard["answers"], heard["stated_ms"], heard["error"], heard["close_code"]]),
        json!([4, 2_000, null, 1000]),
        "{heard}"
    );
    let booked = agree(&stage.proxy, "alice", &stage.provider, "-");
    assert_eq!(booked["nova-3"].usage.duration_ms, 2_000);

    limit(&stage, "bob", &json!({"maxCostUsd": 0.00008}));
    let stopped = run(&stage, "page_deepgram.mjs", &stage.key_of("bob"));
    assert_eq!(
        json!([stopped["error"]["variant"], stopped["close_code"], stopped["stated_ms"]]),
        json!(["cost_limit_reached", 4004, null]),
        "{stopped}"
    );
}

#[test]
fn the_ai_sdk_goes_where_its_applications_endpoint_says() {
    for (page, dialect) in [("page_ai.mjs", "openai"), ("page_ai_xai.mjs", "xai")] {
        let stage = stage(&[], &[("provider.dialect", dialect)]);
        let heard = run(&stage, page, &stage.key_of("alice"));
        assert_whole(&stage, &heard);
        assert_eq!(heard["errors"], json!([]));

        limit(&stage, "bob", &json!({"maxTotalTokens": 300}));
        let key = stage.key_of("bob");
        for may_begin in [true, false] {
            let stopped = run(&stage, page, &key);
            let responses = stopped["responses"].as_u64().expect("a count");
            assert_eq!((1..RESPONSES).contains(&responses), may_begin, "{stopped}");
            let errors = stopped["errors"].to_string();
            assert!(errors.contains("(code 4004: Token limit reached: "), "{stopped}");
        }
    }
}

/// What `scripts/long/clients` runs as well.
#[test]
#[ignore = "seconds more, and another one of their dialects is run by all tests"]
fn other_sdks_speak_from_a_page_and_are_stopped_at_a_limit() {
    for (page, dialect, told, text) in [
        ("page_agents.mjs", "openai", json!("token_limit_reached"), "/raised/message"),
        ("page_gemini.mjs", "gemini", json!(4004), "/error/text"),
    ] {
        let stage = stage(&[], &[("provider.dialect", dialect)]);
        assert_whole(&stage, &run(&stage, page, &stage.key_of("alice")));

        limit(&stage, "bob", &json!({"maxTotalTokens": 300}));
        let stopped = run(&stage, page, &stage.key_of("bob"));
        assert!([&stopped["error"], &stopped["error"]["code"]].contains(&&told), "{page}: {stopped}");
        let text = stopped.pointer(text).and_then(Value::as_str).unwrap_or_default();
        assert!(text.starts_with("Token limit reached: "), "{page}: {stopped}");
    }
}

/// What `scripts/long/clients` runs as well.
#[test]
#[ignore = "seconds more, and an agent's conversation is run by all tests"]
fn a_voice_agent_hears_a_pages_microphone_until_a_limit() {
    let stage = stage(&[], &[("provider.dialect", "elevenlabs")]);
    let heard = run(&stage, "page_elevenlabs.mjs", &stage.key_of("alice"));
    assert_eq!(heard, json!({"answers": 40, "error": null}));
    let counted = stage.counted("alice", 1)[0]["durationMs"].as_u64().expect("milliseconds");
    let billed = stage.provider.audit()["totals"]["billed"]["duration_ms"].as_u64().expect("milliseconds");
    assert!(counted > 0 && counted.abs_diff(billed) < 1_000, "{counted} of {billed}");
    clean(&stage.provider.audit()["handshakes"]);

    // Half a second of the connection.
    limit(&stage, "bob", &json!({"maxCostUsd": 0.0006}));
    let error = run(&stage, "page_elevenlabs.mjs", &stage.key_of("bob"))["error"].clone();
    assert_eq!(json!([error["type"], error["code"]]), json!(["error", 4004]), "{error}");
    assert!(error["text"].as_str().is_some_and(|text| text.starts_with("Cost limit reached: $")), "{error}");
}

#[test]
fn a_transcriber_shows_its_key_in_the_query_and_hears_why_it_was_stopped() {
    let stage = stage(&[], &[("provider.dialect", "assemblyai"), ("limits.max_cost_usd", "0.000125")]);
    let key = stage.key_of("alice");
    for may_begin in [true, false] {
        let stopped = run_over(true, &stage, "page_assemblyai.mjs", &key);
        assert_eq!(stopped["answers"].as_u64().expect("a count") > 0, may_begin, "{stopped}");
        assert_eq!(stopped["close_code"], 4004, "{stopped}");
        let text = stopped["error"]["text"].as_str().unwrap_or_default();
        assert!(text.contains("Cost limit reached: $"), "{stopped}");
    }
    clean(&stage.provider.audit()["handshakes"]);
}
