//! How a path ends, which tells the dialect; what stands before it is of a base URL.

/// The end of a path that is this one, in which a `*` stands for one word.
pub(super) fn tail<'a>(path: &'a str, own: &str) -> Option<&'a str> {
    let path = path.trim_end_matches('/');
    let (at, _) = path.rmatch_indices('/').nth(own.matches('/').count().checked_sub(1)?)?;
    let end = &path[at..];
    let fits = |(word, own): (&str, &str)| word == own || own == "*" && !word.is_empty();
    end.split('/').zip(own.split('/')).all(fits).then_some(end)
}

/// The first of several ends that a path has.
pub(super) fn tail_of<'a>(path: &'a str, owns: &[&str]) -> Option<&'a str> {
    owns.iter().find_map(|own| tail(path, own))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_may_be_any_and_all_others_are_as_they_are() {
        for (path, own, wanted) in [
            ("/v1/listen", "/v1/listen", Some("/v1/listen")),
            ("/any/v1/listen/", "/v1/listen", Some("/v1/listen")),
            ("/listen", "/v1/listen", None),
            ("/xv1/listen", "/v1/listen", None),
            ("/v1/agents/stream/a_1", "/agents/stream/*", Some("/agents/stream/a_1")),
            ("/v1/agents/stream/", "/agents/stream/*", None),
            ("/a/speech/voice/input", "/speech/*/input", Some("/speech/voice/input")),
            ("/speech//input", "/speech/*/input", None),
            ("/speech/input", "/speech/*/input", None),
            ("", "/v2", None),
            ("/v2", "", None),
        ] {
            assert_eq!(tail(path, own), wanted, "{path} {own}");
        }
    }
}
