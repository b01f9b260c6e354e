//! Which passwords may not be chosen: those that guessing tries first.

use std::sync::LazyLock;

/// Each at least as long as a password has to be, in lower case, sorted; from public lists of what leaks show most often,
/// and what follows from this product's name.
const COMMON: &str = include_str!("passwords.txt");

/// Whether this, in whatever case, is one of the commonest, or says no more than whose it is.
pub(crate) fn is_guessed_first(password: &str, email: Option<&str>) -> bool {
    static LINES: LazyLock<Vec<&str>> = LazyLock::new(|| COMMON.lines().collect());
    let password = password.trim().to_lowercase();
    let is_own = |email: &str| password == email || Some(&*password) == email.split('@').next();
    LINES.binary_search(&&*password).is_ok() || email.is_some_and(|email| is_own(&email.to_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_as_it_is_searched() {
        let lines: Vec<_> = COMMON.lines().collect();
        assert!(lines.len() > 3_000 && lines.is_sorted_by(|a, b| a < b));
        for line in lines {
            assert!(line.len() >= 8 && line.to_lowercase() == line && line.trim() == line, "{line}");
        }
    }

    #[test]
    fn what_is_tried_first_is_known_in_any_case() {
        let email = Some("Longname@example.com");
        for guessed in ["password", "PassWord", " 12345678", "qwertyuiop", "longname", "longname@Example.com"]
        {
            assert!(is_guessed_first(guessed, email), "{guessed}");
        }
        for other in ["correct horse battery", "password of longname", "p4Zq-99xw-71mk"] {
            assert!(!is_guessed_first(other, email), "{other}");
        }
        assert!(!is_guessed_first("longname", None));
    }
}
