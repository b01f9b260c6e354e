//! What came in during the last sixty seconds, to a second.

use crate::money::NanoUsd;
use crate::time::Timestamp;
use std::collections::VecDeque;

/// Nothing for a user that costs nothing, and at most an entry for each second of the minute.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LastMinute {
    /// Seconds since 1970 with what they cost, the oldest first.
    seconds: VecDeque<(u64, NanoUsd)>,
}

const SPAN_SECONDS: u64 = 60;

impl LastMinute {
    pub fn add(&mut self, cost: NanoUsd, at: Timestamp) {
        let newest = self.seconds.back().map_or(0, |(second, _)| *second);
        // A report that comes late counts in the newest second, so that they stay in order.
        let second = (at.0 / 1000).max(newest);
        while self.seconds.front().is_some_and(|(oldest, _)| oldest + SPAN_SECONDS <= second) {
            self.seconds.pop_front();
        }
        match self.seconds.back_mut() {
            Some((newest, sum)) if *newest == second => sum.0 = sum.0.saturating_add(cost.0),
            Some(_) | None => self.seconds.push_back((second, cost)),
        }
    }

    pub fn sum(&self, now: Timestamp) -> NanoUsd {
        let seconds = self.seconds.iter().rev();
        let recent = seconds.take_while(|(second, _)| second + SPAN_SECONDS > now.0 / 1000);
        NanoUsd(recent.fold(0, |sum, (_, cost)| cost.0.saturating_add(sum)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_minute_old_counts_no_longer() {
        let mut last = LastMinute::default();
        let at = |second: u64| Timestamp(1_795_000_000_000 + second * 1000);
        assert_eq!(last.sum(at(0)), NanoUsd(0));
        last.add(NanoUsd(5), at(0));
        last.add(NanoUsd(7), at(30));
        assert_eq!([0, 59, 60, 89, 90].map(|second| last.sum(at(second)).0), [12, 12, 7, 7, 0]);
        last.add(NanoUsd(1), at(10));
        assert_eq!(last.sum(at(60)), NanoUsd(8), "late ones count as if they had just come");
    }

    #[test]
    fn a_day_of_costs_takes_no_more_room_than_a_minute() {
        let mut last = LastMinute::default();
        for ms in (0..86_400_000).step_by(250) {
            last.add(NanoUsd(1), Timestamp(ms));
        }
        assert!(last.seconds.len() <= 60);
        assert_eq!(last.sum(Timestamp(86_399_750)), NanoUsd(240));
    }
}
