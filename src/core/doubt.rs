//! Whether two readers of JSON could find different things under the keys by which an event is judged.
//!
//! Start at [`Keys::check`], or at [`Scan`] for an event that comes in parts. A provider may take the first or the last of two
//! values of one key, read names in any case, or skip a byte order mark; which of that it does is not known. So an event that is
//! judged has to be one JSON object, with each of those keys once and spelled as it is read here. Invariant: what a scan holds is
//! bounded, and so is its stack, whatever comes.

use crate::json::unescaped;
use memchr::memchr2;
use std::fmt;
use std::sync::Arc;

/// The keys of an event by which it is judged, each with those that lead to it. Arrays on the way count as their elements.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    places: Arc<Vec<Vec<&'static str>>>,
    /// All spellings of a name that differ in case and underscores are read here.
    spelled_freely: bool,
}

/// What another reader could take otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// It is no JSON object, or not that alone, or its depth is beyond [`DEPTH_MAX`].
    NotOneObject,
    Twice(&'static str),
    /// A name that some take for this one.
    Spelled(&'static str),
    /// An object or a list where a word should be.
    NoWord(&'static str),
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Doubt::NotOneObject => {
                f.write_str("it is not one JSON object in UTF-8: send nothing before or behind it")
            }
            Doubt::Twice(key) => write!(f, "it has `{key}` twice: send it once"),
            Doubt::Spelled(key) => {
                write!(f, "it has `{key}` in another spelling: write it as it stands here")
            }
            Doubt::NoWord(key) => write!(f, "its `{key}` is an object or a list: send a word"),
        }
    }
}

/// Objects and lists within each other; many readers take no more.
pub const DEPTH_MAX: usize = 128;
/// Longer keys are none of those.
const KEY_BYTES_MAX: usize = 256;
/// Keys that can be told apart.
const PLACES_MAX: usize = 32;

impl Keys {
    /// Of names as `session.model`.
    pub fn of(places: &[&'static str]) -> Keys {
        let places: Vec<Vec<_>> = places.iter().map(|place| place.split('.').collect()).collect();
        debug_assert!(places.len() <= PLACES_MAX);
        Keys { places: Arc::new(places), spelled_freely: false }
    }

    /// With one more, whose name is in pieces.
    pub fn and(mut self, place: &[&'static str]) -> Keys {
        Arc::make_mut(&mut self.places).push(place.to_vec());
        self
    }

    /// The same where every spelling is read.
    pub fn spelled_freely(self) -> Keys {
        Keys { spelled_freely: true, ..self }
    }

    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// # Errors
    /// What of a whole event others could read otherwise; of no keys nothing is.
    pub fn check(&self, event: &[u8]) -> Result<(), Doubt> {
        if self.is_empty() {
            return Ok(());
        }
        let mut scan = Scan::of(self.clone());
        scan.read(event);
        scan.end()
    }
}

/// A look at an event that comes in parts.
#[derive(Debug)]
pub struct Scan {
    keys: Keys,
    levels: Vec<Level>,
    at: At,
    /// What the next value is under.
    under: Under,
    key: Vec<u8>,
    doubt: Option<Doubt>,
}

/// An object or a list that is open.
#[derive(Clone, Copy, Debug)]
struct Level {
    is_list: bool,
    under: Under,
    /// Which of the keys stood in it.
    seen: u32,
}

/// Which of the keys are here or further in, and how many names lead here.
#[derive(Clone, Copy, Debug, Default)]
struct Under {
    alive: u32,
    names: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Value,
    /// A value, or the end of the list.
    FirstElement,
    Key,
    /// A key, or the end of the object.
    FirstKey,
    Colon,
    /// Behind a value: a comma, or the end of what it is in.
    Behind,
    Text {
        is_key: bool,
        escape: Escape,
    },
    /// A number or a word.
    Plain,
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Escape {
    None,
    /// Behind a backslash.
    Begun,
    /// So many digits are left.
    Digits(u8),
}

impl Scan {
    pub fn of(keys: Keys) -> Scan {
        let alive = u32::MAX >> (PLACES_MAX - keys.places.len().clamp(1, PLACES_MAX));
        let under = Under { alive, names: 0 };
        Scan { keys, levels: Vec::new(), at: At::Value, under, key: Vec::new(), doubt: None }
    }

    /// Whether what comes next goes on with a text that is no key.
    pub fn is_within_text(&self) -> bool {
        self.doubt.is_none() && self.at == At::Text { is_key: false, escape: Escape::None }
    }

    /// Reads on.
    pub fn read(&mut self, bytes: &[u8]) {
        let mut at = 0;
        while at < bytes.len() && self.doubt.is_none() {
            match self.step(&bytes[at..]) {
                Ok(read) => at += read,
                Err(doubt) => self.doubt = Some(doubt),
            }
        }
    }

    /// # Errors
    /// What of the event others could read otherwise, now that all of it was read.
    pub fn end(self) -> Result<(), Doubt> {
        match self.doubt {
            Some(doubt) => Err(doubt),
            None if self.at == At::Over => Ok(()),
            None => Err(Doubt::NotOneObject),
        }
    }

    /// Reads some bytes of several; how many.
    fn step(&mut self, bytes: &[u8]) -> Result<usize, Doubt> {
        match self.at {
            At::Text { is_key, escape } => return self.text(bytes, is_key, escape),
            At::Plain => return self.plain(bytes),
            _ => {}
        }
        match (self.at, bytes[0]) {
            (_, b' ' | b'\t' | b'\n' | b'\r') => {}
            (At::Key | At::FirstKey, b'"') => {
                self.key.clear();
                self.at = At::Text { is_key: true, escape: Escape::None };
            }
            (At::Colon, b':') => self.at = At::Value,
            (At::FirstKey, b'}') | (At::FirstElement, b']') => self.close(),
            (At::Behind, byte) => self.behind(byte)?,
            (At::Value | At::FirstElement, byte) => self.begin(byte)?,
            _ => return Err(Doubt::NotOneObject),
        }
        Ok(1)
    }

    /// The first byte of a value.
    fn begin(&mut self, byte: u8) -> Result<(), Doubt> {
        let is_object = byte == b'{';
        let is_outermost = self.levels.is_empty();
        if (is_outermost && !is_object) || self.levels.len() == DEPTH_MAX {
            return Err(Doubt::NotOneObject);
        }
        match byte {
            b'{' | b'[' => {
                if let Some(name) = self.judged().filter(|_| !is_outermost) {
                    return Err(Doubt::NoWord(name));
                }
                self.levels.push(Level { is_list: !is_object, under: self.under, seen: 0 });
                self.at = if is_object { At::FirstKey } else { At::FirstElement };
            }
            b'"' => self.at = At::Text { is_key: false, escape: Escape::None },
            byte if is_plain(byte) => self.at = At::Plain,
            _ => return Err(Doubt::NotOneObject),
        }
        Ok(())
    }

    /// The key whose value comes now, if the event is judged by that.
    fn judged(&self) -> Option<&'static str> {
        let Under { alive, names } = self.under;
        let mut here = self.keys.places.iter().enumerate().filter(|(index, _)| alive & (1 << index) != 0);
        here.find(|(_, place)| place.len() == names).and_then(|(_, place)| place.last().copied())
    }

    fn behind(&mut self, byte: u8) -> Result<(), Doubt> {
        let Some(level) = self.levels.last() else { return Err(Doubt::NotOneObject) };
        match (byte, level.is_list) {
            (b',', true) => (self.at, self.under) = (At::Value, level.under),
            (b',', false) => self.at = At::Key,
            (b']', true) | (b'}', false) => self.close(),
            _ => return Err(Doubt::NotOneObject),
        }
        Ok(())
    }

    fn close(&mut self) {
        self.levels.pop();
        self.at = if self.levels.is_empty() { At::Over } else { At::Behind };
    }

    /// A number or a word, whatever it says, up to what ends it.
    fn plain(&mut self, bytes: &[u8]) -> Result<usize, Doubt> {
        let length = bytes.iter().position(|byte| !is_plain(*byte));
        if length.is_some() {
            self.at = At::Behind;
        }
        Ok(length.unwrap_or(bytes.len()))
    }

    fn text(&mut self, bytes: &[u8], is_key: bool, escape: Escape) -> Result<usize, Doubt> {
        let (escape, length) = match (escape, bytes[0]) {
            (Escape::Begun, b'u') => (Escape::Digits(4), 1),
            (Escape::Begun, b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => (Escape::None, 1),
            (Escape::Digits(1), digit) if digit.is_ascii_hexdigit() => (Escape::None, 1),
            (Escape::Digits(left), digit) if digit.is_ascii_hexdigit() => (Escape::Digits(left - 1), 1),
            (Escape::None, _) => match memchr2(b'"', b'\\', bytes) {
                Some(0) if bytes[0] == b'"' => {
                    self.at = if is_key { At::Colon } else { At::Behind };
                    if is_key {
                        self.take_key()?;
                    }
                    return Ok(1);
                }
                Some(0) => (Escape::Begun, 1),
                found => (Escape::None, found.unwrap_or(bytes.len())),
            },
            _ => return Err(Doubt::NotOneObject),
        };
        if is_key {
            let room = (KEY_BYTES_MAX + 1).saturating_sub(self.key.len());
            self.key.extend_from_slice(&bytes[..length.min(room)]);
        }
        self.at = At::Text { is_key, escape };
        Ok(length)
    }

    /// A key is whole: what its value is under.
    fn take_key(&mut self) -> Result<(), Doubt> {
        let Some(level) = self.levels.last_mut() else { return Err(Doubt::NotOneObject) };
        let Under { alive, names } = level.under;
        self.under = Under { alive: 0, names: names + 1 };
        if alive == 0 || self.key.len() > KEY_BYTES_MAX {
            return Ok(());
        }
        let key = unescaped(&self.key);
        let key = std::str::from_utf8(&key).map_err(|_| Doubt::NotOneObject)?;
        for (index, place) in
            self.keys.places.iter().enumerate().filter(|(index, _)| alive & (1 << index) != 0)
        {
            let Some(name) = place.get(names).filter(|name| is_like(key, name)) else { continue };
            if level.seen & (1 << index) != 0 {
                return Err(Doubt::Twice(name));
            }
            if key != *name && !self.keys.spelled_freely {
                return Err(Doubt::Spelled(name));
            }
            level.seen |= 1 << index;
            self.under.alive |= 1 << index;
        }
        Ok(())
    }
}

/// Whether a byte may be in a number or a word.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+-.".contains(&byte)
}

/// Whether some reader takes one name for the other: by letters alone, in any case.
pub(crate) fn is_like(key: &str, name: &str) -> bool {
    key == name || letters(key).eq(letters(name))
}

fn letters(name: &str) -> impl Iterator<Item = char> {
    // Some small letters, such as the long s, are others' only by their capitals.
    let folded = |letter: char| letter.to_uppercase().flat_map(char::to_lowercase);
    name.chars().filter(|letter| !matches!(letter, '_' | '-')).flat_map(folded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn keys() -> Keys {
        Keys::of(&["type", "session.model", "events.type"])
    }

    #[test]
    fn an_event_that_can_be_read_in_one_way_is_clear() {
        for event in [
            r#"{"type":"a","session":{"model":"m"}}"#,
            " {\n\t\"session\" : { \"x\" : [ 1 , -2.5e+3 , true , null ] , \"model\" : \"m\" } } \r\n",
            r#"{}"#,
            r#"{"\u0074ype":"\"type\":\"b\"","other":{"type":"b","type":"c"},"model":1,"model":2}"#,
            r#"{"events":[{"type":"a"},{"type":"b"},[],"c"],"type":null}"#,
            r#"{"session":[{"model":"a"},{"model":"b"}],"a\\":"\u00e4\/"}"#,
        ] {
            assert_eq!(keys().check(event.as_bytes()), Ok(()), "{event}");
        }
    }

    #[test]
    fn what_two_readers_take_otherwise_is_told() {
        use Doubt::{NoWord, NotOneObject, Spelled, Twice};
        for (event, wanted) in [
            (r#"{"type":"a","type":"b"}"#, Twice("type")),
            (r#"{"type":"a","x":{},"\u0074\u0079pe":"a"}"#, Twice("type")),
            (r#"{"type":"a","Type":"b"}"#, Twice("type")),
            (r#"{"TYPE":"b"}"#, Spelled("type")),
            ("{\"\u{17f}ession\":{\"model\":\"m\"}}", Spelled("session")),
            (r#"{"session":{"model":"a"},"session":{}}"#, Twice("session")),
            (r#"{"session":{"model":"a","mo_del":"b"}}"#, Twice("model")),
            (r#"{"events":[{"type":"a"},{"type":"a","type":"b"}]}"#, Twice("type")),
            (r#"{"type":["a"]}"#, NoWord("type")),
            (r#"{"session":{"model":{"name":"a"}}}"#, NoWord("model")),
            ("\u{feff}{\"type\":\"a\"}", NotOneObject),
            (r#"[{"type":"a"}]"#, NotOneObject),
            (r#"{"type":"a"}{"type":"b"}"#, NotOneObject),
            (r#"{"type":"a"},"#, NotOneObject),
            (r#"{"type":"a""#, NotOneObject),
            (r#"{"type":"a",}"#, NotOneObject),
            (r#"{"a":/*,"type":"a"*/1}"#, NotOneObject),
            (r#"{'a':1}"#, NotOneObject),
            (r#"{"a":[1}"#, NotOneObject),
            (r#"{"a":"\x"}"#, NotOneObject),
            (r#"{"a":"\u00","type":"a"}"#, NotOneObject),
            (r#"{"a" 1}"#, NotOneObject),
            ("\"type\"", NotOneObject),
            ("type", NotOneObject),
            ("", NotOneObject),
        ] {
            assert_eq!(keys().check(event.as_bytes()), Err(wanted), "{event}");
        }
        let deep = [r#"{"a":"#, &"[".repeat(DEPTH_MAX), &"]".repeat(DEPTH_MAX), "}"].concat();
        assert_eq!(keys().check(deep.as_bytes()), Err(NotOneObject));
        let wide: Vec<u8> = "{\"type\":\"a\"}".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(keys().check(&wide), Err(NotOneObject), "in UTF-16");
        assert_eq!(Keys::default().check(b"nothing is judged"), Ok(()));
    }

    #[test]
    fn where_every_spelling_is_read_one_of_them_is_clear() {
        let keys = keys().spelled_freely();
        assert_eq!(keys.check(br#"{"Session":{"MODEL":"m"}}"#), Ok(()));
        assert_eq!(keys.check(br#"{"session":{},"ses_sion":{}}"#), Err(Doubt::Twice("session")));
    }

    proptest! {
        #[test]
        fn parts_tell_what_the_whole_does(events in prop::collection::vec("[\\[{}\\],:\"\\\\ut0ype1. ]{0,12}", 0..8), at: usize) {
            let event = events.concat().replace("yp", "{\"type\":\"u\",");
            let (first, rest) = event.as_bytes().split_at(at % (event.len() + 1));
            let mut scan = Scan::of(keys());
            scan.read(first);
            rest.chunks(1).for_each(|byte| scan.read(byte));
            prop_assert_eq!(scan.end(), keys().check(event.as_bytes()));
        }

        /// What is strict JSON is refused for a key alone, and what is none is never clear.
        #[test]
        fn what_is_clear_is_json(bytes: Vec<u8>, text in "[{}\\[\\],:\"a1 ]{0,16}") {
            for bytes in [&bytes[..], text.as_bytes()] {
                let is_object = serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(bytes).is_ok();
                if is_object {
                    prop_assert_eq!(keys().check(bytes), Ok(()));
                } else if keys().check(bytes).is_ok() {
                    // A word that is none ends no other value.
                    prop_assert!(bytes.iter().any(|byte| is_plain(*byte)));
                }
            }
        }
    }
}
