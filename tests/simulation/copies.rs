//! What goes to MongoDB and comes from there: counts and settings are copied, those that others set are adopted.

use crate::amount::Amount;
use crate::cast::{self, USER_COUNT};
use crate::world::World;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

impl World {
    /// Something is copied or brought, or happens to the server.
    pub(crate) fn send_courier(&mut self, at: usize) {
        let chance = self.chance.clone();
        self.mongo.be(self.elapsed, Some(chance));
        match self.chance.below(12) {
            0..6 => self.copy(at),
            6..10 => self.bring(at),
            10 => {
                let is_away = !self.mongo.is_away();
                self.mongo.set_away(is_away);
                self.coverage.note(if is_away { "MongoDB goes away" } else { "MongoDB is back" });
            }
            _ => {
                let undone = self.mongo.crash(self.elapsed);
                self.coverage.note(if undone > 0 {
                    "MongoDB forgets what it answered for"
                } else {
                    "MongoDB begins anew"
                });
            }
        }
        self.mongo.be(self.elapsed, None);
    }

    pub(crate) fn instant(&self) -> Instant {
        self.epoch + self.elapsed
    }

    fn copy(&mut self, at: usize) {
        let now = self.instant();
        let courier = self.process_mut(at).courier.as_mut().expect("there is one");
        let copied = courier.copy(now);
        self.coverage.note(if copied.is_ok() { "copied to MongoDB" } else { "copy to MongoDB failed" });
    }

    fn bring(&mut self, at: usize) {
        let courier = self.process_mut(at).courier.as_mut().expect("there is one");
        match courier.changes() {
            Ok(updates) => self.adopt(at, updates),
            Err(_) => self.coverage.note("MongoDB tells no news"),
        }
    }

    /// Everything that waits is copied, and everybody knows what was set.
    pub(crate) fn settle_copies(&mut self) {
        self.mongo.set_away(false);
        // Longer than what was answered for may still be forgotten.
        self.elapsed += Duration::from_secs(60);
        self.mongo.be(self.elapsed, None);
        for _ in 0..2 {
            for at in self.running() {
                let now = self.instant();
                for round in 0.. {
                    assert!(round < 10_000, "copying comes to an end");
                    let courier = self.process_mut(at).courier.as_mut().expect("there is one");
                    if courier.copy(now).expect("nothing is wrong") == 0 {
                        break;
                    }
                }
            }
            for at in self.running() {
                self.bring(at);
                self.finish_process(at);
            }
        }
    }

    /// What MongoDB has is what all have counted, once.
    pub(crate) fn check_copies(&self) {
        let rollups = self.mongo.all("rollups");
        for user in 0..USER_COUNT {
            let name = cast::user(user);
            let of = rollups.iter().filter(|row| row.get_str("user").ok() == Some(name.as_str()));
            let copied: i64 = of.map(|row| row.get_i64("cost_nano").expect("a figure")).sum();
            let kept: Amount = self.instances.iter().map(|one| one.books.kept(user)).sum();
            assert_eq!(copied, kept.nano, "MongoDB has of {name}");
        }
        let events = self.mongo.all("events");
        let numbers: BTreeSet<i64> =
            events.iter().filter_map(|event| event.get_i64("latency_ms").ok()).collect();
        assert_eq!(numbers.len(), events.len(), "an event is there once");
        if !self.shape.adds_up() && self.shape.details_max > 100 {
            let booked = self.instances.iter().flat_map(|one| &one.books.booked);
            let kept: BTreeSet<i64> = booked.filter(|b| !b.is_lost).map(|b| b.number as i64).collect();
            assert_eq!(numbers, kept, "each is there, and no other");
        }
    }
}
