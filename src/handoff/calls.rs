//! Which session meters what several of them see: those that are attached to one call hear the same responses.
//!
//! A table of fixed size, without a lock. Where more claims are made within a quarter of an hour than it has room for,
//! some are forgotten: then a response counts twice if the second session hears of it later than that.

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use tokenist_core::id::SessionId;
use tokenist_core::time::Instant;

const SLOT_COUNT: usize = 1 << 16;
/// Of them a claim may stand in so many.
const PLACE_COUNT: usize = 8;
/// How long a claim holds that is not made again: longer than a response takes.
const HOLDS_SECONDS: u64 = 900;

/// Each slot packs what is claimed, by which session, and in which second, modulo an hour or so.
#[derive(Debug)]
pub struct Calls {
    slots: Box<[AtomicU64]>,
    hasher: RandomState,
}

const SECOND_BITS: u32 = 12;
const OWNER_BITS: u32 = 20;

impl Default for Calls {
    fn default() -> Calls {
        Calls { slots: (0..SLOT_COUNT).map(|_| AtomicU64::new(0)).collect(), hasher: RandomState::new() }
    }
}

const OWNER_MASK: u64 = (1 << OWNER_BITS) - 1;
const SECOND_MASK: u64 = (1 << SECOND_BITS) - 1;

impl Calls {
    /// Whether this is `owner`'s to meter. Of all sessions that ask about the same thing the first is told so, and is
    /// again whenever it asks.
    pub fn claim(&self, what: &impl Hash, owner: SessionId, now: Instant) -> bool {
        self.enter(what, owner, now, false)
    }

    /// From now on this is `owner`'s, whoever has claimed it.
    pub fn take(&self, what: &impl Hash, owner: SessionId, now: Instant) {
        self.enter(what, owner, now, true);
    }

    fn enter(&self, what: &impl Hash, owner: SessionId, now: Instant, is_taken: bool) -> bool {
        let hash = self.hasher.hash_one(what);
        let (print, owner) = (hash >> 32, self.hasher.hash_one(owner) & OWNER_MASK);
        let second = (now.0 / 1_000) & SECOND_MASK;
        let claim = print << 32 | owner << SECOND_BITS | second;
        loop {
            let mut free = None;
            let mut own = None;
            for slot in self.places(hash) {
                let packed = slot.load(Ordering::Acquire);
                let age_seconds = second.wrapping_sub(packed) & SECOND_MASK;
                if packed == 0 || age_seconds >= HOLDS_SECONDS {
                    free = free.or(Some((slot, packed)));
                } else if packed >> 32 == print {
                    if !is_taken && (packed >> SECOND_BITS) & OWNER_MASK != owner {
                        return false;
                    }
                    own = Some((slot, packed));
                    break;
                }
            }
            // A session that asks at the same moment takes the same place, so one of them finds it taken and looks again.
            let first = self.places(hash).next().map(|slot| (slot, slot.load(Ordering::Acquire)));
            let Some((slot, packed)) = own.or(free).or(first) else { return true };
            if slot.compare_exchange(packed, claim, Ordering::AcqRel, Ordering::Acquire).is_ok() {
                return true;
            }
        }
    }

    /// Where a claim may stand.
    fn places(&self, hash: u64) -> impl Iterator<Item = &AtomicU64> {
        (0..PLACE_COUNT).map(move |step| &self.slots[(hash as usize + step) % SLOT_COUNT])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::thread;

    const NOW: Instant = Instant(1_000_000_000);

    #[test]
    fn a_response_is_the_first_ones_who_asks() {
        let calls = Calls::default();
        let (one, other) = (SessionId(1), SessionId(2));
        for response in 0..1_000 {
            let (first, second) = if response % 2 == 0 { (one, other) } else { (other, one) };
            let asked =
                [first, second, first, second].map(|owner| calls.claim(&("rtc_1", response), owner, NOW));
            assert_eq!(asked, [true, false, true, false]);
        }
        assert!(calls.claim(&("rtc_2", 0), other, NOW), "another call");
        let later = NOW.plus_ms(HOLDS_SECONDS * 1_000);
        assert!(calls.claim(&("rtc_1", 0), other, later), "nobody has asked for long");
        assert!(!calls.claim(&("rtc_1", 0), one, later));
        calls.take(&("rtc_1", 0), one, later);
        assert!(calls.claim(&("rtc_1", 0), one, later) && !calls.claim(&("rtc_1", 0), other, later));
    }

    #[test]
    fn of_many_who_ask_at_once_one_is_told_so() {
        let calls = Arc::new(Calls::default());
        let told: Vec<u64> = (0..4)
            .map(|owner| {
                let calls = Arc::clone(&calls);
                thread::spawn(move || {
                    (0..1_000_u64)
                        .filter(|response| calls.claim(response, SessionId(owner), NOW))
                        .collect::<Vec<_>>()
                })
            })
            .collect::<Vec<_>>()
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect();
        assert_eq!(told.len(), 1_000);
    }
}
