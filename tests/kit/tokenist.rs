//! The proxy under test.

use crate::certificates::Scratch;
use crate::http::{Answer, request};
use crate::process::{Process, Signal, address, binary};
use crate::websocket::{Client, Handshake};
use serde_json::Value;
use std::net::SocketAddr;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

/// The operator's token of every tokenist that is started here.
pub const TOKEN: &str = "operator-token-of-the-tests-0123456789";

#[derive(Debug)]
pub struct Tokenist {
    /// All zeros if it listens in TLS only.
    pub listen: SocketAddr,
    pub tls_listen: Option<SocketAddr>,
    pub admin: SocketAddr,
    pub driver: String,
    process: Process,
    /// Its ledger, unless the settings name another folder.
    ledger: Scratch,
}

impl Tokenist {
    /// `tokenist serve` in front of a provider's origin. A setting is a key of the configuration, such as
    /// `("proxy.shard_count", "2")`, or, in capitals, a variable of the environment as it is; `("file", …)` is a whole
    /// configuration file, which the others override.
    pub fn start(origin: &str, settings: &[(&str, &str)]) -> Tokenist {
        let ledger = Scratch::new();
        let command = serve(origin, &ledger, settings);
        Tokenist::of(ledger, command)
    }

    /// As [`Tokenist::start`], where the system grants no more than this many open files.
    pub fn start_under(open_files: u32, origin: &str, settings: &[(&str, &str)]) -> Tokenist {
        let ledger = Scratch::new();
        let command = limited(&serve(origin, &ledger, settings), "-n", open_files);
        Tokenist::of(ledger, command)
    }

    /// As [`Tokenist::start`], where the system lets no file grow beyond so many half kilobytes.
    pub fn start_with_small_files(half_kb_max: u32, origin: &str, settings: &[(&str, &str)]) -> Tokenist {
        let ledger = Scratch::new();
        let command = limited(&serve(origin, &ledger, settings), "-f", half_kb_max);
        Tokenist::of(ledger, command)
    }

    fn of(ledger: Scratch, command: Command) -> Tokenist {
        let (process, line) = Process::start("tokenist", command);
        Tokenist {
            listen: address(&line, "listen").unwrap_or_else(|| ([0, 0, 0, 0], 0).into()),
            tls_listen: address(&line, "tls_listen"),
            admin: address(&line, "admin").unwrap_or_else(|| panic!("tokenist said {line}")),
            driver: line["driver"].as_str().unwrap_or_default().to_owned(),
            process,
            ledger,
        }
    }

    /// As [`Tokenist::start`], with its standard streams wherever these are. Nobody reads there where it listens, so
    /// the settings have to say it, and it serves once this returns.
    pub fn start_unheard(
        origin: &str,
        settings: &[(&str, &str)],
        streams: [Stdio; 2],
        [listen, admin]: [SocketAddr; 2],
    ) -> Tokenist {
        let ledger = Scratch::new();
        let (listen_text, admin_text) = (listen.to_string(), admin.to_string());
        let ours = [("proxy.listen", &*listen_text), ("admin.listen", &*admin_text)];
        let mut command = serve(origin, &ledger, &[&ours, settings].concat());
        let [stdout, stderr] = streams;
        command.stdout(stdout).stderr(stderr);
        let (process, _) = Process::spawn_as_is("tokenist", command);
        let connect = || std::net::TcpStream::connect(admin).is_ok();
        assert!(crate::eventually(crate::PATIENCE, connect, |serves| *serves), "it does not serve");
        Tokenist { listen, tls_listen: None, admin, driver: String::new(), process, ledger }
    }

    /// As [`Tokenist::start`], and `kill -9` so soon that it may not have come up.
    pub fn start_and_kill(origin: &str, settings: &[(&str, &str)], after: Duration) {
        let ledger = Scratch::new();
        let (process, _) = Process::spawn("tokenist", serve(origin, &ledger, settings));
        std::thread::sleep(after);
        drop(process);
    }

    /// `tokenist check` with these settings: whether it found all well, and what it printed.
    pub fn check(origin: &str, settings: &[(&str, &str)]) -> (bool, String) {
        let ledger = Scratch::new();
        let (mut process, _) = Process::spawn("tokenist", command("check", origin, &ledger, settings));
        match process.wait(crate::PATIENCE) {
            Some(status) => (status.success(), process.output()),
            None => panic!("tokenist check hangs:\n{}", process.output()),
        }
    }

    /// As [`Tokenist::start`], for one that should not come up: whether it ended well, and what it printed.
    pub fn refused(origin: &str, settings: &[(&str, &str)]) -> (bool, String) {
        let ledger = Scratch::new();
        Tokenist::outcome(serve(origin, &ledger, settings))
    }

    /// As [`Tokenist::refused`], where the system grants no more than this many open files.
    pub fn refused_under(open_files: u32, origin: &str, settings: &[(&str, &str)]) -> (bool, String) {
        let ledger = Scratch::new();
        Tokenist::outcome(limited(&serve(origin, &ledger, settings), "-n", open_files))
    }

    fn outcome(command: Command) -> (bool, String) {
        let (mut process, _) = Process::spawn("tokenist", command);
        match process.wait(crate::PATIENCE) {
            Some(status) => (status.success(), process.output()),
            None => panic!("tokenist came up, or hangs:\n{}", process.output()),
        }
    }

    /// Asks the admin API, as the operator.
    pub fn ask(&self, method: &str, path: &str, body: &Value) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let headers =
            [("Authorization", format!("Bearer {TOKEN}")), ("Content-Type", "application/json".into())];
        let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
        request(self.admin, method, path, &headers, &body)
    }

    pub fn get(&self, path: &str) -> Value {
        self.ask("GET", path, &Value::Null).json()
    }

    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.ask("POST", path, body)
    }

    pub fn delete(&self, path: &str) -> Answer {
        self.ask("DELETE", path, &Value::Null)
    }

    /// The page of metrics as it is.
    pub fn metrics(&self) -> String {
        self.ask("GET", "/metrics", &Value::Null).body
    }

    /// One metric without labels. `None` if there is no such metric.
    pub fn metric(&self, name: &str) -> Option<f64> {
        let page = self.metrics();
        page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
    }

    /// A session of this user with everything else as usual.
    pub fn session(&self, user: &str) -> Result<Client, Answer> {
        Client::open(self.listen, &Handshake::of(user))
    }

    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// How it ended, if it does by the deadline.
    pub fn wait(&mut self, deadline: Duration) -> Option<ExitStatus> {
        self.process.wait(deadline)
    }

    /// Everything it has printed so far, on both streams.
    pub fn output(&self) -> String {
        self.process.output()
    }

    /// What it has printed by the time that it says this. The log is written by a thread of its own: what has
    /// happened may not be told yet.
    #[track_caller]
    pub fn logged(&self, said: &str) -> String {
        self.logged_times(1, said)
    }

    /// As [`Tokenist::logged`], once it has said this so many times.
    #[track_caller]
    pub fn logged_times(&self, least: usize, said: &str) -> String {
        let told = |output: &String| output.matches(said).count() >= least;
        let output = crate::eventually(crate::PATIENCE, || self.output(), told);
        assert!(told(&output), "it does not say {said:?} {least} times:\n{output}");
        output
    }

    /// The folder of its ledger, for as long as this is held.
    pub fn ledger(&self) -> std::path::PathBuf {
        self.ledger.path().join("ledger")
    }

    /// `kill -9`, and away.
    pub fn kill(&mut self) {
        self.signal(Signal::Kill);
        assert!(self.wait(crate::PATIENCE).is_some(), "a killed process ends");
    }

    /// Ends in its own time, with everything saved. Gives everything it has printed.
    pub fn leave(mut self) -> String {
        self.signal(Signal::Terminate);
        let status = self.wait(crate::PATIENCE);
        assert!(status.is_some_and(|status| status.success()), "it drains and saves:\n{}", self.output());
        self.output()
    }

    pub fn process_id(&self) -> u32 {
        self.process.id()
    }
}

/// `tokenist serve`, with nothing of the environment that it reads but these settings.
fn serve(origin: &str, ledger: &Scratch, settings: &[(&str, &str)]) -> Command {
    command("serve", origin, ledger, settings)
}

fn command(word: &str, origin: &str, ledger: &Scratch, settings: &[(&str, &str)]) -> Command {
    let mut command = Command::new(binary("tokenist"));
    command.arg(word);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TOKENIST_") || name == "OPENAI_API_KEY" {
            command.env_remove(name);
        }
    }
    let path = ledger.path().join("ledger");
    let ours = [
        ("proxy.listen", "127.0.0.1:0"),
        ("admin.listen", "127.0.0.1:0"),
        ("admin.token", TOKEN),
        ("provider.base_url", origin),
        // By which a session tells the simulated provider how to behave.
        ("provider.headers", "x-sim"),
        ("store.path", path.to_str().expect("temporary folders have plain names")),
    ];
    for (key, value) in ours.iter().chain(settings) {
        if *key == "file" {
            let file = ledger.path().join("tokenist.toml");
            std::fs::write(&file, value).expect("a temporary folder can be written to");
            command.arg("--config").arg(file);
            continue;
        }
        match key.contains('.') {
            true => command.env(format!("TOKENIST_{}", key.replace('.', "_").to_uppercase()), value),
            false => command.env(key, value),
        };
    }
    command
}

/// The same command under a limit of `ulimit`'s. The shell sets that, because no safe call sets it for another process
/// before it runs.
fn limited(command: &Command, which: &str, limit: u32) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("ulimit {which} {limit} && exec \"$0\" \"$@\"")]);
    shell.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell
}
