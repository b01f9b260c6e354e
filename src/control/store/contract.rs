//! What every store promises, as one suite that each driver's tests run.

mod usage;

use super::{AuditFilter, Dimension, Filter, Order, RefusalFilter, Store, UsageQuery, UsageRow};
use std::sync::Arc;
use tokenist_core::audit::{Actor, ActorKind, Audit};
use tokenist_core::batch::{Event, Log, Restored, SessionRecord};
use tokenist_core::catalog::{Entry, EntryId};
use tokenist_core::close_reason::Measure;
use tokenist_core::id::{Feature, Holder, Identity, KeyHash, Model, OrgId, SessionId, UserId};
use tokenist_core::key::{Key, KeyId, Maker, Scopes};
use tokenist_core::ledger::{Config, Ledger};
use tokenist_core::limit::{Block, Limit, WindowKind};
use tokenist_core::message::{Closed, Delta, Opened, Rejected, Transport};
use tokenist_core::models::Models;
use tokenist_core::money::NanoUsd;
use tokenist_core::profile::Said;
use tokenist_core::refusal::{Refusal, RefusalReason};
use tokenist_core::time::{DAY_MS, HOUR_MS, Timestamp};
use tokenist_core::totals::Totals;
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
    of_a_session_that_was_resumed_there_is_one_record_with_the_later_end((subject.open)(17));
    an_older_batch_changes_nothing_after_a_newer((subject.open)(2));
    a_restored_ledger_has_the_sums_of_the_first((subject.open)(3));
    details_are_filtered_ordered_and_limited((subject.open)(4));
    a_lifted_binding_stays_lifted((subject.open)(5));
    usage::is_summed_by_what_is_asked_for((subject.open)(8));
    a_rolling_limit_is_restored_to_five_minutes((subject.open)(9));
    each_part_of_a_holder_has_its_own_revision((subject.open)(10));
    keys_are_kept_as_they_were_set_last((subject.open)(11));
    entries_are_kept_as_they_were_set_last((subject.open)(12));
    changes_are_kept_and_found((subject.open)(13));
    calls_that_were_counted_are_known((subject.open)(14));
    refusals_grow_are_kept_and_found((subject.open)(15));
    those_used_last_are_restored_and_all_others_recalled((subject.open)(16));
    if subject.persists {
        a_crash_between_batches_loses_and_repeats_nothing(&mut || (subject.open)(6));
    }
    if let Some(max) = subject.bounded {
        the_bound_is_kept((subject.open)(7), max);
    }
}

const NOON: Timestamp = Timestamp(1_795_435_200_000);

fn committing_twice_is_committing_once(mut store: Box<dyn Store>) {
    let mut ledger = ledger();
    ledger.apply(delta("alice", 1, NOON), NOON);
    close_session(&mut ledger, 1, "alice", NOON);
    let batch = ledger.take_batch().unwrap();
    store.commit(&batch).unwrap();
    let before = contents(&mut *store);
    store.commit(&batch).unwrap();
    assert_eq!(contents(&mut *store), before);
    assert_eq!((before.usage.len(), before.events.len(), before.sessions.len()), (1, 1, 1));
}

fn of_a_session_that_was_resumed_there_is_one_record_with_the_later_end(mut store: Box<dyn Store>) {
    let mut ledger = ledger();
    let hour = |hours| NOON.plus_ms(hours * HOUR_MS);
    close_session(&mut ledger, 7, "alice", hour(1));
    close_session(&mut ledger, 8, "alice", hour(2));
    let first = ledger.take_batch().unwrap();
    ledger.open_session(opened(7, "alice", hour(3)), hour(3));
    ledger.apply(Delta { model: "other".into(), ..delta("alice", 5, hour(3)) }, hour(3));
    ledger.close_session(Closed { session: SessionId(7), at: hour(4), close_code: 1006 }, false);
    let second = ledger.take_batch().unwrap();
    for batch in [&first, &second, &first] {
        store.commit(batch).unwrap();
    }
    let sessions = store.reader().unwrap().sessions(&Filter::default()).unwrap();
    let SessionRecord { opened, closed, totals } = &sessions[0];
    assert_eq!((opened.at, closed.at, closed.close_code), (hour(1), hour(4), 1006));
    assert_eq!((opened.transport, opened.call.as_deref()), (Transport::WebRtc, Some("rtc_1")));
    assert_eq!((totals.cost, opened.model.as_ref()), (NanoUsd(5), Some(&"other".into())));
    let order: Vec<SessionId> = sessions.iter().map(|session| session.closed.session).collect();
    assert_eq!(order, [SessionId(7), SessionId(8)], "it is where it ended last");
}

fn an_older_batch_changes_nothing_after_a_newer(mut store: Box<dyn Store>) {
    let mut ledger = ledger();
    let slot = admit(&mut ledger, "alice");
    ledger.apply(delta("alice", 1, NOON), NOON);
    ledger.set_limit(slot, Some(limit(10)), NOON);
    let older = ledger.take_batch().unwrap();
    ledger.apply(delta("alice", 2, NOON), NOON);
    let later = Limit { models: Models::parse("exact, gpt-*").unwrap(), ..limit(20) };
    ledger.set_limit(slot, Some(later.clone()), NOON);
    let newer = ledger.take_batch().unwrap();
    store.commit(&newer).unwrap();
    store.commit(&older).unwrap();
    assert_eq!(cost(&mut *store), 3);
    assert_eq!(store.restore(NOON, usize::MAX).unwrap().holders[0].limit.value, Some(later));
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

    let second = Ledger::restore(config(), store.restore(now, usize::MAX).unwrap(), now);
    let alice = delta("alice", 0, now).identity;
    assert_eq!(alice.holders().count(), 3, "a user, an org and a feature");
    for holder in alice.holders() {
        for window in [WindowKind::Daily, WindowKind::Monthly, WindowKind::Rolling24h, WindowKind::Total] {
            let sums = |ledger: &Ledger| {
                let totals = *ledger.record(ledger.find(&holder).unwrap()).totals(window);
                (totals.usage, totals.cost, totals.estimated_cost)
            };
            assert_eq!(sums(&second), sums(&first), "{holder:?} {window:?}");
        }
    }
    let bob = second.find(&Holder::User("bob".into())).unwrap();
    assert_eq!(second.record(bob).account_state().block, Some(block));
}

/// A store that cannot recall anybody has nothing to show here.
fn those_used_last_are_restored_and_all_others_recalled(mut store: Box<dyn Store>) {
    let Some(mut recaller) = store.recaller().unwrap() else { return };
    let mut first = ledger();
    let mut now = NOON.minus_ms(40 * DAY_MS);
    let mut holders: Vec<Holder> = Vec::new();
    for (index, hours) in [0, 900, 5, 20, 15, 3, 1].into_iter().enumerate() {
        now = now.plus_ms(hours * HOUR_MS);
        let name = ["alice", "bob", "carol"][index % 3];
        let mut delta = delta(name, 1 << index, now);
        let key = (name == "bob").then_some(KeyHash([9; 32]));
        let org = Some(OrgId::from(if name == "carol" { "globex" } else { "acme" }));
        delta.identity = Arc::new(Identity { key, org, ..Identity::clone(&delta.identity) });
        holders.extend(delta.identity.holders());
        first.apply(delta, now);
        first.tick(now);
        store.commit(&first.take_batch().unwrap()).unwrap();
    }
    let dave = admit(&mut first, "dave");
    let block = Block { reason: None, blocked_at: now, expires_at: None };
    first.set_block(dave, Some(block), NOON.minus_ms(30 * DAY_MS));
    first.set_limit(dave, Some(limit(9)), NOON.minus_ms(30 * DAY_MS));
    holders.push(Holder::User("dave".into()));
    store.commit(&first.take_batch().unwrap()).unwrap();

    let all = store.restore(now, holders.len()).unwrap();
    assert!(!all.is_partial);
    let whole = Ledger::restore(config(), all, now);
    // The last call was alice's, of acme, for the feature that all have.
    let few = store.restore(now, 3).unwrap();
    assert!(few.is_partial);
    assert_eq!(
        few.without_slot.iter().map(|state| &state.holder).collect::<Vec<_>>(),
        holders.last().as_slice()
    );
    let reading_back = Config { reads_back: true, ..config() };
    let mut ledger = Ledger::restore(reading_back, few, now);
    let last = delta("alice", 1, now).identity;
    for holder in &holders {
        let is_of_the_last = last.holders().any(|other| other == *holder);
        assert_eq!(ledger.find(holder).is_some(), is_of_the_last, "{holder:?} has a slot");
    }
    for recalled in recaller.recall(&holders, now).unwrap() {
        let holder = &recalled.state.holder;
        if ledger.is_absent(holder) {
            ledger.welcome(&recalled, now, |_, _| false).unwrap();
        }
        let [one, other] = [&ledger, &whole].map(|ledger| ledger.record(ledger.find(holder).unwrap()));
        for window in WindowKind::ALL {
            let sums = |totals: &Totals| (totals.usage, totals.cost, totals.estimated_cost);
            assert_eq!(sums(one.totals(window)), sums(other.totals(window)), "{holder:?} {window:?}");
        }
        assert_eq!((one.own_limit(), one.block()), (other.own_limit(), other.block()), "{holder:?}");
    }
    let stranger = Holder::User("erin".into());
    assert!(recaller.recall(&[stranger], now).unwrap()[0].is_nothing());
}

fn details_are_filtered_ordered_and_limited(mut store: Box<dyn Store>) {
    let mut ledger = ledger();
    for (index, name) in ["alice", "bob", "alice"].into_iter().enumerate() {
        let at = NOON.plus_ms(index as u64 * HOUR_MS);
        ledger.apply(delta(name, 1 << index, at), at);
        close_session(&mut ledger, index as u64, name, at);
        ledger.log(log(name, 1 << index, at));
    }
    store.commit(&ledger.take_batch().unwrap()).unwrap();
    let mut reader = store.reader().unwrap();
    let alice = Filter { user: Some("alice".into()), ..Filter::default() };
    let late = Filter { from: NOON.plus_ms(HOUR_MS), ..Filter::default() };
    let early = Filter { to: NOON.plus_ms(HOUR_MS), ..Filter::default() };
    let one = Filter { limit: 1, ..Filter::default() };
    let second = Filter { limit: 1, offset: 1, ..Filter::default() };
    let nobody = Filter { org: Some("other".into()), ..Filter::default() };
    for (filter, costs) in [
        (Filter::default(), &[4, 2, 1][..]),
        (alice, &[4, 1]),
        (late, &[4, 2]),
        (early, &[1]),
        (one, &[4]),
        (second, &[2]),
        (nobody, &[]),
    ] {
        let events = reader.events(&filter).unwrap();
        assert!(events.iter().map(|event| event.delta.cost.0).eq(costs.iter().copied()), "{filter:?}");
        let logs = reader.logs(&filter).unwrap();
        assert!(logs.iter().map(|log| log.usage.unwrap().1.0).eq(costs.iter().copied()), "{filter:?}");
        let unlimited = Filter { limit: usize::MAX, offset: 0, ..filter.clone() };
        assert_eq!(reader.log_count(&filter).unwrap(), reader.logs(&unlimited).unwrap().len(), "{filter:?}");
        let sessions = reader.sessions(&filter).unwrap();
        let ids = costs.iter().map(|cost: &i64| SessionId(u64::from(cost.ilog2())));
        assert!(sessions.iter().map(|session| session.closed.session).eq(ids), "{filter:?}");
    }
    let whole = reader.events(&Filter::default()).unwrap().remove(0);
    assert_eq!(whole.delta, delta("alice", 4, NOON.plus_ms(2 * HOUR_MS)));
    let whole = reader.logs(&Filter::default()).unwrap().remove(0);
    assert_eq!(whole, log("alice", 4, NOON.plus_ms(2 * HOUR_MS)));
    assert_eq!(reader.log("log_2").unwrap(), Some(log("bob", 2, NOON.plus_ms(HOUR_MS))));
    assert_eq!(reader.log("log_3").unwrap(), None);
    let SessionRecord { opened, closed, .. } = reader.sessions(&Filter::default()).unwrap().remove(0);
    assert_eq!((opened.at, closed.close_code), (NOON.plus_ms(2 * HOUR_MS), 1000));
    assert_eq!(opened.identity, delta("alice", 0, NOON).identity);
}

fn a_rolling_limit_is_restored_to_five_minutes(mut store: Box<dyn Store>) {
    let mut first = ledger();
    let alice = admit(&mut first, "alice");
    first.set_limit(alice, Some(Limit { window: WindowKind::Rolling24h, ..limit(1_000) }), NOON);
    for minutes in [0, 7, 59] {
        let at = NOON.plus_ms(minutes * 60_000);
        first.apply(delta("alice", 1, at), at);
    }
    store.commit(&first.take_batch().unwrap()).unwrap();
    let now = NOON.plus_ms(DAY_MS + 6 * 60_000);
    let second = Ledger::restore(config(), store.restore(now, usize::MAX).unwrap(), now);
    let record = second.record(second.find(&Holder::User("alice".into())).unwrap());
    assert_eq!(record.totals(WindowKind::Rolling24h).cost, NanoUsd(2));
    assert_eq!(record.own_limit().map(|limit| limit.window), Some(WindowKind::Rolling24h));
}

fn each_part_of_a_holder_has_its_own_revision(mut store: Box<dyn Store>) {
    let (mut one, mut other) = (ledger(), ledger());
    let (in_one, in_other) = (admit(&mut one, "alice"), admit(&mut other, "alice"));
    let block = Block { reason: None, blocked_at: NOON, expires_at: Some(NOON.plus_ms(9)) };
    one.set_limit(in_one, Some(limit(7)), NOON.plus_ms(2));
    other.set_limit(in_other, Some(limit(5)), NOON.plus_ms(1));
    other.set_block(in_other, Some(block.clone()), NOON.plus_ms(3));
    let email = Identity { email: Some("a@example.com".into()), ..Identity::of("alice".into()) };
    one.introduce(in_one, &email, Said::ByOperator, NOON.plus_ms(4));
    store.commit(&one.take_batch().unwrap()).unwrap();
    store.commit(&other.take_batch().unwrap()).unwrap();
    let restored = store.restore(NOON, usize::MAX).unwrap().holders;
    assert_eq!(restored.len(), 1);
    assert_eq!((&restored[0].limit.value, &restored[0].block.value), (&Some(limit(7)), &Some(block)));
    assert_eq!(restored[0].profile.value.email.as_deref(), Some("a@example.com"));
}

fn keys_are_kept_as_they_were_set_last(mut store: Box<dyn Store>) {
    let mut ledger = ledger();
    let key = Key {
        id: KeyId::from("key_1"),
        hash: KeyHash([7; 32]),
        name: "ci".into(),
        hint: "ug_0123456789".into(),
        user: Some("alice".into()),
        org: Some("acme".into()),
        scopes: Scopes { proxy: true, sdk: false, admin: true },
        account: Some("login_1".into()),
        maker: Some(Maker::Login("login_2".into())),
        created_at: NOON,
        expires_at: Some(NOON.plus_ms(DAY_MS)),
        revoked_at: None,
    };
    ledger.set_key(key.clone(), NOON).unwrap();
    let created = ledger.take_batch().unwrap();
    let revoked = Key { revoked_at: Some(NOON), ..key };
    ledger.set_key(revoked.clone(), NOON).unwrap();
    let ended = ledger.take_batch().unwrap();
    for batch in [&created, &ended, &created] {
        store.commit(batch).unwrap();
    }
    let restored = Ledger::restore(config(), store.restore(NOON, usize::MAX).unwrap(), NOON);
    assert_eq!(restored.keys_after(None).map(|(_, key)| key).collect::<Vec<_>>(), [&revoked]);

    let mut keyed = delta("alice", 3, NOON);
    Arc::make_mut(&mut keyed.identity).key = Some(revoked.hash);
    ledger.apply(keyed, NOON);
    store.commit(&ledger.take_batch().unwrap()).unwrap();
    let restored = Ledger::restore(config(), store.restore(NOON, usize::MAX).unwrap(), NOON);
    let slot = restored.find(&Holder::Key(revoked.hash)).unwrap();
    assert_eq!(restored.record(slot).totals(WindowKind::Monthly).cost, NanoUsd(3));
}

fn entries_are_kept_as_they_were_set_last(mut store: Box<dyn Store>) {
    let entry = |id: &str, value: Option<&str>| Entry {
        id: EntryId { kind: "login".into(), id: id.into() },
        value: value.map(Into::into),
    };
    let mut ledger = ledger();
    ledger.set_entry(entry("a", Some("1")), NOON).unwrap();
    ledger.set_entry(entry("b", Some("1")), NOON).unwrap();
    let older = ledger.take_batch().unwrap();
    ledger.set_entry(entry("a", Some("2")), NOON).unwrap();
    ledger.set_entry(entry("b", None), NOON).unwrap();
    let newer = ledger.take_batch().unwrap();
    for batch in [&older, &newer, &older] {
        store.commit(batch).unwrap();
    }
    let restored = Ledger::restore(config(), store.restore(NOON, usize::MAX).unwrap(), NOON);
    assert_eq!(restored.entries("login").collect::<Vec<_>>(), [&entry("a", Some("2"))]);
    let removed = restored.entry(&entry("b", None).id).expect("what was removed is known as such");
    assert_eq!(removed.value, entry("b", None));
}

/// The id is the store's own where several ledgers meet in it.
fn refusals_grow_are_kept_and_found(mut store: Box<dyn Store>) {
    let mut ledger = ledger();
    admit(&mut ledger, "alice");
    admit(&mut ledger, "bob");
    // Of an org that nobody knows a refusal tells nothing.
    ledger.admit(&Holder::Org("acme".into()), NOON, |_, _| true).unwrap();
    let refuse = |ledger: &mut Ledger, user: &str, code: &str, after_ms: u64| {
        let measure =
            (code == "cost_limit_reached").then_some(Measure::Cost { used: NanoUsd(7), limit: NanoUsd(5) });
        ledger.refuse(Rejected {
            at: NOON.plus_ms(after_ms),
            user: Some(user.into()),
            org: (user == "alice").then(|| "acme".into()),
            key: None,
            address: "10.0.0.1".into(),
            reason: RefusalReason { code: code.into(), close_code: 4004, measure },
            count: 1,
        });
    };
    refuse(&mut ledger, "alice", "cost_limit_reached", 0);
    refuse(&mut ledger, "nobody", "cost_limit_reached", 0);
    let first = ledger.take_batch().unwrap();
    refuse(&mut ledger, "alice", "cost_limit_reached", 1_000);
    refuse(&mut ledger, "bob", "user_blocked", 60_000);
    let second = ledger.take_batch().unwrap();
    for batch in [&first, &second, &second] {
        store.commit(batch).unwrap();
    }
    let mut reader = store.reader().unwrap();
    let none = RefusalFilter::default();
    let all = reader.refusals(&none).unwrap();
    let told = |refusal: &Refusal| (refusal.minute.since(NOON), refusal.last.clone());
    let expected: Vec<_> = second.refusals.iter().rev().map(told).collect();
    assert_eq!(all.iter().map(told).collect::<Vec<_>>(), expected);
    assert_eq!(all.iter().map(|refusal| refusal.last.count).collect::<Vec<_>>(), [1, 2]);
    let after = Some((all[0].minute, Arc::clone(&all[0].id)));
    for (filter, found) in [
        (RefusalFilter { user: Some("bob".into()), ..none.clone() }, &[0][..]),
        (RefusalFilter { org: Some("acme".into()), ..none.clone() }, &[1]),
        (RefusalFilter { reason: Some("user_blocked".into()), ..none.clone() }, &[0]),
        (RefusalFilter { key: Some("key_1".into()), ..none.clone() }, &[]),
        (RefusalFilter { after, ..none.clone() }, &[1]),
        (RefusalFilter { limit: 1, ..none.clone() }, &[0]),
        (RefusalFilter { limit: 0, ..none }, &[]),
    ] {
        let expected: Vec<Refusal> = found.iter().map(|&index: &usize| all[index].clone()).collect();
        assert_eq!(reader.refusals(&filter).unwrap(), expected, "{filter:?}");
    }
}

fn changes_are_kept_and_found(mut store: Box<dyn Store>) {
    let change = |number: u64, actor: Option<&str>, action: &str, subject: &str| Audit {
        id: format!("audit_{number}").into(),
        at: NOON.plus_ms(number),
        actor: Actor { kind: ActorKind::Login, id: actor.map(Into::into), name: "Ann".into() },
        action: action.into(),
        subject: tokenist_core::audit::Subject { kind: "user".into(), id: subject.into() },
        before: None,
        after: Some("{}".into()),
    };
    let all = [
        change(1, Some("login_1"), "user.block", "alice"),
        change(2, None, "user.block", "bob"),
        change(3, Some("login_1"), "user.unblock", "alice"),
    ];
    let mut ledger = ledger();
    all.iter().for_each(|audit| ledger.audit(audit.clone()));
    let batch = ledger.take_batch().unwrap();
    store.commit(&batch).unwrap();
    store.commit(&batch).unwrap();
    let mut reader = store.reader().unwrap();
    let none = AuditFilter::default();
    for (filter, found) in [
        (none.clone(), &[2, 1, 0][..]),
        (AuditFilter { actor: Some("login_1".into()), ..none.clone() }, &[2, 0]),
        (AuditFilter { actor: Some("Ann".into()), ..none.clone() }, &[2, 1, 0]),
        (AuditFilter { action: Some("user.block".into()), ..none.clone() }, &[1, 0]),
        (AuditFilter { subject: Some("alice".into()), ..none.clone() }, &[2, 0]),
        (AuditFilter { offset: 1, limit: 1, ..none.clone() }, &[1]),
        (AuditFilter { limit: 0, ..none }, &[]),
    ] {
        let expected: Vec<Audit> = found.iter().map(|&index: &usize| all[index].clone()).collect();
        assert_eq!(reader.audits(&filter).unwrap(), expected, "{filter:?}");
    }
}

fn calls_that_were_counted_are_known(mut store: Box<dyn Store>) {
    let ids = |ids: &[&str]| ids.iter().map(|id| Arc::from(*id)).collect::<Vec<Arc<str>>>();
    let mut ledger = ledger();
    ledger.mark(&ids(&["one", "other"]), NOON);
    let batch = ledger.take_batch().unwrap();
    store.commit(&batch).unwrap();
    store.commit(&batch).unwrap();
    let mut reader = store.reader().unwrap();
    for (asked, known) in [(&["one"][..], true), (&["new", "other"], true), (&["new"], false), (&[], false)] {
        assert_eq!(reader.has_marked(&ids(asked)), Ok(known), "{asked:?}");
    }
}

fn a_lifted_binding_stays_lifted(mut store: Box<dyn Store>) {
    let mut ledger = ledger();
    let slot = admit(&mut ledger, "alice");
    ledger.set_block(slot, Some(Block { reason: None, blocked_at: NOON, expires_at: None }), NOON);
    let blocked = ledger.take_batch().unwrap();
    ledger.set_block(slot, None, NOON);
    let lifted = ledger.take_batch().unwrap();
    for batch in [&blocked, &lifted, &blocked] {
        store.commit(batch).unwrap();
    }
    assert_eq!(store.restore(NOON, usize::MAX).unwrap().holders[0].block.value, None);
}

fn a_crash_between_batches_loses_and_repeats_nothing(open: &mut dyn FnMut() -> Box<dyn Store>) {
    let mut expected = 0;
    for life in 0..4 {
        let mut store = open();
        let mut ledger = Ledger::restore(config(), store.restore(NOON, usize::MAX).unwrap(), NOON);
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
        let slot = admit(&mut ledger, &name);
        ledger.introduce(
            slot,
            &Identity { org: Some("acme".into()), ..Identity::of(name.as_str().into()) },
            Said::ByOperator,
            at,
        );
        ledger.apply(delta(&name, 1, at), at);
        close_session(&mut ledger, index, &name, at);
        store.commit(&ledger.take_batch().unwrap()).unwrap();
    }
    let Contents { usage, events, sessions, restored } = contents(&mut *store);
    assert_eq!((usage.len(), events.len(), sessions.len(), restored.holders.len()), (max, max, max, max));
    let last = format!("user{}", 3 * max - 1);
    assert!(usage.iter().any(|row| row.key.user.as_ref().is_some_and(|user| user.as_str() == last)));
    assert!(restored.holders.iter().any(|state| state.limit.value == Some(limit(10))), "bindings go last");
}

#[derive(Debug, PartialEq)]
struct Contents {
    usage: Vec<UsageRow>,
    events: Vec<Event>,
    sessions: Vec<SessionRecord>,
    restored: Restored,
}

fn contents(store: &mut dyn Store) -> Contents {
    let mut restored = store.restore(Timestamp(1 << 42), usize::MAX).unwrap();
    restored.holders.sort_by(|a, b| a.holder.cmp(&b.holder));
    restored.usage.sort_by(|a, b| (&a.holder, a.at).cmp(&(&b.holder, b.at)));
    let by = vec![Dimension::User, Dimension::Org, Dimension::Feature, Dimension::Model, Dimension::Hour];
    let mut reader = store.reader().unwrap();
    Contents {
        usage: reader.usage(&UsageQuery { by, order: Order::Key, ..UsageQuery::default() }).unwrap(),
        events: reader.events(&Filter::default()).unwrap(),
        sessions: reader.sessions(&Filter::default()).unwrap(),
        restored,
    }
}

fn cost(store: &mut dyn Store) -> i64 {
    let mut reader = store.reader().unwrap();
    reader.usage(&UsageQuery::default()).unwrap().iter().map(|row| row.totals.cost.0).sum()
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

fn admit(ledger: &mut Ledger, name: &str) -> tokenist_core::ledger::Slot {
    ledger.admit(&Holder::User(UserId::from(name)), NOON, |_, _| false).unwrap()
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

fn opened(number: u64, name: &str, at: Timestamp) -> Opened {
    let (session, identity) = (SessionId(number), Arc::clone(&delta(name, 0, at).identity));
    Opened {
        session,
        identity,
        provider: "openai".into(),
        model: None,
        transport: Transport::WebRtc,
        call: Some("rtc_1".into()),
        at,
    }
}

/// One that may be resumed.
fn close_session(ledger: &mut Ledger, number: u64, name: &str, at: Timestamp) {
    ledger.open_session(opened(number, name, at), at);
    ledger.close_session(Closed { session: SessionId(number), at, close_code: 1000 }, true);
}

fn log(name: &str, nano: i64, at: Timestamp) -> Log {
    let Delta { identity, model, usage, cost, .. } = delta(name, nano, at);
    Log {
        id: format!("log_{nano}").as_str().into(),
        at,
        identity,
        model,
        request: Some(r#"{"messages":[]}"#.into()),
        response: None,
        status: "success".into(),
        latency_ms: Some(5),
        usage: Some((usage, cost)),
    }
}
