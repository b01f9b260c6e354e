//! A Redis cluster, asked also while it is rearranged.
//!
//! Start at [`Nodes::ask`]. While a slot moves, the node that it is on its way to wants to hear `ASKING` before each question,
//! and no other question in between. The crate, if it is left to, sends the two apart over a connection that all questions
//! share; here both leave together, over a connection of their own.

use redis::aio::MultiplexedConnection;
use redis::cluster::ClusterClientBuilder;
use redis::cluster_async::ClusterConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, RedisError, RedisResult, ServerErrorKind, Value,
};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::sleep;

/// How often a question is asked again that the cluster cannot answer while it is rearranged, and the pause in between.
const RETRIES: u32 = 4;
const PAUSE: Duration = Duration::from_millis(20);

/// Cheap to clone; every clone speaks over the same connections.
#[derive(Clone)]
pub(super) struct Nodes {
    connection: ClusterConnection,
    /// Of one node, whose user, password and protocol hold for all.
    client: Client,
    config: AsyncConnectionConfig,
    /// To nodes that slots are, or were, on their way to, by address.
    ahead: Arc<Mutex<HashMap<String, MultiplexedConnection>>>,
}

impl Nodes {
    /// Connects to the cluster that the node of `client` belongs to, and that `uris` name nodes of. A question may take
    /// `patience`.
    pub(super) async fn connect(
        uris: &[String],
        client: &Client,
        config: AsyncConnectionConfig,
        patience: Duration,
    ) -> RedisResult<Nodes> {
        // Whatever fails is tried again here, or a little later.
        let builder = ClusterClientBuilder::new(uris.iter().map(String::as_str)).retries(0);
        let cluster = builder.connection_timeout(super::DEADLINE).response_timeout(patience).build()?;
        let connection = cluster.get_async_connection().await?;
        Ok(Nodes { connection, client: client.clone(), config, ahead: Arc::default() })
    }

    /// Asks, some times again where the cluster cannot answer because it is rearranged.
    pub(super) async fn ask(&self, question: &Cmd) -> RedisResult<Value> {
        let mut retries = 0..RETRIES;
        loop {
            let mut answer = question.query_async(&mut self.connection.clone()).await;
            if let Some(address) = answer.as_ref().err().and_then(moving_to) {
                answer = self.ask_ahead(&address, question).await;
            }
            match answer {
                Err(error) if error.is_cluster_error() && retries.next().is_some() => sleep(PAUSE).await,
                answer => return answer,
            }
        }
    }

    /// Asks the node that a slot is on its way to.
    async fn ask_ahead(&self, address: &str, question: &Cmd) -> RedisResult<Value> {
        let mut both = redis::pipe();
        both.cmd("ASKING").ignore().add_command(question.clone());
        let mut connection = self.ahead(address).await?;
        let answer: RedisResult<(Value,)> = both.query_async(&mut connection).await;
        if answer.as_ref().is_err_and(RedisError::is_io_error) {
            self.ahead.lock().await.remove(address);
        }
        answer.map(|(answer,)| answer)
    }

    async fn ahead(&self, address: &str) -> RedisResult<MultiplexedConnection> {
        let mut ahead = self.ahead.lock().await;
        if let Some(connection) = ahead.get(address) {
            return Ok(connection.clone());
        }
        let node = self.client.get_connection_info().clone();
        let node = node.clone().set_addr(at(node.addr(), address));
        let connection =
            Client::open(node)?.get_multiplexed_async_connection_with_config(&self.config).await?;
        ahead.insert(address.to_owned(), connection.clone());
        Ok(connection)
    }
}

/// Where the key that was asked for is, or would be, already.
fn moving_to(error: &RedisError) -> Option<String> {
    let (address, _) = error.redirect_node().filter(|_| error.kind() == ServerErrorKind::Ask.into())?;
    Some(address.to_owned())
}

/// Another node's address, reached as `known` is. One that is no `host:port` stays as it is and fails to connect.
fn at(known: &ConnectionAddr, address: &str) -> ConnectionAddr {
    let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
    let (host, port) = (host.to_owned(), port.parse().unwrap_or_default());
    match known {
        ConnectionAddr::TcpTls { insecure, tls_params, .. } => {
            ConnectionAddr::TcpTls { host, port, insecure: *insecure, tls_params: tls_params.clone() }
        }
        _ => ConnectionAddr::Tcp(host, port),
    }
}
