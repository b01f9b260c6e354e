//! `tokload`: a load generator and a simulated provider.
//!
//! `provider/` is the other end. A run goes `scenario` (what is said) → `driver` (who says it) over a `run` (the measured
//! window, and what is shared) → `talk` (one session that is `opening`, or a `call`, in the words of a `dialect`) or `ask` (one
//! connection of HTTP), with `schedule` and `beat` for when, → `tally` → `summary`; `pair` repeats it over proxies and reads their `process`.
//! `link`, `ws`, `http`, `tls` and, on calls, `peer` and `sound` carry bytes for both ends; what is asked over HTTP monoio-http writes and reads.

mod admin;
mod ask;
mod audit;
mod beat;
mod call;
mod clock;
mod demo;
mod dialect;
mod driver;
mod http;
mod link;
mod opening;
mod pair;
mod peer;
mod process;
mod provider;
mod run;
mod runtime;
mod scenario;
mod schedule;
mod sound;
mod stamp;
mod summary;
mod table;
mod talk;
mod tally;
mod target;
mod tls;
mod ws;

use clap::{Args, Parser, Subcommand};
use dialect::Dialect;
use pair::Contender;
use process::Pid;
use provider::sim::{self, Sim};
use scenario::Scenario;
use serde_json::Value;
use std::error::Error;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use target::{Handshake, Reach, Target, Transport};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Load generator and simulated provider for tokenist.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Simulates a provider, which by its path: OpenAI Realtime and its work-alikes, translation, GPT-Live, Responses over WebSocket, Gemini Live of either service, Google's Interactions, and what Deepgram, AssemblyAI, ElevenLabs, Cartesia, Speechmatics and Mistral bill by time. Prints one line of JSON with its addresses, then serves.
    #[command(after_help = sim::HELP)]
    Provider(ProviderArguments),
    /// Runs one scenario against one target.
    #[command(after_help = scenario::HELP)]
    Run(RunArguments),
    /// Runs scenarios direct and through proxies in turn, and compares what each costs.
    #[command(after_help = scenario::HELP)]
    Pair(PairArguments),
    /// Compares the simulated provider's own count with tokenist's, per user and model; fails if they differ.
    Audit(AuditArguments),
    /// Keeps nine people talking through a tokenist in front of the simulated provider, and shows who used what.
    Demo(demo::Arguments),
}

#[derive(Debug, Args)]
struct AuditArguments {
    /// The simulated provider, as http://host:port. Without it nothing is compared: what tokenist holds is shown.
    #[arg(long)]
    provider: Option<String>,
    /// tokenist's admin API, as http://host:port.
    #[arg(long)]
    admin: String,
    #[arg(long, env = "TOKENIST_ADMIN_TOKEN", hide_env_values = true)]
    token: String,
    /// Counts what tokenist has counted since it started, where the provider is as young and the ledger is not.
    #[arg(long)]
    since_start: bool,
    /// How long to ask again while they differ: what is under way counts on one side first.
    #[arg(long, default_value_t = 0)]
    settle_seconds: u64,
}

/// What every session says in its handshake, and how the run is recorded.
#[derive(Debug, Args)]
struct LoadArguments {
    /// A header for every handshake, as name:value.
    #[arg(long = "header", value_parser = header)]
    headers: Vec<(String, String)>,
    /// Whose words are said.
    #[arg(long, value_enum, default_value_t = Dialect::Openai)]
    dialect: Dialect,
    /// Over what it is said.
    #[arg(long, value_enum, default_value_t = Transport::Socket)]
    transport: Transport,
    /// gpt-realtime-2.1 unless given, or what the dialect is known for.
    #[arg(long)]
    model: Option<String>,
    /// Sent as Authorization: Bearer, or as the dialect wants it.
    #[arg(long, default_value = "sk-tokload")]
    key: String,
    /// Authorities to trust, as a PEM file: for wss:// targets.
    #[arg(long)]
    ca: Option<PathBuf>,
    /// Lets load leave this machine.
    #[arg(long)]
    allow_remote: bool,
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    threads: u16,
    /// Writes the result to this file.
    #[arg(long)]
    json: Option<PathBuf>,
    /// The commit that was measured, for the result.
    #[arg(long)]
    commit: Option<String>,
}

#[derive(Debug, Args)]
struct RunArguments {
    /// ws:// or wss://, over HTTP http:// or https://, and where; the path is the dialect's usual one, such as /v1/realtime, unless given.
    #[arg(long)]
    url: String,
    /// ping, speech, saturate, idle, churn or turns, over HTTP ask, stream, idle or churn; also with fields, as in ping,sessions=5,rate=100.
    #[arg(long)]
    scenario: String,
    #[arg(long)]
    sessions: Option<usize>,
    #[arg(long)]
    seconds: Option<f64>,
    /// A second over all sessions: pings, turns, requests, or in churn sessions.
    #[arg(long)]
    rate: Option<f64>,
    #[arg(long)]
    event_bytes: Option<usize>,
    #[arg(long)]
    users: Option<usize>,
    /// Turns that each session takes.
    #[arg(long)]
    turns: Option<u64>,
    #[command(flatten)]
    load: LoadArguments,
}

#[derive(Debug, Args)]
struct PairArguments {
    /// A proxy and its processes: name=URL:PID[,PID…]
    #[arg(long = "target", required = true)]
    targets: Vec<String>,
    /// The provider itself.
    #[arg(long)]
    direct: Option<String>,
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// As in run; may be given several times.
    #[arg(long = "scenario", required = true)]
    scenarios: Vec<String>,
    /// The target that ratios are taken against; the last one unless given.
    #[arg(long)]
    reference: Option<String>,
    /// Kept in the result, such as the versions of what was measured.
    #[arg(long)]
    note: Option<String>,
    #[command(flatten)]
    load: LoadArguments,
}

#[derive(Debug, Args)]
struct ProviderArguments {
    /// Port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Serves TLS here as well.
    #[arg(long)]
    tls_listen: Option<SocketAddr>,
    /// PEM file; without it a certificate for localhost is made on the spot.
    #[arg(long, requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    #[arg(long, requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Writes the authority of the certificate made on the spot to this PEM file.
    #[arg(long, requires = "tls_listen")]
    write_ca: Option<PathBuf>,
    /// Threads, each with a listener of its own on the same port.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    shards: u16,
    /// Decides every count; see `provider/formula.rs`.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Lets in this key only.
    #[arg(long)]
    key: Option<String>,
    /// Speaks the beta to whoever asks for it by header, instead of closing with 4000.
    #[arg(long)]
    beta: bool,
    /// How every session behaves; see below.
    #[arg(long, default_value = "")]
    sim: String,
    /// Writes the line of JSON to this file as well.
    #[arg(long)]
    port_file: Option<PathBuf>,
    /// Ends after so many seconds.
    #[arg(long)]
    seconds: Option<u64>,
}

fn main() {
    let result = match Arguments::parse().command {
        Command::Provider(arguments) => provide(arguments),
        Command::Run(arguments) => run(&arguments),
        Command::Pair(arguments) => pair(&arguments),
        Command::Audit(arguments) => compare(&arguments),
        Command::Demo(arguments) => demo::run(&arguments),
    };
    if let Err(error) = result {
        eprintln!("tokload: {error}");
        std::process::exit(1);
    }
}

#[expect(clippy::print_stdout, reason = "the table is what was asked for")]
fn compare(arguments: &AuditArguments) -> Result<(), Box<dyn Error>> {
    let deadline = Instant::now() + Duration::from_secs(arguments.settle_seconds);
    let audit = loop {
        let audit = audit::audit(&audit::Sides {
            provider: arguments.provider.as_deref(),
            admin: &arguments.admin,
            token: &arguments.token,
            since_start: arguments.since_start,
        })?;
        if audit.agrees() || Instant::now() >= deadline {
            break audit;
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    print!("{}", audit.table());
    if audit.agrees() || arguments.provider.is_none() {
        Ok(())
    } else {
        Err("tokenist and the provider do not agree".into())
    }
}

#[expect(clippy::print_stdout, reason = "the line is how a caller learns the ports")]
fn provide(arguments: ProviderArguments) -> Result<(), Box<dyn Error>> {
    let tls = match (arguments.tls_listen, &arguments.tls_cert, &arguments.tls_key) {
        (None, _, _) => None,
        (Some(listen), Some(certificates), Some(key)) => {
            Some((listen, tls::server_from_files(certificates, key)?))
        }
        (Some(listen), _, _) => {
            let (config, authority) = tls::server_generated()?;
            if let Some(file) = &arguments.write_ca {
                std::fs::write(file, authority)?;
            }
            Some((listen, config))
        }
    };
    let bound = provider::start(provider::Options {
        listen: arguments.listen,
        tls,
        shard_count: arguments.shards.into(),
        seed: arguments.seed,
        key: arguments.key,
        beta: arguments.beta,
        sim: Sim::default().with(&arguments.sim)?,
    })?;
    let line = serde_json::json!({"listen": bound.listen, "tls_listen": bound.tls_listen, "pid": std::process::id()});
    if let Some(file) = &arguments.port_file {
        // Renamed into place, so that who waits for the file never reads half of it.
        let partial = file.with_extension("partial");
        std::fs::write(&partial, format!("{line}\n"))?;
        std::fs::rename(partial, file)?;
    }
    println!("{line}");
    std::thread::sleep(arguments.seconds.map_or(Duration::MAX, Duration::from_secs));
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the result is what was asked for")]
fn run(arguments: &RunArguments) -> Result<(), Box<dyn Error>> {
    let scenario = arguments.scenario()?;
    let target = arguments.load.target(&arguments.url)?;
    if scenario.resume > 0 && target.handshake.dialect == Dialect::Openai {
        return Err(
            "resume: OpenAI Realtime knows no resumption; leave it out, or say --dialect gemini".into()
        );
    }
    let (tally, window) = driver::run(&scenario, &target, arguments.load.threads.into(), &|_| {})?;
    let figures = summary::figures(&scenario, &tally, window);
    print!("{}", summary::text(&figures, &scenario));
    let mut result = summary::head(arguments.load.commit.as_deref());
    result["target"] = arguments.url.as_str().into();
    result["figures"] = figures;
    arguments.load.write(&result)
}

#[expect(clippy::print_stdout, reason = "the table is what was asked for")]
fn pair(arguments: &PairArguments) -> Result<(), Box<dyn Error>> {
    let scenarios: Vec<Scenario> =
        arguments.scenarios.iter().map(|text| Scenario::parse(text)).collect::<Result<_, _>>()?;
    let mut contenders = Vec::new();
    if let Some(url) = &arguments.direct {
        contenders.push(Contender {
            name: "direct".into(),
            target: arguments.load.target(url)?,
            pids: Vec::new(),
        });
    }
    for text in &arguments.targets {
        let (name, url, pids) =
            target_words(text).ok_or_else(|| format!("{text:?} is not name=URL:PID[,PID…]"))?;
        contenders.push(Contender { name, target: arguments.load.target(&url)?, pids });
    }
    let last = contenders.last().map(|contender| contender.name.clone()).unwrap_or_default();
    let reference = arguments.reference.clone().unwrap_or(last);
    let plan = pair::Plan {
        contenders: &contenders,
        scenarios: &scenarios,
        rounds: arguments.rounds,
        thread_count: arguments.load.threads.into(),
        reference: &reference,
    };
    let results = pair::run(&plan, &mut |step| eprintln!("{step}"))?;
    println!("{}", pair::table(&results, &scenarios));
    let mut result = summary::head(arguments.load.commit.as_deref());
    result["note"] = arguments.note.as_deref().into();
    result["rounds"] = arguments.rounds.into();
    result["results"] = results.into();
    arguments.load.write(&result)
}

impl RunArguments {
    fn scenario(&self) -> Result<Scenario, String> {
        let fields = [
            ("sessions", self.sessions.map(|n| n.to_string())),
            ("seconds", self.seconds.map(|n| n.to_string())),
            ("rate", self.rate.map(|n| n.to_string())),
            ("event_bytes", self.event_bytes.map(|n| n.to_string())),
            ("users", self.users.map(|n| n.to_string())),
            ("turns", self.turns.map(|n| n.to_string())),
        ];
        let given =
            fields.into_iter().filter_map(|(key, value)| value.map(|value| format!(",{key}={value}")));
        Scenario::parse(&format!("{}{}", self.scenario, given.collect::<String>()))
    }
}

impl LoadArguments {
    fn target(&self, url: &str) -> Result<Target, Box<dyn Error>> {
        let ca = self.ca.as_deref().map(tls::client).transpose()?;
        let reach = if self.allow_remote { Reach::Anywhere } else { Reach::Loopback };
        let model = self.model.clone().unwrap_or_else(|| self.dialect.model().to_owned());
        let (dialect, key, headers) = (self.dialect, self.key.clone(), self.headers.clone());
        let handshake = Handshake { dialect, model, key, headers, transport: self.transport };
        Ok(Target::parse(url, reach, ca.as_ref(), handshake)?)
    }

    fn write(&self, result: &Value) -> Result<(), Box<dyn Error>> {
        let Some(file) = &self.json else { return Ok(()) };
        if let Some(folder) = file.parent().filter(|folder| *folder != Path::new("")) {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(file, format!("{result:#}\n"))?;
        Ok(())
    }
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or_else(|| format!("{text:?} is not name:value"))?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

/// Name, URL and processes of `name=URL:PID[,PID…]`.
fn target_words(text: &str) -> Option<(String, String, Vec<Pid>)> {
    let (name, rest) = text.split_once('=')?;
    let (url, pids) = rest.rsplit_once(':')?;
    let pids = pids.split(',').map(|pid| pid.parse().ok().map(Pid)).collect::<Option<Vec<_>>>()?;
    Some((name.to_owned(), url.to_owned(), pids))
}
