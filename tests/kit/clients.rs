//! Real clients: programs of their own in `tests/clients`, with what `scripts/lib/clients` installs for them.

use crate::{Certificate, PATIENCE, Provider, Scratch, Tokenist, eventually};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A proxy in plain and in TLS before a provider.
#[derive(Debug)]
pub struct Stage {
    pub provider: Provider,
    pub proxy: Tokenist,
    certificate: Certificate,
    _scratch: Scratch,
}

impl Stage {
    /// The provider with these arguments, the proxy with these settings.
    pub fn new(arguments: &[&str], settings: &[(&str, &str)]) -> Stage {
        let scratch = Scratch::new();
        let certificate = Certificate::write(&scratch);
        let provider = Provider::start(arguments);
        let text = |path: &Path| path.display().to_string();
        let (cert, key) = (text(&certificate.certificate), text(&certificate.key));
        let tls = [("proxy.tls_listen", "127.0.0.1:0"), ("proxy.tls_cert", &cert), ("proxy.tls_key", &key)];
        let proxy = Tokenist::start(&provider.origin(), &[&tls[..], settings].concat());
        Stage { provider, proxy, certificate, _scratch: scratch }
    }

    /// Where the proxy is, without a path.
    pub fn origin(&self, tls: bool) -> String {
        match self.proxy.tls_listen {
            Some(listen) if tls => format!("https://localhost:{}", listen.port()),
            _ => format!("http://{}", self.proxy.listen),
        }
    }

    /// A program in `tests/clients` that trusts the proxy's certificate. `environment` is the folder of its Python under
    /// `.cache/clients`.
    pub fn client(&self, file: &str, environment: &str) -> Command {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut command = match file.ends_with(".py") {
            true => Command::new(installed(root.join(".cache/clients").join(environment).join("bin/python"))),
            false => {
                installed(root.join("tests/clients/node_modules"));
                let mut node = Command::new("node");
                // Before Node 22 its own WebSocket waits for this word.
                node.args(["--experimental-websocket", "--no-warnings"]);
                node
            }
        };
        command.arg(root.join("tests/clients").join(file)).env("PYTHONDONTWRITEBYTECODE", "1");
        for variable in ["SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"] {
            command.env(variable, &self.certificate.certificate);
        }
        command
    }

    /// A new API key that is bound to a user.
    pub fn key_of(&self, user: &str) -> String {
        let made = self.proxy.post("/auth/api-keys", &json!({"name": user, "userId": user}));
        assert_eq!(made.status, 201, "{}", made.body);
        made.json()["apiKey"].as_str().expect("a key is told once").to_owned()
    }

    /// What the proxy has counted for a user, by model, once it has counted `requests`.
    pub fn counted(&self, user: &str, requests: u64) -> Vec<Value> {
        let path = format!("/admin/users/{user}/models?since=start");
        let models = || self.proxy.get(&path)["models"].as_array().cloned().unwrap_or_default();
        eventually(PATIENCE, models, |models| sum(models, "/requests") == requests)
    }
}

/// Runs a client to its end and gives what it says it heard: the last line that it prints.
pub fn hear(mut client: Command) -> Value {
    let output = client.output().unwrap_or_else(|error| panic!("{client:?} cannot be run: {error}"));
    let said = String::from_utf8_lossy(&output.stdout);
    let heard = said.lines().last().and_then(|line| serde_json::from_str(line).ok());
    heard
        .unwrap_or_else(|| panic!("{client:?} said {said:?} and {}", String::from_utf8_lossy(&output.stderr)))
}

/// One figure of several models, together.
pub fn sum(models: &[Value], pointer: &str) -> u64 {
    models.iter().map(|model| model.pointer(pointer).and_then(Value::as_u64).unwrap_or_default()).sum()
}

/// What the proxy calls each kind of token, and what the provider's audit calls it.
pub const KINDS: [(&str, &str); 9] = [
    ("/tokenDetails/textInputTokens", "text_in"),
    ("/tokenDetails/audioInputTokens", "audio_in"),
    ("/tokenDetails/imageInputTokens", "image_in"),
    ("/tokenDetails/cachedTextInputTokens", "cached_text_in"),
    ("/tokenDetails/cachedAudioInputTokens", "cached_audio_in"),
    ("/tokenDetails/cachedImageInputTokens", "cached_image_in"),
    ("/tokenDetails/textOutputTokens", "text_out"),
    ("/tokenDetails/audioOutputTokens", "audio_out"),
    ("/tokenDetails/reasoningTokens", "reasoning_out"),
];

fn installed(path: PathBuf) -> PathBuf {
    assert!(path.exists(), "{} is missing: run scripts/lib/clients first", path.display());
    path
}
