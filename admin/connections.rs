//! Which clients have a connection, and which lose it to a newcomer.
//!
//! Start at [`Connections::room`]. A **guest** has shown no right credential yet. A client that keeps us waiting, for
//! a head, a body, or to take an answer, may lose its connection once it has done so for [`GRACE`]; whose request is
//! worked on keeps it. Of guests that keep us waiting an address may have so many and all so many: past it the one
//! that has done so longest goes. If no slot is left, one goes, guests first.
//!
//! Invariant: no client that only keeps us waiting keeps a newcomer waiting for much longer than [`GRACE`].

use crate::throttle::network;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokenist_core::client::TrustedProxies;
use tokio::sync::Notify;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep};

#[derive(Debug)]
pub(crate) struct Connections {
    bounds: Bounds,
    /// Each stands for many clients, so only the bound of all guests holds for them.
    trusted: TrustedProxies,
    /// In the order in which they came, which their numbers tell.
    open: Mutex<BTreeMap<u64, Arc<Connection>>>,
    next: AtomicU64,
    freed: Notify,
}

#[derive(Clone, Copy, Debug)]
struct Bounds {
    all: usize,
    /// Guests from elsewhere that keep us waiting. The other slots are for peers that are signed in, and for this
    /// machine.
    guests: usize,
    /// Guests of one address, or IPv6 /64, that do.
    of_address: usize,
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Connection {
    end: Notify,
    state: Mutex<State>,
}

/// A place that is given back when this is dropped.
#[derive(Debug)]
pub(crate) struct ConnectionSlot {
    connections: Arc<Connections>,
    number: u64,
    pub(crate) connection: Arc<Connection>,
}

#[derive(Clone, Copy, Debug)]
struct State {
    /// `None`: a trusted proxy.
    network: Option<IpAddr>,
    is_here: bool,
    /// The last credential that it has shown was right.
    is_known: bool,
    stage: Stage,
    since: Instant,
    /// When it has last taken something of an answer.
    took_at: Instant,
    /// It does not take what is written.
    is_stuck: bool,
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// A request's head.
    Head,
    /// The rest of a request.
    Body,
    /// Us.
    Work,
    /// The answer's end.
    Answer,
}

impl Connections {
    pub(crate) fn new(all: usize, trusted: TrustedProxies) -> Connections {
        let part = |divisor: usize| (all / divisor).max(1);
        let bounds = Bounds { all, guests: part(2), of_address: part(8) };
        Connections { bounds, trusted, open: Mutex::default(), next: AtomicU64::new(0), freed: Notify::new() }
    }

    /// Waits until there is a place for one more, and sees to it.
    pub(crate) async fn room(&self) {
        loop {
            if self.chosen(Instant::now()).is_empty() && !self.is_full() {
                return;
            }
            // Whose bytes are here already is read first.
            for _ in 0..TURNS {
                yield_now().await;
            }
            let now = Instant::now();
            self.end(&self.chosen(now));
            if !self.is_full() {
                return;
            }
            tokio::select! {
                () = self.freed.notified() => {}
                () = sleep(GRACE / 4) => {}
            }
        }
    }

    /// Call it once there is room.
    pub(crate) fn enter(self: &Arc<Connections>, peer: IpAddr, now: Instant) -> ConnectionSlot {
        let state = State {
            network: self.network(peer),
            is_here: peer.to_canonical().is_loopback(),
            is_known: false,
            stage: Stage::Head,
            since: now,
            took_at: now,
            is_stuck: false,
        };
        let connection = Arc::new(Connection { end: Notify::new(), state: Mutex::new(state) });
        // One that was ended may still give its place back, so no number comes twice.
        let number = self.next.fetch_add(1, Relaxed);
        lock(&self.open).insert(number, Arc::clone(&connection));
        ConnectionSlot { connections: Arc::clone(self), number, connection }
    }

    /// Returns when no connection is left.
    pub(crate) async fn empty(&self) {
        while !lock(&self.open).is_empty() {
            self.freed.notified().await;
        }
    }

    fn network(&self, peer: IpAddr) -> Option<IpAddr> {
        (!self.trusted.trusts(peer)).then(|| network(peer))
    }

    fn is_full(&self) -> bool {
        lock(&self.open).len() >= self.bounds.all
    }

    /// The connections that have to go, for there to be room.
    fn chosen(&self, now: Instant) -> Vec<u64> {
        let open = lock(&self.open);
        let states: Vec<(u64, State)> =
            open.iter().map(|(number, connection)| (*number, *connection.state())).collect();
        choose(&states, self.bounds, now)
    }

    fn end(&self, numbers: &[u64]) {
        let mut open = lock(&self.open);
        for connection in numbers.iter().filter_map(|number| open.remove(number)) {
            let State { network, stage, .. } = *connection.state();
            tracing::debug!(?network, ?stage, "admin connection ended for a newcomer: it kept us waiting");
            connection.end.notify_one();
        }
    }
}

/// Which to end, so that a newcomer finds room as soon as it may. Those in `states` are in the order in which they came.
fn choose(states: &[(u64, State)], bounds: Bounds, now: Instant) -> Vec<u64> {
    let is_ripe = |state: &State| now.saturating_duration_since(state.since) >= GRACE;
    let mut guests: Vec<(u64, State)> =
        states.iter().filter(|(_, state)| !state.is_known && state.keeps_us_waiting()).copied().collect();
    guests.sort_by_key(|(number, state)| (state.since, *number));
    let mut counts: HashMap<Option<IpAddr>, usize> = HashMap::new();
    for (_, state) in &guests {
        *counts.entry(state.network).or_default() += 1;
    }
    let mut from_elsewhere = guests.iter().filter(|(_, state)| !state.is_here).count();
    let mut chosen = Vec::new();
    guests.retain(|(number, state)| {
        let count = counts.get_mut(&state.network).expect("all were counted");
        let is_chosen = state.network.is_some() && *count > bounds.of_address && is_ripe(state);
        if is_chosen {
            *count -= 1;
            from_elsewhere -= usize::from(!state.is_here);
            chosen.push(*number);
        }
        !is_chosen
    });
    // The one that has waited longest, of the network that has the most.
    let mut next = |guests: &mut Vec<(u64, State)>, may: &dyn Fn(&State) -> bool| {
        let most = |state: &State| counts.get(&state.network).copied().unwrap_or_default();
        let largest = guests.iter().filter(|(_, state)| may(state)).map(|(_, state)| most(state)).max()?;
        let index = guests.iter().position(|(_, state)| may(state) && most(state) == largest)?;
        let (number, state) = guests[index];
        is_ripe(&state).then(|| {
            guests.remove(index);
            *counts.get_mut(&state.network).expect("all were counted") -= 1;
            number
        })
    };
    while from_elsewhere > bounds.guests {
        let Some(number) = next(&mut guests, &|state| !state.is_here) else { break };
        from_elsewhere -= 1;
        chosen.push(number);
    }
    if states.len() - chosen.len() < bounds.all {
        return chosen;
    }
    if !guests.is_empty() {
        chosen.extend(next(&mut guests, &|_| true));
        return chosen;
    }
    let longest = |may: &dyn Fn(&State) -> bool| {
        let may = states.iter().filter(|(number, state)| may(state) && !chosen.contains(number));
        may.min_by_key(|(number, state)| (state.since, *number)).copied()
    };
    let idle = longest(&|state| state.is_known && state.stage == Stage::Head && !state.is_stuck);
    let slow = longest(&|state| state.is_known && state.keeps_us_waiting());
    let one = match (idle, slow) {
        (Some(idle), _) => Some(idle),
        (None, Some(slow)) => Some(slow).filter(|(_, state)| is_ripe(state)),
        // All guests that are left are worked for.
        (None, None) => longest(&|state| !state.is_known),
    };
    chosen.extend(one.map(|(number, _)| number));
    chosen
}

impl State {
    fn keeps_us_waiting(&self) -> bool {
        self.is_stuck || matches!(self.stage, Stage::Head | Stage::Body)
    }
}

impl ConnectionSlot {
    /// The connection is of another client than the address says.
    pub(crate) fn is_of(&self, client: IpAddr) {
        let network = self.connections.network(client);
        let mut state = self.connection.state();
        (state.network, state.is_here) = (network, client.to_canonical().is_loopback());
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        lock(&self.connections.open).remove(&self.number);
        self.connections.freed.notify_one();
    }
}

impl Connection {
    /// Returns when the slot is wanted for another client.
    pub(crate) async fn ended(&self) {
        self.end.notified().await;
    }

    /// Returns when a guest has kept us waiting for so long.
    pub(crate) async fn overdue(&self, patience: Duration) {
        loop {
            sleep(patience / 4).await;
            let State { is_known, since, took_at, .. } = *self.state();
            let is_waited_for = !is_known && self.state().keeps_us_waiting();
            if is_waited_for && since.max(took_at).elapsed() >= patience {
                return;
            }
        }
    }

    /// Whether the credential of the request that is worked on is right.
    pub(crate) fn is_known(&self, is_known: bool) {
        self.state().is_known = is_known;
    }

    /// A head is here, and perhaps all of a body.
    pub(crate) fn began(&self, has_more: bool, now: Instant) {
        self.pass(if has_more { Stage::Body } else { Stage::Work }, now);
    }

    /// The rest of the request is here, or is not wanted.
    pub(crate) fn has_all(&self, now: Instant) {
        let is_body = self.state().stage == Stage::Body;
        if is_body {
            self.pass(Stage::Work, now);
        }
    }

    pub(crate) fn answers(&self, now: Instant) {
        self.pass(Stage::Answer, now);
    }

    /// All of the answer was written, or is about to be.
    pub(crate) fn has_answered(&self, now: Instant) {
        self.pass(Stage::Head, now);
    }

    /// Something that was written was taken, or has to wait.
    pub(crate) fn wrote(&self, is_taken: bool, now: Instant) {
        let mut state = self.state();
        state.is_stuck = !is_taken;
        if is_taken {
            state.took_at = now;
        }
    }

    fn pass(&self, stage: Stage, now: Instant) {
        let mut state = self.state();
        (state.stage, state.since) = (stage, now);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long a client may keep us waiting where its slot is wanted. What an honest client sends first is there with its
/// connection.
const GRACE: Duration = Duration::from_millis(100);
/// How often all tasks that have something to do are let go first; in each turn some 60 are.
const TURNS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { all: 8, guests: 4, of_address: 2 };

    struct Hall {
        start: Instant,
        states: Vec<(u64, State)>,
    }

    impl Hall {
        fn new() -> Hall {
            Hall { start: Instant::now(), states: Vec::new() }
        }

        /// One who does this for so many milliseconds. By 0 a trusted proxy is meant, by 127 this machine.
        fn with(mut self, network: u8, is_known: bool, stage: Stage, for_ms: u64) -> Hall {
            let since = self.now() - Duration::from_millis(for_ms);
            let state = State {
                network: (network > 0).then(|| [network, 0, 0, 1].into()),
                is_here: network == 127,
                is_known,
                stage,
                since,
                took_at: since,
                is_stuck: false,
            };
            self.states.push((self.states.len() as u64, state));
            self
        }

        fn guests(self, count: usize, network: u8, for_ms: u64) -> Hall {
            (0..count).fold(self, |hall, _| hall.with(network, false, Stage::Head, for_ms))
        }

        fn stuck(mut self) -> Hall {
            self.states.last_mut().unwrap().1.is_stuck = true;
            self
        }

        fn now(&self) -> Instant {
            self.start + Duration::from_secs(60)
        }

        #[track_caller]
        fn check(self, expected: &[u64]) {
            assert_eq!(choose(&self.states, BOUNDS, self.now()), expected);
        }
    }

    #[test]
    fn guests_of_one_address_are_bounded_and_the_oldest_go() {
        Hall::new().guests(2, 1, 500).check(&[]);
        Hall::new().guests(1, 1, 200).guests(2, 1, 500).check(&[1]);
        Hall::new().guests(3, 1, 50).check(&[]);
        Hall::new().guests(3, 127, 500).check(&[0]);
        Hall::new().guests(4, 0, 500).check(&[]);
        Hall::new()
            .guests(2, 1, 500)
            .with(1, false, Stage::Work, 900)
            .with(1, true, Stage::Head, 900)
            .check(&[]);
        Hall::new().guests(2, 1, 500).with(1, false, Stage::Answer, 900).stuck().check(&[2]);
    }

    #[test]
    fn guests_from_elsewhere_leave_half_of_the_places_and_the_largest_crowd_pays() {
        Hall::new().guests(1, 1, 900).guests(2, 2, 500).guests(2, 3, 400).check(&[1]);
        Hall::new().guests(1, 1, 900).guests(5, 0, 500).check(&[1, 2]);
        Hall::new().guests(4, 0, 500).guests(2, 127, 900).check(&[]);
    }

    #[test]
    fn who_is_signed_in_pays_last_and_only_for_idleness() {
        let known = |hall: Hall, stage, for_ms| hall.with(9, true, stage, for_ms);
        let working = |count| (0..count).fold(Hall::new(), |hall, _| known(hall, Stage::Work, 9_000));
        known(working(7), Stage::Head, 1).check(&[7]);
        known(working(7), Stage::Body, 500).check(&[7]);
        known(working(7), Stage::Body, 50).check(&[]);
        known(known(working(6), Stage::Body, 5_000), Stage::Head, 1).check(&[7]);
        known(working(7), Stage::Answer, 9_000).check(&[]);
        known(working(7), Stage::Answer, 9_000).stuck().check(&[7]);
        known(known(working(5), Stage::Head, 9_000), Stage::Body, 9_000).guests(1, 1, 500).check(&[7]);
        known(known(working(5), Stage::Head, 9_000), Stage::Body, 9_000).guests(1, 1, 50).check(&[]);
        working(7).with(1, false, Stage::Work, 1).check(&[7]);
        working(8).check(&[]);
    }

    #[test]
    fn a_full_house_of_guests_has_room_for_a_newcomer() {
        let connections = Arc::new(Connections::new(8, TrustedProxies::default()));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        runtime.unwrap().block_on(async {
            let mut open = Vec::new();
            for n in 0..40 {
                connections.room().await;
                open.push(connections.enter([10, 0, 0, n % 3].into(), Instant::now()));
                assert!(lock(&connections.open).len() <= 8);
            }
            let known = connections.enter([10, 0, 0, 9].into(), Instant::now());
            known.connection.is_known(true);
            for n in 0..20 {
                connections.room().await;
                open.push(connections.enter([10, 0, 0, n].into(), Instant::now()));
            }
            assert!(lock(&connections.open).contains_key(&known.number));
            drop((open, known));
            connections.empty().await;
        });
    }
}
