//! The data plane: shards that relay sessions between applications and a provider, and meter what passes.
//!
//! Start at [`start`], then `session` for what happens to one connection. Invariants: traffic is unaltered; a shard
//! never waits for another thread; what has been counted is reported.

pub mod accounts;
mod admission;
mod admit;
mod arrival;
pub mod asked;
mod authn;
mod behind_sound;
mod browser;
mod call;
mod caught;
mod client;
pub mod client_events;
mod clock;
mod config;
mod connect;
mod cors;
mod dial;
pub mod environment;
mod error;
mod head;
pub mod holders;
mod http;
mod io;
mod keys;
pub mod linger;
mod links;
mod listener;
pub mod live;
mod local;
mod opening;
mod pings;
mod port;
mod race;
mod refuse;
mod relay;
pub mod reporter;
mod request;
mod resumption;
mod session;
pub mod shard;
mod shard_loop;
pub mod stages;
mod tally;
pub mod tap;
mod tokens;
mod upgrade;
mod upstreams;
mod usage;

pub use config::{Config, Driver, IdentityRules, MediaListen, Provider, Refuse, Sideband, Unmetered, WebRtc};
pub use io::tls::{CertificateError, client_config, server_config};
pub use links::Links;
pub use rustls::{ClientConfig, ServerConfig};
pub use tokens::Signer;

use environment::System;
use listener::{Claim, Sockets};
use monoio::{IoUringDriver, LegacyDriver, RuntimeBuilder};
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use tokenist_handoff::{Lane, Mailbox, Order, ReportSender};

/// The running data plane.
#[derive(Debug)]
pub struct Proxy {
    pub listen: Option<SocketAddr>,
    pub tls_listen: Option<SocketAddr>,
    /// What the shards run on: `io_uring` or `epoll`.
    pub driver: &'static str,
    /// The CPU that each shard is bound to; empty if the kernel places them.
    pub cpus: Vec<usize>,
    /// Each ends when its shard has drained, with an error if it could not run.
    pub shards: Vec<JoinHandle<std::io::Result<()>>>,
}

/// Ring entries of a shard. Past them a submission goes to the kernel early.
const RING_ENTRIES: u32 = 4096;

/// Starts one shard for each mailbox, each with its lane of the journal, if there is one. `reports` is the way to the
/// aggregator. Both addresses are bound before this returns.
///
/// # Errors
/// An address cannot be bound, or somebody else listens on it, or the driver that was asked for is not to be had.
pub fn start(
    config: Config,
    links: Links,
    reports: ReportSender,
    mailboxes: Vec<Mailbox<Order>>,
    lanes: Vec<Lane>,
) -> std::io::Result<Proxy> {
    let count = mailboxes.len();
    let driver = choose_driver(config.driver)?;
    let claim = if config.takeover { Claim::Beside } else { Claim::Alone };
    let plain = listener::bind("proxy.listen", config.listen, count, claim)?;
    let tls = listener::bind("proxy.tls_listen", config.tls_listen, count, claim)?;
    let address = |sockets: &[Option<std::net::TcpListener>]| {
        sockets.first().and_then(Option::as_ref).map(std::net::TcpListener::local_addr).transpose()
    };
    let (listen, tls_listen) = (address(&plain)?, address(&tls)?);
    let media = match config.webrtc {
        WebRtc::Relay => port::bind::bind(&config.media, count)?,
        WebRtc::Off | WebRtc::Direct => Vec::new(),
    };
    let cpus = if config.pin { one_each(count, affinity()) } else { Vec::new() };
    let config = Arc::new(config);
    let mut shards = Vec::with_capacity(count);
    let (mut lanes, mut media) = (lanes.into_iter(), media.into_iter());
    for (index, ((mailbox, plain), tls)) in mailboxes.into_iter().zip(plain).zip(tls).enumerate() {
        let (lane, reports, media) = (lanes.next(), reports.clone(), media.next());
        let (config, links, cpu) = (Arc::clone(&config), links.clone(), cpus.get(index).copied());
        let serve = move || {
            if let Some(cpu) = cpu
                && let Err(error) = monoio::utils::bind_to_cpu_set([cpu])
            {
                tracing::warn!(shard = index, cpu, %error, "a shard could not be pinned");
            }
            let system = System::new(lane, reports);
            block_on(
                driver,
                shard_loop::run(index, config, links, mailbox, system, Sockets { plain, tls, media }),
            )
        };
        shards.push(thread::Builder::new().name(format!("shard-{index}")).spawn(serve)?);
    }
    Ok(Proxy { listen, tls_listen, driver: driver.name(), cpus, shards })
}

/// Whether calls that go by here would have their ports now, in so many shards.
///
/// # Errors
/// One of them is taken: which, and why.
pub fn check_media(listen: &MediaListen, shard_count: usize) -> std::io::Result<()> {
    port::bind::bind(listen, shard_count).map(drop)
}

/// Whether the driver that is asked for is to be had here.
///
/// # Errors
/// It is not, and why.
pub fn check_driver(asked: Driver) -> std::io::Result<()> {
    choose_driver(asked).map(drop)
}

/// The driver that was settled on.
#[derive(Clone, Copy)]
enum Chosen {
    IoUring(Ring),
    Epoll,
}

/// How completions reach a shard.
#[derive(Clone, Copy)]
enum Ring {
    /// When the shard asks for them, and at no other time: it is never interrupted. Since Linux 6.1.
    Deferred,
    Plain,
}

impl Ring {
    fn builder(self) -> RuntimeBuilder<IoUringDriver> {
        let mut setup = io_uring::IoUring::builder();
        if let Ring::Deferred = self {
            setup.setup_single_issuer().setup_defer_taskrun();
        }
        RuntimeBuilder::<IoUringDriver>::new().with_entries(RING_ENTRIES).uring_builder(setup)
    }
}

impl Chosen {
    fn name(self) -> &'static str {
        match self {
            Chosen::IoUring(_) => "io_uring",
            Chosen::Epoll => "epoll",
        }
    }
}

/// Tries a ring, because container runtimes often forbid io_uring, and the better one first.
fn choose_driver(asked: Driver) -> std::io::Result<Chosen> {
    let deferred = || Ring::Deferred.builder().build().map(|_| Ring::Deferred);
    let plain = |_| Ring::Plain.builder().build().map(|_| Ring::Plain);
    let ring = || deferred().or_else(plain).map(Chosen::IoUring);
    match asked {
        Driver::Epoll => Ok(Chosen::Epoll),
        Driver::IoUring => ring().map_err(|error| {
            let hint = "set proxy.driver = \"auto\" or \"epoll\"";
            std::io::Error::new(error.kind(), format!("io_uring is not to be had here ({error}); {hint}"))
        }),
        Driver::Auto => Ok(ring().unwrap_or_else(|error| {
            tracing::warn!(%error, "io_uring is not to be had here, so shards run on epoll");
            Chosen::Epoll
        })),
    }
}

fn block_on(driver: Chosen, shard: impl Future<Output = ()>) -> std::io::Result<()> {
    match driver {
        Chosen::IoUring(ring) => ring.builder().enable_timer().build()?.block_on(shard),
        Chosen::Epoll => RuntimeBuilder::<LegacyDriver>::new().enable_timer().build()?.block_on(shard),
    }
    Ok(())
}

/// A CPU for each shard where they are as many as the CPUs this process may use. With fewer shards, whoever pins takes
/// the first CPUs, and so would each other process on this machine: there the kernel finds the free ones.
fn one_each(shard_count: usize, cpus: Option<Vec<usize>>) -> Vec<usize> {
    cpus.filter(|cpus| cpus.len() == shard_count).unwrap_or_default()
}

/// The CPUs in this process's mask, as the kernel lists them.
fn affinity() -> Option<Vec<usize>> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    let mut cpus = Vec::new();
    for range in list.trim().split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        cpus.extend(first.parse::<usize>().ok()?..=last.parse().ok()?);
    }
    Some(cpus)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_pinned_where_each_has_a_cpu_and_each_cpu_a_shard() {
        assert_eq!(one_each(2, Some(vec![0, 1])), [0, 1]);
        assert_eq!(one_each(2, Some(vec![3, 7])), [3, 7]);
        for (shard_count, cpus) in
            [(1, Some(vec![0, 1])), (3, Some(vec![0, 1])), (1, None), (1, Some(vec![]))]
        {
            assert_eq!(one_each(shard_count, cpus), Vec::<usize>::new());
        }
    }
}
