//! Policies: what an operator has written down for an org. Nothing reads them but people and rules that name them.

use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tokenist_core::catalog::Kept;
use tokenist_core::id::OrgId;
use tokenist_core::time::Timestamp;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Policy {
    pub(crate) org: OrgId,
    pub(crate) name: Arc<str>,
    pub(crate) description: Arc<str>,
    /// Where it comes from.
    pub(crate) source: Option<Arc<str>>,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
}

impl Kept for Policy {
    const KIND: &'static str = "policy";

    fn org<'a>(&'a self, _: &'a str) -> Option<&'a str> {
        Some(self.org.as_str())
    }
}
