//! What the simulation itself knows of one instance: what was booked, what was merged of others, and what is set.

use crate::amount::Amount;
use crate::cast::{HOLDER_COUNT, KEY_COUNT, Party, USER_COUNT, Who};
use std::collections::BTreeMap;
use tokenist_core::batch::{Grain, HolderState, Revision, Stamped};
use tokenist_core::cluster::Writer;
use tokenist_core::key::Key;
use tokenist_core::limit::{Block, Limit, RuleAction, WindowKind};
use tokenist_core::time::{DAY_MS, HOUR_MS, STEP_BACK_MS, Timestamp};
use tokenist_core::window::BUCKET_MS;
use tokenist_core::window::WindowBucket;

#[derive(Debug, Default)]
pub(crate) struct Books {
    pub(crate) booked: Vec<Booked>,
    /// What this process was told of each other instance.
    pub(crate) merged: BTreeMap<(Who, WindowBucket, Writer), Amount>,
    pub(crate) limits: [Stamped<Option<Limit>>; HOLDER_COUNT],
    pub(crate) blocks: [Stamped<Option<Block>>; USER_COUNT],
    pub(crate) keys: [Option<Stamped<Key>>; KEY_COUNT],
    /// By rules; they outlive no process.
    pub(crate) rule_actions: [Option<RuleAction>; USER_COUNT],
}

/// A response, or an estimate in its place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Booked {
    /// Tells it from all others. They only grow.
    pub(crate) number: u64,
    pub(crate) at: Timestamp,
    pub(crate) amount: Amount,
    pub(crate) of: Party,
    /// So it outlives the process that counted it.
    pub(crate) is_in_journal: bool,
    /// A kill took it.
    pub(crate) is_lost: bool,
}

impl Books {
    pub(crate) fn sum(&self, who: Who, counts: impl Fn(&Booked) -> bool) -> Amount {
        self.booked.iter().filter(|booked| booked.of.has(who) && counts(booked)).map(|b| b.amount).sum()
    }

    /// What has not been lost.
    pub(crate) fn kept(&self, who: Who) -> Amount {
        self.sum(who, |booked| !booked.is_lost)
    }

    pub(crate) fn kept_in(&self, who: Who, window: WindowKind, now: Timestamp) -> Amount {
        self.sum(who, |booked| !booked.is_lost && is_in(window, booked.at, now))
    }

    /// What was used in a window at most, where what was read back is as coarse as its rows, and what was lost may be
    /// known to others.
    pub(crate) fn most_in(&self, who: Who, window: WindowKind, now: Timestamp) -> Amount {
        self.sum(who, |booked| is_about_in(window, booked.at, now))
    }

    /// What was booked, as a ledger takes it over that is restored at `now`: what is of later, of which it knows the
    /// hour, is waited for if that is a clock's small step, and counts at once if it is more.
    pub(crate) fn restored_at(&self, now: Timestamp) -> Vec<Booked> {
        let at = |at: Timestamp| match Grain::Hour.start(at).max(now) {
            _ if at <= now => at,
            start if start.since(now) <= STEP_BACK_MS => start,
            _ => now,
        };
        self.booked.iter().map(|booked| Booked { at: at(booked.at), ..*booked }).collect()
    }

    pub(crate) fn merged_in(&self, who: Who, window: WindowKind, now: Timestamp) -> Amount {
        let counts = |bucket: &WindowBucket| bucket.window == window && is_in(window, bucket.start, now);
        let merged = self.merged.iter().filter(|((of, bucket, _), _)| *of == who && counts(bucket));
        merged.map(|(_, amount)| *amount).sum()
    }

    pub(crate) fn merge(&mut self, who: Who, bucket: WindowBucket, writer: &Writer, amount: Amount) {
        let known = self.merged.entry((who, bucket, writer.clone())).or_default();
        known.nano = known.nano.max(amount.nano);
        known.tokens = known.tokens.max(amount.tokens);
    }

    /// Its place was given up, and what was merged of it with that.
    pub(crate) fn forget_merged(&mut self, who: Who) {
        self.merged.retain(|(of, _, _), _| *of != who);
    }

    /// Where nothing can be read back, nobody knows any more that a limit or a block was lifted or is over, and when.
    pub(crate) fn forget_lifted(&mut self, who: Who, now: Timestamp) {
        if self.limits[who].value.is_none() {
            self.limits[who] = Stamped::default();
        }
        if who < USER_COUNT && !self.blocks[who].value.as_ref().is_some_and(|block| block.holds_at(now)) {
            self.blocks[who] = Stamped::default();
        }
    }

    /// Takes over what was set later.
    pub(crate) fn join(&mut self, who: Who, state: &HolderState) {
        join(&mut self.limits[who], &state.limit);
        if who < USER_COUNT {
            join(&mut self.blocks[who], &state.block);
        }
    }

    pub(crate) fn join_key(&mut self, index: usize, key: &Stamped<Key>) {
        match &mut self.keys[index] {
            Some(known) => join(known, key),
            unknown => *unknown = Some(key.clone()),
        }
    }

    /// A process is over, and what only it knew.
    pub(crate) fn forget_process(&mut self) {
        self.merged.clear();
        self.limits = Default::default();
        self.blocks = Default::default();
        self.keys = Default::default();
        self.rule_actions = Default::default();
    }
}

fn join<T: Clone>(known: &mut Stamped<T>, set: &Stamped<T>) {
    if set.revision > known.revision && set.revision != Revision::default() {
        *known = set.clone();
    }
}

/// Whether what was used at a time counts in the window of now.
pub(crate) fn is_in(window: WindowKind, at: Timestamp, now: Timestamp) -> bool {
    match window {
        WindowKind::Daily => at >= now.day_start(),
        WindowKind::Monthly => at >= now.month_start(),
        WindowKind::Rolling24h => at.0 / BUCKET_MS + DAY_MS / BUCKET_MS >= now.0 / BUCKET_MS,
        WindowKind::Total => true,
    }
}

/// Likewise, where all that is known is the hour.
pub(crate) fn is_about_in(window: WindowKind, at: Timestamp, now: Timestamp) -> bool {
    match window {
        WindowKind::Rolling24h => at.plus_ms(DAY_MS + HOUR_MS + BUCKET_MS) >= now,
        WindowKind::Daily | WindowKind::Monthly | WindowKind::Total => is_in(window, at, now),
    }
}
