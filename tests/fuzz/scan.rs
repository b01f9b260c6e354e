//! A session of arbitrary events: nothing may panic, and the charges must add up to what was booked.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tokenist_core::dialect::{FAMILIES, HEAD_BYTES_MAX, Rest};
use tokenist_core::meter::{Charge, EstimateMode, Meter, Models, Peeked, Reading};
use tokenist_core::price::PriceTable;
use tokenist_core::time::{Instant, Now, Timestamp};

fuzz_target!(|bytes: &[u8]| {
    let (first, bytes) = bytes.split_first().unwrap_or((&0, &[]));
    let dialects: Vec<_> = FAMILIES.iter().flat_map(|family| family.dialects).collect();
    let dialect = *dialects[usize::from(*first) % dialects.len()];
    let prices = PriceTable::builtin();
    let mut meter = Meter::new(dialect, "openai".into(), Models::default(), EstimateMode::Enforce);
    let mut all = Reading::default();
    let mut take = |reading: Reading| {
        all.charge += reading.charge;
        all.foreseen += reading.foreseen;
        all.booked.extend(reading.booked);
    };
    let start = Now { wall: Timestamp(1_795_000_000_000), instant: Instant(0) };
    let mut now = start;
    // Lines are events; some come without their length, some cannot be kept.
    for (index, event) in bytes.split(|byte| *byte == b'\n').enumerate() {
        now = start.plus_ms(index as u64);
        let head = &event[..event.len().min(HEAD_BYTES_MAX)];
        let unseen = (event.len() - head.len()) as u64;
        let (seen, rest, unknown) = match index % 3 {
            0 => (head, Rest::Unknown, unseen),
            1 => (head, Rest::Bytes(unseen), 0),
            _ => (event, Rest::Nothing, 0),
        };
        match meter.peek(seen, rest, &prices, now) {
            Peeked::Pass => {}
            Peeked::Charge(charge) => take(Reading { charge, ..Reading::default() }),
            Peeked::Collect if index % 5 == 4 => take(meter.unmetered(head, &prices, now)),
            Peeked::Collect => take(meter.read(event, &prices, now)),
        }
        take(Reading { charge: meter.grow(unknown), ..Reading::default() });
        // The application may say the same; in the middle of it all it goes away.
        if index % 2 == 0 {
            meter.peek_client(head, event.len() as u64);
            meter.read_client(event, event.len() as u64, &prices, now);
        }
        if index == 9 {
            take(meter.abandon());
        }
    }
    take(meter.settle(&prices, now));
    let cost = all.booked.iter().map(|metered| metered.cost).sum();
    let tokens: u64 = all.booked.iter().map(|metered| metered.usage.total_tokens()).sum();
    assert_eq!(all.charge, Charge { cost, tokens: tokens as i64 });
    assert_eq!(all.foreseen, Charge::default());
});
