//! What is read of content in a coding, wherever it is split, and what is not.

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use proptest::prelude::*;
use std::io::Write;
use tokenist_core::http::coding::{BadCoding, Coding, Decoded, Decoder};
use tokenist_core::http::write::{HeaderName, HeaderValue};
use tokenist_core::http::{Header, Headers};

fn headers(name: &str, values: &[&str]) -> Headers {
    let line = |value: &&str| Header {
        name: HeaderName::parse(name).unwrap(),
        value: HeaderValue::parse(*value).unwrap(),
    };
    Headers(values.iter().map(line).collect())
}

#[test]
fn one_coding_is_known_and_several_are_none() {
    for (values, coding) in [
        (&[][..], Ok(None)),
        (&["identity"], Ok(None)),
        (&["gzip"], Ok(Some(Coding::Gzip))),
        (&["X-GZIP"], Ok(Some(Coding::Gzip))),
        (&["identity, br"], Ok(Some(Coding::Brotli))),
        (&["deflate"], Ok(Some(Coding::Deflate))),
        (&["zstd"], Err(BadCoding)),
        (&["gzip, gzip"], Err(BadCoding)),
        (&["gzip", "br"], Err(BadCoding)),
    ] {
        assert_eq!(Coding::of(&headers("Content-Encoding", values)), coding, "{values:?}");
    }
}

#[test]
fn what_can_be_read_of_a_clients_wishes_goes_up() {
    for (values, wanted) in [
        (&[][..], None),
        (&["br, zstd"], None),
        (&["*"], None),
        (&["gzip, deflate, br, zstd"], Some("gzip, deflate")),
        (&["br;q=1.0, gzip;q=0.8, *;q=0.1"], Some("gzip;q=0.8")),
        (&["gzip;q=0, deflate; q=0.5"], Some("deflate; q=0.5")),
        (&["gzip;q=0.000", "GZIP"], Some("GZIP")),
    ] {
        assert_eq!(Coding::wanted(&headers("accept-encoding", values)).as_deref(), wanted, "{values:?}");
    }
}

/// The content in each form that a coding has.
fn coded(plain: &[u8]) -> Vec<(Coding, Vec<u8>)> {
    let best = Compression::best();
    let mut zlib = ZlibEncoder::new(Vec::new(), best);
    let mut raw = DeflateEncoder::new(Vec::new(), best);
    let mut gzip = GzEncoder::new(Vec::new(), best);
    zlib.write_all(plain).unwrap();
    raw.write_all(plain).unwrap();
    gzip.write_all(plain).unwrap();
    let half = plain.len() / 2;
    let members = [&plain[..half], &plain[half..]].map(|part| {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(part).unwrap();
        gzip.finish().unwrap()
    });
    let mut brotli = Vec::new();
    brotli::CompressorWriter::new(&mut brotli, 4_096, 5, 22).write_all(plain).unwrap();
    vec![
        (Coding::Deflate, zlib.finish().unwrap()),
        (Coding::Deflate, raw.finish().unwrap()),
        (Coding::Gzip, gzip.finish().unwrap()),
        (Coding::Gzip, members.concat()),
        (Coding::Brotli, brotli),
    ]
}

/// What comes out of the pieces, with so much room at a time; and whether that was all.
fn decoded(coding: Coding, pieces: &[&[u8]], room: usize) -> Result<(Vec<u8>, bool), BadCoding> {
    let (mut decoder, mut plain) = (Decoder::new(coding), Vec::new());
    for mut piece in pieces.iter().copied() {
        let mut buffer = vec![0; room];
        loop {
            let Decoded { taken, written } = decoder.decode(piece, &mut buffer)?;
            plain.extend_from_slice(&buffer[..written]);
            piece = &piece[taken..];
            if written < room {
                assert!(piece.is_empty(), "all is taken where there is room");
                break;
            }
        }
    }
    Ok((plain, decoder.is_whole()))
}

#[test]
fn content_is_the_same_wherever_it_is_split_and_cut_off_nowhere_whole() {
    let plain = (0..400).map(|count| format!("{count} tokens of {}; ", count % 7)).collect::<String>();
    for (coding, coded) in coded(plain.as_bytes()) {
        for cut in 0..coded.len() {
            let (before, behind) = coded.split_at(cut);
            let whole = Ok((plain.clone().into_bytes(), true));
            assert_eq!(decoded(coding, &[before, behind], 300), whole, "{coding:?} at {cut}");
            let (part, is_whole) = decoded(coding, &[before], 4_096).unwrap();
            assert!(plain.as_bytes().starts_with(&part), "{coding:?} at {cut}");
            let is_between = coding == Coding::Gzip && part.len() == plain.len() / 2;
            assert!(!is_whole || cut == 0 || is_between, "{coding:?} at {cut}");
        }
        let bytes: Vec<&[u8]> = coded.chunks(1).collect();
        assert_eq!(decoded(coding, &bytes, 1), Ok((plain.clone().into_bytes(), true)), "{coding:?}");
        // What stands behind padding is padding, also what looks like another member.
        for padding in [&[0; 9][..], b"\0\x1f\x1f"] {
            for cut in 0..=padding.len() {
                let pieces = [&coded[..], &padding[..cut], &padding[cut..]];
                let is_whole = decoded(coding, &pieces, 999).map(|(_, is_whole)| is_whole);
                assert_eq!(is_whole, Ok(true), "{coding:?} {padding:?} at {cut}");
            }
        }
    }
    assert_eq!(decoded(Coding::Gzip, &[], 9), Ok((Vec::new(), true)), "no content is whole");
}

#[test]
fn what_is_not_in_its_coding_is_found_to_be_so() {
    for (coding, bytes) in [
        (Coding::Gzip, &b"{\"usage\":{}}"[..]),
        (Coding::Deflate, b"\x78\x9c\xff\xff\xff\xff\xff"),
        (Coding::Brotli, b"\x91\x91\x91\x91 a window beyond all bounds"),
    ] {
        assert_eq!(decoded(coding, &[bytes], 99), Err(BadCoding), "{coding:?}");
    }
}

/// A thousand times as much comes out, a piece at a time.
#[test]
fn however_much_comes_out_the_pieces_are_as_long_as_their_room() {
    for (coding, coded) in coded(&vec![b' '; 20 << 20]) {
        let (mut decoder, mut rest, mut total) = (Decoder::new(coding), &coded[..], 0);
        let mut buffer = vec![0; 16 << 10];
        loop {
            let Decoded { taken, written } = decoder.decode(rest, &mut buffer).unwrap();
            rest = &rest[taken..];
            total += written;
            if written < buffer.len() {
                break;
            }
        }
        assert_eq!((total, decoder.is_whole()), (20 << 20, true), "{coding:?}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_a_decoder_fail(bytes in any::<Vec<u8>>(), at in any::<usize>()) {
        for coding in [Coding::Gzip, Coding::Deflate, Coding::Brotli] {
            let (before, behind) = bytes.split_at(at % (bytes.len() + 1));
            let in_two = decoded(coding, &[before, behind], 64);
            prop_assert_eq!(in_two, decoded(coding, &[&bytes], 64));
        }
    }
}
