//! Whose a datagram is that has come to a port which many calls share (RFC 7983): what it is, and what it says of its call.
//!
//! Start at [`Datagram::of`]. Invariant: nothing is believed here. Whether a name is shown by whoever may show it is found by the
//! call's own password.

/// What a datagram is, by its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Datagram<'a> {
    /// A check of a path, with the name that the call has given itself.
    Check {
        ufrag: &'a str,
    },
    /// Another message of STUN.
    Stun,
    Dtls,
    /// Sound, with its source.
    Rtp {
        source: u32,
    },
    Rtcp,
    Unknown,
}

const STUN_HEADER_BYTES: usize = 20;
const STUN_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const BINDING_REQUEST: [u8; 2] = [0, 1];
const USERNAME: u16 = 6;
const RTP_HEADER_BYTES: usize = 12;

impl Datagram<'_> {
    pub fn of(bytes: &[u8]) -> Datagram<'_> {
        match bytes {
            [0..=3, ..] => stun(bytes),
            [20..=63, ..] if bytes.len() > 12 => Datagram::Dtls,
            // RFC 5761 §4.
            [128..=191, 192..=223, ..] => Datagram::Rtcp,
            [128..=191, ..] => match bytes.get(8..RTP_HEADER_BYTES) {
                Some(&[a, b, c, d]) => Datagram::Rtp { source: u32::from_be_bytes([a, b, c, d]) },
                _ => Datagram::Unknown,
            },
            _ => Datagram::Unknown,
        }
    }
}

fn stun(bytes: &[u8]) -> Datagram<'_> {
    let Some((header, mut rest)) = bytes.split_at_checked(STUN_HEADER_BYTES) else {
        return Datagram::Unknown;
    };
    let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
    if header[4..8] != STUN_COOKIE || length != rest.len() {
        return Datagram::Unknown;
    }
    if header[..2] != BINDING_REQUEST {
        return Datagram::Stun;
    }
    while let Some((&[kind_high, kind_low, length_high, length_low], behind)) = rest.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes([length_high, length_low]));
        let Some(value) = behind.get(..length) else { return Datagram::Unknown };
        if u16::from_be_bytes([kind_high, kind_low]) == USERNAME {
            let name = std::str::from_utf8(value).ok().and_then(|name| name.split_once(':'));
            return name.map_or(Datagram::Stun, |(ufrag, _)| Datagram::Check { ufrag });
        }
        rest = behind.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Datagram::Stun
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = Vec::new();
        for (kind, value) in attributes {
            body.extend(kind.to_be_bytes());
            body.extend((value.len() as u16).to_be_bytes());
            body.extend(*value);
            body.resize(body.len().next_multiple_of(4), 0);
        }
        let length = (body.len() as u16).to_be_bytes();
        [&BINDING_REQUEST[..], &length, &STUN_COOKIE, &[7; 12], &body].concat()
    }

    #[test]
    fn a_datagram_says_what_it_is_and_a_check_whose() {
        let named = check(&[(0x24, &[0, 0, 0, 1]), (6, b"here:there"), (8, &[0; 20])]);
        assert_eq!(Datagram::of(&named), Datagram::Check { ufrag: "here" });
        let mut answer = named.clone();
        answer[0] = 1;
        let mut cut = named.clone();
        cut.pop();
        let mut long = check(&[(6, b"here:there")]);
        long[23] = 200;
        let sound = [[0x80, 111, 0, 1, 0, 0, 0, 0].as_slice(), &[1, 2, 3, 4, 5]].concat();
        for (bytes, wanted) in [
            (answer, Datagram::Stun),
            (check(&[(8, &[0; 20])]), Datagram::Stun),
            (check(&[(6, b"nobody")]), Datagram::Stun),
            (cut, Datagram::Unknown),
            (long, Datagram::Unknown),
            (vec![0; 19], Datagram::Unknown),
            (vec![22; 13], Datagram::Dtls),
            (sound, Datagram::Rtp { source: 0x0102_0304 }),
            (vec![0x80; 11], Datagram::Unknown),
            (vec![0x80, 200, 0, 1], Datagram::Rtcp),
            (b"hello".to_vec(), Datagram::Unknown),
            (Vec::new(), Datagram::Unknown),
        ] {
            assert_eq!(Datagram::of(&bytes), wanted, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_is_told_apart(mut bytes in prop::collection::vec(any::<u8>(), 0..200), is_stun: bool) {
            if is_stun && bytes.len() >= STUN_HEADER_BYTES {
                let length = (bytes.len() - STUN_HEADER_BYTES) as u16;
                bytes[..4].copy_from_slice(&[0, 1, (length >> 8) as u8, length as u8]);
                bytes[4..8].copy_from_slice(&STUN_COOKIE);
            }
            if let Datagram::Check { ufrag } = Datagram::of(&bytes) {
                prop_assert!(ufrag.is_empty() || bytes.windows(ufrag.len()).any(|window| window == ufrag.as_bytes()));
            }
        }
    }
}
