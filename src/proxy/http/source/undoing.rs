//! Content without the coding that it comes in, a buffer at a time.

use super::{HEADROOM, Lost, Portion, Source};
use crate::io::buffer::{BUFFER_BYTES, Pool};
use tokenist_core::http::body::BadBody;
use tokenist_core::http::coding::{Coding, Decoded, Decoder};

pub(super) struct Undoing {
    decoder: Decoder,
    /// What came and is not decoded yet.
    coded: Option<Portion>,
}

/// What stands behind a chunk fits here, so that chunk and all leave in one write.
const TAILROOM: usize = 16;

impl Undoing {
    pub(super) fn new(coding: Coding) -> Undoing {
        Undoing { decoder: Decoder::new(coding), coded: None }
    }

    /// The portion that comes next, as it came.
    pub(super) fn add(&mut self, coded: Portion) {
        self.coded = Some(coded);
    }

    /// The next content; `None` if more has to come for that.
    pub(super) fn next(&mut self, source: &mut Source, pool: &Pool) -> Result<Option<Portion>, Lost> {
        let Some(mut coded) = self.coded.take() else { return Ok(None) };
        let mut buffer = pool.take().map_err(Lost::Io)?;
        let room = HEADROOM..BUFFER_BYTES - TAILROOM;
        let decoded = self
            .decoder
            .decode(&coded.buffer.bytes()[coded.content.clone()], &mut buffer.bytes_mut()[room.clone()]);
        let Decoded { taken, written } = match decoded {
            Ok(decoded) => decoded,
            Err(_) => {
                source.take_back(coded.buffer);
                return Err(Lost::Malformed(BadBody("its answer is not in the coding that it names")));
            }
        };
        coded.content.start += taken;
        let is_used_up = written < room.len();
        let is_last = is_used_up && coded.is_last;
        match is_used_up {
            true => source.take_back(coded.buffer),
            false => self.coded = Some(coded),
        }
        if is_last && !self.decoder.is_whole() {
            return Err(Lost::Ended);
        }
        let content = room.start..room.start + written;
        let portion = Portion { buffer, content, free_to: BUFFER_BYTES, is_last };
        Ok(Some(portion).filter(|portion| portion.is_last || !portion.content.is_empty()))
    }
}
