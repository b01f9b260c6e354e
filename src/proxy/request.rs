//! From a connection to a request's head: TLS, the PROXY protocol, and what a head's credentials are made of.
//!
//! Start at [`read`].

use crate::arrival::{Accepted, Arrival, Kept, Origin};
use crate::error::{Phase, SessionError, Side};
use crate::head::{NoHead, read_head};
use crate::io::buffer::Buffer;
use crate::io::stream::{self, Reader, Writer};
use crate::io::tls::Scheme;
use crate::live::Live;
use crate::refuse;
use crate::shard::Shard;
use crate::{authn, client, dial};
use std::rc::Rc;
use std::sync::Arc;
use tokenist_core::close_reason::CloseReason;
use tokenist_core::http::{HeadError, RequestHead, request_head};
use tokenist_core::metric::Metric;
use tokenist_core::provider::path::take_key;

/// A request whose head is read.
pub(crate) struct Request {
    pub(crate) head: RequestHead,
    pub(crate) reader: Reader,
    pub(crate) writer: Writer,
    pub(crate) buffer: Buffer,
    /// What fills the buffer behind the head.
    pub(crate) filled: usize,
    /// The key that stood before its path.
    pub(crate) path_key: Option<String>,
    pub(crate) origin: Origin,
}

/// A connection on which bytes may come, with those that have.
struct Line {
    reader: Reader,
    writer: Writer,
    early: Option<(Buffer, usize)>,
    origin: Origin,
}

/// Reads a connection's head, in TLS and behind a header of the PROXY protocol where that is set. `None`: it was answered.
/// What its query or path makes of its credentials is told beside it.
pub(crate) async fn read(
    shard: &Rc<Shard>,
    live: &Rc<Live>,
    arrival: Box<Arrival>,
) -> Result<Option<(Request, Result<(), CloseReason>)>, SessionError> {
    let line = match *arrival {
        Arrival::New(accepted) => Box::pin(accept(shard, live, accepted)).await?,
        Arrival::Kept(kept) => Some(resume(live, kept)),
    };
    let Some(Line { mut reader, writer, early, origin }) = line else { return Ok(None) };
    if live.surplus {
        shard.counters.add(Metric::SessionsRefused, 1);
        let answer = refuse::in_http_words(shard, &refuse::full());
        Box::pin(refuse::respond(shard, live, reader, writer, answer)).await;
        return Ok(None);
    }
    let ours = |error: std::io::Error| SessionError::new(Side::Internal, Phase::Admit, error);
    let (mut buffer, mut filled) = match early {
        Some(early) => early,
        None => (shard.pool.take().map_err(ours)?, 0),
    };
    if filled == 0 {
        filled = reader.read_now(&mut buffer);
    }
    let cancel = live.up.cancel_handle();
    let read = read_head(&mut reader, buffer, filled, cancel, Side::Downstream, Phase::Admit).await;
    let (buffer, filled, end) = match read {
        Ok(read) => read,
        Err((NoHead::Session(error), _)) => return Err(error),
        Err((NoHead::Refused(error), _)) => {
            if error == HeadError::Tls {
                let peer = origin.client;
                tracing::warn!(%peer, "a client spoke TLS to proxy.listen, which is for plain HTTP; see proxy.tls_listen");
            }
            Box::pin(refuse::answer_malformed(shard, live, reader, writer, error)).await;
            return Ok(None);
        }
    };
    let read = request_head(&buffer.bytes()[..end]).and_then(|head| {
        let (head, mended) = authn::mended(head, &shard.config.identity);
        let path_key = take_key(&head.path()).map(|(key, _)| key.to_owned());
        let (head, keyed) = authn::with_path_key(head);
        authn::refuse_ambiguous(&head).map(|()| (head, path_key, mended.and(keyed)))
    });
    match read {
        Ok((head, path_key, mended)) => {
            let (buffer, filled) = dial::rest(buffer, filled, end);
            Ok(Some((Request { head, reader, writer, buffer, filled, path_key, origin }, mended)))
        }
        Err(error) => {
            Box::pin(refuse::answer_malformed(shard, live, reader, writer, error)).await;
            Ok(None)
        }
    }
}

/// A connection that was accepted just now.
async fn accept(
    shard: &Rc<Shard>,
    live: &Rc<Live>,
    accepted: Accepted,
) -> Result<Option<Line>, SessionError> {
    let Accepted { stream, peer, scheme } = accepted;
    let failed = |error: std::io::Error| SessionError::new(Side::Downstream, Phase::Admit, error);
    let mut plain = stream::split(stream, &live.downstream).map_err(failed)?;
    let mut early = None;
    live.client.set(Some(peer.ip()));
    if client::announces(&shard.config, peer.ip()) {
        let ours = |error: std::io::Error| SessionError::new(Side::Internal, Phase::Admit, error);
        let buffer = shard.pool.take().map_err(ours)?;
        let read = client::read_announcement(&mut plain.0, buffer, live.up.cancel_handle()).await;
        let (announced, buffer, filled) = read.inspect_err(|error| {
            tracing::warn!(peer = %peer.ip(), %error, "connection closed: see proxy.proxy_protocol");
        })?;
        live.client.set(announced.or(live.client.get()));
        early = Some((buffer, filled));
    }
    if scheme == Scheme::Tls {
        let Some(config) = &shard.config.tls else { return Ok(None) };
        let config = Arc::clone(&**config.load());
        plain = stream::accept_tls(plain, early.take(), config, &shard.pool).await.map_err(failed)?;
    }
    let origin = Origin { peer: peer.ip(), client: live.client.get().unwrap_or(peer.ip()), scheme };
    Ok(Some(Line { reader: plain.0, writer: plain.1, early, origin }))
}

/// A connection that goes on.
fn resume(live: &Live, kept: Kept) -> Line {
    let Kept { reader, writer, ahead, origin, .. } = kept;
    live.client.set(Some(origin.client));
    Line { reader, writer, early: ahead, origin }
}
