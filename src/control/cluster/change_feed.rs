//! Settings that one instance makes, told to the peers at once: a stream in Redis that each follows.
//!
//! A stream rather than pub/sub, so that an instance which was cut off, or comes up later, reads on from where it was.
//! Updates carry revisions, so reading one twice, or late, changes nothing. What cannot be read is passed over.

use super::redis::{Connection, Servers, describe};
use super::{ClusterEvent, DEADLINE};
use crate::command::Command;
use crate::setting::SettingUpdate;
use crossbeam::channel::{Sender, TrySendError};
use redis::{RedisResult, Value};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, oneshot};
use tokio::time;
use tracing::{debug, warn};

/// How long one question waits for news.
const WAIT: Duration = Duration::from_secs(1);
/// Between two tries, when Redis is away.
const RETRY: Duration = Duration::from_millis(200);
/// While the aggregator has no room.
const PAUSE: Duration = Duration::from_millis(5);

/// The beginning of the stream.
const BEGINNING: &str = "0";

/// Where it is in the stream, and its fields. Any client may have written there, so they are mere bytes.
type Entry = (String, HashMap<Vec<u8>, Vec<u8>>);

pub(super) fn write(updates: &[SettingUpdate]) -> String {
    serde_json::to_string(updates).expect("updates are plain values")
}

/// Hands every setting that another instance has made to the aggregator. It never ends by itself.
/// `broken` is told at once of a connection that ends, for another may be about to find out.
pub(super) async fn follow(
    servers: Arc<Servers>,
    writer: Arc<str>,
    commands: Sender<Command>,
    broken: Arc<Notify>,
) {
    let mut trouble = Trouble::default();
    loop {
        // Each connection begins anew: this may be another Redis than before, whose entries have lesser numbers.
        let error = match servers.connect(WAIT + DEADLINE).await {
            Ok(connection) => read_on(&connection, &writer, &commands, &mut trouble).await,
            Err(error) => error,
        };
        let cause = describe(&error);
        debug!(cause, "settings of other instances come later: Redis is away");
        if trouble.failures == 0 {
            broken.notify_one();
        }
        trouble.fails(cause, &commands).await;
        time::sleep(RETRY).await;
    }
}

/// Why settings of others are not received, if so.
#[derive(Default)]
struct Trouble {
    failures: usize,
    told: Option<String>,
}

impl Trouble {
    /// A connection that ends is no trouble if the next one can be had.
    async fn fails(&mut self, cause: String, commands: &Sender<Command>) {
        self.failures += 1;
        if self.failures > 1 && self.told.as_ref() != Some(&cause) {
            self.told = Some(cause.clone());
            send(commands, Command::ClusterEvent(ClusterEvent::ChangeFeed(Some(cause)))).await;
        }
    }

    async fn is_over(&mut self, commands: &Sender<Command>) {
        self.failures = 0;
        if self.told.take().is_some() {
            send(commands, Command::ClusterEvent(ClusterEvent::ChangeFeed(None))).await;
        }
    }
}

/// Until it fails.
async fn read_on(
    connection: &Connection,
    writer: &str,
    commands: &Sender<Command>,
    trouble: &mut Trouble,
) -> redis::RedisError {
    let mut after = BEGINNING.to_owned();
    loop {
        let entries = match connection.read_changes(&after, Some(WAIT)).await.and_then(entries) {
            Ok(entries) => entries,
            Err(error) => return error,
        };
        trouble.is_over(commands).await;
        for (number, entry) in entries {
            after = number;
            let field = |name: &str| entry.get(name.as_bytes()).map_or(&b""[..], Vec::as_slice);
            if field("from") == writer.as_bytes() {
                continue;
            }
            match serde_json::from_slice(field("facts")) {
                Ok(updates) => hand_over(updates, commands).await,
                Err(error) => warn!(number = after, %error, "a setting of another instance cannot be read"),
            }
        }
    }
}

/// Nothing where the wait was in vain.
fn entries(answer: Value) -> RedisResult<Vec<Entry>> {
    let streams: Option<Vec<(String, Vec<Entry>)>> = redis::from_redis_value(answer)?;
    Ok(streams.unwrap_or_default().into_iter().flat_map(|(_, entries)| entries).collect())
}

async fn hand_over(updates: Vec<SettingUpdate>, commands: &Sender<Command>) {
    if updates.is_empty() {
        return;
    }
    // How much of it was news is of no interest here.
    let (reply, _) = oneshot::channel();
    send(commands, Command::Adopt(updates, reply)).await;
}

/// Waits for room, so that nothing is skipped.
async fn send(commands: &Sender<Command>, mut command: Command) {
    while let Err(TrySendError::Full(returned)) = commands.try_send(command) {
        command = returned;
        time::sleep(PAUSE).await;
    }
}
