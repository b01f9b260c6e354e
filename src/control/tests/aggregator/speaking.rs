//! For whom a key speaks, and who is of which org.

use crate::bench::{Bench, config, cost_limit, delta, eventually, key, wait};
use std::sync::Arc;
use tokenist_control::clock::system_time as now;
use tokenist_control::error::CommandError;
use tokenist_control::view::{Call, KeyQuery};
use tokenist_core::authority::Mute;
use tokenist_core::id::{Identity, KeyHash, SessionId, UserId};
use tokenist_core::key::{Key, KeyId, Scopes};
use tokenist_core::limit::Limit;
use tokenist_core::message::{Delta, Opened, Transport};
use tokenist_core::money::NanoUsd;
use tokenist_core::time::Timestamp;
use tokenist_handoff::{Admission, Answer, KeyRefusal, Order, Report};

#[test]
fn whom_an_operator_moves_is_of_the_other_org_at_once_and_a_header_moves_nobody() {
    let bench = Bench::start(config(Limit::default()), 16);
    let handle = bench.handle();
    let speaks_for =
        |user: &str| matches!(bench.ask_by_key(KeyHash([1; 32]), Some(user)), Answer::Admitted(_));
    let put_into = |org: &str| {
        wait(handle.introduce(Identity { org: Some(org.into()), ..Identity::of("alice".into()) })).unwrap()
    };
    let bound = Key { account: None, ..key(1) };
    wait(handle.set_key(bound)).unwrap();
    bench.open("alice"); // Her headers claim the org that the key is of.
    assert!(!speaks_for("alice"), "and prove nothing");
    for (org, expected) in [("acme", true), ("globex", false), ("acme", true)] {
        assert_eq!(put_into(org).org.unwrap().as_str(), org);
        assert_eq!(speaks_for("alice"), expected, "she is of {org}");
        let headers = Identity { org: Some("initech".into()), ..Identity::of("alice".into()) };
        let (session, provider) = (SessionId(2), "openai".into());
        let identity = Arc::new(headers);
        bench.report(Report::Opened(Opened {
            session,
            identity,
            provider,
            model: None,
            transport: Transport::default(),
            call: None,
            at: now(),
        }));
        assert_eq!(speaks_for("alice"), expected, "whatever her headers say");
    }
}

#[test]
fn a_key_speaks_for_whom_it_is_bound_to_until_it_ends() {
    let bench = Bench::start(config(Limit::default()), 16);
    let handle = bench.handle();
    let bound = Key { user: Some("alice".into()), ..key(2) };
    let admin = Key { scopes: Scopes { admin: true, ..Scopes::default() }, ..key(3) };
    for key in [key(1), bound, admin] {
        wait(handle.set_key(key)).unwrap();
    }
    let admitted = |answer: Answer| match answer {
        Answer::Admitted(admitted) => admitted,
        other => panic!("{other:?}"),
    };
    assert!(matches!(
        bench.ask_by_key(KeyHash([1; 32]), None),
        Answer::KeyRefused(KeyRefusal::Mute(Mute::UserMissing))
    ));
    let bob = admitted(bench.ask_by_key(KeyHash([1; 32]), Some("bob")));
    assert_eq!((bob.user_id.as_str(), bob.org_id), ("bob", Some("acme".into())));
    let alice = admitted(bench.ask_by_key(KeyHash([2; 32]), Some("bob")));
    assert_eq!(alice.user_id.as_str(), "alice");
    assert_eq!(bench.refusal(KeyHash([3; 32])), KeyRefusal::OutOfScope);

    let stranger = Identity { org: Some("other".into()), ..Identity::of("carol".into()) };
    wait(handle.introduce(stranger)).unwrap();
    wait(handle.set_key(Key { account: Some("login_1".into()), ..key(4) })).unwrap();
    let by_org = |user| bench.ask_by_key(KeyHash([1; 32]), Some(user));
    assert!(matches!(by_org("carol"), Answer::KeyRefused(KeyRefusal::Mute(Mute::Foreign))));
    // To an account she is somebody else.
    let by_account = |user| admitted(bench.ask_by_key(KeyHash([4; 32]), Some(user)));
    assert_eq!(by_account("carol").user_id.as_str(), "ug:acme:carol");
    assert_eq!(by_account("carol").org_id, Some("acme".into()));
    wait(handle.end_key(KeyId::from("key_4"), now())).unwrap().unwrap();
    assert!(matches!(bench.order(0), Order::Sweep));

    let ended = wait(handle.end_key(KeyId::from("key_1"), now())).unwrap().unwrap();
    assert!(ended.revoked_at.is_some());
    assert!(bob.key.unwrap().reached(), "before its answer goes out");
    assert!(matches!(bench.order(0), Order::Sweep));
    assert_eq!(bench.refusal(KeyHash([1; 32])), KeyRefusal::Ended);
    let soon = now().plus_ms(50);
    wait(handle.end_key(KeyId::from("key_2"), soon)).unwrap().unwrap();
    let account = alice.key.unwrap();
    assert!(!account.reached());
    eventually(|| account.reached().then_some(()));
    for gone in ["key_1", "key_9"] {
        assert_eq!(wait(handle.end_key(KeyId::from(gone), soon)).unwrap(), None);
    }
    let listed = |user: Option<&str>, holds_at: Option<Timestamp>, offset: usize| {
        let user = user.map(UserId::from);
        let page =
            wait(handle.keys(KeyQuery { user, holds_at, offset, limit: 2, ..KeyQuery::default() })).unwrap();
        (page.keys.iter().map(|key| key.id.to_string()).collect::<Vec<_>>().join(" "), page.total)
    };
    assert_eq!(listed(None, None, 0), ("key_1 key_2".into(), 4));
    assert_eq!(listed(None, None, 2), ("key_3 key_4".into(), 4));
    assert_eq!(listed(None, Some(now().plus_ms(60)), 0), ("key_3".into(), 1));
    assert_eq!(listed(Some("alice"), None, 0), ("key_2".into(), 1));
}

#[test]
fn who_asks_what_a_user_has_used_changes_nothing() {
    let bench = Bench::start(config(cost_limit(100)), 16);
    let handle = bench.handle();
    wait(handle.set_key(key(1))).unwrap();
    wait(handle.set_key(Key { org: Some("globex".into()), ..key(2) })).unwrap();
    wait(handle.set_key(Key { account: Some("login_1".into()), ..key(3) })).unwrap();
    let usage = |number: u8, user: &str| {
        let (key, user) = (KeyHash([number; 32]), Some(UserId::from(user)));
        bench.ask(0, Admission::Question { key, user, org: None });
        match bench.order(0) {
            Order::Admission { answer: Answer::Usage(usage), .. } => Some(usage),
            Order::Admission { answer: Answer::KeyRefused(KeyRefusal::Mute(Mute::Foreign)), .. } => None,
            other => panic!("{other:?}"),
        }
    };
    for number in [1, 2, 1] {
        let usage = usage(number, "new").expect("nobody has heard of him");
        assert_eq!((usage.used.cost, usage.state.limit), (NanoUsd::ZERO, cost_limit(100)));
    }
    assert_eq!(wait(handle.user("new".into(), None)).unwrap(), None);
    // Of a member of the other org's it is told nothing, and she stays where she is.
    let put_into = Identity { org: Some("acme".into()), ..Identity::of("alice".into()) };
    wait(handle.introduce(put_into)).unwrap();
    bench.charge(&bench.admit(0, "alice"), 7);
    eventually(|| (usage(1, "alice")?.used.cost == NanoUsd(7)).then_some(()));
    assert!(usage(2, "alice").is_none());
    assert_eq!(wait(handle.org_of("alice".into())).unwrap(), Some(Some("acme".into())));
    let usage = usage(3, "bob").unwrap();
    assert_eq!((usage.user_id.as_str(), &*usage.shown_id), ("ug:acme:bob", "bob"));
}

#[test]
fn of_two_keys_that_name_a_new_user_at_one_moment_the_first_has_him() {
    let bench = Bench::start(config(Limit::default()), 16);
    let handle = bench.handle();
    wait(handle.set_key(key(1))).unwrap();
    wait(handle.set_key(Key { org: Some("globex".into()), ..key(2) })).unwrap();
    let speaks_for = |number: u8, user: &str| {
        matches!(bench.ask_by_key(KeyHash([number; 32]), Some(user)), Answer::Admitted(_))
    };
    let admitted = bench.ask_by_key(KeyHash([1; 32]), Some("alice"));
    assert!(matches!(admitted, Answer::Admitted(_)));
    assert!(!speaks_for(2, "alice") && speaks_for(1, "alice"));
    // Where the provider refuses the first, she is as new as before.
    drop(admitted);
    eventually(|| speaks_for(2, "alice").then_some(()));
    let called = |number: u8, user: &str| {
        let key = Some(KeyHash([number; 32]));
        let identity = Arc::new(Identity { key, ..Identity::of(user.into()) });
        let delta = Delta { identity, ..delta(user, 1) };
        wait(handle.record(Call { delta, log: None, ids: Vec::new() })).map(|judged| judged.org)
    };
    assert_eq!(called(2, "bob"), Ok(Some("globex".into())));
    assert_eq!(called(1, "bob"), Err(CommandError::Mute(Mute::Foreign)));
    assert_eq!(called(2, "bob"), Ok(Some("globex".into())));
}
