//! Whole sessions, made up after real ones, with the usage and the cost that a second implementation
//! (`tests/golden/expect.py`) works out for them, to the nano-dollar.

mod transcript;

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use tokenist_core::dialect::{Dialect, HEAD_BYTES_MAX, Rest, family};
use tokenist_core::meter::{ClientPeeked, EstimateMode, Meter, Metered, Models, Peeked};
use tokenist_core::price::PriceTable;
use tokenist_core::time::Now;
use transcript::{NOW, Told, expected, folder, found, row};

#[test]
fn golden_transcripts_cost_what_they_should() {
    let transcripts = transcripts();
    assert!(transcripts.len() >= 12, "{transcripts:?}");
    for transcript in transcripts {
        let text = fs::read_to_string(&transcript).unwrap();
        let expected = expected(&transcript);
        for (mode, shown) in [
            (EstimateMode::Enforce, Shown::Whole),
            (EstimateMode::Enforce, Shown::Beginning),
            (EstimateMode::Enforce, Shown::Fragment),
            (EstimateMode::Observe, Shown::Whole),
        ] {
            // An estimate of what comes without its length has a few bytes more.
            let is_estimated = |row: &Value| row["estimated"] == true;
            let has_estimates = expected["booked"].as_array().unwrap().iter().any(is_estimated);
            if has_estimates && matches!(shown, Shown::Fragment) {
                continue;
            }
            let booked = run(&transcript, text.lines(), mode, shown);
            assert_eq!(found(&booked), expected, "{} {mode:?} {shown:?}", transcript.display());
        }
    }
}

/// Ways in which a server may write the same event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writing {
    Reversed,
    Spaced,
    /// Each key with an escape in it.
    Escaped,
    /// Whole numbers as fractions, or as texts.
    Fractions,
    Texts,
    /// With fields that nobody knows, and in them what looks like usage.
    Wider,
}

#[test]
fn what_is_stated_costs_the_same_however_it_is_written() {
    use Writing::{Escaped, Fractions, Reversed, Spaced, Texts, Wider};
    for transcript in transcripts() {
        let text = fs::read_to_string(&transcript).unwrap();
        let stated = |lines: Vec<String>| -> Vec<Value> {
            let booked =
                run(&transcript, lines.iter().map(String::as_str), EstimateMode::Enforce, Shown::Whole);
            booked.iter().filter(|metered| !metered.estimated).map(row).collect()
        };
        let expected = stated(text.lines().map(str::to_owned).collect());
        for writing in [Reversed, Spaced, Escaped, Fractions, Texts, Wider] {
            let lines = text.lines().map(|line| rewritten(line, writing)).collect();
            assert_eq!(stated(lines), expected, "{} {writing:?}", transcript.display());
        }
    }
}

/// Wherever it breaks off, within an event or between two, charges add up and nothing is booked twice: see [`run`].
#[test]
fn a_session_that_is_cut_anywhere_costs_no_more_than_the_whole_and_what_is_under_way() {
    for transcript in transcripts() {
        let text = fs::read_to_string(&transcript).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let stated = |lines: &[&str]| -> i64 {
            let booked = run(&transcript, lines.iter().copied(), EstimateMode::Enforce, Shown::Whole);
            booked.iter().filter(|metered| !metered.estimated).map(|metered| metered.cost.0).sum()
        };
        let whole = stated(&lines);
        for count in 1..lines.len() {
            let last = lines[count];
            // Time passes and sound comes whole.
            let is_event = !last.starts_with(['@', '#']);
            let cut = if is_event { last.floor_char_boundary(last.len() / 2) } else { 0 };
            let half = [&lines[..count], &[&last[..cut]]].concat();
            for part in [&lines[..count], &half[..]] {
                assert!(stated(part) <= whole, "{} at {count}", transcript.display());
            }
        }
    }
}

/// A line of a transcript with its event in another writing, if it is one.
fn rewritten(line: &str, writing: Writing) -> String {
    let (mark, event) = if line.starts_with("> ") { line.split_at(2) } else { ("", line) };
    match serde_json::from_str::<Value>(event) {
        Ok(Value::Object(fields)) => format!("{mark}{}", written(&Value::Object(fields), writing)),
        _ => line.to_owned(),
    }
}

fn written(value: &Value, writing: Writing) -> String {
    let space = if writing == Writing::Spaced { "\n\t " } else { "" };
    match value {
        Value::Object(fields) => {
            let field = |(key, value): (&String, &Value)| {
                let key = match (writing, key.chars().next()) {
                    (Writing::Escaped, Some(first)) => {
                        format!("\\u{:04x}{}", u32::from(first), &key[first.len_utf8()..])
                    }
                    _ => key.clone(),
                };
                format!("{space}\"{key}\"{space}:{space}{}{space}", written(value, writing))
            };
            let mut all: Vec<String> = fields.iter().map(field).collect();
            match writing {
                Writing::Reversed => all.reverse(),
                Writing::Wider => all.insert(
                    0,
                    r#""new":{"type":"response.done","usage":{"seconds":9,"input_tokens":9}}"#.into(),
                ),
                _ => {}
            }
            format!("{{{}{space}}}", all.join(","))
        }
        Value::Array(elements) => {
            let all: Vec<String> = elements.iter().map(|element| written(element, writing)).collect();
            format!("[{space}{}{space}]", all.join(","))
        }
        Value::Number(number) if number.is_u64() && writing == Writing::Fractions => format!("{number}.0"),
        Value::Number(number) if writing == Writing::Texts => format!("\"{number}\""),
        other => other.to_string(),
    }
}

/// How an event comes to the meter first.
#[derive(Clone, Copy, Debug)]
enum Shown {
    Whole,
    /// The first bytes of a frame that tells its length.
    Beginning,
    /// The first bytes of a message that does not.
    Fragment,
}

/// By how a transcript's name begins: the dialect that a path leads to, and whose prices are meant. A first line `? TARGET` is
/// what was asked for.
fn dialect_of(transcript: &Path, first: &str) -> (&'static dyn Dialect, &'static str) {
    let name = transcript.file_name().and_then(|name| name.to_str()).unwrap();
    let (_, family_name, path) = DIALECTS.iter().find(|(start, ..)| name.starts_with(start)).unwrap();
    let family = family(family_name).unwrap();
    let asked = first.strip_prefix("? ").and_then(|target| target.split('?').next());
    (family.route(asked.unwrap_or(path)).unwrap().0, family.defaults[0])
}

const DIALECTS: &[(&str, &str, &str)] = &[
    ("deepgram", "deepgram", ""),
    ("assemblyai", "assemblyai", ""),
    ("elevenlabs", "elevenlabs", ""),
    ("cartesia", "cartesia", ""),
    ("xai_stt", "xai", ""),
    ("xai_responses", "xai", "/v1/responses"),
    ("speechmatics", "speechmatics", ""),
    ("mistral", "mistral", ""),
    ("interactions", "gemini", ""),
    (
        "gemini_live",
        "gemini",
        "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent",
    ),
    ("translation", "openai", "/v1/realtime/translations"),
    ("azure", "azure", "/openai/v1/realtime"),
    ("qwen_omni", "qwen_omni", "/api-ws/v1/realtime"),
    ("gpt_live", "openai", "/v1/live/sessions"),
    ("responses_ws", "openai", "/v1/responses"),
    ("xai", "xai", "/v1/realtime"),
    ("inworld", "inworld", "/api/v1/realtime/session"),
    ("", "openai", "/v1/realtime"),
];

fn run<'a>(
    transcript: &Path,
    events: impl Iterator<Item = &'a str>,
    mode: EstimateMode,
    shown: Shown,
) -> Vec<Metered> {
    let prices = PriceTable::builtin();
    let mut events = events.peekable();
    let (dialect, provider) = dialect_of(transcript, events.peek().unwrap());
    let mut meter = Meter::new(dialect, provider.into(), Models::default(), mode);
    let mut told = Told::default();
    let mut now = NOW;
    for event in events {
        match event.split_at_checked(2) {
            Some(("@ ", ms)) => {
                now = now.plus_ms(ms.parse().unwrap());
                told.take(meter.elapse(&prices, now));
                continue;
            }
            _ => now = now.plus_ms(20),
        }
        told.take(meter.elapse(&prices, now));
        match event.split_at_checked(2) {
            Some(("? ", target)) => told.take(meter.start(target, &prices, now)),
            Some(("# ", bytes)) if meter.hears_binary() => meter.hear(bytes.parse().unwrap()),
            Some(("# ", _)) => {}
            Some(("> ", event)) => ask(&mut meter, event.as_bytes(), &prices, now),
            _ => tell(&mut meter, event, shown, &prices, now, &mut told),
        }
    }
    told.take(meter.settle(&prices, now));
    told.booked()
}

/// Shows the meter an event of the provider.
fn tell(meter: &mut Meter, event: &str, shown: Shown, prices: &PriceTable, now: Now, told: &mut Told) {
    let head = &event.as_bytes()[..event.len().min(HEAD_BYTES_MAX)];
    let unseen = (event.len() - head.len()) as u64;
    let (seen, rest) = match shown {
        _ if unseen == 0 => (event.as_bytes(), Rest::Nothing),
        Shown::Whole => (event.as_bytes(), Rest::Nothing),
        Shown::Beginning => (head, Rest::Bytes(unseen)),
        Shown::Fragment => (head, Rest::Unknown),
    };
    match meter.peek(seen, rest, prices, now) {
        Peeked::Pass => {}
        Peeked::Charge(charge) => told.charge(charge),
        Peeked::Collect => told.take(meter.read(event.as_bytes(), prices, now)),
    }
    if matches!(rest, Rest::Unknown) {
        told.charge(meter.grow(unseen));
    }
}

/// Shows the meter an event of the application.
fn ask(meter: &mut Meter, event: &[u8], prices: &PriceTable, now: Now) {
    if meter.peek_client(&event[..event.len().min(256)], event.len() as u64) == ClientPeeked::Collect {
        meter.read_client(event, event.len() as u64, prices, now);
    }
}

fn transcripts() -> Vec<PathBuf> {
    transcript::transcripts(&folder(""))
}
