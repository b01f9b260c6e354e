//! How a session or a response shall look and misbehave, read from text that passes through unaltered SDKs.
//!
//! The text is a comma-separated list of `key`, `key=value` and `fault@point=value`; `:` serves as `=` where
//! that saves escaping. Later words win; a response starts from its session's words. `tokload provider --help`
//! prints [`HELP`].

use super::formula::Turn;
use crate::ws::{BINARY, TEXT};
use str0m::format::Codec;
use tokenist_core::usage::{KINDS, Usage};

/// What one send of a blast carries unless something else is asked for.
pub(crate) const SEND_BYTES: usize = 64 << 10;

/// Every word there is.
pub(crate) const HELP: &str = "\
Words (comma-separated) of --sim, of ?sim= and x-sim at the handshake, of OpenAI's response.metadata.sim, and of (sim
WORDS) in what is written to Gemini:
 shape     chunks=N  chunk_bytes=BYTES (raw audio a delta)  pace=speech|MS (between deltas; 0: as fast as possible)
           OpenAI: status=completed|incomplete|content_filter|failed
           Gemini: tool (calls the first function that the setup declares, and says the rest when that is answered)
 usage     usage=once|null|absent|empty  OpenAI: twice|toplevel (translation: session.closed states it)
           Gemini: after (in a message behind the turn's last)|with_audio (behind the last audio, in one message)
           text_in= audio_in= image_in= cached_text= cached_audio= cached_image= text_out= audio_out= reasoning=
           tool_prompt= (the part of text_in that a tool has brought)
           context=TEXT:AUDIO:PERCENT (a response reads so many tokens of each, and all that was sent and said since; so
           much of what the one before it read is cached)
 bytes     split=N (N bytes a send)  bytewise (split=1)  fragment=N (N bytes a frame, a ping between)  binary  text
 faults    die  reset  stall  runaway  close=CODE:REASON  giant=BYTES  giant_header=BYTES  invalid_json
           odd=masked|rsv1|opcode|long_ping|split_ping|bad_close|bad_utf8
           go_away=MS (closes in so many ms; Gemini says so first)
           each at a point: fault@greeting|created|middle|end|done (before a response's last message is end, after it done)
           calm (forgets the faults named so far)
 handshake delay_ms=N  silent  refuse=STATUS[:RETRY_AFTER_SECONDS]  protocol=NAME  extension=TEXT
 session   vad=MS (commit and answer after MS of audio)  ping_ms=N  model=NAME (whatever the client says)
           deaf (what would end a response is not heard)
 calls     sound=tone|echo|none (what is heard of responses, or what comes, or nothing)  codec=pcmu|pcma|opus
           OpenAI: nameless (no event names the model)  same_ids (every response is resp_1)  type_last (the event's type
           stands at its end)  Gemini: compact (no blanks and lines)
 load      load=echo | load=blast:BYTES[:SEND_BYTES] | load=speech:BYTES:MS
           over HTTP: load=words:CHUNKS:BYTES:MS (so many pieces of so many bytes, each with the moment of its sending)
Over HTTP (chat completions, responses, embeddings, speech, transcriptions, pictures, decisions, messages, generateContent), of
x-sim, of ?sim= and of metadata.sim: chunks
pace=speech|MS usage=once|null|absent|empty text_in= cached_text= text_out= reasoning= split=N bytewise model=NAME delay_ms=N silent
compress=gzip|deflate|br[:unasked] (to clients that accept it, or to all)
refuse=STATUS[:RETRY_AFTER_SECONDS], and of faults die reset stall runaway. ?audit= and metadata.audit say whom the audit counts.";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sim {
    pub(crate) chunks: u32,
    pub(crate) chunk_bytes: usize,
    pub(crate) pace: Pace,
    pub(crate) status: Status,
    pub(crate) usage: UsageForm,
    /// What a response reads follows from the conversation, not from the formula.
    pub(crate) context: Option<Base>,
    /// Counts that take the formula's place.
    pub(crate) fixed: Vec<(Kind, u64)>,
    /// Of a response that follows a tool's answer, the input that this brought.
    pub(crate) tool_prompt: Option<u64>,
    /// A response calls a tool before it answers, if the client has told of one.
    pub(crate) tool: bool,
    /// 0 sends every frame whole.
    pub(crate) split_bytes: usize,
    /// 0 sends every message in one frame.
    pub(crate) fragment_bytes: usize,
    /// Of the frames that messages come in; the dialect's own unless it is set.
    pub(crate) opcode: Option<u8>,
    pub(crate) faults: Vec<(Point, Fault)>,
    pub(crate) delay_ms: u64,
    pub(crate) silent: bool,
    pub(crate) refuse: Option<(u16, Option<u64>)>,
    pub(crate) protocol: Option<String>,
    pub(crate) extension: Option<String>,
    pub(crate) vad_ms: Option<u64>,
    pub(crate) ping_ms: u64,
    pub(crate) model: Option<String>,
    /// No event tells the model, which is billed all the same.
    pub(crate) nameless: bool,
    /// Does not stop when it is asked to.
    pub(crate) deaf: bool,
    /// Uses one id for all responses of a session.
    pub(crate) same_ids: bool,
    pub(crate) type_last: bool,
    /// Messages that the service lays out in lines come in one.
    pub(crate) compact: bool,
    pub(crate) load: Option<Load>,
    /// What is heard on a call.
    pub(crate) sound: Sound,
    /// In what, if not in the first of Opus, PCMU and PCMA that the client knows.
    pub(crate) codec: Option<Codec>,
    /// The coding of answers over HTTP, to whoever accepts it.
    pub(crate) compress: Option<Coding>,
    /// And to all others.
    pub(crate) compress_unasked: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    Gzip,
    Deflate,
    Brotli,
}

impl Coding {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Coding::Gzip => "gzip",
            Coding::Deflate => "deflate",
            Coding::Brotli => "br",
        }
    }
}

/// What is heard on a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sound {
    /// A tone as long as a response speaks, then silence.
    Tone,
    /// What comes, packet by packet.
    Echo,
    Nothing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// As long as the chunk takes to play.
    Speech,
    Millis(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Completed,
    Incomplete,
    ContentFilter,
    Failed,
}

/// How the end of a response tells the usage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UsageForm {
    Once,
    /// The whole event twice, with one response id.
    Twice,
    Null,
    Absent,
    Empty,
    /// `response.usage` is `{}` and the figures stand beside it, as xAI does.
    TopLevel,
    /// In a message of its own behind the one that ends the turn.
    After,
    /// Behind the last audio, in the same message.
    WithAudio,
}

/// A kind of count, by its place in the table of kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kind(usize);

/// A conversation as it begins, in tokens, and how much of it the cache holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Base {
    pub(crate) text: u64,
    pub(crate) audio: u64,
    pub(crate) cached_percent: u64,
}

/// When in a session or response a fault happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Point {
    /// After the greeting.
    Greeting,
    /// After the response has begun.
    Created,
    /// After half of the chunks.
    Middle,
    /// Before its end.
    End,
    /// After its end.
    Done,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Die,
    Reset,
    Stall,
    /// Audio until the session ends.
    Runaway,
    Close(u16, String),
    /// Tells that the connection will end in so many milliseconds, and ends it then.
    GoAway(u64),
    Giant(usize),
    /// The header of a frame that never comes.
    GiantHeader(u64),
    InvalidJson,
    Odd(Odd),
}

/// Frames that break RFC 6455.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Odd {
    Masked,
    Rsv1,
    /// A reserved opcode.
    Opcode,
    /// A ping with more than 125 bytes.
    LongPing,
    /// A ping without FIN.
    SplitPing,
    /// A close with one byte of payload.
    BadClose,
    BadUtf8,
}

/// A session that is only load: prebuilt events, no turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Load {
    Echo,
    /// Whole events, as many as fit into `send_bytes` and at least one, in each send.
    Blast {
        event_bytes: usize,
        send_bytes: usize,
    },
    Speech {
        event_bytes: usize,
        period_ms: u64,
    },
    /// Of an answer over HTTP: how many pieces of how many bytes of text, and how long after the one before each is said.
    Words {
        chunks: u32,
        text_bytes: usize,
        period_ms: u64,
    },
}

impl Default for Sim {
    fn default() -> Sim {
        Sim {
            chunks: 4,
            chunk_bytes: 4_800,
            pace: Pace::Millis(0),
            status: Status::Completed,
            usage: UsageForm::Once,
            context: None,
            fixed: Vec::new(),
            tool_prompt: None,
            tool: false,
            split_bytes: 0,
            fragment_bytes: 0,
            opcode: None,
            faults: Vec::new(),
            delay_ms: 0,
            silent: false,
            refuse: None,
            protocol: None,
            extension: None,
            vad_ms: None,
            ping_ms: 20_000,
            model: None,
            nameless: false,
            deaf: false,
            same_ids: false,
            type_last: false,
            compact: false,
            load: None,
            sound: Sound::Tone,
            codec: None,
            compress: None,
            compress_unasked: false,
        }
    }
}

impl Sim {
    /// This with the words of `text` applied; the error names the word that is not understood.
    pub(crate) fn with(&self, text: &str) -> Result<Sim, String> {
        let mut sim = self.clone();
        for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            sim.apply(word).ok_or_else(|| format!("not understood: {word:?}"))?;
        }
        Ok(sim)
    }

    fn apply(&mut self, word: &str) -> Option<()> {
        let (key, value) = word.split_once(['=', ':']).unwrap_or((word, ""));
        match key {
            "chunks" => self.chunks = value.parse().ok()?,
            "chunk_bytes" | "audio_chunk_bytes" => self.chunk_bytes = value.parse().ok()?,
            "pace" if value == "speech" => self.pace = Pace::Speech,
            "pace" => self.pace = Pace::Millis(value.parse().ok()?),
            "status" => self.status = Status::parse(value)?,
            "usage" => self.usage = UsageForm::parse(value)?,
            "context" => self.context = Some(Base::parse(value)?),
            "split" => self.split_bytes = value.parse().ok()?,
            "bytewise" => self.split_bytes = 1,
            "fragment" => self.fragment_bytes = value.parse().ok()?,
            "binary" => self.opcode = Some(BINARY),
            "text" => self.opcode = Some(TEXT),
            "tool" => self.tool = true,
            "tool_prompt" => self.tool_prompt = Some(value.parse().ok()?),
            "delay_ms" => self.delay_ms = value.parse().ok()?,
            "silent" => self.silent = true,
            "refuse" => {
                let (status, retry) = value.split_once(':').map_or((value, None), |(s, r)| (s, Some(r)));
                let retry = retry.map(|seconds| seconds.parse().ok()).map_or(Some(None), |s| s.map(Some))?;
                self.refuse = Some((status.parse().ok()?, retry));
            }
            "protocol" => self.protocol = Some(value.to_owned()),
            "extension" => self.extension = Some(value.to_owned()),
            "vad" => self.vad_ms = Some(value.parse().ok()?),
            "ping_ms" => self.ping_ms = value.parse().ok()?,
            "calm" => self.faults.clear(),
            "model" => self.model = Some(value.to_owned()),
            "nameless" => self.nameless = true,
            "deaf" => self.deaf = true,
            "same_ids" => self.same_ids = true,
            "type_last" => self.type_last = true,
            "compact" => self.compact = true,
            "compress" => {
                let (coding, manner) = value.split_once(':').map_or((value, None), |(c, m)| (c, Some(m)));
                let mut codings = [Coding::Gzip, Coding::Deflate, Coding::Brotli].into_iter();
                self.compress = Some(codings.find(|known| known.name() == coding)?);
                self.compress_unasked =
                    manner.map_or(Some(false), |manner| (manner == "unasked").then_some(true))?;
            }
            "load" => self.load = Some(Load::parse(value)?),
            "sound" => self.sound = Sound::parse(value)?,
            "codec" => {
                let known = [("pcmu", Codec::PCMU), ("pcma", Codec::PCMA), ("opus", Codec::Opus)];
                self.codec = Some(known.into_iter().find(|(name, _)| *name == value)?.1);
            }
            _ => match Kind::parse(key) {
                Some(kind) => self.fixed.push((kind, value.parse().ok()?)),
                None => self.faults.push(fault(key, value)?),
            },
        }
        Some(())
    }

    /// The formula's usage with the counts that were asked for in their place.
    pub(crate) fn fix(&self, usage: Usage) -> Usage {
        let mut counts = usage.counts();
        for &(Kind(index), count) in &self.fixed {
            counts[index] = count;
        }
        Usage::of(counts).clamped()
    }

    /// The id of the response that this turn asked for.
    pub(crate) fn response_id(&self, turn: Turn) -> String {
        match self.same_ids {
            true => "resp_1".to_owned(),
            false => format!("resp_{:08x}{:06x}", turn.session, turn.turn),
        }
    }

    pub(crate) fn faults_at(&self, point: Point) -> impl Iterator<Item = &Fault> {
        self.faults.iter().filter(move |(at, _)| *at == point).map(|(_, fault)| fault)
    }
}

impl Fault {
    /// Whether it is one of the frames that messages come in, and so of a socket alone.
    pub(crate) fn is_of_frames(&self) -> bool {
        matches!(self, Fault::Odd(_) | Fault::GiantHeader(_))
    }
}

impl Sound {
    fn parse(text: &str) -> Option<Sound> {
        Some(match text {
            "tone" => Sound::Tone,
            "echo" => Sound::Echo,
            "none" => Sound::Nothing,
            _ => return None,
        })
    }
}

impl Status {
    fn parse(text: &str) -> Option<Status> {
        Some(match text {
            "completed" => Status::Completed,
            "incomplete" => Status::Incomplete,
            "content_filter" => Status::ContentFilter,
            "failed" => Status::Failed,
            _ => return None,
        })
    }
}

impl UsageForm {
    fn parse(text: &str) -> Option<UsageForm> {
        Some(match text {
            "once" => UsageForm::Once,
            "twice" => UsageForm::Twice,
            "null" => UsageForm::Null,
            "absent" => UsageForm::Absent,
            "empty" => UsageForm::Empty,
            "toplevel" => UsageForm::TopLevel,
            "after" => UsageForm::After,
            "with_audio" => UsageForm::WithAudio,
            _ => return None,
        })
    }
}

impl Base {
    fn parse(text: &str) -> Option<Base> {
        let mut parts = text.split(':').map(|part| part.parse().ok());
        let base = Base { text: parts.next()??, audio: parts.next()??, cached_percent: parts.next()?? };
        (parts.next().is_none() && base.cached_percent <= 100).then_some(base)
    }
}

impl Kind {
    /// A name of the table; `cached_text` and its like go without their `_in`, and `reasoning` without its `_out`.
    fn parse(text: &str) -> Option<Kind> {
        let name = match text {
            "reasoning" => "reasoning_out".to_owned(),
            short if short.starts_with("cached_") => format!("{}_in", short.trim_end_matches("_in")),
            name => name.to_owned(),
        };
        KINDS.iter().position(|kind| *kind == name).map(Kind)
    }
}

impl Load {
    fn parse(text: &str) -> Option<Load> {
        let parts: Vec<&str> = text.split(':').collect();
        Some(match parts[..] {
            ["echo"] => Load::Echo,
            ["blast", bytes] => Load::Blast { event_bytes: bytes.parse().ok()?, send_bytes: SEND_BYTES },
            ["blast", bytes, send_bytes] => {
                Load::Blast { event_bytes: bytes.parse().ok()?, send_bytes: send_bytes.parse().ok()? }
            }
            ["speech", bytes, ms] => Load::Speech {
                event_bytes: bytes.parse().ok()?,
                period_ms: ms.parse().ok().filter(|&ms| ms > 0)?,
            },
            ["words", chunks, bytes, ms] => Load::Words {
                chunks: chunks.parse().ok()?,
                text_bytes: bytes.parse().ok()?,
                period_ms: ms.parse().ok()?,
            },
            _ => return None,
        })
    }
}

fn fault(key: &str, value: &str) -> Option<(Point, Fault)> {
    let (name, point) = key.split_once('@').map_or((key, None), |(name, point)| (name, Some(point)));
    let fault = match name {
        "die" => Fault::Die,
        "reset" => Fault::Reset,
        "stall" => Fault::Stall,
        "runaway" => Fault::Runaway,
        "close" => {
            let (code, reason) = value.split_once(':').unwrap_or((value, ""));
            Fault::Close(code.parse().ok()?, reason.to_owned())
        }
        "go_away" => Fault::GoAway(value.parse().ok()?),
        "giant" => Fault::Giant(value.parse().ok()?),
        "giant_header" => Fault::GiantHeader(value.parse().ok()?),
        "invalid_json" => Fault::InvalidJson,
        "odd" => Fault::Odd(match value {
            "masked" => Odd::Masked,
            "rsv1" => Odd::Rsv1,
            "opcode" => Odd::Opcode,
            "long_ping" => Odd::LongPing,
            "split_ping" => Odd::SplitPing,
            "bad_close" => Odd::BadClose,
            "bad_utf8" => Odd::BadUtf8,
            _ => return None,
        }),
        _ => return None,
    };
    let point = match point {
        None if matches!(fault, Fault::Close(..) | Fault::GoAway(_)) => Point::Done,
        None | Some("middle") => Point::Middle,
        Some("greeting") => Point::Greeting,
        Some("created") => Point::Created,
        Some("end") => Point::End,
        Some("done") => Point::Done,
        Some(_) => return None,
    };
    Some((point, fault))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_understood_with_either_sign() {
        let sim = Sim::default()
            .with("chunks=9, pace:speech,usage:twice,die,close@created=4000:a b:c,giant@end:20000000,bytewise,text_in=7")
            .unwrap();
        assert_eq!(
            (sim.chunks, sim.pace, sim.usage, sim.split_bytes),
            (9, Pace::Speech, UsageForm::Twice, 1)
        );
        assert_eq!(
            sim.faults,
            [
                (Point::Middle, Fault::Die),
                (Point::Created, Fault::Close(4000, "a b:c".into())),
                (Point::End, Fault::Giant(20_000_000)),
            ]
        );
        assert_eq!(sim.fix(Usage::default()).text_in, 7);
        let sim = sim.with("text_out=9,reasoning=8,audio_in=6,cached_audio=5").unwrap();
        let usage = sim.fix(Usage::default());
        assert_eq!((usage.reasoning_out, usage.audio_in, usage.cached_audio_in), (8, 6, 5));
        assert_eq!(sim.with("calm,stall").unwrap().faults, [(Point::Middle, Fault::Stall)]);
        let sim = sim.with("context=20000:500:90").unwrap();
        assert_eq!(sim.context, Some(Base { text: 20_000, audio: 500, cached_percent: 90 }));
        let sim = sim.with("load=speech:8192:40,refuse=429:3,close=1000").unwrap();
        assert_eq!(sim.load, Some(Load::Speech { event_bytes: 8192, period_ms: 40 }));
        let packed = sim.with("compress=br:unasked").unwrap();
        assert_eq!((packed.compress, packed.compress_unasked), (Some(Coding::Brotli), true));
        assert_eq!(sim.refuse, Some((429, Some(3))));
        assert_eq!(sim.faults.last(), Some(&(Point::Done, Fault::Close(1000, String::new()))));
    }

    #[test]
    fn a_word_that_is_not_understood_is_named() {
        for word in [
            "chunks=x",
            "die@noon",
            "usage=thrice",
            "go_away",
            "texts=1",
            "audio=1",
            "load=speech:1:0",
            "odd=fish",
            "context=1:2",
            "context=1:2:101",
            "refuse=429:x",
            "nonsense",
            "compress=zstd",
            "compress=gzip:now",
        ] {
            assert_eq!(Sim::default().with(word), Err(format!("not understood: {word:?}")));
        }
    }
}
