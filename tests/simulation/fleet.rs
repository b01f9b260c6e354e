//! What instances tell each other by way of Redis: what they have counted and what was set. It is away, forgets, and
//! answers late or twice.

use crate::amount::Amount;
use crate::cast::{self, key_index, who};
use crate::plant::Plant;
use crate::process::Process;
use crate::world::World;
use std::sync::Arc;
use std::time::Duration;
use tokenist_control::fact::Fact;
use tokenist_control::fleet::Word;
use tokenist_core::fleet::{Heard, Share, Writer};
use tokenist_core::id::{Holder, Identity};
use tokenist_handoff::{Admission, Report};

type Told = Vec<(Holder, Vec<Heard>)>;

impl Process {
    /// It goes on without the others, or has done so until shortly before.
    pub(crate) fn is_lost_or_apart(&self) -> bool {
        let ledger = self.aggregator.ledger();
        let places = (0..).map_while(|index| ledger.place_at(index));
        self.is_lost || places.into_iter().any(|place| ledger.record(place).account_state().refuses_new)
    }
}

impl World {
    /// Instances meet, where there are several.
    pub(crate) fn meet(&mut self, at: usize) {
        if self.process(at).courier.is_some() && self.chance.once_in(2) {
            return self.send_courier(at);
        }
        if !self.shape.is_fleet() {
            return;
        }
        match self.chance.below(16) {
            0..6 => self.exchange(at),
            6..11 => drop(self.hear(at)),
            11..13 => self.tell_and_listen(at),
            13 => self.lose_or_find(at),
            14 if self.chance.once_in(3) => self.forget_place(),
            15 if self.chance.once_in(2) => self.go_away_or_come_back(),
            _ => {}
        }
    }

    /// A round goes out, if one is due, and takes effect. Its answer comes late, twice, or never.
    fn exchange(&mut self, at: usize) {
        let Some(round) = self.next_round(at) else { return };
        if self.place.is_away {
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
                self.process_mut(at).words.push_back(Word::Heard(told));
                self.coverage.note("exchange: asked twice");
            }
            _ => {
                let told = self.leave_round(at, &round);
                self.process_mut(at).words.push_back(Word::Heard(told));
                self.coverage.note("exchange: answered");
            }
        }
    }

    fn next_round(&mut self, at: usize) -> Option<Vec<Share>> {
        let (now, age) = (self.ledger_now(at), self.age(at));
        let process = self.process_mut(at);
        process.aggregator.exchange(age, now);
        process.line.as_mut()?.rounds.try_recv().ok()
    }

    fn leave_round(&mut self, at: usize, round: &[Share]) -> Told {
        let name = self.instances[at].name.clone();
        let mut told = self.place.exchange(&name, round);
        if self.plant == Plant::PeerTwice {
            for heard in told.iter_mut().flat_map(|(_, heard)| heard) {
                let again = heard.others.first().map(|(_, used)| (Writer("a ghost".into()), *used));
                heard.others.extend(again);
            }
        }
        told
    }

    fn lose(&mut self, at: usize, why: &'static str) {
        self.coverage.note(why);
        let process = self.process_mut(at);
        process.is_lost = true;
        process.words.push_back(Word::Lost(why.into()));
    }

    /// The next word arrives.
    fn hear(&mut self, at: usize) -> bool {
        let now = self.ledger_now(at);
        let Some(word) = self.process_mut(at).words.pop_front() else { return false };
        self.forget_heard(at);
        if let Word::Heard(told) = &word {
            let instance = &mut self.instances[at];
            let process = instance.process.as_ref().expect("it runs");
            for (holder, heard) in told {
                if process.aggregator.ledger().find(holder).is_none() {
                    continue;
                }
                let of = who(holder);
                for Heard { cell, others, .. } in heard {
                    let names = others.iter().filter(|(writer, _)| *writer != Writer("a ghost".into()));
                    names.for_each(|(writer, used)| {
                        instance.books.hear(of, *cell, writer, Amount::used(*used));
                    });
                }
            }
        }
        self.process_mut(at).aggregator.word(word, now);
        true
    }

    pub(crate) fn hear_all(&mut self, at: usize) {
        while self.hear(at) {}
    }

    /// What was set here goes to the others, and what they have set comes.
    fn tell_and_listen(&mut self, at: usize) {
        if self.process(at).is_lost || self.place.is_away {
            return;
        }
        let process = self.process_mut(at);
        let told: Vec<Fact> = process
            .line
            .as_mut()
            .map(|line| std::iter::from_fn(|| line.facts.try_recv().ok()).collect())
            .unwrap_or_default();
        told.into_iter().for_each(|fact| self.place.tell(at, fact));
        let mut cursor = self.process(at).heard_upto;
        let facts = self.place.listen(at, &mut cursor);
        self.process_mut(at).heard_upto = cursor;
        self.adopt(at, facts);
    }

    /// What others have set holds here, too, where it is later.
    pub(crate) fn adopt(&mut self, at: usize, facts: Vec<Fact>) {
        if facts.is_empty() {
            return;
        }
        self.coverage.note("settings of others are adopted");
        for fact in &facts {
            let books = &mut self.instances[at].books;
            match fact {
                Fact::Holder(state) => books.join(who(&state.holder), state),
                Fact::Key(key) => books.join_key(key_index(&key.value.hash), key),
                Fact::Entry(_) => {}
            }
        }
        let now = self.ledger_now(at);
        self.process_mut(at).aggregator.adopt(facts, now);
        self.forget_heard(at);
    }

    fn lose_or_find(&mut self, at: usize) {
        if !self.process(at).is_lost {
            self.lose(at, "exchange: connection lost");
        } else if !self.place.is_away {
            self.coverage.note("exchange: found");
            self.find_place(at);
        }
    }

    /// All that was left there is gone. Whoever is in touch finds another marker.
    fn forget_place(&mut self) {
        self.coverage.note("Redis forgets");
        self.place.forget();
        for at in self.running() {
            let process = self.process_mut(at);
            if !process.is_lost {
                process.words.push_back(Word::Found);
            }
        }
    }

    fn go_away_or_come_back(&mut self) {
        self.place.is_away = !self.place.is_away;
        self.coverage.note(if self.place.is_away { "Redis goes away" } else { "Redis is back" });
    }

    /// All instances are in touch, all that is on its way arrives, and all is heard.
    pub(crate) fn settle_fleet(&mut self) {
        self.place.is_away = false;
        for at in self.running() {
            self.hear_all(at);
            if self.process(at).is_lost {
                self.find_place(at);
            }
        }
        self.round_trips();
        // Old cells that were left late are read now and then: first those are left, then they are read.
        for _ in 0..2 {
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
        // Those who were apart wait for each other for some seconds.
        for _ in 0..6 {
            self.wall = self.wall.plus_ms(1_001);
            self.elapsed += Duration::from_millis(1_001);
            for at in self.running() {
                self.tell_and_listen(at);
            }
            for at in self.running() {
                self.apply_some(at, usize::MAX);
                self.tick(at);
                self.hear_all(at);
                if let Some(round) = self.next_round(at) {
                    let told = self.leave_round(at, &round);
                    self.process_mut(at).words.push_back(Word::Heard(told));
                    self.hear_all(at);
                }
                // Nobody has to be told: they look at their accounts.
                for shard in &self.process(at).shards {
                    shard.mailbox.drain().for_each(drop);
                }
            }
        }
    }
}
