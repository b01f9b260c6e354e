//! Starts and stops the built binaries for the tests, and speaks to them: HTTP, raw WebSocket, certificates.
//!
//! Start at [`Tokenist::start`] and [`Provider::start`]: both take free ports, and both are killed on drop, or with the test
//! process, should that be killed. So are the servers behind a store, [`Mongo`] and [`Redis`], which can also go away and come back,
//! and [`MongoProxy`], which misbehaves on their behalf. [`clients`] runs other people's. Nothing here judges what it sees; what cannot even be tried (no binary, no answer in
//! time) panics and says so.

mod certificates;
pub mod clients;
mod clock;
mod guard;
mod http;
mod load;
mod mongo;
mod mongo_proxy;
mod process;
mod provider;
mod redis;
mod server;
mod tokenist;
mod websocket;

pub use certificates::{Certificate, Scratch, leaf};
pub use clock::now_ms;
pub use http::{Answer, request};
pub use load::{Load, audit};
pub use mongo::Mongo;
pub use mongo_proxy::{Mode, MongoProxy};
pub use process::Signal;
pub use provider::Provider;
pub use redis::Redis;
pub use tokenist::{TOKEN, Tokenist};
pub use websocket::{Client, Frame, Handshake, Heard, opcode};

use std::time::{Duration, Instant};

/// How long anything may take that should happen at once, on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Looks until what it sees fits, or the deadline has passed. Gives what it saw last, for the test to judge.
pub fn eventually<T>(deadline: Duration, mut look: impl FnMut() -> T, fits: impl Fn(&T) -> bool) -> T {
    let started = Instant::now();
    loop {
        let seen = look();
        if fits(&seen) || started.elapsed() >= deadline {
            return seen;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
