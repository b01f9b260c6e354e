//! Origins: where pages come from, as browsers name it.

use crate::uri;

/// Origins, in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins {
    listed: Vec<String>,
    any: bool,
}

impl Origins {
    /// Origins such as `https://app.example.com`, separated by commas; `*` is any. `Err` says which of them is none.
    pub fn parse(list: &str) -> Result<Origins, String> {
        let mut origins = Origins::default();
        for word in list.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            let origin = word.to_ascii_lowercase();
            match authority(&origin) {
                _ if origin == "*" => origins.any = true,
                Some(host) if !host.is_empty() && !host.contains(['/', '*', '@', '?', '#', ' ']) => {
                    origins.listed.push(origin);
                }
                _ => {
                    return Err(format!(
                        "{:?} is no origin, such as https://app.example.com",
                        uri::shown(word)
                    ));
                }
            }
        }
        Ok(origins)
    }

    pub fn is_empty(&self) -> bool {
        self.listed.is_empty() && !self.any
    }

    pub fn list(&self, origin: &str) -> bool {
        self.any || self.listed.iter().any(|listed| listed.eq_ignore_ascii_case(origin))
    }
}

/// What stands behind an origin's scheme.
pub fn authority(origin: &str) -> Option<&str> {
    origin.split_once("://").map(|(_, host)| host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_schemes_with_hosts_and_nothing_else() {
        let origins = Origins::parse(" https://App.example.com, http://localhost:3000 ").unwrap();
        for (origin, listed) in [
            ("https://app.example.com", true),
            ("HTTPS://APP.EXAMPLE.COM", true),
            ("http://localhost:3000", true),
            ("http://app.example.com", false),
            ("https://app.example.com.evil.example", false),
            ("https://app.example.com:8443", false),
            ("null", false),
        ] {
            assert_eq!(origins.list(origin), listed, "{origin}");
        }
        assert!(
            Origins::parse("*").unwrap().list("https://any.example")
                && Origins::parse("").unwrap().is_empty()
        );
        for wrong in ["app.example.com", "https://", "https://a/b", "https://*.example.com", "https://a b"] {
            assert!(Origins::parse(wrong).is_err(), "{wrong}");
        }
    }
}
