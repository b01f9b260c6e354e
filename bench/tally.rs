//! What a run counted: sums and histograms that merge over threads.

use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::time::Duration;
use tokenist_core::usage::Usage;

/// Longer latencies are recorded as this.
const LATENCY_MAX: Duration = Duration::from_secs(60);

#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) sessions_opened: u64,
    /// Connections that went on with one of them.
    pub(crate) sessions_resumed: u64,
    pub(crate) messages_received: u64,
    pub(crate) messages_sent: u64,
    pub(crate) bytes_received: u64,
    pub(crate) bytes_sent: u64,
    /// Sent more than two beats after they were due.
    pub(crate) late_sends: u64,
    pub(crate) turns: u64,
    /// From when a message was due to when it was here; over HTTP from when a request was due to its answer's end.
    pub(crate) latency: Latency,
    /// Over HTTP: from when a request was due to the first byte of its answer's body.
    pub(crate) first: Latency,
    /// Over HTTP: from when an event was said to when it was here.
    pub(crate) event: Latency,
    /// From when a session was due to its `session.created`; over HTTP to when it was connected.
    pub(crate) connect: Latency,
    /// On calls: packets of sound.
    pub(crate) media: Media,
    /// What went wrong, by word.
    pub(crate) errors: BTreeMap<String, u64>,
    /// With which codes the other side closed.
    pub(crate) close_codes: BTreeMap<u16, u64>,
    /// Usage that sessions were told, by user and model.
    pub(crate) users: BTreeMap<String, BTreeMap<String, Usage>>,
}

/// Packets of sound on calls, which say when they were sent and are echoed with the moment of that.
#[derive(Clone, Debug, Default)]
pub(crate) struct Media {
    pub(crate) sent: u64,
    pub(crate) received: u64,
    /// Sent, and never come back where they are echoed.
    pub(crate) lost: u64,
    /// Of them, as far as what came behind them tells: sent, and never come to who echoes; sent from there, and never come back.
    pub(crate) lost_up: u64,
    pub(crate) lost_down: u64,
    /// Received, and the provider's tone was heard in them.
    pub(crate) tones: u64,
    /// How long they took on each way.
    pub(crate) up: Latency,
    pub(crate) down: Latency,
    /// Of each call, of the way down (RFC 3550, 6.4.1).
    pub(crate) jitter: Latency,
}

impl AddAssign for Media {
    fn add_assign(&mut self, other: Media) {
        self.sent += other.sent;
        self.received += other.received;
        self.lost += other.lost;
        self.lost_up += other.lost_up;
        self.lost_down += other.lost_down;
        self.tones += other.tones;
        self.up.0 += other.up.0;
        self.down.0 += other.down.0;
        self.jitter.0 += other.jitter.0;
    }
}

/// A histogram of nanoseconds to three digits.
#[derive(Clone, Debug)]
pub(crate) struct Latency(Histogram<u64>);

impl Default for Latency {
    fn default() -> Latency {
        let max_ns = LATENCY_MAX.as_nanos() as u64;
        Latency(Histogram::new_with_bounds(1, max_ns, 3).expect("the bounds are constants that fit"))
    }
}

impl Latency {
    pub(crate) fn record(&mut self, latency: Duration) {
        self.0.saturating_record(latency.as_nanos().max(1) as u64);
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.len()
    }

    /// Microseconds that the share `quantile` of all stayed within.
    pub(crate) fn us(&self, quantile: f64) -> f64 {
        self.0.value_at_quantile(quantile) as f64 / 1_000.0
    }

    pub(crate) fn us_max(&self) -> f64 {
        self.0.max() as f64 / 1_000.0
    }

    pub(crate) fn us_mean(&self) -> f64 {
        self.0.mean() / 1_000.0
    }
}

impl Tally {
    pub(crate) fn error(&mut self, word: &str) {
        *self.errors.entry(word.to_owned()).or_default() += 1;
    }

    pub(crate) fn error_count(&self) -> u64 {
        self.errors.values().sum()
    }

    pub(crate) fn used(&mut self, user: &str, model: &str, usage: Usage) {
        *self.users.entry(user.to_owned()).or_default().entry(model.to_owned()).or_default() += usage;
    }

    /// All users' usage.
    pub(crate) fn usage(&self) -> Usage {
        self.users.values().flat_map(BTreeMap::values).fold(Usage::default(), |sum, &usage| sum + usage)
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        self.sessions_opened += other.sessions_opened;
        self.sessions_resumed += other.sessions_resumed;
        self.messages_received += other.messages_received;
        self.messages_sent += other.messages_sent;
        self.bytes_received += other.bytes_received;
        self.bytes_sent += other.bytes_sent;
        self.late_sends += other.late_sends;
        self.turns += other.turns;
        self.latency.0 += other.latency.0;
        self.first.0 += other.first.0;
        self.event.0 += other.event.0;
        self.connect.0 += other.connect.0;
        self.media += other.media;
        for (word, count) in other.errors {
            *self.errors.entry(word).or_default() += count;
        }
        for (code, count) in other.close_codes {
            *self.close_codes.entry(code).or_default() += count;
        }
        for (user, models) in other.users {
            for (model, usage) in models {
                self.used(&user, &model, usage);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merged_tallies_are_as_if_one_had_counted() {
        let (mut one, mut other, mut both) = (Tally::default(), Tally::default(), Tally::default());
        for index in 0..1_000_u64 {
            let usage = Usage { text_in: index, requests: 1, ..Usage::default() };
            let half = if index % 3 == 0 { &mut one } else { &mut other };
            for tally in [half, &mut both] {
                tally.messages_received += 1;
                tally.latency.record(Duration::from_micros(index * 10));
                tally.error(["refused", "reset"][index as usize % 2]);
                *tally.close_codes.entry(1_000 + (index % 4) as u16).or_default() += 1;
                tally.used(&format!("user-{}", index % 5), "m", usage);
            }
        }
        one += other;
        assert_eq!(one.messages_received, both.messages_received);
        assert_eq!(
            (one.errors.clone(), one.close_codes.clone()),
            (both.errors.clone(), both.close_codes.clone())
        );
        assert_eq!(one.users, both.users);
        assert_eq!(one.usage().requests, 1_000);
        for quantile in [0.0, 0.5, 0.99, 1.0] {
            assert_eq!(one.latency.us(quantile), both.latency.us(quantile));
        }
    }

    #[test]
    fn a_latency_beyond_the_range_counts_as_the_longest() {
        let mut latency = Latency::default();
        latency.record(Duration::from_secs(3_600));
        assert!((60e6..60.1e6).contains(&latency.us_max()));
    }
}
