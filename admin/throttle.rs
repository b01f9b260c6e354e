//! How often one party may try something: so many different tries in a span, counted from the first of them.

use std::hash::{BuildHasher, Hash, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use subtle::ConstantTimeEq;

/// A bounded table of parties.
#[derive(Debug)]
pub(crate) struct Throttle<P> {
    tries_max: u32,
    span: Duration,
    slots: Mutex<Box<[Option<Tries<P>>]>>,
    hasher: RandomState,
}

/// A try that was taken before its outcome was known.
#[derive(Debug)]
pub(crate) struct Taken<P> {
    party: P,
    since: Instant,
    /// It was a new one.
    is_counted: bool,
}

/// A party and its tries since the first of them. A client that keeps sending the same stale token is not guessing: it
/// is counted once.
#[derive(Clone, Debug)]
struct Tries<P> {
    party: P,
    since: Instant,
    count: u32,
    /// The hash of what was tried.
    last: [u8; 32],
}

const SLOT_COUNT: usize = 1024;

impl<P: Copy + Eq + Hash> Throttle<P> {
    /// After `tries_max` different tries a party has to wait until `span` is over.
    pub(crate) fn new(tries_max: u32, span: Duration) -> Throttle<P> {
        let slots = Mutex::new(vec![None; SLOT_COUNT].into());
        Throttle { tries_max, span, slots, hasher: RandomState::new() }
    }

    /// Whether `party` has used up its tries, and how long that lasts.
    pub(crate) fn retry_after_seconds(&self, party: P, now: Instant) -> Option<u64> {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let tries = slots[self.slot(party)].as_ref().filter(|tries| tries.party == party)?;
        (tries.count >= self.tries_max).then(|| self.seconds_left(tries.since, now)).flatten()
    }

    /// Notes what was tried, by its hash. If it is one more than the party may try, how long it has to wait. Two parties
    /// may share a slot: then the newer one takes it, and the table never grows.
    pub(crate) fn note(&self, party: P, tried: [u8; 32], now: Instant) -> Option<u64> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = &mut slots[self.slot(party)];
        let known = slot
            .as_mut()
            .filter(|tries| tries.party == party && self.seconds_left(tries.since, now).is_some());
        match known {
            Some(tries) => {
                if !bool::from(tries.last.ct_eq(&tried)) {
                    tries.count = tries.count.saturating_add(1);
                    tries.last = tried;
                }
                (tries.count > self.tries_max).then(|| self.seconds_left(tries.since, now)).flatten()
            }
            None => {
                *slot = Some(Tries { party, since: now, count: 1, last: tried });
                None
            }
        }
    }

    /// Takes a try before it is made, so that of many at once no more are made than of many in turn. `Err`: the party
    /// has none left, and for how many seconds.
    pub(crate) fn take(&self, party: P, tried: [u8; 32], now: Instant) -> Result<Taken<P>, u64> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = &mut slots[self.slot(party)];
        let known = slot.as_mut().filter(|tries| tries.party == party);
        let known = known.and_then(|tries| Some((self.seconds_left(tries.since, now)?, tries)));
        let Some((seconds, tries)) = known else {
            *slot = Some(Tries { party, since: now, count: 1, last: tried });
            return Ok(Taken { party, since: now, is_counted: true });
        };
        if tries.count >= self.tries_max {
            return Err(seconds);
        }
        let is_counted = !bool::from(tries.last.ct_eq(&tried));
        if is_counted {
            tries.count += 1;
            tries.last = tried;
        }
        Ok(Taken { party, since: tries.since, is_counted })
    }

    /// The try was none: what was tried is right.
    pub(crate) fn give_back(&self, taken: Taken<P>) {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = slots[self.slot(taken.party)].as_mut();
        let slot = slot.filter(|tries| tries.party == taken.party && tries.since == taken.since);
        if let Some(tries) = slot.filter(|_| taken.is_counted) {
            tries.count = tries.count.saturating_sub(1);
        }
    }

    /// Until the span that began then is over; at least a second, as a header tells it.
    fn seconds_left(&self, since: Instant, now: Instant) -> Option<u64> {
        let left = self.span.checked_sub(now.saturating_duration_since(since))?;
        (!left.is_zero()).then(|| left.as_secs().max(1))
    }

    fn slot(&self, party: P) -> usize {
        self.hasher.hash_one(party) as usize % SLOT_COUNT
    }
}

/// What one party is assumed to hold: an IPv4 address or an IPv6 /64.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_try_is_taken_before_it_is_made_and_given_back_if_it_was_right() {
        let (span, start) = (Duration::from_secs(10), Instant::now());
        let throttle = Throttle::new(3, span);
        let take = |party: u8, tried: u8, at| throttle.take(party, [tried; 32], at);
        let right = take(1, 0, start).unwrap();
        let wrong: Vec<_> = (1..3).map(|tried| take(1, tried, start).unwrap()).collect();
        assert_eq!(take(1, 3, start).unwrap_err(), 10, "none is left while three are looked at");
        assert!(take(2, 3, start).is_ok());
        throttle.give_back(right);
        let again = take(1, 3, start).unwrap();
        assert!(take(1, 4, start + span / 2).is_err());
        throttle.give_back(again);
        take(1, 5, start).unwrap();
        let stale = wrong.into_iter().next().unwrap();
        for tried in 6..9 {
            take(1, tried, start + span).unwrap();
        }
        throttle.give_back(stale);
        assert!(take(1, 9, start + span).is_err(), "a try of the span before gives nothing back to this one");
    }

    #[test]
    fn what_is_tried_again_is_one_try() {
        let throttle = Throttle::new(2, Duration::from_secs(10));
        let now = Instant::now();
        let take = |tried: u8| throttle.take(1, [tried; 32], now);
        let (first, again) = (take(0).unwrap(), take(0).unwrap());
        throttle.give_back(again);
        take(1).unwrap();
        assert!(take(2).is_err(), "what was not counted is not given back");
        throttle.give_back(first);
        assert!(take(2).is_ok());
    }

    #[test]
    fn a_party_is_an_address_or_a_slash_64() {
        for (address, party) in [
            ("10.1.2.3", "10.1.2.3"),
            ("::ffff:10.1.2.3", "10.1.2.3"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ] {
            assert_eq!(network(address.parse().unwrap()), party.parse::<IpAddr>().unwrap());
        }
    }
}
