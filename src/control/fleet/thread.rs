//! The thread that speaks to Redis: rounds as they come, a beat each second, and a connection that is sought again
//! whenever it is lost.

use super::redis::{Connection, ENDED_MS, Servers, describe};
use super::{DEADLINE, Line, Word, news, round};
use crate::command::Command;
use crate::fact::Fact;
use crate::run::{self, Run, Twin};
use crate::supervise::{Abort, Supervisor};
use crossbeam::channel::Sender;
use redis::RedisResult;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokenist_core::fleet::Share;
use tokio::sync::{Notify, mpsc};
use tokio::time::{self, MissedTickBehavior};
use tracing::{info, warn};

/// Between two signs of life.
const BEAT: Duration = Duration::from_secs(1);
/// To connect, which is more than one question and answer.
const CONNECT: Duration = Duration::from_secs(2);
/// Between two tries to find Redis again.
const RETRY: Duration = Duration::from_millis(200);
/// Counts of instances that are remembered: those who vanish with a Redis that restarts are still there.
const COUNTS: usize = 10;

pub(super) fn start(
    servers: Servers,
    run: Run,
    mut line: Line,
    commands: Sender<Command>,
    supervisor: &Supervisor,
) -> io::Result<Vec<Word>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut fleet = Fleet {
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
    let mut connection = runtime.block_on(fleet.find_at_start(&mut first)).map_err(io::Error::other)?;
    let (news_kept, mut first_runtime) = (supervisor.clone(), Some(runtime));
    supervisor.spawn("fleet", move || {
        let runtime = first_runtime.take().unwrap_or_else(|| {
            // A round that was on its way is gone, and the aggregator waits for it.
            fleet.tell(Word::Lost("the thread that speaks to Redis panicked and begins anew".into()));
            let anew = tokio::runtime::Builder::new_current_thread().enable_all().build();
            anew.expect("a runtime for Redis")
        });
        let connection = connection.take();
        runtime.block_on(async {
            let (servers, writer) = (Arc::clone(&fleet.servers), Arc::clone(&fleet.writer));
            let (commands, broken) = (fleet.commands.clone(), Arc::clone(&fleet.broken));
            let follow = move || {
                let (servers, writer) = (Arc::clone(&servers), Arc::clone(&writer));
                news::follow(servers, writer, commands.clone(), Arc::clone(&broken))
            };
            let news_kept = news_kept.clone();
            let _news = Abort(tokio::spawn(async move { news_kept.keep("fleet-news", follow).await }));
            fleet.run(&mut line, connection).await;
        });
    })?;
    Ok(first)
}

struct Fleet {
    servers: Arc<Servers>,
    writer: Arc<str>,
    run: Run,
    /// Who counts under that name, if it is another.
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
    unsent: Vec<Fact>,
    /// Another connection there has ended: this one may have, too.
    broken: Arc<Notify>,
}

/// Why the thread does something else now.
enum Turn {
    /// The aggregator has ended.
    End,
    Lost(String),
}

impl Fleet {
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
                    self.tell(Word::Lost(cause));
                }
                None => {}
            }
        }
    }

    /// Exchanges over one connection until something fails.
    async fn serve(&mut self, line: &mut Line, connection: &Connection) -> Option<Turn> {
        let mut beat = time::interval_at(time::Instant::now() + BEAT, BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let broken = Arc::clone(&self.broken);
        if let Err(cause) = self.publish(&mut line.facts, connection).await {
            return Some(Turn::Lost(cause));
        }
        loop {
            let mut words = Vec::new();
            let done = tokio::select! {
                shares = line.rounds.recv() => match shares {
                    Some(shares) => self.exchange(connection, &shares, &mut words).await,
                    None => return Some(Turn::End),
                },
                Some(fact) = line.facts.recv() => {
                    self.unsent.push(fact);
                    self.publish(&mut line.facts, connection).await
                }
                _ = beat.tick() => self.beat(connection, &mut words).await,
                () = broken.notified() => self.beat(connection, &mut words).await,
            };
            words.into_iter().for_each(|word| self.tell(word));
            if let Err(cause) = done {
                return Some(Turn::Lost(cause));
            }
        }
    }

    async fn exchange(
        &mut self,
        connection: &Connection,
        shares: &[Share],
        words: &mut Vec<Word>,
    ) -> Result<(), String> {
        words.push(Word::Heard(
            within(round::exchange(connection, &mut self.names, &self.writer, shares)).await?,
        ));
        Ok(())
    }

    /// Tells the others of every setting that waits.
    async fn publish(
        &mut self,
        facts: &mut mpsc::Receiver<Fact>,
        connection: &Connection,
    ) -> Result<(), String> {
        while let Ok(fact) = facts.try_recv() {
            self.unsent.push(fact);
        }
        if !self.unsent.is_empty() {
            within(connection.publish(&self.writer, &news::write(&self.unsent))).await?;
            self.unsent.clear();
        }
        Ok(())
    }

    async fn beat(&mut self, connection: &Connection, words: &mut Vec<Word>) -> Result<(), String> {
        // Under a name that another counts under, nothing is told.
        self.twin = within(connection.claim(&self.run)).await?.err();
        if let Some(twin) = &self.twin {
            return Err(twin.to_string());
        }
        let ((count, present), marker) = within(connection.beat(&self.writer, &self.marker)).await?;
        self.counts.truncate(COUNTS - 1);
        self.counts.insert(0, count);
        let count = self.counts.iter().copied().max().unwrap_or(1);
        words.push(Word::Instances { count, present });
        if self.seen_marker.as_deref() != Some(&*marker) {
            if self.seen_marker.is_some() {
                info!("Redis has lost what it held: everything is left there again");
            }
            self.seen_marker = Some(marker);
            words.push(Word::Found);
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
                shares = line.rounds.recv() => if shares.is_none() { return Some(Turn::End) },
            }
        }
        let mut words = Vec::new();
        *connection = self.find(&mut words).await;
        if connection.is_some() {
            info!("Redis is found again");
            words.into_iter().for_each(|word| self.tell(word));
        }
        None
    }

    /// As [`Fleet::find`]. A run that may have ended is given the time to be heard of; one that has not is an error.
    async fn find_at_start(&mut self, words: &mut Vec<Word>) -> Result<Option<Connection>, String> {
        let deadline = time::Instant::now() + Duration::from_millis(ENDED_MS) + 2 * BEAT;
        loop {
            words.clear();
            let connection = self.find(words).await;
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
    async fn find(&mut self, words: &mut Vec<Word>) -> Option<Connection> {
        self.twin = None;
        self.seen_marker = None; // Whatever it holds: it may be another one, or not up to date.
        let found = async {
            let connect = time::timeout(CONNECT, self.servers.connect(DEADLINE));
            let connection = match connect.await {
                Ok(connected) => connected.map_err(|error| describe(&error))?,
                Err(_) => return Err(format!("Redis was not reached within {} ms", CONNECT.as_millis())),
            };
            within(connection.rehearse(&self.writer)).await?;
            self.beat(&connection, words).await?;
            Ok(connection)
        };
        match found.await {
            Ok(connection) => Some(connection),
            Err(cause) => {
                words.push(Word::Lost(cause));
                None
            }
        }
    }

    fn tell(&self, word: Word) {
        // Nobody listens once the aggregator has ended, and then the line ends too.
        self.commands.send(Command::Word(word)).ok();
    }
}

async fn within<T>(act: impl Future<Output = RedisResult<T>>) -> Result<T, String> {
    match time::timeout(DEADLINE, act).await {
        Ok(done) => done.map_err(|error| describe(&error)),
        Err(_) => Err(format!("Redis did not answer within {} ms", DEADLINE.as_millis())),
    }
}
