//! A proxy in front of MongoDB that misbehaves on command: late answers, lost answers, old writes after new ones, no
//! server at all.
//!
//! Every connection has two threads, one for what the client says and one for what the server does. Whole messages
//! pass; a test says with [`MongoProxy::set`] what shall become of them from now on.

mod message;

use crate::{Mongo, PATIENCE};
use message::Message;
use std::collections::{HashSet, VecDeque};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

/// What becomes of what passes. Commands go by the first key of their document, such as `update`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    Pass,
    /// Every answer comes so much later. Each connection waits for itself alone.
    Delay(Duration),
    /// So many commands of these names reach the server and are answered, but instead of the answer the client gets the
    /// end of its connection: applied, but never told. Then all passes.
    DropAnswer {
        commands: &'static [&'static str],
        times: u32,
    },
    /// Every `insert` and `update` is applied once more after a newer one has been: before the newer one is answered,
    /// the older comes again, as it was, on a connection of its own.
    Reorder,
    /// Every `insert` and `update` is answered for and reaches nobody, as if the server lost it when it died. Cut the
    /// connections for the death.
    Forget,
    /// The server says that it speaks no later version of the protocol than this.
    WireVersion(i32),
    /// The server is away: open connections are cut, new ones closed at once.
    Refuse,
}

#[derive(Debug)]
pub struct MongoProxy {
    uri: String,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    listen: SocketAddr,
    server: SocketAddr,
    state: Mutex<State>,
    /// No more connections: the proxy has been dropped.
    closed: AtomicBool,
    /// The number of the next message that is ours; far from those that drivers count up from 1.
    next_id: AtomicI32,
}

#[derive(Debug)]
struct State {
    mode: Mode,
    /// Both ends of every connection.
    open: Vec<TcpStream>,
    /// Writes to come again, the oldest first, with the order they were sent in.
    writes: VecDeque<(u64, Message)>,
    sent: u64,
    dropped: u32,
    replayed: u32,
    forgotten: u32,
}

/// What the two threads of a connection know of each other's messages.
#[derive(Debug, Default)]
struct Pending {
    /// Requests that must not be answered.
    dropped: HashSet<i32>,
    /// Requests that are writes, with the order they were sent in.
    writes: Vec<(i32, u64)>,
}

/// What shall happen to an answer.
enum Answer {
    Give,
    GiveLater(Duration),
    Drop,
}

impl MongoProxy {
    pub fn start(mongo: &Mongo) -> MongoProxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap_or_else(|error| panic!("{error}"));
        let listen = listener.local_addr().unwrap_or_else(|error| panic!("{error}"));
        let (uri, server) = by_way_of(&mongo.uri(), listen);
        let state = State {
            mode: Mode::Pass,
            open: Vec::new(),
            writes: VecDeque::new(),
            sent: 0,
            dropped: 0,
            replayed: 0,
            forgotten: 0,
        };
        let shared = Arc::new(Shared {
            listen,
            server,
            state: Mutex::new(state),
            closed: AtomicBool::new(false),
            next_id: AtomicI32::new(1 << 30),
        });
        let acceptor = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || shared.accept(&listener)
        });
        MongoProxy { uri, shared, acceptor: Some(acceptor) }
    }

    /// The server's own, with the proxy in its place. A direct connection does not follow the addresses that the server
    /// gives for itself.
    pub fn uri(&self) -> String {
        self.uri.clone()
    }

    /// From now on. What is on its way keeps to what was said when it was sent.
    pub fn set(&self, mode: Mode) {
        let mut state = self.shared.state();
        state.writes.clear();
        let refuse = mode == Mode::Refuse;
        state.mode = mode;
        if refuse {
            state.cut();
        }
    }

    /// Cuts all open connections, and lets new ones come.
    pub fn cut(&self) {
        self.shared.state().cut();
    }

    /// How many answers have been withheld since the start.
    pub fn dropped(&self) -> u32 {
        self.shared.state().dropped
    }

    /// How many writes have been answered for and forgotten since the start.
    pub fn forgotten(&self) -> u32 {
        self.shared.state().forgotten
    }

    /// How many old writes have been applied again since the start.
    pub fn replayed(&self) -> u32 {
        self.shared.state().replayed
    }
}

impl Drop for MongoProxy {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Release);
        self.shared.state().cut();
        // Whoever waits for a connection looks up when there is one.
        TcpStream::connect(self.shared.listen).ok();
        self.acceptor.take().map(JoinHandle::join);
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics with the state")
    }

    fn accept(self: &Arc<Shared>, listener: &TcpListener) {
        for client in listener.incoming().flatten() {
            if self.closed.load(Ordering::Acquire) {
                return;
            }
            // A server that is away is found out by the client: its connection ends.
            self.join(client).ok();
        }
    }

    /// Connects a client to the server, or closes it.
    fn join(self: &Arc<Shared>, client: TcpStream) -> std::io::Result<()> {
        if self.state().mode == Mode::Refuse {
            return Ok(());
        }
        let server = TcpStream::connect_timeout(&self.server, PATIENCE)?;
        for stream in [&client, &server] {
            stream.set_nodelay(true)?;
        }
        let ends = [client.try_clone()?, server.try_clone()?];
        let mut state = self.state();
        // It may have been said in between.
        if state.mode == Mode::Refuse {
            return Ok(());
        }
        state.open.extend(ends);
        drop(state);
        let pending = Arc::new(Mutex::new(Pending::default()));
        let requests = (client.try_clone()?, server.try_clone()?);
        let (to_server, to_client) = (Arc::clone(self), Arc::clone(self));
        let pending_answers = Arc::clone(&pending);
        std::thread::spawn(move || {
            let (client, server) = requests;
            to_server.carry_requests(&client, &server, &pending);
            close(&client, &server);
        });
        std::thread::spawn(move || {
            to_client.carry_answers(&server, &client, &pending_answers);
            close(&client, &server);
        });
        Ok(())
    }

    fn carry_requests(&self, client: &TcpStream, server: &TcpStream, pending: &Mutex<Pending>) {
        while let Some(message) = Message::read(client) {
            if self.forgets(&message) {
                if !message.done().write(client) {
                    return;
                }
                continue;
            }
            self.note_request(&message, &mut pending.lock().expect("nobody panics with what is pending"));
            if !message.write(server) {
                return;
            }
        }
    }

    fn forgets(&self, message: &Message) -> bool {
        let is_write = matches!(message.command(), Some("insert" | "update"));
        let mut state = self.state();
        let forgets = is_write && state.mode == Mode::Forget;
        state.forgotten += u32::from(forgets);
        forgets
    }

    /// Remembers what the answer to this request must know.
    fn note_request(&self, message: &Message, pending: &mut Pending) {
        let Some(command) = message.command() else { return };
        let mut state = self.state();
        match &mut state.mode {
            Mode::DropAnswer { commands, times } if *times > 0 && commands.contains(&command) => {
                *times -= 1;
                pending.dropped.insert(message.id());
            }
            Mode::Reorder if ["insert", "update"].contains(&command) => {
                state.sent += 1;
                let order = state.sent;
                state.writes.push_back((order, message.clone()));
                pending.writes.push((message.id(), order));
            }
            _ => {}
        }
    }

    fn carry_answers(&self, server: &TcpStream, client: &TcpStream, pending: &Mutex<Pending>) {
        while let Some(message) = Message::read(server) {
            let answer = {
                let mut pending = pending.lock().expect("nobody panics with what is pending");
                self.judge_answer(&message, &mut pending)
            };
            match answer {
                Answer::Give => {}
                Answer::GiveLater(delay) => std::thread::sleep(delay),
                Answer::Drop => return,
            }
            let message = match self.state().mode {
                Mode::WireVersion(version) => message.with_number("maxWireVersion", version),
                _ => message,
            };
            if !message.write(client) {
                return;
            }
        }
    }

    fn judge_answer(&self, message: &Message, pending: &mut Pending) -> Answer {
        let request = message.answers();
        if pending.dropped.remove(&request) {
            self.state().dropped += 1;
            return Answer::Drop;
        }
        if let Some(index) = pending.writes.iter().position(|&(id, _)| id == request) {
            let (_, order) = pending.writes.swap_remove(index);
            self.replay_before(order);
        }
        match self.state().mode {
            Mode::Delay(delay) => Answer::GiveLater(delay),
            _ => Answer::Give,
        }
    }

    /// Has the server apply again all that was written before, and waits for its answers.
    fn replay_before(&self, order: u64) {
        let older: Vec<_> = {
            let mut state = self.state();
            let count = state.writes.iter().take_while(|(sent, _)| *sent < order).count();
            state.writes.drain(..count).collect()
        };
        for (_, message) in older {
            let message = message.with_id(self.next_id.fetch_add(1, Ordering::Relaxed));
            let applied = TcpStream::connect_timeout(&self.server, PATIENCE)
                .and_then(|server| server.set_read_timeout(Some(PATIENCE)).map(|()| server))
                .is_ok_and(|server| message.write(&server) && Message::read(&server).is_some());
            // A server that is away has nothing applied.
            self.state().replayed += u32::from(applied);
        }
    }
}

impl State {
    fn cut(&mut self) {
        for stream in self.open.drain(..) {
            // It may have ended by itself.
            stream.shutdown(Shutdown::Both).ok();
        }
    }
}

fn close(client: &TcpStream, server: &TcpStream) {
    for stream in [client, server] {
        // The other thread may have been first.
        stream.shutdown(Shutdown::Both).ok();
    }
}

/// The same uri with the proxy for its server, and where that server is.
fn by_way_of(uri: &str, listen: SocketAddr) -> (String, SocketAddr) {
    let parts = uri.strip_prefix("mongodb://").map(|rest| {
        let (place, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (credentials, host) = place.rsplit_once('@').map_or(("", place), |(name, host)| (name, host));
        (credentials, host, path)
    });
    let Some((credentials, host, path)) = parts else { panic!("{uri} does not name one server") };
    let host = if host.contains(':') { host.to_owned() } else { format!("{host}:27017") };
    let server = host.to_socket_addrs().ok().and_then(|mut found| found.next());
    let server = server.unwrap_or_else(|| panic!("{uri} does not name one server"));
    let at = if credentials.is_empty() { "" } else { "@" };
    let (database, options) = path.split_once('?').unwrap_or((path, ""));
    let others =
        options.split('&').filter(|option| !option.is_empty() && !option.starts_with("directConnection"));
    let options: String = others.map(|option| format!("&{option}")).collect();
    (format!("mongodb://{credentials}{at}{listen}/{database}?directConnection=true{options}"), server)
}
