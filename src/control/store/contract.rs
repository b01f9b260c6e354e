//! What every store promises, as one suite that each driver's tests run.

use super::{Filter, Store};
use std::sync::Arc;
use tokenist_core::batch::{Event, Restored, Rollup, SessionRecord};
use tokenist_core::id::{Feature, Holder, Identity, Model, SessionId, UserId};
use tokenist_core::ledger::{Config, Ledger};
use tokenist_core::limit::{Block, Limit, WindowKind};
use tokenist_core::message::{Closed, Delta, Opened};
use tokenist_core::money::NanoUsd;
use tokenist_core::time::{DAY_MS, HOUR_MS, Timestamp};
use tokenist_core::usage::Usage;

/// A store to check, and what may be asked of it.
pub(crate) struct Subject<'a> {
    /// Opens the store at a place: the same number is the same place, a new one is empty.
    pub(crate) open: &'a mut dyn FnMut(u32) -> Box<dyn Store>,
    /// What was committed is there when the place is opened again.
    pub(crate) persists: bool,
    /// So many rows of each kind are kept, and the suite may fill it.
    pub(crate) bounded: Option<usize>,
}

/// Fails where the store breaks the contract.
pub(crate) fn check(subject: &mut Subject<'_>) {
    committing_twice_is_committing_once((subject.open)(1));
    an_older_batch_changes_nothing_after_a_newer((subject.open)(2));
    a_restored_ledger_has_the_sums_of_the_first((subject.open)(3));
    reads_are_filtered_ordered_and_limited((subject.open)(4));
    a_lifted_binding_stays_lifted((subject.open)(5));
    if subject.persists {
        a_crash_between_batches_loses_and_repeats_nothing(&mut || (subject.open)(6));
    }
    if let Some(max) = subject.bounded {
        the_bound_is_kept((subject.open)(7), max);
    }
}

const NOON: Timestamp = Timestamp(1_795_435_200_000);
const ALL: Filter =
    Filter { user: None, org: None, from: Timestamp(0), to: Timestamp::MAX, limit: usize::MAX };

fn committing_twice_is_committing_once(mut store: Box<dyn Store>) {
    let mut ledger = ledger();
    ledger.apply(delta("alice", 1, NOON), NOON);
    close_session(&mut ledger, 1, "alice", NOON);
    let batch = ledger.take_batch().unwrap();
    store.commit(&batch).unwrap();
    let before = contents(&mut *store);
    store.commit(&batch).unwrap();
    assert_eq!(contents(&mut *store), before);
    assert_eq!((before.rollups.len(), before.events.len(), before.sessions.len()), (1, 1, 1));
}

fn an_older_batch_changes_nothing_after_a_newer(mut store: Box<dyn Store>) {
    let mut ledger = ledger();
    let place = admit(&mut ledger, "alice");
    ledger.apply(delta("alice", 1, NOON), NOON);
    ledger.set_limit(place, Some(limit(10)), NOON);
    let older = ledger.take_batch().unwrap();
    ledger.apply(delta("alice", 2, NOON), NOON);
    ledger.set_limit(place, Some(limit(20)), NOON);
    let newer = ledger.take_batch().unwrap();
    store.commit(&newer).unwrap();
    store.commit(&older).unwrap();
    assert_eq!(cost(&mut *store), 3);
    assert_eq!(store.restore(NOON).unwrap().holders[0].limit, Some(limit(20)));
}

fn a_restored_ledger_has_the_sums_of_the_first(mut store: Box<dyn Store>) {
    let mut first = ledger();
    let mut now = NOON.minus_ms(40 * DAY_MS);
    for (hours, nano) in [(0, 1), (900, 10), (40, 100), (20, 1_000)] {
        now = now.plus_ms(hours * HOUR_MS);
        first.apply(delta("alice", nano, now), now);
        first.tick(now);
        store.commit(&first.take_batch().unwrap()).unwrap();
    }
    let block = Block { reason: Some("abuse".into()), blocked_at: now, expires_at: None };
    let bob = admit(&mut first, "bob");
    first.set_block(bob, Some(block.clone()), now);
    store.commit(&first.take_batch().unwrap()).unwrap();

    let second = Ledger::restore(config(), store.restore(now).unwrap(), now);
    for holder in [Holder::User("alice".into()), Holder::Org("acme".into())] {
        for window in [WindowKind::Daily, WindowKind::Monthly, WindowKind::Rolling24h, WindowKind::Total] {
            let sums = |ledger: &Ledger| {
                let totals = *ledger.record(ledger.find(&holder).unwrap()).totals(window);
                (totals.usage, totals.cost, totals.estimated_cost)
            };
            assert_eq!(sums(&second), sums(&first), "{holder:?} {window:?}");
        }
    }
    let bob = second.find(&Holder::User("bob".into())).unwrap();
    assert_eq!(second.record(bob).standing().block, Some(block));
}

fn reads_are_filtered_ordered_and_limited(mut store: Box<dyn Store>) {
    let mut ledger = ledger();
    for (index, name) in ["alice", "bob", "alice"].into_iter().enumerate() {
        let at = NOON.plus_ms(index as u64 * HOUR_MS);
        ledger.apply(delta(name, 1 << index, at), at);
        close_session(&mut ledger, index as u64, name, at);
    }
    store.commit(&ledger.take_batch().unwrap()).unwrap();
    let alice = Filter { user: Some("alice".into()), ..ALL };
    let late = Filter { from: NOON.plus_ms(HOUR_MS), ..ALL };
    let early = Filter { to: NOON.plus_ms(HOUR_MS), ..ALL };
    let one = Filter { limit: 1, ..ALL };
    let nobody = Filter { org: Some("other".into()), ..ALL };
    for (filter, costs) in
        [(ALL, &[1, 2, 4][..]), (alice, &[1, 4]), (late, &[2, 4]), (early, &[1]), (nobody, &[])]
    {
        let rollups = store.rollups(&filter).unwrap();
        assert_eq!(rollups.iter().map(|row| row.totals.cost.0).collect::<Vec<_>>(), costs);
        let events = store.events(&filter).unwrap();
        assert!(events.iter().rev().map(|event| &event.delta.cost.0).eq(costs));
        assert_eq!(store.sessions(&filter).unwrap().len(), costs.len());
    }
    assert_eq!(store.rollups(&one).unwrap()[0].totals.cost, NanoUsd(1));
    assert_eq!(store.events(&one).unwrap()[0].delta.cost, NanoUsd(4));
    assert_eq!(store.sessions(&one).unwrap()[0].closed.session, SessionId(2));
}

fn a_lifted_binding_stays_lifted(mut store: Box<dyn Store>) {
    let mut ledger = ledger();
    let place = admit(&mut ledger, "alice");
    ledger.set_block(place, Some(Block { reason: None, blocked_at: NOON, expires_at: None }), NOON);
    let blocked = ledger.take_batch().unwrap();
    ledger.set_block(place, None, NOON);
    let lifted = ledger.take_batch().unwrap();
    for batch in [&blocked, &lifted, &blocked] {
        store.commit(batch).unwrap();
    }
    assert_eq!(store.restore(NOON).unwrap().holders[0].block, None);
}

fn a_crash_between_batches_loses_and_repeats_nothing(open: &mut dyn FnMut() -> Box<dyn Store>) {
    let mut expected = 0;
    for life in 0..4 {
        let mut store = open();
        let mut ledger = Ledger::restore(config(), store.restore(NOON).unwrap(), NOON);
        assert_eq!(cost(&mut *store), expected);
        for step in 0..3 {
            ledger.apply(delta("alice", 10 * life + step, NOON), NOON);
            let batch = ledger.take_batch().unwrap();
            store.commit(&batch).unwrap();
            store.commit(&batch).unwrap();
            expected += 10 * life + step;
        }
        // Applied but never committed: what a crash may lose.
        ledger.apply(delta("alice", 1_000_000, NOON), NOON);
    }
    assert_eq!(cost(&mut *open()), expected);
}

fn the_bound_is_kept(mut store: Box<dyn Store>, max: usize) {
    let mut ledger = ledger();
    let limited = admit(&mut ledger, "limited");
    ledger.set_limit(limited, Some(limit(10)), NOON);
    for index in 0..3 * max as u64 {
        let name = format!("user{index}");
        let at = NOON.plus_ms(index * HOUR_MS);
        let place = admit(&mut ledger, &name);
        ledger.introduce(place, &Identity { org: Some("acme".into()), ..Identity::of(name.as_str().into()) });
        ledger.apply(delta(&name, 1, at), at);
        close_session(&mut ledger, index, &name, at);
        store.commit(&ledger.take_batch().unwrap()).unwrap();
    }
    let Contents { rollups, events, sessions, restored } = contents(&mut *store);
    assert_eq!((rollups.len(), events.len(), sessions.len(), restored.holders.len()), (max, max, max, max));
    assert_eq!(rollups[max - 1].user.as_str(), format!("user{}", 3 * max - 1));
    assert!(restored.holders.iter().any(|state| state.limit == Some(limit(10))), "bindings go last");
}

#[derive(Debug, PartialEq)]
struct Contents {
    rollups: Vec<Rollup>,
    events: Vec<Event>,
    sessions: Vec<SessionRecord>,
    restored: Restored,
}

fn contents(store: &mut dyn Store) -> Contents {
    let mut restored = store.restore(Timestamp::MAX).unwrap();
    restored.holders.sort_by(|a, b| a.holder.cmp(&b.holder));
    Contents {
        rollups: store.rollups(&ALL).unwrap(),
        events: store.events(&ALL).unwrap(),
        sessions: store.sessions(&ALL).unwrap(),
        restored,
    }
}

fn cost(store: &mut dyn Store) -> i64 {
    store.rollups(&ALL).unwrap().iter().map(|row| row.totals.cost.0).sum()
}

fn config() -> Config {
    Config::default()
}

fn ledger() -> Ledger {
    Ledger::new(config(), NOON.minus_ms(50 * DAY_MS))
}

fn limit(nano: i64) -> Limit {
    Limit { max_cost: Some(NanoUsd(nano)), ..Limit::default() }
}

fn admit(ledger: &mut Ledger, name: &str) -> tokenist_core::ledger::Place {
    ledger.admit(&Holder::User(UserId::from(name)), NOON, |_, _| false).unwrap().place
}

fn delta(name: &str, nano: i64, at: Timestamp) -> Delta {
    let identity = Identity {
        org: Some("acme".into()),
        feature: Some(Feature::from("voice")),
        ..Identity::of(name.into())
    };
    Delta {
        at,
        session: SessionId(7),
        identity: Arc::new(identity),
        provider: "openai".into(),
        model: Model::from("gpt-realtime"),
        usage: Usage { audio_in: nano as u64, text_out: 3, requests: 1, ..Usage::default() },
        cost: NanoUsd(nano),
        estimated: nano % 2 == 0,
        latency_ms: Some(12),
    }
}

fn close_session(ledger: &mut Ledger, number: u64, name: &str, at: Timestamp) {
    let session = SessionId(number);
    let identity = Arc::clone(&delta(name, 0, at).identity);
    ledger.open_session(Opened { session, identity, provider: "openai".into(), model: None, at });
    ledger.close_session(Closed { session, at, close_code: 1000 });
}
