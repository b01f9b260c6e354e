//! Real clients of Gemini Live, unaltered, through whole turns and into a limit: what they were told, what the proxy
//! counted and what the provider delivered are the same numbers. The programs are in `clients/`; `scripts/lib/clients`
//! installs what they import.

use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use tokenist_kit::{Certificate, PATIENCE, Provider, Scratch, Tokenist, eventually, request};

const KEY: &str = "AIza-the-callers-own-key";
const MODEL: &str = "gemini-3.8-live";

#[derive(Clone, Copy)]
struct Program {
    file: &'static str,
    /// The folder of its interpreter's packages, under `.cache/clients`; none of its own for Node.
    environment: Option<&'static str>,
    /// It asks Vertex, which tells of a tool's call what that used.
    vertex: bool,
    /// All that it lets be set is the address: the path tells who speaks.
    keyed: bool,
    /// Turns that have a usage, a tool's call at Vertex among them.
    usages: u64,
}

const fn python(file: &'static str, environment: &'static str) -> Program {
    Program { file, environment: Some(environment), vertex: false, keyed: false, usages: 4 }
}

const PYTHON: Program = python("gemini_async.py", "google");
const VERTEX: Program = Program { vertex: true, usages: 5, ..PYTHON };
const NODE: Program = Program { file: "gemini.mjs", environment: None, ..PYTHON };
const LIVEKIT: Program = python("livekit_google.py", "google");
const PIPECAT: Program = Program { keyed: true, ..python("pipecat_gemini.py", "pipecat") };

/// A proxy in plain and in TLS before a provider.
struct Stage {
    provider: Provider,
    proxy: Tokenist,
    certificate: Certificate,
    _scratch: Scratch,
}

impl Stage {
    /// LiveKit does not tell thoughts, so there are none.
    fn new(settings: &[(&str, &str)]) -> Stage {
        let scratch = Scratch::new();
        let certificate = Certificate::write(&scratch);
        let provider = Provider::start(&["--seed", "7", "--key", KEY, "--sim", "reasoning=0"]);
        let text = |path: &Path| path.display().to_string();
        let (cert, key) = (text(&certificate.certificate), text(&certificate.key));
        let ours = [
            ("provider.dialect", "gemini"),
            ("provider.name", "google"),
            ("provider.api_key_env", "OPERATORS_KEY"),
            ("OPERATORS_KEY", KEY),
            ("proxy.tls_listen", "127.0.0.1:0"),
            ("proxy.tls_cert", &cert),
            ("proxy.tls_key", &key),
        ];
        let proxy = Tokenist::start(&provider.origin(), &[&ours[..], settings].concat());
        Stage { provider, proxy, certificate, _scratch: scratch }
    }

    /// Runs a client to its end and gives what it says it heard.
    fn run(&self, program: Program, user: &str) -> Value {
        let Program { file, environment, vertex, keyed, .. } = program;
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let (mut command, mut base_url) = match (environment, self.proxy.tls_listen) {
            (Some(environment), Some(listen)) => {
                let python = root.join(".cache/clients").join(environment).join("bin/python");
                (Command::new(installed(&python)), format!("https://localhost:{}", listen.port()))
            }
            _ => {
                installed(&root.join("tests/clients/node_modules/@google/genai"));
                (Command::new("node"), format!("http://{}", self.proxy.listen))
            }
        };
        if keyed {
            base_url = format!("{base_url}/k/{}", self.key_of(user));
        }
        command.arg(root.join("tests/clients").join(file)).args([&base_url, user]);
        command.env("GOOGLE_API_KEY", KEY).env("SSL_CERT_FILE", &self.certificate.certificate);
        command.env("PYTHONDONTWRITEBYTECODE", "1").env_remove("VERTEX");
        if vertex {
            command.env("VERTEX", "1");
        }
        let output = command.output().unwrap_or_else(|error| panic!("{file} cannot be run: {error}"));
        let said = String::from_utf8_lossy(&output.stdout);
        let heard = said.lines().last().and_then(|line| serde_json::from_str(line).ok());
        heard
            .unwrap_or_else(|| panic!("{file} said {said:?} and {}", String::from_utf8_lossy(&output.stderr)))
    }

    fn key_of(&self, user: &str) -> String {
        let made = self.proxy.post("/auth/api-keys", &json!({"name": user, "userId": user}));
        assert_eq!(made.status, 201, "{}", made.body);
        made.json()["apiKey"].as_str().expect("a key is told once").to_owned()
    }

    /// What the proxy has counted for a user of the one model, once it has counted `requests`.
    fn counted(&self, user: &str, requests: u64) -> Value {
        let path = format!("/admin/users/{user}/models?since=start");
        let model = || self.proxy.get(&path)["models"][0].clone();
        eventually(PATIENCE, model, |model| model["requests"] == requests)
    }
}

fn installed(path: &Path) -> PathBuf {
    assert!(path.exists(), "{} is missing: run scripts/lib/clients first", path.display());
    path.to_owned()
}

#[test]
fn every_client_is_counted_as_it_was_told_and_as_the_provider_delivered() {
    let stage = Stage::new(&[]);
    for (program, user) in [PYTHON, VERTEX, NODE, LIVEKIT, PIPECAT].into_iter().zip(["a", "b", "c", "d", "e"])
    {
        let file = program.file;
        let heard = stage.run(program, user);
        let counted = stage.counted(user, program.usages);
        assert_eq!(
            (&counted["model"], &counted["requests"]),
            (&json!(MODEL), &json!(program.usages)),
            "{file}: {heard}"
        );
        let usage = &counted["usage"];
        let told = json!([heard["input_tokens"], heard["output_tokens"], heard["responses"]]);
        assert_eq!(told, json!([usage["inputTokens"], usage["outputTokens"], program.usages]), "{file}");
        let audit = stage.provider.audit();
        let totals = &audit["totals"];
        for (ours, theirs) in [
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
            assert_eq!(counted.pointer(ours), Some(&totals[theirs]), "{file}: {theirs}");
        }
        assert_eq!((&totals["undelivered"], &audit["session_count"]), (&json!(0), &json!(1)), "{file}");
        clean(&audit["handshakes"]);
        request(stage.provider.listen, "POST", "/audit/reset", &[], "");
    }
}

/// The key went up in one place, and nothing of ours did.
fn clean(handshakes: &Value) {
    let text = handshakes.to_string();
    assert_eq!(text.matches(KEY).count(), 1, "{text}");
    for ours in ["ug_", "x-user-id", "/k/"] {
        assert!(!text.contains(ours), "{ours} went upstream: {text}");
    }
}

/// Exception type, code and message, as each author gets them.
fn assert_told(heard: &Value, kind: &str, message: &str) {
    let told = &heard["error"];
    assert_eq!((&told["type"], &told["code"]), (&json!(kind), &json!(4004)), "{heard}");
    assert!(told["text"].as_str().is_some_and(|text| text.contains(message)), "{heard}");
}

#[test]
fn every_author_sees_why_a_session_was_ended_in_its_middle() {
    let stage = Stage::new(&[("limits.max_total_tokens", "300")]);
    let was_cut = |heard: &Value| heard["responses"].as_u64().is_some_and(|count| (1..4).contains(&count));
    for (program, user, kind, refused_kind) in
        [(PYTHON, "a", "APIError", "APIError"), (NODE, "b", "close", "Error")]
    {
        let stopped = stage.run(program, user);
        assert_told(&stopped, kind, "Token limit reached: ");
        assert!(was_cut(&stopped), "{stopped}");
        let refused = stage.run(program, user);
        assert_told(&refused, refused_kind, "Token limit reached: ");
        assert_eq!(refused["responses"], 0, "{refused}");
    }
    // It dials once more, is refused before the setup, and gives up.
    let stopped = stage.run(LIVEKIT, "c");
    assert_told(&stopped, "APIError", "Token limit reached: ");
    assert!(was_cut(&stopped) && stopped["errors"] == json!([true, false]), "{stopped}");
    // Pipecat tells its author of no end that a session had; it is cut all the same.
    let stopped = stage.run(PIPECAT, "d");
    assert!(was_cut(&stopped) && stopped["errors"] == json!([]), "{stopped}");
    assert_eq!(stage.provider.audit()["handshake_count"], 4, "who is over the limit reaches no provider");
}
