//! More users than the ledger has slots for: whoever is forgotten comes back with all that he has used, strangers push
//! nobody out, and a ledger that is full says so and gets over it.

mod crowd;

use crowd::{TURN_TOKENS, WORKERS, come_and_come_back, each, handshake, names, settings, speak};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tokenist_kit::{Client, PATIENCE, Provider, Scratch, Tokenist, eventually};

/// Tokens of each user on disk.
fn on_disk(tokenist: &Tokenist) -> BTreeMap<String, u64> {
    let answer = tokenist.get("/admin/usage?by=user&period=total&limit=1000");
    let rows = answer["rows"].as_array().unwrap_or_else(|| panic!("{answer}"));
    let row = |row: &Value| {
        let user = row["user"].as_str().unwrap_or_else(|| panic!("{row}"));
        (user.to_owned(), row["usage"]["totalTokens"].as_u64().unwrap_or_else(|| panic!("{row}")))
    };
    rows.iter().map(row).collect()
}

#[test]
fn a_thousand_users_come_and_come_back_through_fifty_slots_and_nobody_gets_a_budget_twice() {
    let (provider, folder) = (Provider::start(&[]), Scratch::new());
    let path = folder.path().join("ledger");
    let settings = [&settings("50")[..], &[("store.path", path.to_str().unwrap())]].concat();
    let tokenist = Tokenist::start(&provider.origin(), &settings);
    let users = names(1_000);
    come_and_come_back(&tokenist, &users);
    let budgets: BTreeMap<String, u64> = users.iter().map(|user| (user.clone(), 2 * TURN_TOKENS)).collect();
    let disk = || on_disk(&tokenist);
    assert_eq!(eventually(PATIENCE, disk, |disk| *disk == budgets), budgets);
    let health = tokenist.get("/health");
    assert!(health["users"].as_u64() <= Some(50 + WORKERS as u64), "{health}");
    assert_eq!(health["ledgerFull"], false, "{health}");
    assert!(tokenist.metric("tokenist_holders_recalled_total") > Some(1_000.0), "{}", tokenist.metrics());
    assert_eq!(tokenist.metric("tokenist_ledger_full_refusals_total"), Some(0.0));

    // A restart gives slots to the last of them, and knows what the others have used all the same.
    tokenist.leave();
    let tokenist = Tokenist::start(&provider.origin(), &settings);
    let health = tokenist.get("/health");
    assert!(health["users"].as_u64() <= Some(50), "{health}");
    each(&users, |user| assert_eq!(speak(&tokenist, user, 1), (0, Some(4004)), "{user} after a restart"));
    let view = tokenist.get("/admin/users/user-0/usage?period=total");
    assert_eq!(view["usage"]["totalTokens"], 2 * TURN_TOKENS, "{view}");
    assert_eq!(on_disk(&tokenist), budgets, "not a token more");
}

#[test]
fn a_limit_and_a_block_hold_whether_or_not_their_holder_is_in_memory() {
    let provider = Provider::start(&[]);
    let tokenist = Tokenist::start(&provider.origin(), &settings("10"));
    let users = names(40);
    // All of them have settings of their own, and more of them than there are slots.
    for user in &users {
        let limit = json!({"maxTotalTokens": 3 * TURN_TOKENS, "window": "total"});
        assert_eq!(tokenist.ask("PUT", &format!("/admin/limits/user/{user}"), &limit).status, 200);
    }
    let blocked = &users[..20];
    for user in blocked {
        assert_eq!(tokenist.post(&format!("/admin/users/{user}/block"), &json!({})).status, 200);
    }
    each(&users, |user| {
        let expected = if blocked.iter().any(|name| name == user) { (0, Some(4003)) } else { (2, None) };
        assert_eq!(speak(&tokenist, user, 2), expected, "{user}");
    });
    for user in blocked {
        assert_eq!(tokenist.post(&format!("/admin/users/{user}/unblock"), &json!({})).status, 200);
    }
    each(&users, |user| {
        let left = if blocked.iter().any(|name| name == user) { 3 } else { 1 };
        assert_eq!(speak(&tokenist, user, 9), (left, Some(4004)), "{user}");
    });
}

#[test]
fn strangers_change_nobodys_sum_and_leave_nothing() {
    let provider = Provider::start(&["--key", "alice"]);
    let tokenist = Tokenist::start(&provider.origin(), &settings("20"));
    assert_eq!(speak(&tokenist, "alice", 1), (1, None));
    let view = || tokenist.get("/admin/users/alice/usage?period=total");
    let before = eventually(PATIENCE, view, |view| view["usage"]["totalTokens"] == TURN_TOKENS);
    assert_eq!(before["usage"]["totalTokens"], TURN_TOKENS, "{before}");
    each(&names(54_000), |user| {
        let refusal = Client::open(tokenist.listen, &handshake(user).header("x-org-id", user));
        let status = refusal.expect_err("the provider does not know the key").status;
        assert_eq!(status, 401, "{user}: the provider's refusal, not ours");
    });
    assert_eq!(view()["usage"], before["usage"]);
    let health = tokenist.get("/health");
    assert_eq!((&health["users"], &health["ledgerFull"]), (&json!(1), &json!(false)), "{health}");
    assert_eq!(tokenist.get("/admin/users")["users"].as_array().map(Vec::len), Some(1));
    assert_eq!(tokenist.metric("tokenist_holders"), Some(1.0));
    assert_eq!(speak(&tokenist, "alice", 9), (1, Some(4004)), "her budget goes on from there");
}

#[test]
fn what_applications_record_is_not_forgotten_either() {
    let provider = Provider::start(&[]);
    let settings = [("store.users_max", "10"), ("limits.max_cost_usd", "1"), ("limits.window", "total")];
    let tokenist = Tokenist::start(&provider.origin(), &settings);
    let model = "gpt-4o-mini"; // A million tokens of its input are 15 cents.
    let record = |user: &str| {
        let call = json!({
            "userId": user, "model": model, "requestType": "chat", "inputTokens": 4_000_000, "outputTokens": 0,
            "latencyMs": 1, "success": true,
        });
        let answer = tokenist.post("/sdk/record", &call);
        assert_eq!(answer.status, 200, "{user}: {}", answer.body);
    };
    let is_allowed = |user: &str| {
        let call = json!({"userId": user, "model": model, "requestType": "chat", "estimatedTokens": 1});
        tokenist.post("/sdk/check", &call).json()["allowed"] == true
    };
    let users = names(60);
    for (round, allowed) in [true, false].into_iter().enumerate() {
        each(&users, record);
        for user in &users {
            assert_eq!(is_allowed(user), allowed, "{user} after {} calls of 60 cents", round + 1);
        }
    }
    assert_eq!(speak(&tokenist, "user-0", 1), (0, Some(4004)));
}

#[test]
fn a_full_ledger_says_so_and_gets_over_it() {
    let provider = Provider::start(&[]);
    let tokenist =
        Tokenist::start(&provider.origin(), &[("store.users_max", "3"), ("proxy.shard_count", "2")]);
    let sessions: Vec<Client> =
        names(3).iter().map(|user| tokenist.session(user).expect("there is a slot")).collect();
    let with_slot = || tokenist.metric("tokenist_holders");
    assert_eq!(eventually(PATIENCE, with_slot, |with_slot| *with_slot == Some(3.0)), Some(3.0));
    assert_eq!(speak(&tokenist, "late", 1), (0, Some(4503)), "all slots are in use");
    let health = tokenist.get("/health");
    assert_eq!((&health["ledgerFull"], &health["status"]), (&json!(true), &json!("degraded")), "{health}");
    assert_eq!(tokenist.metric("tokenist_ledger_full"), Some(1.0));
    tokenist.logged("the ledger is full");

    sessions.into_iter().for_each(Client::leave);
    let room = || tokenist.get("/health")["ledgerFull"] == false;
    assert!(eventually(PATIENCE, room, |has_room| *has_room), "they are gone");
    assert_eq!(speak(&tokenist, "late", 1), (1, None));
    assert_eq!(tokenist.metric("tokenist_ledger_full"), Some(0.0));
}

#[test]
fn where_nothing_can_be_read_back_whoever_used_something_keeps_his_slot() {
    let provider = Provider::start(&[]);
    let settings = [&settings("3")[..], &[("store.kind", "memory")]].concat();
    let tokenist = Tokenist::start(&provider.origin(), &settings);
    let users = names(3);
    for user in &users {
        assert_eq!(speak(&tokenist, user, 1), (1, None), "{user}");
    }
    assert_eq!(speak(&tokenist, "late", 1), (0, Some(4503)), "all slots are taken for good");
    assert_eq!(tokenist.get("/health")["ledgerFull"], true);
    for user in &users {
        assert_eq!(speak(&tokenist, user, 9), (1, Some(4004)), "{user} goes on");
    }
    assert_eq!(speak(&tokenist, "later", 1), (0, Some(4503)));
}
