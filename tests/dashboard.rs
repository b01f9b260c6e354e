//! The dashboard in a browser, before the binary and live traffic: what operators do there happens to sessions, and what
//! its pages say was used is what the provider delivered. The journeys are in `admin/dashboard/e2e/live`.

mod reckon;

use reckon::audited;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use tokenist_kit::{Mongo, PATIENCE, Provider, TOKEN, Tokenist, eventually};

/// A provider, and a tokenist that has the provider's key and only the limits that a journey sets.
struct Stage {
    provider: Provider,
    tokenist: Tokenist,
}

impl Stage {
    fn new(settings: &[(&str, &str)]) -> Stage {
        let ours = [
            ("limits.max_cost_usd", "-1"),
            ("admission.refuse", "close"),
            ("provider.api_key_env", "OPERATORS_KEY"),
            ("OPERATORS_KEY", "sk-operators-key"),
        ];
        let provider = Provider::start(&[]);
        let tokenist = Tokenist::start(&provider.origin(), &[&ours[..], settings].concat());
        Stage { provider, tokenist }
    }

    /// All journeys, in an order that lets the traffic of the first be summed up by the next.
    fn play(&self, settings: &[(&str, &str)]) {
        self.run("journeys.mjs", settings);
        let delivered = self.settled().to_string();
        self.run("figures.mjs", &[&[("DELIVERED", &*delivered)], settings].concat());
        self.run("pages.mjs", settings);
    }

    /// Runs a program of journeys to its end, with these variables.
    fn run(&self, program: &str, variables: &[(&str, &str)]) {
        let dashboard = Path::new(env!("CARGO_MANIFEST_DIR")).join("admin/dashboard");
        let get = "run `scripts/lib/dashboard`";
        present(&dashboard.join("out/csp.json"), get);
        present(&dashboard.join("node_modules/playwright-core"), "run `npm ci` in admin/dashboard");
        let chromium = std::env::var_os("CHROMIUM").unwrap_or_else(|| "/usr/bin/chromium".into());
        present(
            Path::new(&chromium),
            "install it (`apt-get install chromium`), or name another one in CHROMIUM",
        );
        let mut node = Command::new("node");
        // Before Node 22 its own WebSocket waits for this word.
        node.args(["--experimental-websocket", "--no-warnings"])
            .arg(dashboard.join("e2e/live").join(program));
        node.env("TOKENIST_URL", format!("http://{}", self.tokenist.admin));
        node.env("TOKENIST_PROXY", format!("http://{}", self.tokenist.listen)).env("TOKENIST_TOKEN", TOKEN);
        node.env("CHROMIUM", chromium).envs(variables.iter().copied());
        let output = node.output().unwrap_or_else(|error| panic!("{program} cannot be run: {error}"));
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{program}:\n{said}\n{}", String::from_utf8_lossy(&output.stderr));
    }

    /// What the provider delivered, by user, org, feature and model, once tokenist has booked as many tokens.
    fn settled(&self) -> Value {
        let delivered = self.provider.audit()["totals"]["total_tokens"].as_u64();
        let booked = || self.tokenist.get("/admin/overview?period=total")["usage"]["totalTokens"].as_u64();
        assert_eq!(eventually(PATIENCE, booked, |booked| *booked == delivered), delivered);
        let live = || self.tokenist.get("/admin/sessions")["total"].as_u64();
        assert_eq!(eventually(PATIENCE, live, |live| *live == Some(0)), Some(0));
        let audit = self.provider.audit();
        let keys = audit["by_key"].as_object().expect("the provider has delivered").keys();
        let rows = keys.flat_map(|key| {
            // The programs name user, org and feature there.
            let who: Value = serde_json::from_str(key).unwrap_or_else(|error| panic!("{key}: {error}"));
            audited(&self.provider, key).into_iter().map(move |(model, bill)| {
                json!({
                    "user": who[0], "org": who[1], "feature": who[2], "model": model, "provider": "openai",
                    "requests": bill.usage.requests, "input": bill.usage.input_tokens(),
                    "output": bill.usage.output_tokens(), "costNano": bill.cost.0,
                })
            })
        });
        rows.collect()
    }
}

/// Fails with a sentence that says how to get what is missing.
fn present(path: &Path, how: &str) {
    assert!(path.exists(), "{} is missing: {how} first", path.display());
}

#[test]
fn the_journeys_end_well_over_the_ledger_file_and_every_page_is_accessible() {
    Stage::new(&[("store.kind", "sqlite")]).play(&[("AXE", "1")]);
}

#[test]
fn a_call_from_the_page_for_trying_one_shows_its_cost_and_ends_at_the_limit() {
    for mode in ["direct", "relay"] {
        let settings = [("store.kind", "memory"), ("browser.origins", "*"), ("webrtc.mode", mode)];
        Stage::new(&settings).run("try.mjs", &[]);
    }
}

#[test]
fn the_journeys_end_well_in_memory() {
    Stage::new(&[("store.kind", "memory")]).play(&[]);
}

#[test]
fn the_journeys_end_well_with_mongodb() {
    let mongo = Mongo::start();
    let (uri, database) = (mongo.uri(), mongo.database());
    let settings = [("store.kind", "mongodb"), ("store.mongodb_uri", &*uri), ("store.mongodb_db", &database)];
    Stage::new(&settings).play(&[]);
}
