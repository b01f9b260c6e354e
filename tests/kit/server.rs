//! A server of others that the tests start: on one port for as long as the test runs, however often it goes away.

use crate::certificates::Scratch;
use crate::process::{Process, Signal};
use crate::{PATIENCE, eventually};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

#[derive(Debug)]
pub(crate) struct Server {
    name: &'static str,
    program: PathBuf,
    arguments: Vec<String>,
    address: SocketAddr,
    /// Before the directory, because fields are dropped in order: who still writes there would leave something behind.
    process: Option<Process>,
    scratch: Scratch,
}

impl Server {
    /// Starts the program with what is said of the port that it shall listen on and the directory it may keep.
    pub(crate) fn start(
        name: &'static str,
        program: PathBuf,
        arguments: impl FnOnce(u16, &str) -> Vec<String>,
    ) -> Server {
        let (scratch, port) = (Scratch::new(), free_port());
        let arguments = arguments(port, &scratch.path().to_string_lossy());
        let address = (Ipv4Addr::LOCALHOST, port).into();
        let mut server = Server { name, program, arguments, address, process: None, scratch };
        server.restart();
        server
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What the program was given for its own.
    pub(crate) fn directory(&self) -> &Path {
        self.scratch.path()
    }

    /// Ends it, in peace where it has the time for that.
    pub(crate) fn stop(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        process.signal(Signal::Terminate);
        // Who is paused hears nothing before it goes on.
        process.signal(Signal::Resume);
        if process.wait(PATIENCE).is_none() {
            panic!("{} does not end:\n{}", self.name, process.output());
        }
    }

    /// `kill -9`: it is gone, and has had no time for anything.
    pub(crate) fn kill(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        process.signal(Signal::Kill);
        if process.wait(PATIENCE).is_none() {
            panic!("{} cannot be killed", self.name);
        }
    }

    /// Starts it anew, on the same port and directory.
    pub(crate) fn restart(&mut self) {
        self.stop();
        let mut command = Command::new(&self.program);
        command.args(&self.arguments);
        let (mut process, _) = Process::spawn(self.name, command);
        let look = || {
            let ended = process.wait(Duration::ZERO).is_some();
            (ended, TcpStream::connect(self.address).is_ok())
        };
        match eventually(PATIENCE, look, |&(ended, listens)| ended || listens) {
            (false, true) => self.process = Some(process),
            (true, _) => panic!("{} ended at once:\n{}", self.name, process.output()),
            (false, false) => panic!("{} does not listen:\n{}", self.name, process.output()),
        }
    }

    /// Stops it in its tracks. The system tells thread after thread, so this waits for the last.
    pub(crate) fn pause(&self) {
        let process = self.process();
        process.signal(Signal::Pause);
        if !eventually(PATIENCE, || stands_still(process.id()), |&still| still) {
            panic!("{} cannot be paused", self.name);
        }
    }

    pub(crate) fn resume(&self) {
        self.process().signal(Signal::Resume);
    }

    fn process(&self) -> &Process {
        self.process.as_ref().unwrap_or_else(|| panic!("{} has been stopped", self.name))
    }
}

/// Whether the system says T, for stopped, of every thread: the word after the name, which is in brackets.
fn stands_still(process: u32) -> bool {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{process}/task")) else { return false };
    threads.flatten().all(|thread| {
        let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('T'))
    })
}

/// A port that nobody listens on. It lies below those that the system gives to whoever asks for any, so that it is
/// still there for a server that comes back.
pub(crate) fn free_port() -> u16 {
    const FIRST: u32 = 10_000;
    const COUNT: u32 = 22_000;
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    // Test processes that run side by side begin at different ports.
    let start = std::process::id().wrapping_mul(97);
    (0..COUNT)
        .map(|_| FIRST + start.wrapping_add(TAKEN.fetch_add(1, Ordering::Relaxed)) % COUNT)
        .filter_map(|port| u16::try_from(port).ok())
        .find(|&port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok())
        .unwrap_or_else(|| panic!("no port is free"))
}

/// A program on the PATH.
pub(crate) fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(program)).find(|path| path.is_file())
}

/// A program that `scripts/lib/servers` has built or found.
pub(crate) fn in_cache(program: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.cache/servers").join(program);
    path.is_file().then_some(path)
}
