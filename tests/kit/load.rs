//! Load by `tokload run`, and its comparison of what both ends have counted.

use crate::certificates::Scratch;
use crate::process::binary_of;
use crate::provider::Provider;
use crate::tokenist::{TOKEN, Tokenist};
use crate::{PATIENCE, eventually};
use serde_json::Value;
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// Running load. It ends by itself when its scenario does or all its sessions have ended, and is killed on drop.
#[derive(Debug)]
pub struct Load {
    child: Child,
    scratch: Scratch,
}

impl Load {
    /// A scenario such as `turns,sessions=20,users=5,rate=50,turns=0,seconds=60`. Its users are named `user-0` and so
    /// on, to the provider's audit too.
    pub fn start(listen: SocketAddr, scenario: &str) -> Load {
        Load::start_of("openai", listen, scenario)
    }

    /// In the words of this dialect.
    pub fn start_of(dialect: &str, listen: SocketAddr, scenario: &str) -> Load {
        Load::run(&["--dialect", dialect], &format!("ws://{listen}"), scenario)
    }

    /// Calls (WebRTC) in place of sockets.
    pub fn calls(listen: SocketAddr, scenario: &str) -> Load {
        Load::run(&["--transport", "webrtc"], &format!("http://{listen}"), scenario)
    }

    fn run(more: &[&str], url: &str, scenario: &str) -> Load {
        let scratch = Scratch::new();
        let mut command = Command::new(binary_of("tokload"));
        command.arg("run").args(more).args(["--url", url, "--scenario", scenario, "--json"]);
        command.arg(scratch.path().join("result.json"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().unwrap_or_else(|error| panic!("tokload cannot be started: {error}"));
        Load { child, scratch }
    }

    /// Its figures, once it has ended by itself: `users` is what they were told that they used, by user and model.
    pub fn figures(mut self) -> Value {
        assert!(self.wait(2 * PATIENCE).is_some(), "it ends once its sessions have");
        let result = std::fs::read_to_string(self.scratch.path().join("result.json"));
        let result = result.unwrap_or_else(|error| panic!("tokload left no result: {error}"));
        let result: Value = serde_json::from_str(&result).unwrap_or_else(|error| panic!("{error}"));
        result["figures"].clone()
    }

    /// How it ended, if it does by the deadline. It fails where a session of it did.
    pub fn wait(&mut self, deadline: Duration) -> Option<ExitStatus> {
        let look = || self.child.try_wait().unwrap_or_else(|error| panic!("{error}"));
        eventually(deadline, look, Option::is_some)
    }
}

/// Whether `tokload audit` finds that tokenist has counted what the provider says, and its table.
pub fn audit(provider: &Provider, tokenist: &Tokenist) -> (bool, String) {
    let mut command = Command::new(binary_of("tokload"));
    let admin = format!("http://{}", tokenist.admin);
    command.args(["audit", "--provider", &provider.origin(), "--admin", &admin, "--token", TOKEN]);
    command.args(["--settle-seconds", "10"]);
    let output = command.output().unwrap_or_else(|error| panic!("tokload cannot be started: {error}"));
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

impl Drop for Load {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.child.kill().and_then(|()| self.child.wait()).ok();
    }
}
