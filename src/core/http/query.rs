//! A request's query, parameter by parameter.

use std::borrow::Cow;

/// One `name=value`, or a bare `name`, as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameter<'a>(&'a str);

/// The parameters of a target's query, in order.
pub fn parameters(target: &str) -> impl Iterator<Item = Parameter<'_>> {
    let mut query = split_at(target, b'?').map_or("", |(_, query)| query);
    let pairs = std::iter::from_fn(move || {
        let (pair, rest) = split_at(query, b'&').unwrap_or((query, ""));
        let is_over = query.is_empty();
        query = rest;
        (!is_over).then_some(pair)
    });
    pairs.filter(|pair| !pair.is_empty()).map(Parameter)
}

/// The text on both sides of the first such letter of ASCII. A request's query is looked through many times.
fn split_at(text: &str, letter: u8) -> Option<(&str, &str)> {
    let at = memchr::memchr(letter, text.as_bytes())?;
    Some((&text[..at], &text[at + 1..]))
}

/// Whether decoding changes a text.
fn is_encoded(text: &str) -> bool {
    memchr::memchr2(b'%', b'+', text.as_bytes()).is_some()
}

impl<'a> Parameter<'a> {
    pub fn as_str(self) -> &'a str {
        self.0
    }

    /// Decoded; as it came if it cannot be.
    pub fn name(self) -> Cow<'a, str> {
        let name = split_at(self.0, b'=').map_or(self.0, |(name, _)| name);
        decode(name).unwrap_or(name.into())
    }

    /// As it came, undecoded; empty if there is none.
    pub fn value(self) -> &'a str {
        split_at(self.0, b'=').map_or("", |(_, value)| value)
    }
}

/// Decodes `%41` and `+` of a query value; `None` if it is not UTF-8 or an escape is broken.
pub fn decode(value: &str) -> Option<Cow<'_, str>> {
    if !is_encoded(value) {
        return Some(value.into());
    }
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                (digit(rest.next()?)? * 16 + digit(rest.next()?)?) as u8
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

/// The target of a client that appended a query to an address which had one: `/p?user_id=alice?model=m`. In a parameter
/// that is `read` here, one `?` with `name=value` behind it begins the next parameter; in others it passes.
/// `Err` is the name of a parameter in which a `?` means nothing that can be told.
pub fn joined(target: &str, read: impl Fn(&str) -> bool) -> Result<Cow<'_, str>, String> {
    let Some((path, query)) = target.split_once('?').filter(|(_, query)| query.contains('?')) else {
        return Ok(target.into());
    };
    let mut pieces = Vec::new();
    for piece in query.split('&') {
        let parameter = Parameter(piece);
        if !piece.contains('?') || !read(&parameter.name()) {
            pieces.push(piece);
            continue;
        }
        let name = || parameter.name().into_owned();
        let (first, next) = piece.split_once('?').ok_or_else(name)?;
        let is_next = !next.contains('?') && !next.starts_with('=') && next.contains('=');
        if !is_next {
            return Err(name());
        }
        pieces.extend([first, next]);
    }
    Ok(format!("{path}?{}", pieces.join("&")).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_decoded() {
        assert_eq!(decode("a%20b+c%2Fd").as_deref(), Some("a b c/d"));
        for broken in ["%", "%4", "%+1", "%-1", "%zz", "%ff"] {
            assert_eq!(decode(broken), None, "{broken}");
        }
    }

    #[test]
    fn parameters_are_told_apart_and_kept_as_they_came() {
        let read = |target| {
            parameters(target).map(|p| (p.as_str(), p.name().into_owned(), p.value())).collect::<Vec<_>>()
        };
        let own = |text: &str| text.to_owned();
        assert_eq!(
            read("/p?model=gpt%2Dx&intent=&flag&&%6Bey=a=b&%=c"),
            [
                ("model=gpt%2Dx", own("model"), "gpt%2Dx"),
                ("intent=", own("intent"), ""),
                ("flag", own("flag"), ""),
                ("%6Bey=a=b", own("key"), "a=b"),
                ("%=c", own("%"), "c"),
            ]
        );
        assert_eq!(read("/p"), []);
    }

    #[test]
    fn a_second_question_mark_is_an_ampersand_or_an_error_in_what_is_read_and_passes_elsewhere() {
        let read = |name: &str| ["user_id", "model"].contains(&name);
        for (target, expected) in [
            ("/p", Ok("/p")),
            ("/p?user_id=alice", Ok("/p?user_id=alice")),
            ("/p?user_id=alice?model=m", Ok("/p?user_id=alice&model=m")),
            ("/p?user_id=alice?model=m&x=1", Ok("/p?user_id=alice&model=m&x=1")),
            ("/p?x=1&model=m?user_id=alice", Ok("/p?x=1&model=m&user_id=alice")),
            ("/p?user_id=alice?model=", Ok("/p?user_id=alice&model=")),
            ("/p?%75ser_id=alice?model=m", Ok("/p?%75ser_id=alice&model=m")),
            ("/p?user_id=al%3Fice", Ok("/p?user_id=al%3Fice")),
            ("/p?other=a?b", Ok("/p?other=a?b")),
            ("/p?other=a?model=m", Ok("/p?other=a?model=m")),
            ("/p?user_id=alice?", Err("user_id")),
            ("/p?user_id=alice?model", Err("user_id")),
            ("/p?user_id=alice?=m", Err("user_id")),
            ("/p?user_id=alice?model=m?x=1", Err("user_id")),
            ("/p?user_id=a?x=1&model=m?n", Err("model")),
        ] {
            let joined = joined(target, read);
            assert_eq!(joined.as_deref().map_err(|name| name.as_str()), expected, "{target}");
        }
    }
}
