//! Totals and identities as columns.

use rusqlite::types::Value;
use rusqlite::{Error, Row};
use std::sync::Arc;
use tokenist_core::id::{Feature, Identity, KeyHash, Model, OrgId, UserId};
use tokenist_core::money::NanoUsd;
use tokenist_core::time::Timestamp;
use tokenist_core::totals::Totals;
use tokenist_core::usage::{KINDS, Usage};

/// What every table that counts has, in this order: the kinds of usage, and what they cost.
pub(super) const COUNTS: [&str; KINDS.len() + 3] = {
    let mut names = ["cost_nano"; KINDS.len() + 3];
    let (kinds, _) = names.split_at_mut(KINDS.len());
    kinds.copy_from_slice(&KINDS);
    names[KINDS.len() + 1] = "estimated_cost_nano";
    names[KINDS.len() + 2] = "updated_at";
    names
};

/// The columns of [`COUNTS`], for a list of columns.
pub(super) fn names() -> String {
    COUNTS.join(", ")
}

/// The columns summed up over several rows.
pub(super) fn summed_names() -> String {
    let sum = |name| format!("{}({name})", if name == "updated_at" { "max" } else { "sum" });
    COUNTS.map(sum).join(", ")
}

/// What is written into them. Counts beyond 2⁶³ are none that a provider reports.
pub(super) fn values(totals: &Totals) -> Vec<Value> {
    let count = |count: u64| Value::Integer(i64::try_from(count).unwrap_or(i64::MAX));
    let money = [totals.cost, totals.estimated_cost].map(|cost| Value::Integer(cost.0));
    let updated_at = totals.updated_at.map_or(Value::Null, |at| count(at.0));
    totals.usage.counts().map(count).into_iter().chain(money).chain([updated_at]).collect()
}

/// Reads them from column number `first` on.
pub(super) fn read(row: &Row<'_>, first: usize) -> Result<Totals, Error> {
    let mut counts = [0; KINDS.len()];
    for (index, count) in counts.iter_mut().enumerate() {
        *count = row.get::<_, i64>(first + index)?.max(0) as u64;
    }
    let money = first + KINDS.len();
    Ok(Totals {
        usage: Usage::of(counts),
        cost: NanoUsd(row.get(money)?),
        estimated_cost: NanoUsd(row.get(money + 1)?),
        updated_at: row.get::<_, Option<i64>>(money + 2)?.map(|at| Timestamp(at.max(0) as u64)),
    })
}

/// What `later` has beyond `earlier`, two states of one growing sum.
pub(super) fn growth(later: &Totals, earlier: &Totals) -> Totals {
    Totals { updated_at: later.updated_at, ..later.without(earlier) }
}

/// The columns of an identity.
pub(super) const IDENTITY: &str = "user, org, feature, conversation, email, name, key";

pub(super) fn identity_values(identity: &Identity) -> [Value; 7] {
    let text =
        |text: &Option<Arc<str>>| text.as_ref().map_or(Value::Null, |text| Value::Text(text.to_string()));
    [
        Value::Text(identity.user.to_string()),
        Value::Text(org_text(identity.org.as_ref()).to_owned()),
        identity.feature.as_ref().map_or(Value::Null, |feature| Value::Text(feature.to_string())),
        text(&identity.conversation),
        text(&identity.email),
        text(&identity.name),
        identity.key.map_or(Value::Null, |key| Value::Blob(key.0.to_vec())),
    ]
}

pub(super) fn read_identity(row: &Row<'_>, first: usize) -> Result<Arc<Identity>, Error> {
    let text = |index: usize| row.get::<_, Option<Arc<str>>>(first + index);
    Ok(Arc::new(Identity {
        user: UserId::from(&*row.get::<_, Arc<str>>(first)?),
        org: read_org(row, first + 1)?,
        feature: text(2)?.map(|text| Feature::from(&*text)),
        conversation: text(3)?,
        email: text(4)?,
        name: text(5)?,
        key: row.get::<_, Option<[u8; 32]>>(first + 6)?.map(KeyHash),
    }))
}

pub(super) fn org_text(org: Option<&OrgId>) -> &str {
    org.map_or("", OrgId::as_str)
}

pub(super) fn read_org(row: &Row<'_>, index: usize) -> Result<Option<OrgId>, Error> {
    let text: Arc<str> = row.get(index)?;
    Ok(Some(&*text).filter(|text| !text.is_empty()).map(OrgId::from))
}

pub(super) fn read_feature(row: &Row<'_>, index: usize) -> Result<Option<Feature>, Error> {
    let text: Arc<str> = row.get(index)?;
    Ok(Some(&*text).filter(|text| !text.is_empty()).map(Feature::from))
}

pub(super) fn read_model(row: &Row<'_>, index: usize) -> Result<Option<Model>, Error> {
    Ok(row.get::<_, Option<Arc<str>>>(index)?.map(|text| Model::from(&*text)))
}

/// A time as it is stored; those beyond what SQLite can hold are the end of time.
pub(super) fn time(at: Timestamp) -> i64 {
    i64::try_from(at.0).unwrap_or(i64::MAX)
}

pub(super) fn read_time(row: &Row<'_>, index: usize) -> Result<Timestamp, Error> {
    row.get::<_, i64>(index).map(|at| Timestamp(at.max(0) as u64))
}
