//! A request for a call of another shard is passed on to that shard, byte by byte, and so is what comes back.

use crate::http::Request;
use crate::link::{self, Bytes, Outbox};
use crate::ws::Inbound;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

/// What may wait for either side.
const QUEUED_BYTES: usize = 1 << 20;

/// Passes a request that has been read, and all that follows it, to whoever listens at `address`.
pub(super) async fn pass_on(
    address: SocketAddr,
    (request, body): (&Request, &[u8]),
    inbound: &mut Inbound,
    outbox: &Rc<Outbox>,
) -> io::Result<()> {
    let link = link::connect(address, None).await?;
    let there = Outbox::start(link.write);
    there.put(Bytes::Owned(again(request, body)));
    let mut back = Inbound::new(link.read);
    let outbox = outbox.clone();
    let answers = monoio::spawn(async move {
        pump(&mut back, &outbox).await;
        outbox.finish();
    });
    pump(inbound, &there).await;
    there.drained().await;
    answers.await;
    Ok(())
}

async fn pump(from: &mut Inbound, to: &Outbox) {
    loop {
        let bytes = from.unread().to_vec();
        from.advance(bytes.len());
        if !bytes.is_empty() {
            to.put(Bytes::Owned(bytes));
        }
        if !to.room(QUEUED_BYTES).await || !matches!(from.fill().await, Ok(true)) {
            return;
        }
    }
}

/// The request as it was read, with the length of its body.
fn again(request: &Request, body: &[u8]) -> Vec<u8> {
    let mut head = format!("{} {}?{} HTTP/1.1\r\n", request.method, request.path, request.query);
    for (name, value) in &request.headers {
        if !["content-length", "transfer-encoding"].contains(&name.as_str()) {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    head.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
    [head.as_bytes(), body].concat()
}
