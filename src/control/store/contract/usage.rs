//! How usage is summed up: by what, of whom, from when and in which order.

use super::{NOON, delta, ledger};
use crate::store::{Dimension, Order, Store, UsageQuery, UsageRow};
use std::sync::Arc;
use tokenist_core::id::OrgId;
use tokenist_core::money::NanoUsd;
use tokenist_core::time::{DAY_MS, HOUR_MS, Timestamp};

/// A question, and its rows by what they are of, with their costs.
type Summed = (UsageQuery, &'static [(&'static str, i64)]);

/// So many days after November began.
fn november(days: u64) -> Timestamp {
    NOON.month_start().plus_ms(days * DAY_MS)
}

fn by(dimensions: &[Dimension]) -> UsageQuery {
    UsageQuery { by: dimensions.to_vec(), order: Order::Key, ..UsageQuery::default() }
}

/// From the month's start on.
fn dearest(dimensions: &[Dimension]) -> UsageQuery {
    UsageQuery { from: november(0), order: Order::Cost, ..by(dimensions) }
}

fn among(dimension: Dimension, texts: &[&str], dimensions: &[Dimension]) -> UsageQuery {
    let among = (dimension, texts.iter().map(|text| (*text).into()).collect());
    UsageQuery { among: Some(among), ..by(dimensions) }
}

fn summed_by_key() -> Vec<Summed> {
    use Dimension::*;
    let (day, acme) = (november, Some(OrgId::from("acme")));
    let rows: &[Summed] = &[
        (by(&[]), &[("", 1_111)]),
        (UsageQuery { order: Order::Cost, ..by(&[User]) }, &[("alice", 1_011), ("bob", 100)]),
        (UsageQuery { order: Order::Cost, limit: 1, ..by(&[Model]) }, &[("a", 1_101)]),
        (by(&[Org]), &[("", 100), ("acme", 1_011)]),
        (by(&[Feature]), &[("", 10), ("chat", 1_000), ("voice", 101)]),
        (by(&[User, Model]), &[("alice a", 1_001), ("alice b", 10), ("bob a", 100)]),
        (by(&[Provider]), &[("openai", 1_111)]),
        (by(&[Hour]), &[("0d1h", 11), ("1d1h", 100), ("31d1h", 1_000)]),
        (by(&[Day]), &[("0d0h", 11), ("1d0h", 100), ("31d0h", 1_000)]),
        (by(&[Month]), &[("0d0h", 111), ("30d0h", 1_000)]),
        (UsageQuery { org: Some("acme".into()), ..by(&[Day]) }, &[("0d0h", 11), ("31d0h", 1_000)]),
        (UsageQuery { users: vec!["bob".into()], ..by(&[]) }, &[("", 100)]),
        (UsageQuery { users: vec!["bob".into(), "alice".into()], ..by(&[]) }, &[("", 1_111)]),
        (UsageQuery { feature: Some("voice".into()), ..by(&[User]) }, &[("alice", 1), ("bob", 100)]),
        (UsageQuery { model: Some("b".into()), ..by(&[]) }, &[("", 10)]),
        (UsageQuery { provider: Some("other".into()), ..by(&[]) }, &[]),
        (UsageQuery { from: day(1), to: day(2), ..by(&[]) }, &[("", 100)]),
        (UsageQuery { from: day(0), to: day(30), ..by(&[User]) }, &[("alice", 11), ("bob", 100)]),
        (UsageQuery { from: day(0), to: day(30), org: Some("acme".into()), ..by(&[User]) }, &[("alice", 11)]),
        (
            UsageQuery {
                from: day(0),
                to: day(1),
                org: Some("acme".into()),
                order: Order::Cost,
                ..by(&[User])
            },
            &[("alice", 11)],
        ),
        (
            UsageQuery { from: day(1), to: day(2), org: Some("acme".into()), limit: 1, ..by(&[User, Day]) },
            &[],
        ),
        (UsageQuery { from: day(0).plus_ms(2 * HOUR_MS), to: day(30), ..by(&[]) }, &[("", 100)]),
        (UsageQuery { from: day(0).plus_ms(HOUR_MS), to: day(1), ..by(&[Model]) }, &[("a", 1), ("b", 10)]),
        (UsageQuery { from: day(0).plus_ms(2 * HOUR_MS), ..by(&[Day]) }, &[("1d0h", 100), ("31d0h", 1_000)]),
        (UsageQuery { from: day(1), to: day(30), ..by(&[Day, Model]) }, &[("1d0h a", 100)]),
        (
            UsageQuery { org: acme.clone(), ..by(&[Month, Feature]) },
            &[("0d0h", 10), ("0d0h voice", 1), ("30d0h chat", 1_000)],
        ),
        (among(Model, &["b", "c"], &[Hour]), &[("0d1h", 10)]),
        (among(Feature, &["", "chat"], &[Feature, Month]), &[("0d0h", 10), ("30d0h chat", 1_000)]),
        (among(Org, &[""], &[Day]), &[("1d0h", 100)]),
        (among(Org, &["acme"], &[User]), &[("alice", 1_011)]),
        (among(User, &["bob"], &[Day]), &[("1d0h", 100)]),
        (UsageQuery { model: Some("a".into()), ..among(Model, &["b"], &[]) }, &[]),
        (UsageQuery { from: day(40), ..by(&[]) }, &[]),
    ];
    rows.to_vec()
}

/// Users by what they cost where that has to be summed up first.
fn summed_by_cost() -> Vec<Summed> {
    use Dimension::*;
    let (day, acme) = (november, Some(OrgId::from("acme")));
    let rows: &[Summed] = &[
        (UsageQuery { from: day(0).plus_ms(HOUR_MS), ..dearest(&[User]) }, &[("alice", 1_011), ("bob", 100)]),
        (UsageQuery { from: day(0).plus_ms(HOUR_MS), limit: 1, ..dearest(&[User]) }, &[("alice", 1_011)]),
        (UsageQuery { from: day(0).plus_ms(2 * HOUR_MS), to: day(30), ..dearest(&[User]) }, &[("bob", 100)]),
        (UsageQuery { to: day(2), limit: 2, ..dearest(&[User]) }, &[("bob", 100), ("alice", 11)]),
        (UsageQuery { to: day(5), limit: 2, ..dearest(&[User]) }, &[("bob", 100), ("alice", 11)]),
        (UsageQuery { to: day(61), limit: 2, ..dearest(&[User]) }, &[("alice", 1_011), ("bob", 100)]),
        (UsageQuery { feature: Some("voice".into()), limit: 1, ..dearest(&[User]) }, &[("bob", 100)]),
        (UsageQuery { org: acme.clone(), limit: 1, to: day(5), ..dearest(&[User]) }, &[("alice", 11)]),
        (UsageQuery { from: day(50), limit: 1, ..dearest(&[User]) }, &[]),
        (UsageQuery { limit: 2, ..dearest(&[User, Model]) }, &[("alice a", 1_001), ("bob a", 100)]),
        (UsageQuery { to: day(30), limit: 2, ..dearest(&[Model, User]) }, &[("bob a", 100), ("alice b", 10)]),
        (UsageQuery { to: day(30), limit: 1, ..dearest(&[Org, User]) }, &[("bob", 100)]),
        (UsageQuery { to: day(5), limit: 1, ..dearest(&[User, Org]) }, &[("bob", 100)]),
        (UsageQuery { order: Order::Cost, limit: 1, ..by(&[User]) }, &[("alice", 1_011)]),
        (UsageQuery { to: day(30), ..dearest(&[User]) }, &[("bob", 100), ("alice", 11)]),
        (UsageQuery { to: day(30), limit: 1, ..dearest(&[User]) }, &[("bob", 100)]),
        (UsageQuery { to: day(30), org: acme.clone(), ..dearest(&[User]) }, &[("alice", 11)]),
        (UsageQuery { to: day(1), org: acme.clone(), ..dearest(&[User]) }, &[("alice", 11)]),
        (UsageQuery { to: day(1), users: vec!["bob".into()], ..dearest(&[User]) }, &[]),
        (UsageQuery { from: day(30), to: day(61), org: acme, ..dearest(&[User]) }, &[("alice", 1_000)]),
    ];
    rows.to_vec()
}

pub(super) fn is_summed_by_what_is_asked_for(mut store: Box<dyn Store>) {
    let mut ledger = ledger();
    for (days, name, model, feature, nano) in [
        (0, "alice", "a", Some("voice"), 1),
        (0, "alice", "b", None, 10),
        (1, "bob", "a", Some("voice"), 100),
        (31, "alice", "a", Some("chat"), 1_000),
    ] {
        let at = november(days).plus_ms(90 * 60_000);
        let mut delta = delta(name, nano, at);
        let identity = Arc::make_mut(&mut delta.identity);
        identity.feature = feature.map(|feature| feature.into());
        identity.org = (name == "alice").then(|| "acme".into());
        delta.model = model.into();
        ledger.apply(delta, at);
    }
    store.commit(&ledger.take_batch().unwrap()).unwrap();
    let mut reader = store.reader().unwrap();
    for (query, expected) in summed_by_key().iter().chain(&summed_by_cost()) {
        let found = reader.usage(query).unwrap();
        let found: Vec<(String, i64)> =
            found.iter().map(|row| (words(row, november(0)), row.totals.cost.0)).collect();
        let found: Vec<(&str, i64)> = found.iter().map(|(key, nano)| (key.as_str(), *nano)).collect();
        assert_eq!(found, *expected, "{query:?}");
        let unlimited = reader.usage(&UsageQuery { limit: usize::MAX, ..query.clone() }).unwrap();
        assert_eq!(reader.usage_count(query).unwrap(), unlimited.len(), "{query:?}");
        let page = reader.usage_page(query).unwrap();
        assert_eq!(page, (reader.usage(query).unwrap(), unlimited.len()), "{query:?}");
    }
    let whole = reader.usage(&by(&[])).unwrap().remove(0).totals;
    assert_eq!((whole.usage.audio_in, whole.usage.text_out, whole.usage.requests), (1_111, 12, 4));
    assert_eq!(whole.estimated_cost, NanoUsd(1_110));
    assert_eq!(whole.updated_at, Some(november(31).plus_ms(90 * 60_000)));
}

/// What a row is of, times in days and hours from `zero`.
fn words(row: &UsageRow, zero: Timestamp) -> String {
    let key = &row.key;
    let at = key.at.map(|at| {
        let hours = at.since(zero) / HOUR_MS;
        format!("{}d{}h", hours / 24, hours % 24)
    });
    let words = [
        at,
        key.user.as_ref().map(ToString::to_string),
        key.org.as_ref().map(ToString::to_string),
        key.feature.as_ref().map(ToString::to_string),
        key.provider.as_ref().map(ToString::to_string),
        key.model.as_ref().map(ToString::to_string),
    ];
    words.into_iter().flatten().collect::<Vec<_>>().join(" ")
}
