//! The record layer of TLS 1.2 and 1.3 (RFC 8446 §5, RFC 5246 §6.2) under keys that rustls has agreed on.
//!
//! rustls' own, buffered or not, allocates each record and copies it twice. Here a record goes from one buffer into
//! another in the one pass that enciphers or deciphers it. Pure: bytes in, bytes out.

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use rustls::{AlertDescription, ConnectionTrafficSecrets, ContentType, ProtocolVersion};
use std::fmt;

/// What a record carries at most.
pub(crate) const PLAIN_MAX: usize = 1 << 14;
pub(crate) const HEADER_BYTES: usize = 5;
/// By how much a sealed record is longer than what it carries, at most.
pub(crate) const OVERHEAD_MAX: usize = HEADER_BYTES + EXPLICIT_BYTES + TAG_BYTES;
const TAG_BYTES: usize = 16;
/// The part of its nonce that a record of AES-GCM carries in TLS 1.2.
const EXPLICIT_BYTES: usize = 8;
/// The longest payload that either version allows.
const PAYLOAD_MAX: usize = PLAIN_MAX + 2048;
/// Records that AES-GCM may seal under one key, as rustls counts them: past them it gives something away.
const GCM_RECORDS_MAX: u64 = 1 << 24;

/// Why nothing more of a peer can be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is to be told by this alert.
    Broken(AlertDescription, &'static str),
    /// It has given up itself.
    Alerted(AlertDescription),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Broken(_, what) => f.write_str(what),
            Fault::Alerted(alert) => write!(f, "it gave up with the TLS alert {alert:?}"),
        }
    }
}

impl std::error::Error for Fault {}

/// No record may be sealed under this key any more.
#[derive(Debug)]
pub(crate) struct WornOut;

/// How a record is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Tls13,
    /// TLS 1.2 with AES-GCM.
    Explicit,
    /// TLS 1.2 with ChaCha20-Poly1305.
    Implicit,
}

struct Keys {
    key: LessSafeKey,
    iv: [u8; 12],
    sequence: u64,
    records_max: u64,
    format: Format,
}

/// Seals what goes out.
pub(crate) struct Sealer(Keys);

/// Opens what comes in.
pub(crate) struct Opener(Keys);

/// The length of the record that `bytes` begins with, if all of it is there.
pub(crate) fn whole(bytes: &[u8]) -> Result<Option<usize>, Fault> {
    let Some(&[_, major, _, high, low]) = bytes.first_chunk() else { return Ok(None) };
    let payload = usize::from(u16::from_be_bytes([high, low]));
    if major != 3 {
        return Err(Fault::Broken(AlertDescription::ProtocolVersion, "it sent no TLS record"));
    }
    if payload > PAYLOAD_MAX {
        return Err(Fault::Broken(AlertDescription::RecordOverflow, "it sent a TLS record too long"));
    }
    let bytes_total = HEADER_BYTES + payload;
    Ok((bytes.len() >= bytes_total).then_some(bytes_total))
}

impl Keys {
    /// `secrets` and the number of the next record under them.
    fn new((sequence, secrets): (u64, ConnectionTrafficSecrets), version: ProtocolVersion) -> Keys {
        let (algorithm, key, iv) = match &secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (&AES_128_GCM, key, iv),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (&AES_256_GCM, key, iv),
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (&CHACHA20_POLY1305, key, iv),
            _ => unreachable!("the provider of ciphers has no others"),
        };
        let is_gcm = *algorithm != CHACHA20_POLY1305;
        let key =
            UnboundKey::new(algorithm, key.as_ref()).expect("rustls gives a key of this cipher's length");
        Keys {
            key: LessSafeKey::new(key),
            iv: iv.as_ref().try_into().expect("an IV is as long as a nonce"),
            sequence,
            records_max: if is_gcm { GCM_RECORDS_MAX } else { u64::MAX },
            format: match (version, is_gcm) {
                (ProtocolVersion::TLSv1_3, _) => Format::Tls13,
                (_, true) => Format::Explicit,
                (_, false) => Format::Implicit,
            },
        }
    }

    fn version(&self) -> ProtocolVersion {
        match self.format {
            Format::Tls13 => ProtocolVersion::TLSv1_3,
            Format::Explicit | Format::Implicit => ProtocolVersion::TLSv1_2,
        }
    }

    /// What stands between a record's header and its ciphertext.
    fn explicit_bytes(&self) -> usize {
        if self.format == Format::Explicit { EXPLICIT_BYTES } else { 0 }
    }

    /// The IV with the record's number in it: unique under this key.
    fn nonce(&self) -> [u8; 12] {
        let mut nonce = self.iv;
        for (byte, number) in nonce[4..].iter_mut().zip(self.sequence.to_be_bytes()) {
            *byte ^= number;
        }
        nonce
    }

    /// What is authenticated beside a record of TLS 1.2.
    fn additional(&self, kind: u8, plain_bytes: usize) -> [u8; 13] {
        let mut additional = [0; 13];
        additional[..8].copy_from_slice(&self.sequence.to_be_bytes());
        additional[8..].copy_from_slice(&header(kind, plain_bytes));
        additional
    }
}

fn header(kind: u8, payload_bytes: usize) -> [u8; HEADER_BYTES] {
    let [high, low] = (payload_bytes as u16).to_be_bytes();
    [kind, 3, 3, high, low]
}

impl Sealer {
    pub(crate) fn new(secrets: (u64, ConnectionTrafficSecrets), version: ProtocolVersion) -> Sealer {
        Sealer(Keys::new(secrets, version))
    }

    pub(crate) fn is_tls13(&self) -> bool {
        self.0.format == Format::Tls13
    }

    /// The next record is the last one under this key.
    pub(crate) fn is_worn(&self) -> bool {
        self.0.sequence + 1 >= self.0.records_max
    }

    pub(crate) fn renew(&mut self, secrets: (u64, ConnectionTrafficSecrets)) {
        self.0 = Keys::new(secrets, self.0.version());
    }

    /// As if the key could seal only so many more.
    #[cfg(test)]
    pub(crate) fn wear(&mut self, records: u64) {
        self.0.records_max = self.0.sequence + records;
    }

    /// Writes `plain`, of at most [`PLAIN_MAX`] bytes, as one record to the front of `out`, which has [`OVERHEAD_MAX`]
    /// more. Gives its length.
    pub(crate) fn seal(&mut self, kind: ContentType, plain: &[u8], out: &mut [u8]) -> Result<usize, WornOut> {
        let keys = &mut self.0;
        if keys.sequence >= keys.records_max {
            return Err(WornOut);
        }
        let kind = u8::from(kind);
        let is_tls13 = keys.format == Format::Tls13;
        let inner = [kind];
        let extra = if is_tls13 { &inner[..] } else { &[] };
        let nonce = keys.nonce();
        let start = HEADER_BYTES + keys.explicit_bytes();
        let end = start + plain.len();
        let whole = end + extra.len() + TAG_BYTES;
        let outer = if is_tls13 { u8::from(ContentType::ApplicationData) } else { kind };
        let header = header(outer, whole - HEADER_BYTES);
        let additional = keys.additional(kind, plain.len());
        let additional = if is_tls13 { &header[..] } else { &additional[..] };
        let (head, rest) = out[..whole].split_at_mut(start);
        head[..HEADER_BYTES].copy_from_slice(&header);
        head[HEADER_BYTES..].copy_from_slice(&nonce[4..4 + start - HEADER_BYTES]);
        let (cipher, tail) = rest.split_at_mut(plain.len());
        let nonce = Nonce::assume_unique_for_key(nonce);
        keys.key
            .seal_out_of_place_scatter(nonce, Aad::from(additional), plain, cipher, extra, tail)
            .expect("the lengths fit");
        keys.sequence += 1;
        Ok(whole)
    }
}

impl Opener {
    pub(crate) fn new(secrets: (u64, ConnectionTrafficSecrets), version: ProtocolVersion) -> Opener {
        Opener(Keys::new(secrets, version))
    }

    pub(crate) fn is_tls13(&self) -> bool {
        self.0.format == Format::Tls13
    }

    pub(crate) fn renew(&mut self, secrets: (u64, ConnectionTrafficSecrets)) {
        self.0 = Keys::new(secrets, self.0.version());
    }

    /// The room that opening a record of this length takes, which is a little more than it carries.
    pub(crate) fn room_bytes(&self, record_bytes: usize) -> usize {
        record_bytes.saturating_sub(HEADER_BYTES + self.0.explicit_bytes() + TAG_BYTES)
    }

    /// Opens one whole record to the front of `room`, which has [`Opener::room_bytes`]: what it is, and how long.
    pub(crate) fn open(&mut self, record: &[u8], room: &mut [u8]) -> Result<(ContentType, usize), Fault> {
        let keys = &mut self.0;
        let broken = Fault::Broken(AlertDescription::BadRecordMac, "a TLS record of it does not verify");
        let start = HEADER_BYTES + keys.explicit_bytes();
        let Some(end) = record.len().checked_sub(TAG_BYTES).filter(|&end| end >= start) else {
            return Err(broken);
        };
        let room = &mut room[..end - start];
        let kind = record[0];
        let additional = keys.additional(kind, room.len());
        let additional = match keys.format {
            Format::Tls13 if kind != u8::from(ContentType::ApplicationData) => {
                return Err(unexpected("it sent a TLS record in the clear"));
            }
            Format::Tls13 => &record[..HEADER_BYTES],
            Format::Explicit | Format::Implicit => &additional[..],
        };
        let mut nonce = keys.nonce();
        nonce[4..4 + start - HEADER_BYTES].copy_from_slice(&record[HEADER_BYTES..start]);
        let nonce = Nonce::assume_unique_for_key(nonce);
        keys.key
            .open_separate_gather(nonce, Aad::from(additional), &record[start..end], &record[end..], room)
            .map_err(|_| broken)?;
        keys.sequence += 1;
        let (kind, plain_bytes) = match keys.format {
            Format::Tls13 => inner(room)?,
            Format::Explicit | Format::Implicit => (kind, room.len()),
        };
        if plain_bytes > PLAIN_MAX {
            return Err(Fault::Broken(AlertDescription::RecordOverflow, "it sent a TLS record too long"));
        }
        Ok((ContentType::from(kind), plain_bytes))
    }
}

/// What a record of TLS 1.3 says that it is, behind what it carries and before its padding.
fn inner(plain: &[u8]) -> Result<(u8, usize), Fault> {
    let at = plain.iter().rposition(|&byte| byte != 0);
    at.map(|at| (plain[at], at)).ok_or(unexpected("it sent a TLS record of padding alone"))
}

pub(crate) fn unexpected(what: &'static str) -> Fault {
    Fault::Broken(AlertDescription::UnexpectedMessage, what)
}

pub(crate) fn malformed(what: &'static str) -> Fault {
    Fault::Broken(AlertDescription::DecodeError, what)
}
