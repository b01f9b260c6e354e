//! Sums over the day, the month, the last 24 hours and all time. Pure: every time is an argument.
//!
//! Start at [`Windows::add`]. What belongs where is decided by the time at which it was reported:
//! - An entry from before the current window does not count in it; it was last week's, however late it arrives.
//! - An entry from after the current window moves the window there: time has evidently come that far.
//! - A window never moves back of itself. When the clock steps back a little, the window only lasts longer. When an
//!   operator corrects a clock that was far ahead, [`Windows::set_back`] moves the windows to the corrected time
//!   and keeps their sums: no user gains a budget by a wrong clock, and what was used under it stays used.
//!
//! Invariant: the rolling sum is never less than the exact sum of the last 24 hours, for its oldest bucket counts
//! whole.

use crate::limit::WindowKind;
use crate::time::{DAY_MS, MINUTE_MS, Timestamp};
use crate::totals::Totals;
use crate::verdict::Used;
use std::collections::VecDeque;

/// The grain of the rolling window.
pub const BUCKET_MS: u64 = 5 * MINUTE_MS;

/// How many buckets count: those of the last 24 hours, and the one that they share with the time before.
const BUCKET_COUNT: u64 = DAY_MS / BUCKET_MS + 1;

/// A span whose sum is exchanged by itself: a day, a month, all time, or a rolling window's five minutes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WindowBucket {
    pub window: WindowKind,
    pub start: Timestamp,
}

/// One holder's sums over all windows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Windows {
    day: Calendar,
    month: Calendar,
    rolling: Rolling,
    total: Totals,
}

impl WindowBucket {
    /// When nothing of it counts any more; `None` is never.
    pub fn end(self) -> Option<Timestamp> {
        match self.window {
            WindowKind::Daily => Some(self.start.next_day_start()),
            WindowKind::Monthly => Some(self.start.next_month_start()),
            WindowKind::Rolling24h => Some(self.start.plus_ms(DAY_MS + BUCKET_MS)),
            WindowKind::Total => None,
        }
    }
}

impl Windows {
    pub fn new(now: Timestamp) -> Windows {
        Windows {
            day: Calendar { start: now.day_start(), end: now.next_day_start(), totals: Totals::default() },
            month: Calendar {
                start: now.month_start(),
                end: now.next_month_start(),
                totals: Totals::default(),
            },
            rolling: Rolling { newest: bucket_at(now), buckets: VecDeque::new(), sum: Totals::default() },
            total: Totals::default(),
        }
    }

    /// Adds what was reported at `at` to every window that `at` lies in.
    pub fn add(&mut self, at: Timestamp, amount: &Totals) {
        self.advance(at);
        self.day.add(at, amount);
        self.month.add(at, amount);
        self.rolling.add(bucket_at(at), amount);
        self.total += *amount;
    }

    /// Leaves behind what is over by `now`. A time that was passed already changes nothing.
    pub fn advance(&mut self, now: Timestamp) {
        if now >= self.day.end {
            self.day = Calendar::empty(now.day_start(), now.next_day_start());
        }
        if now >= self.month.end {
            self.month = Calendar::empty(now.month_start(), now.next_month_start());
        }
        self.rolling.advance(bucket_at(now));
    }

    /// Takes windows that a clock far ahead has moved into the future back to `now`, with all that they hold.
    pub fn set_back(&mut self, now: Timestamp) {
        if now < self.day.start {
            (self.day.start, self.day.end) = (now.day_start(), now.next_day_start());
        }
        if now < self.month.start {
            (self.month.start, self.month.end) = (now.month_start(), now.next_month_start());
        }
        self.rolling.set_back(bucket_at(now));
    }

    /// As of the latest time that these windows have heard of.
    pub fn totals(&self, kind: WindowKind) -> &Totals {
        match kind {
            WindowKind::Daily => &self.day.totals,
            WindowKind::Monthly => &self.month.totals,
            WindowKind::Rolling24h => &self.rolling.sum,
            WindowKind::Total => &self.total,
        }
    }

    /// When the window begins anew; for the rolling one, when its oldest bucket leaves.
    pub fn resets_at(&self, kind: WindowKind) -> Option<Timestamp> {
        match kind {
            WindowKind::Daily => Some(self.day.end),
            WindowKind::Monthly => Some(self.month.end),
            WindowKind::Rolling24h => self.leaving().next().map(|(end, _)| end),
            WindowKind::Total => None,
        }
    }

    /// What leaves the rolling window and when, the oldest first.
    pub fn leaving(&self) -> impl Iterator<Item = (Timestamp, Used)> {
        let end = |bucket: &Bucket| Timestamp((bucket.index + BUCKET_COUNT) * BUCKET_MS);
        self.rolling.buckets.iter().map(move |bucket| (end(bucket), Used::of(&bucket.totals)))
    }

    /// The start of the first bucket that counts.
    pub fn from(&self, kind: WindowKind) -> Timestamp {
        match kind {
            WindowKind::Rolling24h => {
                Timestamp((self.rolling.newest + 1).saturating_sub(BUCKET_COUNT) * BUCKET_MS)
            }
            WindowKind::Daily | WindowKind::Monthly | WindowKind::Total => self.newest(kind),
        }
    }

    /// The start of the bucket that the present lies in.
    pub fn newest(&self, kind: WindowKind) -> Timestamp {
        match kind {
            WindowKind::Daily => self.day.start,
            WindowKind::Monthly => self.month.start,
            WindowKind::Rolling24h => Timestamp(self.rolling.newest * BUCKET_MS),
            WindowKind::Total => Timestamp(0),
        }
    }

    /// Nothing for a bucket that does not count any more.
    pub fn used_in(&self, bucket: WindowBucket) -> Used {
        match bucket.window {
            WindowKind::Rolling24h => {
                let index = bucket_at(bucket.start);
                let found = self.rolling.buckets.binary_search_by_key(&index, |bucket| bucket.index);
                found.map_or(Used::default(), |place| Used::of(&self.rolling.buckets[place].totals))
            }
            window if bucket.start == self.newest(window) => Used::of(self.totals(window)),
            WindowKind::Daily | WindowKind::Monthly | WindowKind::Total => Used::default(),
        }
    }

    /// What still counts of a time in `bucket` at which that held so much.
    pub fn used_before(&self, bucket: WindowBucket, held: Used) -> Used {
        let held = if bucket.start >= self.from(bucket.window) { held } else { Used::default() };
        match bucket.window {
            WindowKind::Rolling24h => {
                let index = bucket_at(bucket.start);
                let earlier = self.rolling.buckets.iter().take_while(|bucket| bucket.index < index);
                earlier.fold(held, |sum, bucket| sum.plus(Used::of(&bucket.totals)))
            }
            WindowKind::Daily | WindowKind::Monthly | WindowKind::Total => held,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Calendar {
    start: Timestamp,
    end: Timestamp,
    totals: Totals,
}

impl Calendar {
    fn empty(start: Timestamp, end: Timestamp) -> Calendar {
        Calendar { start, end, totals: Totals::default() }
    }

    fn add(&mut self, at: Timestamp, amount: &Totals) {
        debug_assert!(at < self.end, "the window was advanced to the entry");
        if at >= self.start {
            self.totals += *amount;
        }
    }
}

/// Only buckets that hold something exist, so an idle holder costs nothing and none more than `BUCKET_COUNT`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rolling {
    /// The bucket of the latest time heard of.
    newest: u64,
    /// In ascending order of index.
    buckets: VecDeque<Bucket>,
    sum: Totals,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Bucket {
    index: u64,
    totals: Totals,
}

impl Rolling {
    fn advance(&mut self, newest: u64) {
        if newest <= self.newest {
            return;
        }
        self.newest = newest;
        let before = self.buckets.len();
        while self.buckets.front().is_some_and(|bucket| bucket.index + BUCKET_COUNT <= newest) {
            self.buckets.pop_front();
        }
        if self.buckets.len() < before {
            self.sum_up();
        }
    }

    fn add(&mut self, index: u64, amount: &Totals) {
        if index + BUCKET_COUNT <= self.newest {
            return;
        }
        self.sum += *amount;
        match self.buckets.back_mut() {
            Some(bucket) if bucket.index == index => bucket.totals += *amount,
            Some(bucket) if bucket.index > index => self.add_late(index, amount),
            Some(_) => self.buckets.push_back(Bucket { index, totals: *amount }),
            None => {
                self.buckets.reserve_exact(1); // Most users are heard of once a day.
                self.buckets.push_back(Bucket { index, totals: *amount });
            }
        }
    }

    fn add_late(&mut self, index: u64, amount: &Totals) {
        let place = self.buckets.partition_point(|bucket| bucket.index < index);
        if self.buckets[place].index == index {
            self.buckets[place].totals += *amount;
        } else {
            self.buckets.insert(place, Bucket { index, totals: *amount });
        }
    }

    fn set_back(&mut self, newest: u64) {
        self.newest = self.newest.min(newest);
        let ahead = self.buckets.split_off(self.buckets.partition_point(|bucket| bucket.index <= newest));
        self.sum_up();
        for bucket in ahead {
            self.add(newest, &bucket.totals);
        }
    }

    /// Summed afresh rather than subtracted from, so that a count which once saturated does not stay wrong.
    fn sum_up(&mut self) {
        self.sum = Totals::default();
        for bucket in &self.buckets {
            self.sum += bucket.totals;
        }
    }
}

fn bucket_at(at: Timestamp) -> u64 {
    at.0 / BUCKET_MS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::NanoUsd;
    use crate::time::HOUR_MS;
    use proptest::prelude::*;

    /// 2026-11-23T12:00:00Z, a Monday.
    const NOON: Timestamp = Timestamp(1_795_435_200_000);

    fn cost(nano: i64) -> Totals {
        Totals { cost: NanoUsd(nano), ..Totals::default() }
    }

    /// Costs of the four windows: day, month, rolling, total.
    fn sums(windows: &Windows) -> [i64; 4] {
        [WindowKind::Daily, WindowKind::Monthly, WindowKind::Rolling24h, WindowKind::Total]
            .map(|kind| windows.totals(kind).cost.0)
    }

    #[test]
    fn each_window_ends_in_its_own_time() {
        let mut windows = Windows::new(NOON);
        windows.add(NOON, &cost(1));
        for (hours_later, expected) in [
            (11, [1, 1, 1, 1]),
            (12, [0, 1, 1, 1]), // Midnight.
            (24, [0, 1, 1, 1]), // The bucket that noon lies in still counts whole.
            (25, [0, 1, 0, 1]),
            (24 * 8, [0, 0, 0, 1]), // December.
        ] {
            windows.advance(NOON.plus_ms(hours_later * HOUR_MS));
            assert_eq!(sums(&windows), expected, "{hours_later} hours later");
        }
    }

    #[test]
    fn the_oldest_bucket_counts_whole_and_then_not_at_all() {
        let mut windows = Windows::new(NOON);
        windows.add(NOON.plus_ms(BUCKET_MS - 1), &cost(1));
        assert_eq!(windows.resets_at(WindowKind::Rolling24h), Some(NOON.plus_ms(DAY_MS + BUCKET_MS)));
        windows.advance(NOON.plus_ms(DAY_MS + BUCKET_MS - 1));
        assert_eq!(sums(&windows)[2], 1);
        windows.advance(NOON.plus_ms(DAY_MS + BUCKET_MS));
        assert_eq!(sums(&windows)[2], 0);
        assert_eq!(windows.resets_at(WindowKind::Rolling24h), None);
    }

    #[test]
    fn a_late_entry_counts_where_it_was_reported() {
        let mut windows = Windows::new(NOON);
        windows.advance(NOON.plus_ms(DAY_MS / 2 + 5));
        windows.add(NOON, &cost(1));
        assert_eq!(sums(&windows), [0, 1, 1, 1]);
        windows.add(NOON.minus_ms(2 * DAY_MS), &cost(1));
        assert_eq!(sums(&windows), [0, 2, 1, 2]);
        windows.add(NOON.minus_ms(HOUR_MS), &cost(1));
        assert_eq!(sums(&windows), [0, 3, 2, 3]);
        // 24 hours before the present bucket began, and a millisecond more.
        windows.add(NOON.minus_ms(DAY_MS / 2), &cost(1));
        windows.add(NOON.minus_ms(DAY_MS / 2 + 1), &cost(1));
        assert_eq!(sums(&windows), [0, 5, 3, 5]);
    }

    #[test]
    fn a_window_does_not_move_back_when_the_clock_does() {
        let midnight = NOON.next_day_start();
        let mut windows = Windows::new(NOON);
        windows.add(midnight, &cost(1));
        windows.advance(midnight.minus_ms(3_000));
        windows.add(midnight.minus_ms(2_000), &cost(10));
        assert_eq!(sums(&windows), [1, 11, 11, 11]);
    }

    #[test]
    fn a_corrected_clock_keeps_what_was_used_under_the_wrong_one() {
        let mut windows = Windows::new(NOON);
        windows.add(NOON, &cost(1));
        windows.add(NOON.plus_ms(365 * DAY_MS), &cost(2));
        assert_eq!(sums(&windows), [2, 2, 2, 3]);
        windows.set_back(NOON.plus_ms(HOUR_MS));
        windows.add(NOON.plus_ms(HOUR_MS), &cost(4));
        assert_eq!(sums(&windows), [6, 6, 6, 7]);
        windows.advance(NOON.next_day_start());
        assert_eq!(sums(&windows), [0, 6, 6, 7]);
    }

    proptest! {
        #[test]
        fn every_sum_is_that_of_the_entries_in_its_window(
            entries in prop::collection::vec((0..3 * DAY_MS, 0..1_000i64), 0..60),
        ) {
            let mut windows = Windows::new(NOON);
            let mut latest = NOON;
            for (index, &(offset, nano)) in entries.iter().enumerate() {
                let at = NOON.plus_ms(offset);
                latest = latest.max(at);
                windows.add(at, &cost(nano));
                let sum = |counts: &dyn Fn(Timestamp) -> bool| -> i64 {
                    let seen = entries[..=index].iter().map(|&(offset, nano)| (NOON.plus_ms(offset), nano));
                    seen.filter(|&(at, _)| counts(at)).map(|(_, nano)| nano).sum()
                };
                prop_assert_eq!(sums(&windows), [
                    sum(&|at| at >= latest.day_start()),
                    sum(&|at| at >= latest.month_start()),
                    sum(&|at| bucket_at(at) + 288 >= bucket_at(latest)),
                    sum(&|_| true),
                ]);
                prop_assert!(sums(&windows)[2] >= sum(&|at| at.plus_ms(DAY_MS) > latest));
            }
        }
    }
}
