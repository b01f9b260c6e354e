//! How often one party may try something: so many different tries in a span, counted from the first of them.

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use subtle::ConstantTimeEq;

/// A bounded table of addresses.
#[derive(Debug)]
pub(crate) struct Throttle {
    tries_max: u32,
    span: Duration,
    slots: Mutex<Box<[Option<Tries>]>>,
    hasher: RandomState,
}

/// An address and its tries since the first of them. A client that keeps sending the same stale token is not
/// guessing: it is counted once, so that it does not shut out an operator behind the same address.
#[derive(Clone, Debug)]
struct Tries {
    address: IpAddr,
    since: Instant,
    count: u32,
    /// The hash of what was tried.
    last: [u8; 32],
}

const SLOT_COUNT: usize = 1024;

impl Throttle {
    /// After `tries_max` different tries an address has to wait until `span` is over.
    pub(crate) fn new(tries_max: u32, span: Duration) -> Throttle {
        let slots = Mutex::new(vec![None; SLOT_COUNT].into());
        Throttle { tries_max, span, slots, hasher: RandomState::new() }
    }

    /// Whether `address` has used up its tries, and how long that lasts.
    pub(crate) fn retry_after_seconds(&self, address: IpAddr, now: Instant) -> Option<u64> {
        let address = network(address);
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let tries = slots[self.slot(address)].as_ref().filter(|tries| tries.address == address)?;
        let left = self.span.checked_sub(now.saturating_duration_since(tries.since))?;
        (tries.count >= self.tries_max && !left.is_zero()).then(|| left.as_secs().max(1))
    }

    /// Notes what was tried, by its hash. Two addresses may share a slot: then the newer one takes it, and the table
    /// never grows.
    pub(crate) fn note(&self, address: IpAddr, tried: [u8; 32], now: Instant) {
        let address = network(address);
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = &mut slots[self.slot(address)];
        let known = slot.as_mut().filter(|tries| {
            tries.address == address && now.saturating_duration_since(tries.since) < self.span
        });
        match known {
            Some(tries) if tries.last.ct_eq(&tried).into() => {}
            Some(tries) => {
                tries.count += 1;
                tries.last = tried;
            }
            None => *slot = Some(Tries { address, since: now, count: 1, last: tried }),
        }
    }

    fn slot(&self, address: IpAddr) -> usize {
        self.hasher.hash_one(address) as usize % SLOT_COUNT
    }
}

/// What one party is assumed to hold: an IPv4 address or an IPv6 /64.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
