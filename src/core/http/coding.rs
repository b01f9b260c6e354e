//! The content behind an answer's coding, piece by piece: which codings are read, and which of a client's go up.
//!
//! Start at [`Coding::of`] and [`Decoder::decode`]. Invariant: what is held of a body is a window of its coding, which is 32 KiB
//! of gzip and deflate, and of br as much as its beginning says, 16 MiB at most; however much comes out of it.

use super::Headers;
use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use flate2::{Decompress, FlushDecompress, Status};
use std::fmt;

/// A coding that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    Gzip,
    Deflate,
    Brotli,
}

/// Content in a coding that is not known, or in several, or that is not what its coding says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadCoding;

impl Coding {
    /// In which coding an answer under these headers comes; `None` in none.
    ///
    /// # Errors
    /// In one that is not read, or in more than one.
    pub fn of(headers: &Headers) -> Result<Option<Coding>, BadCoding> {
        let mut coded =
            headers.tokens("content-encoding").filter(|word| !word.eq_ignore_ascii_case("identity"));
        match (coded.next(), coded.next()) {
            (None, _) => Ok(None),
            (Some(word), None) => Coding::parse(word).map(Some).ok_or(BadCoding),
            (Some(_), Some(_)) => Err(BadCoding),
        }
    }

    fn parse(word: &str) -> Option<Coding> {
        let is = |name: &str| word.eq_ignore_ascii_case(name);
        match () {
            () if is("gzip") || is("x-gzip") => Some(Coding::Gzip),
            () if is("deflate") => Some(Coding::Deflate),
            () if is("br") => Some(Coding::Brotli),
            () => None,
        }
    }

    /// What of a client's `Accept-Encoding` a provider may be asked for, with its weights: gzip and deflate. The window of br is
    /// another matter where many answers are under way. `None`: nothing, and so for `identity`.
    pub fn wanted(headers: &Headers) -> Option<String> {
        let is_wanted = |offer: &&str| {
            let (name, weight) = offer.split_once(';').unwrap_or((offer, ""));
            let weight = weight.trim().strip_prefix("q=").unwrap_or("1");
            let is_refused = weight.bytes().all(|digit| matches!(digit, b'0' | b'.'));
            let name = name.trim();
            !is_refused && matches!(Coding::parse(name), Some(Coding::Gzip | Coding::Deflate))
        };
        let wanted: Vec<&str> = headers.tokens("accept-encoding").filter(is_wanted).collect();
        Some(wanted.join(", ")).filter(|wanted| !wanted.is_empty())
    }
}

/// Reads content in a coding.
pub struct Decoder {
    engine: Engine,
    /// The content is whole, as far as its coding can tell: there is none, or it has come to its end.
    is_whole: bool,
    is_begun: bool,
    /// Behind its end something else has come, after which nothing counts.
    is_padded: bool,
}

enum Engine {
    /// Of deflate the first byte tells in which of its two forms it comes.
    Unknown,
    Inflate(Decompress),
    Gzip(Decompress),
    Brotli(Box<BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>>),
}

/// How far one call has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decoded {
    pub taken: usize,
    pub written: usize,
}

/// Of gzip and deflate, as a power of two.
const WINDOW_BITS: u8 = 15;
/// How a member of gzip begins; what else stands behind one is padding.
const GZIP_START: u8 = 0x1f;

impl Decoder {
    pub fn new(coding: Coding) -> Decoder {
        let engine = match coding {
            Coding::Gzip => Engine::Gzip(Decompress::new_gzip(WINDOW_BITS)),
            Coding::Deflate => Engine::Unknown,
            // No window beyond what RFC 7932 has.
            Coding::Brotli => Engine::Brotli(Box::new(BrotliState::new_strict(
                StandardAlloc::default(),
                StandardAlloc::default(),
                StandardAlloc::default(),
            ))),
        };
        Decoder { engine, is_whole: true, is_begun: false, is_padded: false }
    }

    /// Decodes some of `coded` into `plain`. There may be more to write, also of nothing that is new, as long as `plain` was filled;
    /// else all of `coded` was taken.
    ///
    /// # Errors
    /// The content is not what its coding says.
    pub fn decode(&mut self, coded: &[u8], plain: &mut [u8]) -> Result<Decoded, BadCoding> {
        let mut done = Decoded { taken: 0, written: 0 };
        loop {
            let step = self.step(&coded[done.taken..], &mut plain[done.written..])?;
            done = Decoded { taken: done.taken + step.taken, written: done.written + step.written };
            let is_stuck = step == Decoded { taken: 0, written: 0 };
            if is_stuck || done.written == plain.len() {
                return Ok(done);
            }
        }
    }

    /// Whether the content may end here.
    pub fn is_whole(&self) -> bool {
        self.is_whole
    }

    fn step(&mut self, coded: &[u8], plain: &mut [u8]) -> Result<Decoded, BadCoding> {
        if !self.is_begun && !coded.is_empty() {
            (self.is_begun, self.is_whole) = (true, false);
        }
        if self.is_whole {
            return self.behind(coded, plain);
        }
        match &mut self.engine {
            Engine::Unknown => {
                if let Some(first) = coded.first() {
                    self.engine = Engine::Inflate(Decompress::new(has_header(*first)));
                    return self.step(coded, plain);
                }
                Ok(Decoded { taken: 0, written: 0 })
            }
            Engine::Inflate(engine) | Engine::Gzip(engine) => {
                let (taken, written) = (engine.total_in(), engine.total_out());
                let status = engine.decompress(coded, plain, FlushDecompress::None).map_err(|_| BadCoding)?;
                self.is_whole = status == Status::StreamEnd;
                Ok(Decoded {
                    taken: (engine.total_in() - taken) as usize,
                    written: (engine.total_out() - written) as usize,
                })
            }
            Engine::Brotli(state) => {
                let (mut coded_left, mut room) = (coded.len(), plain.len());
                let (mut taken, mut written, mut total) = (0, 0, 0);
                let result = BrotliDecompressStream(
                    &mut coded_left,
                    &mut taken,
                    coded,
                    &mut room,
                    &mut written,
                    plain,
                    &mut total,
                    state,
                );
                self.is_whole = matches!(result, BrotliResult::ResultSuccess);
                match result {
                    BrotliResult::ResultFailure => Err(BadCoding),
                    _ => Ok(Decoded { taken, written }),
                }
            }
        }
    }

    /// Behind the end of the content: another member of gzip, or nothing that counts.
    fn behind(&mut self, coded: &[u8], plain: &mut [u8]) -> Result<Decoded, BadCoding> {
        self.is_padded |= coded.first().is_some_and(|first| *first != GZIP_START);
        let goes_on = !self.is_padded && !coded.is_empty();
        if let (Engine::Gzip(engine), true) = (&mut self.engine, goes_on) {
            *engine = Decompress::new_gzip(WINDOW_BITS);
            self.is_whole = false;
            return self.step(coded, plain);
        }
        Ok(Decoded { taken: coded.len(), written: 0 })
    }
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let engine = match self.engine {
            Engine::Unknown | Engine::Inflate(_) => "deflate",
            Engine::Gzip(_) => "gzip",
            Engine::Brotli(_) => "br",
        };
        write!(f, "Decoder({engine})")
    }
}

/// Whether deflate comes as zlib has it, which RFC 9110 means and which some leave out.
fn has_header(first: u8) -> bool {
    first & 0x0f == 8 && first >> 4 <= 7
}
