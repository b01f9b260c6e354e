//! Where a client is when there are proxies between it and us: whose word for it is taken, and what they say.
//!
//! Start at [`TrustedProxies`]; [`announced`] reads the PROXY protocol.

pub mod announced;

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::fmt;

/// The addresses whose word is taken for the address of a client behind them. None by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<Network>);

/// Addresses that begin alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    /// An IPv4 address as IPv6 maps it.
    bits: u128,
    prefix_bits: u32,
}

/// What is no address and no network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoNetwork(String);

impl fmt::Display for NoNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is no address and no network, such as 10.0.0.0/8 or 2001:db8::1", self.0)
    }
}

impl TrustedProxies {
    /// Addresses and networks (`10.0.0.0/8, ::1`), separated by commas.
    pub fn parse(list: &str) -> Result<TrustedProxies, NoNetwork> {
        let words = list.split(',').map(str::trim).filter(|word| !word.is_empty());
        words.map(Network::parse).collect::<Result<_, _>>().map(TrustedProxies)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.holds(address))
    }

    /// The client of a request that came from `peer`. Each proxy has added the address that it saw at the end of
    /// `X-Forwarded-For` or of `Forwarded`, so from there back the first that is not trusted is the client; what stands
    /// before it may be anybody's invention. An entry that cannot be read ends the search, too: the last proxy that is
    /// known stands for who is behind it. So it does where the two headers tell of different clients, for a proxy that
    /// writes one of them passes on what a client says in the other.
    ///
    /// Both take the values of all lines of that name, in order. A comma separates entries even in quotes: a client
    /// could open some that the proxy does not close.
    pub fn client<'a>(
        &self,
        peer: IpAddr,
        forwarded_for: impl Iterator<Item = &'a str>,
        forwarded: impl Iterator<Item = &'a str>,
    ) -> IpAddr {
        let peer = peer.to_canonical();
        if !self.trusts(peer) {
            return peer;
        }
        let listed: Vec<_> = forwarded_for.flat_map(|line| line.split(',')).map(address_of).collect();
        let described: Vec<_> =
            forwarded.flat_map(|line| line.split(',')).map(|element| address_of(for_of(element))).collect();
        match (listed.is_empty(), described.is_empty()) {
            (_, true) => self.walk(peer, &listed),
            (true, false) => self.walk(peer, &described),
            (false, false) => match (self.walk(peer, &listed), self.walk(peer, &described)) {
                (one, other) if one == other => one,
                _ => peer,
            },
        }
    }

    fn walk(&self, peer: IpAddr, said: &[Option<IpAddr>]) -> IpAddr {
        let mut client = peer;
        for address in said.iter().rev() {
            let Some(address) = *address else { break };
            client = address;
            if !self.trusts(address) {
                break;
            }
        }
        client
    }
}

impl Network {
    fn parse(word: &str) -> Result<Network, NoNetwork> {
        let wrong = || NoNetwork(word.to_owned());
        let (address, prefix) =
            word.split_once('/').map_or((word, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let (own_bits, mapped_bits) = if address.is_ipv4() { (32, 96) } else { (128, 0) };
        let prefix_bits = match prefix {
            None => own_bits,
            Some(bits) if bits.bytes().all(|byte| byte.is_ascii_digit()) => {
                bits.parse().map_err(|_| wrong())?
            }
            Some(_) => return Err(wrong()),
        };
        if prefix_bits > own_bits {
            return Err(wrong());
        }
        Ok(Network { bits: bits_of(address), prefix_bits: mapped_bits + prefix_bits })
    }

    fn holds(&self, address: IpAddr) -> bool {
        let differing = self.bits ^ bits_of(address);
        differing.leading_zeros() >= self.prefix_bits
    }
}

fn bits_of(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// An address as proxies write it: by itself, in quotes or brackets, with or without a port.
fn address_of(text: &str) -> Option<IpAddr> {
    let text = text.trim().trim_matches('"');
    let bare = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    let v4_with_port = || {
        let (address, port) = text.split_once(':')?;
        port.bytes()
            .all(|byte| byte.is_ascii_digit())
            .then(|| address.parse::<Ipv4Addr>().ok())?
            .map(IpAddr::V4)
    };
    let address = text.parse::<IpAddr>().ok().or_else(with_port).or_else(bare).or_else(v4_with_port);
    address.map(|address| address.to_canonical())
}

/// Whom an element of `Forwarded` (RFC 7239) is for; nothing if it does not say.
fn for_of(element: &str) -> &str {
    let pairs = element.split(';').filter_map(|pair| pair.split_once('='));
    pairs.into_iter().find(|(name, _)| name.trim().eq_ignore_ascii_case("for")).map_or("", |(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn networks_hold_what_begins_alike() {
        let trusted = TrustedProxies::parse("10.0.0.0/8, 192.0.2.7,2001:db8::/32 , ::1").unwrap();
        for (address, holds) in [
            ("10.1.2.3", true),
            ("::ffff:10.1.2.3", true),
            ("11.0.0.0", false),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("2001:db8:ffff::1", true),
            ("2001:db9::", false),
            ("::1", true),
            ("::2", false),
        ] {
            assert_eq!(trusted.trusts(ip(address)), holds, "{address}");
        }
        assert!(TrustedProxies::parse("0.0.0.0/0").unwrap().trusts(ip("1.2.3.4")));
        assert!(!TrustedProxies::parse("0.0.0.0/0").unwrap().trusts(ip("2001:db8::")));
        for wrong in ["10.0.0.0/33", "10.0.0", "::/129", "10.0.0.0/", "10.0.0.0/+8", "lb.internal", "*"] {
            let error = TrustedProxies::parse(&format!("::1, {wrong}")).unwrap_err();
            assert!(error.to_string().contains(wrong), "{error}");
        }
        assert!(TrustedProxies::parse(" , ").unwrap().is_empty());
    }

    #[test]
    fn the_client_is_the_last_whom_no_trusted_proxy_vouches_for() {
        let trusted = TrustedProxies::parse("10.0.0.0/8,::1").unwrap();
        for (peer, listed, described, client) in [
            ("10.0.0.1", vec![], vec![], "10.0.0.1"),
            ("10.0.0.1", vec!["203.0.113.7"], vec![], "203.0.113.7"),
            ("10.0.0.1", vec!["6.6.6.6, 203.0.113.7"], vec![], "203.0.113.7"),
            ("10.0.0.1", vec!["6.6.6.6", "203.0.113.7, 10.0.0.2"], vec![], "203.0.113.7"),
            ("10.0.0.1", vec!["10.9.9.9, 10.0.0.2"], vec![], "10.9.9.9"),
            ("203.0.113.9", vec!["6.6.6.6"], vec!["for=6.6.6.6"], "203.0.113.9"),
            ("::ffff:10.0.0.1", vec!["203.0.113.7:4711"], vec![], "203.0.113.7"),
            ("::1", vec!["[2001:db8::7]:4711"], vec![], "2001:db8::7"),
            ("::1", vec!["2001:db8::7"], vec![], "2001:db8::7"),
            ("10.0.0.1", vec!["203.0.113.7, unknown"], vec![], "10.0.0.1"),
            ("10.0.0.1", vec!["203.0.113.7, "], vec![], "10.0.0.1"),
            ("10.0.0.1", vec![], vec!["for=6.6.6.6, for=203.0.113.7;proto=https;by=10.0.0.1"], "203.0.113.7"),
            ("10.0.0.1", vec![], vec!["For=\"[2001:db8::7]:4711\""], "2001:db8::7"),
            ("10.0.0.1", vec![], vec!["host=\"a,b\";for=203.0.113.7"], "203.0.113.7"),
            ("10.0.0.1", vec![], vec!["for=_hidden"], "10.0.0.1"),
            ("10.0.0.1", vec!["203.0.113.7"], vec!["for=203.0.113.7"], "203.0.113.7"),
            ("10.0.0.1", vec!["203.0.113.7"], vec!["for=6.6.6.6"], "10.0.0.1"),
        ] {
            let found = trusted.client(ip(peer), listed.iter().copied(), described.iter().copied());
            assert_eq!(found, ip(client), "{peer} {listed:?} {described:?}");
        }
    }

    proptest! {
        #[test]
        fn nobody_who_is_not_trusted_is_believed(line in "\\PC{0,60}", address: [u8; 4]) {
            let trusted = TrustedProxies::parse("10.0.0.0/8").unwrap();
            let peer = IpAddr::from(address);
            prop_assume!(!trusted.trusts(peer));
            prop_assert_eq!(trusted.client(peer, [line.as_str()].into_iter(), [line.as_str()].into_iter()), peer);
        }

        #[test]
        fn what_a_client_writes_itself_moves_nothing(line in "[0-9a-f.:,\\[\\]\" ;=for]{0,40}") {
            let trusted = TrustedProxies::parse("10.0.0.0/8").unwrap();
            let lines = [format!("{line}, 203.0.113.7")];
            let client = trusted.client(ip("10.0.0.1"), lines.iter().map(String::as_str), [].into_iter());
            prop_assert_eq!(client, ip("203.0.113.7"));
            let lines = [format!("{line}, for=203.0.113.7;proto=https")];
            let client = trusted.client(ip("10.0.0.1"), [].into_iter(), lines.iter().map(String::as_str));
            prop_assert_eq!(client, ip("203.0.113.7"));
        }
    }
}
