//! An address that may hold a password, which nobody is shown.

use serde::{Deserialize, Serialize};
use std::fmt;

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

    /// As it may be shown: without what stands before an `@` or after a `?`.
    pub(crate) fn shown(&self) -> SecretUri {
        let uri = self.0.split_once('?').map_or(&*self.0, |(uri, _)| uri);
        let Some((before, address)) = uri.rsplit_once('@') else { return SecretUri(uri.into()) };
        let scheme = before.split_once("://").map_or("", |(scheme, _)| scheme);
        SecretUri(format!("{scheme}://(set)@{address}"))
    }
}

impl fmt::Debug for SecretUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown().0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_part_that_may_be_secret_is_shown() {
        for (uri, shown) in [
            ("", ""),
            ("redis://127.0.0.1:6379/1", "redis://127.0.0.1:6379/1"),
            ("redis://:p@ss,w@h:1", "redis://(set)@h:1"),
            ("redis://u:secret@a:1,redis://u:secret@b:1", "redis://(set)@b:1"),
            ("redis://h:1?password=secret", "redis://h:1"),
            ("secret@h", "://(set)@h"),
        ] {
            assert_eq!(format!("{:?}", SecretUri(uri.into())), shown);
        }
    }
}
