//! What stands in front of a path: a tokenist key, for clients that can set a base URL and nothing else, and a provider's name.

/// `/k/KEY/rest` is the key and `/rest`.
pub fn take_key(path: &str) -> Option<(&str, &str)> {
    take(path, "/k/")
}

/// `/p/NAME/rest` is the name and `/rest`.
pub fn take_provider(path: &str) -> (Option<&str>, &str) {
    take(path, "/p/").map_or((None, path), |(name, rest)| (Some(name), rest))
}

fn take<'a>(path: &'a str, prefix: &str) -> Option<(&'a str, &'a str)> {
    let behind = path.strip_prefix(prefix)?;
    let end = behind.find('/').unwrap_or(behind.len());
    let (word, rest) = behind.split_at(end);
    Some((word, if rest.is_empty() { "/" } else { rest }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_and_a_provider_stand_in_front_of_a_path() {
        for (path, wanted) in [
            ("/k/ug_1/v1/realtime", Some(("ug_1", "/v1/realtime"))),
            ("/k/ug_1/p/azure/realtime", Some(("ug_1", "/p/azure/realtime"))),
            ("/k/ug_1/", Some(("ug_1", "/"))),
            ("/k/ug_1", Some(("ug_1", "/"))),
            ("/k/", Some(("", "/"))),
            ("/k", None),
            ("/v1/k/ug_1/realtime", None),
        ] {
            assert_eq!(take_key(path), wanted, "{path}");
        }
        assert_eq!(take_provider("/p/azure/v1/realtime"), (Some("azure"), "/v1/realtime"));
        assert_eq!(take_provider("/v1/realtime"), (None, "/v1/realtime"));
    }
}
