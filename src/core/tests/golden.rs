//! Whole sessions, made up after real ones, with the usage and the cost that a second implementation
//! (`tests/golden/expect.py`) works out for them, to the nano-dollar.

use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use tokenist_core::dialect::{Dialect, HEAD_BYTES_MAX};
use tokenist_core::meter::{Charge, EstimateMode, Meter, Metered, Models, Peeked, Reading};
use tokenist_core::price::PriceTable;
use tokenist_core::time::{Instant, Now, Timestamp};

#[test]
fn golden_transcripts_cost_what_they_should() {
    let transcripts = transcripts();
    assert!(transcripts.len() >= 12, "{transcripts:?}");
    for transcript in transcripts {
        let text = fs::read_to_string(&transcript).unwrap();
        let expected = fs::read_to_string(transcript.with_extension("expected.json")).unwrap();
        let expected: Value = serde_json::from_str(&expected).unwrap();
        for mode in [EstimateMode::Enforce, EstimateMode::Observe] {
            let booked = run(text.lines(), mode);
            let total: i64 = booked.iter().map(|metered| metered.cost.0).sum();
            let rows: Vec<Value> = booked.iter().map(row).collect();
            let found = json!({"total_cost_nano": total, "booked": rows});
            assert_eq!(found, expected, "{} {mode:?}", transcript.display());
        }
    }
}

fn run<'a>(events: impl Iterator<Item = &'a str>, mode: EstimateMode) -> Vec<Metered> {
    let prices = PriceTable::builtin();
    let mut meter = Meter::new(Dialect::OpenaiRealtime, "openai".into(), Models::default(), mode);
    let mut charged = Charge::default();
    let mut all = Reading::default();
    let mut now = Now { wall: Timestamp(1_795_000_000_000), instant: Instant(0) };
    for event in events {
        now = now.plus_ms(20);
        let head = &event.as_bytes()[..event.len().min(HEAD_BYTES_MAX)];
        match meter.peek(head, event.len() as u64, &prices, now) {
            Peeked::Pass => {}
            Peeked::Charge(charge) => charged += charge,
            Peeked::Collect => take(&mut all, meter.read(event.as_bytes(), &prices, now)),
        }
    }
    take(&mut all, meter.settle(&prices, now));
    charged += all.charge;
    let tokens: u64 = all.booked.iter().map(|metered| metered.usage.total_tokens()).sum();
    let cost = all.booked.iter().map(|metered| metered.cost).sum();
    assert_eq!(charged, Charge { cost, tokens: tokens as i64 }, "charges add up to what is booked");
    assert_eq!(all.foreseen, Charge::default(), "what was foreseen is taken back");
    all.booked
}

fn take(all: &mut Reading, reading: Reading) {
    all.charge += reading.charge;
    all.foreseen += reading.foreseen;
    all.booked.extend(reading.booked);
}

fn row(metered: &Metered) -> Value {
    let mut usage = serde_json::to_value(metered.usage).unwrap();
    assert_eq!(usage.as_object_mut().unwrap().remove("image_out"), Some(json!(0)));
    json!({
        "model": metered.model.as_str(),
        "usage": usage,
        "cost_nano": metered.cost.0,
        "estimated": metered.estimated,
        "known_price": metered.known_price,
    })
}

fn transcripts() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "jsonl")).collect()
}
