//! Arbitrary bodies: nothing may panic, and content and end are the same however the bytes are split.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tokenist_core::http::body::{BadBody, Body, Framing, Piece};

fn read<'a>(framing: Framing, pieces: impl Iterator<Item = &'a [u8]>) -> Result<(Vec<u8>, usize), BadBody> {
    let (mut body, mut content, mut count) = (Body::new(framing), Vec::new(), 0);
    for mut bytes in pieces {
        while let Some(piece) = body.next(bytes)? {
            let taken = match piece {
                Piece::Content(taken) => {
                    content.extend(&bytes[..taken]);
                    taken
                }
                Piece::Framing(taken) => taken,
            };
            assert!(taken > 0 && taken <= bytes.len());
            count += taken;
            bytes = &bytes[taken..];
        }
        assert!(bytes.is_empty() || body.is_done());
    }
    Ok((content, count))
}

fuzz_target!(|input: (u16, u8, &[u8])| {
    let (length, step, bytes) = input;
    for framing in [Framing::Chunked, Framing::Length(length.into()), Framing::UntilClose] {
        let whole = read(framing, std::iter::once(bytes));
        assert_eq!(read(framing, bytes.chunks(usize::from(step).max(1))), whole);
    }
});
