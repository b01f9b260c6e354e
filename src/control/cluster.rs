//! Limits that hold over several instances: what each has counted, exchanged through Redis.
//!
//! Start at `start`. A thread of its own speaks to Redis, so that no other thread waits for it: the aggregator hands
//! it rounds of contributions over a [`Link`] and hears [`ClusterEvent`]s back. When which holder is exchanged is
//! decided in `schedule`, what follows from what is heard in [`tokenist_core::cluster`], and `aggregator/cluster.rs`
//! stands between.
//!
//! Invariant: Redis is never the truth. Every instance counts for itself and leaves absolute sums, of which the greater
//! stays; so a Redis that forgets, repeats or is away changes no total, and finding it again heals it.

#[cfg(feature = "redis")]
mod change_feed;
#[cfg(feature = "redis")]
mod keys;
#[cfg(feature = "redis")]
mod nodes;
#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "redis")]
mod round;
mod schedule;
#[cfg(feature = "redis")]
mod thread;

pub(crate) use schedule::Schedule;

pub use crate::command::ClusterEvent;
use crate::command::Command;
use crate::run::Run;
use crate::setting::SettingUpdate;
use crate::supervise::Supervisor;
use crossbeam::channel::Sender;
use std::io;
use std::time::Duration;
use tokenist_core::cluster::Contribution;
use tokio::sync::mpsc;

#[derive(Clone)]
pub struct Config {
    /// One server, or some of a cluster's, separated by commas: `redis://[user:password@]host[:port][/database]`.
    pub uri: String,
    /// How many instances there are at least, for when none could be counted yet.
    pub instances_min: u32,
}

/// Never shows the password.
impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Config(instances_min: {})", self.instances_min)
    }
}

/// A round takes no longer, or Redis counts as lost. An admission waits for half of it at most.
pub const DEADLINE: Duration = Duration::from_millis(500);

/// The aggregator's end.
#[derive(Debug)]
pub struct Link {
    rounds: mpsc::Sender<Vec<Contribution>>,
    updates: mpsc::Sender<SettingUpdate>,
    /// How many instances there are at least.
    pub(crate) instances_min: u32,
}

/// The other end, which exchanges. It ends when the link does.
#[derive(Debug)]
pub struct Line {
    pub rounds: mpsc::Receiver<Vec<Contribution>>,
    pub updates: mpsc::Receiver<SettingUpdate>,
}

/// Settings that may wait to be told to the peers. Past it they find out by polling.
const UPDATES_MAX: usize = 1_024;

/// An aggregator's link, and the line that the exchanging thread reads.
pub fn link(instances_min: u32) -> (Link, Line) {
    let (rounds, rounds_waiting) = mpsc::channel(1);
    let (updates, updates_waiting) = mpsc::channel(UPDATES_MAX);
    let link = Link { rounds, updates, instances_min: instances_min.max(1) };
    (link, Line { rounds: rounds_waiting, updates: updates_waiting })
}

impl Link {
    /// Whether the round was taken. One is, while none is on its way.
    pub(crate) fn send(&self, round: Vec<Contribution>) -> bool {
        self.rounds.try_send(round).is_ok()
    }

    /// Tells the peers of a setting, soon and if it can be.
    pub(crate) fn announce(&self, update: SettingUpdate) {
        // Where there is no room the peers learn of it when they poll.
        self.updates.try_send(update).ok();
    }
}

/// What is wrong with a `uri`, if anything is.
#[cfg(feature = "redis")]
pub fn check(uri: &str) -> Result<(), String> {
    redis::Servers::parse(uri).map(drop)
}

#[cfg(not(feature = "redis"))]
const ABSENT: &str = "this build of tokenist cannot speak to Redis: build it with the feature `redis`, as builds are by default";

/// That this build has no Redis.
#[cfg(not(feature = "redis"))]
pub fn check(_: &str) -> Result<(), String> {
    Err(ABSENT.into())
}

#[cfg(not(feature = "redis"))]
pub(crate) fn start(
    _: &Config,
    _: Run,
    _: Sender<Command>,
    _: &Supervisor,
) -> io::Result<(Link, Vec<ClusterEvent>)> {
    Err(io::Error::other(ABSENT))
}

/// Looks for Redis once, so that the first session finds it if it is there, and starts the thread. Gives also the
/// first event. Fails where another process counts under this run's name.
#[cfg(feature = "redis")]
pub(crate) fn start(
    config: &Config,
    run: Run,
    commands: Sender<Command>,
    supervisor: &Supervisor,
) -> io::Result<(Link, Vec<ClusterEvent>)> {
    let servers = redis::Servers::parse(&config.uri).map_err(io::Error::other)?;
    let (link, line) = link(config.instances_min);
    let first = thread::start(servers, run, line, commands, supervisor)?;
    Ok((link, first))
}
