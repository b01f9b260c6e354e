//! An answer of arbitrary bytes, and a form: however they are split, they tell the same, and the charges add up.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tokenist_core::api::{Answer, Api, Endpoint, Multipart, UsageFilter, of_family};
use tokenist_core::dialect::family;
use tokenist_core::meter::{Charge, EstimateMode, Meter, Models, Reading};
use tokenist_core::price::PriceTable;
use tokenist_core::time::{Instant, Now, Timestamp};

const ENDPOINTS: [(&str, &str); 8] = [
    ("openai", "/v1/chat/completions"),
    ("openai", "/v1/responses"),
    ("openai", "/v1/embeddings"),
    ("openai", "/v1/audio/speech"),
    ("openai", "/v1/images/generations"),
    ("anthropic", "/v1/messages"),
    ("gemini", "/v1beta/models/m:streamGenerateContent"),
    ("gemini", "/v1beta/interactions"),
];
const KINDS: [&str; 3] = ["text/event-stream", "application/json", "audio/mpeg"];
const NOW: Now = Now { wall: Timestamp(1_795_000_000_000), instant: Instant(0) };

fuzz_target!(|bytes: &[u8]| {
    let Some((head, body)) = bytes.split_at_checked(4) else { return };
    let (family_name, path) = ENDPOINTS[usize::from(head[0]) % ENDPOINTS.len()];
    let api = of_family(family(family_name).unwrap()).next().unwrap();
    let endpoint = api.endpoint("POST", path).unwrap();
    let kind = KINDS[usize::from(head[1]) % KINDS.len()];
    let split = (usize::from(head[2]) * 256 + usize::from(head[3])) % (body.len() + 1);
    let whole = told(api, &endpoint, kind, &[body]);
    assert_eq!(told(api, &endpoint, kind, &[&body[..split], &body[split..]]), whole);
    let asked = endpoint.asked(body);
    if let Some(with_usage) = asked.with_usage(body) {
        assert!(!endpoint.asked(&with_usage).lacks_usage || asked.lacks_usage);
    }
    let form = |pieces: &[&[u8]]| {
        let mut form = Multipart::of("multipart/form-data; boundary=b").unwrap();
        pieces.iter().for_each(|piece| form.read(piece));
        (form.asked().clone(), form.problem())
    };
    assert_eq!(form(&[&body[..split], &body[split..]]), form(&[body]));
});

/// What the pieces tell, and what a client that did not ask for usage sees.
fn told(api: &'static dyn Api, endpoint: &Endpoint, kind: &str, pieces: &[&[u8]]) -> (Vec<String>, Vec<u8>) {
    let prices = PriceTable::builtin();
    let mut meter = Meter::of_api(api, "openai".into(), Models::default(), EstimateMode::Enforce);
    let asked = endpoint.asked(b"{\"model\":\"m\",\"input\":\"a text to be read\"}");
    meter.ask(&asked);
    let mut answer = Answer::new(endpoint, asked, 200, |_| Some(kind));
    let (mut filter, mut seen, mut events) = (UsageFilter::default(), Vec::new(), Vec::new());
    let mut all = Reading::default();
    let mut take = |reading: Reading| {
        all.charge += reading.charge;
        all.foreseen += reading.foreseen;
        all.booked.extend(reading.booked);
    };
    for mut piece in pieces.iter().copied() {
        while !piece.is_empty() {
            let read = answer.read(piece, &mut |event| {
                events.push(format!("{event:?}"));
                take(meter.take(event, &prices, NOW));
            });
            filter.pass(&piece[..read.bytes], read.ends_event, &mut seen);
            piece = &piece[read.bytes..];
        }
    }
    answer.end(true, &mut |event| {
        events.push(format!("{event:?}"));
        take(meter.take(event, &prices, NOW));
    });
    filter.end(&mut seen);
    take(meter.settle(&prices, NOW));
    let cost = all.booked.iter().map(|metered| metered.cost).sum();
    let tokens: u64 = all.booked.iter().map(|metered| metered.usage.total_tokens()).sum();
    assert_eq!(all.charge, Charge { cost, tokens: tokens as i64 });
    assert_eq!(all.foreseen, Charge::default());
    (events, seen)
}
