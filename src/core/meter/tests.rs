mod reading;

use super::open::Open;
use super::*;
use crate::dialect::{HEAD_BYTES_MAX, OpenaiRealtime, Rest};
use crate::money::NanoUsd;
use crate::time::{HOUR_MS, Instant, Timestamp};
use proptest::prelude::*;
use serde_json::{Value, json};

const NOW: Now = Now { wall: Timestamp(1_795_000_000_000), instant: Instant(7_000) };

/// A session with everything that was charged and booked in it.
struct Session {
    meter: Meter,
    prices: PriceTable,
    now: Now,
    charged: Charge,
    foreseen: Charge,
    booked: Vec<Metered>,
}

impl Session {
    fn of(estimate: EstimateMode) -> Session {
        let models = Models { session: Some("gpt-realtime".into()), transcription: None };
        let meter = Meter::new(&OpenaiRealtime, "openai".into(), models, estimate);
        Session {
            meter,
            prices: PriceTable::builtin(),
            now: NOW,
            charged: Charge::default(),
            foreseen: Charge::default(),
            booked: Vec::new(),
        }
    }

    /// Shows an event of the application to the meter, as the proxy does.
    fn ask(&mut self, event: &Value) {
        let event = wire(event);
        let head = &event.as_bytes()[..event.len().min(HEAD_BYTES_MAX)];
        if self.meter.peek_client(head, event.len() as u64) == ClientPeeked::Collect {
            self.meter.read_client(event.as_bytes(), event.len() as u64, &self.prices, self.now);
        }
    }

    fn abandon(&mut self) -> Charge {
        let reading = self.meter.abandon();
        self.take(reading)
    }

    /// Shows an event to the meter as the tap does, and tells what was charged for it.
    fn see(&mut self, event: &Value) -> Charge {
        self.see_bytes(wire(event).as_bytes())
    }

    fn see_bytes(&mut self, event: &[u8]) -> Charge {
        self.now = self.now.plus_ms(100);
        match self.meter.peek(event, Rest::Nothing, &self.prices, self.now) {
            Peeked::Pass => Charge::default(),
            Peeked::Charge(charge) => {
                self.charged += charge;
                charge
            }
            Peeked::Collect => {
                let reading = self.meter.read(event, &self.prices, self.now);
                self.take(reading)
            }
        }
    }

    fn settle(&mut self) -> Charge {
        let reading = self.meter.settle(&self.prices, self.now);
        self.take(reading)
    }

    fn take(&mut self, reading: Reading) -> Charge {
        self.charged += reading.charge;
        self.foreseen += reading.foreseen;
        self.booked.extend(reading.booked);
        reading.charge
    }

    fn total(&self) -> Charge {
        let mut total = Charge::default();
        for metered in &self.booked {
            total += Charge::of(metered.cost, &metered.usage);
        }
        total
    }
}

/// In the order of OpenAI: the type first, the delta last.
fn wire(event: &Value) -> String {
    let place = |key: &str| match key {
        "type" => 0,
        "delta" => 2,
        _ => 1,
    };
    let mut fields: Vec<_> = event.as_object().unwrap().iter().collect();
    fields.sort_by_key(|(key, _)| place(key));
    let shown: Vec<_> = fields.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
    format!("{{{}}}", shown.join(","))
}

fn charge(nano: i64, tokens: i64) -> Charge {
    Charge { cost: NanoUsd(nano), tokens }
}

fn created(id: &str) -> Value {
    json!({"type": "response.created", "response": {"id": id}})
}

fn audio(id: &str, base64_bytes: usize) -> Value {
    json!({"type": "response.output_audio.delta", "response_id": id, "delta": "A".repeat(base64_bytes)})
}

fn text(id: &str, bytes: usize) -> Value {
    json!({"type": "response.output_text.delta", "response_id": id, "delta": "a".repeat(bytes)})
}

fn done(id: &str, output: Value) -> Value {
    json!({"type": "response.done", "response": {"id": id, "usage": {"output_tokens": output}}})
}

#[test]
fn sound_that_is_not_seen_is_as_long_as_what_it_says_or_as_it_is_played() {
    let transcript = |bytes: usize| json!({"type": "response.output_audio_transcript.delta", "response_id": "r", "delta": "a".repeat(bytes)});
    let plays = |name: &str| json!({"type": format!("output_audio_buffer.{name}"), "response_id": "r"});
    let mut session = Session::of(EstimateMode::Enforce);
    session.meter.sees_no_sound();
    session.see(&created("r"));
    // 28 bytes are 7 tokens of text at $16, and two seconds of speech: 40 of sound at $64.
    assert_eq!(session.see(&transcript(28)), charge(7 * 16_000 + 40 * 64_000, 47));
    assert_eq!(session.see(&text("r", 4)), charge(16_000, 1), "what is not spoken is no sound");
    session.see(&plays("started"));
    let wait = |session: &mut Session, ms: u64| {
        session.now = session.now.plus_ms(ms);
        let reading = session.meter.elapse(&session.prices, session.now);
        session.take(reading)
    };
    assert_eq!(wait(&mut session, 1_900), charge(0, 0), "it is known to last so long");
    assert_eq!(wait(&mut session, 1_100), charge(20 * 64_000, 20));
    assert_eq!(session.see(&plays("stopped")), charge(2 * 64_000, 2), "a tenth of a second later");
    assert_eq!(wait(&mut session, 5_000), charge(0, 0));
    session.settle();
    assert_eq!((session.booked[0].usage.text_out, session.booked[0].usage.audio_out), (8, 62));
    assert_eq!(session.charged, session.total());
    // Where it is seen it is only text.
    let mut session = Session::of(EstimateMode::Enforce);
    assert_eq!(session.see(&transcript(28)), charge(7 * 16_000, 7));
}

#[test]
fn an_estimate_is_charged_at_once_and_replaced_by_the_providers_figure() {
    let mut session = Session::of(EstimateMode::Enforce);
    session.see(&created("r"));
    // A second of sound is 48,000 bytes, 64,000 in base64, 20 tokens at $64 a million.
    assert_eq!(session.see(&audio("r", 64_000)), charge(20 * 64_000, 20));
    assert_eq!(session.see(&audio("r", 64_000)), charge(20 * 64_000, 20));
    assert_eq!(session.see(&done("r", json!(10))), charge(10 * 16_000 - 40 * 64_000, 10 - 40));
    assert_eq!(session.settle(), Charge::default());
    let [metered] = &session.booked[..] else { panic!("{:?}", session.booked) };
    assert_eq!((metered.cost, metered.usage.text_out), (NanoUsd(160_000), 10));
    assert_eq!((metered.estimated, metered.known_price, metered.latency_ms), (false, true, Some(300)));
    assert_eq!(session.meter.take_counts(), Counts { metered: 1, ..Counts::default() });
    assert_eq!(session.meter.take_counts(), Counts::default());
}

#[test]
fn a_clock_that_is_set_leaves_latencies_alone() {
    for set in [NOW.wall.plus_ms(HOUR_MS), NOW.wall.minus_ms(HOUR_MS)] {
        let mut session = Session::of(EstimateMode::Enforce);
        session.see(&created("r"));
        session.now.wall = set;
        session.see(&done("r", json!(10)));
        assert_eq!(session.booked[0].latency_ms, Some(100));
    }
}

#[test]
fn small_pieces_do_not_each_round_up() {
    let mut session = Session::of(EstimateMode::Enforce);
    let charges: Vec<_> = (0..8).map(|_| session.see(&text("r", 1)).tokens).collect();
    assert_eq!(charges, [1, 0, 0, 0, 1, 0, 0, 0]);
}

#[test]
fn what_dies_without_usage_is_booked_by_its_estimate() {
    for (mode, booked, charged_before) in [
        (EstimateMode::Enforce, charge(20 * 64_000 + 25 * 16_000, 45), charge(20 * 64_000 + 25 * 16_000, 45)),
        (EstimateMode::Observe, charge(20 * 64_000 + 25 * 16_000, 45), Charge::default()),
        (EstimateMode::Off, Charge::default(), Charge::default()),
    ] {
        let without_usage =
            json!({"type": "response.done", "response": {"id": "r", "status": "cancelled", "usage": null}});
        for end in [Some(without_usage), None] {
            let mut session = Session::of(mode);
            session.see(&created("r"));
            session.see(&audio("r", 64_000));
            session.see(&json!({"type": "response.output_audio_transcript.delta", "response_id": "r", "delta": "a".repeat(100)}));
            assert_eq!(session.charged, charged_before, "{mode:?}");
            end.iter().for_each(|end| {
                session.see(end);
            });
            session.settle();
            let [metered] = &session.booked[..] else { panic!("{:?}", session.booked) };
            assert_eq!((session.charged, session.total()), (booked, booked), "{mode:?}");
            assert_eq!((metered.estimated, metered.usage.requests), (true, 1));
            assert_eq!(session.meter.take_counts().estimated, 1);
        }
    }
}

#[test]
fn a_response_counts_once() {
    let mut session = Session::of(EstimateMode::Enforce);
    session.see(&created("r"));
    session.see(&done("r", json!(10)));
    for again in [done("r", json!(10)), audio("r", 64_000), done("r", json!(99))] {
        assert_eq!(session.see(&again), Charge::default());
    }
    session.settle();
    assert_eq!(session.booked.len(), 1);
    assert_eq!(session.meter.take_counts(), Counts { metered: 1, duplicate: 2, ..Counts::default() });
}

#[test]
fn an_id_that_is_used_again_is_another_response() {
    let mut session = Session::of(EstimateMode::Enforce);
    for turn in 1..=3 * BOOKED_MAX as u64 {
        session.see(&created("r"));
        assert_eq!(session.see(&audio("r", 64_000)).tokens, 20);
        session.see(&done("r", json!(turn)));
        assert_eq!(session.see(&done("r", json!(99))), Charge::default());
    }
    session.settle();
    assert_eq!((session.booked.len(), session.charged), (3 * BOOKED_MAX, session.total()));
}

/// Text in, sound in, and what is cached of both.
fn stated(id: &str, [text_in, audio_in, cached_text, cached_audio]: [u64; 4], output: u64) -> Value {
    json!({"type": "response.done", "response": {"id": id, "conversation_id": "c", "usage": {
        "input_tokens": text_in + audio_in, "output_tokens": output,
        "input_token_details": {"text_tokens": text_in, "audio_tokens": audio_in, "cached_tokens": cached_text + cached_audio,
            "cached_tokens_details": {"text_tokens": cached_text, "audio_tokens": cached_audio}},
        "output_token_details": {"text_tokens": output, "audio_tokens": 0}}}})
}

#[test]
fn speech_that_is_not_written_down_is_booked_by_its_length() {
    for (model, cost, usage) in [
        ("whisper-1", 200_000, Usage { duration_ms: 2_000, requests: 1, ..Usage::default() }),
        ("gpt-4o-mini-transcribe", 20 * 3_000, Usage { audio_in: 20, requests: 1, ..Usage::default() }),
    ] {
        let mut session = Session::of(EstimateMode::Enforce);
        session.see(&json!({"type": "session.updated", "session": {"audio": {"input": {"transcription": {"model": model}}}}}));
        // Two seconds, three times.
        for item in ["told", "failed", "untold"] {
            session.ask(&json!({"type": "input_audio_buffer.append", "audio": "A".repeat(128_000)}));
            session.see(&json!({"type": "input_audio_buffer.committed", "item_id": item}));
        }
        assert!(session.meter.awaits_usage() && session.meter.cancels().is_empty());
        let of = |end: &str, item: &str| {
            json!({"type": format!("conversation.item.input_audio_transcription.{end}"), "item_id": item, "content_index": 0,
                "usage": {"type": "duration", "seconds": 9}})
        };
        session.see(&of("completed", "told"));
        session.see(&of("failed", "failed"));
        session.settle();
        let [told, untold] = &session.booked[..] else { panic!("{:?}", session.booked) };
        assert_eq!((told.estimated, told.usage.duration_ms), (false, 9_000));
        assert_eq!((untold.estimated, untold.usage, untold.cost), (true, usage, NanoUsd(cost)));
        assert_eq!(session.charged, session.total());
        assert_eq!(session.meter.take_counts().unmetered, 0);
    }
}

#[test]
fn a_session_that_only_transcribes_owes_what_it_was_sent() {
    for (detects_turns, booked_ms) in [(Value::Null, vec![2_000]), (json!({"type": "server_vad"}), vec![])] {
        let mut session = Session::of(EstimateMode::Enforce);
        session.see(
            &json!({"type": "session.updated", "session": {"type": "transcription", "audio": {"input": {
            "transcription": {"model": "whisper-1"}, "turn_detection": detects_turns}}}}),
        );
        session.ask(&json!({"type": "input_audio_buffer.append", "audio": "A".repeat(128_000)}));
        session.settle();
        let found: Vec<u64> = session.booked.iter().map(|metered| metered.usage.duration_ms).collect();
        assert_eq!(found, booked_ms);
    }
}

#[test]
fn the_application_names_the_model_where_the_provider_does_not() {
    let choose = |model: &str| json!({"type": "session.update", "session": {"model": model}});
    let mut session = Session::of(EstimateMode::Enforce);
    session.ask(&choose("gpt-realtime-mini"));
    session.see(&done("r", json!(10)));
    session.see(&json!({"type": "session.updated", "session": {"model": "gpt-realtime"}}));
    session.ask(&choose("gpt-realtime-mini"));
    session.see(&done("s", json!(10)));
    session.see(&json!({"type": "response.created", "response": {"id": "t", "model": "gpt-realtime-mini"}}));
    session.see(&done("t", json!(10)));
    let models: Vec<&str> = session.booked.iter().map(|metered| metered.model.as_str()).collect();
    assert_eq!(models, ["gpt-realtime-mini", "gpt-realtime", "gpt-realtime-mini"]);
}

/// Lets the first of several sessions have what it asks for.
#[derive(Clone, Debug, Default)]
struct Shared(std::rc::Rc<std::cell::RefCell<std::collections::HashMap<u64, u8>>>, u8);

impl Claims for Shared {
    fn claim(&self, hash: u64) -> bool {
        *self.0.borrow_mut().entry(hash).or_insert(self.1) == self.1
    }

    fn take(&self, hash: u64) {
        self.0.borrow_mut().insert(hash, self.1);
    }
}

#[test]
fn of_the_sessions_of_one_call_one_meters_each_response() {
    let shared = Shared::default();
    let [mut one, mut other] = [1, 2].map(|number| {
        let mut session = Session::of(EstimateMode::Enforce);
        session.meter.share(Box::new(Shared(shared.0.clone(), number)));
        session
    });
    let transcribed = json!({"type": "conversation.item.input_audio_transcription.completed", "item_id": "i",
        "content_index": 0, "usage": {"type": "duration", "seconds": 3}});
    for event in [
        created("a"),
        audio("a", 64_000),
        done("a", json!(10)),
        transcribed,
        created("a"),
        done("a", json!(20)),
    ] {
        one.see(&event);
        other.see(&event);
    }
    // Whoever hears of it first has it, and one that comes late has what nobody else has heard.
    other.see(&created("b"));
    one.see(&created("b"));
    other.see(&done("b", json!(30)));
    one.see(&done("b", json!(30)));
    one.see(&done("c", json!(40)));
    other.see(&done("c", json!(40)));
    for session in [&mut one, &mut other] {
        session.settle();
        assert_eq!((session.charged, session.foreseen), (session.total(), Charge::default()));
        assert!(!session.meter.awaits_usage());
    }
    let outputs = |session: &Session| -> Vec<u64> {
        session.booked.iter().map(|metered| metered.usage.text_out + metered.usage.duration_ms).collect()
    };
    assert_eq!((outputs(&one), outputs(&other)), (vec![10, 3_000, 20, 40], vec![30]));
}

#[test]
fn who_is_attached_to_a_session_has_nothing_that_the_session_has_itself() {
    let shared = Shared::default();
    let [mut one, mut attached] = [1, 2].map(|_| Session::of(EstimateMode::Enforce));
    one.see(&created("a"));
    attached.meter.share(Box::new(Shared(shared.0.clone(), 2)));
    // It has heard of another one first, and yet that is not its own.
    attached.see(&created("b"));
    one.meter.lend(Box::new(Shared(shared.0.clone(), 1)));
    attached.see(&done("a", json!(10)));
    for id in ["a", "b", "c"] {
        one.see(&done(id, json!(10)));
    }
    attached.see(&done("c", json!(10)));
    assert_eq!((one.booked.len(), attached.booked.len()), (3, 0));
}

#[test]
fn responses_side_by_side_keep_their_own_sums() {
    let mut session = Session::of(EstimateMode::Enforce);
    for event in
        [audio("a", 64_000), audio("b", 6_400), audio("a", 64_000), done("b", json!(1)), audio("a", 64_000)]
    {
        session.see(&event);
    }
    session.settle();
    let outputs: Vec<_> = session.booked.iter().map(|metered| metered.usage.output_tokens()).collect();
    assert_eq!(outputs, [1, 60]);
    assert_eq!(session.charged, session.total());
}

#[test]
fn without_ids_a_session_has_one_response_at_a_time() {
    let mut session = Session::of(EstimateMode::Enforce);
    let no_id = json!({"type": "response.audio.delta", "delta": "A".repeat(64_000)});
    let no_id_done = json!({"type": "response.done", "response": {"usage": {"output_tokens": 5}}});
    for event in
        [&created("r"), &no_id, &done("r", json!(7)), &no_id, &no_id_done, &no_id, &done("s", json!(9))]
    {
        session.see(event);
    }
    assert_eq!(session.settle(), Charge::default());
    let outputs: Vec<_> = session.booked.iter().map(|metered| metered.usage.output_tokens()).collect();
    assert_eq!(outputs, [7, 5, 9]);
    assert_eq!(session.charged, session.total());
}

#[test]
fn the_formats_of_session_and_response_decide_how_long_sound_is() {
    let g711 = json!({"type": "audio/pcmu"});
    let mut session = Session::of(EstimateMode::Enforce);
    session.see(&json!({"type": "session.updated", "session": {"audio": {"output": {"format": g711}}}}));
    // 8,000 bytes a second are 10,667 of base64.
    assert_eq!(session.see(&audio("a", 10_666)).tokens, 20);
    session.see(&json!({"type": "response.created", "response": {"id": "b", "audio": {"output": {"format":
        {"type": "audio/pcm", "rate": 24000}}}}}));
    assert_eq!(session.see(&audio("b", 64_000)).tokens, 20);
}

#[test]
fn the_model_is_what_the_provider_says() {
    let mut session = Session::of(EstimateMode::Enforce);
    session
        .see(&json!({"type": "session.created", "session": {"model": "gpt-realtime-mini", "audio": {"input":
        {"transcription": {"model": "gpt-4o-mini-transcribe"}}}}}));
    session.see(&done("r", json!(10)));
    session.see(&json!({"type": "session.updated", "session": {"model": "gpt-realtime-9\n"}}));
    assert_eq!(session.meter.model().unwrap().as_str(), "gpt-realtime-mini");
    session.see(&json!({"type": "session.updated", "session": {"model": "gpt-realtime-9"}}));
    session.see(&done("s", json!(10)));
    let transcribed = json!({"type": "conversation.item.input_audio_transcription.completed", "item_id": "i",
        "content_index": 0, "usage": {"type": "tokens", "input_tokens": 21, "output_tokens": 6,
        "input_token_details": {"text_tokens": 0, "audio_tokens": 21}}});
    session.see(&transcribed);
    session.see(&transcribed);
    session.settle();
    let booked: Vec<_> = session
        .booked
        .iter()
        .map(|metered| (metered.model.as_str(), metered.cost.0, metered.known_price))
        .collect();
    assert_eq!(
        booked,
        [
            ("gpt-realtime-mini", 10 * 2_400, true),
            ("gpt-realtime-9", 10 * 20_000, false),
            ("gpt-4o-mini-transcribe", 21 * 3_000 + 6 * 5_000, true),
        ]
    );
    assert_eq!(
        session.meter.take_counts(),
        Counts { metered: 3, duplicate: 1, unpriced: 1, ..Counts::default() }
    );
}

#[test]
fn a_model_named_late_prices_what_was_open() {
    let mut session = Session::of(EstimateMode::Enforce);
    session.meter.models.session = None;
    assert_eq!(session.see(&audio("r", 64_000)).cost, NanoUsd(20 * 80_000));
    session.see(&json!({"type": "session.created", "session": {"model": "gpt-realtime"}}));
    assert_eq!(session.see(&audio("r", 64_000)).cost, NanoUsd(40 * 64_000 - 20 * 80_000));
    session.settle();
    assert_eq!((session.booked[0].model.as_str(), session.charged), ("gpt-realtime", session.total()));
}

#[test]
fn what_cannot_be_kept_is_used_as_far_as_it_goes() {
    let mut session = Session::of(EstimateMode::Enforce);
    session.see(&audio("r", 64_000));
    let huge = r#"{"type":"response.done","response":{"id":"r","output":[{"text":"aaaaaaa"#;
    let reading = session.meter.unmetered(huge.as_bytes(), &session.prices, NOW);
    session.take(reading);
    assert!(session.booked[0].estimated);
    assert_eq!(session.see(&done("r", json!(5))), Charge::default());
    session.see_bytes(br#"{"event_id":"e","#);
    assert_eq!(
        session.meter.take_counts(),
        Counts { estimated: 1, duplicate: 1, unmetered: 2, ..Counts::default() }
    );
}

#[test]
fn an_event_of_unknown_length_grows() {
    let (mut whole, mut grown) = (Session::of(EstimateMode::Enforce), Session::of(EstimateMode::Enforce));
    let event = wire(&audio("r", 64_000));
    whole.see_bytes(event.as_bytes());
    let head = &event.as_bytes()[..HEAD_BYTES_MAX];
    let Peeked::Charge(first) = grown.meter.peek(head, Rest::Unknown, &grown.prices, NOW) else { panic!() };
    grown.charged += first;
    for bytes in [1, 10_000, (event.len() - HEAD_BYTES_MAX - 10_003) as u64] {
        grown.charged += grown.meter.grow(bytes);
    }
    assert_eq!(grown.charged, whole.charged);
    grown.see(&created("s"));
    grown.meter.peek(b"{\"type\":\"error\"}", Rest::Nothing, &grown.prices, NOW);
    assert_eq!(grown.meter.grow(1_000_000), Charge::default());
}

#[test]
fn responses_that_never_end_are_bounded() {
    let mut session = Session::of(EstimateMode::Observe);
    for index in 0..OPEN_MAX + 10 {
        session.see(&audio(&format!("r{index}"), 64_000));
    }
    assert!(session.booked.is_empty(), "a peek books nothing");
    session.see(&done("r0", json!(1)));
    let overdue: Vec<_> =
        session.booked.iter().map(|metered| (metered.estimated, metered.usage.audio_out)).collect();
    assert_eq!((overdue, session.meter.take_counts().duplicate), (vec![(true, 20); 10], 1));
    session.settle();
    assert_eq!((session.booked.len(), session.charged), (OPEN_MAX + 10, session.total()));
}

#[test]
fn an_idle_session_is_small() {
    let meter = size_of::<Meter>();
    assert!(meter <= 160, "{meter}");
    let answered = size_of::<Responses>() + 4 * (size_of::<Open>() + size_of::<u64>());
    assert!(meter + answered <= 1024, "{answered}");
}

/// One step of a made-up session.
fn step() -> impl Strategy<Value = Value> {
    let id = prop_oneof![Just("a"), Just("b"), Just("c"), Just("d"), Just("")];
    let base64_bytes = prop_oneof![0usize..64, 0usize..100_000];
    (id, 0..18, base64_bytes, 0u32..5_000).prop_map(|(id, what, bytes, count)| match what {
        9 => json!({"from": "application", "type": "input_audio_buffer.append", "audio": "A".repeat(bytes)}),
        10 => json!({"from": "application", "type": "conversation.item.create",
            "item": {"id": id, "content": [{"type": "input_text", "text": "a".repeat(bytes)}]}}),
        11 => json!({"from": "application", "type": "conversation.item.delete", "item_id": id}),
        12 => json!({"from": "application", "type": "conversation.item.truncate", "item_id": id, "audio_end_ms": count}),
        13 => {
            let conversation = ["none", "auto"][count as usize % 2];
            json!({"from": "application", "type": "response.create", "response": {"conversation": conversation}})
        }
        14 => json!({"type": "input_audio_buffer.committed", "item_id": id}),
        15 => json!({"type": "response.output_item.added", "response_id": id, "item": {"id": id}}),
        16 => stated(id, [u64::from(count), u64::from(count) / 2, u64::from(count) / 3, 0], 9),
        17 => json!({"type": "session.updated", "session": {"instructions": "a".repeat(bytes % 999),
            "input_audio_transcription": {"model": "whisper-1"}}}),
        0 => created(id),
        1 | 2 => audio(id, bytes),
        3 => text(id, bytes),
        4 | 5 => done(id, json!(count)),
        6 => done(id, Value::Null),
        7 => json!({"type": "response.audio.delta", "delta": "A".repeat(bytes)}),
        _ => {
            let model = ["gpt-realtime", "gpt-realtime-mini", "x"][count as usize % 3];
            let format = ["pcm16", "g711_ulaw"][count as usize % 2];
            json!({"type": "session.updated", "session": {"model": model, "output_audio_format": format}})
        }
    })
}

proptest! {
    #[test]
    fn charges_add_up_to_what_is_booked(
        steps in prop::collection::vec(step(), 0..60),
        estimate in prop_oneof![Just(EstimateMode::Enforce), Just(EstimateMode::Observe), Just(EstimateMode::Off)],
        named: bool,
        abandoned in prop::option::of(0usize..60),
    ) {
        let mut session = Session::of(estimate);
        if !named {
            session.meter.models.session = None;
        }
        for (index, step) in steps.iter().enumerate() {
            if Some(index) == abandoned {
                session.abandon();
            }
            if step["from"] == "application" {
                session.ask(step);
                continue;
            }
            match index % 4 {
                0 => session.see_bytes(step.to_string().as_bytes()),
                _ => session.see(step),
            };
            if estimate != EstimateMode::Enforce {
                // Nothing is charged ahead.
                prop_assert_eq!(session.charged, session.total());
            }
        }
        session.settle();
        prop_assert_eq!((session.charged, session.foreseen), (session.total(), Charge::default()));
        prop_assert!(!session.meter.awaits_usage());
        prop_assert_eq!(session.settle(), Charge::default());
        let counts = session.meter.take_counts();
        prop_assert_eq!((counts.metered + counts.estimated) as usize, session.booked.len());
    }

    #[test]
    fn no_bytes_make_it_fail(events: Vec<Vec<u8>>) {
        let mut session = Session::of(EstimateMode::Enforce);
        for event in &events {
            session.see_bytes(event);
            session.meter.read(event, &session.prices, NOW);
            session.meter.unmetered(event, &session.prices, NOW);
            session.meter.grow(u64::MAX);
            session.meter.peek_client(event, u64::MAX);
            session.meter.read_client(event, u64::MAX, &session.prices, session.now);
            session.meter.grow_client(u64::MAX);
        }
        session.settle();
    }
}
