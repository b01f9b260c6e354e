//! What is set of calls, and where their applications are told to send.

use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};

/// Calls, by WebRTC or SIP.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct WebRtc {
    /// Where a call's sound and events pass: `direct`, between the application and the provider, `relay`, through here, or nowhere,
    /// `off`.
    pub(crate) mode: WebRtcMode,
    /// Whether a call is ended that cannot be watched, or goes on uncounted.
    pub(crate) sideband: Sideband,
    /// With `relay`: addresses under which this machine is reached, separated by commas; on loopback that one, unless it is said.
    pub(crate) public_ips: String,
    /// With `relay`: the first shard's port of UDP, behind which are those of the others; 0: any that are free.
    pub(crate) udp_port: u16,
    /// With `relay`: likewise of TCP; 0: none.
    pub(crate) tcp_port: u16,
}

impl WebRtc {
    /// Where the applications of relayed calls are told to send, where sessions are listened for at these addresses.
    ///
    /// # Errors
    /// What is no address, or that none is said.
    pub(crate) fn addresses(&self, listens: [&str; 2]) -> Result<Vec<IpAddr>, String> {
        let said = self.public_ips.split(',').map(str::trim).filter(|ip| !ip.is_empty());
        let read = |ip: &str| match ip.parse::<IpAddr>() {
            Ok(ip) if !ip.is_unspecified() && !ip.is_multicast() => Ok(ip),
            _ => Err(format!("{ip:?} is no address of a machine, such as 203.0.113.7 or 2001:db8::1")),
        };
        let said = said.map(read).collect::<Result<Vec<IpAddr>, String>>()?;
        if !said.is_empty() {
            return Ok(said);
        }
        let listens = listens.into_iter().filter_map(|text| text.parse().ok());
        let ips: Vec<IpAddr> = listens.map(|address: SocketAddr| address.ip()).collect();
        match ips.iter().all(IpAddr::is_loopback) {
            true => Ok(ips.into_iter().take(1).collect()),
            false => {
                Err("webrtc.mode = \"relay\" needs the addresses under which browsers reach this machine"
                    .to_owned())
            }
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WebRtcMode {
    Off,
    #[default]
    Direct,
    Relay,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Sideband {
    #[default]
    Required,
    BestEffort,
}
