//! One simulated session of any dialect: greets, hears, sends what the dialect says and misbehaves on command. What a
//! protocol has to say for itself is a [`Dialect`]; all else, from the handshake to the audit, is the same for all.
//!
//! Start at [`run`]. A dialect is a file that implements the trait, and a line in [`super::route`].

mod load;
pub(super) mod response;

use super::Shard;
use super::audit::{Booking, Fact};
use super::conversation::{Asked, Conversation};
use super::frame;
use super::line::Line;
use super::refusal::{self, Credential, Refusal};
use super::sim::{Fault, Load, Point, Sim, UsageForm};
use super::wire::Wire;
use crate::http::Request;
use crate::link::{Delivery, HangUp, Outbox};
use crate::stamp;
use crate::ws::{BINARY, CLOSE, FIN, Header, Inbound, Message, PING, PONG, TEXT};
use response::Response;
use serde_json::Value;
use std::cell::{Cell, RefCell};
use std::fmt::Debug;
use std::io;
use std::ops::ControlFlow;
use std::rc::Rc;
use std::time::Duration;
use tokenist_core::usage::Usage;

/// The bytes that may wait for the socket before a response pauses.
pub(super) const QUEUED_BYTES: usize = 1 << 20;
/// How long a peer may take to answer our close.
const CLOSE_WAIT: Duration = Duration::from_secs(5);

/// One session's state in a protocol, and the protocol's words.
pub(super) trait Dialect: Debug + Sized + 'static {
    /// What a response keeps beside what all of them do.
    type Reply: Debug;

    /// Of the frames that messages come in.
    const OPCODE: u8;
    /// The forms in which this protocol can tell, or fail to tell, what was used.
    const FORMS: &'static [UsageForm];
    /// A message that breaks off.
    const TORN: &'static [u8];
    /// What sessions that are only load send.
    const LOAD: stamp::Form;

    /// Whether a path, without slashes at its end, is one of this protocol's.
    fn serves(path: &str) -> bool;
    /// The key that a request shows.
    fn key(request: &Request) -> Option<String> {
        refusal::usual_key(request)
    }
    /// Says no to a credential in HTTP, where the protocol does so.
    fn admit(credential: Credential) -> Result<(), Refusal> {
        match credential {
            Credential::Right => Ok(()),
            Credential::Wrong | Credential::Missing => {
                Err(Refusal::new(401, "invalid_api_key", "Incorrect API key provided."))
            }
        }
    }
    /// The body that tells a refusal in HTTP.
    fn refusal(refusal: &Refusal) -> Value {
        refusal.usual_body()
    }
    /// A session of its own number begins.
    fn open(shard: &Shard, request: &Request, credential: Credential, sim: &Sim) -> Opening<Self>;

    /// What the provider says of itself once the upgrade is answered. The session is open when
    /// [`Session::opened`] has been called, here or after what the client says first.
    fn greet(session: &Rc<Session<Self>>);
    /// A client's message, which is JSON.
    fn hear(session: &Rc<Session<Self>>, message: &Value);
    fn hear_no_json(session: &Session<Self>, error: &serde_json::Error);
    /// Takes a client's message that is to be no JSON; whether it was one.
    fn hear_raw(_session: &Rc<Session<Self>>, _message: &Message<'_>) -> bool {
        false
    }

    /// A response's course: it has begun; what stands before its first chunk; a chunk; what stands between the last
    /// chunk and its end.
    fn begin(session: &Session<Self>, response: &Response<Self>);
    fn before_chunks(session: &Session<Self>, response: &Response<Self>);
    fn chunk(session: &Session<Self>, response: &Response<Self>);
    fn after_chunks(session: &Session<Self>, response: &Response<Self>);
    /// Its end, which tells what it used, and with which the session hears the client again.
    fn finish(session: &Session<Self>, response: &Response<Self>);
    /// The client is gone, or has been told to go.
    fn gone(_session: &Session<Self>) {}
    /// It has left the session, whether or not it came to its end.
    fn left(_session: &Rc<Session<Self>>) {}
    /// What of a usage this protocol can tell.
    fn tellable(_session: &Session<Self>, usage: Usage) -> Usage {
        usage
    }
    /// Whom the audit counts it for; `None` where its end is to tell nothing.
    fn booking(session: &Session<Self>, response: &Response<Self>) -> Option<Booking>;

    /// A message of about so many bytes.
    fn giant(session: &Session<Self>, response: Option<&Response<Self>>, bytes: usize) -> Vec<u8>;
    /// The connection will end in so many milliseconds. Not every protocol has a word for that.
    fn go_away(_left_ms: u64) -> Option<Vec<u8>> {
        None
    }
}

/// A protocol that is also spoken on calls, where sound goes beside the messages.
pub(super) trait Callable: Dialect {
    /// The id that a call is known by.
    fn call_id(session: &Session<Self>) -> String;
    /// The session begins as the call was asked for.
    fn set_up(session: &Rc<Session<Self>>, config: &Value);
    /// So many milliseconds of sound came.
    fn hear_sound(session: &Rc<Session<Self>>, ms: u64);
    /// What a response said has been heard to its end.
    fn played(_session: &Session<Self>, _response_id: &str) {}
}

/// What the handshake settled.
#[derive(Debug)]
pub(super) struct Opening<D> {
    pub(super) index: u64,
    pub(super) dialect: D,
}

/// A form of usage that a protocol has no words for is refused like a word that nobody knows.
pub(super) fn understood<D: Dialect>(sim: &Sim) -> Result<(), String> {
    if let Some(load @ Load::Words { .. }) = sim.load {
        return Err(format!("not understood here: load {load:?}"));
    }
    match D::FORMS.contains(&sim.usage) {
        true => Ok(()),
        false => Err(format!("not understood here: usage {:?}", sim.usage)),
    }
}

#[derive(Debug)]
pub(super) struct Session<D: Dialect> {
    pub(super) shard: Rc<Shard>,
    pub(super) line: Line,
    pub(super) dialect: D,
    pub(super) sim: Sim,
    /// What the audit counts this session under, unless a response says otherwise.
    pub(super) key: String,
    pub(super) conversation: RefCell<Conversation>,
    pub(super) active: RefCell<Vec<Rc<Response<D>>>>,
    open: Cell<bool>,
    /// A close frame has been sent: nothing may follow it.
    closing: Cell<bool>,
}

/// Runs a session to its end and returns the code that the peer closed it with.
pub(super) async fn run<D: Dialect>(
    session: Rc<Session<D>>,
    inbound: &mut Inbound,
    outbox: &Rc<Outbox>,
) -> io::Result<u16> {
    D::greet(&session);
    let close_code = session.serve(inbound, outbox).await;
    end(&session, *close_code.as_ref().unwrap_or(&1006));
    close_code
}

/// The client is gone; `close_code` is what it closed with.
pub(super) fn end<D: Dialect>(session: &Session<D>, close_code: u16) {
    session.closing.set(true);
    session.active.borrow().iter().for_each(|response| response.cancel());
    D::gone(session);
    session.shard.audit().closed(&session.id(), close_code);
}

impl<D: Dialect> Session<D> {
    pub(super) fn new(
        shard: Rc<Shard>,
        line: Line,
        opening: Opening<D>,
        sim: Sim,
        key: String,
    ) -> Rc<Session<D>> {
        Rc::new(Session {
            conversation: RefCell::new(Conversation::of(opening.index)),
            dialect: opening.dialect,
            shard,
            line,
            sim,
            key,
            active: RefCell::default(),
            open: Cell::new(false),
            closing: Cell::new(false),
        })
    }

    /// The dialect has greeted: from here on it is a session, and it is billed at this model.
    pub(super) fn opened(&self, model: &str) {
        self.open.set(true);
        self.shard.audit().opened(&self.id(), &self.key, model);
    }

    /// Likewise, and it goes on with a session that was open before.
    pub(super) fn resumed(&self, model: &str) {
        self.open.set(true);
        self.shard.audit().resumed(&self.id(), &self.key, model);
    }

    /// Of its first connection.
    pub(super) fn id(&self) -> String {
        format!("sess_{:08x}{:08x}", self.shard.options.seed as u32, self.conversation.borrow().index)
    }

    pub(super) fn is_open(&self) -> bool {
        self.open.get()
    }

    /// What it speaks through if it is that of a call.
    pub(super) fn wire(&self) -> Option<&Wire> {
        match &self.line {
            Line::Socket(_) => None,
            Line::Call(wire) => Some(wire),
        }
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing.get()
    }

    async fn serve(self: &Rc<Session<D>>, inbound: &mut Inbound, outbox: &Rc<Outbox>) -> io::Result<u16> {
        while !self.open.get() {
            let Some(message) = inbound.message().await? else { return Ok(1006) };
            if let Some(close_code) = self.take(&message) {
                return Ok(close_code);
            }
        }
        self.fail_once_greeted();
        if self.sim.ping_ms > 0 {
            monoio::spawn(self.clone().ping());
        }
        match self.sim.load {
            Some(load) => load::run::<D>(&self.shard, load, inbound, outbox).await,
            None => self.listen(inbound).await,
        }
    }

    /// The greeting has been said: what is to go wrong now does.
    pub(super) fn fail_once_greeted(self: &Rc<Session<D>>) {
        if self.sim.faults_at(Point::Greeting).count() > 0 {
            let greeting = self.clone();
            monoio::spawn(async move { greeting.fail(&greeting.sim, Point::Greeting, None).await });
        }
    }

    /// Reads the client's messages until the peer closes or is gone.
    async fn listen(self: &Rc<Session<D>>, inbound: &mut Inbound) -> io::Result<u16> {
        while let Some(message) = inbound.message().await? {
            if let Some(close_code) = self.take(&message) {
                return Ok(close_code);
            }
        }
        Ok(1006)
    }

    /// Takes a message; gives the code if it is a close.
    pub(super) fn take(self: &Rc<Session<D>>, message: &Message<'_>) -> Option<u16> {
        match message.opcode {
            TEXT | BINARY if self.closing.get() || D::hear_raw(self, message) => {}
            TEXT | BINARY => match serde_json::from_slice(message.payload) {
                Ok(event) => D::hear(self, &event),
                Err(error) => D::hear_no_json(self, &error),
            },
            PING => self.control(PONG, message.payload),
            CLOSE => {
                if !self.closing.replace(true) {
                    self.line.control(CLOSE, message.payload);
                }
                return Some(message.close_reason().0);
            }
            _ => {}
        }
        None
    }

    /// Begins a response. What it keeps for its dialect is made once it is known what it was asked with.
    pub(super) fn respond(self: &Rc<Session<D>>, sim: Sim, make: impl FnOnce(Sim, Asked) -> Response<D>) {
        let asked = self.conversation.borrow_mut().ask(self.shard.options.seed, &sim);
        let response = Rc::new(make(sim, asked));
        self.active.borrow_mut().push(response.clone());
        monoio::spawn(response::run(self.clone(), response));
    }

    /// How a response shall behave that came with `words`.
    pub(super) fn sim_with(&self, words: &str) -> Result<Sim, String> {
        let sim = self.sim.with(words)?;
        understood::<D>(&sim).map(|()| sim)
    }

    /// Sends a message in the shape that `sim` asks for.
    pub(super) fn send(&self, sim: &Sim, payload: &[u8]) {
        if !self.closing.get() {
            self.line.say(sim, D::OPCODE, payload, None);
        }
    }

    /// As [`Session::send`]; the audit learns what became of it.
    pub(super) fn book(&self, sim: &Sim, payload: &[u8], booking: Booking) {
        if self.closing.get() {
            return self.count(&booking, booking.lost);
        }
        let (shard, id) = (self.shard.clone(), self.id());
        let receipt = Box::new(move |delivery| {
            let fact = match delivery {
                Delivery::Whole => booking.delivered,
                Delivery::Lost => booking.lost,
            };
            shard.audit().count_booking(&id, &booking, fact);
        });
        self.line.say(sim, D::OPCODE, payload, Some(receipt));
    }

    pub(super) fn count(&self, booking: &Booking, fact: Fact) {
        self.shard.audit().count_booking(&self.id(), booking, fact);
    }

    fn control(&self, opcode: u8, payload: &[u8]) {
        if !self.closing.get() {
            self.line.control(opcode, payload);
        }
    }

    pub(super) fn close(&self, code: u16, reason: &str) {
        if !self.closing.replace(true) {
            self.line.close(code, reason);
        }
        let line = self.line.clone();
        monoio::spawn(async move {
            monoio::time::sleep(CLOSE_WAIT).await;
            line.hang_up(HangUp::Fin);
        });
    }

    async fn ping(self: Rc<Session<D>>) {
        let period = Duration::from_millis(self.sim.ping_ms);
        while self.line.is_open() && !self.closing.get() {
            monoio::time::sleep(period).await;
            self.control(PING, b"tokload");
        }
    }

    /// Commits the faults that are due at `point`; a break says that nothing may follow.
    pub(super) async fn fail(
        &self,
        sim: &Sim,
        point: Point,
        response: Option<&Response<D>>,
    ) -> ControlFlow<()> {
        for fault in sim.faults_at(point) {
            self.commit(sim, fault, response).await?;
        }
        ControlFlow::Continue(())
    }

    async fn commit(&self, sim: &Sim, fault: &Fault, response: Option<&Response<D>>) -> ControlFlow<()> {
        match fault {
            Fault::Die => self.line.hang_up(HangUp::Fin),
            Fault::Reset => self.line.hang_up(HangUp::Reset),
            Fault::Close(code, reason) => self.close(*code, reason),
            Fault::GoAway(left_ms) => self.go_away(sim, *left_ms).await,
            Fault::GiantHeader(bytes) => {
                let mut header = Vec::new();
                Header::write(FIN | sim.opcode.unwrap_or(D::OPCODE), None, *bytes, &mut header);
                self.line.raw(header);
                self.closing.set(true);
                self.idle_until_cancelled(response).await;
            }
            Fault::Stall => {
                self.idle_until_cancelled(response).await;
                return ControlFlow::Continue(());
            }
            Fault::Runaway => {
                self.run_away(response).await;
                return ControlFlow::Continue(());
            }
            Fault::Giant(bytes) => {
                self.send(sim, &D::giant(self, response, *bytes));
                return ControlFlow::Continue(());
            }
            Fault::InvalidJson => {
                self.line.say(sim, D::OPCODE, D::TORN, None);
                return ControlFlow::Continue(());
            }
            Fault::Odd(odd) => {
                self.line.raw(frame::odd(*odd));
                return ControlFlow::Continue(());
            }
        }
        ControlFlow::Break(())
    }

    /// Says that the connection will end, where the dialect has a word for it, and ends it when it has said.
    async fn go_away(&self, sim: &Sim, left_ms: u64) {
        if let Some(message) = D::go_away(left_ms) {
            self.send(sim, &message);
        }
        monoio::time::sleep(Duration::from_millis(left_ms)).await;
        self.close(1000, "");
    }

    async fn run_away(&self, response: Option<&Response<D>>) {
        let Some(response) = response else { return };
        while !response.cancelled() && self.line.room(QUEUED_BYTES).await && !self.closing.get() {
            response::chunk(self, response).await;
        }
    }

    async fn idle_until_cancelled(&self, response: Option<&Response<D>>) {
        while self.line.is_open() && response.is_none_or(|response| !response.cancelled()) {
            monoio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}
