//! Tiers: what an org has booked.

use serde::{Deserialize, Serialize};
use tokenist_control::error::CommandError;
use tokenist_control::handle::Handle;
use tokenist_core::catalog::Kept;
use tokenist_core::id::OrgId;
use utoipa::ToSchema;

/// What an org has booked, in the words of existing clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Tier {
    #[default]
    Free,
    Starter,
    Growth,
    Pro,
    Enterprise,
}

/// Kept under the org's id.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct OrgTier {
    pub(crate) tier: Tier,
}

impl Kept for OrgTier {
    const KIND: &'static str = "org_tier";

    fn org<'a>(&'a self, id: &'a str) -> Option<&'a str> {
        Some(id)
    }
}

/// Requests that orgs of each tier may make in a month. 0: as many as they like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quotas {
    pub free: u64,
    pub starter: u64,
    pub growth: u64,
    pub pro: u64,
    pub enterprise: u64,
}

/// Requests that an org of `tier` may make in a month.
pub(crate) fn limits_of(quotas: &Quotas, tier: Tier) -> Option<u64> {
    let quota = match tier {
        Tier::Free => quotas.free,
        Tier::Starter => quotas.starter,
        Tier::Growth => quotas.growth,
        Tier::Pro => quotas.pro,
        Tier::Enterprise => quotas.enterprise,
    };
    (quota > 0).then_some(quota)
}

/// An org that was never given one is in the first.
pub(crate) async fn tier_of(handle: &Handle, org: &OrgId) -> Result<Tier, CommandError> {
    Ok(handle.entry::<OrgTier>(org.as_str()).await?.map_or(Tier::Free, |kept| kept.tier))
}
