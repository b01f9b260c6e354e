//! A limit holds over several instances that meet at one Redis, whatever becomes of that Redis.
//!
//! Every instance has a ledger file of its own; some clusters share one MongoDB besides. Every response in these tests counts [`TURN`] tokens, so limits, totals and
//! overshoots are told in responses.

mod reckon;

use reckon::{MODEL, audited, booked};
use serde_json::{Value, json};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tokenist_core::usage::Usage;
use tokenist_kit::{
    Client, Handshake, Heard, Mongo, PATIENCE, Provider, Redis, Scratch, Tokenist, eventually,
};

/// The tokens of one response.
const TURN: u64 = 1_000;
const SHAPE: &str = "chunks=0,audio_in=0,audio_out=0,image_in=0,text_in=900,text_out=100";
/// Between two exchanges of a holder in use.
const BEAT: Duration = Duration::from_secs(1);

struct Cluster {
    provider: Provider,
    redis_uri: String,
    settings: Vec<(&'static str, String)>,
    instances: Vec<Tokenist>,
}

impl Cluster {
    /// So many instances, once they all know of each other.
    fn start(redis: &Redis, count: usize, turns_max: u64, more: &[(&'static str, String)]) -> Cluster {
        let mut settings = vec![
            ("limits.max_cost_usd", "-1".to_owned()),
            ("limits.max_total_tokens", (turns_max * TURN).to_string()),
            ("limits.window", "total".to_owned()),
            ("metering.estimate", "off".to_owned()),
            ("proxy.shard_count", "1".to_owned()),
            ("proxy.pin", "false".to_owned()),
            ("admission.refuse", "close".to_owned()),
        ];
        settings.extend_from_slice(more);
        let provider = Provider::start(&[]);
        let mut cluster = Cluster { provider, redis_uri: redis.uri(), settings, instances: Vec::new() };
        cluster.instances = (0..count).map(|_| cluster.one_more()).collect();
        for instance in &cluster.instances {
            let look = || instance.metric("tokenist_instances");
            assert_eq!(eventually(PATIENCE, look, |known| *known == Some(count as f64)), Some(count as f64));
        }
        cluster
    }

    fn one_more(&self) -> Tokenist {
        let mut settings: Vec<(&str, &str)> =
            self.settings.iter().map(|(key, value)| (*key, value.as_str())).collect();
        settings.push(("store.redis_uri", &self.redis_uri));
        Tokenist::start(&self.provider.origin(), &settings)
    }

    /// What all instances have booked for a user, in responses.
    fn booked(&self, user: &str) -> u64 {
        let sum = |instance| booked(instance, user).values().map(|bill| bill.tokens() as u64).sum::<u64>();
        self.instances.iter().map(sum).sum::<u64>() / TURN
    }

    /// Waits until every instance tells operators what all of them have booked, which takes a MongoDB between them.
    #[track_caller]
    fn tell_of_all(&self, user: &str) {
        for instance in &self.instances {
            let look = || {
                let view = instance.get(&format!("/admin/users/{user}/usage?period=total"));
                view["usage"]["totalTokens"].as_u64().map(|tokens| tokens / TURN)
            };
            let all = Some(self.booked(user));
            assert_eq!(eventually(3 * PATIENCE, look, |told| *told == all), all, "{user}");
        }
    }

    /// Waits until the ledgers of all instances together hold what the provider delivered: every count of it.
    #[track_caller]
    fn agree(&self, user: &str) -> u64 {
        let look = || {
            let mut total = Usage::default();
            for instance in &self.instances {
                booked(instance, user).into_values().for_each(|bill| total += bill.usage);
            }
            (total, audited(&self.provider, user).get(MODEL).map(|bill| bill.usage).unwrap_or_default())
        };
        let (booked, audited) = eventually(PATIENCE, look, |(booked, audited)| booked == audited);
        assert_eq!(booked, audited, "the ledgers (left) and the provider (right) do not agree about {user}");
        booked.total_tokens() / TURN
    }

    fn await_redis(&self, is_failing: bool) {
        for instance in &self.instances {
            let look = || instance.get("/health")["redisFailing"].as_bool();
            assert_eq!(eventually(PATIENCE, look, |told| *told == Some(is_failing)), Some(is_failing));
            let failure = instance.get("/health")["redisFailure"].clone();
            assert_eq!(failure.is_string(), is_failing, "{failure}");
        }
    }
}

/// The settings of instances that share a MongoDB.
fn sharing(mongo: &Mongo, database: &str) -> Vec<(&'static str, String)> {
    vec![
        ("store.kind", "mongodb".to_owned()),
        ("store.mongodb_uri", mongo.uri()),
        ("store.mongodb_db", database.to_owned()),
    ]
}

/// A session under the provider's audit.
fn session(instance: &Tokenist, user: &str) -> Client {
    let handshake = Handshake::of(user).parameter(&format!("audit={user}"));
    Client::open(instance.listen, &handshake).expect("an answer in WebSocket terms")
}

/// The code of the `error` event and the close that a session ends with.
#[track_caller]
fn end(client: &mut Client) -> (String, u16) {
    let (events, close) = client.hear_out();
    let code = events.last().map(|event| event["error"]["code"].as_str().unwrap_or_default().to_owned());
    (code.unwrap_or_default(), close.map_or(0, |(code, _)| code))
}

/// Turns until the proxy closes; how many responses were delivered, and with which code it closed.
fn use_up(client: &mut Client, pause: Duration) -> (u64, u16) {
    let mut turns = 0;
    loop {
        match client.turn(SHAPE) {
            Ok(_) => turns += 1,
            Err(Heard::Close { code, .. }) => {
                client.close(code, "");
                client.hear_out();
                return (turns, code);
            }
            Err(end) => panic!("a session ended with {end:?} after {:?}", client.events.last()),
        }
        thread::sleep(pause);
    }
}

/// Sessions of one user on all instances run into the limit together. What was delivered, and how long it took.
fn race(cluster: &Cluster, user: &str, sessions: usize, pause: Duration) -> (u64, Duration) {
    let all = sessions * cluster.instances.len();
    let start = Barrier::new(all + 1);
    thread::scope(|scope| {
        let runs: Vec<_> = (0..all)
            .map(|index| {
                let (start, instance) = (&start, &cluster.instances[index % cluster.instances.len()]);
                scope.spawn(move || {
                    let mut client = session(instance, user);
                    let hello = client.hear_until("session.created");
                    start.wait();
                    hello.expect("a session");
                    use_up(&mut client, pause)
                })
            })
            .collect();
        start.wait();
        let began = Instant::now();
        let ends: Vec<_> =
            runs.into_iter().map(|run| run.join().expect("a session ran to its end")).collect();
        assert!(ends.iter().all(|&(_, code)| code == 4004), "{ends:?}");
        (ends.iter().map(|&(turns, _)| turns).sum(), began.elapsed())
    })
}

/// Delivered beyond a limit is at most the response that crosses it on each instance, and what the cluster delivers
/// until the instances have heard of each other: within one exchange, or a beat where it spends far more than before.
#[track_caller]
fn check_overshoot(what: &str, limit: u64, instances: usize, delivered: u64, took: Duration) {
    let rate = delivered as f64 / took.as_secs_f64();
    let bound = instances as f64 + rate * BEAT.as_secs_f64();
    let overshoot = delivered as f64 - limit as f64;
    eprintln!(
        "{what}: {instances} instances, {rate:.0} responses a second, limit {limit}: {overshoot} past it; \
         the bound is {bound:.0}, and {:.0} for exchanges of 20 ms",
        instances as f64 + rate * 0.02
    );
    assert!(overshoot >= 0.0, "{what}: refused {} short of the limit", -overshoot);
    assert!(overshoot <= bound, "{what}");
    assert!(
        overshoot < limit as f64 / 2.0,
        "{what}: instances that know nothing of each other use it up once each"
    );
}

fn cross(redis: &Redis, instances: usize, limit: u64, more: &[(&'static str, String)]) -> Cluster {
    let cluster = Cluster::start(redis, instances, limit, more);
    let (delivered, took) = race(&cluster, "alice", 8, Duration::from_millis(15));
    check_overshoot("under load", limit, instances, delivered, took);
    // What was read is booked, withheld or not; what was not read when sessions were cut is at most one for each.
    let booked = eventually(PATIENCE, || cluster.booked("alice"), |&booked| booked >= delivered);
    let audited = audited(&cluster.provider, "alice")[MODEL].tokens() as u64 / TURN;
    assert!(delivered <= booked && booked <= audited, "{delivered} {booked} {audited}");
    assert!(audited - booked <= 8 * instances as u64, "{booked} {audited}");
    // An instance that was not there refuses whoever is over the limit, from the first question on.
    let late = cluster.one_more();
    assert_eq!(end(&mut session(&late, "alice")), ("token_limit_reached".into(), 4004));
    session(&late, "bob").hear_until("session.created").expect("bob is not meant");
    cluster
}

#[test]
fn a_limit_crossed_under_load_on_two_instances_and_on_three_stops_them_all() {
    let redis = Redis::start();
    cross(&redis, 2, 800, &[]);
    cross(&Redis::start(), 3, 800, &[]);
}

#[test]
fn a_limit_stops_instances_that_share_a_mongodb_as_well_and_each_tells_of_all() {
    let mongo = Mongo::start();
    for instances in [2, 3] {
        let cluster = cross(&Redis::start(), instances, 800, &sharing(&mongo, &mongo.database()));
        cluster.tell_of_all("alice");
    }
}

#[test]
fn a_cluster_holds_limits_as_well() {
    cross(&Redis::cluster(), 2, 300, &[]);
}

#[test]
fn a_redis_that_stops_restarts_empty_and_is_cut_off_changes_no_total_and_refuses_nobody_wrongly() {
    outlive_redis(&[]);
}

#[test]
fn so_it_is_where_a_mongodb_is_shared_as_well() {
    let mongo = Mongo::start();
    let cluster = outlive_redis(&sharing(&mongo, &mongo.database()));
    cluster.tell_of_all("bob");
}

/// A limit is used up at an even pace while Redis is killed and comes back: nobody is refused before, and no more passes
/// it than where Redis stays.
#[test]
fn a_redis_that_is_killed_and_back_under_load_refuses_nobody_early_and_lets_nobody_far_past() {
    for (limit, killed_after) in [(700, Duration::from_secs(1)), (1_200, Duration::from_secs(4))] {
        let mut redis = Redis::start();
        let cluster = Cluster::start(&redis, 2, limit, &[]);
        thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(killed_after);
                redis.kill();
                thread::sleep(Duration::from_secs(3));
                redis.restart();
            });
            let (delivered, took) = race(&cluster, "alice", 4, Duration::from_millis(40));
            check_overshoot("killed and back", limit, 2, delivered, took);
        });
        cluster.await_redis(false);
    }
}

#[test]
fn a_copy_of_a_ledger_does_not_count_beside_it_and_a_restart_need_not_wait() {
    let (redis, scratch) = (Redis::start(), Scratch::new());
    let provider = Provider::start(&[]);
    let [original, copied] = ["original", "copied"].map(|name| scratch.path().join(name));
    let settings = |path: &std::path::Path| {
        [("store.path", path.to_str().unwrap().to_owned()), ("store.redis_uri", redis.uri())]
    };
    fn borrowed<'a>(settings: &'a [(&'static str, String); 2]) -> Vec<(&'a str, &'a str)> {
        settings.iter().map(|(key, value)| (*key, value.as_str())).collect()
    }
    let (here, there) = (settings(&original), settings(&copied));
    let mut tokenist = Tokenist::start(&provider.origin(), &borrowed(&here));
    session(&tokenist, "alice").turn(SHAPE).expect("a response");
    std::fs::create_dir(&copied).unwrap();
    for name in ["ledger.sqlite3", "ledger.sqlite3-wal"] {
        std::fs::copy(original.join(name), copied.join(name)).unwrap();
    }
    let (_, said) = Tokenist::refused(&provider.origin(), &borrowed(&there));
    assert!(said.contains("a copy or a backup") && said.contains("store.path"), "{said}");
    // The same folder goes on at once, though Redis has just heard of the run before.
    tokenist.kill();
    let again = Tokenist::start(&provider.origin(), &borrowed(&here));
    assert_eq!(again.get("/health")["redisFailing"], false);
    let output = again.leave();
    assert!(!output.contains("waiting for the run"), "{output}");
    let (_, said) = Tokenist::refused(&provider.origin(), &borrowed(&there));
    assert!(said.contains("a copy or a backup"), "{said}");
}

fn outlive_redis(more: &[(&'static str, String)]) -> Cluster {
    const LIMIT: u64 = 100_000;
    let mut redis = Redis::start();
    let cluster = Cluster::start(&redis, 3, LIMIT, more);
    let (is_over, turns) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        for index in 0..9 {
            let (instance, is_over, turns) = (&cluster.instances[index % 3], &is_over, &turns);
            scope.spawn(move || {
                // Sessions come and go all the time, and none is refused or ended.
                while !is_over.load(Ordering::Relaxed) {
                    let mut client = session(instance, "bob");
                    for _ in 0..10 {
                        client.turn(SHAPE).expect("far from the limit");
                        turns.fetch_add(1, Ordering::Relaxed);
                        thread::sleep(Duration::from_millis(10));
                    }
                    client.leave();
                }
            });
        }
        thread::sleep(Duration::from_millis(500));
        redis.stop();
        cluster.await_redis(true);
        thread::sleep(Duration::from_millis(500));
        redis.restart();
        cluster.await_redis(false);
        redis.restart();
        thread::sleep(Duration::from_millis(300));
        redis.pause();
        cluster.await_redis(true);
        thread::sleep(Duration::from_millis(500));
        redis.resume();
        cluster.await_redis(false);
        is_over.store(true, Ordering::Relaxed);
    });
    let total = cluster.agree("bob");
    assert_eq!(total, turns.into_inner());

    // All instances know all of it again: the rest can be used up, and no more.
    let limit = total + 200;
    let raised = json!({"maxTotalTokens": limit * TURN, "window": "total"});
    assert_eq!(cluster.instances[1].post("/admin/users/bob/threshold", &raised).status, 200);
    let look = || cluster.instances.iter().all(|instance| limit_of(instance, "bob") == Some(limit));
    assert!(eventually(PATIENCE, look, |&all| all), "a limit set on one holds on all");
    let (delivered, took) = race(&cluster, "bob", 3, Duration::from_millis(15));
    check_overshoot("after it was away", 200, 3, delivered, took);
    cluster
}

fn limit_of(instance: &Tokenist, user: &str) -> Option<u64> {
    instance.get(&format!("/admin/users/{user}/usage"))["threshold"]["maxTotalTokens"]
        .as_u64()
        .map(|max| max / TURN)
}

/// Uses some of a limit, takes Redis away, and uses up what each instance still allows: how much that was, on each.
fn without_redis(policy: &str) -> (Vec<u64>, u64, Cluster, Redis) {
    const LIMIT: u64 = 110;
    let mut redis = Redis::start();
    let cluster = Cluster::start(&redis, 2, LIMIT, &[("limits.on_redis_down", policy.to_owned())]);
    let mut clients: Vec<_> = cluster.instances.iter().map(|instance| session(instance, "alice")).collect();
    for client in &mut clients {
        (0..5).for_each(|_| drop(client.turn(SHAPE).expect("under the limit")));
    }
    // Both know of all ten, as they go on to exchange whoever is in use.
    thread::sleep(2 * BEAT + BEAT / 2);
    redis.stop();
    cluster.await_redis(true);
    let used = clients.iter_mut().map(|client| {
        let (turns, code) = use_up(client, Duration::ZERO);
        assert_eq!(code, 4004);
        turns
    });
    let used: Vec<u64> = used.collect();
    (used, LIMIT - 10, cluster, redis)
}

/// Redis is back: what is left of the limit is allowed again, and no more.
#[track_caller]
fn use_up_the_rest(cluster: &Cluster, redis: &mut Redis, left: u64) {
    redis.restart();
    cluster.await_redis(false);
    let look = || session(&cluster.instances[0], "alice").hear_until("session.created").is_ok();
    match left {
        0 => assert!(!look(), "the limit is used up"),
        _ => {
            assert!(eventually(PATIENCE, look, |&let_in| let_in), "let in again");
            let (turns, _) = use_up(&mut session(&cluster.instances[0], "alice"), Duration::ZERO);
            assert!((left..=left + 2).contains(&turns), "{turns} of {left}");
        }
    }
}

#[test]
fn without_redis_each_instance_has_its_part_of_what_was_left() {
    let (used, left, cluster, mut redis) = without_redis("local_share");
    eprintln!("local_share: {used:?} of {left}");
    assert!(used.iter().all(|&used| used == left / 2), "{used:?} of {left}");
    use_up_the_rest(&cluster, &mut redis, 0);
}

#[test]
fn without_redis_a_limit_that_allows_binds_each_instance_by_what_it_knows() {
    let (used, left, cluster, mut redis) = without_redis("allow");
    eprintln!("allow: {used:?} of {left}");
    assert!(used.iter().all(|&used| used == left), "{used:?} of {left}");
    use_up_the_rest(&cluster, &mut redis, 0);
}

#[test]
fn without_redis_a_limit_that_refuses_lets_nobody_in_until_it_is_back() {
    let mut redis = Redis::start();
    let cluster = Cluster::start(&redis, 2, 100, &[("limits.on_redis_down", "refuse".to_owned())]);
    let mut live = session(&cluster.instances[0], "alice");
    live.turn(SHAPE).expect("under the limit");
    redis.stop();
    cluster.await_redis(true);
    for instance in &cluster.instances {
        assert_eq!(end(&mut session(instance, "alice")), ("limit_unsure".into(), 4503));
        assert_eq!(end(&mut session(instance, "bob")), ("limit_unsure".into(), 4503));
    }
    let (turns, code) = use_up(&mut live, Duration::ZERO);
    assert_eq!(code, 4004, "a live session has its instance's part");
    assert!((45..=50).contains(&turns), "{turns}");
    use_up_the_rest(&cluster, &mut redis, 100 - 1 - turns);
}

#[test]
fn a_block_on_one_instance_closes_sessions_on_the_others() {
    let redis = Redis::start();
    spread_blocks(&Cluster::start(&redis, 3, 1_000, &[]));
}

#[test]
fn a_block_spreads_as_fast_where_a_mongodb_is_shared_as_well() {
    let (redis, mongo) = (Redis::start(), Mongo::start());
    spread_blocks(&Cluster::start(&redis, 3, 1_000, &sharing(&mongo, &mongo.database())));
}

fn spread_blocks(cluster: &Cluster) {
    let mut slowest = Duration::ZERO;
    for round in 0..10 {
        let user = format!("user-{round}");
        let mut clients: Vec<_> = cluster.instances.iter().map(|instance| session(instance, &user)).collect();
        for client in &mut clients {
            client.turn(SHAPE).expect("a response");
        }
        let blocked = Instant::now();
        let answer = cluster.instances[round % 3]
            .post(&format!("/admin/users/{user}/block"), &json!({"reason": "abuse"}));
        assert_eq!(answer.status, 200, "{answer:?}");
        for client in &mut clients {
            assert_eq!(end(client), ("user_blocked".into(), 4003));
        }
        slowest = slowest.max(blocked.elapsed());
        for instance in &cluster.instances {
            let entry = instance.get(&format!("/admin/users/{user}/usage"))["blocked"].clone();
            assert_eq!(entry, Value::Bool(true));
        }
    }
    eprintln!("a block on one instance closed all sessions on three within {slowest:?}");
    assert!(slowest < Duration::from_secs(1));
}

#[test]
fn what_is_wrong_with_redis_is_told_without_its_password() {
    let redis = Redis::start();
    let provider = Provider::start(&[]);
    let uri = redis.uri().replace("redis://", "redis://operator:very-secret-password@");
    let tokenist = Tokenist::start(&provider.origin(), &[("store.redis_uri", &uri)]);
    let health = tokenist.get("/health");
    assert_eq!((&health["redisFailing"], &health["status"]), (&json!(true), &json!("degraded")));
    assert!(health["redisFailure"].as_str().unwrap().contains("Redis"), "{health}");
    assert_eq!(tokenist.metric("tokenist_redis_failing"), Some(1.0));
    session(&tokenist, "alice").turn(SHAPE).expect("it serves all the same");
    let output = tokenist.logged("(set)@");
    assert!(!output.contains("very-secret") && !health.to_string().contains("very-secret"));

    let (_, said) = Tokenist::refused(&provider.origin(), &[("store.redis_uri", "rediss://:very-secret@h")]);
    assert!(said.contains("store.redis_uri") && !said.contains("very-secret"), "{said}");
}
