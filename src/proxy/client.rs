//! Where a request comes from: the other end of its connection, or the client behind proxies that are trusted.

use crate::config::Config;
use crate::error::{Cause, Phase, SessionError, Side};
use crate::io::buffer::Buffer;
use crate::io::stream::Reader;
use monoio::io::CancelHandle;
use std::net::IpAddr;
use tokenist_core::client::announced::announced;
use tokenist_core::http::RequestHead;

/// Whether a connection from `peer` begins with a header of the PROXY protocol.
pub(crate) fn announces(config: &Config, peer: IpAddr) -> bool {
    config.proxy_protocol && config.trusted_proxies.trusts(peer)
}

/// Reads that header: the client, if it names one, and what came behind it, with how much that is. The session's deadline
/// bounds the wait.
pub(crate) async fn read_announcement(
    reader: &mut Reader,
    mut buffer: Buffer,
    cancel: CancelHandle,
) -> Result<(Option<IpAddr>, Buffer, usize), SessionError> {
    let failed = |cause: Cause| SessionError::new(Side::Downstream, Phase::Admit, cause);
    let mut filled = 0;
    loop {
        let result;
        (result, buffer) = reader.read(buffer, filled, cancel.clone()).await;
        match result.map_err(|error| failed(error.into()))? {
            0 => return Err(failed(Cause::Malformed("the connection ended in its PROXY protocol header"))),
            count => filled += count,
        }
        match announced(&buffer.bytes()[..filled]) {
            Ok(Some(announced)) => {
                buffer.bytes_mut().copy_within(announced.header_bytes..filled, 0);
                return Ok((announced.client, buffer, filled - announced.header_bytes));
            }
            Ok(None) => {}
            Err(error) => return Err(failed(Cause::Malformed(error.describe()))),
        }
    }
}

/// The client of a request, as far as the headers say whose word for it is taken.
pub(crate) fn of_request(config: &Config, connection: IpAddr, head: &RequestHead) -> IpAddr {
    let lines = |name: &'static str| {
        let lines = head.headers.0.iter().filter(move |line| line.is(name));
        // What is not text is no address: it must not be passed over.
        lines.map(|line| line.value.as_text().unwrap_or_default())
    };
    config.trusted_proxies.client(connection, lines("x-forwarded-for"), lines("forwarded"))
}

/// Whether a proxy that is trusted says that the client came by TLS.
pub(crate) fn says_tls(config: &Config, connection: IpAddr, head: &RequestHead) -> bool {
    let said =
        head.headers.get("x-forwarded-proto").is_some_and(|proto| proto.eq_ignore_ascii_case(b"https"));
    said && config.trusted_proxies.trusts(connection)
}
