//! Connects to a host that has several addresses (RFC 8305): an address that does not answer soon is not waited for,
//! the next one is tried beside it, and the first that answers is taken.
//!
//! Start at [`connect`]. [`Winners`] remembers who answered, so that a dead address costs one session a moment and the
//! next ones nothing.

use monoio::net::TcpStream;
use monoio::time::{Duration, sleep};
use std::cell::RefCell;
use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::task::Poll;
use tokenist_core::time::Instant;

/// How long the last attempt is alone before the next begins (RFC 8305 §8).
const STAGGER: Duration = Duration::from_millis(250);
/// Of a host with more addresses the others are left out.
const ATTEMPTS_MAX: usize = 8;
/// After that the order that names are resolved in is tried again.
const REMEMBER_MS: u64 = 600_000;

/// Who answered last, by `host:port`; as many as there are providers.
#[derive(Debug, Default)]
pub(crate) struct Winners(RefCell<HashMap<String, (SocketAddr, Instant)>>);

impl Winners {
    pub(crate) fn find(&self, host: &str, now: Instant) -> Option<SocketAddr> {
        let (address, since) = self.0.borrow().get(host).copied()?;
        (now.since(since) < REMEMBER_MS).then_some(address)
    }

    pub(crate) fn remember(&self, host: &str, address: SocketAddr, now: Instant) {
        let mut winners = self.0.borrow_mut();
        match winners.get_mut(host) {
            // Its time runs from when it first won.
            Some((winner, since)) if *winner == address && now.since(*since) < REMEMBER_MS => {}
            Some(known) => *known = (address, now),
            None => drop(winners.insert(host.to_owned(), (address, now))),
        }
    }

    /// It answered, and then failed.
    pub(crate) fn forget(&self, host: &str) {
        self.0.borrow_mut().remove(host);
    }
}

/// In which order to try: who won last, then the families in turn, beginning with that of the first address.
pub(crate) fn order(addresses: &[SocketAddr], winner: Option<SocketAddr>) -> Vec<SocketAddr> {
    let winner = winner.filter(|winner| addresses.contains(winner));
    let leads_with_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let of = |v6: bool| addresses.iter().copied().filter(move |address| address.is_ipv6() == v6);
    let (mut first, mut second) = (of(leads_with_v6), of(!leads_with_v6));
    let mut order: Vec<SocketAddr> = winner.into_iter().collect();
    loop {
        let (one, other) = (first.next(), second.next());
        order.extend(one.into_iter().chain(other).filter(|address| Some(*address) != winner));
        if one.is_none() && other.is_none() {
            order.truncate(ATTEMPTS_MAX);
            return order;
        }
    }
}

/// Connects to the first of `addresses` that answers within `patience`. Attempts that are given up leave nothing behind:
/// the kernel hands back their sockets, and the runtime closes them.
///
/// # Errors
/// The last address's own, or that none answered in time.
pub(crate) async fn connect(
    addresses: &[SocketAddr],
    patience: Duration,
) -> io::Result<(TcpStream, SocketAddr)> {
    let attempt =
        |address: SocketAddr| Box::pin(async move { (address, TcpStream::connect_addr(address).await) });
    let mut waiting = addresses.iter().copied();
    let mut attempts: Vec<_> = waiting.next().map(attempt).into_iter().collect();
    let mut last = io::Error::from(io::ErrorKind::TimedOut);
    let mut over = pin!(sleep(patience));
    let mut alone = Box::pin(sleep(STAGGER));
    poll_fn(|context| {
        loop {
            let mut index = 0;
            while index < attempts.len() {
                match attempts[index].as_mut().poll(context) {
                    Poll::Ready((address, Ok(stream))) => return Poll::Ready(Ok((stream, address))),
                    Poll::Ready((_, Err(error))) => {
                        last = error;
                        drop(attempts.swap_remove(index));
                        // Who has failed is not waited for.
                        alone = Box::pin(sleep(Duration::ZERO));
                    }
                    Poll::Pending => index += 1,
                }
            }
            if over.as_mut().poll(context).is_ready() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            let is_due = attempts.is_empty() || alone.as_mut().poll(context).is_ready();
            let next = if is_due { waiting.next() } else { None };
            match next {
                Some(address) => {
                    attempts.push(attempt(address));
                    alone = Box::pin(sleep(STAGGER));
                }
                None if attempts.is_empty() => {
                    let error = std::mem::replace(&mut last, io::ErrorKind::TimedOut.into());
                    return Poll::Ready(Err(error));
                }
                None => return Poll::Pending,
            }
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use monoio::{IoUringDriver, LegacyDriver, RuntimeBuilder};
    use socket2::{Domain, Socket, Type};
    use std::net::TcpListener;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn families_take_turns_behind_who_won_last() {
        let [a, b, c, d] = ["[::1]:1", "[::2]:1", "1.1.1.1:1", "1.1.1.2:1"].map(address);
        assert_eq!(order(&[a, b, c, d], None), [a, c, b, d]);
        assert_eq!(order(&[c, a, b], None), [c, a, b]);
        assert_eq!(order(&[c, d], None), [c, d]);
        assert_eq!(order(&[a, b, c, d], Some(d)), [d, a, c, b]);
        assert_eq!(order(&[a, c], Some(d)), [a, c], "it is an address of this host no more");
        assert_eq!(order(&[a; 50], None).len(), ATTEMPTS_MAX);
        assert_eq!(order(&[], None), []);
    }

    #[test]
    fn a_winner_is_remembered_until_it_fails_or_for_a_while() {
        let winners = Winners::default();
        let (first, other) = (address("1.1.1.1:1"), address("1.1.1.2:1"));
        assert_eq!(winners.find("host:1", Instant(0)), None);
        winners.remember("host:1", first, Instant(1));
        winners.remember("host:1", first, Instant(500_000));
        assert_eq!(winners.find("host:1", Instant(600_000)), Some(first));
        assert_eq!(winners.find("host:1", Instant(600_001)), None, "its time runs from the first time");
        winners.remember("host:1", other, Instant(600_002));
        assert_eq!(winners.find("host:1", Instant(600_003)), Some(other));
        winners.forget("host:1");
        assert_eq!(winners.find("host:1", Instant(600_003)), None);
    }

    /// A listener whose queue is full: whoever connects hears nothing.
    struct Deaf {
        listener: Socket,
        _queue: Vec<Socket>,
    }

    impl Deaf {
        fn listen() -> Deaf {
            let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            listener.bind(&address("127.0.0.2:0").into()).unwrap();
            listener.listen(0).unwrap();
            let to = listener.local_addr().unwrap();
            let fill = |_| {
                let caller = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
                caller.set_nonblocking(true).unwrap();
                caller.connect(&to).unwrap_err();
                caller
            };
            Deaf { _queue: (0..8).map(fill).collect(), listener }
        }

        fn address(&self) -> SocketAddr {
            self.listener.local_addr().unwrap().as_socket().unwrap()
        }
    }

    /// Runs the same on both drivers.
    fn race(addresses: &[SocketAddr], patience: Duration) -> Vec<io::Result<SocketAddr>> {
        let race = async || connect(addresses, patience).await.map(|(_, winner)| winner);
        let epoll = RuntimeBuilder::<LegacyDriver>::new().enable_timer().build().unwrap().block_on(race());
        // Containers often forbid the other.
        let ring = RuntimeBuilder::<IoUringDriver>::new().enable_timer().build();
        let ring = ring.ok().map(|mut ring| ring.block_on(race()));
        [Some(epoll), ring].into_iter().flatten().collect()
    }

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn the_first_that_answers_is_taken_and_who_does_not_answer_is_not_waited_for() {
        let deaf = Deaf::listen();
        let alive = TcpListener::bind("127.0.0.1:0").unwrap();
        let alive = alive.local_addr().unwrap();
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        for addresses in
            [&[alive][..], &[deaf.address(), alive], &[closed, alive], &[deaf.address(), closed, alive]]
        {
            for winner in race(addresses, LONG) {
                assert_eq!(winner.unwrap(), alive, "of {addresses:?}");
            }
        }
    }

    #[test]
    fn where_nobody_answers_the_reason_is_told() {
        let deaf = Deaf::listen();
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        for (addresses, patience, kind) in [
            (&[closed, closed][..], LONG, io::ErrorKind::ConnectionRefused),
            (&[deaf.address(), deaf.address()], Duration::from_millis(400), io::ErrorKind::TimedOut),
            (&[closed, deaf.address()], Duration::from_millis(100), io::ErrorKind::TimedOut),
            (&[], LONG, io::ErrorKind::TimedOut),
        ] {
            for lost in race(addresses, patience) {
                assert_eq!(lost.unwrap_err().kind(), kind, "of {addresses:?}");
            }
        }
    }
}
