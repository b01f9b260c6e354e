//! An address that may hold a password, which nobody is shown.

use serde::{Deserialize, Serialize};
use std::fmt;
use tokenist_core::uri;

#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct SecretUri(String);

impl SecretUri {
    /// With its secrets, for whoever connects.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As it may be shown.
    pub(crate) fn shown(&self) -> SecretUri {
        SecretUri(uri::shown(&self.0))
    }
}

impl fmt::Debug for SecretUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown().0)
    }
}
