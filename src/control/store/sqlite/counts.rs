//! Totals and identities as columns.

use super::schema::COUNTS;
use rusqlite::types::Value;
use rusqlite::{Error, Row};
use std::sync::Arc;
use tokenist_core::id::{Feature, Identity, KeyHash, Model, OrgId, UserId};
use tokenist_core::money::NanoUsd;
use tokenist_core::time::Timestamp;
use tokenist_core::totals::Totals;
use tokenist_core::usage::Usage;

/// The columns of [`COUNTS`], for a list of columns.
pub(super) fn names() -> String {
    COUNTS.join(", ")
}

/// The columns summed up over several rows.
pub(super) const COUNT_SUMS: &str = "sum(text_in), sum(audio_in), sum(image_in), sum(cached_text_in), \
    sum(cached_audio_in), sum(cached_image_in), sum(text_out), sum(audio_out), sum(image_out), sum(reasoning_out), \
    sum(duration_ms), sum(requests), sum(cost_nano), sum(estimated_cost_nano), max(updated_at)";

/// What is written into them. Counts beyond 2⁶³ are none that a provider reports.
pub(super) fn values(totals: &Totals) -> [Value; COUNTS.len()] {
    let usage = &totals.usage;
    let count = |count: u64| Value::Integer(i64::try_from(count).unwrap_or(i64::MAX));
    [
        count(usage.text_in),
        count(usage.audio_in),
        count(usage.image_in),
        count(usage.cached_text_in),
        count(usage.cached_audio_in),
        count(usage.cached_image_in),
        count(usage.text_out),
        count(usage.audio_out),
        count(usage.image_out),
        count(usage.reasoning_out),
        count(usage.duration_ms),
        count(usage.requests),
        Value::Integer(totals.cost.0),
        Value::Integer(totals.estimated_cost.0),
        totals.updated_at.map_or(Value::Null, |at| count(at.0)),
    ]
}

/// Reads them from column number `first` on.
pub(super) fn read(row: &Row<'_>, first: usize) -> Result<Totals, Error> {
    let count = |index: usize| row.get::<_, i64>(first + index).map(|count| count.max(0) as u64);
    Ok(Totals {
        usage: Usage {
            text_in: count(0)?,
            audio_in: count(1)?,
            image_in: count(2)?,
            cached_text_in: count(3)?,
            cached_audio_in: count(4)?,
            cached_image_in: count(5)?,
            text_out: count(6)?,
            audio_out: count(7)?,
            image_out: count(8)?,
            reasoning_out: count(9)?,
            duration_ms: count(10)?,
            requests: count(11)?,
        },
        cost: NanoUsd(row.get(first + 12)?),
        estimated_cost: NanoUsd(row.get(first + 13)?),
        updated_at: row.get::<_, Option<i64>>(first + 14)?.map(|at| Timestamp(at.max(0) as u64)),
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
