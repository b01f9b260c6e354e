//! Real clients of providers that bill time, unaltered, through a whole session and into a limit: what they were told, what the
//! proxy counted and what the provider delivered are the same. The programs are in `clients/`; `scripts/lib/clients` installs
//! what they import.

use serde_json::{Value, json};
use tokenist_kit::clients::{Stage, hear};

const KEY: &str = "the-callers-own-key";

struct Program {
    file: &'static str,
    /// Whose Python it runs on.
    environment: &'static str,
    /// What the proxy speaks.
    dialect: &'static str,
    model: &'static str,
    names_user: By,
}

/// What tells who speaks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Header,
    /// A key in front of the path: all that it lets be set is the address.
    Path,
    /// A key in the place of the provider's.
    Key,
}

const fn timed(file: &'static str, dialect: &'static str, model: &'static str, names_user: By) -> Program {
    Program { file, environment: "timed", dialect, model, names_user }
}

const VOXTRAL: &str = "voxtral-mini-transcribe-realtime-2602";
const DEEPGRAM: Program = timed("deepgram_sync.py", "deepgram", "nova-3", By::Header);
const ASSEMBLYAI: Program = timed("assemblyai_sync.py", "assemblyai", "u3-rt-pro", By::Path);
const ELEVENLABS: Program = timed("elevenlabs_agent.py", "elevenlabs", "convai", By::Path);
const SPEECHMATICS: Program = timed("speechmatics_async.py", "speechmatics", "enhanced", By::Header);
const MISTRAL: Program = timed("mistral_async.py", "mistral", VOXTRAL, By::Header);
const NODE_DEEPGRAM: Program = timed("deepgram_listen.mjs", "deepgram", "nova-3", By::Header);
const NODE_SPEECHMATICS: Program = timed("speechmatics_rt.mjs", "speechmatics", "enhanced", By::Key);
const NODE_MISTRAL: Program = timed("mistral_rt.mjs", "mistral", VOXTRAL, By::Header);
const INTERACTIONS: Program = Program {
    file: "interactions_async.py",
    environment: "google",
    dialect: "gemini",
    model: "unknown",
    names_user: By::Header,
};

/// Sound that each of them sends in the end: four pieces of half a second.
const SOUND_MS: u64 = 2_000;

/// A proxy of a dialect before a provider.
fn stage(program: &Program, settings: &[(&str, &str)]) -> Stage {
    let ours = [
        ("provider.dialect", program.dialect),
        ("provider.api_key_env", "OPERATORS_KEY"),
        ("OPERATORS_KEY", KEY),
    ];
    Stage::new(&["--seed", "7", "--key", KEY, "--sim", "chunks=0"], &[&ours[..], settings].concat())
}

/// Runs a client to its end, with these words of its environment, and gives what it says it heard.
fn run(stage: &Stage, program: &Program, user: &str, words: &[(&str, &str)]) -> Value {
    let mut client = stage.client(program.file, program.environment);
    let (mut base_url, mut key) = (stage.origin(false), KEY.to_owned());
    match program.names_user {
        By::Header => {}
        By::Path => base_url = format!("{base_url}/k/{}", stage.key_of(user)),
        By::Key => key = stage.key_of(user),
    }
    client.args([&base_url, user]).env("PROVIDER_KEY", key).env("GOOGLE_API_KEY", KEY);
    client.envs(words.iter().copied());
    hear(client)
}

/// The key went up in one place, and nothing of ours did.
fn clean(audit: &Value) {
    let text = audit["handshakes"].to_string();
    assert_eq!(text.matches(KEY).count(), 1, "{text}");
    for ours in ["ug_", "x-user-id", "/k/"] {
        assert!(!text.contains(ours), "{ours} went upstream: {text}");
    }
}

#[test]
fn every_client_is_counted_as_it_was_told_and_as_the_provider_delivered() {
    for (program, stated_ms) in [
        (DEEPGRAM, Some(SOUND_MS)),
        (ASSEMBLYAI, Some(1_000)),
        (SPEECHMATICS, None),
        (MISTRAL, Some(SOUND_MS)),
        (NODE_DEEPGRAM, Some(SOUND_MS)),
        (NODE_SPEECHMATICS, None),
        (NODE_MISTRAL, Some(SOUND_MS)),
    ] {
        let (file, stage) = (program.file, stage(&program, &[]));
        let heard = run(&stage, &program, "alice", &[]);
        assert_eq!(heard, json!({"answers": 4, "stated_ms": stated_ms, "error": null}), "{file}");
        let counted = &stage.counted("alice", 1)[0];
        let audit = stage.provider.audit();
        let delivered = &audit["totals"]["duration_ms"];
        assert_eq!(delivered, &json!(stated_ms.unwrap_or(SOUND_MS)), "{file}: {audit}");
        assert_eq!((&counted["model"], &counted["durationMs"]), (&json!(program.model), delivered), "{file}");
        assert_eq!(audit["totals"]["undelivered"], 0, "{file}");
        clean(&audit);
    }
}

#[test]
fn an_agent_is_counted_by_the_clock_and_its_client_leaves_when_it_likes() {
    // Straight to the agent, and by a signed URL.
    for words in [&[][..], &[("SIGNED", "1")]] {
        let stage = stage(&ELEVENLABS, &[]);
        let heard = run(&stage, &ELEVENLABS, "alice", words);
        assert_eq!((&heard["answers"], &heard["error"]), (&json!(4), &Value::Null), "{heard}");
        let counted = &stage.counted("alice", 1)[0];
        let audit = stage.provider.audit();
        let billed = audit["totals"]["billed"]["duration_ms"].as_u64().unwrap();
        let ours = counted["durationMs"].as_u64().unwrap();
        assert!(ours > 0 && ours.abs_diff(billed) < 1_000, "{ours} of {billed}");
        clean(&audit);
    }
}

#[test]
fn an_interaction_is_counted_as_its_client_was_told() {
    let stage = stage(&INTERACTIONS, &[]);
    let heard = run(&stage, &INTERACTIONS, "alice", &[]);
    let counted = &stage.counted("alice", 1)[0];
    let usage = &counted["usage"];
    assert_eq!(
        json!([heard["input_tokens"], heard["output_tokens"], heard["error"]]),
        json!([usage["inputTokens"], usage["outputTokens"], null]),
        "{heard}"
    );
    let totals = &stage.provider.audit()["totals"];
    assert_eq!(
        json!(heard["input_tokens"].as_u64().unwrap() + heard["output_tokens"].as_u64().unwrap()),
        totals["total_tokens"]
    );
}

#[test]
fn every_author_sees_why_a_session_was_ended_in_its_middle() {
    // A second of sound each; of AssemblyAI and ElevenLabs a second of the connection.
    let slow = [("PIECES", "12"), ("PAUSE_SECONDS", "0.25")];
    for (program, limit, kind, code) in [
        (DEEPGRAM, "0.00008", "Error", json!("cost_limit_reached")),
        (ASSEMBLYAI, "0.000125", "RealTimeError", json!(4004)),
        (SPEECHMATICS, "0.00003", "cost_limit_reached", json!(4004)),
        (MISTRAL, "0.0001", "error", json!(4004)),
        (ELEVENLABS, "0.0013", "error", json!(4004)),
        (NODE_DEEPGRAM, "0.00008", "Error", json!("cost_limit_reached")),
        (NODE_SPEECHMATICS, "0.00003", "cost_limit_reached", json!(4004)),
        (NODE_MISTRAL, "0.0001", "error", json!(4004)),
    ] {
        let (file, stage) = (program.file, stage(&program, &[("limits.max_cost_usd", limit)]));
        let stopped = run(&stage, &program, "alice", &slow);
        let told = &stopped["error"];
        assert_eq!(told["type"], kind, "{file}: {stopped}");
        assert_eq!(told["code"], code, "{file}: {stopped}");
        assert!(
            told["text"].as_str().is_some_and(|text| text.contains("Cost limit reached: $")),
            "{file}: {stopped}"
        );
        assert_eq!(stopped["stated_ms"], Value::Null, "{file}: {stopped}");
        let again = run(&stage, &program, "alice", &slow);
        assert!(
            again["error"]["text"].as_str().is_some_and(|text| text.contains("Cost limit reached: $")),
            "{file}: {again}"
        );
        assert_eq!(
            stage.provider.audit()["handshake_count"],
            1,
            "{file}: who is over the limit reaches no provider"
        );
    }
}
