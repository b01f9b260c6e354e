//! What time it is on the wall: the only place in the control plane that asks, on behalf of the admin API and of the
//! composition, too.

use std::sync::LazyLock;
use std::time::{self, SystemTime, UNIX_EPOCH};
use tokenist_core::time::{Instant, Now, STEP_BACK_MS, Timestamp};

/// A clock that is held while the system's steps back a little, as time servers make it do, and that follows when it
/// steps back by more: then a clock that was far ahead was corrected, and to hold it would leave windows in
/// the future that no usage counts in.
#[derive(Debug)]
pub struct Clock {
    latest: Timestamp,
}

/// What a clock says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    pub now: Timestamp,
    /// Every window has to be taken back to `now`.
    pub set_back: bool,
}

impl Clock {
    pub fn new(now: Timestamp) -> Clock {
        Clock { latest: now }
    }

    pub fn system() -> Clock {
        Clock::new(system_time())
    }

    pub fn read(&mut self) -> Reading {
        self.follow(system_time())
    }

    pub fn follow(&mut self, system: Timestamp) -> Reading {
        let set_back = self.latest.since(system) > STEP_BACK_MS;
        self.latest = if set_back { system } else { self.latest.max(system) };
        Reading { now: self.latest, set_back }
    }
}

/// The wall clock as it is, for what is booked, what expires and what is shown.
#[expect(clippy::disallowed_methods, reason = "this is the one place that asks")]
pub fn system_time() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Both clocks.
pub fn now() -> Now {
    static START: LazyLock<time::Instant> = LazyLock::new(time::Instant::now);
    let since_start = START.elapsed().as_millis();
    Now { wall: system_time(), instant: Instant(u64::try_from(since_start).unwrap_or(u64::MAX)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_step_back_is_waited_out_and_a_great_one_followed() {
        let mut clock = Clock::new(Timestamp(1_000_000));
        for (system, now, set_back) in [
            (1_000_500, 1_000_500, false),
            (940_500, 1_000_500, false),
            (1_000_501, 1_000_501, false),
            (940_500, 940_500, true),
            (940_501, 940_501, false),
        ] {
            assert_eq!(clock.follow(Timestamp(system)), Reading { now: Timestamp(now), set_back });
        }
    }
}
