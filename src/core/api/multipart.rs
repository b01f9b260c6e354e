//! A form as it is uploaded, wherever its bytes are split: the fields that tell what is asked for, and how long a file is.
//!
//! Start at [`Multipart::read`]. Invariant: what is held is the head of a part, a short field or the head of a file, and
//! as much of the end as could be the beginning of a boundary.

mod sound;

use super::Asked;
use crate::dialect::Content;
use memchr::memmem::Finder;

#[cfg(test)]
mod tests;

#[derive(Debug)]
pub struct Multipart {
    /// The second half of a line break, two dashes and the boundary.
    delimiter: Finder<'static>,
    place: Place,
    pending: Vec<u8>,
    part: Part,
    asked: Asked,
    problem: Option<&'static str>,
    /// All parts, where they are wanted whole.
    kept: Option<Vec<(String, Vec<u8>)>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In what stands before the first boundary, or in a part.
    Body,
    /// Behind a boundary.
    Delimiter,
    Head,
    /// Behind the last boundary, or where nothing can be read any more.
    Over,
}

#[derive(Debug, Default)]
struct Part {
    name: String,
    is_file: bool,
    /// How it begins.
    head: Vec<u8>,
    bytes: u64,
}

/// A longer head of a part is none that an SDK writes.
const PART_HEAD_BYTES_MAX: usize = 8 << 10;
/// Longer fields are text that nobody has to know.
const FIELD_BYTES_MAX: usize = 4 << 10;

impl Multipart {
    /// Of a request's `Content-Type`; `None` if that names no form with a boundary.
    pub fn of(content_type: &str) -> Option<Multipart> {
        let (kind, parameters) = content_type.split_once(';')?;
        kind.trim().eq_ignore_ascii_case("multipart/form-data").then_some(())?;
        let stated = Parameters::of(parameters);
        let boundary = stated.one("boundary").filter(|boundary| !boundary.is_empty())?.to_owned();
        let problem = stated.problem("boundary").map(|_| BOUNDARIES);
        let delimiter = Finder::new(format!("\n--{boundary}").as_bytes()).into_owned();
        // The first boundary may have nothing before it.
        let pending = b"\r\n".to_vec();
        let (part, asked) = (Part::default(), Asked { images: 1, ..Asked::default() });
        Some(Multipart { delimiter, place: Place::Body, pending, part, asked, problem, kept: None })
    }

    /// The parts of a form that is held whole, by name and in their order.
    ///
    /// # Errors
    /// Why readers could take it for another one.
    pub fn whole(content_type: &str, body: &[u8]) -> Result<Vec<(String, Vec<u8>)>, &'static str> {
        let mut form = Multipart::of(content_type).ok_or("its Content-Type gives the form no boundary")?;
        form.kept = Some(Vec::new());
        form.read(body);
        match form.problem {
            Some(problem) => Err(problem),
            None if form.place != Place::Over => Err("the form has no end: its last boundary is missing"),
            // What stands before the first boundary is no part.
            None => Ok(form.kept.unwrap_or_default().split_off(1)),
        }
    }

    /// Reads on.
    pub fn read(&mut self, bytes: &[u8]) {
        if self.place == Place::Over {
            return;
        }
        self.pending.extend_from_slice(bytes);
        while self.step() {}
    }

    /// What is asked for, as far as it has come.
    pub fn asked(&self) -> &Asked {
        &self.asked
    }

    /// Whether the last boundary has come, or nothing can be read any more.
    pub fn is_over(&self) -> bool {
        self.place == Place::Over
    }

    /// Why it must go to no provider, which might read something else in it.
    pub fn problem(&self) -> Option<&'static str> {
        self.problem
    }

    /// Whether there was anything to be read.
    fn step(&mut self) -> bool {
        match self.place {
            Place::Over => {
                self.pending = Vec::new();
                false
            }
            Place::Body => self.body(),
            Place::Delimiter => self.delimiter_end(),
            Place::Head => self.head(),
        }
    }

    fn body(&mut self) -> bool {
        let found = self.delimiter.find(&self.pending);
        let needle = self.delimiter.needle().len();
        // What ends the line before a boundary is no part of what stands there; to some readers half of that is enough.
        if found.is_some_and(|at| at == 0 || self.pending[at - 1] != b'\r') {
            return self.give_up(LINE_ENDS);
        }
        let length = found.map_or(self.pending.len().saturating_sub(needle), |at| at - 1);
        let room = if self.kept.is_some() { usize::MAX } else { FIELD_BYTES_MAX };
        self.part.add(&self.pending[..length], room);
        self.pending.drain(..found.map_or(length, |at| at + needle));
        if found.is_some() {
            self.end_part();
            self.place = Place::Delimiter;
        }
        found.is_some()
    }

    /// Behind a boundary comes a line break, or two dashes if it was the last one.
    fn delimiter_end(&mut self) -> bool {
        let blanks = self.pending.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        let Some(two) = self.pending.get(blanks..blanks + 2) else {
            return blanks > PART_HEAD_BYTES_MAX && self.give_up("there is no end to a boundary of the form");
        };
        self.place = match two {
            b"\r\n" => Place::Head,
            b"--" => Place::Over,
            _ => return self.give_up("something follows a boundary of the form"),
        };
        // The line break may be the one that ends a head without fields.
        self.pending.drain(..blanks);
        true
    }

    fn head(&mut self) -> bool {
        let Some(end) = memchr::memmem::find(&self.pending, b"\r\n\r\n") else {
            return self.pending.len() > PART_HEAD_BYTES_MAX
                && self.give_up("the head of a part of the form is too long");
        };
        match Part::of(&String::from_utf8_lossy(&self.pending[..end])) {
            Ok(part) => self.part = part,
            Err(problem) => return self.give_up(problem),
        }
        // An empty part has its boundary at once, whose line break is this one.
        self.pending.drain(..end + 4);
        self.place = Place::Body;
        true
    }

    fn give_up(&mut self, problem: &'static str) -> bool {
        (self.place, self.problem) = (Place::Over, self.problem.or(Some(problem)));
        true
    }

    fn end_part(&mut self) {
        let part = std::mem::take(&mut self.part);
        if let Some(kept) = &mut self.kept {
            return kept.push((part.name, part.head));
        }
        let asked = &mut self.asked;
        if part.is_file {
            let is_picture = part.name.starts_with("image") || part.name == "mask";
            match is_picture {
                true => asked.content = asked.content.plus(Content { images: 1, ..Content::default() }),
                false => asked.sound_ms += sound::length_ms(&part.head, part.bytes),
            }
            return;
        }
        let text = String::from_utf8_lossy(&part.head).trim().to_owned();
        let is_whole = part.bytes <= FIELD_BYTES_MAX as u64 && !text.is_empty();
        match part.name.as_str() {
            "model" if asked.model.as_ref().is_some_and(|model| *model != text) => {
                self.problem = Some("the form names two models");
            }
            "model" if is_whole => asked.model = Some(text),
            "stream" => asked.streams = text == "true",
            "n" => asked.images = text.parse().unwrap_or(1),
            "prompt" => asked.content.text_bytes += part.bytes,
            _ => {}
        }
    }
}

/// Why readers could take a form for two.
const BOUNDARIES: &str = "its Content-Type gives the boundary in two ways: give it once, without a backslash";
const FOLDED: &str = "the head of a part of the form has a line that goes on in the next: write it as one";
const LINE_ENDS: &str = "a line of the form ends without CR and LF: end each with both";
const NAMED_TWICE: &str = "a part of the form gives its name in two ways: give it once, as name=\"…\"";
const QUOTED: &str = "a part of the form has a quote within a quoted name: write it as %22";

impl Part {
    fn of(head: &str) -> Result<Part, &'static str> {
        let mut part = None;
        for line in head.split("\r\n") {
            if line.contains(['\r', '\n']) {
                return Err(LINE_ENDS);
            }
            if line.starts_with([' ', '\t']) {
                return Err(FOLDED);
            }
            let Some((name, value)) = line.split_once(':') else { continue };
            if name.trim().eq_ignore_ascii_case("content-disposition") {
                let stated = Parameters::of(value);
                if let Some(problem) = stated.problem("name").or(part.is_some().then_some(NAMED_TWICE)) {
                    return Err(problem);
                }
                let is_file = ["filename", "filename*"].iter().any(|name| stated.one(name).is_some());
                let name = stated.one("name").unwrap_or_default().to_owned();
                part = Some(Part { name, is_file, ..Part::default() });
            }
        }
        Ok(part.unwrap_or_default())
    }

    fn add(&mut self, bytes: &[u8], head_bytes_max: usize) {
        let room = head_bytes_max.saturating_sub(self.head.len());
        self.head.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.bytes += bytes.len() as u64;
    }
}

/// The parameters of a header's value, such as `name="…"`, in their order.
#[derive(Debug, Default)]
struct Parameters {
    named: Vec<(String, String)>,
    /// A quoted value holds a quote, which to some readers ends it.
    is_quoted_within: bool,
}

impl Parameters {
    fn of(value: &str) -> Parameters {
        let mut found = Parameters::default();
        let mut rest = value;
        loop {
            rest = rest.trim_start_matches([';', ' ', '\t']);
            if rest.is_empty() {
                return found;
            }
            let end = rest.find(['=', ';']).unwrap_or(rest.len());
            let name = rest[..end].trim();
            rest = &rest[end..];
            let Some(value) = rest.strip_prefix('=') else { continue };
            let (text, after) = match value.strip_prefix('"') {
                Some(quoted) => unquoted(quoted),
                None => {
                    let end = value.find(';').unwrap_or(value.len());
                    (value[..end].trim().to_owned(), &value[end..])
                }
            };
            found.is_quoted_within |= text.contains('"');
            found.named.push((name.to_ascii_lowercase(), text));
            rest = after;
        }
    }

    /// The first of a name.
    fn one(&self, wanted: &str) -> Option<&str> {
        self.named.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str())
    }

    /// Why readers could take another value than the first for that of this name.
    fn problem(&self, wanted: &str) -> Option<&'static str> {
        let is_of = |(name, _): &&(String, String)| name.split('*').next() == Some(wanted);
        let mut all = self.named.iter().filter(is_of);
        let is_plain = all.next().is_none_or(|(name, _)| name == wanted) && all.next().is_none();
        match (is_plain, self.is_quoted_within) {
            (false, _) => Some(NAMED_TWICE),
            (true, true) => Some(QUOTED),
            (true, false) => None,
        }
    }
}

/// A quoted text behind its first quote, and what follows it.
fn unquoted(quoted: &str) -> (String, &str) {
    let mut text = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (text, &quoted[at + 1..]),
            '\\' => text.extend(characters.next().map(|(_, escaped)| escaped)),
            character => text.push(character),
        }
    }
    (text, "")
}
