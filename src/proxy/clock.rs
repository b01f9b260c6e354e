//! What time it is: the only place in the data plane that asks.

use std::cell::Cell;
use std::sync::LazyLock;
use std::time::{self, Duration, SystemTime, UNIX_EPOCH};
use tokenist_core::time::{Instant, Now, Timestamp};

/// A shard's clocks. The wall clock is asked at each tick and runs on from there with the one that cannot be set: so
/// an event costs one reading of a clock, and a wall clock that is set is followed within a tick.
#[derive(Debug)]
pub(crate) struct Clock {
    set_at: Cell<time::Instant>,
    /// Since 1970, at `set_at`.
    wall: Cell<Duration>,
}

/// Where instants begin, for all shards alike.
static START: LazyLock<time::Instant> = LazyLock::new(time::Instant::now);

/// The time to a nanosecond, for what measures sound's way.
pub(crate) fn precise() -> time::Instant {
    time::Instant::now()
}

impl Clock {
    pub(crate) fn new() -> Clock {
        LazyLock::force(&START);
        let clock = Clock { set_at: Cell::new(time::Instant::now()), wall: Cell::default() };
        clock.tick();
        clock
    }

    /// Follows the wall clock.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that asks")]
    pub(crate) fn tick(&self) {
        self.set_at.set(time::Instant::now());
        self.wall.set(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default());
    }

    pub(crate) fn now(&self) -> Now {
        let now = time::Instant::now();
        let wall = self.wall.get() + now.duration_since(self.set_at.get());
        Now {
            wall: Timestamp(wall.as_millis() as u64),
            instant: Instant(now.duration_since(*START).as_millis() as u64),
        }
    }
}
