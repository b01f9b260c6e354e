//! What is secret is not logged, and metrics name nobody.
//!
//! Every secret in this traffic bears a mark: keys in every place where an SDK puts one, prompts, audio, answers, the
//! operator's token. The proxy logs all it has to say; the mark must not be in it.

use serde_json::json;
use tokenist_kit::{Client, Handshake, PATIENCE, Provider, TOKEN, Tokenist, request};

const MARK: &str = "MARKED5ECRET";
/// The mark as audio carries it.
const MARK_IN_BASE64: &str = "TUFSS0VENUVDUkVU";
const USER: &str = "user-whom-no-metric-names";

fn key(kind: &str) -> String {
    format!("sk-{kind}-{MARK}")
}

/// A handshake with nothing but a user's id.
fn anonymous() -> Handshake {
    let mut handshake = Handshake::of(USER);
    handshake.headers.retain(|(name, _)| name != "Authorization");
    handshake
}

/// Keys wherever an SDK puts them; who is let in says an intimate turn.
fn with_keys_everywhere(tokenist: &Tokenist) {
    let secret = |kind: &str| key(kind);
    let handshakes = [
        anonymous().header("Authorization", &format!("Bearer {}", secret("bearer"))),
        anonymous().header("api-key", &secret("azure")),
        anonymous().header("x-api-key", &secret("anthropic")),
        anonymous().header("x-goog-api-key", &secret("google")),
        anonymous().parameter(&format!("key={}", secret("query"))),
        anonymous().parameter(&format!("Authorization=Bearer%20{}", secret("authorization"))),
        anonymous().header(
            "Sec-WebSocket-Protocol",
            &format!("realtime, openai-insecure-api-key.{}", secret("subprotocol")),
        ),
        anonymous()
            .header("Authorization", &format!("Bearer {}", secret("with-cookie")))
            .header("Cookie", &format!("session={MARK}")),
    ];
    for handshake in handshakes {
        let mut client = Client::open(tokenist.listen, &handshake).expect("let in");
        intimate_turn(&mut client);
        client.leave();
    }
}

fn intimate_turn(client: &mut Client) {
    client.say(&json!({"type": "session.update", "session": {"instructions": MARK}}));
    let content = json!([{"type": "input_text", "text": format!("My secret is {MARK}")}]);
    client.say(&json!({"type": "conversation.item.create",
        "item": {"type": "message", "role": "user", "content": content}}));
    client.say(&json!({"type": "input_audio_buffer.append", "audio": MARK_IN_BASE64.repeat(1_000)}));
    client.turn("usage=twice,invalid_json").expect("the response ends");
}

/// Everything that goes wrong and might be told with what was in it.
fn with_faults(tokenist: &Tokenist) {
    let open = |sim: &str| {
        let bearer = format!("Bearer {}", key("fault"));
        let handshake = anonymous().header("Authorization", &bearer).sim(sim);
        Client::open(tokenist.listen, &handshake)
    };
    for sim in ["die@end", "reset@end", "close@end=4000:odd", "odd=rsv1", "odd=bad_close", "usage=null"] {
        let mut client = open("").expect("let in");
        intimate_turn(&mut client);
        client.ask_response(sim);
        if sim == "usage=null" {
            // An application that breaks the protocol with its secret in the frame.
            client.send(format!("\x01\x02{MARK}{MARK}").as_bytes());
        }
        client.hear_out();
    }
    assert!(open("refuse=401").is_err(), "the provider refuses");
    assert!(open("refuse=500").is_err());
}

/// Requests that are refused before anybody is dialled.
fn with_refusals(tokenist: &Tokenist) {
    let own_keys = [format!("ug_{MARK}"), format!("ug_{}{MARK}", "0".repeat(52)), format!("ek_{MARK}")];
    for key in &own_keys {
        let handshake = anonymous().header("Authorization", &format!("Bearer {key}"));
        if let Ok(mut client) = Client::open(tokenist.listen, &handshake) {
            client.hear_out();
        }
    }
    let bearer = format!("Bearer {}", key("refused"));
    let no_user = Handshake { headers: Vec::new(), ..anonymous() }.header("Authorization", &bearer);
    for _ in 0..5 {
        if let Ok(mut client) = Client::open(tokenist.listen, &no_user) {
            client.hear_out();
        }
    }
    let path = format!("/v1/realtime?key={MARK}");
    let unknown = format!("/v1/{MARK}?key={MARK}");
    let bearer = format!("Bearer {MARK}");
    let long = format!("{MARK}{}", "x".repeat(70_000));
    for (path, name, value) in [
        (&*path, "Authorization", &*bearer),
        (&*unknown, "Authorization", &bearer),
        ("/v1/realtime", "Transfer-Encoding", MARK),
        ("/v1/realtime", MARK, MARK),
        ("/v1/realtime", "Authorization", &long),
        (&path, &format!("{MARK} {MARK}"), &bearer),
        (&format!("/v1/realtime {MARK}"), "x", &bearer),
    ] {
        request(tokenist.listen, "GET", path, &[(name, value)], "");
    }
}

/// The operator's own secret, right and wrong.
fn with_operators(tokenist: &Tokenist) {
    assert_eq!(
        tokenist.post(&format!("/admin/users/{USER}/threshold"), &json!({"maxCostUsd": 50})).status,
        200
    );
    let bearer = format!("Bearer {MARK}-{MARK}");
    for path in ["/admin/users", "/metrics", &format!("/admin/users?token={MARK}"), "/admin/sessions"] {
        let answer = request(tokenist.admin, "GET", path, &[("Authorization", &bearer)], "");
        assert!([401, 429].contains(&answer.status), "{answer:?}");
    }
}

#[test]
fn nothing_secret_is_logged_and_no_metric_names_a_user() {
    let provider = Provider::start(&[]);
    let operators_key = key("operator");
    let token = format!("{TOKEN}-{MARK}");
    let tokenist = Tokenist::start(
        &provider.origin(),
        &[("log.level", "trace"), ("proxy.shard_count", "1"), ("OPENAI_API_KEY", &operators_key)],
    );
    with_keys_everywhere(&tokenist);
    with_faults(&tokenist);
    with_refusals(&tokenist);
    with_operators(&tokenist);

    let metrics = tokenist.metrics();
    assert!(metrics.contains("tokenist_sessions_opened_total"), "{metrics}");
    for name in [USER, MARK, "alice"] {
        assert!(!metrics.contains(name), "a metric names {name}");
    }
    // The last session's end is logged once it is settled.
    assert_unmarked(&tokenist.logged_times(14, "session closed"));

    let mut other = Tokenist::start(&provider.origin(), &[("log.level", "trace"), ("admin.token", &token)]);
    other.signal(tokenist_kit::Signal::Terminate);
    assert!(other.wait(PATIENCE).is_some());
    assert_unmarked(&other.output());
}

#[track_caller]
fn assert_unmarked(output: &str) {
    for line in output.lines() {
        let marked = line.contains(MARK) || line.contains(MARK_IN_BASE64);
        assert!(!marked, "a secret was logged: {line}");
        assert!(!line.contains(TOKEN), "the operator's token was logged: {line}");
    }
}
