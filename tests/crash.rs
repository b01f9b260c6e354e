//! What `kill -9` can take: at most what the ledger had not written yet, and never anything twice.
//!
//! The provider says when it delivered what to whom. After each kill, what is missing of a user's tokens in the ledger
//! must fit into what the provider delivered in that kill's last moment.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use tokenist_kit::{Load, PATIENCE, Provider, Scratch, Tokenist, eventually, now_ms};

/// How often to kill, unless `TOKENIST_TEST_KILLS` says otherwise.
const ROUNDS: u64 = 20;
const USERS: u64 = 40;
/// What the ledger may not have written: the beat of its commits.
const COMMIT_MS: u64 = 100;
/// What lies between the provider's send and the beat's begin, and between its end and the disk, on a busy machine.
const SLACK_MS: u64 = 150;

/// How often to kill.
fn rounds() -> u64 {
    std::env::var("TOKENIST_TEST_KILLS")
        .map_or(ROUNDS, |count| count.parse().expect("TOKENIST_TEST_KILLS is a number"))
}

/// Tokens by user.
type Tokens = BTreeMap<String, u64>;

#[test]
fn kills_lose_no_more_than_the_last_moment_and_repeat_nothing() {
    let provider = Provider::start(&[]);
    let scratch = Scratch::new();
    let path = scratch.path().join("ledger");
    let settings = [("store.path", path.to_str().unwrap()), ("limits.max_cost_usd", "-1")];
    let mut random = Random(now_ms());
    eprintln!("seed {}", random.0);
    let mut allowed = Tokens::new();
    let mut held = Tokens::new();
    for round in 0..rounds() {
        let mut tokenist = Tokenist::start(&provider.origin(), &settings);
        let restored = ledger(&tokenist);
        assert_eq!(restored, held, "round {round}: a restart changes no total");
        if round == 0 {
            use_up_the_limit_of(&tokenist, "spent");
        }
        let refused = tokenist.session("spent").unwrap().hear_out().1.map(|(code, _)| code);
        assert_eq!(refused, Some(4004), "round {round}: whoever was over the limit stays refused");

        let scenario = format!("turns,sessions=200,users={USERS},rate=300,turns=0,seconds=60");
        let load = Load::start(tokenist.listen, &scenario);
        std::thread::sleep(Duration::from_millis(700 + random.below(900)));
        let killed_at = now_ms();
        tokenist.kill();
        drop(load);
        drop(tokenist);

        let again = Tokenist::start(&provider.origin(), &settings);
        held = ledger(&again);
        let audit = provider.audit();
        let delivered = delivered(&audit);
        let last_moment = recent(&audit, killed_at - COMMIT_MS - SLACK_MS);
        let beat = recent(&audit, killed_at - COMMIT_MS);
        let missing = |user: &String| delivered[user].checked_sub(held.get(user).copied().unwrap_or(0));
        let mut lost = 0;
        for user in delivered.keys().filter(|user| *user != "-") {
            let missing =
                missing(user).unwrap_or_else(|| panic!("{user} was counted twice: {held:?} {delivered:?}"));
            let before = allowed.get(user).copied().unwrap_or(0);
            assert!(missing >= before, "round {round}: {user} got back what was lost");
            let newly = missing - before;
            let bound = last_moment.get(user).copied().unwrap_or(0);
            assert!(newly <= bound, "round {round}: {user} lost {newly} tokens, {bound} were on their way");
            allowed.insert(user.clone(), missing);
            lost += newly;
        }
        eprintln!(
            "round {round}: lost {lost} tokens; the last {COMMIT_MS} ms held {}, of {} delivered in all",
            beat.values().sum::<u64>(),
            delivered.values().sum::<u64>()
        );
        held = ledger(&again);
        assert!(held.values().sum::<u64>() > 0);
        // The next round's life must find all that this one has.
        again.leave();
    }
}

/// What the ledger holds, of the users under load.
fn ledger(tokenist: &Tokenist) -> Tokens {
    let page = tokenist.get("/admin/users?limit=1000&period=total");
    let users = page["users"].as_array().unwrap_or_else(|| panic!("{page}"));
    let tokens = |user: &Value| {
        let name = user["userId"].as_str().unwrap().to_owned();
        (name, user["usage"]["totalTokens"].as_u64().unwrap())
    };
    users.iter().map(tokens).filter(|(name, tokens)| name.starts_with("user-") && *tokens > 0).collect()
}

/// What the provider has delivered, by user.
fn delivered(audit: &Value) -> Tokens {
    let keys = audit["by_key"].as_object().unwrap();
    let sum = |models: &Value| {
        models.as_object().unwrap().values().map(|tally| tally["total_tokens"].as_u64().unwrap()).sum()
    };
    keys.iter().map(|(user, models)| (user.clone(), sum(models))).collect()
}

/// What it has delivered since `from`.
fn recent(audit: &Value, from: u64) -> Tokens {
    let mut tokens = Tokens::new();
    for delivery in audit["recent"].as_array().unwrap() {
        if delivery[0].as_u64().unwrap() >= from {
            *tokens.entry(delivery[1].as_str().unwrap().to_owned()).or_default() +=
                delivery[2].as_u64().unwrap();
        }
    }
    tokens
}

fn use_up_the_limit_of(tokenist: &Tokenist, user: &str) {
    let mut session = tokenist.session(user).unwrap();
    session.turn("").unwrap();
    let used =
        || tokenist.get(&format!("/admin/users/{user}/usage?period=total"))["usage"]["totalTokens"].clone();
    assert!(eventually(PATIENCE, used, |used| used.as_u64() > Some(0)).as_u64() > Some(0));
    let answer = tokenist.post(&format!("/admin/users/{user}/threshold"), &json!({"maxTotalTokens": 1}));
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(session.hear_out().1.map(|(code, _)| code), Some(4004));
    // The limit is on disk after one beat.
    std::thread::sleep(Duration::from_millis(COMMIT_MS + SLACK_MS));
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}
