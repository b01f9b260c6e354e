//! Connects to the provider and asks it for the upgrade.

use crate::config::Provider;
use crate::error::{Cause, Phase, SessionError, Side};
use crate::head::{NoHead, read_head};
use crate::io::buffer::Buffer;
use crate::io::stream::{self, End, Reader, Writer};
use crate::live::Live;
use crate::race;
use crate::shard::Shard;
use monoio::time::Duration;
use rustls::pki_types::ServerName;
use std::io;
use std::sync::Arc;
use tokenist_core::http::blot::{Blot, BodyBlot};
use tokenist_core::http::body::Framing;
use tokenist_core::http::{self, ResponseHead};

/// The provider's answer to the upgrade request, with what came behind it.
pub(crate) struct Answer {
    pub(crate) head: ResponseHead,
    pub(crate) end: End,
}

/// Connects, asks, and reads the head of the answer. The session's deadline bounds all of it, and cuts nothing but
/// the provider's line meanwhile.
pub(crate) async fn dial(
    shard: &Shard,
    live: &Live,
    provider: &Provider,
    request: Vec<u8>,
) -> Result<Answer, SessionError> {
    live.dialling.set(true);
    let answer = exchange(shard, live, provider, request).await;
    live.dialling.set(false);
    if answer.is_err() {
        shard.winners.forget(&provider.address());
    }
    answer.map_err(|error| match shard.time().instant >= live.deadline.get() {
        true => SessionError { cause: Cause::Malformed("it did not answer in time"), ..error },
        false => error,
    })
}

async fn exchange(
    shard: &Shard,
    live: &Live,
    provider: &Provider,
    request: Vec<u8>,
) -> Result<Answer, SessionError> {
    let failed = |cause: Cause| SessionError::new(Side::Upstream, Phase::Dial, cause);
    let (mut reader, mut writer) = connect(shard, live, provider).await?;
    writer.write_bytes(request).await.map_err(|error| failed(error.into()))?;
    let ours = |error: io::Error| SessionError::new(Side::Internal, Phase::Dial, error);
    let buffer = shard.pool.take().map_err(ours)?;
    let answered =
        read_head(&mut reader, buffer, 0, live.down.cancel_handle(), Side::Upstream, Phase::Dial).await;
    let (mut buffer, filled, end) = answered.map_err(|(no_head, _)| match no_head {
        NoHead::Session(error) => error,
        NoHead::Refused(_) => failed(Cause::Malformed("its answer is not HTTP")),
    })?;
    let head = http::response_head(&buffer.bytes()[..end])
        .map_err(|_| failed(Cause::Malformed("its answer is not HTTP")))?;
    buffer.bytes_mut().copy_within(end..filled, 0);
    Ok(Answer { head, end: End { reader, writer, buffer, filled: filled - end } })
}

/// Connects. The session's deadline bounds it, as [`dial`].
pub(crate) async fn open(
    shard: &Shard,
    live: &Live,
    provider: &Provider,
) -> Result<(Reader, Writer), SessionError> {
    live.dialling.set(true);
    let opened = connect(shard, live, provider).await;
    live.dialling.set(false);
    if opened.is_err() {
        shard.winners.forget(&provider.address());
    }
    opened
}

async fn connect(shard: &Shard, live: &Live, provider: &Provider) -> Result<(Reader, Writer), SessionError> {
    line(shard, live, provider).await.map_err(|cause| match cause {
        // The provider is not to blame.
        Cause::Io(error) if stream::is_out_of_files(&error) => {
            SessionError::new(Side::Internal, Phase::Dial, error)
        }
        cause => SessionError::new(Side::Upstream, Phase::Dial, cause),
    })
}

async fn line(shard: &Shard, live: &Live, provider: &Provider) -> Result<(Reader, Writer), Cause> {
    let host = provider.address();
    let now = shard.time().instant;
    let winner = shard.winners.find(&host, now);
    let addresses = race::order(shard.links.addresses.load().find(&host), winner);
    if addresses.is_empty() {
        return Err(Cause::Malformed("its name could not be resolved"));
    }
    let left = Duration::from_millis(live.deadline.get().since(now));
    let (stream, winner) = race::connect(&addresses, left).await?;
    if addresses.len() > 1 {
        shard.winners.remember(&host, winner, now);
    }
    let plain = stream::split(stream, &live.upstream)?;
    let Some(config) = &provider.tls else { return Ok(plain) };
    let config = Arc::clone(&**config.load());
    let name = ServerName::try_from(provider.host.clone())
        .map_err(|_| Cause::Malformed("its name is not a host name"))?;
    Ok(stream::connect_tls(plain, config, name, &shard.pool).await?)
}

/// Sends a provider's refusal to the client: `head`, and the body as it comes, with what is to be blotted out of it.
pub(crate) async fn pass_refusal(
    live: &Live,
    answer: Answer,
    writer: &mut Writer,
    head: Vec<u8>,
    blot: &Blot,
) -> io::Result<()> {
    let Answer { head: refused, end: End { mut reader, mut buffer, mut filled, .. } } = answer;
    writer.write_bytes(head).await?;
    // What is malformed passes to the end of its connection: it is a refusal all the same.
    let framing = Framing::of_answer(&refused, "GET").unwrap_or(Framing::UntilClose);
    let mut body = BodyBlot::new(blot, framing);
    loop {
        let passed = body.take(&buffer.bytes()[..filled]);
        writer.write_bytes(passed).await?;
        if body.is_done() {
            return Ok(());
        }
        (filled, buffer) = match reader.read(buffer, 0, live.down.cancel_handle()).await {
            (Ok(0), _) => return writer.write_bytes(body.rest()).await,
            (Ok(count), buffer) => (count, buffer),
            (Err(error), _) => return Err(error),
        };
    }
}

/// A buffer for a connection whose head has been read.
pub(crate) fn rest(mut buffer: Buffer, filled: usize, end: usize) -> (Buffer, usize) {
    buffer.bytes_mut().copy_within(end..filled, 0);
    (buffer, filled - end)
}
