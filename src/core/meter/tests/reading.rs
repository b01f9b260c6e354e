//! What a response reads: foreseen when it begins, and booked where no figure comes.

use super::*;

/// A conversation of which 20,000 tokens of text and 10,000 of sound were stated, nine tenths of both from the cache.
fn conversation(estimate: EstimateMode) -> Session {
    let mut session = Session::of(estimate);
    session.see(&created("first"));
    session.see(&stated("first", [20_000, 10_000, 18_000, 9_000], 0));
    session
}

/// Of that much, at gpt-realtime's prices.
const READ_NANO: i64 = 2_000 * 4_000 + 18_000 * 400 + 1_000 * 32_000 + 9_000 * 400;

fn user_text(bytes: usize) -> Value {
    json!({"type": "conversation.item.create", "item": {"type": "message", "role": "user",
        "content": [{"type": "input_text", "text": "a".repeat(bytes)}]}})
}

#[test]
fn what_a_response_reads_is_foreseen_and_taken_back_with_the_providers_figure() {
    let mut session = conversation(EstimateMode::Enforce);
    let charged = session.charged;
    session.ask(&user_text(4_000));
    session.ask(&json!({"type": "response.create"}));
    session.see(&created("r"));
    assert_eq!((session.foreseen, session.charged), (charge(READ_NANO + 1_000 * 4_000, 31_000), charged));
    session.see(&audio("r", 64_000));
    assert_eq!(session.charged - charged, charge(20 * 64_000, 20), "only what it says is charged");
    session.see(&stated("r", [21_000, 10_000, 20_000, 10_000], 5));
    assert_eq!(session.foreseen, Charge::default());
    session.settle();
    assert_eq!(session.charged, session.total());
    for mode in [EstimateMode::Observe, EstimateMode::Off] {
        let mut session = conversation(mode);
        session.see(&created("r"));
        assert_eq!(session.foreseen, Charge::default(), "{mode:?}");
    }
}

#[test]
fn what_was_read_is_booked_where_no_figure_comes() {
    for (mode, cost) in [
        (EstimateMode::Enforce, READ_NANO + 20 * 64_000),
        (EstimateMode::Observe, READ_NANO + 20 * 64_000),
        (EstimateMode::Off, 0),
    ] {
        let mut session = conversation(mode);
        session.see(&created("r"));
        session.see(&audio("r", 64_000));
        session.settle();
        let last = session.booked.last().unwrap();
        assert_eq!((last.cost, last.estimated), (NanoUsd(cost), true), "{mode:?}");
        if mode != EstimateMode::Off {
            assert_eq!((last.usage.cached_text_in, last.usage.cached_audio_in), (18_000, 9_000));
        }
        assert_eq!((session.charged, session.foreseen), (session.total(), Charge::default()));
    }
}

#[test]
fn once_nobody_listens_what_is_read_is_charged_as_well() {
    let mut session = conversation(EstimateMode::Enforce);
    session.see(&created("r"));
    session.see(&audio("r", 64_000));
    let (foreseen, before) = (session.foreseen, session.charged);
    assert_eq!(session.abandon(), foreseen);
    assert_eq!((session.foreseen, session.abandon()), (Charge::default(), Charge::default()));
    assert_eq!(session.see(&audio("r", 64_000)), charge(20 * 64_000, 20));
    // What had been asked for begins all the same.
    session.see(&json!({"type": "response.created", "response": {"id": "s", "conversation_id": null}}));
    assert_eq!(session.charged - before, charge(2 * READ_NANO + 20 * 64_000, 60_020));
    assert!(session.meter.awaits_usage());
    let cancels: Vec<Value> =
        session.meter.cancels().iter().map(|event| serde_json::from_str(event).unwrap()).collect();
    let cancel = |id: &str| json!({"type": "response.cancel", "response_id": id});
    assert_eq!(cancels, [cancel("r"), cancel("s")]);
    session.see(&stated("r", [20_000, 10_000, 20_000, 10_000], 5));
    session.see(&stated("s", [20_000, 10_000, 20_000, 10_000], 5));
    assert!(!session.meter.awaits_usage());
    assert_eq!(session.settle(), Charge::default());
    assert_eq!((session.charged, session.foreseen), (session.total(), Charge::default()));
    assert!(session.booked.iter().all(|metered| !metered.estimated));
}

#[test]
fn a_response_apart_reads_what_it_is_given_and_leaves_the_conversation_as_it_was() {
    let mut session = conversation(EstimateMode::Enforce);
    let apart = json!({"type": "response.created", "response": {"id": "x", "conversation_id": null}});
    session.ask(&json!({"type": "response.create", "response": {"conversation": "none", "input": [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "a".repeat(400)}]}]}}));
    session.ask(&json!({"type": "response.create"}));
    assert!(session.meter.awaits_usage(), "what was asked for will be owed");
    assert!(!session.meter.is_under_way());
    session.see(&apart);
    assert_eq!(session.foreseen, charge(100 * 4_000, 100));
    session.see(&created("r"));
    assert_eq!(session.foreseen, charge(100 * 4_000 + READ_NANO, 30_100));
    session.see(&stated("x", [100, 0, 0, 0], 7));
    session.see(&done("r", Value::Null));
    assert!(!session.meter.awaits_usage());
    session.see(&created("s"));
    assert_eq!(session.foreseen, charge(READ_NANO, 30_000), "it does not read what was said apart");
}

#[test]
fn what_was_asked_for_and_refused_is_awaited_no_more() {
    let mut session = Session::of(EstimateMode::Enforce);
    session.ask(&json!({"type": "response.create"}));
    assert_eq!(session.meter.cancels(), [r#"{"type":"response.cancel"}"#]);
    session.see(&json!({"type": "error", "error": {"code": "invalid_value"}}));
    assert!(!session.meter.awaits_usage() && session.meter.cancels().is_empty());
}

#[test]
fn settings_are_read_and_less_of_them_less() {
    let settings = |instructions: usize| {
        json!({"type": "session.updated", "session": {"type": "realtime",
        "instructions": "a".repeat(instructions), "tools": [], "model": "gpt-realtime"}})
    };
    let mut session = Session::of(EstimateMode::Enforce);
    session.see(&settings(4_000));
    session.see(&created("r"));
    assert_eq!(session.foreseen, charge(1_000 * 4_000, 1_000));
    session.see(&stated("r", [1_010, 0, 0, 0], 0));
    session.see(&settings(400));
    session.see(&created("s"));
    assert_eq!(session.foreseen, charge(110 * 4_000, 110));
    session.see(&stated("s", [110, 0, 0, 0], 0));
    session.see(&settings(40_000));
    session.see(&created("t"));
    assert_eq!(session.foreseen, charge(110 * 4_000, 110), "the provider's own figure follows");
}

#[test]
fn a_connection_that_resumes_foresees_what_the_first_one_would_have() {
    let mut first = Session::of(EstimateMode::Enforce);
    first.see(&created("r1"));
    first.see(&stated("r1", [20_000, 10_000, 18_000, 9_000], 500));
    let mut resumed = Session::of(EstimateMode::Enforce);
    resumed.meter.resume(first.meter.carry());
    for session in [&mut first, &mut resumed] {
        session.see(&created("r2"));
    }
    assert_eq!(resumed.foreseen, first.foreseen);
    assert_eq!(resumed.foreseen.tokens, 30_500, "what was read, and what was said");
    // What comes after that is added to it, and the provider's figure replaces it.
    resumed.see(&stated("r2", [100, 0, 0, 0], 1));
    assert_eq!((resumed.foreseen, resumed.booked.len()), (Charge::default(), 1));
    resumed.settle();
    assert_eq!(resumed.charged, resumed.total());
    let mut second = Session::of(EstimateMode::Enforce);
    second.meter.resume(resumed.meter.carry());
    second.see(&created("r3"));
    assert_eq!(second.foreseen.tokens, 101, "of the last that was stated, also behind the end");
}
