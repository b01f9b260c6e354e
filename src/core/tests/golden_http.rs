//! Whole exchanges over HTTP, made up after real ones, with the usage and the cost that a second implementation
//! (`tests/golden/http/expect.py`) works out for them, to the nano-dollar, wherever their bytes are split.
//!
//! A line is an exchange: a request with `asked`, its JSON body, or a `form` with a file of `file_bytes` of sound; and an
//! answer with `body`, or `body_bytes` of what nobody can read. `GOLDEN_HTTP` names another folder of such transcripts.

use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::{env, fs};
use tokenist_core::api::{Answer, Api, Asked, Endpoint, Multipart, of_family};
use tokenist_core::dialect::family;
use tokenist_core::meter::{Charge, EstimateMode, Meter, Metered, Models, Reading};
use tokenist_core::price::PriceTable;
use tokenist_core::time::{Instant, Now, Timestamp};

const NOW: Now = Now { wall: Timestamp(1_795_000_000_000), instant: Instant(0) };

#[test]
fn golden_exchanges_cost_what_they_should_at_every_split() {
    let transcripts = transcripts();
    assert!(transcripts.len() >= 6, "{transcripts:?}");
    for transcript in transcripts {
        let text = fs::read_to_string(&transcript).unwrap();
        let expected = fs::read_to_string(transcript.with_extension("expected.json")).unwrap();
        let expected: Value = serde_json::from_str(&expected).unwrap();
        let exchanges: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let mut total = 0;
        let mut rows = Vec::new();
        for exchange in &exchanges {
            let whole = booked(exchange, Split::Nowhere, EstimateMode::Enforce);
            let bytes = exchange["body"].as_str().map_or(0, str::len);
            let splits = (0..bytes).map(Split::At).chain([Split::Everywhere]);
            for split in splits {
                assert_eq!(booked(exchange, split, EstimateMode::Enforce), whole, "{exchange} {split:?}");
            }
            assert_eq!(booked(exchange, Split::Nowhere, EstimateMode::Observe), whole, "{exchange}");
            total += whole.iter().map(|metered| metered.cost.0).sum::<i64>();
            rows.extend(whole.iter().map(row));
        }
        let found = json!({"total_cost_nano": total, "booked": rows});
        assert_eq!(found, expected, "{}", transcript.display());
    }
}

#[derive(Clone, Copy, Debug)]
enum Split {
    Nowhere,
    At(usize),
    Everywhere,
}

fn booked(exchange: &Value, split: Split, mode: EstimateMode) -> Vec<Metered> {
    let (api, provider, endpoint) = endpoint(exchange);
    if !endpoint.is_metered() {
        return Vec::new();
    }
    let prices = PriceTable::builtin();
    let asked = asked(exchange, &endpoint, split);
    let named = endpoint.model.as_deref().or(asked.model.as_deref());
    let models = Models { session: named.map(Into::into), transcription: None };
    let mut meter = Meter::of_api(api, provider.into(), models, mode);
    meter.ask(&asked);
    let header = |name: &str| exchange["headers"][name].as_str();
    let mut answer = Answer::new(&endpoint, asked, exchange["status"].as_u64().unwrap() as u16, header);
    let mut all = Reading::default();
    let mut take = |reading: Reading| {
        all.charge += reading.charge;
        all.foreseen += reading.foreseen;
        all.booked.extend(reading.booked);
    };
    let body = body(exchange);
    for mut piece in pieces(&body, split) {
        while !piece.is_empty() {
            let read = answer.read(piece, &mut |event| take(meter.take(event, &prices, NOW)));
            piece = &piece[read.bytes..];
        }
    }
    answer.end(exchange["cut"] != true, &mut |event| take(meter.take(event, &prices, NOW)));
    take(meter.settle(&prices, NOW));
    let cost = all.booked.iter().map(|metered| metered.cost).sum();
    let tokens: u64 = all.booked.iter().map(|metered| metered.usage.total_tokens()).sum();
    assert_eq!(all.charge, Charge { cost, tokens: tokens as i64 }, "{exchange}");
    assert_eq!(all.foreseen, Charge::default(), "{exchange}");
    all.booked
}

fn endpoint(exchange: &Value) -> (&'static dyn Api, &'static str, Endpoint) {
    let text = |name: &str| exchange[name].as_str().unwrap();
    let family = family(text("family")).unwrap();
    let of = |api: &'static dyn Api| Some((api, api.endpoint(text("method"), text("path"))?));
    let (api, endpoint) = of_family(family).find_map(of).unwrap();
    (api, family.defaults[0], endpoint)
}

fn asked(exchange: &Value, endpoint: &Endpoint, split: Split) -> Asked {
    let Some(fields) = exchange["form"].as_object() else {
        return endpoint.asked(exchange["asked"].as_str().unwrap_or_default().as_bytes());
    };
    let mut form = Multipart::of("multipart/form-data; boundary=b").unwrap();
    let sound = wave(exchange["file_bytes"].as_u64().unwrap());
    let mut body =
        b"--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\n".to_vec();
    body.extend_from_slice(&sound);
    for (name, value) in fields {
        let value = value.as_str().unwrap();
        let field = format!("\r\n--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}");
        body.extend_from_slice(field.as_bytes());
    }
    body.extend_from_slice(b"\r\n--b--\r\n");
    pieces(&body, split).into_iter().for_each(|piece| form.read(piece));
    form.asked().clone()
}

/// So many bytes of a file that holds 32,000 bytes of sound a second.
fn wave(bytes: u64) -> Vec<u8> {
    let mut file =
        b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x80\x3e\0\0\0\x7d\0\0\x02\0\x10\0data\xff\xff\xff\xff"
            .to_vec();
    file.resize(bytes as usize, 0);
    file
}

fn body(exchange: &Value) -> Vec<u8> {
    match exchange["body"].as_str() {
        Some(body) => body.as_bytes().to_vec(),
        None => vec![0xff; exchange["body_bytes"].as_u64().unwrap() as usize],
    }
}

fn pieces(body: &[u8], split: Split) -> Vec<&[u8]> {
    match split {
        Split::Nowhere => vec![body],
        Split::At(at) => vec![&body[..at.min(body.len())], &body[at.min(body.len())..]],
        Split::Everywhere => body.chunks(1).collect(),
    }
}

fn row(metered: &Metered) -> Value {
    let mut usage = serde_json::to_value(metered.usage).unwrap();
    usage.as_object_mut().unwrap().retain(|name, count| *count != 0 || name == "requests");
    json!({
        "model": metered.model.as_str(),
        "usage": usage,
        "cost_nano": metered.cost.0,
        "estimated": metered.estimated,
        "known_price": metered.known_price,
    })
}

fn transcripts() -> Vec<PathBuf> {
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/http");
    let folder = env::var_os("GOLDEN_HTTP").map_or(ours, PathBuf::from);
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "jsonl")).collect()
}
