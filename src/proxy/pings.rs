//! When a silent side is pinged.
//!
//! Every session has beats of its own, as far apart as all others' and spread over the interval: so sessions that were
//! opened together, or that fell silent together, are not pinged together.

use tokenist_core::id::SessionId;
use tokenist_core::time::Instant;

/// The payload of our pings. Pongs that carry it are answers to us and go no further.
pub(crate) const PING: &[u8] = b"tokenist";

/// The beats of one direction of one session.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Beats {
    interval_ms: u64,
    /// How much earlier than a multiple of the interval they come.
    phase_ms: u64,
}

/// Which direction is pinged: the two of a session take turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Toward {
    Downstream,
    Upstream,
}

/// 2^64 divided by the golden ratio: multiples of it lie evenly on the circle, and ids count up.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

impl Beats {
    pub(crate) fn new(session: SessionId, toward: Toward, interval_ms: u64) -> Beats {
        let turn = match toward {
            Toward::Downstream => 0,
            Toward::Upstream => 1 << 63,
        };
        let circle = session.0.wrapping_mul(GOLDEN).wrapping_add(turn);
        let phase_ms = (u128::from(circle) * u128::from(interval_ms)) >> 64;
        Beats { interval_ms: interval_ms.max(1), phase_ms: phase_ms as u64 }
    }

    /// Whether a beat has come since the silence is an interval long and a ping was last sent: so a silent side is
    /// pinged at most two intervals after it was last heard, and then with each.
    pub(crate) fn is_due(self, now: Instant, heard_at: Instant, pinged_at: Instant) -> bool {
        let silent_at = heard_at.plus_ms(self.interval_ms);
        self.count(now) > self.count(silent_at.max(pinged_at))
    }

    /// Beats until then.
    fn count(self, at: Instant) -> u64 {
        at.plus_ms(self.phase_ms).0 / self.interval_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL_MS: u64 = 20_000;
    const TICK_MS: u64 = 100;

    /// When the side of a session is pinged that was heard at `heard_at` and never again, in a tick at a time.
    fn pings(session: u64, toward: Toward, heard_at: Instant, until: Instant) -> Vec<Instant> {
        let beats = Beats::new(SessionId(session), toward, INTERVAL_MS);
        let (mut now, mut pinged_at, mut pings) = (heard_at, Instant(0), Vec::new());
        while now < until {
            now = now.plus_ms(TICK_MS);
            if beats.is_due(now, heard_at, pinged_at) {
                pinged_at = now;
                pings.push(now);
            }
        }
        pings
    }

    #[test]
    fn sessions_opened_together_are_pinged_one_after_the_other() {
        let heard_at = Instant(5_000_000);
        let mut by_tick = vec![0; (INTERVAL_MS / TICK_MS) as usize];
        let first_id = 77 << 44 | 1 << 36;
        for session in first_id..first_id + 9_000 {
            for toward in [Toward::Downstream, Toward::Upstream] {
                let first = pings(session, toward, heard_at, heard_at.plus_ms(2 * INTERVAL_MS))[0];
                let late_ms = first.since(heard_at) - INTERVAL_MS;
                by_tick[(late_ms.saturating_sub(1) / TICK_MS) as usize] += 1;
            }
        }
        let (least, most) = (by_tick.iter().min().unwrap(), by_tick.iter().max().unwrap());
        let even = 2 * 9_000 / by_tick.len();
        assert!(
            *least * 10 >= even * 8 && *most * 10 <= even * 12,
            "{least} to {most} where {even} are even"
        );
    }

    #[test]
    fn whoever_is_silent_is_pinged_twice_before_it_is_taken_for_dead() {
        for session in 0..500 {
            let heard_at = Instant(1_000_000 + session * 37);
            let dead_at = heard_at.plus_ms(3 * INTERVAL_MS);
            let pings = pings(session, Toward::Downstream, heard_at, dead_at);
            assert!(pings.len() >= 2 || pings.len() == 1 && dead_at.since(pings[0]) <= INTERVAL_MS + TICK_MS);
            assert!(pings[0].since(heard_at) > INTERVAL_MS, "it is silent for an interval first");
            assert!(dead_at.since(pings[0]) >= INTERVAL_MS - TICK_MS, "it has an interval to answer");
            let steps: Vec<u64> = pings.windows(2).map(|pair| pair[1].since(pair[0])).collect();
            assert!(steps.iter().all(|step| step.abs_diff(INTERVAL_MS) <= TICK_MS), "{steps:?}");
        }
    }

    #[test]
    fn whoever_is_heard_is_not_pinged() {
        let beats = Beats::new(SessionId(3), Toward::Downstream, INTERVAL_MS);
        for ms in (0..10 * INTERVAL_MS).step_by(TICK_MS as usize) {
            let now = Instant(1_000_000 + ms);
            assert!(!beats.is_due(now, Instant(now.0 - INTERVAL_MS / 2), Instant(0)), "{now:?}");
        }
    }

    #[test]
    fn the_two_sides_of_a_session_take_turns() {
        let heard_at = Instant(1_000_000);
        for session in 0..100 {
            let first = |toward| pings(session, toward, heard_at, heard_at.plus_ms(2 * INTERVAL_MS))[0];
            let apart = first(Toward::Downstream).0.abs_diff(first(Toward::Upstream).0);
            assert!(apart.abs_diff(INTERVAL_MS / 2) <= TICK_MS, "{apart} ms");
        }
    }
}
