//! A Redis that keeps nothing: it comes back empty.

use crate::server::{Server, free_port, in_cache, on_path};
use crate::{PATIENCE, eventually};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;

#[derive(Debug)]
pub struct Redis {
    server: Server,
}

impl Redis {
    pub fn start() -> Redis {
        Redis { server: Server::start("redis-server", program(), arguments) }
    }

    /// A cluster of one node, which holds every slot: enough for a client that speaks to clusters.
    pub fn cluster() -> Redis {
        let server = Server::start("redis-server", program(), |port, scratch| {
            let bus = free_port().to_string();
            let clustered = ["--cluster-enabled", "yes", "--cluster-port", &bus];
            let announced = ["--cluster-announce-ip", "127.0.0.1"];
            let more = clustered.into_iter().chain(announced).map(String::from);
            arguments(port, scratch).into_iter().chain(more).collect()
        });
        let redis = Redis { server };
        redis.ask("CLUSTER ADDSLOTSRANGE 0 16383");
        redis.await_cluster();
        redis
    }

    /// For a client that speaks to one server, and for one that looks for a cluster behind it.
    pub fn uri(&self) -> String {
        format!("redis://{}/", self.server.address())
    }

    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    pub fn stop(&mut self) {
        self.server.stop();
    }

    /// Comes back on the same port, and empty. A cluster's node still has its slots.
    pub fn restart(&mut self) {
        self.server.restart();
        if self.server.directory().join("nodes.conf").exists() {
            self.await_cluster();
        }
    }

    /// Cuts it off: connections stay open, and nothing is answered until [`Redis::resume`].
    pub fn pause(&self) {
        self.server.pause();
    }

    pub fn resume(&self) {
        self.server.resume();
    }

    /// A node says of itself that the cluster is there a moment after it has its slots.
    fn await_cluster(&self) {
        let look = || self.ask("CLUSTER INFO");
        let seen = eventually(PATIENCE, look, |answer| answer.contains("cluster_state:ok"));
        assert!(seen.contains("cluster_state:ok"), "the cluster is not there: {seen}");
    }

    /// Sends a command in words and gives the beginning of the answer, as it came.
    fn ask(&self, command: &str) -> String {
        let ask = || {
            let mut stream = TcpStream::connect(self.server.address())?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.write_all(format!("{command}\r\n").as_bytes())?;
            let mut answer = [0; 4096];
            let count = stream.read(&mut answer)?;
            Ok(String::from_utf8_lossy(&answer[..count]).into_owned())
        };
        ask().unwrap_or_else(|error: std::io::Error| panic!("redis-server does not answer: {error}"))
    }
}

fn program() -> PathBuf {
    on_path("redis-server")
        .or_else(|| in_cache("redis-server"))
        .unwrap_or_else(|| panic!("redis-server is missing: run `scripts/lib/servers`, or install Redis"))
}

fn arguments(port: u16, scratch: &str) -> Vec<String> {
    let listen = ["--port", &port.to_string(), "--bind", "127.0.0.1"].map(String::from);
    let forgetful = ["--save", "", "--appendonly", "no"].map(String::from);
    let rest = ["--dir", scratch, "--loglevel", "warning"].map(String::from);
    [listen, forgetful, rest].concat()
}
