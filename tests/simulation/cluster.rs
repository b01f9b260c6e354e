//! What instances tell each other by way of Redis: what they have counted and what was set. It is away, forgets, and
//! answers late or twice.

use crate::amount::Amount;
use crate::cast::{self, key_index, who};
use crate::plant::Plant;
use crate::process::Process;
use crate::story::tell;
use crate::world::World;
use std::sync::Arc;
use std::time::Duration;
use tokenist_control::cluster::ClusterEvent;
use tokenist_control::setting::SettingUpdate;
use tokenist_core::cluster::{Contribution, PeerTotals, Writer};
use tokenist_core::id::{Holder, Identity};
use tokenist_handoff::{Admission, Report};

type Told = Vec<(Holder, Vec<PeerTotals>)>;

impl Process {
    /// It goes on without the peers, or has done so until shortly before.
    pub(crate) fn is_lost_or_partitioned(&self) -> bool {
        let ledger = self.aggregator.ledger();
        let slots = (0..).map_while(|index| ledger.slot_at(index));
        self.is_lost || slots.into_iter().any(|slot| ledger.record(slot).account_state().refuses_new)
    }
}

impl World {
    /// Instances meet, where there are several.
    pub(crate) fn meet(&mut self, at: usize) {
        if self.process(at).courier.is_some() && self.chance.once_in(2) {
            return self.send_courier(at);
        }
        if !self.shape.is_cluster() {
            return;
        }
        match self.chance.below(16) {
            0..6 => self.exchange(at),
            6..11 => drop(self.receive(at)),
            11..13 => self.tell_and_listen(at),
            13 => self.lose_or_find(at),
            14 if self.chance.once_in(3) => self.forget_redis(),
            15 if self.chance.once_in(2) => self.go_away_or_come_back(),
            _ => {}
        }
    }

    /// A round goes out, if one is due, and takes effect. Its answer comes late, twice, or never.
    fn exchange(&mut self, at: usize) {
        let Some(round) = self.next_round(at) else { return };
        if self.redis.is_away {
            return self.lose(at, "exchange: Redis is away");
        }
        match self.chance.below(20) {
            0 => self.lose(at, "exchange: question lost"),
            1 => {
                self.leave_round(at, &round);
                self.lose(at, "exchange: answer lost");
            }
            2 => {
                // Asked again, because the first answer was slow.
                self.leave_round(at, &round);
                let told = self.leave_round(at, &round);
                self.process_mut(at).events.push_back(ClusterEvent::PeerTotals(told));
                self.coverage.note("exchange: asked twice");
            }
            _ => {
                let told = self.leave_round(at, &round);
                self.process_mut(at).events.push_back(ClusterEvent::PeerTotals(told));
                self.coverage.note("exchange: answered");
            }
        }
    }

    pub(crate) fn next_round(&mut self, at: usize) -> Option<Vec<Contribution>> {
        let (now, age) = (self.ledger_now(at), self.age(at));
        let process = self.process_mut(at);
        process.aggregator.exchange(age, now);
        process.line.as_mut()?.rounds.try_recv().ok()
    }

    pub(crate) fn leave_round(&mut self, at: usize, round: &[Contribution]) -> Told {
        let name = self.instances[at].name.clone();
        let mut told = self.redis.exchange(&name, round);
        if self.plant == Plant::PeerTwice {
            for totals in told.iter_mut().flat_map(|(_, totals)| totals) {
                let again = totals.peers.first().map(|(_, used)| (Writer("a ghost".into()), *used));
                totals.peers.extend(again);
            }
        }
        told
    }

    pub(crate) fn lose(&mut self, at: usize, why: &'static str) {
        self.coverage.note(why);
        let process = self.process_mut(at);
        process.is_lost = true;
        process.events.push_back(ClusterEvent::Lost(why.into()));
    }

    /// The next event arrives.
    fn receive(&mut self, at: usize) -> bool {
        let now = self.ledger_now(at);
        let Some(event) = self.process_mut(at).events.pop_front() else { return false };
        self.forget_merged(at);
        if let ClusterEvent::PeerTotals(told) = &event {
            let instance = &mut self.instances[at];
            let process = instance.process.as_ref().expect("it runs");
            for (holder, totals) in told {
                if process.aggregator.ledger().find(holder).is_none() {
                    continue;
                }
                let of = who(holder);
                for PeerTotals { bucket, peers, .. } in totals {
                    let names = peers.iter().filter(|(writer, _)| *writer != Writer("a ghost".into()));
                    names.for_each(|(writer, used)| {
                        instance.books.merge(of, *bucket, writer, Amount::used(*used));
                    });
                }
            }
        }
        self.process_mut(at).aggregator.cluster_event(event, now);
        true
    }

    pub(crate) fn receive_all(&mut self, at: usize) {
        while self.receive(at) {}
    }

    /// What was set here goes to the peers, and what they have set comes.
    fn tell_and_listen(&mut self, at: usize) {
        if self.process(at).is_lost || self.redis.is_away {
            return;
        }
        let process = self.process_mut(at);
        let told: Vec<SettingUpdate> = process
            .line
            .as_mut()
            .map(|line| std::iter::from_fn(|| line.updates.try_recv().ok()).collect())
            .unwrap_or_default();
        told.into_iter().for_each(|update| self.redis.tell(at, update));
        let mut cursor = self.process(at).read_upto;
        let updates = self.redis.listen(at, &mut cursor);
        self.process_mut(at).read_upto = cursor;
        self.adopt(at, updates);
    }

    /// What others have set holds here, too, where it is later.
    pub(crate) fn adopt(&mut self, at: usize, updates: Vec<SettingUpdate>) {
        if updates.is_empty() {
            return;
        }
        self.coverage.note("settings of others are adopted");
        tell(|| format!("{updates:?}"));
        for update in &updates {
            let books = &mut self.instances[at].books;
            match update {
                SettingUpdate::Holder(state) => books.join(who(&state.holder), state),
                SettingUpdate::Key(key) => books.join_key(key_index(&key.value.hash), key),
                SettingUpdate::Entry(_) => {}
            }
        }
        let now = self.ledger_now(at);
        self.process_mut(at).aggregator.adopt(updates, now);
        self.forget_merged(at);
    }

    fn lose_or_find(&mut self, at: usize) {
        if !self.process(at).is_lost {
            self.lose(at, "exchange: connection lost");
        } else if !self.redis.is_away {
            self.coverage.note("exchange: found");
            self.find_redis(at);
        }
    }

    /// All that was left there is gone. Whoever is in touch finds another marker.
    fn forget_redis(&mut self) {
        self.coverage.note("Redis forgets");
        self.redis.forget();
        for at in self.running() {
            let process = self.process_mut(at);
            if !process.is_lost {
                process.events.push_back(ClusterEvent::Found);
            }
        }
    }

    fn go_away_or_come_back(&mut self) {
        self.redis.is_away = !self.redis.is_away;
        self.coverage.note(if self.redis.is_away { "Redis goes away" } else { "Redis is back" });
    }

    /// All instances are in touch, all that is on its way arrives, and all is merged.
    pub(crate) fn settle_cluster(&mut self) {
        self.redis.is_away = false;
        for at in self.running() {
            self.receive_all(at);
            if self.process(at).is_lost {
                self.find_redis(at);
            }
        }
        self.round_trips();
        // Old buckets that were left late are read now and then: first those are left, then they are read, a minute later if the
        // question that was to leave them was lost.
        for _ in 0..3 {
            self.use_all();
            self.round_trips();
        }
    }

    /// Whoever is not in use is not exchanged.
    fn use_all(&mut self) {
        self.wall = self.wall.plus_ms(61_000);
        self.elapsed += Duration::from_millis(61_000);
        for at in self.running() {
            for user in 0..cast::USER_COUNT {
                let identity = Arc::new(Identity {
                    org: Some(cast::org(user % cast::ORG_COUNT)),
                    feature: Some(cast::feature(user % cast::FEATURE_COUNT)),
                    ..Identity::of(cast::user(user))
                });
                let (now, admission) = (self.ledger_now(at), Admission::Identity(identity));
                let admit = Report::Admit { shard: 0, ticket: u64::MAX, admission };
                self.process_mut(at).aggregator.report(admit, now);
            }
        }
    }

    fn round_trips(&mut self) {
        // Those that were partitioned wait for each other for some seconds.
        for _ in 0..6 {
            self.wall = self.wall.plus_ms(1_001);
            self.elapsed += Duration::from_millis(1_001);
            for at in self.running() {
                self.tell_and_listen(at);
            }
            for at in self.running() {
                self.apply_some(at, usize::MAX);
                self.tick(at);
                self.receive_all(at);
                if let Some(round) = self.next_round(at) {
                    let told = self.leave_round(at, &round);
                    self.process_mut(at).events.push_back(ClusterEvent::PeerTotals(told));
                    self.receive_all(at);
                }
                // Nobody has to be told: they look at their accounts.
                for shard in &self.process(at).shards {
                    shard.mailbox.drain().for_each(drop);
                }
            }
        }
    }
}
