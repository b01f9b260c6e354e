//! Two control planes and a real Redis: what one counts and sets, the other knows.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use tokenist_control::clock::system_time as now;
use tokenist_control::prices::Prices;
use tokenist_control::store::{Memory, memory};
use tokenist_control::{Config, Control, cluster, start};
use tokenist_core::id::{Identity, SessionId};
use tokenist_core::ledger;
use tokenist_core::limit::{Block, Limit, OnRedisDown, WindowKind};
use tokenist_core::message::Delta;
use tokenist_core::money::NanoUsd;
use tokenist_core::price::PriceTable;
use tokenist_core::usage::Usage;
use tokenist_handoff::{Admission, Admitted, Answer, Charge, Mailbox, Order, Report, mailbox};
use tokenist_kit::{PATIENCE, Redis};

struct Plane {
    control: Control,
    mailbox: Mailbox<Order>,
}

impl Plane {
    fn start(redis: &Redis, limit: &Limit) -> Plane {
        Plane::start_with(redis, limit, 1)
    }

    fn start_with(redis: &Redis, limit: &Limit, instances_min: u32) -> Plane {
        Plane::start_at(redis.uri(), limit, instances_min)
    }

    fn start_at(uri: String, limit: &Limit, instances_min: u32) -> Plane {
        let (sender, mailbox) = mailbox(64).unwrap();
        let config = Config {
            ledger: ledger::Config { default_limit: limit.clone(), ..ledger::Config::default() },
            cluster: Some(cluster::Config { uri, instances_min }),
            ..Config::default()
        };
        let store = Box::new(Memory::new(memory::Config::default()));
        let prices = Arc::new(Prices::new(PriceTable::builtin()));
        Plane { control: start(config, store, vec![sender], prices).unwrap(), mailbox }
    }

    fn admit(&self, name: &str) -> Admitted {
        self.admit_all(&[name.to_owned()]).remove(0)
    }

    fn admit_all(&self, names: &[String]) -> Vec<Admitted> {
        for (name, ticket) in names.iter().zip(0..) {
            let admission = Admission::Identity(identity(name));
            self.control.reports.send(Report::Admit { shard: 0, ticket, admission }).unwrap();
        }
        let mut admitted = BTreeMap::new();
        eventually(|| {
            for order in self.mailbox.drain() {
                match order {
                    Order::Admission { ticket, answer: Answer::Admitted(one) } => {
                        admitted.insert(ticket, one);
                    }
                    Order::Sweep => {}
                    other => panic!("{other:?}"),
                }
            }
            (admitted.len() == names.len()).then_some(())
        });
        admitted.into_values().collect()
    }

    /// What a shard does for a metered response.
    fn charge(&self, admitted: &Admitted, nano: i64) {
        admitted.user.charge(Charge { cost: NanoUsd(nano), tokens: 1 });
        self.control.reports.send(Report::Charged(delta(admitted.user_id.as_str(), nano), None)).unwrap();
    }

    fn await_redis(&self, is_failing: bool) {
        eventually(|| {
            let stats = wait(self.control.handle.stats()).unwrap();
            assert_eq!(stats.redis_failing, stats.redis_failure.is_some());
            (stats.redis_failing == is_failing).then_some(())
        });
    }

    fn await_instances(&self, count: u32) {
        eventually(|| (wait(self.control.handle.stats()).unwrap().instances == Some(count)).then_some(()));
    }
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

#[track_caller]
fn eventually<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "it did not happen within {PATIENCE:?}");
        thread::sleep(Duration::from_millis(1));
    }
}

fn identity(name: &str) -> Arc<Identity> {
    Arc::new(Identity::of(name.into()))
}

fn delta(name: &str, nano: i64) -> Delta {
    Delta {
        at: now(),
        session: SessionId(1),
        identity: identity(name),
        provider: "openai".into(),
        model: "gpt-realtime".into(),
        usage: Usage { text_in: 1, requests: 1, ..Usage::default() },
        cost: NanoUsd(nano),
        estimated: false,
        latency_ms: None,
    }
}

fn cost_limit(nano: i64, window: WindowKind) -> Limit {
    Limit { max_cost: Some(NanoUsd(nano)), window, ..Limit::default() }
}

fn used(admitted: &Admitted) -> i64 {
    admitted.user.used().cost.0
}

fn spend_and_see(redis: &Redis, window: WindowKind) {
    spend_and_see_at(&redis.uri(), window);
}

fn spend_and_see_at(uri: &str, window: WindowKind) {
    let limit = cost_limit(100, window);
    let start = || Plane::start_at(uri.to_owned(), &limit, 1);
    let (one, other) = (start(), start());
    let (here, there) = (one.admit("alice"), other.admit("alice"));
    one.charge(&here, 60);
    eventually(|| (used(&there) == 60).then_some(()));
    other.charge(&there, 40);
    eventually(|| here.user.reached().then_some(()));
    assert_eq!((used(&here), used(&there)), (100, 100));
    // One that begins now knows before it lets anybody in.
    let late = start();
    assert!(late.admit("alice").user.reached());
    assert_eq!(used(&late.admit("bob")), 0);
}

/// What a user has to be allowed, as README lists it.
const NEEDED: [&str; 12] = [
    "evalsha",
    "eval",
    "time",
    "hgetall",
    "hget",
    "hset",
    "hdel",
    "pexpireat",
    "set",
    "get",
    "xadd",
    "xread",
];

fn rights(commands: &[&str]) -> String {
    let commands: Vec<String> = commands.iter().map(|command| format!("+{command}")).collect();
    format!("~tokenist:* +@connection {}", commands.join(" "))
}

#[test]
fn a_redis_that_refuses_or_does_not_know_what_is_not_needed_serves_as_well() {
    for rights in ["~* &* +@all -@dangerous".to_owned(), rights(&NEEDED)] {
        let redis = Redis::start();
        spend_and_see_at(&redis.allow("careful", &rights), WindowKind::Monthly);
    }
    let plain = Redis::without(&["INFO", "HELLO", "CLIENT", "CONFIG", "SCRIPT"]);
    spend_and_see(&plain, WindowKind::Rolling24h);
}

#[test]
fn a_user_who_may_not_do_what_is_needed_is_told_so_from_the_start() {
    let redis = Redis::start();
    for refused in NEEDED {
        let others: Vec<&str> = NEEDED.into_iter().filter(|command| *command != refused).collect();
        let uri = redis.allow("almost", &rights(&others));
        // As long as Redis knows the scripts by name, nobody misses the right to say them.
        redis::cmd("SCRIPT").arg("FLUSH").exec(&mut client(&redis)).unwrap();
        let plane = Plane::start_at(uri, &cost_limit(100, WindowKind::Daily), 1);
        let stats = wait(plane.control.handle.stats()).unwrap();
        let said = stats.redis_failure.unwrap_or_else(|| panic!("without {refused} it is taken for good"));
        assert!(stats.redis_failing && said.contains(&format!("'{refused}'")), "{refused}: {said}");
        plane.admit("alice");
    }
}

fn client(redis: &Redis) -> redis::Connection {
    redis::Client::open(redis.uri()).unwrap().get_connection().unwrap()
}

#[test]
fn a_slot_that_moves_between_nodes_is_no_loss() {
    let [from, to] = Redis::cluster_of_two();
    let limit = cost_limit(1_000, WindowKind::Rolling24h);
    let (one, other) = (Plane::start(&from, &limit), Plane::start(&from, &limit));
    let (here, there) = (one.admit("alice"), other.admit("alice"));
    let key = format!("tokenist:{{{ALICE}}}:rolling:0");
    let mut sum = 0;
    let mut spend_and_see = |what: &str| {
        for _ in 0..3 {
            sum += 10;
            one.charge(&here, 10);
            eventually(|| {
                let stats = wait(other.control.handle.stats()).unwrap();
                assert_eq!(stats.redis_failure, None, "{what}");
                (used(&there) == sum).then_some(())
            });
        }
    };
    spend_and_see("before");
    from.begin_move(&key, &to);
    spend_and_see("in between");
    // Whoever comes now asks for all of a day, of which nearly nothing is on either side.
    let late = Plane::start(&from, &limit);
    let third = late.admit("alice");
    eventually(|| (used(&third) == 60).then_some(()));
    assert_eq!(wait(late.control.handle.stats()).unwrap().redis_failure, None);
    from.end_move(&key, &to);
    spend_and_see("after");
}

/// Alice's part of her keys, as `cluster/keys.rs` makes it.
const ALICE: &str = "user:83b85c8712dd7234acbd5211dec0b961";

#[test]
fn what_one_counts_takes_room_on_the_others() {
    let redis = Redis::start();
    for window in WindowKind::ALL {
        spend_and_see(&redis, window);
    }
}

#[test]
fn a_cluster_serves_as_well() {
    let redis = Redis::cluster();
    spend_and_see(&redis, WindowKind::Monthly);
    spend_and_see(&redis, WindowKind::Rolling24h);
}

#[test]
fn a_redis_that_restarts_empty_gives_nobody_anything_back() {
    let mut redis = Redis::start();
    let limit = cost_limit(100, WindowKind::Daily);
    let (one, other) = (Plane::start(&redis, &limit), Plane::start(&redis, &limit));
    let (here, there) = (one.admit("alice"), other.admit("alice"));
    one.charge(&here, 50);
    other.charge(&there, 30);
    eventually(|| (used(&here) == 80 && used(&there) == 80).then_some(()));
    redis.restart();
    [&one, &other].iter().for_each(|plane| plane.await_redis(false));
    // Both leave what they have counted there again, also of somebody who is not in use.
    let late = Plane::start(&redis, &limit);
    let third = late.admit("alice");
    eventually(|| (used(&third) == 80).then_some(()));
    late.charge(&third, 20);
    eventually(|| (here.user.reached() && there.user.reached()).then_some(()));
    assert_eq!((used(&here), used(&there), used(&third)), (100, 100, 100));
}

#[test]
fn what_an_instance_had_told_that_is_gone_is_told_again_by_those_who_heard() {
    let mut redis = Redis::start();
    let limit = cost_limit(100, WindowKind::Monthly);
    let (one, other) = (Plane::start(&redis, &limit), Plane::start(&redis, &limit));
    let (here, there) = (one.admit("alice"), other.admit("alice"));
    one.charge(&here, 40);
    other.charge(&there, 30);
    eventually(|| (used(&here) == 70 && used(&there) == 70).then_some(()));
    one.control.thread.finish().unwrap();
    redis.restart();
    other.await_redis(false);
    let late = Plane::start(&redis, &limit);
    let third = late.admit("alice");
    eventually(|| (used(&third) == 70).then_some(()));
    late.charge(&third, 30);
    eventually(|| there.user.reached().then_some(()));
    assert_eq!((used(&there), used(&third)), (100, 100));
}

#[test]
fn a_redis_that_is_cut_off_leaves_each_its_part_and_then_the_rest() {
    for (on_redis_down, left, refuses_new) in [
        (OnRedisDown::LocalShare, 40, false),
        (OnRedisDown::Allow, 80, false),
        (OnRedisDown::Refuse, 40, true),
    ] {
        let redis = Redis::start();
        let limit = Limit { on_redis_down, ..cost_limit(100, WindowKind::Total) };
        let planes = [(); 2].map(|()| Plane::start(&redis, &limit));
        planes.iter().for_each(|plane| plane.await_instances(2));
        let [here, there] = planes.each_ref().map(|plane| plane.admit("alice"));
        planes[0].charge(&here, 20);
        eventually(|| (used(&here) == 20 && used(&there) == 20).then_some(()));
        redis.pause();
        planes.iter().for_each(|plane| plane.await_redis(true));
        for (plane, admitted) in planes.iter().zip([&here, &there]) {
            eventually(|| {
                (admitted.user.cost.ceiling() - admitted.user.cost.charged() == left).then_some(())
            });
            assert_eq!(admitted.user.state().refuses_new, refuses_new);
            // Nobody waits for a Redis that is away.
            plane.admit("bob");
            plane.charge(admitted, 5);
        }
        redis.resume();
        for admitted in [&here, &there] {
            eventually(|| (used(admitted) == 30 && !admitted.user.state().refuses_new).then_some(()));
        }
    }
}

#[test]
fn without_a_redis_at_the_start_an_instance_goes_on_with_its_part() {
    let mut redis = Redis::start();
    redis.stop();
    let plane = Plane::start_with(&redis, &cost_limit(100, WindowKind::Daily), 4);
    let admitted = plane.admit("alice");
    assert_eq!(admitted.user.cost.ceiling(), 25);
    assert!(wait(plane.control.handle.stats()).unwrap().redis_failing);
    redis.restart();
    eventually(|| (admitted.user.cost.ceiling() == 100).then_some(()));
    plane.await_redis(false);
    plane.await_instances(4);
}

#[test]
fn what_is_set_on_one_holds_on_the_others_at_once_and_on_those_that_missed_it() {
    let redis = Redis::start();
    let limit = cost_limit(100, WindowKind::Daily);
    let (one, other) = (Plane::start(&redis, &limit), Plane::start(&redis, &limit));
    let there = other.admit("alice");
    // Others may write there whatever they like.
    let client = redis::Client::open(redis.uri()).unwrap();
    let mut connection = client.get_connection().unwrap();
    for (field, value) in
        [("facts", "no JSON"), ("facts", "[{\"moon\":1}]"), ("mars", "[]"), ("facts", "\u{0}")]
    {
        let mut add = redis::cmd("XADD");
        add.arg("tokenist:{fleet}:news").arg("*").arg(field).arg(value);
        add.exec(&mut connection).unwrap();
    }
    let block = Block { reason: Some("abuse".into()), blocked_at: now(), expires_at: None };
    let asked = Instant::now();
    wait(one.control.handle.block("alice".into(), block.clone())).unwrap();
    eventually(|| there.user.reached().then_some(()));
    eprintln!("a block reached the other instance after {:?}", asked.elapsed());
    assert_eq!(there.user.state().block, Some(block));
    wait(other.control.handle.unblock("alice".into())).unwrap();
    wait(one.control.handle.set_limit("alice".into(), cost_limit(0, WindowKind::Total))).unwrap();
    eventually(|| (there.user.state().limit == cost_limit(0, WindowKind::Total)).then_some(()));
    let late = Plane::start(&redis, &limit);
    eventually(|| {
        let view = wait(late.control.handle.user("alice".into(), None)).unwrap()?;
        (view.limit == cost_limit(0, WindowKind::Total) && view.block.is_none()).then_some(())
    });
}

#[test]
fn a_setting_made_while_redis_was_away_is_told_when_it_is_back() {
    let mut redis = Redis::start();
    let (one, other) = (Plane::start(&redis, &Limit::default()), Plane::start(&redis, &Limit::default()));
    let there = other.admit("alice");
    redis.stop();
    [&one, &other].iter().for_each(|plane| plane.await_redis(true));
    let block = Block { reason: None, blocked_at: now(), expires_at: None };
    wait(one.control.handle.block("alice".into(), block)).unwrap();
    redis.restart();
    eventually(|| there.user.reached().then_some(()));
}

#[test]
fn thousands_in_use_are_exchanged_within_a_beat_or_two() {
    const USERS: usize = 3_000;
    let redis = Redis::start();
    let limit = cost_limit(1_000, WindowKind::Monthly);
    let (one, other) = (Plane::start(&redis, &limit), Plane::start(&redis, &limit));
    let names: Vec<String> = (0..USERS).map(|number| format!("user-{number}")).collect();
    let [here, there] = [&one, &other].map(|plane| plane.admit_all(&names));
    let started = Instant::now();
    here.iter().for_each(|admitted| one.charge(admitted, 7));
    eventually(|| there.iter().all(|admitted| used(admitted) == 7).then_some(()));
    eprintln!("{USERS} holders were exchanged after {:?}", started.elapsed());
}
