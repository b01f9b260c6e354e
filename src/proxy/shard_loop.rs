//! One shard's thread: it listens, obeys orders, ticks, and ends when a drain has ended.
//!
//! Start at [`run`].

use crate::config::Config;
use crate::environment::System;
use crate::links::Links;
use crate::listener;
use crate::port::Port;
use crate::port::bind::Sockets;
use crate::shard::Shard;
use monoio::net::UnixStream;
use monoio::time::{Duration, sleep};
use std::os::unix::net;
use std::rc::Rc;
use std::sync::Arc;
use tokenist_handoff::{Mailbox, Order};

/// Serves until a drain has ended.
pub(crate) async fn run(
    index: usize,
    config: Arc<Config>,
    links: Links,
    orders: Mailbox<Order>,
    system: System,
    mut sockets: listener::Sockets,
) {
    let shard = Rc::new(Shard::new(index, config, links, system));
    if let Some(sockets) = sockets.media.take() {
        open_port(&shard, sockets);
    }
    let listeners = listener::listen(&shard, sockets);
    let notifier = Arc::clone(orders.notifier());
    let obeying = monoio::spawn(obey(Rc::clone(&shard), orders));
    let tick = Duration::from_millis(shard.config.tick_ms);
    let mut listeners = Some(listeners);
    loop {
        sleep(tick).await;
        shard.tick();
        if shard.is_draining() {
            if let Some(listeners) = listeners.take() {
                listeners.close(&shard).await;
            }
            shard.send_away();
            if shard.connections.get() == 0 && shard.flush() {
                break;
            }
        }
    }
    // A ring is handed to the kernel when its shard goes to sleep. Without this, what the last connections and the
    // listeners left in it (closes, above all) would never be done: whoever waits for an end would wait for ever.
    shard.over.set(true);
    notifier.notify();
    obeying.await;
    sleep(Duration::from_millis(1)).await;
}

/// Takes what comes for relayed calls, for as long as the shard lives.
fn open_port(shard: &Rc<Shard>, sockets: Sockets) {
    match Port::new(sockets, &shard.config.media.public_ips).map(Rc::new) {
        Ok(port) => {
            let is_first = shard.port.set(Rc::clone(&port)).is_ok();
            assert!(is_first, "a shard has one port for calls");
            monoio::spawn(port.run());
        }
        Err(error) => tracing::error!(%error, "a shard cannot relay calls"),
    }
}

/// Carries out orders as they come.
async fn obey(shard: Rc<Shard>, orders: Mailbox<Order>) {
    let notifier = orders.notifier().try_clone_fd().map(net::UnixStream::from).and_then(UnixStream::from_std);
    let notifier = match notifier {
        Ok(notifier) => notifier,
        Err(error) => {
            // Ticks still sweep, so orders are late and not lost: the mailbox is drained by nobody else.
            tracing::error!(%error, "a shard cannot wait for its notifier");
            return;
        }
    };
    loop {
        let woken = notifier.readable(false).await;
        if shard.over.get() {
            return;
        }
        shard.obey(orders.drain());
        if let Err(error) = woken {
            tracing::error!(%error, "a shard's notifier is broken");
            sleep(Duration::from_millis(shard.config.tick_ms)).await;
        }
    }
}
