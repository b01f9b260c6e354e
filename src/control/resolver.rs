//! Keeps the addresses of provider hosts fresh, so that no shard ever waits for DNS.

use crate::supervise::Supervisor;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokenist_handoff::{Addresses, Published};
use tokio::{net, time};
use tracing::{info, warn};

const FRESH: Duration = Duration::from_secs(30);
const RETRY: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(5);

/// Looks every `host:port` up once, so that the first session finds it, and goes on looking on a thread of its own.
/// A name that cannot be resolved is only warned of: it may be found later.
pub fn start(
    hosts: Vec<String>,
    addresses: Arc<Published<Addresses>>,
    supervisor: &Supervisor,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(refresh(&hosts, &addresses));
    let mut first = Some(runtime);
    let run = move || {
        let anew = || tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = first.take().map_or_else(anew, Ok).expect("a runtime for the resolver");
        runtime.block_on(keep_fresh(hosts.clone(), Arc::clone(&addresses)));
    };
    supervisor.spawn("resolver", run).map(drop)
}

/// Looks every `host:port` up now and again and again; to be spawned. A host that cannot be resolved keeps the
/// addresses it had.
pub async fn keep_fresh(hosts: Vec<String>, addresses: Arc<Published<Addresses>>) {
    loop {
        let pause = if refresh(&hosts, &addresses).await { FRESH } else { RETRY };
        time::sleep(pause).await;
    }
}

/// Looks every host up once and publishes what was found. Tells whether all were.
pub async fn refresh(hosts: &[String], addresses: &Published<Addresses>) -> bool {
    let mut lookups: Vec<_> = hosts.iter().map(|host| tokio::spawn(look_up(host.clone()))).collect();
    let mut fresh = Addresses::clone(&addresses.get());
    let mut all_found = true;
    for (host, lookup) in hosts.iter().zip(&mut lookups) {
        match lookup.await.unwrap_or_else(|_| Err("the lookup panicked".into())) {
            Ok(found) => fresh.insert(host, found),
            Err(cause) => {
                all_found = false;
                warn!(%host, cause, known = fresh.find(host).len(), "a provider's address was not found");
            }
        }
    }
    if fresh != *addresses.get() {
        info!(host_count = hosts.len(), "provider addresses changed");
        addresses.set(fresh);
    }
    all_found
}

async fn look_up(host_port: String) -> Result<Vec<SocketAddr>, String> {
    if let Ok(literal) = host_port.parse() {
        return Ok(vec![literal]);
    }
    let found: Vec<SocketAddr> = match time::timeout(PATIENCE, net::lookup_host(&host_port)).await {
        Ok(found) => found.map_err(|error| error.to_string())?.collect(),
        Err(_) => return Err("the lookup took too long".into()),
    };
    if found.is_empty() { Err("the name has no address".into()) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block_on(future: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future);
    }

    #[test]
    fn literals_and_names_are_found_and_a_failure_keeps_what_was_known() {
        block_on(async {
            let mut known = Addresses::default();
            known.insert("no.such.host.invalid:443", vec![([10, 0, 0, 1], 443).into()]);
            let addresses = Published::new(known);
            let hosts = ["127.0.0.1:8080", "[::1]:9", "localhost:80", "no.such.host.invalid:443"];
            assert!(!refresh(&hosts.map(String::from), &addresses).await);
            let found = addresses.get();
            assert_eq!(found.find("127.0.0.1:8080"), [([127, 0, 0, 1], 8080).into()]);
            assert_eq!(found.find("[::1]:9").len(), 1);
            assert!(found.find("localhost:80").iter().all(|address| address.ip().is_loopback()));
            assert_eq!(found.find("no.such.host.invalid:443"), [([10, 0, 0, 1], 443).into()]);
            assert_eq!(found.find("never.asked.for:443"), []);
        });
    }
}
