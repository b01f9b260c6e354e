//! A built binary that runs until it is dropped, with what it printed.

use crate::{PATIENCE, guard};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, Once, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    Terminate,
    Interrupt,
    Hangup,
    Kill,
    /// The process stands still, and its connections stay open: to the others it is cut off.
    Pause,
    Resume,
}

#[derive(Debug)]
pub(crate) struct Process {
    name: &'static str,
    child: Child,
    output: Arc<Mutex<Vec<u8>>>,
    readers: Vec<JoinHandle<()>>,
}

impl Process {
    /// Starts a command that prints one line of JSON once it serves; gives that line too.
    pub(crate) fn start(name: &'static str, command: Command) -> (Process, Value) {
        let (process, line) = Process::spawn(name, command);
        let line = match line.recv_timeout(PATIENCE) {
            Ok(line) => line,
            Err(error) => panic!("{name} did not say where it listens ({error}):\n{}", process.output()),
        };
        let line =
            serde_json::from_str(&line).unwrap_or_else(|error| panic!("{name} began with {line:?}: {error}"));
        (process, line)
    }

    /// Starts a command; gives also what will be the first line that it prints.
    pub(crate) fn spawn(name: &'static str, mut command: Command) -> (Process, mpsc::Receiver<String>) {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Process::spawn_as_is(name, command)
    }

    /// As [`Process::spawn`], with streams as the command has them: what is piped is read, and what is not says
    /// nothing here.
    pub(crate) fn spawn_as_is(name: &'static str, mut command: Command) -> (Process, mpsc::Receiver<String>) {
        command.stdin(Stdio::null());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{name} cannot be started: {error}"));
        guard::begun(child.id());
        let output = Arc::new(Mutex::new(Vec::new()));
        let (first, line) = mpsc::channel();
        let stdout = child.stdout.take();
        let stdout = stdout.map(|stream| collect(BufReader::new(stream), Arc::clone(&output), Some(first)));
        let stderr = child.stderr.take();
        let stderr = stderr.map(|stream| collect(BufReader::new(stream), Arc::clone(&output), None));
        (Process { name, child, output, readers: stdout.into_iter().chain(stderr).collect() }, line)
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Everything it has printed so far, on both streams.
    pub(crate) fn output(&self) -> String {
        String::from_utf8_lossy(&self.output.lock().expect("no reader panics")).into_owned()
    }

    /// The shell's own `kill`, because no safe call sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let word = match signal {
            Signal::Terminate => "TERM",
            Signal::Interrupt => "INT",
            Signal::Hangup => "HUP",
            Signal::Kill => "KILL",
            Signal::Pause => "STOP",
            Signal::Resume => "CONT",
        };
        let sent = Command::new("sh").args(["-c", &format!("kill -{word} {}", self.id())]).status();
        let sent = sent.unwrap_or_else(|error| panic!("no shell to send a signal with: {error}"));
        if !sent.success() {
            panic!("{} is not there to take a signal:\n{}", self.name, self.output());
        }
    }

    /// How it ended, if it does by the deadline; then all that it printed is known.
    pub(crate) fn wait(&mut self, deadline: Duration) -> Option<ExitStatus> {
        let look = || self.child.try_wait().unwrap_or_else(|error| panic!("{error}"));
        let status = crate::eventually(deadline, look, Option::is_some)?;
        guard::over(self.id());
        for reader in self.readers.drain(..) {
            reader.join().expect("no reader panics");
        }
        Some(status)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.child.kill().and_then(|()| self.child.wait()).ok();
        guard::over(self.id());
        if std::thread::panicking() {
            eprintln!("---- {} printed:\n{}", self.name, self.output());
        }
    }
}

/// Keeps what a stream says, and tells its first line apart.
fn collect(
    mut stream: BufReader<impl Read + Send + 'static>,
    output: Arc<Mutex<Vec<u8>>>,
    first: Option<mpsc::Sender<String>>,
) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut first = first;
        let mut line = Vec::new();
        while stream.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
            output.lock().expect("no reader panics").extend_from_slice(&line);
            if let Some(first) = first.take() {
                // Whoever started the process may have given up.
                first.send(String::from_utf8_lossy(&line).into_owned()).ok();
            }
            line.clear();
        }
    })
}

/// A binary of this workspace, in the directory that the running test was built into.
pub(crate) fn binary(name: &'static str) -> PathBuf {
    let test = std::env::current_exe().unwrap_or_else(|error| panic!("{error}"));
    let directory = test.parent().and_then(|deps| deps.parent()).expect("tests are built into deps/");
    directory.join(name)
}

/// As [`binary`], but built if it is not there: cargo builds a package's own binaries for its tests, and no other's.
pub(crate) fn binary_of(package: &'static str) -> PathBuf {
    static BUILT: Once = Once::new();
    let path = binary(package);
    BUILT.call_once(|| {
        if !path.exists() {
            let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
            build.args(["build", "--quiet", "--package", package]).env_remove("CARGO_MANIFEST_DIR");
            if path.parent().is_some_and(|directory| directory.ends_with("release")) {
                build.arg("--release");
            }
            if !build.status().is_ok_and(|status| status.success()) {
                panic!("{} is missing: run `cargo build --package {package}` first", path.display());
            }
        }
    });
    path
}

pub(crate) fn address(line: &Value, key: &str) -> Option<SocketAddr> {
    line[key].as_str().and_then(|text| text.parse().ok())
}
