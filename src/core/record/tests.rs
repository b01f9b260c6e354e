use super::*;
use crate::cluster::Writer;
use crate::id::UserId;
use crate::models::Models;
use crate::money::NanoUsd;
use crate::time::DAY_MS;
use crate::usage::Usage;
use crate::window::{BUCKET_MS, WindowBucket};
use proptest::prelude::*;

const NOON: Timestamp = Timestamp(1_795_435_200_000);

fn record(limit: Limit) -> Record {
    Record::new(Holder::User(UserId::from("alice")), limit, NOON)
}

fn cost_limit(nano: i64, window: WindowKind) -> Limit {
    Limit { max_cost: Some(NanoUsd(nano)), window, ..Limit::default() }
}

fn amount(nano: i64, tokens: u64) -> Totals {
    Totals { usage: Usage { text_in: tokens, ..Usage::default() }, cost: NanoUsd(nano), ..Totals::default() }
}

fn block_until(end: Option<Timestamp>) -> Option<Block> {
    Some(Block { reason: None, blocked_at: NOON, expires_at: end })
}

#[test]
fn an_ordinary_delta_moves_no_ceiling_and_a_new_day_does() {
    let mut record = record(cost_limit(100, WindowKind::Daily));
    assert_eq!(record.ceilings().cost, Ceiling::At(100));
    assert_eq!(record.post(NOON, &amount(60, 0), NOON), Consequence::default());
    assert_eq!(record.ceilings().cost, Ceiling::At(100));
    assert!(record.advance(NOON.next_day_start()).publish);
    assert_eq!(record.ceilings().cost, Ceiling::At(160));
    assert_eq!(record.account_state().resets_at, Some(NOON.next_day_start().next_day_start()));
}

#[test]
fn a_late_delta_of_yesterday_is_taken_off_todays_use() {
    let mut record = record(cost_limit(100, WindowKind::Daily));
    let tomorrow = NOON.next_day_start();
    record.advance(tomorrow);
    // The account was charged with 70 yesterday; until that is known it counts against today.
    assert!(record.post(NOON, &amount(70, 0), tomorrow).publish);
    assert_eq!(record.ceilings().cost, Ceiling::At(170));
}

#[test]
fn warnings_come_once_in_each_window() {
    let mut record = record(cost_limit(100, WindowKind::Daily));
    let warnings = |record: &mut Record, at: Timestamp| {
        [79, 1, 5, 10, 1, 4].map(|nano| {
            let consequence = record.post(at, &amount(nano, 0), at);
            (consequence.warning, consequence.sweep)
        })
    };
    let expected = [None, Some(80), None, Some(95), None, None].map(|warning| (warning, false));
    let mut expected_last = expected;
    expected_last[5] = (Some(100), true);
    assert_eq!(warnings(&mut record, NOON), expected_last);
    let tomorrow = NOON.next_day_start();
    record.advance(tomorrow);
    assert_eq!(warnings(&mut record, tomorrow), expected_last);
}

#[test]
fn warn_mode_tells_at_the_limit_and_shuts_nobody_out() {
    let mut record = record(Limit { mode: Mode::Warn, ..cost_limit(100, WindowKind::Total) });
    let consequence = record.post(NOON, &amount(150, 0), NOON);
    assert_eq!(consequence, Consequence { warning: Some(100), ..Consequence::default() });
    assert_eq!(record.ceilings().cost, Ceiling::Unlimited);
}

#[test]
fn a_rule_blocks_beside_an_operator_and_lifts_nothing_of_his() {
    let rule_action = |end: u64| RuleAction {
        reason: Some("Rule \"r\"".into()),
        since: NOON,
        delay_ms: 7,
        expires_at: NOON.plus_ms(end),
    };
    let mut record = record(Limit::default());
    assert!(record.set_rule_action(Some(rule_action(10)), NOON).sweep);
    assert_eq!((record.account_state().block.clone(), record.block()), (rule_action(10).block(), None));
    assert_eq!(record.account_state().delay_ms, 7);
    let own = block_until(Some(NOON.plus_ms(5)));
    record.set_block(own.clone(), NOON);
    record.set_rule_action(None, NOON);
    assert_eq!((&record.account_state().block, record.due()), (&own, Some(NOON.plus_ms(5))));
    record.set_rule_action(Some(rule_action(8)), NOON);
    assert_eq!(record.account_state().block, own);
    assert!(record.advance(NOON.plus_ms(5)).publish);
    assert_eq!(record.account_state().block, rule_action(8).block());
    assert!(record.advance(NOON.plus_ms(8)).publish);
    assert_eq!((&record.account_state().block, record.account_state().delay_ms), (&None, 0));
    assert_eq!(record.ceilings().cost, Ceiling::Unlimited);
}

#[test]
fn a_block_shuts_at_once_and_opens_when_it_expires() {
    let mut record = record(Limit::default());
    let end = NOON.plus_ms(10);
    let consequence = record.set_block(block_until(Some(end)), NOON);
    assert!(consequence.publish && consequence.sweep);
    assert_eq!(record.ceilings(), Ceilings { cost: Ceiling::Shut, tokens: Ceiling::Shut });
    assert!(!record.advance(end.minus_ms(1)).publish);
    assert!(record.advance(end).publish);
    assert_eq!((record.ceilings().cost, record.account_state().block.clone()), (Ceiling::Unlimited, None));
}

#[test]
fn lowering_a_limit_sweeps_and_raising_it_does_not() {
    let mut record = record(cost_limit(100, WindowKind::Daily));
    record.post(NOON, &amount(50, 0), NOON);
    assert!(record.set_limit(Some(cost_limit(60, WindowKind::Daily)), NOON).sweep);
    assert!(!record.set_limit(Some(cost_limit(70, WindowKind::Daily)), NOON).sweep);
    assert!(!record.set_limit(Some(Limit::default()), NOON).sweep);
    assert!(record.set_limit(None, NOON).sweep);
}

#[test]
fn another_list_of_models_closes_sessions_and_a_list_that_is_lifted_does_not() {
    let of = |list: &str| Some(Limit { models: Models::parse(list).unwrap(), ..Limit::default() });
    let mut record = record(Limit::default());
    for (limit, sweep) in [
        (of("gpt-realtime"), true),
        (of("gpt-realtime"), false),
        (of("gpt-realtime*"), true),
        (None, false),
        (of(""), false),
    ] {
        let consequence = record.set_limit(limit.clone(), NOON);
        assert_eq!((consequence.publish, consequence.sweep), (true, sweep), "{limit:?}");
        assert_eq!(record.account_state().limit, limit.unwrap_or_default());
    }
}

#[test]
fn what_others_use_takes_room_and_closes_sessions() {
    let mut record = record(cost_limit(100, WindowKind::Rolling24h));
    record.post(NOON, &amount(30, 0), NOON);
    let newest = record.contribution(Scope::Recent).last().copied().unwrap();
    let told = |nano, at: Timestamp| PeerTotals {
        bucket: WindowBucket { window: WindowKind::Rolling24h, start: at },
        peers: vec![(Writer("b".into()), Used { cost: NanoUsd(nano), tokens: 0 })],
        own: Used::default(),
    };
    let hour_ago = newest.bucket.start.minus_ms(DAY_MS / 24);
    assert!(record.merge(&[told(40, hour_ago), told(20, newest.bucket.start)], NOON).sweep);
    assert_eq!(record.ceilings().cost, Ceiling::At(40));
    assert!(record.merge(&[told(30, newest.bucket.start)], NOON).sweep);
    assert_eq!(record.ceilings().cost, Ceiling::At(30), "reached");
    assert_eq!(record.account_state().resets_at, Some(hour_ago.plus_ms(DAY_MS + BUCKET_MS)));
    assert!(record.advance(hour_ago.plus_ms(DAY_MS + BUCKET_MS)).publish);
    assert_eq!(record.ceilings().cost, Ceiling::At(70));
}

#[test]
fn a_limit_says_what_holds_while_others_cannot_be_heard() {
    for (on_redis_down, left, refuses_new) in [
        (OnRedisDown::LocalShare, 35, false),
        (OnRedisDown::Allow, 70, false),
        (OnRedisDown::Refuse, 35, true),
    ] {
        let mut record = record(Limit { on_redis_down, ..cost_limit(100, WindowKind::Daily) });
        record.post(NOON, &amount(30, 0), NOON);
        let parted = record.partition(Some(2), NOON);
        assert_eq!(record.ceilings().cost, Ceiling::At(30 + left));
        assert_eq!((record.account_state().refuses_new, parted.warning), (refuses_new, None));
        assert!(record.partition(None, NOON).publish || on_redis_down == OnRedisDown::Allow);
        assert_eq!((record.ceilings().cost, record.account_state().refuses_new), (Ceiling::At(100), false));
    }
}

#[test]
fn a_rolling_limit_says_when_it_no_longer_is_reached() {
    let minute = 60_000;
    let end = |at: Timestamp| Timestamp(at.0 - at.0 % BUCKET_MS).plus_ms(DAY_MS + BUCKET_MS);
    let at = |minutes_ago: u64| NOON.minus_ms(minutes_ago * minute);
    for (uses, expected) in [
        (&[][..], None),
        (&[(90, 60), (30, 20)], Some(end(at(90)))),
        // Reached: one has to leave, two, all.
        (&[(90, 60), (30, 60)], Some(end(at(90)))),
        (&[(90, 60), (60, 60), (30, 60)], Some(end(at(60)))),
        (&[(90, 60), (60, 60), (30, 100)], Some(end(at(30)))),
    ] {
        let mut record = record(cost_limit(100, WindowKind::Rolling24h));
        for &(minutes_ago, nano) in uses {
            record.post(at(minutes_ago), &amount(nano, 0), NOON);
        }
        assert_eq!(record.account_state().resets_at, expected, "{uses:?}");
        if let Some(end) = expected {
            assert!(record.advance(end.minus_ms(1)).warning.is_none());
            let verdict = |record: &Record, now| judge(record.account_state(), record.used(), now);
            let reached = uses.iter().map(|(_, nano)| nano).sum::<i64>() >= 100;
            assert_eq!(matches!(verdict(&record, end.minus_ms(1)), Verdict::Block(_)), reached, "{uses:?}");
            record.advance(end);
            assert!(!matches!(verdict(&record, end), Verdict::Block(_)), "{uses:?}");
        }
    }
}

#[test]
fn whoever_is_used_is_judged_by_the_present_window() {
    let mut record = record(cost_limit(100, WindowKind::Daily));
    record.post(NOON, &amount(100, 0), NOON);
    // Reported before midnight, applied after it, and before any walk has come to this record.
    let midnight = NOON.next_day_start();
    assert!(record.post(midnight.minus_ms(1), &amount(7, 0), midnight).publish);
    assert_eq!((record.ceilings().cost, record.used().cost.0), (Ceiling::At(207), 0));
    assert_eq!(record.account_state().resets_at, Some(midnight.next_day_start()));
}

#[test]
fn what_binds_somebody_or_was_ever_used_is_not_forgotten() {
    let mut used = record(cost_limit(10, WindowKind::Daily));
    assert!(!used.must_stay());
    used.post(NOON, &amount(1, 0), NOON);
    assert!(used.must_stay());
    used.advance(NOON.next_day_start());
    assert!(used.must_stay(), "the window of all time is never over");

    let mut bound = record(Limit::default());
    bound.set_limit(Some(cost_limit(10, WindowKind::Daily)), NOON);
    assert!(bound.must_stay());
    bound.set_limit(None, NOON);
    assert!(!bound.must_stay());

    let mut denied = record(cost_limit(0, WindowKind::Daily));
    denied.advance(NOON);
    assert!(!denied.must_stay(), "a limit of zero binds whoever comes next just as well");
}

/// One thing that can happen to a holder, with how long after the one before.
#[derive(Clone, Debug)]
enum Act {
    /// A shard charges; the delta is applied later.
    Charge(i64, u64),
    /// The oldest waiting delta is applied.
    Apply,
    Limit(Limit),
    Block(Option<u64>),
    Unblock,
    Tick,
    SetBack(u64),
    /// The peers have counted so much in the latest bucket, and so much in the oldest that is asked for.
    Hear(i64, u64),
    /// The peers cannot be reached any more, or again.
    Part(Option<u32>),
}

fn windows() -> impl Strategy<Value = WindowKind> {
    prop::sample::select(vec![
        WindowKind::Daily,
        WindowKind::Monthly,
        WindowKind::Rolling24h,
        WindowKind::Total,
    ])
}

fn acts() -> impl Strategy<Value = Vec<(u64, Act)>> {
    let act = prop_oneof![
        4 => (0..300i64, 0..300u64).prop_map(|(nano, tokens)| Act::Charge(nano, tokens)),
        4 => Just(Act::Apply),
        1 => (
            prop::option::of(0..1000i64),
            prop::option::of(0..1000u64),
            windows(),
            prop::sample::select(vec![Mode::Enforce, Mode::Enforce, Mode::Warn]),
            prop::sample::select(vec![OnRedisDown::LocalShare, OnRedisDown::Allow, OnRedisDown::Refuse]),
        )
            .prop_map(|(cost, tokens, window, mode, on_redis_down)| {
                Act::Limit(Limit {
                    max_cost: cost.map(NanoUsd),
                    max_tokens: tokens,
                    window,
                    mode,
                    on_redis_down,
                    ..Limit::default()
                })
            }),
        1 => prop::option::of(0..DAY_MS).prop_map(Act::Block),
        1 => Just(Act::Unblock),
        2 => Just(Act::Tick),
        1 => (0..3 * DAY_MS).prop_map(Act::SetBack),
        3 => (0..300i64, 0..300u64).prop_map(|(nano, tokens)| Act::Hear(nano, tokens)),
        1 => prop::option::of(1..5u32).prop_map(Act::Part),
    ];
    let pause = prop_oneof![4 => 0..1_000u64, 1 => 0..2 * DAY_MS];
    prop::collection::vec((pause, act), 1..80)
}

/// Whether an account that is charged with so much has reached a ceiling.
fn reached(charged: Applied, ceilings: Ceilings) -> bool {
    let is_reached = |(charged, ceiling): (i64, Ceiling)| match ceiling {
        Ceiling::Unlimited => false,
        Ceiling::Shut => true,
        Ceiling::At(ceiling) => charged >= ceiling,
    };
    is_reached((charged.cost, ceilings.cost)) || is_reached((charged.tokens, ceilings.tokens))
}

proptest! {
    #[test]
    fn an_account_is_reached_exactly_where_the_verdict_is_block(acts in acts()) {
        let mut record = record(cost_limit(500, WindowKind::Daily));
        let mut charged = Applied::default();
        let mut waiting = std::collections::VecDeque::new();
        let mut now = NOON;
        let mut is_partitioned = false;
        for (pause, act) in acts {
            now = now.plus_ms(pause);
            match act {
                Act::Charge(nano, tokens) => {
                    charged.cost += nano;
                    charged.tokens += tokens as i64;
                    waiting.push_back((now, amount(nano, tokens)));
                }
                Act::Apply => {
                    if let Some((at, totals)) = waiting.pop_front() {
                        record.post(at, &totals, now);
                    }
                }
                Act::Limit(limit) => {
                    record.set_limit(Some(limit), now);
                }
                Act::Block(ms) => {
                    record.set_block(block_until(ms.map(|ms| now.plus_ms(ms))), now);
                }
                Act::Unblock => {
                    record.set_block(None, now);
                }
                Act::Tick => {
                    record.advance(now);
                }
                Act::SetBack(ms) => {
                    now = now.minus_ms(ms);
                    record.set_back(now);
                }
                Act::Hear(nano, tokens) => {
                    record.advance(now);
                    let counts = record.contribution(Scope::Recent);
                    let peers = vec![(Writer("b".into()), Used { cost: NanoUsd(nano), tokens })];
                    let totals = [counts.first(), counts.last()].into_iter().flatten();
                    let totals = totals.map(|count| {
                        PeerTotals { bucket: count.bucket, peers: peers.clone(), own: count.used }
                    });
                    let totals: Vec<_> = totals.collect();
                    record.merge(&totals, now);
                    prop_assert_eq!(record.knows_peers(), !totals.is_empty() || !record.account_state().limit.is_bounded());
                }
                Act::Part(instances) => {
                    is_partitioned = instances.is_some();
                    record.partition(instances, now);
                }
            }
            // While deltas are on their way the account may only be stricter than the ledger.
            record.advance(now);
            let block = matches!(judge(record.account_state(), record.used(), now), Verdict::Block(_));
            let reached_now = reached(charged, record.ceilings());
            prop_assert!(reached_now || !block);
            if waiting.is_empty() {
                prop_assert_eq!(reached_now, block);
            }
            let (counted, used) = (record.counted(), record.used());
            prop_assert!(counted.cost <= used.cost && counted.tokens <= used.tokens);
            prop_assert!(is_partitioned || counted == used, "nothing is kept for those that can be reached");
        }
    }

    #[test]
    fn more_usage_is_never_judged_more_mildly(
        max_cost in prop::option::of(0..2_000i64), max_tokens in prop::option::of(0..2_000u64),
        warn: bool, a in 0..3_000i64, b in 0..3_000i64, tokens in 0..3_000u64, more in 0..3_000u64,
    ) {
        let mode = if warn { Mode::Warn } else { Mode::Enforce };
        let state = AccountState {
            limit: Limit { max_cost: max_cost.map(NanoUsd), max_tokens, mode, ..Limit::default() },
            ..AccountState::default()
        };
        let severity = |cost: i64, tokens: u64| match judge(&state, Used { cost: NanoUsd(cost), tokens }, NOON) {
            Verdict::Allow => 0,
            Verdict::Warn { percent } => u64::from(percent),
            Verdict::Block(_) => u64::MAX,
        };
        prop_assert!(severity(a.min(b), tokens) <= severity(a.max(b), tokens + more));
    }
}
