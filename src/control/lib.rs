//! The control plane: one thread that aggregates, one that writes, some that read, and others beside them, which
//! `supervise` keeps.
//!
//! Start at [`start`], then [`handle`] for what others may ask of it. Shards report over a bounded queue and are told
//! what to do through their mailboxes.
//!
//! Invariant: a store that fails or blocks holds up no other thread. A dead aggregator ends the process:
//! [`Control::ended`] tells, for shards must never run unmetered.

mod accounts;
mod adopt;
pub mod aggregator;
mod bound;
pub mod clock;
pub mod cluster;
mod command;
pub mod desk;
pub mod domain_event;
pub mod error;
pub mod explore;
pub mod handle;
pub mod prices;
pub mod progress;
mod query;
pub mod ranking;
mod reads;
mod rebook;
mod recall;
pub mod resolver;
pub mod rule_engine;
pub mod run;
pub mod setting;
pub mod store;
pub mod supervise;
pub mod telemetry;
#[cfg(any(feature = "mongodb", feature = "redis"))]
mod twin;
pub mod view;
pub mod writer;

pub use aggregator::Aggregator;
pub use handle::Handle;
pub use rebook::rebook;
pub use store::Store;
pub use writer::Writer;

use crate::adopt::Adopter;
use crate::aggregator::Pace;
use crate::clock::Clock;
use crate::command::Command;
use crate::domain_event::DomainEvents;
use crate::prices::Prices;
use crate::reads::Reads;
use crate::store::StoreError;
use crate::supervise::Supervisor;
use crossbeam::channel::{self, Sender};
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use tokenist_core::ledger::{self, Ledger};
use tokenist_handoff::{Heartbeat, Lane, Order, Report};
use tokio::sync::oneshot;

#[derive(Clone, Debug)]
pub struct Config {
    /// How much the ledger holds, and the limit of a user without one of its own.
    pub ledger: ledger::Config,
    /// Reports that may wait for the aggregator. Past it shards keep theirs for their next tick.
    pub report_queue: usize,
    /// Commands that may wait. Past it a caller is told that the ledger is busy.
    pub command_queue: usize,
    /// How often windows are looked at and orders tried again.
    pub tick_ms: u64,
    /// How often what has changed is handed to the store.
    pub commit_ms: u64,
    /// How long the last batch may take at the end.
    pub finish_ms: u64,
    /// Other instances hold the same limits. `None`: there are none.
    pub cluster: Option<cluster::Config>,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            ledger: ledger::Config::default(),
            report_queue: 16_384,
            command_queue: 1_024,
            tick_ms: 100,
            commit_ms: 100,
            finish_ms: 5_000,
            cluster: None,
        }
    }
}

/// The threads that answer questions to the store, one at a time each.
const READERS: [&str; 2] = ["reader-0", "reader-1"];
/// The thread that answers those of rules, which wait for no others.
const RULE_READER: &str = "reader-rules";

/// A running control plane.
#[derive(Debug)]
pub struct Control {
    pub handle: Handle,
    /// For shards, which only ever `try_send`.
    pub reports: Sender<Report>,
    /// Resolves, always to an error, when the aggregator has ended: by [`Thread::finish`], or by a bug.
    pub ended: oneshot::Receiver<()>,
    /// A lane of the journal for each shard; none where nothing outlives the process.
    pub lanes: Vec<Lane>,
    /// Beaten by the aggregator each time it goes round its loop.
    pub heartbeat: Arc<Heartbeat>,
    pub thread: Thread,
}

/// The aggregator's thread.
#[derive(Debug)]
pub struct Thread {
    commands: Sender<Command>,
    thread: thread::JoinHandle<io::Result<()>>,
}

/// Reads what the store knows, books what the process before had not saved, and starts the threads. `shards` are the
/// ways to the shards, in order of their numbers, `prices` what calls cost that applications report themselves, with
/// the catalog's from now on. Fails where the store cannot be read, does not take what is to be booked, or no thread
/// can be started.
pub fn start(
    mut config: Config,
    mut store: Box<dyn Store>,
    shards: Vec<tokenist_handoff::Sender<Order>>,
    prices: Arc<Prices>,
) -> io::Result<Control> {
    let mut clock = Clock::system();
    let now = clock.read().now;
    config.ledger.in_cluster = config.cluster.is_some();
    config.ledger.tag = run::new_tag();
    let run = store.run().unwrap_or_else(run::Run::unlasting);
    let recaller = store.recaller().map_err(io::Error::other)?;
    config.ledger.reads_back = recaller.is_some();
    let restored = store.restore(now, config.ledger.holders_max).map_err(io::Error::other)?;
    let (holders_max, default_limit) = (config.ledger.holders_max, config.ledger.default_limit.clone());
    let ledger = Ledger::restore(config.ledger, restored, now);
    let (lane_count, replication) = (shards.len() + 1, store.replication());
    let mut aggregator = Aggregator::new(ledger, holders_max, shards, Arc::default(), replication.clone());
    aggregator.count_as(&run.writer);
    rebook(&mut *store, &mut aggregator, now).map_err(io::Error::other)?;
    let lanes = aggregator.take_lanes(store.lanes(lane_count).map_err(io::Error::other)?);
    let supervisor = Supervisor::default();
    let reads = start_readers(&supervisor, &*store, &READERS, config.command_queue, true)?;
    let rule_reads = start_readers(&supervisor, &*store, &[RULE_READER], config.command_queue, false)?;
    let (reports, reports_waiting) = channel::bounded(config.report_queue);
    let (commands, commands_waiting) = channel::bounded(config.command_queue);
    let domain_events = DomainEvents::new();
    let handle = Handle::new(
        commands.clone(),
        reads,
        supervisor.clone(),
        Arc::clone(&prices),
        default_limit,
        replication,
        domain_events.clone(),
    );
    let adopter = Box::new(Adopter::new(handle.clone())?);
    store.attach(&supervisor, adopter).map_err(io::Error::other)?;
    let writer = Writer::start(store, &supervisor)?;
    aggregator.watch_saving(Arc::clone(writer.progress()));
    aggregator.price_by(prices);
    aggregator.publish_to(domain_events);
    if let Some(recaller) = recaller {
        aggregator.recall_from(recall::start(recaller, commands.clone())?);
    }
    let (running, ended) = oneshot::channel::<()>();
    if let Some(cluster) = &config.cluster {
        let (link, events) = cluster::start(cluster, run, commands.clone(), &supervisor)?;
        aggregator.join(link);
        let now = clock.read().now;
        events.into_iter().for_each(|event| aggregator.cluster_event(event, now));
    }
    let reports_open = reports.clone();
    let heartbeat = Arc::<Heartbeat>::default();
    let beaten = Arc::clone(&heartbeat);
    let thread = thread::Builder::new().name("aggregator".into()).spawn(move || {
        // Dropped with the thread, however it ends. The queue outlives its shards, so that it never looks ready for
        // having no sender.
        let _alive = (running, reports_open);
        let pace = Pace {
            tick: Duration::from_millis(config.tick_ms),
            commit: Duration::from_millis(config.commit_ms),
            finish: Duration::from_millis(config.finish_ms),
        };
        aggregator::run(aggregator, writer, &reports_waiting, &commands_waiting, clock, pace, &beaten)
    })?;
    rule_engine::start(&handle.reading_by(rule_reads))?;
    Ok(Control { handle, reports, ended, lanes, heartbeat, thread: Thread { commands, thread } })
}

fn start_readers(
    supervisor: &Supervisor,
    store: &dyn Store,
    names: &[&'static str],
    waiting_max: usize,
    are_operators: bool,
) -> io::Result<Reads> {
    let readers: Result<Vec<_>, StoreError> = names.iter().map(|name| Ok((*name, store.reader()?))).collect();
    reads::start(supervisor, readers.map_err(io::Error::other)?, waiting_max, are_operators)
}

impl Thread {
    /// Applies every report that has been sent, saves what is left and ends. Call it when all shards have ended.
    pub fn finish(self) -> io::Result<()> {
        // If the command is not taken the thread has ended already, and joining tells how.
        self.commands.send(Command::Finish).ok();
        self.thread.join().unwrap_or_else(|_| Err(io::Error::other("the aggregator panicked")))
    }
}
