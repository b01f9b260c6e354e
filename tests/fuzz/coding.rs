//! Content in a coding: whatever comes, in whatever pieces, is read to the same end, into room of any size.
//!
//! The first byte chooses the coding, the second how the bytes are cut and how much room there is.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tokenist_core::http::coding::{Coding, Decoded, Decoder};

/// More than this comes out of no input: what is read beside the bytes goes on for ever otherwise.
const PLAIN_MAX: usize = 1 << 20;

/// What comes out, and whether it ended where its coding ends; `None`: it is not in its coding.
fn read(coding: Coding, coded: &[u8], piece: usize, room: usize) -> Option<(Vec<u8>, bool)> {
    let mut decoder = Decoder::new(coding);
    let (mut plain, mut buffer) = (Vec::new(), vec![0; room]);
    for mut piece in coded.chunks(piece) {
        loop {
            let Decoded { taken, written } = decoder.decode(piece, &mut buffer).ok()?;
            assert!(taken <= piece.len() && written <= room);
            plain.extend_from_slice(&buffer[..written]);
            piece = &piece[taken..];
            if plain.len() > PLAIN_MAX {
                return Some((plain, false));
            }
            if written < room {
                assert!(piece.is_empty(), "all is taken where there is room");
                break;
            }
        }
    }
    Some((plain, decoder.is_whole()))
}

fuzz_target!(|input: &[u8]| {
    let [coding, cut, coded @ ..] = input else { return };
    let coding = [Coding::Gzip, Coding::Deflate, Coding::Brotli][usize::from(coding % 3)];
    let at_once = read(coding, coded, coded.len().max(1), 16 << 10);
    let in_pieces = read(coding, coded, usize::from(cut & 15) + 1, usize::from(cut >> 4) * 64 + 1);
    let is_short = |read: &Option<(Vec<u8>, bool)>| read.as_ref().is_none_or(|(plain, _)| plain.len() <= PLAIN_MAX);
    if is_short(&at_once) && is_short(&in_pieces) {
        assert_eq!(at_once, in_pieces);
    }
});
