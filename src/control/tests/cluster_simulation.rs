//! Several aggregators and the Redis where they exchange, under one virtual clock: answers come late, are lost before
//! or after they took effect, and Redis forgets everything.
//!
//! In a second test all spend at an even pace while Redis is lost and found: nobody is refused before the limit is
//! used up but for what the cluster spends in a sync interval, and no more passes it. In a third an instance is gone
//! for good together with what Redis held: those that had merged it tell it again.
//!
//! After every step of the first: no instance believes that more was used than was, so nobody is refused wrongly.
//! Once all is merged: every instance believes exactly what was used. While no peer reaches another: all together use
//! no more than what was left, but for the event that crosses on each. Afterwards the rest can be used up, and no
//! more.
//!
//! A failing seed is printed; `TOKENIST_SEED=… cargo test -p tokenist-control --test cluster_simulation` runs it alone.

mod chance;

use chance::{Random, Seed, seeds};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokenist_control::Aggregator;
use tokenist_control::cluster::{ClusterEvent, Line, link};
use tokenist_core::cluster::{Contribution, PeerTotals, Writer};
use tokenist_core::id::{Holder, Identity, SessionId};
use tokenist_core::ledger::{Config, Ledger};
use tokenist_core::limit::{Limit, WindowKind};
use tokenist_core::message::Delta;
use tokenist_core::money::NanoUsd;
use tokenist_core::time::{DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, Timestamp};
use tokenist_core::usage::Usage;
use tokenist_core::verdict::Used;
use tokenist_core::window::{BUCKET_MS, WindowBucket};
use tokenist_handoff::{Admission, Admitted, Answer, Charge, Mailbox, Order, Report, mailbox};

/// 2026-11-30T21:00:00Z: three hours from the end of a day and a month.
const START: Timestamp = Timestamp(1_796_072_400_000);
const USERS: [&str; 3] = ["alice", "bob", "carol"];
const INSTANCES: usize = 3;
const STEPS: usize = 2_000;
/// Between two events of each instance while all spend.
const STEP_MS: u64 = 10;
const LIMIT: i64 = 100_000;
const EVENT_MAX: i64 = 100;
const ALL_THERE: ClusterEvent =
    ClusterEvent::Instances { count: INSTANCES as u32, present: INSTANCES as u32 };

#[test]
fn instances_know_what_all_have_used_and_share_what_is_left_when_they_cannot() {
    for seed in seeds(0..12) {
        let _told = Seed(seed);
        for window in WindowKind::ALL {
            let mut sim = Sim::new(seed, window);
            for _ in 0..STEPS {
                sim.step();
                sim.check_nobody_believes_too_much();
            }
            sim.settle();
            sim.check_all_know();
            sim.part_and_use_up();
            sim.settle();
            sim.check_all_know();
            sim.use_up_together();
        }
    }
}

#[test]
fn a_redis_that_is_lost_and_found_under_load_refuses_nobody_early_and_lets_nobody_far_past() {
    for seed in seeds(0..6) {
        let _told = Seed(seed);
        for window in WindowKind::ALL {
            for (lost_ms, found_ms) in
                [(1_000, 4_000), (4_000, 7_000), (300, 900), (2_500, 30_000), (5_500, 5_600)]
            {
                Sim::new(seed, window).rush(lost_ms, found_ms);
            }
        }
    }
}

#[test]
fn what_an_instance_had_told_that_is_gone_is_told_again_by_those_that_merged_it() {
    for seed in seeds(0..6) {
        let _told = Seed(seed);
        for window in WindowKind::ALL {
            let mut sim = Sim::new(seed, window);
            for _ in 0..200 {
                let (instance, user) = (sim.random.below(3) as usize, sim.random.below(3) as usize);
                sim.spend(instance, user);
                sim.now = sim.now.plus_ms(sim.random.below(MINUTE_MS));
            }
            sim.settle();
            sim.check_all_know();
            let limit = Limit { max_cost: Some(NanoUsd(LIMIT)), window, ..Limit::default() };
            sim.instances[0] = Instance::new("late", limit);
            sim.forget();
            sim.settle();
            sim.check_all_know();
        }
    }
}

/// By holder, bucket and instance.
type Redis = HashMap<(Holder, WindowBucket), HashMap<Writer, Used>>;

struct Sim {
    random: Random,
    window: WindowKind,
    now: Timestamp,
    redis: Redis,
    instances: Vec<Instance>,
    /// Who used how much when.
    used: Vec<(usize, Timestamp, i64)>,
}

struct Instance {
    name: Writer,
    aggregator: Aggregator,
    line: Line,
    mailbox: Mailbox<Order>,
    admitted: Vec<Admitted>,
    kept: VecDeque<Report>,
    is_lost: bool,
    /// Words on their way, in order.
    events: VecDeque<ClusterEvent>,
}

impl Instance {
    fn new(name: &str, limit: Limit) -> Instance {
        let config = Config { default_limit: limit, in_cluster: true, ..Config::default() };
        let (sender, mailbox) = mailbox(16).unwrap();
        let mut aggregator =
            Aggregator::new(Ledger::new(config, START), 100, vec![sender], Arc::default(), None);
        let (link, line) = link(INSTANCES as u32);
        aggregator.join(link);
        // No peer is merged yet, so nobody has to wait.
        let admitted = (0..USERS.len()).map(|user| {
            let admission = Admission::Identity(identity(user));
            aggregator.report(Report::Admit { shard: 0, ticket: 0, admission }, START);
            match mailbox.drain().next() {
                Some(Order::Admission { answer: Answer::Admitted(admitted), .. }) => admitted,
                other => panic!("{other:?}"),
            }
        });
        let admitted = admitted.collect();
        aggregator.cluster_event(ALL_THERE, START);
        aggregator.cluster_event(ClusterEvent::Found, START);
        let (kept, events) = (VecDeque::new(), VecDeque::new());
        let name = Writer(name.into());
        Instance { name, aggregator, line, mailbox, admitted, kept, is_lost: false, events }
    }
}

impl Sim {
    fn new(seed: u64, window: WindowKind) -> Sim {
        let limit = Limit { max_cost: Some(NanoUsd(LIMIT)), window, ..Limit::default() };
        Sim {
            random: Random(seed),
            window,
            now: START,
            redis: Redis::new(),
            instances: ["a", "b", "c"].map(|name| Instance::new(name, limit.clone())).into(),
            used: Vec::new(),
        }
    }

    fn step(&mut self) {
        let instance = self.random.below(INSTANCES as u64) as usize;
        match self.random.below(100) {
            0..45 => {
                let user = self.random.below(USERS.len() as u64) as usize;
                self.spend(instance, user);
            }
            45..60 => self.aggregate(instance),
            60..75 => self.exchange(instance),
            75..88 => self.receive(instance),
            88..91 => self.lose_or_find(instance),
            91..92 => self.forget(),
            92..99 => {
                let span = [SECOND_MS, MINUTE_MS, 20 * MINUTE_MS][self.random.below(3) as usize];
                self.now = self.now.plus_ms(self.random.below(span));
            }
            _ => self.now = self.now.plus_ms(self.random.below(10 * HOUR_MS)),
        }
    }

    /// An event passes on an instance, if the account allows any.
    fn spend(&mut self, instance: usize, user: usize) -> bool {
        let at = self.now;
        let Instance { admitted, kept, .. } = &mut self.instances[instance];
        if admitted[user].user.reached() {
            return false;
        }
        let nano = 1 + self.random.below(EVENT_MAX as u64) as i64;
        admitted[user].user.charge(Charge { cost: NanoUsd(nano), tokens: 1 });
        self.used.push((user, at, nano));
        kept.push_back(Report::Charged(delta(user, nano, at), None));
        true
    }

    fn aggregate(&mut self, instance: usize) {
        let Instance { aggregator, kept, .. } = &mut self.instances[instance];
        for report in kept.drain(..) {
            aggregator.report(report, self.now);
        }
        aggregator.tick(self.now);
        aggregator.publish();
    }

    fn elapsed(&self) -> Duration {
        Duration::from_millis(self.now.since(START))
    }

    /// A round goes out and takes effect. Its answer is late, or never.
    fn exchange(&mut self, instance: usize) {
        let (elapsed, now) = (self.elapsed(), self.now);
        let Instance { name, aggregator, line, .. } = &mut self.instances[instance];
        aggregator.exchange(elapsed, now);
        let Ok(round) = line.rounds.try_recv() else { return };
        let fault = self.random.below(20);
        let event = match fault {
            0 => ClusterEvent::Lost("the question was lost".into()),
            1 => {
                leave(&mut self.redis, name, &round);
                ClusterEvent::Lost("the answer was lost".into())
            }
            _ => ClusterEvent::PeerTotals(leave(&mut self.redis, name, &round)),
        };
        let Instance { events, is_lost, .. } = &mut self.instances[instance];
        *is_lost |= fault < 2;
        events.push_back(event);
    }

    fn receive(&mut self, instance: usize) {
        let Instance { aggregator, events, .. } = &mut self.instances[instance];
        if let Some(event) = events.pop_front() {
            aggregator.cluster_event(event, self.now);
        }
    }

    fn lose_or_find(&mut self, instance: usize) {
        let Instance { is_lost, events, .. } = &mut self.instances[instance];
        *is_lost = !*is_lost;
        match *is_lost {
            true => events.push_back(ClusterEvent::Lost("gone".into())),
            false => events.extend([ALL_THERE, ClusterEvent::Found]),
        }
    }

    /// Redis loses all it held. Everybody who is in touch finds another marker there.
    fn forget(&mut self) {
        self.redis.clear();
        for instance in self.instances.iter_mut().filter(|instance| !instance.is_lost) {
            instance.events.push_back(ClusterEvent::Found);
        }
    }

    /// Everything that is on its way arrives, and all is merged.
    fn settle(&mut self) {
        for instance in &mut self.instances {
            if std::mem::take(&mut instance.is_lost) {
                instance.events.extend([ALL_THERE, ClusterEvent::Found]);
            }
        }
        self.round_trips();
        // Whoever is not in use is not exchanged, and old buckets that were left late are read now and then.
        self.now = self.now.plus_ms(61_000);
        for instance in &mut self.instances {
            for user in 0..USERS.len() {
                let admission = Admission::Identity(identity(user));
                instance.aggregator.report(Report::Admit { shard: 0, ticket: 0, admission }, self.now);
            }
        }
        self.round_trips();
    }

    fn round_trips(&mut self) {
        for _ in 0..4 {
            self.now = self.now.plus_ms(1_001);
            self.round_trip();
        }
    }

    /// Every instance applies, exchanges without fault, and merges.
    fn round_trip(&mut self) {
        for instance in 0..INSTANCES {
            self.aggregate(instance);
            let Instance { name, aggregator, line, events, .. } = &mut self.instances[instance];
            for event in events.drain(..) {
                aggregator.cluster_event(event, self.now);
            }
            let elapsed = Duration::from_millis(self.now.since(START));
            aggregator.exchange(elapsed, self.now);
            if let Ok(round) = line.rounds.try_recv() {
                let totals = leave(&mut self.redis, name, &round);
                aggregator.cluster_event(ClusterEvent::PeerTotals(totals), self.now);
            }
            // Nobody has to be told: they look at their accounts.
            self.instances[instance].mailbox.drain().for_each(drop);
        }
    }

    /// No peer can be reached: what was left is used up in parts.
    fn part_and_use_up(&mut self) {
        let left: Vec<i64> = (0..USERS.len()).map(|user| (LIMIT - self.sum(user)).max(0)).collect();
        for instance in &mut self.instances {
            instance.is_lost = true;
            instance.aggregator.cluster_event(ClusterEvent::Lost("gone".into()), self.now);
        }
        let before: Vec<i64> = (0..USERS.len()).map(|user| self.sum(user)).collect();
        for instance in 0..INSTANCES {
            for (user, &left) in left.iter().enumerate() {
                let before = self.sum(user);
                while self.spend(instance, user) {}
                let part = self.sum(user) - before;
                assert!(part <= left / INSTANCES as i64 + EVENT_MAX, "{part} of {left} is no part");
                assert!(part >= left / INSTANCES as i64, "{part} of {left} is less than a part");
            }
        }
        for (user, left) in left.into_iter().enumerate() {
            let overshoot = self.sum(user) - before[user] - left;
            assert!(overshoot <= INSTANCES as i64 * EVENT_MAX, "{overshoot} past what was left");
        }
    }

    /// Everybody spends on one user until nobody may any more, while Redis is away from `lost_ms` to `found_ms`.
    fn rush(&mut self, lost_ms: u64, found_ms: u64) {
        const ALICE: usize = 0;
        self.round_trips();
        let begin = self.now;
        let (lost_at, found_at) = (begin.plus_ms(lost_ms), begin.plus_ms(found_ms));
        let phases: Vec<u64> = (0..INSTANCES).map(|_| self.random.below(SECOND_MS / STEP_MS)).collect();
        let mut first_refused = None;
        let mut steps = 0;
        // A while after the limit, or whatever each believes to be left of it, is used up: grace and all.
        while self.now < found_at.plus_ms(15 * SECOND_MS) {
            for (instance, phase) in phases.iter().enumerate() {
                if !self.spend(instance, ALICE) {
                    first_refused.get_or_insert_with(|| self.sum(ALICE));
                }
                self.aggregate(instance);
                self.receive(instance);
                let is_away = self.now >= lost_at && self.now < found_at;
                let is_sync = (steps + phase).is_multiple_of(SECOND_MS / STEP_MS);
                self.trade(instance, is_away, is_sync);
            }
            self.now = self.now.plus_ms(STEP_MS);
            steps += 1;
        }
        let sync_interval = INSTANCES as i64 * EVENT_MAX / 2 * (SECOND_MS / STEP_MS) as i64;
        let (first, total) = (first_refused.expect("a limit is reached"), self.sum(ALICE));
        assert!(first >= LIMIT - sync_interval, "refused with {first} of {LIMIT} used; {lost_ms} {found_ms}");
        assert!(total >= LIMIT, "refused with {total} of {LIMIT} used; {lost_ms} {found_ms}");
        assert!(total <= LIMIT + sync_interval, "{total} of {LIMIT}; {lost_ms} {found_ms}");
    }

    /// What an instance exchanges in a moment, and what it finds out about Redis.
    fn trade(&mut self, instance: usize, is_away: bool, is_sync: bool) {
        let (elapsed, now) = (self.elapsed(), self.now);
        let present = self.instances.iter().filter(|instance| !instance.is_lost).count() as u32;
        let Instance { name, aggregator, line, events, is_lost, .. } = &mut self.instances[instance];
        aggregator.exchange(elapsed, now);
        let round = line.rounds.try_recv().ok();
        match (is_away, *is_lost) {
            (true, false) if is_sync || round.is_some() => {
                *is_lost = true;
                events.push_back(ClusterEvent::Lost("gone".into()));
            }
            (false, true) if self.random.below(20) == 0 => {
                *is_lost = false;
                events.push_back(ClusterEvent::Instances { count: INSTANCES as u32, present: present + 1 });
                events.push_back(ClusterEvent::Found);
            }
            (false, false) => {
                events.extend(
                    round.map(|round| ClusterEvent::PeerTotals(leave(&mut self.redis, name, &round))),
                );
                events
                    .extend(is_sync.then_some(ClusterEvent::Instances { count: INSTANCES as u32, present }));
            }
            _ => {}
        }
    }

    /// They exchange after every event, and the limit is met by all of them together.
    fn use_up_together(&mut self) {
        self.now = self.now.next_month_start().next_day_start();
        self.settle();
        let total = |sim: &Sim, user: usize| sim.sum(user);
        for user in 0..USERS.len() {
            let before = total(self, user);
            loop {
                let spent = (0..INSTANCES).filter(|&instance| self.spend(instance, user)).count();
                self.now = self.now.plus_ms(10);
                self.round_trip();
                if spent == 0 {
                    break;
                }
            }
            let after = total(self, user);
            assert!(after >= LIMIT, "refused with {after} of {LIMIT} used");
            let overshoot = after - LIMIT.max(before);
            assert!(overshoot <= 2 * INSTANCES as i64 * EVENT_MAX, "{overshoot} past the limit");
        }
    }

    fn sum(&self, user: usize) -> i64 {
        let now = self.now;
        let counts = |at: Timestamp| match self.window {
            WindowKind::Daily => at >= now.day_start(),
            WindowKind::Monthly => at >= now.month_start(),
            WindowKind::Rolling24h => at.0 / BUCKET_MS + DAY_MS / BUCKET_MS >= now.0 / BUCKET_MS,
            WindowKind::Total => true,
        };
        self.used.iter().filter(|&&(of, at, _)| of == user && counts(at)).map(|&(_, _, nano)| nano).sum()
    }

    /// What an instance believes that all have used, as of now.
    fn believed(&mut self, instance: usize, user: usize) -> i64 {
        let Instance { aggregator, .. } = &mut self.instances[instance];
        aggregator.tick(self.now);
        let ledger = aggregator.ledger();
        let slot = ledger.find(&Holder::User(USERS[user].into())).unwrap();
        ledger.record(slot).counted().cost.0
    }

    fn check_nobody_believes_too_much(&mut self) {
        for instance in 0..INSTANCES {
            for user in 0..USERS.len() {
                let (believed, used) = (self.believed(instance, user), self.sum(user));
                assert!(believed <= used, "{instance} believes {believed} of {used}");
            }
        }
    }

    fn check_all_know(&mut self) {
        for instance in 0..INSTANCES {
            for user in 0..USERS.len() {
                assert_eq!(self.believed(instance, user), self.sum(user), "{instance} {user}");
                let is_over = self.sum(user) >= LIMIT;
                assert_eq!(self.instances[instance].admitted[user].user.reached(), is_over);
            }
        }
    }
}

/// What the script in Redis does.
fn leave(redis: &mut Redis, name: &Writer, round: &[Contribution]) -> Vec<(Holder, Vec<PeerTotals>)> {
    let mut answers = Vec::new();
    for Contribution { holder, of, counts } in round {
        let writer = of.as_ref().unwrap_or(name);
        let mut totals = Vec::new();
        for count in counts {
            let held = redis.entry((holder.clone(), count.bucket)).or_default();
            let own = held.get(writer).copied().unwrap_or_default();
            let peers = held.iter().filter(|(peer, used)| *peer != writer && **used != Used::default());
            let peers = peers.map(|(peer, used)| (peer.clone(), *used)).collect();
            held.insert(writer.clone(), own.join(count.used));
            totals.push(PeerTotals { bucket: count.bucket, peers, own });
        }
        if of.is_none() {
            answers.push((holder.clone(), totals));
        }
    }
    answers
}

fn identity(user: usize) -> Arc<Identity> {
    Arc::new(Identity::of(USERS[user].into()))
}

fn delta(user: usize, nano: i64, at: Timestamp) -> Delta {
    Delta {
        at,
        session: SessionId(1),
        identity: identity(user),
        provider: "openai".into(),
        model: "gpt-realtime".into(),
        usage: Usage { text_in: 1, requests: 1, ..Usage::default() },
        cost: NanoUsd(nano),
        estimated: false,
        latency_ms: None,
    }
}
