mod clocks;
mod slots;

use super::*;
use crate::batch::{Profile, Recalled};
use crate::cluster::{PeerTotals, Scope, Writer};
use crate::id::{Identity, KeyHash};
use crate::key::{Key, KeyId};
use crate::limit::{Block, WindowKind};
use crate::message::{Closed, Opened, Transport};
use crate::money::NanoUsd;
use crate::record::Applied;
use crate::record::Ceiling;
use crate::time::{DAY_MS, HOUR_MS, MINUTE_MS};
use crate::usage::Usage;
use crate::verdict::Used;
use crate::window::WindowBucket;
use crate::{batch::Piece, id::Feature, id::Model};
use std::sync::Arc;

const NOON: Timestamp = Timestamp(1_795_435_200_000);

fn small() -> Config {
    Config {
        holders_max: 3,
        series_max: 2,
        default_limit: Limit { max_cost: Some(NanoUsd(100)), window: WindowKind::Daily, ..Limit::default() },
        ..Config::default()
    }
}

fn user(name: &str) -> Holder {
    Holder::User(UserId::from(name))
}

fn delta(name: &str, model: &str, nano: i64, at: Timestamp) -> Delta {
    let identity = Identity {
        org: Some("acme".into()),
        feature: Some(Feature::from("voice")),
        ..Identity::of(name.into())
    };
    Delta {
        at,
        session: SessionId(1),
        identity: Arc::new(identity),
        provider: "openai".into(),
        model: Model::from(model),
        usage: Usage { text_in: 1, requests: 1, ..Usage::default() },
        cost: NanoUsd(nano),
        estimated: false,
        latency_ms: None,
    }
}

fn cost_of(ledger: &Ledger, holder: &Holder, window: WindowKind) -> Option<i64> {
    ledger.find(holder).map(|slot| ledger.record(slot).totals(window).cost.0)
}

fn admit(ledger: &mut Ledger, name: &str) -> Result<Slot, Full> {
    ledger.admit(&user(name), NOON, |_, _| true)
}

/// Name of the user, hour of the day and cost of every row, in order.
fn rows(batch: &Batch) -> Vec<(&str, u64, i64)> {
    let mut rows: Vec<_> = batch
        .rollups
        .iter()
        .map(|row| (row.user.as_str(), row.start.0 % DAY_MS / HOUR_MS, row.totals.cost.0))
        .collect();
    rows.sort();
    rows
}

#[test]
fn a_delta_counts_for_all_its_holders_and_its_session() {
    let mut ledger = Ledger::new(small(), NOON);
    let first = delta("alice", "m", 30, NOON);
    ledger.open_session(
        Opened {
            session: SessionId(1),
            identity: Arc::clone(&first.identity),
            provider: "openai".into(),
            model: None,
            transport: Transport::default(),
            call: None,
            at: NOON,
        },
        NOON,
    );
    ledger.apply(first, NOON);
    ledger.apply(Delta { estimated: true, ..delta("alice", "m2", 20, NOON) }, NOON);
    for holder in [user("alice"), Holder::Org("acme".into()), Holder::Feature("voice".into())] {
        assert_eq!(cost_of(&ledger, &holder, WindowKind::Daily), Some(50), "{holder:?}");
        assert_eq!(cost_of(&ledger, &holder, WindowKind::Total), Some(50), "{holder:?}");
    }
    let session = ledger.session(SessionId(1)).unwrap();
    assert_eq!((session.totals.cost, session.totals.estimated_cost), (NanoUsd(50), NanoUsd(20)));
    assert_eq!(session.opened.model, Some(Model::from("m2")));
    ledger.close_session(Closed { session: SessionId(1), at: NOON, close_code: 1000 }, false);
    let batch = ledger.take_batch().unwrap();
    assert_eq!(rows(&batch), [("alice", 12, 20), ("alice", 12, 30)]);
    assert_eq!((batch.events.len(), batch.sessions.len()), (2, 1));
    assert_eq!(ledger.take_batch(), None);
}

fn opened(at: Timestamp) -> Opened {
    let (session, provider) = (SessionId(1), "google".into());
    Opened {
        session,
        identity: Arc::new(Identity::of("alice".into())),
        provider,
        model: None,
        transport: Transport::default(),
        call: None,
        at,
    }
}

#[test]
fn a_session_that_is_resumed_is_one_from_its_first_connection_to_its_last() {
    let minute = |minutes| NOON.plus_ms(minutes * MINUTE_MS);
    let closed = |at, close_code| Closed { session: SessionId(1), at, close_code };
    let mut ledger = Ledger::new(small(), NOON);
    let records = |ledger: &mut Ledger| ledger.take_batch().unwrap_or_default().sessions;
    ledger.open_session(opened(NOON), NOON);
    ledger.apply(delta("alice", "m", 30, NOON), NOON);
    // The next connection comes before the first one ends.
    ledger.open_session(opened(minute(9)), minute(9));
    ledger.close_session(closed(minute(10), 1000), true);
    assert_eq!((records(&mut ledger).len(), ledger.session_count()), (0, 1));
    ledger.apply(delta("alice", "m", 20, minute(15)), minute(15));
    ledger.close_session(closed(minute(19), 1006), true);
    let first = records(&mut ledger).remove(0);
    assert_eq!((first.opened.at, first.closed.at, first.totals.cost), (NOON, minute(19), NanoUsd(50)));
    // And the third after the second.
    assert_eq!(ledger.session_count(), 0);
    ledger.open_session(opened(minute(20)), minute(20));
    assert_eq!(ledger.session(SessionId(1)).unwrap().totals.cost, NanoUsd(50));
    ledger.apply(delta("alice", "m", 5, minute(20)), minute(20));
    ledger.close_session(closed(minute(18), 1000), false);
    let last = records(&mut ledger).remove(0);
    assert_eq!((last.opened.at, last.totals.cost, last.closed.close_code), (NOON, NanoUsd(55), 1000));
    assert!(last.closed.at > first.closed.at, "the later end holds, whatever the clock says");
    // Nothing was kept of it any more.
    ledger.open_session(opened(minute(30)), minute(30));
    assert_eq!(ledger.session(SessionId(1)).unwrap().totals.cost, NanoUsd(0));
    ledger.close_session(closed(minute(30), 1000), true);
    ledger.forget_session(SessionId(1));
    ledger.open_session(opened(minute(31)), minute(31));
    assert_eq!(ledger.session(SessionId(1)).unwrap().opened.at, minute(31));
    ledger.close_session(closed(minute(31), 1000), true);
    ledger.close_session(closed(minute(31), 1000), true);
    assert_eq!(ledger.session_count(), 0, "an end too many is nothing");
}

#[test]
fn rows_are_absolute_within_an_hour_and_late_deltas_get_rows_of_their_own() {
    let mut ledger = Ledger::new(small(), NOON);
    let next = NOON.plus_ms(HOUR_MS);
    ledger.apply(delta("alice", "m", 1, NOON), NOON);
    assert_eq!(rows(&ledger.take_batch().unwrap()), [("alice", 12, 1)]);
    ledger.apply(delta("alice", "m", 2, NOON), NOON);
    assert_eq!(rows(&ledger.take_batch().unwrap()), [("alice", 12, 3)]);
    ledger.apply(delta("alice", "m", 4, next), next);
    ledger.apply(delta("alice", "m", 8, next.minus_ms(1)), next);
    ledger.apply(delta("alice", "m", 16, next), next);
    let batch = ledger.take_batch().unwrap();
    assert_eq!(rows(&batch), [("alice", 12, 8), ("alice", 13, 4), ("alice", 13, 16)]);
    let mut serials: Vec<_> = batch.rollups.iter().map(|row| row.row).collect();
    serials.dedup();
    assert_eq!(serials.len(), 3);
}

#[test]
fn rows_that_find_no_room_to_wait_grow_on() {
    let mut ledger = Ledger::new(Config { rollups_max: 1, details_max: 2, ..small() }, NOON);
    for hour in 0..5 {
        let at = NOON.plus_ms(hour * HOUR_MS);
        ledger.apply(delta("alice", "m", 1, at), at);
    }
    assert_eq!(ledger.details_lost(), 3);
    let batch = ledger.take_batch().unwrap();
    assert_eq!((rows(&batch), batch.events.len()), (vec![("alice", 12, 1), ("alice", 13, 4)], 2));
}

#[test]
fn logs_wait_only_as_far_as_their_bytes_fit() {
    let mut ledger = Ledger::new(Config { log_bytes_max: 10, ..small() }, NOON);
    let log = |bytes: usize| Log {
        id: "log_1".into(),
        at: NOON,
        identity: Arc::new(Identity::of("alice".into())),
        model: "m".into(),
        request: Some("x".repeat(bytes - 1).into()),
        response: Some("y".into()),
        status: "success".into(),
        latency_ms: None,
        usage: None,
    };
    for bytes in [6, 5, 4] {
        ledger.log(log(bytes));
    }
    assert_eq!(ledger.details_lost(), 1);
    let kept: Vec<usize> = ledger.take_batch().unwrap().logs.iter().map(Log::body_bytes).collect();
    assert_eq!(kept, [6, 4]);
    ledger.log(log(10));
    assert_eq!(ledger.take_batch().unwrap().logs.len(), 1, "what was taken waits no more");
}

#[test]
fn series_beyond_the_bound_are_left_to_the_store() {
    let mut ledger = Ledger::new(small(), NOON);
    for (index, model) in ["a", "b", "a", "c"].into_iter().enumerate() {
        ledger.apply(delta("alice", model, 1, NOON.plus_ms(index as u64)), NOON);
    }
    let slot = ledger.find(&user("alice")).unwrap();
    let mut models: Vec<_> = ledger.series(slot).iter().map(|series| series.model.as_str()).collect();
    models.sort();
    assert_eq!(models, ["a", "c"]);
    assert_eq!(rows(&ledger.take_batch().unwrap()).len(), 3);
}

#[test]
fn time_alone_rolls_windows_and_lifts_blocks() {
    let mut ledger = Ledger::new(small(), NOON);
    let slot = admit(&mut ledger, "a").unwrap();
    ledger.apply(delta("a", "m", 100, NOON), NOON);
    assert!(ledger.take_sweep());
    let block = |end: u64| Block { reason: None, blocked_at: NOON, expires_at: Some(NOON.plus_ms(end)) };
    ledger.set_block(slot, Some(block(10)), NOON);
    ledger.take_changed();
    ledger.tick(NOON.plus_ms(9));
    assert_eq!(ledger.take_changed(), []);
    ledger.tick(NOON.plus_ms(10));
    assert_eq!(ledger.take_changed(), [slot]);
    assert_eq!(ledger.record(slot).ceilings().cost, Ceiling::At(100));
    ledger.tick(NOON.next_day_start());
    assert!(ledger.take_changed().contains(&slot));
    assert_eq!(ledger.record(slot).ceilings().cost, Ceiling::At(200));
}

#[test]
fn a_restored_ledger_goes_on_with_the_same_sums_and_bindings() {
    let block = Block { reason: None, blocked_at: NOON, expires_at: Some(NOON.plus_ms(10)) };
    let piece = |holder: Holder, days_ago: u64, nano| Piece {
        holder,
        at: NOON.minus_ms(days_ago * DAY_MS),
        totals: Totals { cost: NanoUsd(nano), ..Totals::default() },
    };
    let org = Holder::Org("acme".into());
    let restored = Restored {
        holders: vec![HolderState {
            limit: stamped(40, Some(Limit { max_cost: Some(NanoUsd(50)), ..Limit::default() })),
            block: stamped(41, Some(block)),
            ..HolderState::of(user("a"))
        }],
        entries: Vec::new(),
        usage: vec![
            piece(user("a"), 40, 1),
            piece(user("a"), 3, 10),
            piece(user("a"), 0, 20),
            piece(org, 0, 20),
        ],
        ..Restored::default()
    };
    let mut ledger = Ledger::restore(small(), restored, NOON);
    assert_eq!(cost_of(&ledger, &user("a"), WindowKind::Total), Some(31));
    assert_eq!(cost_of(&ledger, &Holder::Org("acme".into()), WindowKind::Daily), Some(20));
    assert_eq!(ledger.take_batch(), None);
    let slot = ledger.find(&user("a")).unwrap();
    assert_eq!(ledger.record(slot).ceilings().cost, Ceiling::Shut);
    ledger.tick(NOON);
    ledger.tick(NOON.plus_ms(10));
    // Nothing has been charged in this process: 50 less the 30 of this month is left.
    assert_eq!(ledger.record(slot).ceilings().cost, Ceiling::At(20));
    ledger.set_limit(slot, None, NOON.plus_ms(10));
    assert!(ledger.take_batch().unwrap().holders[0].limit.revision > Revision(41));
}

fn stamped<T>(revision: u64, value: T) -> Stamped<T> {
    Stamped { revision: Revision(revision), value }
}

#[test]
fn what_another_instance_set_later_holds_and_what_it_set_earlier_does_not() {
    let mut ledger = Ledger::new(small(), NOON);
    let slot = admit(&mut ledger, "a").unwrap();
    ledger.set_limit(slot, Some(Limit::default()), NOON);
    ledger.take_batch();
    ledger.take_sweep();
    let now = Revision::after(Revision::default(), NOON, Tag::default()).0;
    let block = Block { reason: None, blocked_at: NOON, expires_at: None };
    let news = HolderState {
        limit: stamped(now - 1, None),
        block: stamped(now + 9, Some(block.clone())),
        ..HolderState::of(user("a"))
    };
    assert!(ledger.adopt(news.clone(), NOON));
    assert!(!ledger.adopt(news, NOON), "known by now");
    assert!(ledger.take_sweep());
    assert_eq!(ledger.record(slot).own_limit(), Some(&Limit::default()));
    assert_eq!(ledger.record(slot).account_state().block, Some(block));
    assert_eq!(ledger.take_batch().unwrap().holders.len(), 1, "it is saved here too");
    ledger.set_block(slot, None, NOON);
    let lifted = ledger.take_batch().unwrap().holders.remove(0).block;
    assert!(lifted.revision > Revision(now + 9), "whoever heard of the block lifts it later");
}

#[test]
fn a_key_counts_for_itself_and_shuts_its_account_when_it_ends() {
    let mut ledger = Ledger::new(Config { holders_max: 9, ..small() }, NOON);
    let key = key(7, Some(NOON.plus_ms(50)));
    let holder = Holder::Key(key.hash);
    ledger.set_key(key.clone(), NOON).unwrap();
    let slot = ledger.admit(&holder, NOON, |_, _| true).unwrap();
    let identity = Identity { key: Some(key.hash), ..Identity::of("a".into()) };
    ledger.apply(Delta { identity: Arc::new(identity), ..delta("a", "m", 3, NOON) }, NOON);
    assert_eq!(cost_of(&ledger, &holder, WindowKind::Total), Some(3));
    let batch = ledger.take_batch().unwrap();
    assert_eq!((batch.keys.len(), batch.rollups[0].key), (1, Some(key.hash)));

    ledger.tick(NOON.plus_ms(49));
    assert_eq!(ledger.record(slot).ceilings().cost, Ceiling::Unlimited);
    ledger.tick(NOON.plus_ms(50));
    assert_eq!(ledger.record(slot).ceilings().cost, Ceiling::Shut);
    assert!(ledger.take_sweep());
    ledger.set_key(Key { expires_at: None, ..key.clone() }, NOON.plus_ms(60)).unwrap();
    assert_eq!(ledger.record(slot).ceilings().cost, Ceiling::Unlimited);
    ledger.set_key(Key { revoked_at: Some(NOON.plus_ms(70)), ..key }, NOON.plus_ms(70)).unwrap();
    assert_eq!(ledger.record(slot).ceilings().cost, Ceiling::Shut);
    assert!(ledger.take_sweep());
}

#[test]
fn keys_are_bounded_and_known_ones_can_still_be_changed() {
    let mut ledger = Ledger::new(Config { keys_max: 1, ..small() }, NOON);
    ledger.set_key(key(1, None), NOON).unwrap();
    assert_eq!(ledger.set_key(key(2, None), NOON), Err(Full));
    ledger.set_key(key(1, Some(NOON)), NOON).unwrap();
    assert_eq!(ledger.take_batch().unwrap().keys.len(), 1, "the last state alone");
}

#[test]
fn what_ended_long_ago_makes_room_for_what_is_new() {
    let mut ledger = Ledger::new(Config { keys_max: 2, entries_max: 2, ..small() }, NOON);
    let entry = |id: &str, value: Option<&str>| Entry {
        id: EntryId { kind: "note".into(), id: id.into() },
        value: value.map(Into::into),
    };
    for number in [1, 2] {
        ledger.set_key(key(number, None), NOON).unwrap();
        ledger.set_entry(entry(&number.to_string(), Some("1")), NOON).unwrap();
    }
    ledger.set_key(Key { revoked_at: Some(NOON), ..key(1, None) }, NOON).unwrap();
    ledger.set_entry(entry("1", None), NOON).unwrap();
    for (days, expected) in [(29, Err(Full)), (30, Ok(()))] {
        let at = NOON.plus_ms(days * DAY_MS);
        assert_eq!(ledger.set_key(key(3, None), at), expected, "after {days} days");
        assert_eq!(ledger.set_entry(entry("3", Some("1")), at), expected, "after {days} days");
    }
    assert!(ledger.key(&key(1, None).hash).is_none() && ledger.key(&key(2, None).hash).is_some());
    assert_eq!(ledger.entries("note").count(), 2);
    assert_eq!(ledger.set_key(key(4, None), NOON.plus_ms(99 * DAY_MS)), Err(Full), "these two hold");
}

#[test]
fn rows_of_a_rolling_limit_span_five_minutes() {
    let mut ledger = Ledger::new(small(), NOON);
    let slot = admit(&mut ledger, "alice").unwrap();
    let rolling = Limit { window: WindowKind::Rolling24h, ..Limit::default() };
    ledger.apply(delta("alice", "m", 1, NOON), NOON);
    ledger.set_limit(slot, Some(rolling), NOON);
    for minutes in [1, 4, 5] {
        let at = NOON.plus_ms(minutes * 60_000);
        ledger.apply(delta("alice", "m", 2, at), at);
    }
    let mut rows: Vec<_> = ledger.take_batch().unwrap().rollups;
    rows.sort_by_key(|row| row.row);
    let spans: Vec<_> =
        rows.iter().map(|row| (row.start.since(NOON), row.grain, row.totals.cost.0)).collect();
    assert_eq!(spans, [(0, Grain::Hour, 1), (0, Grain::FiveMinutes, 4), (300_000, Grain::FiveMinutes, 2)]);
}

fn key(number: u8, expires_at: Option<Timestamp>) -> Key {
    Key {
        id: KeyId::from(format!("key_{number}").as_str()),
        hash: KeyHash([number; 32]),
        name: "ci".into(),
        hint: "ug_000000000".into(),
        user: None,
        org: None,
        scopes: crate::key::Scopes::default(),
        account: None,
        maker: None,
        created_at: NOON,
        expires_at,
        revoked_at: None,
    }
}

fn in_cluster() -> Config {
    Config { in_cluster: true, holders_max: 50_000, ..small() }
}

#[test]
fn whoever_is_used_is_told_to_the_cluster_once() {
    let mut ledger = Ledger::new(in_cluster(), NOON);
    let names = |ledger: &mut Ledger| -> Vec<Holder> {
        let touched = ledger.take_touched();
        touched.into_iter().map(|slot| ledger.record(slot).holder().clone()).collect()
    };
    let org = Holder::Org("acme".into());
    let identity = delta("alice", "m", 1, NOON).identity;
    let holders: Vec<_> = identity.holders().collect();
    admit(&mut ledger, "alice").unwrap();
    ledger.apply(delta("alice", "m", 1, NOON), NOON);
    assert_eq!(names(&mut ledger), holders);
    assert_eq!(names(&mut ledger), []);
    let provider = "openai".into();
    ledger.open_session(
        Opened {
            session: SessionId(7),
            identity,
            provider,
            model: None,
            transport: Transport::default(),
            call: None,
            at: NOON,
        },
        NOON,
    );
    assert_eq!(names(&mut ledger), holders);

    let slot = ledger.find(&user("alice")).unwrap();
    let contribution = ledger.contribution(slot, Scope::Whole, NOON).unwrap();
    assert_eq!(
        (contribution.holder, contribution.counts[0].used.cost),
        (user("alice"), NanoUsd(0)),
        "it only asks"
    );
    let totals =
        PeerTotals { bucket: contribution.counts[0].bucket, peers: Vec::new(), own: Used::default() };
    ledger.merge(&user("alice"), &[totals], NOON).unwrap();
    assert_eq!(ledger.contribution(slot, Scope::Whole, NOON).unwrap().counts[0].used.cost, NanoUsd(1));
    let slot = ledger.find(&org).unwrap();
    assert_eq!(ledger.contribution(slot, Scope::Whole, NOON), None, "no limit binds it");
}

#[test]
fn what_others_have_used_closes_sessions_here() {
    let mut ledger = Ledger::new(in_cluster(), NOON);
    ledger.apply(delta("alice", "m", 60, NOON), NOON);
    ledger.take_changed();
    ledger.take_sweep();
    let bucket = WindowBucket { window: WindowKind::Daily, start: NOON.day_start() };
    let peers = vec![(Writer("b".into()), Used { cost: NanoUsd(40), tokens: 0 })];
    let totals = [PeerTotals { bucket, peers, own: Used::default() }];
    let slot = ledger.merge(&user("alice"), &totals, NOON).unwrap();
    assert_eq!((ledger.take_changed(), ledger.take_sweep()), (vec![slot], true));
    assert_eq!(ledger.record(slot).used().cost, NanoUsd(100));
    assert_eq!(ledger.merge(&user("bob"), &totals, NOON), None);
}

#[test]
fn every_holder_learns_that_the_others_cannot_be_heard() {
    let mut ledger = Ledger::new(in_cluster(), NOON);
    for number in 0..WALK_COUNT + 1 {
        admit(&mut ledger, &number.to_string()).unwrap();
    }
    ledger.partition(Some(4));
    let ceiling = |ledger: &Ledger, name: &str| {
        let slot = ledger.find(&user(name)).unwrap();
        ledger.record(slot).ceilings().cost
    };
    admit(&mut ledger, "20000").unwrap();
    assert_eq!(ceiling(&ledger, "20000"), Ceiling::At(25), "who is used, at once");
    assert_eq!(ceiling(&ledger, "0"), Ceiling::At(100));
    admit(&mut ledger, "new").unwrap();
    assert_eq!(ceiling(&ledger, "new"), Ceiling::At(25));
    ledger.tick(NOON);
    ledger.tick(NOON);
    assert_eq!(ceiling(&ledger, "0"), Ceiling::At(25));
    ledger.partition(None);
    ledger.tick(NOON);
    ledger.tick(NOON);
    assert_eq!(ceiling(&ledger, "0"), Ceiling::At(100));
}

#[test]
fn a_call_that_is_sent_again_is_known_by_any_of_its_ids() {
    let mut ledger = Ledger::new(Config::default(), Timestamp(0));
    let ids = |ids: &[&str]| ids.iter().map(|id| Arc::from(*id)).collect::<Vec<Arc<str>>>();
    for (sent, is_new) in [
        (&["a", "b"][..], true),
        (&["a", "b"], false),
        (&["b"], false),
        (&["c", "a"], false),
        (&["c"], false),
        (&["d"], true),
    ] {
        assert_eq!(ledger.mark(&ids(sent), Timestamp(7)), is_new, "{sent:?}");
    }
    let marks = ledger.take_batch().unwrap().marks;
    assert_eq!(marks.iter().map(|mark| &*mark.id).collect::<Vec<_>>(), ["a", "b", "c", "d"]);
    assert!(marks.iter().all(|mark| mark.at == Timestamp(7)));
    for call in 0..MARKS_MAX {
        ledger.mark(&ids(&[&call.to_string()]), Timestamp(8));
    }
    assert_eq!((ledger.marks.len(), ledger.marked.len()), (MARKS_MAX, MARKS_MAX));
    assert!(ledger.mark(&ids(&["a"]), Timestamp(9)), "the store knows of it");
}

#[test]
fn what_was_set_under_an_id_as_it_was_sent_holds_for_the_id_that_it_is_read_as() {
    let stamped = |at: u64, value| Stamped { revision: Revision(at), value };
    let block = Block { reason: None, blocked_at: NOON, expires_at: None };
    let blocked = |name: &str, at| HolderState {
        block: stamped(at, Some(block.clone())),
        ..HolderState::of(user(name))
    };
    let lifted = HolderState { block: stamped(3, None), ..HolderState::of(user("Bob")) };
    let restored = Restored {
        holders: vec![blocked("Zoe\u{301}", 1), lifted, blocked("Bob ", 2)],
        without_slot: vec![blocked("al\u{200b}ice", 1)],
        ..Restored::default()
    };
    let mut ledger = Ledger::restore(Config { holders_max: 10, ..small() }, restored.clone(), NOON);
    let is_blocked = |ledger: &Ledger, name: &str| {
        ledger.find(&user(name)).is_some_and(|slot| ledger.record(slot).block().is_some())
    };
    assert!(is_blocked(&ledger, "Zo\u{e9}"));
    assert!(!is_blocked(&ledger, "Bob"), "the block was lifted later");
    assert_eq!(ledger.find(&user("alice")), None, "who cannot be named is nobody else");
    // It is lifted as any other, and stays so.
    let slot = ledger.find(&user("Zo\u{e9}")).unwrap();
    ledger.set_block(slot, None, NOON);
    let now_lifted = ledger.state(slot);
    let restored = Restored { holders: [restored.holders, vec![now_lifted]].concat(), ..Restored::default() };
    let ledger = Ledger::restore(Config { holders_max: 10, ..small() }, restored, NOON);
    assert!(!is_blocked(&ledger, "Zo\u{e9}"));
}
