//! Real clients, unaltered, through whole turns: what they were told, what the proxy counted and what the provider
//! delivered are the same numbers. The programs are in `clients/`; `scripts/lib/clients` installs what they import.

use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use tokenist_kit::{Certificate, PATIENCE, Provider, Scratch, Tokenist, eventually};

const KEY: &str = "sk-the-callers-own-key";
/// Every turn in `clients/conversation.*` is one response; two of them are transcribed, too.
const RESPONSES: u64 = 4;

#[derive(Clone, Copy)]
struct Program {
    file: &'static str,
    /// The SDK speaks TLS whatever the URL says.
    tls: bool,
    /// It does not tell the code that a session was closed with.
    hides_close_code: bool,
}

const fn program(file: &'static str) -> Program {
    Program { file, tls: false, hides_close_code: false }
}

const PROGRAMS: [Program; 9] = [
    program("openai_sync.py"),
    program("openai_async.py"),
    program("websockets_async.py"),
    program("agents_async.py"),
    program("ws.mjs"),
    program("agents_session.mjs"),
    Program { hides_close_code: true, ..program("agents_query.mjs") },
    Program { tls: true, ..program("openai_ws.mjs") },
    Program { tls: true, ..program("openai_native.mjs") },
];

/// A proxy in plain and in TLS before a provider, both with what browsers need allowed.
struct Stage {
    provider: Provider,
    proxy: Tokenist,
    certificate: Certificate,
    _scratch: Scratch,
}

impl Stage {
    fn new(settings: &[(&str, &str)]) -> Stage {
        let scratch = Scratch::new();
        let certificate = Certificate::write(&scratch);
        let provider = Provider::start(&["--seed", "7", "--key", KEY]);
        let text = |path: &Path| path.display().to_string();
        let (cert, key) = (text(&certificate.certificate), text(&certificate.key));
        let ours = [
            ("proxy.shard_count", "2"),
            ("proxy.tls_listen", "127.0.0.1:0"),
            ("proxy.tls_cert", &cert),
            ("proxy.tls_key", &key),
            ("identity.query", "true"),
        ];
        let proxy = Tokenist::start(&provider.origin(), &[&ours[..], settings].concat());
        Stage { provider, proxy, certificate, _scratch: scratch }
    }

    /// Runs a client to its end and gives what it says it heard.
    fn run(&self, program: Program, user: &str) -> Value {
        let Program { file, tls, .. } = program;
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut command = match file.ends_with(".py") {
            true => Command::new(installed(&root.join(".cache/clients/venv/bin/python"))),
            false => {
                installed(&root.join("tests/clients/node_modules"));
                let mut node = Command::new("node");
                // Before Node 22 its own WebSocket waits for this word.
                node.arg("--experimental-websocket").arg("--no-warnings");
                node
            }
        };
        let base_url = match (tls, self.proxy.tls_listen) {
            (true, Some(listen)) => format!("https://localhost:{}/v1", listen.port()),
            _ => format!("http://{}/v1", self.proxy.listen),
        };
        command.arg(root.join("tests/clients").join(file)).args([&base_url, user]);
        command.env("OPENAI_API_KEY", KEY).env("NODE_EXTRA_CA_CERTS", &self.certificate.certificate);
        command.env("OPENAI_AGENTS_DISABLE_TRACING", "1").env("PYTHONDONTWRITEBYTECODE", "1");
        let output = command.output().unwrap_or_else(|error| panic!("{file} cannot be run: {error}"));
        let said = String::from_utf8_lossy(&output.stdout);
        let heard = said.lines().last().and_then(|line| serde_json::from_str(line).ok());
        heard
            .unwrap_or_else(|| panic!("{file} said {said:?} and {}", String::from_utf8_lossy(&output.stderr)))
    }

    /// What the proxy has counted for a user, by model, once it has counted `requests`.
    fn counted(&self, user: &str, requests: u64) -> Vec<Value> {
        let path = format!("/admin/users/{user}/models?since=start");
        let models = || self.proxy.get(&path)["models"].as_array().cloned().unwrap_or_default();
        eventually(PATIENCE, models, |models| sum(models, "/requests") == requests)
    }
}

fn installed(path: &Path) -> PathBuf {
    assert!(path.exists(), "{} is missing: run scripts/lib/clients first", path.display());
    path.to_owned()
}

fn sum(models: &[Value], pointer: &str) -> u64 {
    models.iter().map(|model| model.pointer(pointer).and_then(Value::as_u64).unwrap_or_default()).sum()
}

#[test]
fn every_client_is_counted_as_it_was_told_and_as_the_provider_delivered() {
    let stage = Stage::new(&[]);
    let mut told = 0;
    for program in PROGRAMS {
        let user = program.file;
        let heard = stage.run(program, user);
        assert_eq!((&heard["error"], &heard["close_code"]), (&Value::Null, &Value::Null), "{user}: {heard}");
        assert_eq!(heard["responses"], RESPONSES, "{user}");
        let counted = stage.counted(user, RESPONSES + 2);
        let (input, output) = (sum(&counted, "/usage/inputTokens"), sum(&counted, "/usage/outputTokens"));
        assert_eq!(json!([input, output]), json!([heard["input_tokens"], heard["output_tokens"]]), "{user}");
        told += input + output;
    }
    let audit = stage.provider.audit();
    assert_eq!(audit["totals"]["total_tokens"], told);
    assert_eq!(audit["totals"]["undelivered"], 0);
    let users: Vec<Vec<Value>> = PROGRAMS.map(|program| stage.counted(program.file, RESPONSES + 2)).into();
    for (model, delivered) in audit["by_key"]["-"].as_object().expect("the provider has delivered") {
        let of_model: Vec<Value> =
            users.iter().flatten().filter(|counted| counted["model"] == **model).cloned().collect();
        for (ours, theirs) in [
            ("/requests", "requests"),
            ("/tokenDetails/textInputTokens", "text_in"),
            ("/tokenDetails/audioInputTokens", "audio_in"),
            ("/tokenDetails/imageInputTokens", "image_in"),
            ("/tokenDetails/cachedTextInputTokens", "cached_text_in"),
            ("/tokenDetails/cachedAudioInputTokens", "cached_audio_in"),
            ("/tokenDetails/cachedImageInputTokens", "cached_image_in"),
            ("/tokenDetails/textOutputTokens", "text_out"),
            ("/tokenDetails/audioOutputTokens", "audio_out"),
            ("/tokenDetails/reasoningTokens", "reasoning_out"),
        ] {
            assert_eq!(delivered[theirs], sum(&of_model, ours), "{model}: {theirs}");
        }
    }
    clean(&audit["handshakes"]);
}

/// Nothing of ours went to the provider, and the caller's key in one form only.
fn clean(handshakes: &Value) {
    let handshakes = handshakes.as_array().expect("the provider has seen handshakes");
    assert_eq!(handshakes.len(), PROGRAMS.len());
    for handshake in handshakes {
        assert_eq!(handshake["extensions"], Value::Null, "{handshake}");
        assert_eq!(handshake["path"], "/v1/realtime");
        assert_eq!(handshake["query"], "model=gpt-realtime");
        let headers = handshake["headers"].as_array().expect("headers are a list");
        let keys =
            headers.iter().filter(|header| header[1].as_str().is_some_and(|value| value.contains(KEY)));
        let keys: Vec<&Value> = keys.collect();
        assert_eq!(keys, [&json!(["authorization", format!("Bearer {KEY}")])], "{handshake}");
        for name in headers.iter().filter_map(|header| header[0].as_str()) {
            let ours = ["x-user-id", "x-org-id", "x-feature", "openai-beta", "api-key", "cookie"];
            assert!(!ours.contains(&name), "{name} went upstream: {handshake}");
        }
        let offered = handshake["protocols"].as_str().unwrap_or_default();
        assert!(!offered.contains("insecure"), "{handshake}");
    }
}

#[test]
fn every_client_learns_why_it_was_stopped_and_why_it_may_not_come_back() {
    let stage = Stage::new(&[("limits.max_total_tokens", "300")]);
    for program in PROGRAMS {
        let user = program.file;
        let close_code = if program.hides_close_code { Value::Null } else { json!(4004) };
        let stopped = stage.run(program, user);
        assert_eq!(stopped["error"], "token_limit_reached", "{user}: {stopped}");
        assert_eq!(stopped["close_code"], close_code, "{user}: {stopped}");
        assert!(
            stopped["responses"].as_u64().is_some_and(|count| (1..RESPONSES).contains(&count)),
            "{stopped}"
        );
        let refused = stage.run(program, user);
        assert_eq!(refused["error"], "token_limit_reached", "{user}: {refused}");
        assert_eq!(
            (&refused["close_code"], &refused["responses"]),
            (&close_code, &json!(0)),
            "{user}: {refused}"
        );
    }
    // Who came over the limit was told of every token that was counted against it.
    assert_eq!(stage.provider.audit()["handshake_count"], PROGRAMS.len());
}
