//! A month that the demo looks back on: calls that its people are said to have made, reported as an application would.
//!
//! Each call has an idempotency key of its own, so a history that was broken off is told again from its beginning and
//! counts once.

use super::people::{LOOP_LIMIT_USD, LOOPING, PEOPLE, Person, Temper};
use super::random::Random;
use crate::admin::Server;
use crate::clock;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::error::Error;

const DAY_COUNT: i64 = 30;
const DAY_SECONDS: i64 = 86_400;

/// One call, some time ago.
#[derive(Debug)]
struct Past {
    person: &'static Person,
    /// Since 1970.
    at_seconds: i64,
    input_tokens: u64,
    output_tokens: u64,
}

/// Whether the ledger has the history already: the looping agent's limit is set when all of it is told.
pub(super) fn is_told(tokenist: &Server<'_>) -> Result<bool, Box<dyn Error>> {
    let limit = tokenist.get(&format!("/admin/limits/user/{LOOPING}"))?;
    Ok(limit["limit"]["maxCostUsd"].as_f64() == Some(LOOP_LIMIT_USD))
}

/// Tells all of it, and sets the looping agent's limit.
pub(super) fn tell(tokenist: &Server<'_>) -> Result<(), Box<dyn Error>> {
    for past in month((clock::now().0 / 1_000) as i64) {
        let key = format!("demo-{}-{}", past.person.id, past.at_seconds);
        tokenist.ask("POST", "/sdk/record", &[("idempotency-key", key.as_str())], Some(&past.body()))?;
    }
    let limit = json!({"maxCostUsd": LOOP_LIMIT_USD, "window": "daily"});
    tokenist.ask("PUT", &format!("/admin/limits/user/{LOOPING}"), &[], Some(&limit))?;
    Ok(())
}

impl Past {
    fn body(&self) -> Value {
        let Past { person, at_seconds, input_tokens, output_tokens } = self;
        let at = Timestamp::from_second(*at_seconds).expect("the days before today can be written");
        json!({"userId": person.id, "orgId": person.org, "feature": person.feature, "model": person.model,
            "requestType": "realtime", "inputTokens": input_tokens, "outputTokens": output_tokens,
            "latencyMs": 900, "success": true, "timestamp": at.to_string()})
    }
}

/// The calls of the thirty days before today, UTC, in order of time. At weekends there are fewer.
fn month(now_seconds: i64) -> Vec<Past> {
    let today = now_seconds / DAY_SECONDS;
    let mut calls = Vec::new();
    for day in today - DAY_COUNT..today {
        // Day 0 was a Thursday.
        let is_weekend = matches!(day % 7, 2 | 3);
        for (index, person) in PEOPLE.iter().enumerate() {
            let mut random = Random::new(day as u64 * 100 + index as u64);
            let count = match (person.temper, is_weekend) {
                (Temper::Calm, false) => random.between(3, 9),
                (Temper::Calm, true) => random.between(0, 2),
                (Temper::Looping, _) => random.between(0, 1),
            };
            for _ in 0..count {
                let at_seconds = day * DAY_SECONDS + random.between(8 * 3_600, 19 * 3_600) as i64;
                let input_tokens = random.between(2_000, 20_000);
                calls.push(Past { person, at_seconds, input_tokens, output_tokens: input_tokens / 5 });
            }
        }
    }
    calls.sort_by_key(|call| call.at_seconds);
    calls
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const NOW: i64 = 1_795_000_000;

    #[test]
    fn thirty_days_of_all_people_lie_before_today_and_are_told_alike_each_time() {
        let calls = month(NOW);
        let today = NOW / DAY_SECONDS * DAY_SECONDS;
        assert!(calls.iter().all(|call| (today - DAY_COUNT * DAY_SECONDS..today).contains(&call.at_seconds)));
        let days: BTreeSet<i64> = calls.iter().map(|call| call.at_seconds / DAY_SECONDS).collect();
        assert_eq!(days.len() as i64, DAY_COUNT);
        let people: BTreeSet<&str> = calls.iter().map(|call| call.person.id).collect();
        assert_eq!(people.len(), PEOPLE.len());
        let key = |call: &Past| (call.person.id, call.at_seconds);
        let keys: BTreeSet<_> = calls.iter().map(key).collect();
        assert_eq!(keys.len(), calls.len(), "an idempotency key each");
        assert!(month(NOW).iter().map(key).eq(calls.iter().map(key)));
    }
}
