//! The connection to Redis, one server or a cluster, and the scripts that run there.
//!
//! Every writer has a field in a cell's hash, with what it has counted: `cost tokens`. The script keeps the greater of
//! each and gives back what the hash held, so that whoever asks adds up in whole 64-bit integers, which scripts there
//! do not have.

use super::keys;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::{ClusterClient, ClusterClientBuilder};
use redis::cluster_async::ClusterConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, Pipeline, RedisError, RedisFuture, RedisResult, Script,
    Value,
};
use std::sync::LazyLock;
use std::time::Duration;
use tokenist_core::fleet::Share;

/// KEYS: cells. ARGV: the writer, then for each cell its cost, its tokens, and when it expires (0: never).
static EXCHANGE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local function greater(a, b)
  return #a > #b or (#a == #b and a > b)
end
local held = {}
for i, key in ipairs(KEYS) do
  held[i] = redis.call('HGETALL', key)
  local cost, tokens, expires = ARGV[3 * i - 1], ARGV[3 * i], ARGV[3 * i + 1]
  if cost ~= '0' or tokens ~= '0' then
    local known = redis.call('HGET', key, ARGV[1]) or ''
    local known_cost, known_tokens = string.match(known, '^(%d+) (%d+)$')
    if not known_cost then known_cost, known_tokens = '0', '0' end
    if greater(cost, known_cost) or greater(tokens, known_tokens) then
      if greater(known_cost, cost) then cost = known_cost end
      if greater(known_tokens, tokens) then tokens = known_tokens end
      redis.call('HSET', key, ARGV[1], cost .. ' ' .. tokens)
      if expires ~= '0' then redis.call('PEXPIREAT', key, expires) end
    end
  end
end
return held",
    )
});

/// KEYS: the instances, the marker. ARGV: the writer, a marker to set where there is none, and after how many
/// milliseconds of silence an instance counts as gone.
static BEAT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f', now))
local instances, count = redis.call('HGETALL', KEYS[1]), 0
for i = 1, #instances, 2 do
  if now - tonumber(instances[i + 1]) > tonumber(ARGV[3]) then
    redis.call('HDEL', KEYS[1], instances[i])
  else
    count = count + 1
  end
end
redis.call('SET', KEYS[2], ARGV[2], 'NX')
return {count, redis.call('GET', KEYS[2])}",
    )
});

/// An instance that was silent for so long counts as gone.
const SILENCE_MS: u64 = 10_000;
/// Settings that are kept for instances that missed them.
const NEWS_MAX: usize = 10_000;

/// Where Redis is.
pub(super) struct Servers {
    /// Each of one cluster, or the only one.
    clients: Vec<Client>,
    uris: Vec<String>,
}

/// Cheap to clone; every clone speaks over the same connection.
#[derive(Clone)]
pub(super) enum Connection {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

/// What a cell held: by writer, its figures as text.
pub(super) type Held = Vec<(String, String)>;

impl Servers {
    pub(super) fn parse(uri: &str) -> Result<Servers, String> {
        // A password may have commas of its own.
        let uris: Vec<String> = uri.split(",redis").enumerate().map(whole).collect();
        let clients = uris.iter().map(|uri| Client::open(uri.as_str()));
        let clients = clients.collect::<RedisResult<Vec<_>>>().map_err(|_| {
            "is no Redis address; write redis://[user:password@]host[:port][/database]".to_owned()
        })?;
        Ok(Servers { clients, uris })
    }

    /// Connects to the first that answers, or to the cluster that it says it belongs to. A question there may take
    /// `patience`.
    pub(super) async fn connect(&self, patience: Duration) -> RedisResult<Connection> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(super::DEADLINE))
            .set_response_timeout(Some(patience));
        let mut failure = None;
        for client in &self.clients {
            match client.get_multiplexed_async_connection_with_config(&config).await {
                Ok(mut connection) => {
                    return match is_clustered(&mut connection).await? {
                        false => Ok(Connection::One(connection)),
                        true => {
                            Ok(Connection::Cluster(self.cluster(patience)?.get_async_connection().await?))
                        }
                    };
                }
                Err(error) => failure = Some(error),
            }
        }
        Err(failure.expect("a uri names at least one server"))
    }

    fn cluster(&self, patience: Duration) -> RedisResult<ClusterClient> {
        // Whatever fails is tried again by us, a little later.
        let builder = ClusterClientBuilder::new(self.uris.iter().map(String::as_str)).retries(1);
        builder.connection_timeout(super::DEADLINE).response_timeout(patience).build()
    }
}

fn whole((index, part): (usize, &str)) -> String {
    if index == 0 { part.to_owned() } else { format!("redis{part}") }
}

async fn is_clustered(connection: &mut MultiplexedConnection) -> RedisResult<bool> {
    let info: String = redis::cmd("INFO").arg("cluster").query_async(connection).await?;
    Ok(info.lines().any(|line| line.trim() == "cluster_enabled:1"))
}

impl Connection {
    /// Leaves a share where it is greater than what is there, and gives what was there before, for each of its cells.
    pub(super) async fn exchange(&mut self, writer: &str, share: &Share) -> RedisResult<Vec<Held>> {
        let holder = keys::holder(&share.holder);
        let mut invocation = EXCHANGE.prepare_invoke();
        invocation.arg(writer);
        for count in &share.counts {
            invocation.key(keys::cell(&holder, count.cell));
            invocation.arg(count.used.cost.0.max(0)).arg(count.used.tokens);
            invocation.arg(keys::expires_at(count.cell).map_or(0, |at| at.0));
        }
        invocation.invoke_async(self).await
    }

    /// Says that this instance is there. How many are, and the marker.
    pub(super) async fn beat(&mut self, writer: &str, marker: &str) -> RedisResult<(u32, String)> {
        let mut invocation = BEAT.prepare_invoke();
        invocation.key(keys::INSTANCES).key(keys::MARKER).arg(writer).arg(marker).arg(SILENCE_MS);
        invocation.invoke_async(self).await
    }

    /// Adds to the stream of settings.
    pub(super) async fn publish(&mut self, writer: &str, news: &str) -> RedisResult<()> {
        let mut add = redis::cmd("XADD");
        add.arg(keys::NEWS).arg("MAXLEN").arg("~").arg(NEWS_MAX).arg("*");
        add.arg("from").arg(writer).arg("facts").arg(news);
        add.query_async(self).await
    }

    /// What was added to that stream after `after`, waiting for it up to `patience`.
    pub(super) async fn read_news(&mut self, after: &str, patience: Duration) -> RedisResult<Value> {
        let mut read = redis::cmd("XREAD");
        read.arg("COUNT").arg(500).arg("BLOCK").arg(patience.as_millis() as u64);
        read.arg("STREAMS").arg(keys::NEWS).arg(after);
        read.query_async(self).await
    }
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Connection::One(connection) => connection.req_packed_command(cmd),
            Connection::Cluster(connection) => connection.req_packed_command(cmd),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Connection::One(connection) => connection.req_packed_commands(pipeline, offset, count),
            Connection::Cluster(connection) => connection.req_packed_commands(pipeline, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Connection::One(connection) => connection.get_db(),
            Connection::Cluster(connection) => connection.get_db(),
        }
    }
}

/// For operators. What the crate says holds no password.
pub(super) fn describe(error: &RedisError) -> String {
    match error.kind() {
        ErrorKind::AuthenticationFailed => {
            "Redis does not take the user and password in store.redis_uri".into()
        }
        _ if error.is_timeout() => format!("Redis did not answer within {} ms", super::DEADLINE.as_millis()),
        _ => format!("Redis: {error}"),
    }
}
