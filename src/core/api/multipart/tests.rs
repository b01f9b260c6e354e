//! Forms as SDKs send them, at every split.

use super::*;

const WAVE_HEAD: [u8; 44] = *b"RIFF\x00\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x80\x3e\x00\x00\x00\x7d\x00\x00\x02\x00\x10\x00data\xff\xff\xff\xff";

fn form(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (head, content) in parts {
        body.extend_from_slice(b"--b\r\n");
        body.extend_from_slice(format!("Content-Disposition: form-data; {head}\r\n\r\n").as_bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--b--\r\n");
    body
}

fn asked(pieces: &[&[u8]]) -> Asked {
    let mut form = Multipart::of("multipart/form-data; charset=utf-8; boundary=\"b\"").unwrap();
    pieces.iter().for_each(|piece| form.read(piece));
    assert!(form.is_over());
    form.asked().clone()
}

#[test]
fn a_form_tells_its_fields_and_how_long_its_sound_is_at_every_split() {
    // Half a second of sound that holds what looks like a boundary.
    let mut sound = WAVE_HEAD.to_vec();
    sound.extend_from_slice(&b"\r\n--a\r\n-".repeat(2_000));
    let body = form(&[
        ("name=\"file\"; filename=\"a;name=x.wav\"\r\nContent-Type: audio/wav", &sound),
        ("name=\"prompt\"", b""),
        ("name=stream", b"true"),
        ("name=\"model\"", b"whisper-1"),
    ]);
    let wanted = Asked {
        model: Some("whisper-1".into()),
        streams: true,
        images: 1,
        sound_ms: 500,
        ..Asked::default()
    };
    assert_eq!(asked(&[&body]), wanted);
    for at in (0..body.len()).filter(|at| *at < 300 || *at > body.len() - 300) {
        assert_eq!(asked(&[&body[..at], &body[at..]]), wanted, "split at {at}");
    }
    assert_eq!(asked(&body.chunks(1).collect::<Vec<_>>()), wanted);
}

#[test]
fn sound_that_cannot_be_measured_is_rather_too_long() {
    for (head, bytes, ms) in [
        (&WAVE_HEAD[..], 44 + 32_000, 1_000),
        (b"ID3\x04", 8_000, 2_000),
        (b"RIFF", 4_000, 1_000),
        (&WAVE_HEAD[..36], 32_000, 1_000),
        (b"", 0, 0),
    ] {
        assert_eq!(sound::length_ms(head, bytes), ms, "{head:?}");
    }
}

#[test]
fn what_is_no_form_tells_nothing() {
    for kind in [
        "application/json",
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/mixed; boundary=b",
    ] {
        assert!(Multipart::of(kind).is_none(), "{kind}");
    }
    let mut form = Multipart::of("multipart/form-data; boundary=b").unwrap();
    form.read(b"--b\r\n");
    form.read(&[b'x'; 20_000]);
    assert!(form.is_over() && form.pending.is_empty(), "a head that never ends");
    assert_eq!(form.asked().model, None);
}

#[test]
fn what_a_provider_might_read_otherwise_is_a_problem() {
    let model = |name| ("name=\"model\"", name);
    for (body, wanted) in [
        (form(&[model(&b"a"[..]), model(b"a")]), None),
        (form(&[model(b"a"), model(b"b")]), Some("the form names two models")),
        (b"--bb\r\n".to_vec(), Some("something follows a boundary of the form")),
    ] {
        let mut form = Multipart::of("multipart/form-data; boundary=b").unwrap();
        form.read(&body);
        assert_eq!(form.problem(), wanted);
    }
}
