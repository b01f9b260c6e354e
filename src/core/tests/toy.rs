//! A provider is one file: a toy dialect, a family with it, and a route, metered in each way in which usage is stated.

use tokenist_core::auth_scheme::AuthScheme;
use tokenist_core::close_reason::CloseReason;
use tokenist_core::dialect::{
    AudioRate, ClientEvent, ClientPeek, Dialect, Family, ModelSource, OutputDelta, OutputKind, Peek,
    ProviderEvent, Rates, Rest,
};
use tokenist_core::meter::{Carried, Charge, EstimateMode, Meter, Metered, Models, Peeked, Reading};
use tokenist_core::models::Models as Served;
use tokenist_core::price::PriceTable;
use tokenist_core::provider::{self, Routes};
use tokenist_core::terms::Terms;
use tokenist_core::time::{Instant, Now, Timestamp};
use tokenist_core::usage::Usage;

/// Words separated by blanks: `say 8`, `done 3`, `total seconds 1500`, `item i1 7`, `clock on`.
#[derive(Debug)]
struct Toy;

impl Dialect for Toy {
    fn name(&self) -> &'static str {
        "toy"
    }

    fn path(&self, path: &str) -> Option<String> {
        (path == "/toy").then(|| path.to_owned())
    }

    fn rates(&self) -> Rates {
        Rates {
            input: AudioRate::PCM16_24KHZ,
            output: AudioRate::PCM16_24KHZ,
            heard_ms_per_token: 100,
            said_ms_per_token: 100,
            image_tokens: 1,
            sound_is_read_as_it_comes: false,
            sound_is_billed: false,
        }
    }

    fn model_is_in(&self) -> ModelSource {
        ModelSource::Url
    }

    fn peek<'a>(&self, _event: &'a [u8], _rest: Rest) -> Peek<'a> {
        Peek::Whole
    }

    fn read<'a>(&self, event: &'a [u8], found: &mut dyn FnMut(ProviderEvent<'a>)) {
        let text = std::str::from_utf8(event).unwrap_or_default();
        let words: Vec<&str> = text.split(' ').collect();
        let count = |word: &str| word.parse().unwrap_or(0);
        let text_out = |count| Usage { text_out: count, requests: 1, ..Usage::default() };
        match words[..] {
            ["say", bytes] => {
                let bytes = count(bytes);
                found(ProviderEvent::OutputDelta(OutputDelta {
                    response: None,
                    kind: OutputKind::Text,
                    bytes,
                }));
            }
            ["finished"] => found(ProviderEvent::Finished),
            ["done", tokens] => {
                found(ProviderEvent::Done {
                    response: None,
                    usage: Some(text_out(count(tokens))),
                    terms: Terms::default(),
                });
            }
            ["total", key, ms] => {
                let key = key.replace('\u{a0}', " ");
                let usage = Usage { duration_ms: count(ms), requests: 1, ..Usage::default() };
                found(ProviderEvent::Total { key: key.into(), model: None, usage, terms: Terms::default() });
            }
            ["item", id, tokens] => {
                let usage = text_out(count(tokens));
                found(ProviderEvent::Item {
                    id: Some(id.into()),
                    model: None,
                    usage,
                    terms: Terms::default(),
                });
            }
            ["clock", state] => found(ProviderEvent::Clock { runs: state == "on" }),
            ["ahead", state] => found(ProviderEvent::Ahead { grows: state == "on" }),
            _ => {}
        }
    }

    fn peek_client(&self, _head: &[u8], _event_bytes: u64) -> ClientPeek {
        ClientPeek::Nothing
    }

    fn read_client<'a>(&self, _event: &'a [u8], _bytes: u64, _found: &mut dyn FnMut(ClientEvent<'a>)) {}

    fn cancel(&self, _response: Option<&str>) -> Option<String> {
        None
    }

    fn error_event(&self, reason: &CloseReason, _event_id: &str) -> Option<String> {
        Some(format!("error {}", reason.code()))
    }
}

static TOYS: Family = Family {
    apis: &[],
    name: "toy",
    dialects: &[&Toy],
    like: None,
    auth: AuthScheme::Bearer,
    path_mark: None,
    defaults: ["toy", "https://toy.example", "TOY_API_KEY"],
};

const PRICES: &str = "provider,model,text_in,text_out,per_minute,effective_from\n\
                      toy,small,1,2,0.06,\n\
                      toy,small,2,4,0.12,2026-11-19\n";

/// From when sessions begin here until the price changes.
const UNTIL_DEARER_MS: u64 = 46_400_000;

/// A session's events, each so many milliseconds after the one before, and what was booked in the end.
fn booked(events: &[(u64, &str)]) -> Vec<Metered> {
    booked_over(&[events])
}

/// Those of several connections, each of which resumes the session that the one before it has left.
fn booked_over(connections: &[&[(u64, &str)]]) -> Vec<Metered> {
    let routes = Routes::new(vec![provider::Served {
        name: "toy".into(),
        family: &TOYS,
        models: Served::parse("small").unwrap(),
    }]);
    let route = routes.of_path("/p/toy/toy").unwrap();
    assert_eq!((routes.pick(&route, Some("small"), Vec::new()), route.dialect.name()), (Ok(0), "toy"));
    let prices = PriceTable::builtin().with_rows(PRICES).unwrap();
    let models = Models { session: Some("small".into()), transcription: None };
    let mut now = Now { wall: Timestamp(1_795_000_000_000), instant: Instant(0) };
    let mut all = Reading::default();
    let mut take = |reading: Reading| {
        all.charge += reading.charge;
        all.foreseen += reading.foreseen;
        all.booked.extend(reading.booked);
    };
    let mut carried = Carried::default();
    for events in connections {
        let mut meter = Meter::new(route.dialect, "toy".into(), models.clone(), EstimateMode::Enforce);
        meter.resume(carried);
        for (after_ms, event) in *events {
            now = now.plus_ms(*after_ms);
            take(meter.elapse(&prices, now));
            assert_eq!(meter.peek(event.as_bytes(), Rest::Nothing, &prices, now), Peeked::Collect);
            take(meter.read(event.as_bytes(), &prices, now));
        }
        carried = meter.carry();
        take(meter.settle(&prices, now));
    }
    let cost = all.booked.iter().map(|metered| metered.cost).sum();
    let tokens: u64 = all.booked.iter().map(|metered| metered.usage.total_tokens()).sum();
    assert_eq!((all.charge, all.foreseen), (Charge { cost, tokens: tokens as i64 }, Charge::default()));
    all.booked
}

/// Tokens out, milliseconds, requests, nano-dollars and whether it is a guess.
type Row = (u64, u64, u64, i64, bool);

fn rows(events: &[(u64, &str)]) -> Vec<Row> {
    rows_of(&booked(events))
}

fn rows_of(booked: &[Metered]) -> Vec<Row> {
    let row = |metered: &Metered| {
        let Usage { text_out, duration_ms, requests, .. } = metered.usage;
        (text_out, duration_ms, requests, metered.cost.0, metered.estimated)
    };
    booked.iter().map(row).collect()
}

#[test]
fn usage_of_a_response_is_summed_also_where_it_comes_behind_its_end() {
    let said = [(0, "say 8"), (0, "done 3"), (0, "say 4"), (0, "finished"), (0, "done 5")];
    assert_eq!(rows(&said), [(3, 0, 1, 6_000, false), (5, 0, 1, 10_000, false)]);
    // The first one's usage never comes, and that of the second is its own.
    let lost = [(0, "say 8"), (0, "finished"), (0, "say 4"), (0, "done 5"), (0, "finished")];
    assert_eq!(rows(&lost), [(2, 0, 1, 4_000, true), (5, 0, 1, 10_000, false)]);
}

#[test]
fn of_a_running_total_the_greatest_counts_once_for_each_name() {
    let events = [
        (0, "total a 1001"),
        (0, "total b 1"),
        (0, "total a 2000"),
        (0, "total a 1500"),
        (0, "total a 2000"),
    ];
    // 1.001 s at $0.06 a minute, and so on: the differences of whole prices.
    let wanted = [(0, 1_001, 1, 1_001_000, false), (0, 1, 1, 1_000, false), (0, 999, 0, 999_000, false)];
    assert_eq!(rows(&events), wanted);
}

#[test]
fn what_is_used_costs_what_holds_at_that_moment() {
    let total = [(0, "total a 1000"), (UNTIL_DEARER_MS, "total a 3000"), (0, "total a 4000")];
    let wanted =
        [(0, 1_000, 1, 1_000_000, false), (0, 2_000, 0, 4_000_000, false), (0, 1_000, 0, 2_000_000, false)];
    assert_eq!(rows(&total), wanted);
    // A response that began before and one that nobody told the usage of; and what is billed by itself.
    let said = [(0, "say 8"), (UNTIL_DEARER_MS, "done 3"), (0, "say 8"), (0, "item i 7")];
    // The last one is taken to read the three tokens that were said.
    assert_eq!(rows(&said), [(3, 0, 1, 12_000, false), (7, 0, 1, 28_000, false), (2, 0, 1, 14_000, true)]);
    let clock = [(0, "clock on"), (4_000, "clock off"), (UNTIL_DEARER_MS, "clock on"), (1_000, "")];
    assert_eq!(rows(&clock), [(0, 4_000, 1, 4_000_000, false), (0, 1_000, 0, 2_000_000, false)]);
}

#[test]
fn an_item_counts_once() {
    assert_eq!(
        rows(&[(0, "item i 7"), (0, "item j 1"), (0, "item i 7")]),
        [(7, 0, 1, 14_000, false), (1, 0, 1, 2_000, false)]
    );
}

#[test]
fn elapsed_time_is_booked_as_it_passes_and_not_while_it_is_paused() {
    let events = [
        (0, "clock on"),
        (4_000, ""),
        (3_000, ""),
        (1_000, "clock off"),
        (60_000, ""),
        (0, "clock on"),
        (500, ""),
    ];
    let total: u64 = rows(&events).iter().map(|row| row.1).sum();
    assert_eq!(total, 8_500);
    assert_eq!(
        rows(&events),
        [(0, 7_000, 1, 7_000_000, false), (0, 1_000, 0, 1_000_000, false), (0, 500, 0, 500_000, false)]
    );
}

#[test]
fn what_a_provider_states_again_to_a_connection_that_resumes_is_not_counted_again() {
    let first: &[(u64, &str)] = &[(0, "say 8"), (0, "done 3"), (0, "total a 1000")];
    let resumed: &[(u64, &str)] = &[(0, "done 3"), (0, "total a 1000"), (0, "total a 1500"), (0, "done 3")];
    let wanted = [
        (3, 0, 1, 6_000, false),
        (0, 1_000, 1, 1_000_000, false),
        (0, 500, 0, 500_000, false),
        (3, 0, 1, 6_000, false),
    ];
    assert_eq!(rows_of(&booked_over(&[first, resumed])), wanted, "only the greeting repeats what was stated");
    // A response that is seen to begin is a new one, whatever it has used.
    let answers: &[(u64, &str)] = &[(0, "say 4"), (0, "done 3")];
    assert_eq!(booked_over(&[first, answers]).len(), 3);
    // Time that nobody was connected in is not billed.
    let on: &[(u64, &str)] = &[(0, "clock on"), (2_000, "")];
    let later: &[(u64, &str)] = &[(60_000, ""), (0, "clock on"), (500, "")];
    assert_eq!(booked_over(&[on, later]).iter().map(|metered| metered.usage.duration_ms).sum::<u64>(), 2_500);
}

#[test]
fn time_that_is_stated_is_charged_ahead_and_booked_as_it_was_stated() {
    // What is charged in between is taken back, which `booked` checks.
    let closed = [
        (0, "ahead on"),
        (20_000, ""),
        (1_000, "total session\u{a0}time 15000"),
        (40_000, ""),
        (2_000, "total session\u{a0}time 61000"),
        (500, "ahead off"),
        (90_000, ""),
    ];
    assert_eq!(rows(&closed), [(0, 15_000, 1, 15_000_000, false), (0, 46_000, 0, 46_000_000, false)]);
    // It is cut: the clock tells the rest, which also counts where nothing is stated for a minute.
    let cut = [(0, "ahead on"), (1_000, "total session\u{a0}time 1000"), (70_000, ""), (2_500, "")];
    assert_eq!(
        rows(&cut),
        [(0, 1_000, 1, 1_000_000, false), (0, 70_000, 0, 70_000_000, true), (0, 2_500, 0, 2_500_000, true)]
    );
}
