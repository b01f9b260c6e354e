//! Kept connections of HTTP/1.1 as sessions of the load generator: one request after the other on each, answered whole or as a
//! stream of events. They are written and read by monoio-http.
//!
//! Start at [`open_all`] and [`requests`]. What is asked and what an answer tells is in `words`.

mod words;

use crate::link::{self, ReadHalf, WriteHalf};
use crate::run::Run;
use crate::scenario::Kind;
use crate::schedule::Schedule;
use crate::stamp::Stamp;
use ::http::{Request, StatusCode, header};
use bytes::Bytes;
use monoio::io::sink::SinkExt;
use monoio::io::stream::Stream;
use monoio_http::common::body::Body;
use monoio_http::common::error::HttpError;
use monoio_http::h1::codec::decoder::ClientResponseDecoder;
use monoio_http::h1::codec::encoder::GenericEncoder;
use monoio_http::h1::payload::{FixedPayload, Payload};
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};
use words::Hearing;

/// How long a connection, and an answer, may take.
const WAIT: Duration = Duration::from_secs(60);
/// After a failure, so that a target that refuses at once does not turn a session into a spin.
const PAUSE: Duration = Duration::from_millis(10);

/// A connection that a request may go on.
pub(crate) struct Line {
    sender: GenericEncoder<WriteHalf>,
    receiver: ClientResponseDecoder<ReadHalf>,
}

/// What a session asks again and again.
struct Asked {
    user: String,
    request: Request<()>,
    body: Bytes,
    is_streamed: bool,
}

/// Whether another request may follow on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Kept,
    Closed,
}

/// Connects the sessions; of an idle one the first answer is heard as well.
pub(crate) async fn open_all(run: &Rc<Run>, sessions: Vec<usize>) -> Vec<(usize, Option<Line>)> {
    let mut lines = Vec::new();
    for index in sessions {
        let mut line = match run.scenario.kind {
            Kind::Churn => None,
            _ => connect(run, Instant::now()).await,
        };
        if run.scenario.kind == Kind::Idle {
            line = match Asked::of(run, index) {
                Ok(asked) => ask(run, line, &asked, Instant::now()).await,
                Err(_) => None,
            };
        }
        lines.push((index, line));
    }
    lines
}

/// One request after the other, until the window is over; one that has begun is heard out.
pub(crate) async fn requests(run: Rc<Run>, index: usize, mut line: Option<Line>) {
    let kind = run.scenario.kind;
    if kind == Kind::Idle {
        return run.over().await;
    }
    let asked = match Asked::of(&run, index) {
        Ok(asked) => asked,
        Err(error) => return run.tally.borrow_mut().error(&format!("request: {error}")),
    };
    let schedule = Schedule::shared(run.scenario.rate, run.scenario.sessions, index);
    for act in 0.. {
        if run.scenario.turns > 0 && act >= run.scenario.turns {
            return;
        }
        let due = match schedule {
            Some(schedule) => run.due(schedule, act).await,
            None => run.goes_on().then(Instant::now),
        };
        let Some(due) = due else { return };
        if line.is_none() {
            line = connect(&run, due).await;
        }
        line = ask(&run, line, &asked, due).await;
        if kind == Kind::Churn {
            line = None;
        }
    }
}

async fn connect(run: &Run, due: Instant) -> Option<Line> {
    let opening = link::connect(run.target.address, run.target.tls.clone());
    let word = match monoio::time::timeout(WAIT, opening).await {
        Ok(Ok(link)) => {
            let mut tally = run.tally.borrow_mut();
            tally.sessions_opened += 1;
            tally.connect.record(due.elapsed());
            let (sender, receiver) = (GenericEncoder::new(link.write), ClientResponseDecoder::new(link.read));
            return Some(Line { sender, receiver });
        }
        Ok(Err(error)) => format!("open: {error}"),
        Err(_) => "open: timed out".to_owned(),
    };
    run.tally.borrow_mut().error(&word);
    None
}

/// Asks and hears; gives the connection back where another request may follow on it.
async fn ask(run: &Run, line: Option<Line>, asked: &Asked, due: Instant) -> Option<Line> {
    let Some(mut line) = line else {
        monoio::time::sleep(PAUSE).await;
        return None;
    };
    let word = match monoio::time::timeout(WAIT, line.exchange(run, asked, due)).await {
        Ok(Ok(Next::Kept)) => return Some(line),
        Ok(Ok(Next::Closed)) => return None,
        Ok(Err(error)) => format!("answer: {error}"),
        Err(_) => "answer: timed out".to_owned(),
    };
    run.tally.borrow_mut().error(&word);
    monoio::time::sleep(PAUSE).await;
    None
}

impl Line {
    /// One request and its answer, which was due at `due`.
    async fn exchange(&mut self, run: &Run, asked: &Asked, due: Instant) -> io::Result<Next> {
        let body = FixedPayload::<Bytes, HttpError>::new(asked.body.clone());
        let request = asked.request.clone().map(|()| Payload::Fixed(body));
        self.sender.send_and_flush(request).await.map_err(broken)?;
        if run.measuring() {
            let mut tally = run.tally.borrow_mut();
            tally.messages_sent += 1;
            tally.bytes_sent += asked.body.len() as u64;
        }
        let response = self.receiver.next().await.ok_or(io::ErrorKind::UnexpectedEof)?.map_err(broken)?;
        let (head, body) = response.into_parts();
        let mut body = body.with_io(&mut self.receiver);
        let mut hearing = Hearing::new(run.target.handshake.dialect, asked.is_streamed);
        let mut is_first = true;
        while let Some(bytes) = body.next_data().await {
            let bytes = bytes.map_err(broken)?;
            let mut tally = run.tally.borrow_mut();
            if std::mem::take(&mut is_first) && head.status == StatusCode::OK && run.measuring() {
                tally.first.record(due.elapsed());
            }
            if run.measuring() {
                tally.bytes_received += bytes.len() as u64;
            }
            hearing.hear(&bytes, |event| {
                if run.measuring() {
                    tally.messages_received += 1;
                    let said = Stamp::of_words(event).filter(|_| asked.is_streamed);
                    said.into_iter().for_each(|said| tally.event.record(Stamp::now().since(said)));
                }
            });
        }
        let mut tally = run.tally.borrow_mut();
        match (head.status, hearing.usage()) {
            (StatusCode::OK, Some(usage)) => {
                if run.measuring() {
                    tally.turns += 1;
                    tally.messages_received += u64::from(!asked.is_streamed);
                    tally.latency.record(due.elapsed());
                }
                tally.used(&asked.user, &run.target.handshake.model, usage);
            }
            (StatusCode::OK, None) => tally.error("answer: states no usage"),
            (status, _) => tally.error(&format!("HTTP {}", status.as_u16())),
        }
        let closes = head.headers.get(header::CONNECTION).is_some_and(|value| value == "close");
        Ok(if closes { Next::Closed } else { Next::Kept })
    }
}

impl Asked {
    fn of(run: &Run, index: usize) -> Result<Asked, ::http::Error> {
        let (user, handshake) = (run.user(index), &run.target.handshake);
        let is_streamed = run.scenario.kind == Kind::Stream;
        let request = run.target.request(&user, is_streamed, run.scenario.query(&user).as_deref())?;
        let body = words::question(handshake.dialect, &handshake.model, is_streamed, run.scenario.up_bytes);
        Ok(Asked { user, request, body: body.into(), is_streamed })
    }
}

fn broken(error: HttpError) -> io::Error {
    io::Error::other(error.to_string())
}
