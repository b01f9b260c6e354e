//! The thread that speaks to Redis: rounds as they come, a heartbeat each second, and a connection that is sought again
//! whenever it is lost.

use super::redis::{Connection, ENDED_MS, Servers, describe};
use super::{ClusterEvent, DEADLINE, Line, change_feed, round};
use crate::command::Command;
use crate::run::{self, Run};
use crate::setting::SettingUpdate;
use crate::supervise::{Abort, Supervisor};
use crate::twin::Twin;
use crossbeam::channel::Sender;
use redis::RedisResult;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokenist_core::cluster::Contribution;
use tokio::sync::{Notify, mpsc};
use tokio::time::{self, MissedTickBehavior};
use tracing::{info, warn};

/// Between two heartbeats.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);
/// To connect, which is more than one question and answer.
const CONNECT: Duration = Duration::from_secs(2);
/// Between two tries to find Redis again.
const RETRY: Duration = Duration::from_millis(200);
/// Counts of instances that are remembered: those that vanish with a Redis that restarts are still there.
const COUNTS: usize = 10;

pub(super) fn start(
    servers: Servers,
    run: Run,
    mut line: Line,
    commands: Sender<Command>,
    supervisor: &Supervisor,
) -> io::Result<Vec<ClusterEvent>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut cluster = ClusterThread {
        servers: Arc::new(servers),
        marker: run::new_id(),
        writer: run.writer.as_str().into(),
        run,
        twin: None,
        commands,
        seen_marker: None,
        counts: Vec::new(),
        names: round::Names::default(),
        unsent: Vec::new(),
        broken: Arc::default(),
    };
    let mut first = Vec::new();
    let mut connection = runtime.block_on(cluster.find_at_start(&mut first)).map_err(io::Error::other)?;
    let (feed_kept, mut first_runtime) = (supervisor.clone(), Some(runtime));
    supervisor.spawn("fleet", move || {
        let runtime = first_runtime.take().unwrap_or_else(|| {
            // A round that was on its way is gone, and the aggregator waits for it.
            cluster
                .send(ClusterEvent::Lost("the thread that speaks to Redis panicked and begins anew".into()));
            let anew = tokio::runtime::Builder::new_current_thread().enable_all().build();
            anew.expect("a runtime for Redis")
        });
        let connection = connection.take();
        runtime.block_on(async {
            let (servers, writer) = (Arc::clone(&cluster.servers), Arc::clone(&cluster.writer));
            let (commands, broken) = (cluster.commands.clone(), Arc::clone(&cluster.broken));
            let follow = move || {
                let (servers, writer) = (Arc::clone(&servers), Arc::clone(&writer));
                change_feed::follow(servers, writer, commands.clone(), Arc::clone(&broken))
            };
            let feed_kept = feed_kept.clone();
            let _feed = Abort(tokio::spawn(async move { feed_kept.keep("fleet-news", follow).await }));
            cluster.run(&mut line, connection).await;
        });
    })?;
    Ok(first)
}

struct ClusterThread {
    servers: Arc<Servers>,
    writer: Arc<str>,
    run: Run,
    /// The run that counts under that name, if it is another.
    twin: Option<Twin>,
    commands: Sender<Command>,
    /// What this instance would set.
    marker: String,
    /// What was found there.
    seen_marker: Option<String>,
    /// The latest counts of instances.
    counts: Vec<u32>,
    names: round::Names,
    /// Settings that Redis has not taken yet.
    unsent: Vec<SettingUpdate>,
    /// Another connection there has ended: this one may have, too.
    broken: Arc<Notify>,
}

/// Why the thread does something else now.
enum Turn {
    /// The aggregator has ended.
    End,
    Lost(String),
}

impl ClusterThread {
    async fn run(&mut self, line: &mut Line, mut connection: Option<Connection>) {
        loop {
            let turn = match &connection {
                Some(found) => self.serve(line, found).await,
                None => self.seek(line, &mut connection).await,
            };
            match turn {
                Some(Turn::End) => return,
                Some(Turn::Lost(cause)) => {
                    connection = None;
                    warn!(cause, "Redis is lost: limits hold for this instance alone");
                    self.send(ClusterEvent::Lost(cause));
                }
                None => {}
            }
        }
    }

    /// Exchanges over one connection until something fails.
    async fn serve(&mut self, line: &mut Line, connection: &Connection) -> Option<Turn> {
        let mut heartbeat = time::interval_at(time::Instant::now() + HEARTBEAT_INTERVAL, HEARTBEAT_INTERVAL);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let broken = Arc::clone(&self.broken);
        if let Err(cause) = self.publish(&mut line.updates, connection).await {
            return Some(Turn::Lost(cause));
        }
        loop {
            let mut events = Vec::new();
            let done = tokio::select! {
                contributions = line.rounds.recv() => match contributions {
                    Some(contributions) => self.exchange(connection, &contributions, &mut events).await,
                    None => return Some(Turn::End),
                },
                Some(update) = line.updates.recv() => {
                    self.unsent.push(update);
                    self.publish(&mut line.updates, connection).await
                }
                _ = heartbeat.tick() => self.heartbeat(connection, &mut events).await,
                () = broken.notified() => self.heartbeat(connection, &mut events).await,
            };
            events.into_iter().for_each(|event| self.send(event));
            if let Err(cause) = done {
                return Some(Turn::Lost(cause));
            }
        }
    }

    async fn exchange(
        &mut self,
        connection: &Connection,
        contributions: &[Contribution],
        events: &mut Vec<ClusterEvent>,
    ) -> Result<(), String> {
        events.push(ClusterEvent::PeerTotals(
            within(round::exchange(connection, &mut self.names, &self.writer, contributions)).await?,
        ));
        Ok(())
    }

    /// Tells the peers of every setting that waits.
    async fn publish(
        &mut self,
        updates: &mut mpsc::Receiver<SettingUpdate>,
        connection: &Connection,
    ) -> Result<(), String> {
        while let Ok(update) = updates.try_recv() {
            self.unsent.push(update);
        }
        if !self.unsent.is_empty() {
            within(connection.publish(&self.writer, &change_feed::write(&self.unsent))).await?;
            self.unsent.clear();
        }
        Ok(())
    }

    async fn heartbeat(
        &mut self,
        connection: &Connection,
        events: &mut Vec<ClusterEvent>,
    ) -> Result<(), String> {
        // Under a name that another counts under, nothing is told.
        self.twin = within(connection.claim(&self.run)).await?.err();
        if let Some(twin) = &self.twin {
            return Err(twin.to_string());
        }
        let ((count, present), marker) = within(connection.heartbeat(&self.writer, &self.marker)).await?;
        self.counts.truncate(COUNTS - 1);
        self.counts.insert(0, count);
        let count = self.counts.iter().copied().max().unwrap_or(1);
        events.push(ClusterEvent::Instances { count, present });
        if self.seen_marker.as_deref() != Some(&*marker) {
            if self.seen_marker.is_some() {
                info!("Redis has lost what it held: everything is left there again");
            }
            self.seen_marker = Some(marker);
            events.push(ClusterEvent::Found);
        }
        Ok(())
    }

    /// Tries to connect, once, after a pause.
    async fn seek(&mut self, line: &mut Line, connection: &mut Option<Connection>) -> Option<Turn> {
        let pause = time::sleep(RETRY);
        tokio::pin!(pause);
        loop {
            tokio::select! {
                () = &mut pause => break,
                // A round that was on its way when Redis was lost: the aggregator knows that it is.
                contributions = line.rounds.recv() => if contributions.is_none() { return Some(Turn::End) },
            }
        }
        let mut events = Vec::new();
        *connection = self.find(&mut events).await;
        if connection.is_some() {
            info!("Redis is found again");
            events.into_iter().for_each(|event| self.send(event));
        }
        None
    }

    /// As [`ClusterThread::find`]. A run that may have ended is given the time to be heard of; one that has not is an
    /// error.
    async fn find_at_start(&mut self, events: &mut Vec<ClusterEvent>) -> Result<Option<Connection>, String> {
        let deadline = time::Instant::now() + Duration::from_millis(ENDED_MS) + 2 * HEARTBEAT_INTERVAL;
        loop {
            events.clear();
            let connection = self.find(events).await;
            match &self.twin {
                Some(twin) if twin.may_have_ended && time::Instant::now() < deadline => {
                    info!(run = twin.id, "waiting for the run that counted under this name to be silent");
                    time::sleep(RETRY).await;
                }
                Some(twin) => return Err(twin.to_string()),
                None => return Ok(connection),
            }
        }
    }

    /// Connects and says that this instance is there. Says also why it could not.
    async fn find(&mut self, events: &mut Vec<ClusterEvent>) -> Option<Connection> {
        self.twin = None;
        self.seen_marker = None; // Whatever it holds: it may be another one, or not up to date.
        let found = async {
            let connect = time::timeout(CONNECT, self.servers.connect(DEADLINE));
            let connection = match connect.await {
                Ok(connected) => connected.map_err(|error| describe(&error))?,
                Err(_) => return Err(format!("Redis was not reached within {} ms", CONNECT.as_millis())),
            };
            within(connection.rehearse(&self.writer)).await?;
            self.heartbeat(&connection, events).await?;
            Ok(connection)
        };
        match found.await {
            Ok(connection) => Some(connection),
            Err(cause) => {
                events.push(ClusterEvent::Lost(cause));
                None
            }
        }
    }

    fn send(&self, event: ClusterEvent) {
        // The aggregator does not listen once it has ended, and then the line ends too.
        self.commands.send(Command::ClusterEvent(event)).ok();
    }
}

async fn within<T>(act: impl Future<Output = RedisResult<T>>) -> Result<T, String> {
    match time::timeout(DEADLINE, act).await {
        Ok(done) => done.map_err(|error| describe(&error)),
        Err(_) => Err(format!("Redis did not answer within {} ms", DEADLINE.as_millis())),
    }
}
