//! Which holders to exchange, and when. Time is an argument.
//!
//! Every holder in use is exchanged with each sync, a second apart. It is exchanged at once when it comes into use,
//! and whenever it is used while what is left of its limit is less than a twentieth of it, than what the cluster
//! would spend in two sync intervals at its present rate, or than `2 × instances` times what this instance has
//! counted since it last merged of the peers. By the last rule no burst here goes unseen: until the next exchange the
//! instances together use at most half of what each believes to be left.
//!
//! Invariant: one round is on its way at a time. What comes up meanwhile waits for the next and coalesces.

use crate::accounts::Accounts;
use std::collections::{HashMap, HashSet};
use std::time::Duration;
use tokenist_core::cluster::{Contribution, Scope};
use tokenist_core::ledger::{Ledger, Slot};
use tokenist_core::money::NanoUsd;
use tokenist_core::record::Record;
use tokenist_core::time::Timestamp;
use tokenist_core::verdict::Used;

/// Between two exchanges of a holder in use.
pub(crate) const SYNC_INTERVAL: Duration = Duration::from_secs(1);
/// Between the beginnings of two rounds.
const FLOOR: Duration = Duration::from_millis(5);
/// A holder that was not used for so long, and has no session open, is in use no more.
const QUIET: Duration = Duration::from_secs(60);
/// Between two exchanges of a whole rolling window: an instance that was cut off leaves old buckets late.
const WHOLE: Duration = Duration::from_secs(60);
/// How long sync intervals are shorter when all has to be left anew, since others do so in their own time.
const HASTE: Duration = Duration::from_secs(3);
/// Cells in one round: a few milliseconds of Redis's time.
const BUCKETS_MAX: usize = 4_000;
/// Holders that one round looks at for what has to be left anew.
const WALK_COUNT: usize = 2_000;

#[derive(Debug, Default)]
pub(crate) struct Schedule {
    watched: HashMap<Slot, Watch>,
    /// To be exchanged at once.
    urgent: Waiting,
    /// To be exchanged in this sync.
    due: Waiting,
    next_sync: Duration,
    /// Until then sync intervals are shorter.
    hasty_until: Duration,
    next_round: Duration,
    on_its_way: bool,
    /// How far everything has been left anew.
    walk: Option<usize>,
}

/// Slots in the order in which they came, each once.
#[derive(Debug, Default)]
struct Waiting {
    order: std::collections::VecDeque<Slot>,
    slots: HashSet<Slot>,
}

/// A holder in use.
#[derive(Debug, Default)]
struct Watch {
    used_at: Duration,
    /// When the peers were last merged, and what all had counted then.
    merged: Option<(Duration, Used)>,
    /// As `merged`, at the last sync: what the rate is measured from.
    measured: Option<(Duration, Used)>,
    /// What the cluster spends in two sync intervals.
    spend: Used,
    /// When the whole window is exchanged again.
    whole_at: Duration,
    /// What was merged of the peers has to be told again.
    retells: bool,
}

impl Schedule {
    /// A holder was used.
    pub(crate) fn touch(&mut self, slot: Slot, record: &Record, instances: u32, at: Duration) {
        if !record.account_state().limit.is_bounded() {
            return;
        }
        let watch = self.watched.entry(slot).or_default();
        watch.used_at = at;
        let is_urgent = match watch.merged {
            Some((merged_at, counted)) if at < merged_at + 2 * SYNC_INTERVAL && record.knows_peers() => {
                let since = record.counted().less(counted);
                record.is_near_limit(watch.spend.join(times(since, 2 * u64::from(instances))))
            }
            Some(_) | None => true,
        };
        if is_urgent {
            self.urgent.push(slot);
        }
    }

    /// Another holder has this slot now.
    pub(crate) fn forget(&mut self, slot: Slot) {
        self.watched.remove(&slot);
    }

    /// A round came back with news of this holder.
    pub(crate) fn merged(&mut self, slot: Slot, record: &Record, at: Duration) {
        let Some(watch) = self.watched.get_mut(&slot) else { return };
        let counted = record.counted();
        // Its first answer was a question for what may have been forgotten: now it can be left.
        if watch.merged.is_none() && counted != Used::default() {
            self.due.push(slot);
        }
        watch.merged = Some((at, counted));
        match watch.measured {
            Some((measured_at, _)) if at < measured_at + SYNC_INTERVAL / 2 => {}
            Some((measured_at, before)) => {
                let ms = (at - measured_at).as_millis().max(1) as u64;
                let grown = times(counted.less(before), 2 * SYNC_INTERVAL.as_millis() as u64);
                let spend = Used { cost: NanoUsd(grown.cost.0 / ms as i64), tokens: grown.tokens / ms };
                // A pause does not make it forget at once.
                let half = Used { cost: NanoUsd(watch.spend.cost.0 / 2), tokens: watch.spend.tokens / 2 };
                watch.spend = spend.join(half);
                watch.measured = Some((at, counted));
            }
            None => watch.measured = Some((at, counted)),
        }
    }

    pub(crate) fn round_ended(&mut self) {
        self.on_its_way = false;
    }

    /// Redis holds nothing that could be relied on: everything is left there anew, those in use first.
    pub(crate) fn start_over(&mut self, at: Duration) {
        self.hasty_until = at + HASTE;
        self.on_its_way = false;
        self.walk = Some(0);
        for (&slot, watch) in &mut self.watched {
            watch.whole_at = Duration::ZERO;
            watch.retells = true;
            self.urgent.push(slot);
        }
    }

    /// When a round could be due next; `None` while one is on its way.
    pub(crate) fn next_at(&self) -> Option<Duration> {
        let waits = !self.urgent.is_empty() || !self.due.is_empty() || self.walk.is_some();
        let next = if waits { self.next_round } else { self.next_sync };
        (!self.on_its_way).then_some(next.max(self.next_round))
    }

    /// What is to be exchanged now. A caller that takes it sends it, or says that it [`Schedule::start_over`].
    pub(crate) fn round(
        &mut self,
        ledger: &mut Ledger,
        accounts: &Accounts,
        at: Duration,
        now: Timestamp,
    ) -> Option<Vec<Contribution>> {
        if self.on_its_way || at < self.next_round {
            return None;
        }
        if at >= self.next_sync {
            self.next_sync = at + if at < self.hasty_until { SYNC_INTERVAL / 10 } else { SYNC_INTERVAL };
            self.watched.retain(|&slot, watch| {
                at < watch.used_at + QUIET
                    || accounts.find(slot).is_some_and(|account| account.sessions() > 0)
            });
            self.watched.keys().for_each(|&slot| self.due.push(slot));
        }
        let mut round = Vec::new();
        let mut buckets = 0;
        while buckets < BUCKETS_MAX
            && let Some(slot) = self.urgent.pop().or_else(|| self.due.pop())
        {
            self.due.remove(slot);
            if self.watched.get_mut(&slot).is_some_and(|watch| std::mem::take(&mut watch.retells)) {
                buckets += retell(ledger, slot, &mut round);
            }
            let scope = match self.watched.get_mut(&slot).filter(|watch| at >= watch.whole_at) {
                Some(watch) => {
                    watch.whole_at = at + WHOLE;
                    Scope::Whole
                }
                None => Scope::Recent,
            };
            let contribution = ledger.contribution(slot, scope, now);
            buckets += contribution.as_ref().map_or(0, |contribution| contribution.counts.len());
            round.extend(contribution);
        }
        if buckets < BUCKETS_MAX {
            self.walk_on(ledger, now, &mut round);
        }
        self.next_round = at + FLOOR;
        self.on_its_way = !round.is_empty();
        self.on_its_way.then_some(round)
    }

    /// Leaves anew what this instance has counted and merged for some of those that are not in use.
    fn walk_on(&mut self, ledger: &mut Ledger, now: Timestamp, round: &mut Vec<Contribution>) {
        let Some(start) = self.walk else { return };
        let (mut index, mut buckets) = (start, 0);
        while index < start + WALK_COUNT && buckets < BUCKETS_MAX {
            let Some(slot) = ledger.slot_at(index) else { break };
            index += 1;
            if !self.watched.contains_key(&slot) && ledger.record(slot).counted() != Used::default() {
                buckets += retell(ledger, slot, round);
                if let Some(mut contribution) = ledger.contribution(slot, Scope::Whole, now) {
                    contribution.counts.retain(|count| count.used != Used::default());
                    buckets += contribution.counts.len();
                    round.extend((!contribution.counts.is_empty()).then_some(contribution));
                }
            }
        }
        self.walk = ledger.slot_at(index).map(|_| index);
    }
}

impl Waiting {
    fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    fn push(&mut self, slot: Slot) {
        if self.slots.insert(slot) {
            self.order.push_back(slot);
        }
    }

    fn pop(&mut self) -> Option<Slot> {
        while let Some(slot) = self.order.pop_front() {
            if self.slots.remove(&slot) {
                return Some(slot);
            }
        }
        None
    }

    /// Its turn in the order comes to nothing.
    fn remove(&mut self, slot: Slot) {
        self.slots.remove(&slot);
    }
}

/// What was merged of the peers goes into the round as if they told it. How many buckets that are.
fn retell(ledger: &Ledger, slot: Slot, round: &mut Vec<Contribution>) -> usize {
    let before = round.len();
    round.extend(ledger.contributions_of_peers(slot));
    round[before..].iter().map(|contribution| contribution.counts.len()).sum()
}

fn times(used: Used, factor: u64) -> Used {
    let cost = used.cost.0.saturating_mul(i64::try_from(factor).unwrap_or(i64::MAX));
    Used { cost: NanoUsd(cost), tokens: used.tokens.saturating_mul(factor) }
}
