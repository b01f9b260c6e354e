//! The simulated provider.

use crate::http::request;
use crate::process::{Process, address, binary_of};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Command;

#[derive(Debug)]
pub struct Provider {
    pub listen: SocketAddr,
    pub tls_listen: Option<SocketAddr>,
    process: Process,
}

impl Provider {
    /// `tokload provider` with these further arguments, such as `["--seed", "7"]`.
    pub fn start(arguments: &[&str]) -> Provider {
        let mut command = Command::new(binary_of("tokload"));
        command.args(["provider", "--listen", "127.0.0.1:0"]).args(arguments);
        let (process, line) = Process::start("tokload", command);
        let listen = address(&line, "listen").unwrap_or_else(|| panic!("tokload said {line}"));
        Provider { listen, tls_listen: address(&line, "tls_listen"), process }
    }

    /// For `provider.base_url`.
    pub fn origin(&self) -> String {
        format!("http://{}", self.listen)
    }

    /// For `provider.base_url`, by the name that its certificate has.
    pub fn tls_origin(&self) -> Option<String> {
        self.tls_listen.map(|listen| format!("https://localhost:{}", listen.port()))
    }

    /// What it has delivered: totals, by key and model, sessions, handshakes.
    pub fn audit(&self) -> Value {
        request(self.listen, "GET", "/audit", &[], "").json()
    }

    /// Tokens delivered, by the key that clients came with, which is the user's name in all traffic of ours.
    pub fn delivered(&self) -> BTreeMap<String, u64> {
        let audit = self.audit();
        let keys = audit["by_key"].as_object().into_iter().flatten().filter(|(key, _)| *key != "-");
        let sum = |models: &Value| {
            let tallies = models.as_object().into_iter().flatten();
            tallies.filter_map(|(_, tally)| tally["total_tokens"].as_u64()).sum()
        };
        keys.map(|(key, models)| (key.clone(), sum(models))).collect()
    }

    pub fn output(&self) -> String {
        self.process.output()
    }
}
