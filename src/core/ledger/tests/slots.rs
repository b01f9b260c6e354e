//! Who is forgotten, and that nobody gains by it.

use super::*;
use crate::authority::Membership;
use crate::batch::{Rollup, Serial};
use crate::close_reason::CloseReason;
use crate::id::OrgId;
use crate::key::Scopes;
use crate::limit::RuleAction;
use crate::profile::Said;
use crate::refusal::RefusalReason;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

fn reading_back() -> Config {
    Config { reads_back: true, ..small() }
}

fn alone(name: &str, nano: i64) -> Delta {
    Delta { identity: Arc::new(Identity::of(name.into())), ..delta(name, "m", nano, NOON) }
}

/// Takes what is to be saved, as a store that commits it at once.
fn save(ledger: &mut Ledger) -> Batch {
    let batch = ledger.take_batch().unwrap_or_default();
    ledger.committed(ledger.batch - 1, |_| false);
    batch
}

fn receive(ledger: &mut Ledger, name: &str) -> Result<Slot, Full> {
    ledger.receive(&user(name), NOON, |_, _| true)
}

fn recalled(name: &str, nano: i64) -> Recalled {
    let piece =
        Piece { holder: user(name), at: NOON, totals: Totals { cost: NanoUsd(nano), ..Totals::default() } };
    Recalled { usage: vec![piece], ..Recalled::nothing(user(name)) }
}

#[test]
fn the_least_recently_used_holder_is_forgotten_first() {
    let mut ledger = Ledger::new(reading_back(), NOON);
    for name in ["a", "b", "c", "a", "d"] {
        admit(&mut ledger, name).unwrap();
    }
    assert_eq!((ledger.find(&user("b")), ledger.take_vacated().len()), (None, 1));
    let ids: Vec<_> =
        ledger.users_after(Some(&"a".into())).map(|(user, _)| Holder::User(user.clone())).collect();
    assert_eq!(ids, [user("c"), user("d")]);
    assert!(ledger.is_absent(&user("b")), "the store may know of it");
}

#[test]
fn whoever_is_in_use_or_not_saved_is_not_forgotten() {
    let mut ledger = Ledger::new(Config { holders_max: 1, ..reading_back() }, NOON);
    ledger.apply(alone("a", 5), NOON);
    assert_eq!(admit(&mut ledger, "b"), Err(Full), "no batch has it");
    let batch = ledger.take_batch().unwrap();
    assert_eq!(rows(&batch), [("a", 12, 5)]);
    assert_eq!(admit(&mut ledger, "b"), Err(Full), "the batch is on its way");
    ledger.committed(1, |_| false);
    let held = ledger.admit(&user("b"), NOON, |_, _| false);
    assert_eq!(held, Err(Full), "somebody holds the account");
    assert!(admit(&mut ledger, "b").is_ok());
}

#[test]
fn whoever_was_forgotten_comes_back_with_all_that_is_known_of_it() {
    let mut ledger = Ledger::new(Config { holders_max: 1, ..reading_back() }, NOON);
    let block = Block { reason: None, blocked_at: NOON, expires_at: None };
    let slot = admit(&mut ledger, "a").unwrap();
    ledger.apply(alone("a", 60), NOON);
    ledger.set_limit(slot, Some(Limit { max_cost: Some(NanoUsd(70)), ..Limit::default() }), NOON);
    ledger.set_block(slot, Some(block.clone()), NOON);
    let expires_at = NOON.plus_ms(HOUR_MS);
    let rule_action = RuleAction { reason: Some("r".into()), since: NOON, delay_ms: 7, expires_at };
    ledger.apply_rule_action(&user("a"), Some(rule_action.clone()), NOON);
    save(&mut ledger);
    admit(&mut ledger, "b").unwrap();
    save(&mut ledger);
    assert!(ledger.is_absent(&user("a")), "bound, and forgotten all the same");
    assert_eq!(ledger.shelved_after(None).map(|(user, _)| user.as_str()).collect::<Vec<_>>(), ["a"]);

    let mut recalled = recalled("a", 60);
    ledger.complete(&mut recalled); // What was set is here, whatever the store says.
    let visitor = ledger.visitor(&recalled, NOON);
    let slot = ledger.welcome(&recalled, NOON, |_, _| true).unwrap();
    for record in [&visitor, ledger.record(slot)] {
        assert_eq!(record.used().cost, NanoUsd(60));
        assert_eq!(record.own_limit().and_then(|limit| limit.max_cost), Some(NanoUsd(70)));
        assert_eq!((record.block(), record.rule_action()), (Some(&block), Some(&rule_action)));
    }
    assert_eq!(ledger.take_batch(), None, "the store has all of it");
}

#[test]
fn a_stranger_takes_nobodys_slot_and_leaves_nothing() {
    let mut ledger = Ledger::new(Config { holders_max: 2, strangers_max: 2, ..reading_back() }, NOON);
    for name in ["a", "b"] {
        ledger.apply(alone(name, 1), NOON);
    }
    save(&mut ledger);
    let first = receive(&mut ledger, "x").unwrap();
    let held = |slot: Slot, _: Applied| slot != first;
    ledger.receive(&user("y"), NOON, |_, _| false).unwrap();
    assert_eq!(ledger.receive(&user("z"), NOON, |_, _| false), Err(Full), "both sessions may still begin");
    ledger.receive(&user("z"), NOON, held).unwrap();
    assert_eq!(ledger.find(&user("y")), None, "its session is gone");
    assert_eq!((ledger.user_count(), ledger.take_batch()), (2, None));
    assert!(ledger.find(&user("a")).is_some() && ledger.find(&user("b")).is_some());
    assert!(!ledger.is_absent(&user("y")), "the store has never heard of it");

    // The provider lets one in: it is known from now on, and so is what is said of it.
    let identity = Arc::new(Identity { name: Some("X".into()), ..Identity::of("x".into()) });
    let opened = Opened {
        session: SessionId(1),
        identity,
        provider: "openai".into(),
        model: None,
        transport: Transport::default(),
        call: None,
        at: NOON,
    };
    ledger.open_session(opened, NOON);
    assert_eq!(ledger.find(&user("x")), Some(first));
    assert_eq!(save(&mut ledger).holders.len(), 1);
    // It was given a slot beyond the bound, which the next one makes up for.
    assert_eq!(ledger.holders.established_count(), 3);
    admit(&mut ledger, "c").unwrap();
    assert_eq!((ledger.user_count(), ledger.take_vacated().len()), (2, 3));
}

#[test]
fn where_nothing_can_be_read_back_whoever_used_something_keeps_his_slot() {
    let mut ledger = Ledger::new(small(), NOON);
    let [limited, blocked, _] = ["a", "b", "c"].map(|name| admit(&mut ledger, name).unwrap());
    ledger.set_limit(limited, Some(Limit::default()), NOON);
    let block = Block { reason: None, blocked_at: NOON, expires_at: None };
    ledger.set_block(blocked, Some(block), NOON);
    ledger.apply(alone("c", 1), NOON);
    save(&mut ledger);
    let a_year_later = NOON.plus_ms(365 * DAY_MS);
    ledger.tick(a_year_later);
    assert_eq!(ledger.admit(&user("d"), a_year_later, |_, _| true), Err(Full));
    assert!(!ledger.has_room(NOON, |_, _| true));
    assert!(!ledger.is_absent(&user("d")), "nobody can be asked");

    // The lifted block has to be saved before its holder may go.
    ledger.set_block(blocked, None, a_year_later);
    assert_eq!(admit(&mut ledger, "d"), Err(Full));
    save(&mut ledger);
    assert!(ledger.has_room(NOON, |_, _| true));
    assert_eq!(admit(&mut ledger, "d"), Ok(blocked));
}

fn of_org(org: &str) -> Identity {
    Identity { org: Some(org.into()), ..Identity::of("a".into()) }
}

fn key_of(org: Option<&str>) -> Key {
    Key {
        id: KeyId::from("key_1"),
        hash: KeyHash([1; 32]),
        name: "ci".into(),
        hint: "ug_000000000".into(),
        user: None,
        org: org.map(Into::into),
        scopes: Scopes::default(),
        account: None,
        maker: None,
        created_at: NOON,
        expires_at: None,
        revoked_at: None,
    }
}

#[test]
fn what_is_said_is_saved_once_and_who_counts_for_more_is_heard_first_whatever_the_clock_says() {
    let mut ledger = Ledger::new(small(), NOON);
    let slot = admit(&mut ledger, "a").unwrap();
    let mut last = Revision::default();
    // As if each said it a day before the one who counts for less.
    for (org, said, days_before, is_news) in [
        ("evil", Said::Claimed, 0, true),
        ("evil", Said::Claimed, 0, false),
        ("worse", Said::Claimed, 0, true),
        ("globex", Said::ByKeyOfOrg, 1, true),
        ("evil", Said::Claimed, 0, false),
        ("evil", Said::ByKey, 0, false),
        ("initech", Said::ByOperator, 2, true),
        ("globex", Said::ByKeyOfOrg, 0, false),
        ("evil", Said::Claimed, 0, false),
    ] {
        ledger.introduce(slot, &of_org(org), said, NOON.minus_ms(days_before * DAY_MS));
        let saved = ledger.take_batch().map(|batch| batch.holders[0].profile.clone());
        assert_eq!(saved.is_some(), is_news, "{org} {said:?}");
        if let Some(profile) = saved {
            assert!(profile.revision > last, "{org} {said:?}");
            assert_eq!(profile.value.org, Some(org.into()));
            last = profile.revision;
        }
    }
    assert_eq!(ledger.record(slot).profile.member_of(), Some(&"initech".into()));
}

/// What was said on the one instance while the other had not heard of it.
#[test]
fn two_instances_that_heard_different_words_come_to_the_same() {
    type Word = (&'static str, Said, u64);
    let cases: [([Word; 2], Option<&str>); 6] = [
        ([("evil", Said::Claimed, 0), ("worse", Said::Claimed, 5)], None),
        ([("acme", Said::ByOperator, 0), ("evil", Said::Claimed, 5)], Some("acme")),
        ([("acme", Said::ByKeyOfOrg, 0), ("evil", Said::Claimed, 5)], Some("acme")),
        ([("acme", Said::ByKeyOfOrg, 0), ("globex", Said::ByKeyOfOrg, 5)], Some("acme")),
        ([("acme", Said::ByOperator, 0), ("globex", Said::ByKeyOfOrg, 5)], Some("acme")),
        ([("acme", Said::ByOperator, 0), ("globex", Said::ByOperator, 5)], Some("globex")),
    ];
    for (words, member_of) in cases {
        let said = |(org, said, after): Word| {
            let mut ledger = Ledger::new(small(), NOON);
            let slot = admit(&mut ledger, "a").unwrap();
            ledger.introduce(slot, &of_org(org), said, NOON.plus_ms(after));
            ledger
        };
        let mut both = words.map(said);
        let states = both.each_ref().map(|ledger| ledger.state(ledger.find(&user("a")).unwrap()));
        let [first, second] = states;
        both[0].adopt(second, NOON.plus_ms(9));
        both[1].adopt(first, NOON.plus_ms(9));
        let [one, other] = both.map(|ledger| ledger.record(ledger.find(&user("a")).unwrap()).profile.clone());
        assert_eq!(one, other, "{words:?}");
        assert_eq!(one.member_of(), member_of.map(OrgId::from).as_ref(), "{words:?}");
    }
}

#[test]
fn a_session_says_who_its_user_belongs_to_as_far_as_its_key_may() {
    for (key, said) in [
        (None, Said::Claimed),
        (Some(None), Said::ByKey),
        (Some(Some("globex")), Said::ByKey),
        (Some(Some("acme")), Said::ByKeyOfOrg),
    ] {
        let mut ledger = Ledger::new(small(), NOON);
        if let Some(org) = key {
            ledger.set_key(key_of(org), NOON).unwrap();
        }
        let identity = Identity { key: key.map(|_| KeyHash([1; 32])), ..of_org("acme") };
        assert_eq!(ledger.said_of(&identity), said);
        let slot = receive(&mut ledger, "a").unwrap();
        assert_eq!(ledger.membership(slot), Membership::New);
        ledger.expect(slot, &identity);
        let expected =
            if said == Said::ByKeyOfOrg { Membership::Of(&"acme".into()) } else { Membership::New };
        assert_eq!(ledger.membership(slot), expected, "{said:?}");
        assert_eq!(ledger.take_batch().unwrap_or_default().holders, [], "nothing of it is saved");
        let opened = Opened {
            session: SessionId(1),
            identity: Arc::new(identity),
            provider: "openai".into(),
            model: None,
            transport: Transport::default(),
            call: None,
            at: NOON,
        };
        ledger.open_session(opened, NOON);
        let saved = save(&mut ledger).holders;
        let profile = &saved.iter().find(|state| state.holder == user("a")).unwrap().profile.value;
        let member_of = (said == Said::ByKeyOfOrg).then(|| OrgId::from("acme"));
        assert_eq!(profile.member_of(), member_of.as_ref(), "{said:?}");
    }
}

/// Who comes in while a key's session for him waits for the provider is no member of the key's org by that.
#[test]
fn what_a_key_is_about_to_say_is_gone_once_its_user_is_known_by_other_words() {
    let became_known: [fn(&mut Ledger, Slot); 2] = [
        |ledger, slot| ledger.introduce(slot, &of_org("evil"), Said::Claimed, NOON),
        |ledger, slot| ledger.set_block(slot, None, NOON),
    ];
    for become_known in became_known {
        let mut ledger = Ledger::new(small(), NOON);
        ledger.set_key(key_of(Some("acme")), NOON).unwrap();
        let identity = Identity { key: Some(KeyHash([1; 32])), ..of_org("acme") };
        let slot = receive(&mut ledger, "a").unwrap();
        ledger.expect(slot, &identity);
        assert_eq!(ledger.membership(slot), Membership::Of(&"acme".into()));
        become_known(&mut ledger, slot);
        assert_eq!(ledger.membership(slot), Membership::Nowhere);
    }
}

#[test]
fn who_is_refused_makes_nothing_known() {
    let mut ledger = Ledger::new(small(), NOON);
    let known = admit(&mut ledger, "known").unwrap();
    ledger.introduce(known, &of_org("acme"), Said::ByOperator, NOON);
    receive(&mut ledger, "stranger").unwrap();
    let mut refused = |name: &str, org: &str| {
        let reason = RefusalReason::of(&CloseReason::Blocked { reason: None, expires_at: None });
        let (user, org) = (Some(name.into()), Some(org.into()));
        ledger.refuse(Rejected { at: NOON, user, org, key: None, address: "".into(), reason, count: 1 });
        let refused = save(&mut ledger).refusals.pop().map(|row| row.last);
        let [user, org] = refused.map_or([None, None], |row| {
            [row.user.map(|user| user.to_string()), row.org.map(|org| org.to_string())]
        });
        (user.unwrap_or_default(), org.unwrap_or_default())
    };
    let told = |user: &str, org: &str| (user.to_owned(), org.to_owned());
    assert_eq!(refused("known", "acme"), told("known", "acme"));
    assert_eq!(refused("known", "unheard-of"), told("known", ""));
    assert_eq!(refused("stranger", "unheard-of"), told("", ""));
}

#[test]
fn what_another_instance_sets_holds_for_whoever_has_no_slot() {
    let block = Block { reason: None, blocked_at: NOON, expires_at: None };
    let stranger =
        |name: &str| HolderState { profile: stamped(7, Profile::default()), ..HolderState::of(user(name)) };
    let blocked = HolderState { block: stamped(8, Some(block.clone())), ..stranger("c") };
    let full = |config: Config| {
        let mut ledger = Ledger::new(Config { holders_max: 2, ..config }, NOON);
        assert!(ledger.adopt(stranger("a"), NOON) && ledger.adopt(stranger("b"), NOON));
        ledger
    };
    let mut ledger = full(small());
    assert!(!ledger.adopt(stranger("c"), NOON), "for a mere profile nobody is forgotten");
    assert!(ledger.adopt(blocked.clone(), NOON));
    assert!(ledger.find(&user("c")).is_some(), "nothing could be read back, so it gets a slot");

    let mut ledger = full(reading_back());
    assert!(ledger.adopt(blocked.clone(), NOON));
    assert!(ledger.is_absent(&user("c")), "it waits in the store");
    // The store was asked before it had the block, and answers after it has it.
    let mut answer = Recalled::nothing(user("c"));
    let batch = ledger.take_batch().unwrap();
    assert!(batch.holders.contains(&blocked));
    ledger.committed(1, |holder| *holder == user("c"));
    ledger.complete(&mut answer);
    let slot = ledger.welcome(&answer, NOON, |_, _| true).unwrap();
    assert_eq!(ledger.record(slot).block(), Some(&block));
}

/// One step of many users in a table of few slots.
#[derive(Clone, Debug)]
enum Step {
    Admit(u8),
    Leave(u8),
    Use(u8, i64),
    Block(u8, bool),
    Take,
    Commit,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let name = 0..8u8;
    prop::collection::vec(
        prop_oneof![
            4 => name.clone().prop_map(Step::Admit),
            3 => name.clone().prop_map(Step::Leave),
            4 => (name.clone(), 0..50i64).prop_map(|(name, nano)| Step::Use(name, nano)),
            1 => (name, any::<bool>()).prop_map(|(name, is)| Step::Block(name, is)),
            3 => Just(Step::Take),
            3 => Just(Step::Commit),
        ],
        0..200,
    )
}

/// What a store has of everybody.
#[derive(Default)]
struct Shelf {
    rows: BTreeMap<Serial, Rollup>,
    states: BTreeMap<Holder, HolderState>,
}

impl Shelf {
    fn commit(&mut self, batch: Batch) {
        self.rows.extend(batch.rollups.into_iter().map(|row| (row.row, row)));
        for state in batch.holders {
            let known = self.states.entry(state.holder.clone());
            known.or_insert_with(|| HolderState::of(state.holder.clone())).join(state);
        }
    }

    fn recall(&self, holder: &Holder) -> Recalled {
        let piece = |row: &Rollup| Piece { holder: holder.clone(), at: row.start, totals: row.totals };
        let rows = self.rows.values().filter(|row| row.holders().any(|other| other == *holder));
        let state = self.states.get(holder).cloned().unwrap_or_else(|| HolderState::of(holder.clone()));
        Recalled { state, usage: rows.map(piece).collect() }
    }

    fn cost(&self) -> i64 {
        self.rows.values().map(|row| row.totals.cost.0).sum()
    }
}

proptest! {
    /// Whoever is let in knows all that was ever used, whatever was forgotten meanwhile, and no block is lost.
    #[test]
    fn nobody_gets_a_cent_twice_in_a_table_of_few_slots(steps in steps(), holders_max in 2..5usize) {
        let mut ledger = Ledger::new(Config { holders_max, ..reading_back() }, NOON);
        let (mut shelf, mut taken) = (Shelf::default(), Vec::new());
        let (mut used, mut blocked) = (BTreeMap::<u8, i64>::new(), BTreeSet::<u8>::new());
        let mut held: BTreeMap<u8, Slot> = BTreeMap::new();
        let name = |number: u8| user(&number.to_string());
        let mut commits = 0;
        for step in steps {
            match step {
                Step::Admit(who) => {
                    let slots: Vec<Slot> = held.values().copied().collect();
                    let is_free = |slot: Slot, _: Applied| !slots.contains(&slot);
                    let is_new = ledger.find(&name(who)).is_none();
                    let found = if is_new && !ledger.has_room(NOON, is_free) {
                        Err(Full)
                    } else if ledger.is_absent(&name(who)) {
                        let mut recalled = shelf.recall(&name(who));
                        ledger.complete(&mut recalled);
                        match recalled.is_nothing() {
                            true => ledger.receive(&name(who), NOON, is_free),
                            false => ledger.welcome(&recalled, NOON, is_free),
                        }
                    } else {
                        ledger.receive(&name(who), NOON, is_free)
                    };
                    if let Ok(slot) = found {
                        held.insert(who, slot);
                        let record = ledger.record(slot);
                        let sum = used.get(&who).copied().unwrap_or(0);
                        prop_assert_eq!(record.totals(WindowKind::Total).cost.0, sum);
                        prop_assert_eq!(record.totals(WindowKind::Daily).cost.0, sum);
                        prop_assert_eq!(record.block().is_some(), blocked.contains(&who));
                        prop_assert!(!is_new || ledger.holders.established_count() <= holders_max);
                    }
                }
                Step::Leave(who) => drop(held.remove(&who)),
                Step::Use(who, nano) if held.contains_key(&who) => {
                    let identity = Arc::new(Identity::of(who.to_string().as_str().into()));
                    ledger.apply(Delta { identity, ..alone("", nano) }, NOON);
                    *used.entry(who).or_default() += nano;
                }
                Step::Block(who, is_blocked) if held.contains_key(&who) => {
                    let block = Block { reason: None, blocked_at: NOON, expires_at: None };
                    ledger.set_block(held[&who], is_blocked.then_some(block), NOON);
                    if is_blocked { blocked.insert(who) } else { blocked.remove(&who) };
                }
                Step::Use(..) | Step::Block(..) => {}
                Step::Take => taken.extend(ledger.take_batch()),
                Step::Commit if !taken.is_empty() => {
                    shelf.commit(taken.remove(0));
                    commits += 1;
                    ledger.committed(commits, |_| false);
                }
                Step::Commit => {}
            }
        }
        taken.extend(ledger.take_batch());
        taken.into_iter().for_each(|batch| shelf.commit(batch));
        prop_assert_eq!(shelf.cost(), used.values().sum::<i64>());
    }
}
