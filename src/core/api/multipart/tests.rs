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
fn a_wave_file_is_as_long_as_its_samples_whatever_else_it_says() {
    let with = |at: usize, bytes: &[u8]| {
        let mut head = WAVE_HEAD;
        head[at..at + bytes.len()].copy_from_slice(bytes);
        head
    };
    for (what, head, ms) in [
        ("as it is", WAVE_HEAD, 1_000),
        ("another rate beside its samples", with(28, &u32::MAX.to_le_bytes()), 1_000),
        ("no rate", with(28, &[0; 4]), 1_000),
        ("more samples than there are", with(24, &u32::MAX.to_le_bytes()), 32_000 * 1_000 / 384_000),
        ("more channels", with(22, &u16::MAX.to_le_bytes()), 32_000 * 1_000 / 256_000),
        ("hardly any sound", with(40, &2u32.to_le_bytes()), 0),
        (
            "compressed, at a rate that is none",
            with(20, &[2, 0, 1, 0, 0x80, 0x3e, 0, 0, 255, 255, 255, 255]),
            1_333,
        ),
        ("no samples", with(24, &[0; 4]), 8_011),
    ] {
        assert_eq!(sound::length_ms(&head, 44 + 32_000), ms, "{what}");
    }
    // What follows the sound is no sound, unless there is much of it.
    let short = with(40, &2u32.to_le_bytes());
    assert_eq!(sound::length_ms(&short, 44 + (64 << 10) + 32_000), ((64 << 10) + 32_000) / 32);
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
        (form(&[("name=\"model\";\r\n filename=\"x\"", b"a")]), Some(FOLDED)),
        (form(&[("\r\n\tname=\"model\"", b"a")]), Some(FOLDED)),
        (form(&[("name*=utf-8''model", b"a")]), Some(NAMED_TWICE)),
        (form(&[("name=\"x\"; name=\"model\"", b"a")]), Some(NAMED_TWICE)),
        (form(&[("name=\"x\"; Name=\"model\"", b"a")]), Some(NAMED_TWICE)),
        (form(&[("name*0=mod; name*1=el", b"a")]), Some(NAMED_TWICE)),
        (form(&[("name=\"x\"\r\nContent-disposition: form-data; name=\"model\"", b"a")]), Some(NAMED_TWICE)),
        (form(&[("name=\"x\\\"; name=\"model\"", b"a")]), Some(QUOTED)),
        (form(&[("name=\"x\"; filename=\"a\\\"b\"", b"a")]), Some(QUOTED)),
        (form(&[("name=\"x\"; filename=\"C:\\a\"", b"a"), model(b"b")]), None),
        (form(&[("name=\"x\"; filename=a; filename*=utf-8''b", b"a"), model(b"b")]), None),
        (form(&[("name=\"x\"\nX: y", b"a")]), Some(LINE_ENDS)),
        (form(&[("name=\"x\"\rX: y", b"a")]), Some(LINE_ENDS)),
        (
            form(&[("name=\"x\"", b"\n--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\na")]),
            Some(LINE_ENDS),
        ),
        (form(&[("name=\"x\"", b"\n--a\r\n"), model(b"b")]), None),
    ] {
        let mut form = Multipart::of("multipart/form-data; boundary=b").unwrap();
        form.read(&body);
        assert_eq!(form.problem(), wanted);
    }
}

#[test]
fn a_type_that_names_its_boundary_in_two_ways_is_a_problem() {
    for (kind, is_wrong) in [
        ("multipart/form-data; boundary=b", false),
        ("multipart/form-data; charset=utf-8; boundary=\"b\"", false),
        ("multipart/form-data; boundary=b; boundary=c", true),
        ("multipart/form-data; boundary=b; Boundary=b", true),
        ("multipart/form-data; boundary=b; boundary*=utf-8''c", true),
        ("multipart/form-data; boundary=\"b\\\"c\"", true),
        ("multipart/form-data; boundary=b, multipart/form-data; boundary=c", true),
    ] {
        let form = Multipart::of(kind).unwrap();
        assert_eq!(form.problem().is_some(), is_wrong, "{kind}");
    }
}
