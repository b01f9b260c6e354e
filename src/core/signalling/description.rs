//! Session descriptions (SDP) of calls that are relayed: what of an offer or an answer can be served, and the answer to an offer
//! with as many lines as were offered.
//!
//! Start at [`Description::read`]. Of a description's lines one of sound and one of data are taken; [`Description::only`] writes
//! it without the others, and [`Description::answer`] puts those into an answer to that. Invariant: what is read is bounded, and
//! an answer has the offer's lines in the offer's order (RFC 3264 §6), whoever has made it.

use std::fmt;

/// Lines of media of one description.
pub const LINES_MAX: usize = 32;
/// Candidates of one description; none of them is needed.
pub const CANDIDATES_MAX: usize = 256;
/// The longest line of text.
pub const TEXT_BYTES_MAX: usize = 4 << 10;
/// What may be sent to whoever does not say (RFC 8841 §6.1).
pub const MESSAGE_BYTES_UNSTATED: u64 = 64 << 10;

/// A description that keeps to all bounds.
#[derive(Clone, PartialEq, Eq)]
pub struct Description {
    session: Vec<String>,
    lines: Vec<Line>,
    /// Of `lines`, those that are taken.
    audio: Option<usize>,
    data: Option<usize>,
}

/// A line of media, `m=`, with all that belongs to it.
#[derive(Clone, PartialEq, Eq)]
struct Line(Vec<String>);

/// A codec of sound that passes packet by packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    Opus,
    Pcmu,
    Pcma,
}

/// Which way sound goes, as a description's writer sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Both,
    Sends,
    Receives,
    Neither,
}

/// What is wrong with a description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong(String);

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Description {
    /// Reads an offer or an answer.
    ///
    /// # Errors
    /// It goes beyond a bound, or nothing of it can be served.
    pub fn read(text: &[u8]) -> Result<Description, Wrong> {
        let text = std::str::from_utf8(text).map_err(|_| wrong("it is no text"))?;
        let (mut session, mut lines) = (Vec::new(), Vec::<Line>::new());
        let mut candidates = 0;
        for line in text.lines().map(str::trim_end).filter(|line| !line.is_empty()) {
            // To some a line ends there.
            if line.contains(char::is_control) {
                return Err(wrong("a line of it holds a control character"));
            }
            if line.len() > TEXT_BYTES_MAX {
                return Err(wrong(&format!("a line of it has more than {TEXT_BYTES_MAX} bytes")));
            }
            candidates += usize::from(line.starts_with(CANDIDATE));
            match (line.starts_with("m="), lines.last_mut()) {
                (true, _) => lines.push(Line(vec![line.to_owned()])),
                (false, Some(last)) => last.0.push(line.to_owned()),
                (false, None) => session.push(line.to_owned()),
            }
        }
        for (count, max, what) in
            [(lines.len(), LINES_MAX, "lines of media"), (candidates, CANDIDATES_MAX, "candidates")]
        {
            if count > max {
                return Err(wrong(&format!("it has {count} {what}, more than {max}")));
            }
        }
        let mut description = Description { session, lines, audio: None, data: None };
        description.take()?;
        description.check()?;
        Ok(description)
    }

    /// Takes the first lines of sound and of data that are not refused, where they come on one transport.
    fn take(&mut self) -> Result<(), Wrong> {
        let bundle = self.bundle();
        let is_live = |line: &Line| line.port() != "0" || line.mid().is_some_and(|mid| bundle.contains(&mid));
        let first =
            |serves: fn(&Line) -> bool| self.lines.iter().position(|line| serves(line) && is_live(line));
        let audio = first(|line| line.kind() == "audio" && !line.codecs().is_empty());
        let data = first(|line| line.kind() == "application" && line.word(2).contains("SCTP"));
        let is_bundled = |at: usize| self.lines[at].mid().is_some_and(|mid| bundle.contains(&mid));
        // Of two lines that do not share a transport the first is served.
        let (audio, data) = match (audio, data) {
            (Some(audio), Some(data)) if !is_bundled(audio) || !is_bundled(data) => {
                if audio < data {
                    (Some(audio), None)
                } else {
                    (None, Some(data))
                }
            }
            both => both,
        };
        (self.audio, self.data) = (audio, data);
        match self.audio.is_some() || self.data.is_some() {
            true => Ok(()),
            false => Err(wrong(
                "it has neither a line of sound (m=audio, in Opus, PCMU or PCMA) nor one of data (m=application, over SCTP)",
            )),
        }
    }

    /// What no transport can be without.
    fn check(&self) -> Result<(), Wrong> {
        for (name, at_least) in [("a=ice-ufrag:", 4), ("a=ice-pwd:", 22), ("a=fingerprint:", 1)] {
            let value = self.attribute(name).unwrap_or_default();
            if value.len() < at_least {
                return Err(wrong(&format!("it has no {}", name.trim_end_matches(':'))));
            }
        }
        if self.attribute(SETUP).is_some_and(|setup| !["actpass", "active", "passive"].contains(&setup)) {
            return Err(wrong("its a=setup is none of actpass, active and passive"));
        }
        let mids: Vec<&str> = self.lines.iter().filter_map(Line::mid).collect();
        if (1..mids.len()).any(|at| mids[..at].contains(&mids[at])) {
            return Err(wrong("two of its lines of media have the same a=mid"));
        }
        let line = self.taken().next().map(|at| &self.lines[at]);
        match line.is_some_and(|line| line.mid().is_none()) && self.lines.len() > 1 {
            true => Err(wrong("its lines of media have no a=mid")),
            false => Ok(()),
        }
    }

    fn bundle(&self) -> Vec<&str> {
        let group = self.session.iter().find_map(|line| line.strip_prefix(BUNDLE));
        group.map(|mids| mids.split(' ').collect()).unwrap_or_default()
    }

    /// Of the lines that are taken, or of the session.
    fn attribute(&self, prefix: &str) -> Option<&str> {
        let of_lines = self.taken().flat_map(|at| &self.lines[at].0);
        self.session.iter().chain(of_lines).find_map(|line| line.strip_prefix(prefix))
    }

    fn taken(&self) -> impl Iterator<Item = usize> + '_ {
        let mut taken: Vec<usize> = self.audio.into_iter().chain(self.data).collect();
        taken.sort_unstable();
        taken.into_iter()
    }

    /// Whether its writer answers checks alone (RFC 8445 §2.5).
    pub fn is_ice_lite(&self) -> bool {
        self.session.iter().any(|line| line == "a=ice-lite")
    }

    pub fn has_audio(&self) -> bool {
        self.audio.is_some()
    }

    pub fn has_data(&self) -> bool {
        self.data.is_some()
    }

    /// The name of its line of sound.
    pub fn audio_mid(&self) -> Option<&str> {
        self.lines[self.audio?].mid()
    }

    /// Of its line of sound, the codecs that can pass, in its order.
    pub fn codecs(&self) -> Vec<Codec> {
        self.audio.map(|at| self.lines[at].codecs()).unwrap_or_default()
    }

    pub fn direction(&self) -> Direction {
        let Some(line) = self.audio.map(|at| &self.lines[at]) else { return Direction::Neither };
        let said = line.0.iter().chain(&self.session).find_map(|text| match &**text {
            "a=sendrecv" => Some(Direction::Both),
            "a=sendonly" => Some(Direction::Sends),
            "a=recvonly" => Some(Direction::Receives),
            "a=inactive" => Some(Direction::Neither),
            _ => None,
        });
        said.unwrap_or(Direction::Both)
    }

    /// The longest message that its writer takes, in bytes; 0 stands for any (RFC 8841 §6).
    pub fn message_bytes_max(&self) -> u64 {
        let said = self.attribute("a=max-message-size:").and_then(|said| said.trim().parse().ok());
        match said.unwrap_or(MESSAGE_BYTES_UNSTATED) {
            0 => u64::MAX,
            said => said,
        }
    }

    /// Its candidates, each as it is written behind `a=`.
    pub fn candidates(&self) -> impl Iterator<Item = &str> {
        let of_lines = self.lines.iter().flat_map(|line| &line.0);
        let candidates = self.session.iter().chain(of_lines).filter(|line| line.starts_with(CANDIDATE));
        candidates.map(|line| &line["a=".len()..])
    }

    /// The same without the lines that are not taken and without any candidate; also without sound, where that `has_no_sound`.
    pub fn only(&self, has_no_sound: bool) -> String {
        let audio = self.audio.filter(|_| has_no_sound);
        let lines: Vec<&Line> =
            self.taken().filter(|at| Some(*at) != audio).map(|at| &self.lines[at]).collect();
        let mids: Vec<&str> = lines.iter().filter_map(|line| line.mid()).collect();
        let session = self.session.iter().filter(|line| !line.starts_with("a=group:"));
        let group = (!mids.is_empty()).then(|| format!("{BUNDLE}{}", mids.join(" ")));
        let lines = lines.iter().flat_map(|line| line.live());
        let all = session.cloned().chain(group).chain(lines);
        joined(all.filter(|line| !is_of_candidates(line)))
    }

    /// The same without any candidate.
    pub fn plain(&self) -> String {
        let lines = self.lines.iter().flat_map(|line| &line.0);
        let all = self.session.iter().chain(lines);
        joined(all.filter(|line| !is_of_candidates(line)).cloned())
    }

    /// The answer to all of it, of one to [`Description::only`]. `None`: that has fewer lines than it was offered.
    pub fn answer(&self, answer: &str, has_no_sound: bool) -> Option<String> {
        let (mut session, mut answers) = (Vec::new(), Vec::<Line>::new());
        for line in answer.lines().filter(|line| !line.is_empty()) {
            match (line.starts_with("m="), answers.last_mut()) {
                (true, _) => answers.push(Line(vec![line.to_owned()])),
                (false, Some(last)) => last.0.push(line.to_owned()),
                (false, None) => session.push(line.to_owned()),
            }
        }
        let audio = self.audio.filter(|_| has_no_sound);
        let taken: Vec<usize> = self.taken().filter(|at| Some(*at) != audio).collect();
        let mut answers = answers.into_iter();
        let mut text: Vec<String> = session.into_iter().filter_map(|line| self.grouped(line)).collect();
        for (at, line) in self.lines.iter().enumerate() {
            match taken.contains(&at) {
                true => text.extend(answers.next()?.0),
                false => text.extend(line.refused().0),
            }
        }
        Some(joined(text.into_iter()))
    }

    /// A line of an answer's session: nothing is bundled that was not offered so (RFC 9143 §7.3.1).
    fn grouped(&self, line: String) -> Option<String> {
        let Some(mids) = line.strip_prefix(BUNDLE) else { return Some(line) };
        let offered = self.bundle();
        let mids: Vec<&str> = mids.split(' ').filter(|mid| offered.contains(mid)).collect();
        (!mids.is_empty()).then(|| format!("{BUNDLE}{}", mids.join(" ")))
    }
}

const CANDIDATE: &str = "a=candidate:";
const SETUP: &str = "a=setup:";
const BUNDLE: &str = "a=group:BUNDLE ";

fn is_of_candidates(line: &str) -> bool {
    line.starts_with(CANDIDATE) || line == "a=end-of-candidates"
}

fn wrong(what: &str) -> Wrong {
    Wrong(what.to_owned())
}

fn joined(lines: impl Iterator<Item = String>) -> String {
    lines.map(|line| line + "\r\n").collect()
}

impl Line {
    /// Of `m=audio 9 UDP/TLS/RTP/SAVPF 111`, by place: kind, port, protocol.
    fn word(&self, place: usize) -> &str {
        self.0[0]["m=".len()..].split(' ').nth(place).unwrap_or_default()
    }

    fn kind(&self) -> &str {
        self.word(0)
    }

    fn port(&self) -> &str {
        self.word(1)
    }

    fn mid(&self) -> Option<&str> {
        self.0.iter().find_map(|line| line.strip_prefix("a=mid:")).map(str::trim)
    }

    /// Those of its formats that can pass, each once.
    fn codecs(&self) -> Vec<Codec> {
        let mut codecs = Vec::new();
        for codec in self.0[0].split(' ').skip(3).filter_map(|format| self.codec(format)) {
            if !codecs.contains(&codec) {
                codecs.push(codec);
            }
        }
        codecs
    }

    /// What a format of its media is, by the name that the line gives it or else by its number (RFC 3551 §6).
    fn codec(&self, format: &str) -> Option<Codec> {
        let named = self.0.iter().find_map(|line| {
            let (number, name) = line.strip_prefix("a=rtpmap:")?.split_once(' ')?;
            (number == format).then_some(name)
        });
        let name = match (named, format) {
            (Some(name), _) => name.to_ascii_lowercase(),
            (None, "0") => "pcmu/8000".to_owned(),
            (None, "8") => "pcma/8000".to_owned(),
            (None, _) => return None,
        };
        match &*name {
            "opus/48000/2" => Some(Codec::Opus),
            "pcmu/8000" | "pcmu/8000/1" => Some(Codec::Pcmu),
            "pcma/8000" | "pcma/8000/1" => Some(Codec::Pcma),
            _ => None,
        }
    }

    /// All of it, as one that is wanted: those of a bundle are also offered with port 0 (RFC 9143 §6).
    fn live(&self) -> impl Iterator<Item = String> + '_ {
        let first = match self.port() {
            "0" => self.0[0].replacen(" 0 ", " 9 ", 1),
            _ => self.0[0].clone(),
        };
        std::iter::once(first).chain(self.0[1..].iter().filter(|line| *line != "a=bundle-only").cloned())
    }

    /// What says no to it: the same kind, protocol and formats at port 0.
    fn refused(&self) -> Line {
        let formats = self.0[0].splitn(4, ' ').nth(3).unwrap_or("0");
        let media = format!("m={} 0 {} {formats}", self.kind(), self.word(2));
        let mid = self.mid().map(|mid| format!("a=mid:{mid}"));
        let text = [media, "c=IN IP4 0.0.0.0".to_owned(), "a=inactive".to_owned()];
        Line(text.into_iter().chain(mid).collect())
    }
}

/// Addresses are in it, which are for nobody to see.
impl fmt::Debug for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Description({} lines of media)", self.lines.len())
    }
}

#[cfg(test)]
mod tests;
