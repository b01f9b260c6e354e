//! MongoDB, or what stands in for it: the server that the environment names, `mongod`, or FerretDB; and SecantusDB, which
//! answers before what it answers for is safe.

use crate::clock::now_ms;
use crate::server::{Server, in_cache, on_path};
use std::sync::atomic::{AtomicU32, Ordering};

/// Names a server for the tests that is already there, such as `mongodb://127.0.0.1:27017/`.
const URI: &str = "TOKENIST_TEST_MONGODB_URI";

#[derive(Debug)]
pub struct Mongo {
    uri: String,
    /// `None` where the server is not ours to stop.
    server: Option<Server>,
}

impl Mongo {
    pub fn start() -> Mongo {
        if let Ok(uri) = std::env::var(URI) {
            return Mongo { uri, server: None };
        }
        let server = if let Some(mongod) = on_path("mongod") {
            Server::start("mongod", mongod, |port, scratch| {
                let listen = ["--port", &port.to_string(), "--bind_ip", "127.0.0.1"].map(String::from);
                // It would also leave a socket in the directory of everybody.
                let rest = ["--dbpath", scratch, "--nounixsocket", "--quiet"].map(String::from);
                [listen, rest].concat()
            })
        } else if let Some(ferretdb) = in_cache("ferretdb") {
            Server::start("ferretdb", ferretdb, |port, scratch| {
                let listen = format!("127.0.0.1:{port}");
                ["--listen", &listen, "--dir", scratch].map(String::from).to_vec()
            })
        } else {
            panic!("there is no MongoDB: run `scripts/lib/servers`, put mongod on the PATH, or set {URI}")
        };
        Mongo::of(server)
    }

    /// SecantusDB, whatever else is there.
    pub fn secantusdb() -> Mongo {
        let program = in_cache("secantusdb/bin/secantusd-py")
            .unwrap_or_else(|| panic!("SecantusDB is missing: run `scripts/lib/servers`"));
        Mongo::of(Server::start("secantusdb", program, |port, scratch| {
            let listen = ["--host", "127.0.0.1", "--port", &port.to_string()].map(String::from);
            let rest = ["--storage-path", scratch, "--log-level", "WARNING"].map(String::from);
            [listen, rest].concat()
        }))
    }

    fn of(server: Server) -> Mongo {
        Mongo { uri: format!("mongodb://{}/?directConnection=true", server.address()), server: Some(server) }
    }

    pub fn uri(&self) -> String {
        self.uri.clone()
    }

    /// A database that nobody has used yet: another one with every call.
    pub fn database(&self) -> String {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        // A server that stays has seen earlier processes with this one's number.
        let now = now_ms();
        let (process, count) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        format!("tokenist_test_{now:x}_{process}_{count}")
    }

    /// Ends the server. What it has answered for is there again after [`Mongo::restart`].
    pub fn stop(&mut self) {
        self.server_mut().stop();
    }

    /// `kill -9`: whatever it has not made sure of is gone.
    pub fn kill(&mut self) {
        self.server_mut().kill();
    }

    /// Comes back on the same port, with its data.
    pub fn restart(&mut self) {
        self.server_mut().restart();
    }

    /// Cuts it off: connections stay open, and nothing is answered until [`Mongo::resume`].
    pub fn pause(&self) {
        self.server().pause();
    }

    pub fn resume(&self) {
        self.server().resume();
    }

    /// Whether it is this test's own, which can go away and come back.
    pub fn is_ours(&self) -> bool {
        self.server.is_some()
    }

    fn server(&self) -> &Server {
        self.server.as_ref().unwrap_or_else(|| panic!("{URI} names a server that is not ours to stop"))
    }

    fn server_mut(&mut self) -> &mut Server {
        self.server.as_mut().unwrap_or_else(|| panic!("{URI} names a server that is not ours to stop"))
    }
}
