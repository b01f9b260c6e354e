//! Whole exchanges over HTTP, made up after real ones, with the usage and the cost that a second implementation
//! (`tests/golden/http/expect.py`) works out for them, to the nano-dollar, wherever their bytes are split, also in a coding.
//!
//! A line is an exchange: a request with `asked`, its JSON body, or a `form` with a file of `file_bytes` of sound; and an
//! answer with `body`, or `body_bytes` of what nobody can read. `GOLDEN_HTTP` names another folder of such transcripts.

mod transcript;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use serde_json::Value;
use std::io::Write;
use std::path::PathBuf;
use std::{env, fs};
use tokenist_core::api::{Answer, Api, Asked, Endpoint, Multipart, of_family};
use tokenist_core::dialect::family;
use tokenist_core::http::coding::{Coding, Decoder};
use tokenist_core::meter::{EstimateMode, Meter, Metered, Models};
use tokenist_core::price::PriceTable;
use transcript::{NOW, Told, expected, folder, found, transcripts};

#[test]
fn golden_exchanges_cost_what_they_should_at_every_split() {
    let folder = env::var_os("GOLDEN_HTTP").map_or(folder("http"), PathBuf::from);
    let transcripts = transcripts(&folder);
    assert!(transcripts.len() >= 6, "{transcripts:?}");
    for transcript in transcripts {
        let text = fs::read_to_string(&transcript).unwrap();
        let mut all = Vec::new();
        for exchange in text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
            let whole = booked(&exchange, None, Split::Nowhere, EstimateMode::Enforce);
            for coding in [None, Some(Coding::Gzip), Some(Coding::Deflate), Some(Coding::Brotli)] {
                let splits = match exchange["body"].is_string() {
                    true => 0..body(&exchange, coding).len(),
                    false => 0..0,
                };
                for split in splits.map(Split::At).chain([Split::Everywhere]) {
                    let found = booked(&exchange, coding, split, EstimateMode::Enforce);
                    assert_eq!(found, whole, "{exchange} {coding:?} {split:?}");
                }
            }
            assert_eq!(booked(&exchange, None, Split::Nowhere, EstimateMode::Observe), whole, "{exchange}");
            all.extend(whole);
        }
        assert_eq!(found(&all), expected(&transcript), "{}", transcript.display());
    }
}

#[derive(Clone, Copy, Debug)]
enum Split {
    Nowhere,
    At(usize),
    Everywhere,
}

fn booked(exchange: &Value, coding: Option<Coding>, split: Split, mode: EstimateMode) -> Vec<Metered> {
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
    let mut told = Told::default();
    let mut decoder = coding.map(Decoder::new);
    for piece in pieces(&body(exchange, coding), split) {
        let mut read = |mut piece: &[u8]| {
            while !piece.is_empty() {
                let read = answer.read(piece, &mut |event| told.take(meter.take(event, &prices, NOW)));
                piece = &piece[read.bytes..];
            }
        };
        match &mut decoder {
            None => read(piece),
            Some(decoder) => decode(decoder, piece, &mut read),
        }
    }
    answer.end(exchange["cut"] != true, &mut |event| told.take(meter.take(event, &prices, NOW)));
    told.take(meter.settle(&prices, NOW));
    told.booked()
}

/// Hands on what comes out of a piece, a little at a time.
fn decode(decoder: &mut Decoder, mut coded: &[u8], read: &mut dyn FnMut(&[u8])) {
    let mut plain = [0; 700];
    loop {
        let decoded = decoder.decode(coded, &mut plain).unwrap();
        coded = &coded[decoded.taken..];
        read(&plain[..decoded.written]);
        if decoded.written < plain.len() {
            return;
        }
    }
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

fn body(exchange: &Value, coding: Option<Coding>) -> Vec<u8> {
    let body = match exchange["body"].as_str() {
        Some(body) => body.as_bytes().to_vec(),
        None => vec![0xff; exchange["body_bytes"].as_u64().unwrap() as usize],
    };
    match coding {
        None => body,
        Some(Coding::Gzip) => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(&body).unwrap();
            encoder.finish().unwrap()
        }
        Some(Coding::Deflate) => {
            let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(&body).unwrap();
            encoder.finish().unwrap()
        }
        Some(Coding::Brotli) => {
            let mut encoder = brotli::CompressorWriter::new(Vec::new(), 4_096, 5, 20);
            encoder.write_all(&body).unwrap();
            encoder.into_inner()
        }
    }
}

fn pieces(body: &[u8], split: Split) -> Vec<&[u8]> {
    match split {
        Split::Nowhere => vec![body],
        Split::At(at) => vec![&body[..at.min(body.len())], &body[at.min(body.len())..]],
        Split::Everywhere => body.chunks(1).collect(),
    }
}
