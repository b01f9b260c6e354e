//! Transcripts in a folder, what they should come to, and the sums that hold of whatever is booked.

#![allow(dead_code, reason = "each test binary uses its own part")]

use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use tokenist_core::meter::{Charge, Metered, Reading};
use tokenist_core::time::{Instant, Now, Timestamp};

/// When a transcript begins.
pub(crate) const NOW: Now = Now { wall: Timestamp(1_795_000_000_000), instant: Instant(0) };

/// Below `tests/golden`.
pub(crate) fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden").join(name)
}

pub(crate) fn transcripts(folder: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "jsonl")).collect()
}

/// `{total_cost_nano, booked}` of a transcript, as the second implementation has worked it out.
pub(crate) fn expected(transcript: &Path) -> Value {
    let text = fs::read_to_string(transcript.with_extension("expected.json")).unwrap();
    let mut expected: Value = serde_json::from_str(&text).unwrap();
    expected["booked"].as_array_mut().unwrap().iter_mut().for_each(|row| without_zeros(&mut row["usage"]));
    expected
}

/// What was booked, in the same form.
pub(crate) fn found(booked: &[Metered]) -> Value {
    let total: i64 = booked.iter().map(|metered| metered.cost.0).sum();
    json!({"total_cost_nano": total, "booked": booked.iter().map(row).collect::<Vec<_>>()})
}

pub(crate) fn row(metered: &Metered) -> Value {
    let mut usage = serde_json::to_value(metered.usage).unwrap();
    without_zeros(&mut usage);
    json!({
        "model": metered.model.as_str(),
        "usage": usage,
        "cost_nano": metered.cost.0,
        "estimated": metered.estimated,
        "known_price": metered.known_price,
    })
}

/// A kind that is not used need not be named.
fn without_zeros(usage: &mut Value) {
    usage.as_object_mut().unwrap().retain(|_, count| *count != 0);
}

/// All that a meter has told.
#[derive(Default)]
pub(crate) struct Told(Reading);

impl Told {
    pub(crate) fn take(&mut self, reading: Reading) {
        self.0.charge += reading.charge;
        self.0.foreseen += reading.foreseen;
        self.0.booked.extend(reading.booked);
    }

    pub(crate) fn charge(&mut self, charge: Charge) {
        self.0.charge += charge;
    }

    /// What was booked, once everything is settled: charges add up to it, and what was foreseen is taken back.
    pub(crate) fn booked(self) -> Vec<Metered> {
        let tokens: u64 = self.0.booked.iter().map(|metered| metered.usage.total_tokens()).sum();
        let cost = self.0.booked.iter().map(|metered| metered.cost).sum();
        assert_eq!(self.0.charge, Charge { cost, tokens: tokens as i64 });
        assert_eq!(self.0.foreseen, Charge::default());
        self.0.booked
    }
}
