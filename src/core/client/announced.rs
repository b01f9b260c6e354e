//! The PROXY protocol, versions 1 and 2: what a balancer says, before anything else, about the connection that it passes
//! on.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::fmt;

/// Who is announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announced {
    /// `None`: the balancer speaks for itself, as when it looks whether we live, or it does not know.
    pub client: Option<IpAddr>,
    /// How long the header was.
    pub header_bytes: usize,
}

/// The longest header that is taken. One of version 2 may say more of the connection than its addresses.
pub const HEADER_BYTES_MAX: usize = 4096;

/// Why bytes are no such header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAnnounced(&'static str);

impl NotAnnounced {
    pub fn describe(self) -> &'static str {
        self.0
    }
}

impl fmt::Display for NotAnnounced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for NotAnnounced {}

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
const START_BYTES: usize = 16;
const LINE_START: &[u8] = b"PROXY ";
/// The longest line of version 1, its end included.
const LINE_BYTES_MAX: usize = 107;

/// Reads the header that `bytes` begin with. `Ok(None)`: it goes on.
pub fn announced(bytes: &[u8]) -> Result<Option<Announced>, NotAnnounced> {
    let begins = |with: &[u8]| {
        let shared = bytes.len().min(with.len());
        bytes[..shared] == with[..shared]
    };
    if begins(&SIGNATURE) && (bytes.is_empty() || bytes[0] == SIGNATURE[0]) {
        return if bytes.len() < START_BYTES { Ok(None) } else { version_2(bytes) };
    }
    if begins(LINE_START) {
        return version_1(bytes);
    }
    Err(NotAnnounced("no PROXY protocol header: it begins otherwise"))
}

fn version_1(bytes: &[u8]) -> Result<Option<Announced>, NotAnnounced> {
    let Some(end) = memchr::memmem::find(&bytes[..bytes.len().min(LINE_BYTES_MAX)], b"\r\n") else {
        return if bytes.len() < LINE_BYTES_MAX {
            Ok(None)
        } else {
            Err(NotAnnounced("no PROXY protocol header: its line has no end"))
        };
    };
    let line = std::str::from_utf8(&bytes[LINE_START.len()..end])
        .map_err(|_| NotAnnounced("no PROXY protocol header: it is not ASCII"))?;
    let header_bytes = end + 2;
    let words: Vec<&str> = line.split(' ').collect();
    let client = match words[..] {
        ["UNKNOWN", ..] => None,
        ["TCP4", source, target, source_port, target_port] => {
            let both = source.parse::<Ipv4Addr>().ok().zip(target.parse::<Ipv4Addr>().ok());
            Some(announced_by(both.map(|(source, _)| source.into()), [source_port, target_port])?)
        }
        ["TCP6", source, target, source_port, target_port] => {
            let both = source.parse::<Ipv6Addr>().ok().zip(target.parse::<Ipv6Addr>().ok());
            Some(announced_by(both.map(|(source, _)| source.into()), [source_port, target_port])?)
        }
        _ => {
            return Err(NotAnnounced(
                "no PROXY protocol header: its line is not `PROXY TCP4|TCP6|UNKNOWN …`",
            ));
        }
    };
    Ok(Some(Announced { client, header_bytes }))
}

fn announced_by(source: Option<IpAddr>, ports: [&str; 2]) -> Result<IpAddr, NotAnnounced> {
    let is_port = |text: &&str| text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok();
    match source.filter(|_| ports.iter().all(is_port)) {
        Some(source) => Ok(source.to_canonical()),
        None => {
            Err(NotAnnounced("no PROXY protocol header: its line holds an address or a port that is none"))
        }
    }
}

fn version_2(bytes: &[u8]) -> Result<Option<Announced>, NotAnnounced> {
    let (version_and_command, family) = (bytes[12], bytes[13]);
    let header_bytes = START_BYTES + usize::from(u16::from_be_bytes([bytes[14], bytes[15]]));
    if version_and_command >> 4 != 2 {
        return Err(NotAnnounced("no PROXY protocol header: its version is unknown"));
    }
    if header_bytes > HEADER_BYTES_MAX {
        return Err(NotAnnounced("no PROXY protocol header: it is longer than 4,096 bytes"));
    }
    let Some(said) = bytes.get(START_BYTES..header_bytes) else { return Ok(None) };
    let short = NotAnnounced("no PROXY protocol header: it is too short for its addresses");
    let client = match (version_and_command & 0x0f, family >> 4) {
        // The balancer itself is the client.
        (0, _) => None,
        (1, 1) => {
            let source: [u8; 4] = said.get(..12).and_then(|both| both[..4].try_into().ok()).ok_or(short)?;
            Some(IpAddr::from(source))
        }
        (1, 2) => {
            let source: [u8; 16] = said.get(..36).and_then(|both| both[..16].try_into().ok()).ok_or(short)?;
            Some(IpAddr::from(source).to_canonical())
        }
        // Unspecified, or a UNIX socket.
        (1, 0 | 3) => None,
        _ => return Err(NotAnnounced("no PROXY protocol header: its command or family is unknown")),
    };
    Ok(Some(Announced { client, header_bytes }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn v2(command: u8, family: u8, said: &[u8]) -> Vec<u8> {
        let start = [&SIGNATURE[..], &[command, family], &(said.len() as u16).to_be_bytes()].concat();
        [&start[..], said].concat()
    }

    #[test]
    fn both_versions_tell_the_client() {
        let v4 = [203, 0, 113, 7, 10, 0, 0, 1, 0x12, 0x34, 0, 80];
        let v6 = [&[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7][..], &[0; 20]].concat();
        let more = [&v4[..], b"\x04\0\x02ab"].concat();
        for (wire, client) in [
            (b"PROXY TCP4 203.0.113.7 10.0.0.1 4711 80\r\n".to_vec(), Some("203.0.113.7")),
            (b"PROXY TCP6 2001:db8::7 ::1 4711 80\r\n".to_vec(), Some("2001:db8::7")),
            (b"PROXY TCP6 ::ffff:203.0.113.7 ::1 4711 80\r\n".to_vec(), Some("203.0.113.7")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN ffff:f...f ffff:f...f 1 2\r\n".to_vec(), None),
            (v2(0x21, 0x11, &v4), Some("203.0.113.7")),
            (v2(0x21, 0x11, &more), Some("203.0.113.7")),
            (v2(0x21, 0x21, &v6), Some("2001:db8::7")),
            (v2(0x20, 0x00, &[]), None),
            (v2(0x21, 0x31, &[0; 216]), None),
        ] {
            let client = client.map(|text| text.parse().unwrap());
            let whole = Announced { client, header_bytes: wire.len() };
            assert_eq!(announced(&[&wire[..], b"GET / HTTP/1.1"].concat()), Ok(Some(whole)), "{wire:?}");
            for cut in 0..wire.len() {
                assert_eq!(announced(&wire[..cut]), Ok(None), "{wire:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn what_is_malformed_is_refused_at_once() {
        for wire in [
            b"GET / HTTP/1.1\r\n".to_vec(),
            b"\x16\x03\x01".to_vec(),
            b"proxy TCP4 1.1.1.1 1.1.1.1 1 1\r\n".to_vec(),
            b"PROXY TCP4 1.1.1.1 1.1.1.1 1\r\n".to_vec(),
            b"PROXY TCP4 1.1.1.1 1.1.1.1 1 65536\r\n".to_vec(),
            b"PROXY TCP4 1.1.1.1 1.1.1.1 +1 1\r\n".to_vec(),
            b"PROXY TCP4 ::1 ::1 1 1\r\n".to_vec(),
            b"PROXY TCP4 1.1.1.256 1.1.1.1 1 1\r\n".to_vec(),
            b"PROXY TCP4  1.1.1.1 1.1.1.1 1 1\r\n".to_vec(),
            b"PROXY UDP4 1.1.1.1 1.1.1.1 1 1\r\n".to_vec(),
            [b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 200]].concat(),
            v2(0x11, 0x11, &[0; 12]),
            v2(0x22, 0x11, &[0; 12]),
            v2(0x21, 0x41, &[0; 12]),
            v2(0x21, 0x11, &[0; 11]),
            v2(0x21, 0x21, &[0; 35]),
            v2(0x21, 0x11, &[0; HEADER_BYTES_MAX]),
        ] {
            assert!(announced(&wire).is_err(), "{wire:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_are_read_past_their_end(start in 0usize..3, bytes: Vec<u8>) {
            let wire = [[&b""[..], LINE_START, &SIGNATURE][start], &bytes].concat();
            if let Ok(Some(announced)) = announced(&wire) {
                prop_assert!(announced.header_bytes <= wire.len().min(HEADER_BYTES_MAX));
            }
        }
    }
}
