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

    /// One that knows none of these commands.
    pub fn without(commands: &[&str]) -> Redis {
        let server = Server::start("redis-server", program(), |port, scratch| {
            let renamed = commands.iter().flat_map(|command| ["--rename-command", command, ""]);
            arguments(port, scratch).into_iter().chain(renamed.map(String::from)).collect()
        });
        Redis { server }
    }

    /// Makes a user with these rights, in Redis's own words. Gives the address with that user in it.
    pub fn allow(&self, user: &str, rights: &str) -> String {
        let said = self.ask(&format!("ACL SETUSER {user} reset on >password {rights}"));
        assert!(said.starts_with("+OK"), "{rights}: {said}");
        format!("redis://{user}:password@{}/", self.server.address())
    }

    /// A cluster of two nodes, of which the first holds every slot.
    pub fn cluster_of_two() -> [Redis; 2] {
        let nodes = [Redis::cluster(), Redis::node()];
        let [first, second] = &nodes;
        let address = second.address();
        // `id address:port@bus …`: the port by which nodes speak to each other.
        let known = second.ask("CLUSTER NODES");
        let bus = known.split_once('@').and_then(|(_, rest)| rest.split([' ', ',']).next());
        let port = bus.unwrap_or_else(|| panic!("a node does not know itself: {known}"));
        first.ask(&format!("CLUSTER MEET {} {} {port}", address.ip(), address.port()));
        let look = || nodes.each_ref().map(|node| node.ask("CLUSTER INFO"));
        let met = |said: &[String; 2]| {
            said.iter().all(|said| said.contains("known_nodes:2") && said.contains("cluster_state:ok"))
        };
        let said = eventually(PATIENCE, look, met);
        assert!(met(&said), "the nodes do not meet: {said:?}");
        nodes
    }

    /// Half moves the slot of a key to another node of its cluster: keys that are there stay, new ones go there.
    pub fn begin_move(&self, key: &str, to: &Redis) {
        let slot = self.slot(key);
        to.expect_ok(&format!("CLUSTER SETSLOT {slot} IMPORTING {}", self.id()));
        self.expect_ok(&format!("CLUSTER SETSLOT {slot} MIGRATING {}", to.id()));
    }

    /// Moves the rest.
    pub fn end_move(&self, key: &str, to: &Redis) {
        let slot = self.slot(key);
        let keys = self.ask(&format!("CLUSTER GETKEYSINSLOT {slot} 100"));
        for key in keys.split("\r\n").filter(|line| line.starts_with("tokenist:")) {
            let address = to.address();
            self.expect_ok(&format!("MIGRATE {} {} {key} 0 5000", address.ip(), address.port()));
        }
        for node in [to, self] {
            node.expect_ok(&format!("CLUSTER SETSLOT {slot} NODE {}", to.id()));
        }
    }

    fn slot(&self, key: &str) -> u16 {
        let said = self.ask(&format!("CLUSTER KEYSLOT {key}"));
        said.trim().trim_start_matches(':').parse().unwrap_or_else(|_| panic!("no slot: {said}"))
    }

    fn id(&self) -> String {
        let said = self.ask("CLUSTER MYID");
        said.lines().nth(1).unwrap_or_else(|| panic!("no id: {said}")).to_owned()
    }

    fn expect_ok(&self, command: &str) {
        let said = self.ask(command);
        assert!(said.starts_with("+OK"), "{command}: {said}");
    }

    /// A cluster of one node, which holds every slot: enough for a client that speaks to clusters.
    pub fn cluster() -> Redis {
        let redis = Redis::node();
        redis.ask("CLUSTER ADDSLOTSRANGE 0 16383");
        redis.await_cluster();
        redis
    }

    fn node() -> Redis {
        let server = Server::start("redis-server", program(), |port, scratch| {
            let bus = free_port().to_string();
            let clustered = ["--cluster-enabled", "yes", "--cluster-port", &bus];
            let announced = ["--cluster-announce-ip", "127.0.0.1"];
            let more = clustered.into_iter().chain(announced).map(String::from);
            arguments(port, scratch).into_iter().chain(more).collect()
        });
        Redis { server }
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

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.server.kill();
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
