//! The connection to Redis, one server or a cluster, and the scripts that run there.
//!
//! Every writer has a field in a bucket's hash, with what it has counted: `cost tokens`. The script keeps the greater of
//! each and gives back what the hash held, so that the instance adds up in whole 64-bit integers, which scripts there
//! do not have.
//!
//! Invariant: every question to a cluster has one key. While a slot moves, one with several is refused as long as they
//! lie on two sides.

use super::keys;
use super::nodes::Nodes;
use crate::run::Run;
use crate::twin::Twin;
use futures_util::future::{try_join, try_join_all};
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, FromRedisValue, RedisError, RedisResult, Script,
    ServerErrorKind, Value,
};
use std::collections::HashMap;
use std::sync::LazyLock;
use std::time::Duration;
use tokenist_core::cluster::{Contribution, Count};

/// A script, and the name that Redis knows it by once it has heard it.
struct Program {
    text: &'static str,
    name: String,
}

impl Program {
    fn new(text: &'static str) -> Program {
        Program { text, name: Script::new(text).get_hash().to_owned() }
    }
}

/// KEYS: buckets. ARGV: the writer, then for each bucket its cost, its tokens, and when it expires (0: never).
static EXCHANGE: LazyLock<Program> = LazyLock::new(|| {
    Program::new(
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

/// KEYS: the instances. ARGV: the writer, and after how many milliseconds of silence an instance counts as absent, and
/// as gone. Gives how many are not gone, and how many are present.
static HEARTBEAT: LazyLock<Program> = LazyLock::new(|| {
    Program::new(
        r"
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f', now))
local instances, count, present = redis.call('HGETALL', KEYS[1]), 0, 0
for i = 1, #instances, 2 do
  local silence = now - (tonumber(instances[i + 1]) or 0)
  if silence > tonumber(ARGV[3]) then
    redis.call('HDEL', KEYS[1], instances[i])
  else
    count = count + 1
    if silence <= tonumber(ARGV[2]) then present = present + 1 end
  end
end
return {count, present}",
    )
});

/// KEYS: the marker. ARGV: what to set where there is none.
static MARK: LazyLock<Program> = LazyLock::new(|| {
    Program::new(
        r"
redis.call('SET', KEYS[1], ARGV[1], 'NX')
return redis.call('GET', KEYS[1])",
    )
});

/// KEYS: the runs. ARGV: the writer, this run, its place, after how many milliseconds of silence another one has ended,
/// and earlier runs of this folder. Gives the run that counts under the name, and whether it is heard of; nothing if
/// it is this one. What an earlier run at the same place had said it takes over at once. Names that no run has counted
/// under for longer than a month go.
static CLAIM: LazyLock<Program> = LazyLock::new(|| {
    Program::new(
        r"
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local known = redis.call('HGET', KEYS[1], ARGV[1]) or ''
local at, run, place = string.match(known, '^(%d+) (%S+) (%S+)$')
if run and run ~= ARGV[2] then
  local is_ours = false
  for i = 5, #ARGV do is_ours = is_ours or ARGV[i] == run end
  if not is_ours then return {run, 0} end
  if place ~= ARGV[3] and now - tonumber(at) <= tonumber(ARGV[4]) then return {run, 1} end
end
redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f %s %s', now, ARGV[2], ARGV[3]))
if not run then
  local runs = redis.call('HGETALL', KEYS[1])
  for i = 1, #runs, 2 do
    local at = string.match(runs[i + 1], '^(%d+) ') or 0
    if now - tonumber(at) > 35 * 86400000 then redis.call('HDEL', KEYS[1], runs[i]) end
  end
end
return {}",
    )
});

/// KEYS: one that is never read. ARGV: `hash` or `text`. Does once what the other scripts may have to do only now and
/// then, and names what it may not: Redis itself does not tell that of a script.
static REHEARSE: LazyLock<Program> = LazyLock::new(|| {
    Program::new(
        r"
local refused = ''
local function try(command, ...)
  local answer = redis.pcall(command, ...)
  if type(answer) == 'table' and answer.err then
    refused = refused .. ' \'' .. command .. '\''
    return {}
  end
  return answer
end
local time = try('time')
local soon = string.format('%.0f', ((time[1] or 0) + 60) * 1000)
if ARGV[1] == 'hash' then
  try('hset', KEYS[1], 'a', '1', 'b', '1')
  try('hdel', KEYS[1], 'a')
  try('hget', KEYS[1], 'b')
  try('hgetall', KEYS[1])
else
  try('set', KEYS[1], '1', 'NX')
  try('get', KEYS[1])
end
try('pexpireat', KEYS[1], soon)
if refused ~= '' then return redis.error_reply('NOPERM scripts of this user may not run' .. refused) end
return 1",
    )
});

/// A run that was silent for so long has ended: it would have spoken each second.
pub(super) const ENDED_MS: u64 = 3_000;
/// An instance that was silent for so long counts as absent, and then as gone.
const ABSENCE_MS: u64 = 2_000;
const SILENCE_MS: u64 = 10_000;
/// Settings that are kept for instances that missed them.
const CHANGES_MAX: usize = 10_000;
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
    Cluster(Box<Nodes>),
}

/// What a bucket held: by writer, its figures as text.
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
                            let nodes = Nodes::connect(&self.uris, client, config, patience).await?;
                            Ok(Connection::Cluster(Box::new(nodes)))
                        }
                    };
                }
                Err(error) => failure = Some(error),
            }
        }
        Err(failure.expect("a uri names at least one server"))
    }
}

fn whole((index, part): (usize, &str)) -> String {
    if index == 0 { part.to_owned() } else { format!("redis{part}") }
}

/// `HELLO` is open to every user since Redis 6.2; before, `INFO` tells. One that refuses both is taken for a single
/// server: what else it refuses is told by [`Connection::rehearse`], and a cluster gives itself away there.
async fn is_clustered(connection: &mut MultiplexedConnection) -> RedisResult<bool> {
    let hello: RedisResult<HashMap<String, Value>> = redis::cmd("HELLO").query_async(connection).await;
    match hello {
        Ok(hello) => {
            if let Some(mode) = hello.get("mode") {
                return Ok(String::from_redis_value_ref(mode)? == "cluster");
            }
        }
        Err(error) if is_answer(&error) => {}
        Err(error) => return Err(error),
    }
    let info: RedisResult<String> = redis::cmd("INFO").arg("cluster").query_async(connection).await;
    match info {
        Ok(info) => Ok(info.lines().any(|line| line.trim() == "cluster_enabled:1")),
        Err(error) if is_answer(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether the server has answered, though not as it was asked.
fn is_answer(error: &RedisError) -> bool {
    match error.kind() {
        ErrorKind::Server(ServerErrorKind::BusyLoading) => false,
        ErrorKind::Server(_) | ErrorKind::Extension | ErrorKind::UnexpectedReturnType | ErrorKind::Parse => {
            true
        }
        _ => false,
    }
}

impl Connection {
    /// Leaves a contribution where it is greater than what is there, and gives what was there before, for each of its
    /// buckets.
    pub(super) async fn exchange(&self, writer: &str, contribution: &Contribution) -> RedisResult<Vec<Held>> {
        let holder = keys::holder(&contribution.holder);
        let at_once = match self {
            Connection::One(_) => contribution.counts.len().max(1),
            Connection::Cluster(_) => 1,
        };
        let some = |counts: &[Count]| {
            let buckets = counts.iter().map(|count| keys::bucket(&holder, count.bucket)).collect::<Vec<_>>();
            let mut args = vec![writer.to_owned()];
            for count in counts {
                let expires_at = keys::expires_at(count.bucket).map_or(0, |at| at.0);
                args.push(count.used.cost.0.max(0).to_string());
                args.extend([count.used.tokens, expires_at].map(|number| number.to_string()));
            }
            async move { self.run::<Vec<Held>>(&EXCHANGE, &buckets, &args).await }
        };
        let held = try_join_all(contribution.counts.chunks(at_once).map(some)).await?;
        Ok(held.into_iter().flatten().collect())
    }

    /// Says which run counts under the writer's name, unless another does.
    pub(super) async fn claim(&self, run: &Run) -> RedisResult<Result<(), Twin>> {
        if !run.lasts {
            return Ok(Ok(()));
        }
        let mut args = vec![run.writer.clone(), run.id.clone(), run.place.clone(), ENDED_MS.to_string()];
        args.extend_from_slice(&run.earlier);
        let held: Option<(String, u32)> =
            match self.run::<Value>(&CLAIM, &[keys::RUNS.to_owned()], &args).await? {
                Value::Nil => None,
                Value::Array(parts) if parts.is_empty() => None,
                held => Some(redis::from_redis_value(held)?),
            };
        Ok(match held {
            None => Ok(()),
            Some((id, may_have_ended)) => Err(Twin::of(run, &id, may_have_ended == 1)),
        })
    }

    /// Says that this instance is there. How many are, how many of them have just said so, and the marker.
    pub(super) async fn heartbeat(&self, writer: &str, marker: &str) -> RedisResult<((u32, u32), String)> {
        let instances = [keys::INSTANCES.to_owned()];
        let args = [writer.to_owned(), ABSENCE_MS.to_string(), SILENCE_MS.to_string()];
        let (markers, marker) = ([keys::MARKER.to_owned()], [marker.to_owned()]);
        try_join(self.run(&HEARTBEAT, &instances, &args), self.run(&MARK, &markers, &marker)).await
    }

    /// Does once all that will be asked, so that a user of Redis that may not do some of it is found out at once and
    /// not with the first session.
    pub(super) async fn rehearse(&self, writer: &str) -> RedisResult<()> {
        for kind in ["text", "hash"] {
            let probe = [format!("{}:{kind}:{writer}", keys::PROBE)];
            self.run::<i64>(&REHEARSE, &probe, &[kind.to_owned()]).await?;
        }
        let probe = [format!("{}:hash:{writer}", keys::PROBE)];
        self.run::<Vec<Held>>(&EXCHANGE, &probe, &[writer, "0", "0", "0"].map(String::from)).await?;
        self.read_changes("$", None).await?;
        self.publish(writer, "[]").await
    }

    /// Adds to the stream of settings.
    pub(super) async fn publish(&self, writer: &str, changes: &str) -> RedisResult<()> {
        let mut add = redis::cmd("XADD");
        add.arg(keys::CHANGE_FEED).arg("MAXLEN").arg("~").arg(CHANGES_MAX).arg("*");
        add.arg("from").arg(writer).arg("facts").arg(changes);
        self.ask(&add).await
    }

    /// What was added to that stream after `after`, waiting for it up to `patience`, if there is any.
    pub(super) async fn read_changes(&self, after: &str, patience: Option<Duration>) -> RedisResult<Value> {
        let mut read = redis::cmd("XREAD");
        read.arg("COUNT").arg(500);
        if let Some(patience) = patience {
            read.arg("BLOCK").arg(patience.as_millis() as u64);
        }
        read.arg("STREAMS").arg(keys::CHANGE_FEED).arg(after);
        self.ask(&read).await
    }

    /// Runs a script by its name, and says it whole to one that has not heard it: `SCRIPT LOAD` would be one more
    /// command that a user must be allowed.
    async fn run<T: FromRedisValue>(
        &self,
        program: &Program,
        keys: &[String],
        args: &[String],
    ) -> RedisResult<T> {
        let question = |verb: &str, program: &str| {
            let mut question = redis::cmd(verb);
            question.arg(program).arg(keys.len()).arg(keys).arg(args);
            question
        };
        match self.ask(&question("EVALSHA", &program.name)).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                self.ask(&question("EVAL", program.text)).await
            }
            answer => answer,
        }
    }

    async fn ask<T: FromRedisValue>(&self, question: &Cmd) -> RedisResult<T> {
        match self {
            Connection::One(connection) => question.query_async(&mut connection.clone()).await,
            Connection::Cluster(nodes) => Ok(redis::from_redis_value(nodes.ask(question).await?)?),
        }
    }
}

/// For operators: what is wrong, and how to mend it. What the crate says holds no password.
pub(super) fn describe(error: &RedisError) -> String {
    match error.kind() {
        ErrorKind::AuthenticationFailed => {
            "Redis does not take the user and password in store.redis_uri".into()
        }
        ErrorKind::Server(ServerErrorKind::Moved | ServerErrorKind::CrossSlot) => format!(
            "Redis is a node of a cluster and does not say so: let the user in store.redis_uri run HELLO or \
             INFO ({error})"
        ),
        ErrorKind::Server(ServerErrorKind::ReadOnly) => {
            format!("store.redis_uri names a replica, which takes no writes; name the primary ({error})")
        }
        _ if error.is_timeout() => format!("Redis did not answer within {} ms", super::DEADLINE.as_millis()),
        _ if is_forbidden(error) => {
            format!(
                "Redis does not let the user in store.redis_uri do what tokenist needs: {error}; {NEEDED}"
            )
        }
        _ if error.to_string().contains("nknown") => {
            format!(
                "Redis does not know what tokenist needs: {error}; Redis 5 or later does, and no Sentinel"
            )
        }
        _ => format!("Redis: {error}"),
    }
}

/// What README lists as well.
const NEEDED: &str = "the rights it needs are `~tokenist:* +@connection +evalsha +eval +time +hgetall +hget +hset \
                      +hdel +pexpireat +set +get +xadd +xread`, in a cluster `+cluster|slots` too";

/// A script that runs into what its user may not do has failed in words that differ by version.
fn is_forbidden(error: &RedisError) -> bool {
    let text = error.to_string();
    error.kind() == ErrorKind::Server(ServerErrorKind::NoPerm)
        || ["NOPERM", "NOAUTH", "ACL failure", "can't run this command", "can't access at least one"]
            .iter()
            .any(|part| text.contains(part))
}
