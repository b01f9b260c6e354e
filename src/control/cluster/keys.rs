//! What things are called in Redis. The part in braces decides where in a cluster a key is, so all buckets of a holder
//! are in one place and one script may touch them.

use sha2::{Digest, Sha256};
use std::fmt::Write;
use tokenist_core::id::Holder;
use tokenist_core::limit::WindowKind;
use tokenist_core::time::Timestamp;
use tokenist_core::window::WindowBucket;

/// Instances in touch, each with the time, by Redis's clock, when it last was.
pub(super) const INSTANCES: &str = "tokenist:{fleet}:instances";
/// Set by an instance that finds none: another one means that Redis has lost what it held.
pub(super) const MARKER: &str = "tokenist:{fleet}:marker";
/// A stream of settings.
pub(super) const CHANGE_FEED: &str = "tokenist:{fleet}:news";
/// By the name that it counts under, the run that does, where, and when it last said so.
pub(super) const RUNS: &str = "tokenist:{fleet}:runs";
/// The beginning of keys where instances try what they will have to do.
pub(super) const PROBE: &str = "tokenist:{fleet}:probe";

/// A hash of one field per writer. A holder's name is not legible in it.
pub(super) fn bucket(holder: &str, bucket: WindowBucket) -> String {
    let window = match bucket.window {
        WindowKind::Daily => "day",
        WindowKind::Monthly => "month",
        WindowKind::Rolling24h => "rolling",
        WindowKind::Total => "total",
    };
    format!("tokenist:{{{holder}}}:{window}:{}", bucket.start.0)
}

/// The holder's part of its keys.
pub(super) fn holder(holder: &Holder) -> String {
    let (kind, id) = match holder {
        Holder::User(user) => ("user", user.to_string()),
        Holder::Org(org) => ("org", org.to_string()),
        Holder::Feature(feature) => ("feature", feature.to_string()),
        Holder::Key(key) => ("key", key.to_string()),
    };
    let hash = Sha256::digest(format!("{kind} {id}"));
    hash[..16].iter().fold(format!("{kind}:"), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes what is written");
        text
    })
}

/// When Redis may forget a bucket: some time after nothing of it counts, because clocks differ.
pub(super) fn expires_at(bucket: WindowBucket) -> Option<Timestamp> {
    bucket.end().map(|end| end.plus_ms(SLACK_MS))
}

const SLACK_MS: u64 = 60 * 60 * 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_say_what_of_whom_and_not_who() {
        let alice = holder(&Holder::User("alice".into()));
        assert_eq!(alice, "user:83b85c8712dd7234acbd5211dec0b961");
        let day = WindowBucket { window: WindowKind::Daily, start: Timestamp(1_796_083_200_000) };
        assert_eq!(bucket(&alice, day), format!("tokenist:{{{alice}}}:day:1796083200000"));
        assert_eq!(expires_at(day), Some(Timestamp(1_796_083_200_000 + 25 * 3_600_000)));
        assert_ne!(holder(&Holder::Org("alice".into()))[4..], alice[5..]);
    }
}
