//! Reports on their way to the aggregator, and those that its queue had no room for.
//!
//! Nothing counted is ever lost and order is kept. Up to [`HELD_MAX`] reports wait as they are. Past it the shard takes
//! in no session more, and a session's metered facts are added up in the last of them that waits, so that what is held
//! grows with the sessions there are and not with what they say: their counts stay exact, they are one event instead of
//! several. Accounts are charged before anything is reported, so limits hold all the while.
//!
//! A fact that is in the journal is never added to another: the ledger books a lane in its order and without a gap, so
//! that a kill repeats nothing. How many of these wait the lane's length bounds, and past it there is no room for more.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use tokenist_core::id::SessionId;
use tokenist_core::message::Delta;
use tokenist_handoff::Report;

/// Reports that a shard holds as they are: some 20 MiB, and some seconds of the greatest load.
pub const HELD_MAX: usize = 65_536;

/// Facts of one such span count in the same windows, so that they may be added up. It is the least that windows tell
/// apart.
const SPAN_MS: u64 = 5 * 60 * 1000;

#[derive(Debug)]
pub struct Held {
    /// How many wait as they are.
    as_they_are_max: usize,
    reports: VecDeque<Report>,
    /// How many have left in front.
    left: u64,
    /// Where a session's last fact waits, counted from the first report ever held. Of those that were held since the
    /// bound was reached.
    last: HashMap<SessionId, u64>,
}

/// What became of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    AsItIs,
    /// It was added to another.
    Merged,
}

impl Default for Held {
    fn default() -> Held {
        Held::new(HELD_MAX)
    }
}

impl Held {
    /// So many wait as they are.
    pub fn new(as_they_are_max: usize) -> Held {
        Held { as_they_are_max, reports: VecDeque::new(), left: 0, last: HashMap::new() }
    }

    pub fn len(&self) -> usize {
        self.reports.len()
    }

    pub fn is_empty(&self) -> bool {
        self.reports.is_empty()
    }

    /// So much waits that no session more may be taken in.
    pub fn is_full(&self) -> bool {
        self.reports.len() >= self.as_they_are_max
    }

    pub fn push(&mut self, report: Report) -> Kept {
        if !self.is_full() {
            self.reports.push_back(report);
            return Kept::AsItIs;
        }
        let Report::Charged(delta, None) = report else {
            self.reports.push_back(report);
            return Kept::AsItIs;
        };
        // It may have left, while so many others came that the bound is still passed.
        let place = self.last.get(&delta.session).and_then(|place| place.checked_sub(self.left));
        let waiting = place.and_then(|place| self.reports.get_mut(usize::try_from(place).ok()?));
        if let Some(Report::Charged(waiting, None)) = waiting
            && are_alike(waiting, &delta)
        {
            add(waiting, &delta);
            return Kept::Merged;
        }
        self.last.insert(delta.session, self.left + self.reports.len() as u64);
        self.reports.push_back(Report::Charged(delta, None));
        Kept::AsItIs
    }

    /// What waits, the oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Report> {
        self.reports.iter()
    }

    /// Sends what waits, the oldest first, until `send` gives one back; whether all has gone.
    pub fn send(&mut self, send: impl Fn(Report) -> Option<Report>) -> bool {
        while let Some(report) = self.reports.pop_front() {
            if let Some(returned) = send(report) {
                self.reports.push_front(returned);
                return false;
            }
            self.left += 1;
            if self.reports.len() < self.as_they_are_max && !self.last.is_empty() {
                self.last = HashMap::new();
            }
        }
        true
    }
}

/// Whether both are of one sum wherever they count.
fn are_alike(a: &Delta, b: &Delta) -> bool {
    a.at.0 / SPAN_MS == b.at.0 / SPAN_MS
        && (Arc::ptr_eq(&a.identity, &b.identity) || a.identity == b.identity)
        && (&a.provider, &a.model, a.estimated) == (&b.provider, &b.model, b.estimated)
}

fn add(sum: &mut Delta, delta: &Delta) {
    sum.at = sum.at.max(delta.at);
    sum.usage += delta.usage;
    sum.cost += delta.cost;
    sum.latency_ms = sum.latency_ms.max(delta.latency_ms);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use tokenist_core::id::Identity;
    use tokenist_core::journal::{LaneId, Upto};
    use tokenist_core::message::Closed;
    use tokenist_core::money::NanoUsd;
    use tokenist_core::time::Timestamp;
    use tokenist_core::usage::Usage;

    fn delta(session: u64, model: &str, at: u64) -> Report {
        let delta = Delta {
            at: Timestamp(at),
            session: SessionId(session),
            identity: Arc::new(Identity::of(format!("user-{session}").as_str().into())),
            provider: "openai".into(),
            model: model.into(),
            usage: Usage { text_in: 2, requests: 1, ..Usage::default() },
            cost: NanoUsd(3),
            estimated: false,
            latency_ms: None,
        };
        Report::Charged(delta, None)
    }

    /// Everything that is sent: requests and cost by model, and what kinds there were in which order.
    fn sent(held: &mut Held) -> (u64, i64, usize) {
        let taken = RefCell::new((0, 0, 0));
        assert!(held.send(|report| {
            let mut taken = taken.borrow_mut();
            if let Report::Charged(delta, _) = report {
                assert_eq!(delta.usage.text_in, 2 * delta.usage.requests);
                taken.0 += delta.usage.requests;
                taken.1 += delta.cost.0;
            }
            taken.2 += 1;
            None
        }));
        taken.into_inner()
    }

    #[test]
    fn past_the_bound_what_is_held_grows_with_sessions_and_not_with_what_they_say() {
        let mut held = Held::default();
        for at in 0..HELD_MAX as u64 {
            assert_eq!(held.push(delta(at % 7, "m", 0)), Kept::AsItIs);
        }
        assert!(held.is_full());
        for round in 0..1_000 {
            for session in 0..7 {
                let kept = held.push(delta(session, "m", round));
                assert_eq!(kept, if round == 0 { Kept::AsItIs } else { Kept::Merged });
            }
        }
        assert_eq!(held.len(), HELD_MAX + 7);
        let all = HELD_MAX as u64 + 7_000;
        assert_eq!(sent(&mut held), (all, 3 * all as i64, HELD_MAX + 7));
        assert!(!held.is_full() && held.is_empty());
        assert_eq!(held.push(delta(1, "m", 0)), Kept::AsItIs);
        assert_eq!(sent(&mut held), (1, 3, 1));
    }

    #[test]
    fn what_is_in_the_journal_keeps_its_place() {
        let mut held = Held::default();
        (0..HELD_MAX).for_each(|_| assert_eq!(held.push(delta(9, "m", 0)), Kept::AsItIs));
        let upto = |position| Upto { lane: LaneId::default(), position };
        let written = |position| match delta(1, "m", 0) {
            Report::Charged(delta, None) => Report::Charged(delta, Some(upto(position))),
            other => other,
        };
        for (report, kept) in [
            (written(10), Kept::AsItIs),
            (delta(1, "m", 0), Kept::AsItIs),
            (written(20), Kept::AsItIs),
            (delta(1, "m", 0), Kept::Merged),
            (written(30), Kept::AsItIs),
        ] {
            assert_eq!(held.push(report), kept);
        }
        let order: RefCell<Vec<(u64, Option<u64>)>> = RefCell::default();
        assert!(held.send(|report| {
            let Report::Charged(delta, upto) = report else { unreachable!() };
            if delta.session == SessionId(1) {
                order.borrow_mut().push((delta.usage.requests, upto.map(|upto| upto.position)));
            }
            None
        }));
        assert_eq!(order.into_inner(), [(1, Some(10)), (2, None), (1, Some(20)), (1, Some(30))]);
    }

    #[test]
    fn a_fact_that_has_left_is_no_sum_for_the_next() {
        let mut held = Held::new(2);
        (0..5).for_each(|session| assert_eq!(held.push(delta(session, "m", 0)), Kept::AsItIs));
        let room = RefCell::new(3_usize);
        assert!(!held.send(|report| {
            let left = *room.borrow();
            *room.borrow_mut() = left.saturating_sub(1);
            (left == 0).then_some(report)
        }));
        assert!(held.is_full(), "so the places of facts are still known");
        assert_eq!([2, 4].map(|session| held.push(delta(session, "m", 0))), [Kept::AsItIs, Kept::Merged]);
        assert_eq!(sent(&mut held), (4, 12, 3));
    }

    #[test]
    fn only_what_is_one_sum_is_added_up_and_a_sessions_end_stays_behind_it() {
        let mut held = Held::default();
        (0..HELD_MAX).for_each(|_| assert_eq!(held.push(delta(9, "m", 0)), Kept::AsItIs));
        let closed = || Report::Closed(Closed { session: SessionId(1), at: Timestamp(0), close_code: 1000 });
        for (report, kept) in [
            (delta(1, "m", 0), Kept::AsItIs),
            (delta(2, "m", 0), Kept::AsItIs),
            (delta(1, "m", SPAN_MS - 1), Kept::Merged),
            (delta(1, "other", 0), Kept::AsItIs),
            (delta(1, "other", SPAN_MS), Kept::AsItIs),
            (closed(), Kept::AsItIs),
            (delta(2, "m", 1), Kept::Merged),
        ] {
            assert_eq!(held.push(report), kept);
        }
        // Some leave, and what is left is still found.
        let room = RefCell::new(HELD_MAX / 2);
        assert!(!held.send(|report| {
            let left = *room.borrow();
            *room.borrow_mut() = left.saturating_sub(1);
            (left == 0).then_some(report)
        }));
        for _ in 0..HELD_MAX {
            held.push(delta(2, "m", 2));
        }
        let order: RefCell<Vec<String>> = RefCell::default();
        assert!(held.send(|report| {
            order.borrow_mut().push(match report {
                Report::Charged(delta, _) => {
                    format!("{} {} {}", delta.session, delta.model, delta.usage.requests)
                }
                Report::Closed(_) => "closed".into(),
                _ => unreachable!(),
            });
            None
        }));
        let order = order.into_inner();
        let of_one: Vec<_> =
            order.iter().filter(|report| !report.contains(&format!("{} ", SessionId(9)))).collect();
        let one = SessionId(1);
        let wanted =
            [format!("{one} m 2"), format!("{one} other 1"), format!("{one} other 1"), "closed".into()];
        assert!(
            of_one
                .iter()
                .filter(|report| !report.starts_with(&SessionId(2).to_string()))
                .eq(wanted.iter().collect::<Vec<_>>().iter()),
            "{order:?}"
        );
    }
}
