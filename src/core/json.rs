//! Finds fields in an event's JSON bytes without building a tree, also where the bytes are cut short.
//!
//! Start at [`Fields`]. Invariant: no bytes make it fail, recurse or allocate for a value that nobody asked for;
//! what cannot be read ends the walk, and what was read before stays good.
//!
//! Why not a JSON library? They give up a whole event for one bad byte, and what stack and memory they take for a
//! provider's bytes is not ours to bound: one event could end the process with all its sessions.

use memchr::memmem::Finder;
use memchr::{memchr, memchr2};
use std::borrow::Cow;

/// The fields of one object, in the order in which they come, from bytes that may end anywhere. A key that comes
/// twice is yielded twice.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    bytes: &'a [u8],
    at: usize,
    place: Place,
}

/// How a walk ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// At the object's own brace.
    Closed,
    /// The bytes ran out.
    Cut,
    /// At something that is not JSON.
    Malformed,
}

#[derive(Clone, Copy, Debug)]
pub struct Field<'a> {
    pub key: Text<'a>,
    pub value: Value<'a>,
    /// The bytes run out within the value, of which this is the beginning.
    pub cut: bool,
}

#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    Text(Text<'a>),
    /// With its braces; [`Fields::of`] walks it.
    Object(&'a [u8]),
    Array(&'a [u8]),
    /// A number, `true`, `false`, `null`, or what stands where one of them should.
    Plain(&'a [u8]),
}

/// What stands between the quotes of a JSON string.
#[derive(Clone, Copy, Debug)]
pub struct Text<'a> {
    pub raw: &'a [u8],
    escaped: bool,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    BeforeFirst,
    BeforeNext,
    Ended(End),
}

/// Larger figures than this (a trillion) in one event are nobody's usage; they are taken for unreadable, so that a
/// provider's slip cannot poison a total for ever.
pub const COUNT_MAX: u64 = 1_000_000_000_000;

impl<'a> Fields<'a> {
    /// Of the object that `bytes` begin with, white space aside.
    pub fn of(bytes: &'a [u8]) -> Fields<'a> {
        let mut fields = Fields { bytes, at: 0, place: Place::BeforeFirst };
        match fields.peek() {
            Some(b'{') => fields.at += 1,
            Some(_) => fields.place = Place::Ended(End::Malformed),
            None => fields.place = Place::Ended(End::Cut),
        }
        fields
    }

    /// Where the next field's value begins can be told from how many bytes have been walked.
    pub fn walked(&self) -> usize {
        self.at
    }

    /// How the walk ended; `None` while it goes on.
    pub fn end(&self) -> Option<End> {
        match self.place {
            Place::BeforeFirst | Place::BeforeNext => None,
            Place::Ended(end) => Some(end),
        }
    }

    fn field(&mut self) -> Result<Field<'a>, End> {
        match (self.place, self.peek().ok_or(End::Cut)?) {
            (Place::Ended(end), _) => return Err(end),
            (_, b'}') => return Err(End::Closed),
            (Place::BeforeNext, b',') => self.at += 1,
            (Place::BeforeNext, _) => return Err(End::Malformed),
            (Place::BeforeFirst, _) => {}
        }
        self.place = Place::BeforeNext;
        self.expect(b'"')?;
        let (key, cut) = self.text();
        if cut {
            return Err(End::Cut);
        }
        self.expect(b':')?;
        let (value, cut) = self.value()?;
        if cut {
            self.place = Place::Ended(End::Cut);
        }
        Ok(Field { key, value, cut })
    }

    fn value(&mut self) -> Result<(Value<'a>, bool), End> {
        let start = match self.peek().ok_or(End::Cut)? {
            b'"' => {
                self.at += 1;
                let (text, cut) = self.text();
                return Ok((Value::Text(text), cut));
            }
            b'{' | b'[' => self.at,
            _ => return self.plain(),
        };
        let end = nested_end(self.bytes, start);
        self.at = end.unwrap_or(self.bytes.len());
        let raw = &self.bytes[start..self.at];
        Ok((if raw[0] == b'{' { Value::Object(raw) } else { Value::Array(raw) }, end.is_none()))
    }

    fn plain(&mut self) -> Result<(Value<'a>, bool), End> {
        let rest = &self.bytes[self.at..];
        let found =
            rest.iter().position(|byte| matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r'));
        let length = found.unwrap_or(rest.len());
        if length == 0 {
            return Err(End::Malformed);
        }
        self.at += length;
        Ok((Value::Plain(&rest[..length]), found.is_none()))
    }

    /// The string whose opening quote has been passed, and whether the bytes end in it.
    fn text(&mut self) -> (Text<'a>, bool) {
        let start = self.at;
        let mut escaped = false;
        let end = string_end(self.bytes, start, &mut escaped);
        let stop = end.unwrap_or(self.bytes.len());
        self.at = end.map_or(stop, |end| end + 1);
        (Text { raw: &self.bytes[start..stop], escaped }, end.is_none())
    }

    fn expect(&mut self, wanted: u8) -> Result<(), End> {
        match self.peek() {
            Some(byte) if byte == wanted => {
                self.at += 1;
                Ok(())
            }
            Some(_) => Err(End::Malformed),
            None => Err(End::Cut),
        }
    }

    /// The next byte that is not white space.
    #[inline]
    fn peek(&mut self) -> Option<u8> {
        loop {
            match *self.bytes.get(self.at)? {
                b' ' | b'\t' | b'\n' | b'\r' => self.at += 1,
                byte => return Some(byte),
            }
        }
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    #[inline]
    fn next(&mut self) -> Option<Field<'a>> {
        self.field().map_err(|end| self.place = Place::Ended(end)).ok()
    }
}

/// The values of one array, in their order, from bytes that may end anywhere; with each, whether they run out in it.
#[derive(Clone, Debug)]
pub struct Elements<'a>(Fields<'a>);

impl<'a> Elements<'a> {
    fn of(raw: &'a [u8]) -> Elements<'a> {
        // Behind the opening bracket.
        Elements(Fields { bytes: raw, at: 1, place: Place::BeforeFirst })
    }

    fn element(&mut self) -> Result<(Value<'a>, bool), End> {
        let walk = &mut self.0;
        match (walk.place, walk.peek().ok_or(End::Cut)?) {
            (Place::Ended(end), _) => return Err(end),
            (_, b']') => return Err(End::Closed),
            (Place::BeforeNext, b',') => walk.at += 1,
            (Place::BeforeNext, _) => return Err(End::Malformed),
            (Place::BeforeFirst, _) => {}
        }
        walk.place = Place::BeforeNext;
        let (value, cut) = walk.value()?;
        if cut {
            walk.place = Place::Ended(End::Cut);
        }
        Ok((value, cut))
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = (Value<'a>, bool);

    fn next(&mut self) -> Option<(Value<'a>, bool)> {
        self.element().map_err(|end| self.0.place = Place::Ended(end)).ok()
    }
}

impl<'a> Value<'a> {
    pub fn elements(self) -> Option<Elements<'a>> {
        match self {
            Value::Array(raw) => Some(Elements::of(raw)),
            Value::Text(_) | Value::Object(_) | Value::Plain(_) => None,
        }
    }

    pub fn fields(self) -> Option<Fields<'a>> {
        match self {
            Value::Object(raw) => Some(Fields::of(raw)),
            Value::Text(_) | Value::Array(_) | Value::Plain(_) => None,
        }
    }

    pub fn text(self) -> Option<Text<'a>> {
        match self {
            Value::Text(text) => Some(text),
            Value::Object(_) | Value::Array(_) | Value::Plain(_) => None,
        }
    }

    /// A number, also one that is written as a string; none that is negative, since nothing can be un-used.
    pub fn number(self) -> Option<f64> {
        let raw = match self {
            Value::Plain(raw) | Value::Text(Text { raw, escaped: false }) => raw,
            Value::Text(_) | Value::Object(_) | Value::Array(_) => return None,
        };
        if let Some(whole) = whole(raw) {
            return Some(whole as f64);
        }
        let text = std::str::from_utf8(raw).ok()?.trim_ascii();
        // Rust would also read `nan` and `infinity`, which are words here.
        text.starts_with(|first: char| first == '-' || first.is_ascii_digit()).then_some(())?;
        text.parse::<f64>().ok().filter(|number| (0.0..=COUNT_MAX as f64).contains(number))
    }

    /// Whether this should state how much of something was used, and states what nobody can have used.
    pub fn misstates(self) -> bool {
        self.number().is_none() && !matches!(self, Value::Plain(b"null"))
    }

    /// A whole number of something; fractions are rounded up.
    pub fn count(self) -> Option<u64> {
        self.number().map(|number| number.ceil() as u64)
    }
}

/// How counts are written, nearly all of them: in a few digits, none of which a float would lose.
fn whole(raw: &[u8]) -> Option<u64> {
    if raw.is_empty() || raw.len() > 12 {
        return None;
    }
    raw.iter().try_fold(0, |number, byte| byte.is_ascii_digit().then(|| number * 10 + u64::from(byte - b'0')))
}

impl<'a> Text<'a> {
    pub fn is(&self, wanted: &str) -> bool {
        *self.bytes() == *wanted.as_bytes()
    }

    /// The text itself as bytes, for comparing it with names.
    #[inline]
    pub fn bytes(&self) -> Cow<'a, [u8]> {
        if !self.escaped {
            return Cow::Borrowed(self.raw);
        }
        Cow::Owned(self.decode().into_owned().into_bytes())
    }

    /// The text itself. Escapes that make no sense and bytes that are not UTF-8 come out as they can.
    pub fn decode(&self) -> Cow<'a, str> {
        if self.escaped {
            let quoted = [b"\"", self.raw, b"\""].concat();
            if let Ok(text) = serde_json::from_slice::<String>(&quoted) {
                return Cow::Owned(text);
            }
        }
        String::from_utf8_lossy(self.raw)
    }
}

/// What stands between quotes, without its escapes.
pub(crate) fn unescaped(raw: &[u8]) -> Cow<'_, [u8]> {
    Text { raw, escaped: memchr(b'\\', raw).is_some() }.bytes()
}

/// The first field's text, if the bytes begin with `{"key":"` and the text is whole and without escapes: how most
/// events state their type. `opening` is that beginning.
#[inline]
pub fn leading_text<'a>(bytes: &'a [u8], opening: &[u8]) -> Option<&'a [u8]> {
    plain_text(bytes.strip_prefix(opening)?)
}

/// What comes after `,"key":"`, which is what `marker` finds. In JSON those bytes are a field and never part of a text,
/// since there the quote would have a backslash before it; only the depth stays untold.
#[inline]
pub fn text_after<'a>(bytes: &'a [u8], marker: &Finder<'_>) -> Option<&'a [u8]> {
    bytes.get(marker.find(bytes)? + marker.needle().len()..)
}

/// The bytes up to the closing quote; `None` if there is an escape before it, or no end.
#[inline]
pub fn plain_text(bytes: &[u8]) -> Option<&[u8]> {
    let end = first_special(bytes)?;
    (bytes[end] == b'"').then(|| &bytes[..end])
}

/// The index of the closing quote of a string whose text begins at `at`.
#[inline]
pub(crate) fn string_end(bytes: &[u8], mut at: usize, escaped: &mut bool) -> Option<usize> {
    loop {
        let found = at + first_special(bytes.get(at..)?)?;
        if bytes[found] == b'"' {
            return Some(found);
        }
        *escaped = true;
        at = found + 2;
    }
}

/// The index of the first quote or backslash. Most strings are short, so the first steps are taken here, eight bytes
/// at a time; what is longer is left to SIMD.
#[inline]
pub(crate) fn first_special(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    // The lowest set bit is right: false ones can only lie above a true one.
    let zero_byte = |word: u64| word.wrapping_sub(ONES) & !word & (ONES << 7);
    let (words, _) = bytes.as_chunks::<8>();
    let steps = words.iter().take(4);
    let stepped = steps.len() * 8;
    for (index, word) in steps.enumerate() {
        let word = u64::from_le_bytes(*word);
        let found = zero_byte(word ^ (ONES * b'"' as u64)) | zero_byte(word ^ (ONES * b'\\' as u64));
        if found != 0 {
            return Some(index * 8 + found.trailing_zeros() as usize / 8);
        }
    }
    memchr2(b'"', b'\\', &bytes[stepped..]).map(|found| stepped + found)
}

/// The index after the object or array that opens at `at`. Brackets are counted, not matched: which kind closes is
/// the business of whoever believes the bytes to be JSON.
fn nested_end(bytes: &[u8], mut at: usize) -> Option<usize> {
    let mut depth = 0usize;
    loop {
        match *bytes.get(at)? {
            b'"' => at = string_end(bytes, at + 1, &mut false)?,
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth == 1 => return Some(at + 1),
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn walk(json: &str) -> (Vec<String>, End) {
        let mut fields = Fields::of(json.as_bytes());
        let shown = fields
            .by_ref()
            .map(|field| {
                let value = match field.value {
                    Value::Text(text) => format!("'{}'", text.decode()),
                    Value::Object(raw) | Value::Array(raw) | Value::Plain(raw) => {
                        String::from_utf8_lossy(raw).into_owned()
                    }
                };
                format!("{}={value}{}", field.key.decode(), if field.cut { "…" } else { "" })
            })
            .collect();
        (shown, fields.end().expect("an exhausted walk has ended"))
    }

    #[test]
    fn fields_are_found_wherever_the_bytes_end() {
        for (json, fields, end) in [
            (r#"{}"#, &[][..], End::Closed),
            (r#" { "a" : "b" , "c" : 1 } "#, &["a='b'", "c=1"], End::Closed),
            (
                r#"{"a":{"type":"x"},"b":["}",{}],"c":null}"#,
                &[r#"a={"type":"x"}"#, r#"b=["}",{}]"#, "c=null"],
                End::Closed,
            ),
            (r#"{"a":"\"type\":\"x\"","\u0062":"\\"}"#, &[r#"a='"type":"x"'"#, r"b='\'"], End::Closed),
            (r#"{"a":1,"a":2}"#, &["a=1", "a=2"], End::Closed),
            (r#"{"a":"b"#, &["a='b'…"], End::Cut),
            (r#"{"a":"b\"#, &[r"a='b\'…"], End::Cut),
            (r#"{"a":{"b":"#, &[r#"a={"b":…"#], End::Cut),
            (r#"{"a":12"#, &["a=12…"], End::Cut),
            (r#"{"a":1,"#, &["a=1"], End::Cut),
            (r#"{"a":1,"b"#, &["a=1"], End::Cut),
            ("", &[], End::Cut),
            (r#"["a"]"#, &[], End::Malformed),
            (r#"{"a":1 "b":2}"#, &["a=1"], End::Malformed),
            (r#"{"a":,"b":2}"#, &[], End::Malformed),
            (r#"{a:1}"#, &[], End::Malformed),
        ] {
            assert_eq!(walk(json), (fields.iter().map(|field| field.to_string()).collect(), end), "{json}");
        }
    }

    #[test]
    fn numbers_are_read_as_kindly_as_sense_allows() {
        for (json, count) in [
            ("12", Some(12)),
            ("12.0", Some(12)),
            ("12.2", Some(13)),
            ("1.2e1", Some(12)),
            ("\"12\"", Some(12)),
            ("-5", None),
            ("-0.1", None),
            ("-1e400", None),
            ("-0.0", Some(0)),
            ("999999999999", Some(999_999_999_999)),
            ("1e13", None),
            ("1e400", None),
            ("null", None),
            ("true", None),
            ("nan", None),
            ("\"infinity\"", None),
            ("\"twelve\"", None),
            ("\"\"", None),
            ("{}", None),
            ("[12]", None),
        ] {
            let json = format!("{{\"n\":{json}}}");
            let field = Fields::of(json.as_bytes()).next().unwrap();
            assert_eq!(field.value.count(), count, "{json}");
        }
    }

    #[test]
    fn the_values_of_an_array_are_found_wherever_the_bytes_end() {
        for (json, elements, cut) in [
            (r#"{"a":[]}"#, &[][..], false),
            (r#"{"a":[ "b" , {"c":[1]},2 , null ]}"#, &["b", r#"{"c":[1]}"#, "2", "null"], false),
            (r#"{"a":["b","cut of"#, &["b", "cut of"], true),
            (r#"{"a":[{"b":"#, &[r#"{"b":"#], true),
            (r#"{"a":["b" "c"]}"#, &["b"], false),
            (r#"{"a":["#, &[], false),
        ] {
            let field = Fields::of(json.as_bytes()).next().unwrap();
            let mut last_cut = false;
            let found: Vec<String> = field
                .value
                .elements()
                .unwrap()
                .map(|(value, cut)| {
                    last_cut = cut;
                    match value {
                        Value::Text(text) => text.decode().into_owned(),
                        Value::Object(raw) | Value::Array(raw) | Value::Plain(raw) => {
                            String::from_utf8_lossy(raw).into_owned()
                        }
                    }
                })
                .collect();
            assert_eq!(
                (found, last_cut),
                (elements.iter().map(|text| text.to_string()).collect(), cut),
                "{json}"
            );
        }
        assert!(Fields::of(br#"{"a":1}"#).next().unwrap().value.elements().is_none());
    }

    #[test]
    fn what_is_skipped_takes_no_stack() {
        // A walk that went down into its levels would not come back from so small a stack.
        let (levels, stack_bytes) = (4_000, 32 << 10);
        let json = format!("{{\"a\":{}", "[1,{\"b\":".repeat(levels / 2));
        let walk = move || Fields::of(json.as_bytes()).next().is_some_and(|field| field.cut);
        let walker = std::thread::Builder::new().stack_size(stack_bytes).spawn(walk).unwrap();
        assert!(walker.join().unwrap(), "it is read to its end, and is cut there");
    }

    proptest! {
        #[test]
        fn the_first_quote_or_backslash_is_found(text in "[a\"\\\\!#\\[\\]\u{80}-\u{ff}]{0,80}", plain in 0usize..80) {
            let bytes = [&vec![b'a'; plain], text.as_bytes()].concat();
            let found = bytes.iter().position(|byte| matches!(byte, b'"' | b'\\'));
            prop_assert_eq!(first_special(&bytes), found);
        }

        #[test]
        fn no_bytes_make_it_fail(bytes: Vec<u8>) {
            for field in Fields::of(&bytes) {
                field.key.decode();
                field.value.count();
                field.value.fields().map(Iterator::count);
                field.value.elements().map(Iterator::count);
            }
        }

        #[test]
        fn nothing_that_looks_like_json_makes_it_fail(text in "[{}\\[\\]\",:\\\\a1 ]{0,64}") {
            Fields::of(text.as_bytes()).for_each(|field| { field.key.decode(); });
        }
    }
}
