//! What was used and what it costs, reckoned from what the provider told and from what the proxy booked, apart from
//! the proxy's own reading.

#![allow(dead_code, reason = "each test binary uses its own part")]

use serde_json::Value;
use std::collections::BTreeMap;
use std::ops::AddAssign;
use tokenist_core::money::NanoUsd;
use tokenist_core::price::PriceTable;
use tokenist_core::time::Timestamp;
use tokenist_core::usage::Usage;
use tokenist_kit::{Client, Handshake, PATIENCE, Provider, Tokenist, eventually};

/// The model that [`tokenist_kit::Handshake::of`] asks for.
pub(crate) const MODEL: &str = "gpt-realtime";

/// Nobody is cut.
pub(crate) const GENEROUS: (&str, &str) = ("limits.max_cost_usd", "-1");
/// Long conversations, of which the cache holds nine tenths: a turn reads for 40 cents, or for 5 from the second on.
pub(crate) const DEAR: &str = "context=20000:10000:90";

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bill {
    pub(crate) usage: Usage,
    pub(crate) cost: NanoUsd,
    /// The part of the cost that is an estimate.
    pub(crate) estimated: NanoUsd,
}

impl Bill {
    /// What the provider stated, at the model's list price.
    pub(crate) fn stated(model: &str, usage: Usage) -> Bill {
        let prices = PriceTable::builtin();
        Bill { usage, cost: prices.price("openai", model, LATE).plain_cost(&usage), estimated: NanoUsd::ZERO }
    }

    pub(crate) fn tokens(&self) -> i64 {
        self.usage.total_tokens() as i64
    }
}

impl AddAssign for Bill {
    fn add_assign(&mut self, other: Bill) {
        self.usage += other.usage;
        self.cost += other.cost;
        self.estimated += other.estimated;
    }
}

/// Every price on the list is in effect by then.
const LATE: Timestamp = Timestamp(4_000_000_000_000);

/// The usage that a `response.done` tells.
pub(crate) fn told(done: &Value) -> Usage {
    let usage = &done["response"]["usage"];
    let (input, output) = (&usage["input_token_details"], &usage["output_token_details"]);
    let cached = &input["cached_tokens_details"];
    let count = |value: &Value| value.as_u64().unwrap_or(0);
    Usage {
        text_in: count(&input["text_tokens"]),
        audio_in: count(&input["audio_tokens"]),
        image_in: count(&input["image_tokens"]),
        cached_text_in: count(&cached["text_tokens"]),
        cached_audio_in: count(&cached["audio_tokens"]),
        cached_image_in: count(&cached["image_tokens"]),
        text_out: count(&output["text_tokens"]),
        audio_out: count(&output["audio_tokens"]),
        reasoning_out: count(&output["reasoning_tokens"]),
        requests: 1,
        ..Usage::default()
    }
}

/// What the provider delivered under an audit key, by model.
pub(crate) fn audited(provider: &Provider, key: &str) -> BTreeMap<String, Bill> {
    let audit = provider.audit();
    let models = audit["by_key"][key].as_object().cloned().unwrap_or_default();
    let bills = models.into_iter().map(|(model, tally)| {
        let usage: Usage = serde_json::from_value(tally).expect("the audit tells whole usages");
        let bill = Bill::stated(&model, usage);
        (model, bill)
    });
    bills.filter(|(_, bill)| *bill != Bill::default()).collect()
}

/// What the provider bills under an audit key, whether or not it could tell: all models together.
pub(crate) fn billed(provider: &Provider, key: &str) -> Bill {
    let audit = provider.audit();
    let mut total = Bill::default();
    for (model, tally) in audit["by_key"][key].as_object().into_iter().flatten() {
        let usage = serde_json::from_value(tally["billed"].clone()).expect("the audit tells whole usages");
        total += Bill::stated(model, usage);
    }
    total
}

/// What the proxy booked for a user, by model, over all features.
pub(crate) fn booked(tokenist: &Tokenist, user: &str) -> BTreeMap<String, Bill> {
    let mut bills: BTreeMap<String, Bill> = BTreeMap::new();
    for (_, model, bill) in rows(tokenist, user) {
        *bills.entry(model).or_default() += bill;
    }
    bills
}

/// What the proxy booked for a user, by feature and model.
pub(crate) fn rows(tokenist: &Tokenist, user: &str) -> Vec<(Option<String>, String, Bill)> {
    let rows = tokenist.get(&format!("/admin/users/{user}/models?since=start"));
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let rows = rows["models"].as_array().expect("a list of models");
    rows.iter().map(|row| (text(&row["feature"]), text(&row["model"]).expect("a name"), bill(row))).collect()
}

fn bill(row: &Value) -> Bill {
    let (details, count) = (&row["tokenDetails"], |value: &Value| value.as_u64().expect("a count"));
    let usage = Usage {
        text_in: count(&details["textInputTokens"]),
        audio_in: count(&details["audioInputTokens"]),
        image_in: count(&details["imageInputTokens"]),
        video_in: count(&details["videoInputTokens"]),
        cached_text_in: count(&details["cachedTextInputTokens"]),
        cached_audio_in: count(&details["cachedAudioInputTokens"]),
        cached_image_in: count(&details["cachedImageInputTokens"]),
        cache_write_in: count(&details["cacheWriteInputTokens"]),
        cache_write_long_in: count(&details["cacheWriteLongInputTokens"]),
        text_out: count(&details["textOutputTokens"]),
        audio_out: count(&details["audioOutputTokens"]),
        image_out: count(&details["imageOutputTokens"]),
        video_out: count(&details["videoOutputTokens"]),
        reasoning_out: count(&details["reasoningTokens"]),
        duration_ms: count(&row["durationMs"]),
        characters_in: count(&row["characters"]),
        items_in: count(&row["items"]),
        searches: count(&row["searches"]),
        file_searches: count(&row["fileSearches"]),
        requests: count(&row["requests"]),
    };
    Bill { usage, cost: nano(&row["usage"]["costUsd"]), estimated: nano(&row["usage"]["estimatedCostUsd"]) }
}

/// Dollars in JSON as the nano-dollars that they stand for.
pub(crate) fn nano(dollars: &Value) -> NanoUsd {
    dollars.as_f64().and_then(NanoUsd::from_usd).unwrap_or_else(|| panic!("not dollars: {dollars}"))
}

/// The user's booked total, once all sessions of the process have ended and nothing is on its way any more.
#[track_caller]
pub(crate) fn settled(tokenist: &Tokenist, user: &str) -> Bill {
    let look = || {
        let metric = |name| tokenist.metric(name).expect("a metric");
        let (opened, closed) =
            (metric("tokenist_sessions_opened_total"), metric("tokenist_sessions_closed_total"));
        (
            opened - closed,
            metric("tokenist_reports_waiting"),
            tokenist.get("/admin/sessions")["total"].as_u64(),
        )
    };
    let at_rest = (0.0, 0.0, Some(0));
    assert_eq!(eventually(PATIENCE, look, |seen| *seen == at_rest), at_rest, "live, waiting, listed");
    let mut total = Bill::default();
    booked(tokenist, user).into_values().for_each(|bill| total += bill);
    let page = tokenist.get(&format!("/admin/users/{user}/usage"));
    assert_eq!(nano(&page["usage"]["costUsd"]), total.cost, "both pages tell the same cost");
    assert_eq!(page["usage"]["totalTokens"], total.usage.total_tokens(), "both pages tell the same tokens");
    total
}

/// Waits until what was booked for `user` is what the provider delivered under `key`: all counts, all models, and
/// the cost to the nano-dollar.
#[track_caller]
pub(crate) fn agree(
    tokenist: &Tokenist,
    user: &str,
    provider: &Provider,
    key: &str,
) -> BTreeMap<String, Bill> {
    let look = || (booked(tokenist, user), audited(provider, key));
    let (booked, audited) = eventually(PATIENCE, look, |(booked, audited)| booked == audited);
    assert_eq!(booked, audited, "tokenist (left) and the provider (right) do not agree about {user}");
    booked
}

/// A session whose usage the provider keeps under the user's name.
pub(crate) fn open(tokenist: &Tokenist, user: &str, sim: &str) -> Client {
    let handshake = Handshake::of(user).parameter(&format!("audit={user}")).sim(sim);
    Client::open(tokenist.listen, &handshake).unwrap_or_else(|answer| panic!("{answer:?}"))
}

/// Asks for responses one after the other and hears each to its end, also if its end is told twice.
pub(crate) fn take_turns(client: &mut Client, sim: &str, count: usize) {
    for _ in 0..count {
        client.ask_response(sim);
        let created = client.hear_until("response.created").expect("the response begins");
        while client.hear_until("response.done").expect("the response ends")["response"]["id"]
            != created["response"]["id"]
        {}
    }
}
