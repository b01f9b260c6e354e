//! What the control plane promises shards and operators, over its real threads and queues.

mod bench;
mod faulty;
mod speaking;

use bench::{Bench, config, cost_limit, delta, eventually, identity, key, wait};
use faulty::Fault;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use tokenist_control::clock::system_time as now;
use tokenist_control::error::CommandError;
use tokenist_control::store::UsageQuery;
use tokenist_control::view::{Call, UserFilter, UserQuery};
use tokenist_control::{Config, Store};
use tokenist_core::batch::Restored;
use tokenist_core::close_reason::CloseReason;
use tokenist_core::id::{Identity, KeyHash, SessionId, UserId};
use tokenist_core::kept_response::{Counted, ResponseId};
use tokenist_core::key::KeyId;
use tokenist_core::limit::{Block, Limit};
use tokenist_core::message::{Closed, Delta, Opened, Transport};
use tokenist_core::money::NanoUsd;
use tokenist_core::rule::{Lookback, Restriction, Rule, Subject, SubjectKind, Trigger, Unit};
use tokenist_core::totals::Totals;
use tokenist_core::usage::Usage;
use tokenist_core::verdict::Verdict;
use tokenist_handoff::{Admission, Answer, Charge, FoundResponse, KeyRefusal, Order, Report, ResponseReport};

#[test]
fn an_admission_comes_with_accounts_that_know_the_limit() {
    let bench = Bench::start(config(cost_limit(100)), 16);
    let first = bench.admit(0, "alice");
    assert_eq!((first.user.cost.ceiling(), first.user.state().limit.clone()), (100, cost_limit(100)));
    let second = bench.admit(1, "alice");
    assert!(Arc::ptr_eq(&first.user, &second.user), "all shards charge one account");
    assert!(Arc::ptr_eq(first.org.as_ref().unwrap(), second.org.as_ref().unwrap()));

    let key = KeyHash([0; 32]);
    assert_eq!(bench.refusal(key), KeyRefusal::Unknown);
}

#[test]
fn the_delta_that_crosses_a_limit_has_every_shard_look_again() {
    let bench = Bench::start(config(cost_limit(100)), 16);
    let admitted = bench.admit(0, "alice");
    bench.charge(&admitted, 99);
    eventually(|| (bench.cost("alice") == NanoUsd(99)).then_some(()));
    assert!(!admitted.user.reached());
    bench.charge(&admitted, 1);
    for shard in 0..2 {
        assert!(matches!(bench.order(shard), Order::Sweep));
    }
    assert!(admitted.user.reached());
    let view = wait(bench.handle().set_limit("alice".into(), cost_limit(200))).unwrap();
    assert_eq!((view.limit, view.limit_is_default), (cost_limit(200), false));
    assert!(!admitted.user.reached(), "a raised limit holds at once");
    wait(bench.handle().set_limit("alice".into(), cost_limit(50))).unwrap();
    assert!(admitted.user.reached());
    assert!(matches!(bench.order(1), Order::Sweep), "a lowered one closes sessions");
}

#[test]
fn a_block_shuts_the_account_before_the_shards_hear_of_it() {
    let bench = Bench::start(config(Limit::default()), 16);
    let mut slowest = Duration::ZERO;
    for round in 0..20 {
        let name = format!("user{round}");
        let admitted = bench.admit(0, &name);
        let block = Block { reason: Some("abuse".into()), blocked_at: now(), expires_at: None };
        let asked = Instant::now();
        wait(bench.handle().block(name.as_str().into(), block.clone())).unwrap();
        assert!(matches!(bench.order(1), Order::Sweep));
        slowest = slowest.max(asked.elapsed());
        assert!(matches!(bench.order(0), Order::Sweep));
        assert!(admitted.user.reached());
        assert_eq!(admitted.user.state().block, Some(block));
        assert!(wait(bench.handle().unblock(name.as_str().into())).unwrap());
        assert!(!admitted.user.reached());
        assert!(!wait(bench.handle().unblock(name.as_str().into())).unwrap());
    }
    assert!(slowest < Duration::from_millis(50), "{slowest:?}");
}

#[test]
fn an_expired_block_counts_as_none() {
    let bench = Bench::start(config(Limit::default()), 16);
    let admitted = bench.admit(0, "alice");
    let block = |end| Block { reason: None, blocked_at: now(), expires_at: Some(end) };
    wait(bench.handle().block("alice".into(), block(now().plus_ms(60_000)))).unwrap();
    wait(bench.handle().block("bob".into(), block(now().plus_ms(200)))).unwrap();
    assert_eq!(wait(bench.handle().blocked()).unwrap().len(), 2);
    wait(bench.handle().block("alice".into(), block(now().plus_ms(100)))).unwrap();
    assert!(admitted.user.reached());
    eventually(|| (!admitted.user.reached()).then_some(()));
    eventually(|| wait(bench.handle().blocked()).unwrap().is_empty().then_some(()));
    assert!(!wait(bench.handle().unblock("bob".into())).unwrap());
}

#[test]
fn all_that_shards_charge_at_once_is_counted_and_saved_at_the_end() {
    let bench = Bench::start(Config { report_queue: 64, ..config(Limit::default()) }, 16);
    bench.store.set_fault(Fault::Refuse);
    thread::scope(|scope| {
        for shard in 0..2 {
            let bench = &bench;
            scope.spawn(move || {
                let admitted = bench.admit(shard, "alice");
                (0..5_000).for_each(|_| bench.charge(&admitted, 3));
            });
        }
    });
    eventually(|| (bench.cost("alice") == NanoUsd(30_000)).then_some(()));
    let models = wait(bench.handle().models("alice".into())).unwrap();
    assert_eq!((models.len(), models[0].totals.usage.requests), (1, 10_000));
    eventually(|| wait(bench.handle().stats()).unwrap().store_failing.then_some(()));
    assert_eq!(bench.store.cost(), NanoUsd::ZERO);

    bench.store.set_fault(Fault::LoseAnswer);
    eventually(|| {
        let stored = bench.store.clone().restore(now(), usize::MAX).unwrap();
        (stored != Restored::default()).then_some(())
    });

    let Bench { control, store, .. } = bench;
    store.set_fault(Fault::None);
    control.reports.send(Report::Charged(delta("alice", 1), None)).unwrap();
    control.thread.finish().unwrap();
    assert_eq!(store.cost(), NanoUsd(30_001));
    assert!(control.ended.blocking_recv().is_err());
    assert_eq!(wait(control.handle.stats()), Err(CommandError::Gone));
}

#[test]
fn a_store_that_panics_once_loses_nothing_and_is_told_of() {
    let bench = Bench::start(config(Limit::default()), 16);
    let admitted = bench.admit(0, "alice");
    let restarts = |thread: &str| {
        let threads = wait(bench.handle().stats()).unwrap().threads;
        threads.iter().find(|view| view.name == thread).map(|view| (view.restarts, view.failure.clone()))
    };
    assert_eq!(restarts("writer"), Some((0, None)));
    bench.store.set_fault(Fault::PanicOnce);
    bench.charge(&admitted, 3);
    eventually(|| (restarts("writer") == Some((1, Some("a bug in the store".into())))).then_some(()));
    bench.charge(&admitted, 4);
    eventually(|| (bench.store.cost() == NanoUsd(7)).then_some(()));
    assert!(!wait(bench.handle().stats()).unwrap().store_failing);

    let Bench { control, store, .. } = bench;
    store.set_fault(Fault::PanicOnce);
    control.reports.send(Report::Charged(delta("alice", 5), None)).unwrap();
    control.thread.finish().unwrap();
    assert_eq!((store.cost(), store.events().len()), (NanoUsd(12), 3), "the last batch, too");
}

#[test]
fn a_question_that_panics_is_not_answered_and_the_next_one_is() {
    let bench = Bench::start(config(Limit::default()), 16);
    bench.store.set_fault(Fault::PanicAsked);
    let usage = || wait(bench.handle().usage(UsageQuery::default()));
    assert_eq!(usage(), Err(CommandError::Unanswered));
    assert_eq!(usage(), Ok(Vec::new()));
    let restarted = |name: &str| {
        let threads = bench.handle().supervisor().threads();
        threads.iter().any(|view| view.name.starts_with(name) && view.restarts == 1)
    };
    eventually(|| restarted("reader-").then_some(()));
}

#[test]
fn long_questions_hold_back_no_rule() {
    let bench = Bench::start(config(Limit::default()), 16);
    let rule = Rule {
        org: "acme".into(),
        name: "little".into(),
        enabled: true,
        subject: Subject { kind: SubjectKind::User, ids: Vec::new() },
        trigger: Trigger::CostLimit { cost: NanoUsd(10), lookback: Lookback { count: 1, unit: Unit::Day } },
        restriction: Restriction::Block,
        notifications: serde_json::Value::Null,
        created_at: now(),
        updated_at: now(),
    };
    wait(bench.handle().set_entry("rule_1", Some(&rule))).unwrap();
    let admitted = bench.admit(0, "alice");
    bench.store.set_fault(Fault::HangAsked);
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| wait(bench.handle().usage(UsageQuery::default())));
        }
        eventually(|| (bench.store.hanging() == 2).then_some(()));
        bench.charge(&admitted, 10);
        eventually(|| admitted.user.state().block.is_some().then_some(()));
        bench.store.set_fault(Fault::None);
    });
}

#[test]
fn live_sessions_are_listed_and_can_be_closed() {
    let bench = Bench::start(config(Limit::default()), 16);
    let admitted = bench.admit(0, "alice");
    let session = SessionId(1);
    let opened = Opened {
        session,
        identity: identity("alice"),
        provider: "openai".into(),
        model: None,
        transport: Transport::default(),
        call: None,
        at: now(),
    };
    bench.report(Report::Opened(opened));
    bench.charge(&admitted, 5);
    let sessions = eventually(|| {
        let sessions = wait(bench.handle().sessions()).unwrap();
        sessions.iter().any(|session| session.totals.cost == NanoUsd(5)).then_some(sessions)
    });
    assert_eq!(sessions[0].model.as_ref().unwrap().as_str(), "gpt-realtime");
    assert!(wait(bench.handle().close_session(session)).unwrap());
    for shard in 0..2 {
        assert!(matches!(bench.order(shard), Order::Close(id) if id == session));
    }
    bench.report(Report::Closed(Closed { session, at: now(), close_code: 4003 }));
    eventually(|| wait(bench.handle().sessions()).unwrap().is_empty().then_some(()));
    assert!(!wait(bench.handle().close_session(session)).unwrap());
}

#[test]
fn answers_that_find_a_shard_busy_arrive_later() {
    let bench = Bench::start(Config { tick_ms: 5, ..config(Limit::default()) }, 1);
    for ticket in 0..100 {
        let admission = Admission::Identity(identity("alice"));
        bench.report(Report::Admit { shard: 0, ticket, admission });
    }
    for expected in 0..100 {
        assert!(matches!(bench.order(0), Order::Admission { ticket, .. } if ticket == expected));
    }
}

#[test]
fn users_are_listed_by_page_org_and_search() {
    let bench = Bench::start(config(Limit::default()), 16);
    for name in ["carol", "alice", "bob"] {
        bench.open(name);
    }
    bench.admit(0, "stranger"); // His session has not begun.
    let list = |query: UserQuery| {
        let page = wait(bench.handle().users(query)).unwrap();
        let names: Vec<String> = page.users.iter().map(|view| view.user.to_string()).collect();
        (names.join(" "), page.more)
    };
    let all = UserQuery { limit: 10, ..UserQuery::default() };
    let search = |text: &str| UserFilter { search: Some(text.into()), ..UserFilter::default() };
    let org = |org: &str| UserFilter { org: Some(org.into()), ..UserFilter::default() };
    let after = |name: &str| UserQuery { after: Some(UserId::from(name)), limit: 1, ..UserQuery::default() };
    assert_eq!(list(all.clone()), ("alice bob carol".into(), false));
    assert_eq!(list(after("alice")), ("bob".into(), true));
    assert_eq!(list(after("bob")), ("carol".into(), false));
    assert_eq!(list(UserQuery { filter: search("AROL@example"), ..all.clone() }).0, "carol");
    assert_eq!(list(UserQuery { filter: org("other"), ..all }).0, "");
}

#[test]
fn what_was_counted_before_the_first_admission_is_used_up() {
    let bench = Bench::start(config(cost_limit(100)), 16);
    bench.report(Report::Charged(delta("alice", 60), None));
    let admitted = bench.admit(0, "alice");
    assert_eq!(admitted.user.used().cost, NanoUsd(60));
    bench.charge(&admitted, 39);
    assert!(!admitted.user.reached());
    bench.charge(&admitted, 1);
    assert!(admitted.user.reached());
    eventually(|| (bench.cost("alice") == NanoUsd(100)).then_some(()));
    assert!(admitted.user.reached());
}

#[test]
fn a_ledger_full_of_users_in_session_refuses_new_ones() {
    let mut config = config(Limit::default());
    config.ledger.holders_max = 2; // A user and the org.
    let bench = Bench::start(config, 16);
    let admitted = bench.admit(0, "alice");
    bench.open("alice");
    let refused = || {
        bench.ask(0, Admission::Identity(identity("bob")));
        matches!(bench.order(0), Order::Admission { answer: Answer::Full, .. })
    };
    let is_full = || wait(bench.handle().stats()).unwrap().is_full;
    assert!(!is_full());
    assert!(refused() && is_full());
    let block = Block { reason: None, blocked_at: now(), expires_at: None };
    assert_eq!(wait(bench.handle().block("bob".into(), block)), Err(CommandError::Full));

    // An unsettled estimate keeps the account even when its session is gone.
    admitted.user.charge(Charge { cost: NanoUsd(9), tokens: 0 });
    let (user, org) = (Arc::downgrade(&admitted.user), admitted.org.clone());
    drop(admitted);
    assert!(refused());
    assert!(wait(bench.handle().stats()).unwrap().refused_full >= 3);
    user.upgrade().unwrap().charge(Charge { cost: NanoUsd(-9), tokens: 0 });
    drop((user, org));
    eventually(|| (!is_full()).then_some(()));
    bench.admit(0, "bob");
    assert_eq!(bench.cost("alice"), NanoUsd::ZERO);
}

#[test]
fn sessions_of_a_stranger_share_an_account_that_is_his_once_one_has_begun() {
    let bench = Bench::start(config(cost_limit(100)), 16);
    let [first, second] = [0, 1].map(|shard| bench.admit(shard, "alice"));
    assert!(first.is_tentative && second.is_tentative);
    assert!(Arc::ptr_eq(&first.user, &second.user), "limits hold over all of them");
    assert_eq!(wait(bench.handle().user("alice".into(), None)).unwrap(), None);
    bench.open("alice");
    let third = bench.admit(0, "alice");
    assert!(!third.is_tentative && Arc::ptr_eq(&first.user, &third.user));
    let view = wait(bench.handle().user("alice".into(), None)).unwrap().unwrap();
    assert_eq!((view.org.as_ref().unwrap().as_str(), view.member_of), ("acme", None), "it is claimed");
}

#[test]
fn a_call_is_judged_before_it_is_made_and_makes_nobody_known() {
    let bench = Bench::start(config(cost_limit(100)), 16);
    let handle = bench.handle();
    let stranger = wait(handle.judge(Identity::of("bob".into()), "m".into())).unwrap();
    assert_eq!((stranger.verdict, stranger.remaining.cost), (Verdict::Allow, Some(NanoUsd(100))));
    assert!(stranger.user.limit_is_default && stranger.user.totals == Totals::default());
    assert_eq!(wait(handle.user("bob".into(), None)).unwrap(), None);

    let named = Identity { name: Some("Bob".into()), org: Some("acme".into()), ..Identity::of("bob".into()) };
    wait(handle.introduce(named)).unwrap();
    let names = wait(handle.names(vec!["alice".into(), "bob".into()])).unwrap();
    assert_eq!(names, [None, Some("Bob".into())]);

    wait(handle.set_key(key(1))).unwrap();
    bench.ask_by_key(KeyHash([1; 32]), Some("bob"));
    wait(handle.end_key(KeyId::from("key_1"), now())).unwrap().unwrap();
    let by_key = Identity { key: Some(KeyHash([1; 32])), ..Identity::of("bob".into()) };
    let judged = wait(handle.judge(by_key, "m".into())).unwrap();
    assert!(matches!(judged.verdict, Verdict::Block(CloseReason::Unauthorized(_))), "{judged:?}");
    assert_eq!(wait(handle.judge(Identity::of("bob".into()), "m".into())).unwrap().verdict, Verdict::Allow);
}

#[test]
fn a_recorded_call_counts_at_once_for_live_sessions_too() {
    let bench = Bench::start(config(cost_limit(100)), 16);
    let admitted = bench.admit(0, "alice");
    let call = Call { delta: delta("alice", 100), log: None, ids: Vec::new() };
    let judged = wait(bench.handle().record(call)).unwrap();
    assert_eq!(judged.user.totals.cost, NanoUsd(100));
    assert!(matches!(judged.verdict, Verdict::Block(CloseReason::LimitReached { .. })));
    assert_eq!(judged.remaining.cost, Some(NanoUsd::ZERO));
    assert!(admitted.user.reached());
    assert!(matches!(bench.order(0), Order::Sweep));
    assert_eq!(admitted.user.used().cost, NanoUsd(100));
}

/// What the aggregator says of a response that this user asks for.
fn found(bench: &Bench, response: &ResponseId, user: &str) -> FoundResponse {
    bench.report(Report::Find { shard: 0, ticket: 7, response: response.clone(), user: user.into() });
    match bench.order(0) {
        Order::Admission { ticket: 7, answer: Answer::Response(found) } => found,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_stated_of_a_response_counts_once_and_a_second_charge_is_given_back() {
    let bench = Bench::start(Config::default(), 64);
    let alice = bench.admit(0, "alice");
    let response = ResponseId::of("openai", "resp_1");
    let heard = |heard| bench.report(Report::Response(Box::new(heard)));
    let estimate = Delta { estimated: true, ..delta("alice", 5) };
    heard(ResponseReport::UnderWay { response: response.clone(), estimate, wait_ms: 3_600_000 });
    let of = |is_anothers, counted| FoundResponse { is_anothers, counted };
    let Delta { model, usage, .. } = delta("alice", 5);
    let under_way = Counted::UnderWay(model, usage);
    assert_eq!(found(&bench, &response, "alice"), of(false, under_way.clone()));
    assert_eq!(found(&bench, &response, "bob"), of(true, under_way));
    for _ in 0..2 {
        alice.user.charge(Charge { cost: NanoUsd(60), tokens: 1 });
        heard(ResponseReport::Stated { response: response.clone(), delta: delta("alice", 60), upto: None });
    }
    assert_eq!(found(&bench, &response, "alice"), of(false, Counted::All));
    assert_eq!((bench.cost("alice"), alice.user.cost.charged()), (NanoUsd(60), 60));
    // One that was counted with its answer.
    let other = ResponseId::of("openai", "resp_2");
    heard(ResponseReport::Answered { response: other.clone(), user: "alice".into() });
    assert_eq!(found(&bench, &other, "alice"), of(false, Counted::All));
    assert_eq!(found(&bench, &other, "bob"), of(true, Counted::All));
    let unknown = ResponseId::of("azure", "resp_2");
    assert_eq!(found(&bench, &unknown, "bob"), of(false, Counted::Nothing));
}

#[test]
fn a_response_that_is_not_heard_of_is_booked_by_estimate_once() {
    let bench = Bench::start(Config::default(), 64);
    let alice = bench.admit(0, "alice");
    let response = ResponseId::of("openai", "resp_1");
    let heard = |heard| bench.report(Report::Response(Box::new(heard)));
    let estimate = Delta { estimated: true, at: now(), ..delta("alice", 5) };
    let (model, usage) = (estimate.model.clone(), estimate.usage);
    let of = |usage, cost| Counted::Estimate(model.clone(), usage, NanoUsd(cost));
    heard(ResponseReport::UnderWay { response: response.clone(), estimate: estimate.clone(), wait_ms: 0 });
    let counted = || found(&bench, &response, "alice").counted;
    eventually(|| (counted() == of(usage, 5)).then_some(()));
    // It may be told of again, by whoever has left its stream.
    let again = |estimate| ResponseReport::UnderWay { response: response.clone(), estimate, wait_ms: 0 };
    heard(again(estimate.clone()));
    heard(ResponseReport::Failed { response: response.clone() });
    assert_eq!(counted(), of(usage, 5));
    assert_eq!((bench.cost("alice"), alice.user.cost.charged()), (NanoUsd(5), 5));
    // What it has said since is booked as well, once.
    let usage = Usage { text_out: 7, ..usage };
    for _ in 0..2 {
        heard(again(Delta { usage, cost: NanoUsd(12), ..estimate.clone() }));
    }
    assert_eq!(counted(), of(usage, 12));
    assert_eq!((bench.cost("alice"), alice.user.cost.charged()), (NanoUsd(12), 12));
}
