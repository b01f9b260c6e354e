//! A session over WebSocket as it begins and ends: the upgrade, the greeting, the goodbye.

use crate::http;
use crate::link::{self, Bytes, HangUp, Outbox};
use crate::run::Run;
use crate::scenario::Kind;
use crate::target::NONCE;
use crate::ws::{BINARY, CLOSE, End, FIN, Inbound, TEXT, close_payload};
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

pub(crate) const OPEN_WAIT: Duration = Duration::from_secs(10);

/// A session that is open: its greeting has been read.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) inbound: Inbound,
    pub(crate) outbox: Rc<Outbox>,
    pub(crate) greeting: Vec<u8>,
}

impl Run {
    /// Opens a session that was due at `due`; counts it, or why it failed.
    pub(crate) async fn open(&self, index: usize, due: Instant) -> Option<Open> {
        let handle = (self.scenario.resume > 0).then_some("");
        let open = self.connect(index, handle).await?;
        let mut tally = self.tally.borrow_mut();
        tally.sessions_opened += 1;
        tally.connect.record(due.elapsed());
        Some(open)
    }

    /// Another connection, which goes on with the session that it has the handle of; likewise.
    pub(crate) async fn resume(&self, index: usize, handle: &str) -> Option<Open> {
        let open = self.connect(index, Some(handle)).await?;
        self.tally.borrow_mut().sessions_resumed += 1;
        Some(open)
    }

    async fn connect(&self, index: usize, handle: Option<&str>) -> Option<Open> {
        let word = match monoio::time::timeout(OPEN_WAIT, self.shake_hands(index, handle)).await {
            Ok(Ok(open)) => return Some(open),
            Ok(Err(error)) => format!("open: {error}"),
            Err(_) => "open: timed out".to_owned(),
        };
        self.tally.borrow_mut().error(&word);
        None
    }

    async fn shake_hands(&self, index: usize, handle: Option<&str>) -> io::Result<Open> {
        let link = link::connect(self.target.address, self.target.tls.clone()).await?;
        let mut inbound = Inbound::new(link.read);
        let outbox = Outbox::start(link.write);
        let user = self.user(index);
        let upgrade = self.target.upgrade(&user, self.scenario.query(&user).as_deref());
        outbox.put(Bytes::Owned(upgrade));
        match self.greeting(&mut inbound, &outbox, handle).await {
            Ok(greeting) => {
                if self.scenario.kind != Kind::Churn {
                    self.outboxes.borrow_mut().push(outbox.clone());
                }
                Ok(Open { inbound, outbox, greeting })
            }
            Err(error) => {
                outbox.hang_up(HangUp::Fin);
                Err(error)
            }
        }
    }

    async fn greeting(
        &self,
        inbound: &mut Inbound,
        outbox: &Outbox,
        handle: Option<&str>,
    ) -> io::Result<Vec<u8>> {
        upgraded(inbound).await?;
        if let Some(message) = self.target.first_message(handle) {
            let mut frame = Vec::new();
            End::Client.frame(FIN | TEXT, message.as_bytes(), &mut frame);
            outbox.put(Bytes::Owned(frame));
        }
        if self.target.handshake.dialect.is_silent() {
            return Ok(Vec::new());
        }
        let greeting = first_message(inbound).await?;
        match self.target.handshake.dialect.is_greeting(&greeting) {
            true => Ok(greeting),
            false => Err(io::Error::other("no greeting")),
        }
    }
}

/// Reads the answer to the upgrade and the first event.
pub(crate) async fn greeting(inbound: &mut Inbound) -> io::Result<Vec<u8>> {
    upgraded(inbound).await?;
    first_message(inbound).await
}

async fn upgraded(inbound: &mut Inbound) -> io::Result<()> {
    let response = http::read_response(inbound).await?;
    if response.status != 101 {
        return Err(io::Error::other(format!("HTTP {}", response.status)));
    }
    let accept = tungstenite::handshake::derive_accept_key(NONCE.as_bytes());
    if response.header("sec-websocket-accept") != Some(accept.as_str()) {
        return Err(io::Error::other("wrong sec-websocket-accept"));
    }
    Ok(())
}

async fn first_message(inbound: &mut Inbound) -> io::Result<Vec<u8>> {
    loop {
        match inbound.message().await? {
            Some(message) if matches!(message.opcode, TEXT | BINARY) => return Ok(message.payload.to_vec()),
            Some(message) if message.opcode == CLOSE => {
                return Err(io::Error::other(format!("closed with {}", message.close_reason().0)));
            }
            Some(_) => {}
            None => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

pub(crate) fn say_goodbye(outbox: &Outbox) {
    let mut frame = Vec::new();
    End::Client.frame(FIN | CLOSE, &close_payload(1000, ""), &mut frame);
    outbox.put(Bytes::Owned(frame));
}
