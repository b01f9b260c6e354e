//! Where load goes: a URL, resolved once, with what each session says in its handshake.

use crate::dialect::{Dialect, Over};
use ::http::Request;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde_json::json;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;

#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) over: Over,
    pub(crate) tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    authority: String,
    path: String,
    query: String,
    pub(crate) handshake: Handshake,
}

/// What all sessions of a run say.
#[derive(Clone, Debug)]
pub(crate) struct Handshake {
    pub(crate) dialect: Dialect,
    pub(crate) model: String,
    pub(crate) key: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) transport: Transport,
}

/// How sessions are spoken, where a protocol leaves a choice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Transport {
    /// Over a WebSocket, or by the URL's scheme over HTTP.
    #[default]
    Socket,
    /// As calls: a data channel and a line of sound.
    Webrtc,
}

/// May load leave this machine?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    Loopback,
    Anywhere,
}

/// Any nonce does: nobody caches an upgrade.
pub(crate) const NONCE: &str = "dG9rbG9hZCBhc2tzIGl0IQ==";

impl Target {
    /// Parses and resolves `ws://host[:port][/path][?query]`, or the same with wss, http or https. What is spoken both over HTTP
    /// and over a WebSocket, the scheme says how.
    pub(crate) fn parse(
        url: &str,
        reach: Reach,
        ca: Option<&Arc<ClientConfig>>,
        handshake: Handshake,
    ) -> Result<Target, String> {
        let (scheme, rest) =
            url.split_once("://").ok_or_else(|| format!("{url:?} has no scheme, such as ws://"))?;
        let (secure, default_port) = match scheme {
            "ws" | "http" => (false, 80),
            "wss" | "https" => (true, 443),
            _ => return Err(format!("{scheme}:// is not understood; use ws:// or wss://")),
        };
        let (over, usual_path) = match handshake.transport {
            Transport::Socket => (handshake.dialect.over(scheme)?, handshake.dialect.path()),
            Transport::Webrtc => (Over::WebRtc, handshake.dialect.path_of_calls()?),
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
        let with_port = if host.len() < authority.len() {
            authority.to_owned()
        } else {
            format!("{host}:{default_port}")
        };
        let address = resolve(&with_port, reach)?;
        let name = host.trim_matches(['[', ']']).to_owned();
        let tls = match (secure, ca) {
            (false, _) => None,
            (true, Some(config)) => {
                Some((config.clone(), ServerName::try_from(name).map_err(|error| error.to_string())?))
            }
            (true, None) => return Err("wss:// needs --ca FILE with the authority to trust".to_owned()),
        };
        Ok(Target {
            address,
            over,
            tls,
            authority: authority.to_owned(),
            path: if path.is_empty() || path == "/" { usual_path } else { path }.to_owned(),
            query: query.to_owned(),
            handshake,
        })
    }

    /// What a session says before it is greeted, if anything.
    pub(crate) fn first_message(&self, handle: Option<&str>) -> Option<String> {
        self.handshake.dialect.first_message(&self.handshake.model, &self.path, handle)
    }

    /// The head of a request over HTTP.
    pub(crate) fn request(
        &self,
        user: &str,
        is_streamed: bool,
        words: Option<&str>,
    ) -> Result<Request<()>, ::http::Error> {
        let Handshake { dialect, model, key, headers, .. } = &self.handshake;
        let (method, of_method) = dialect.method(model, is_streamed);
        let queries = [of_method, words.unwrap_or_default(), &self.query];
        let query = queries.into_iter().filter(|query| !query.is_empty()).collect::<Vec<_>>().join("&");
        let credential = dialect.credential(key);
        let mut request = Request::post(format!("{}{method}?{query}", self.path))
            .header("host", &self.authority)
            .header("content-type", "application/json")
            .header("x-user-id", user);
        let more = dialect.headers().iter().copied();
        let more = more.chain(headers.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        for (name, value) in credential.split_once(": ").into_iter().chain(more) {
            request = request.header(name, value);
        }
        request.body(())
    }

    /// The request that asks for a call, with its body: of GPT-Live in JSON, else a form.
    pub(crate) fn call(&self, user: &str, words: Option<&str>, offer: &str) -> Vec<u8> {
        const EDGE: &str = "tokload-edge";
        let Handshake { dialect, model, key, headers, .. } = &self.handshake;
        let session = dialect.session_of_call(model);
        let (kind, body) = match dialect {
            Dialect::GptLive => {
                let body = json!({"session": session, "transport": {"type": "webrtc", "sdp": offer}});
                ("application/json".to_owned(), body.to_string())
            }
            _ => {
                let part = |name: &str, kind: &str, content: &str| {
                    let head = format!("content-disposition: form-data; name=\"{name}\"");
                    format!("--{EDGE}\r\n{head}\r\ncontent-type: {kind}\r\n\r\n{content}\r\n")
                };
                let sdp = part("sdp", "application/sdp", offer);
                let session = part("session", "application/json", &session.to_string());
                (format!("multipart/form-data; boundary={EDGE}"), format!("{sdp}{session}--{EDGE}--\r\n"))
            }
        };
        let queries = [words.unwrap_or_default(), &self.query];
        let query = queries.into_iter().filter(|query| !query.is_empty()).collect::<Vec<_>>().join("&");
        let mut head = format!(
            "POST {}?{query} HTTP/1.1\r\nhost: {}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\
             accept: application/sdp\r\n{}\r\nx-user-id: {user}\r\n",
            self.path,
            self.authority,
            body.len(),
            dialect.credential(key)
        );
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        format!("{head}\r\n{body}").into_bytes()
    }

    /// The request that opens a session.
    pub(crate) fn upgrade(&self, user: &str, words: Option<&str>) -> Vec<u8> {
        let Handshake { dialect, model, key, headers, .. } = &self.handshake;
        let of_model = dialect.query(model);
        let queries = [of_model.as_str(), words.unwrap_or_default(), &self.query];
        let query = queries.into_iter().filter(|query| !query.is_empty()).collect::<Vec<_>>().join("&");
        let mut head = format!(
            "GET {}?{query} HTTP/1.1\r\nhost: {}\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: {NONCE}\r\n{}\r\nx-user-id: {user}\r\n",
            self.path,
            self.authority,
            dialect.credential(key)
        );
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        head.into_bytes()
    }
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Target({}{})", self.address, self.path)
    }
}

fn resolve(host_and_port: &str, reach: Reach) -> Result<SocketAddr, String> {
    let mut addresses = host_and_port
        .to_socket_addrs()
        .map_err(|error| format!("{host_and_port} does not resolve: {error}"))?;
    let address = addresses.next().ok_or_else(|| format!("{host_and_port} has no address"))?;
    match reach {
        Reach::Loopback if !address.ip().is_loopback() => Err(format!(
            "{host_and_port} is not on this machine; load leaves it only with --allow-remote, for targets that are yours to load"
        )),
        Reach::Loopback | Reach::Anywhere => Ok(address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str, reach: Reach) -> Result<Target, String> {
        let (dialect, headers) = (Dialect::Openai, vec![("x-a".into(), "b".into())]);
        let handshake =
            Handshake { dialect, model: "m".into(), key: "k".into(), headers, transport: Transport::Socket };
        Target::parse(url, reach, None, handshake)
    }

    #[test]
    fn a_url_becomes_an_upgrade() {
        let target = parse("ws://127.0.0.1:81/p/v1/realtime?audit=a", Reach::Loopback).unwrap();
        let head = String::from_utf8(target.upgrade("user-1", Some("load=echo"))).unwrap();
        assert!(
            head.starts_with(
                "GET /p/v1/realtime?model=m&load=echo&audit=a HTTP/1.1\r\nhost: 127.0.0.1:81\r\n"
            )
        );
        assert!(head.ends_with("x-user-id: user-1\r\nx-a: b\r\n\r\n"));
        assert_eq!(parse("ws://127.0.0.1", Reach::Loopback).unwrap().address.port(), 80);
    }

    #[test]
    fn over_http_a_url_becomes_requests() {
        let of = |dialect: Dialect, url: &str, is_streamed| {
            let handshake = Handshake {
                dialect,
                model: "m".into(),
                key: "k".into(),
                headers: Vec::new(),
                transport: Transport::Socket,
            };
            let target = Target::parse(url, Reach::Loopback, None, handshake)?;
            let request = target.request("user-1", is_streamed, Some("audit=a")).unwrap();
            Ok::<_, String>((target.over, request.uri().to_string(), request.headers().clone()))
        };
        let url = "http://127.0.0.1:81";
        let (over, uri, headers) = of(Dialect::Responses, url, true).unwrap();
        assert_eq!((over, uri.as_str()), (Over::Http, "/v1/responses?audit=a"));
        assert_eq!(headers["authorization"], "Bearer k");
        assert_eq!(headers["x-user-id"], "user-1");
        assert_eq!(of(Dialect::Responses, "ws://127.0.0.1:81", true).unwrap().0, Over::WebSocket);
        let (_, uri, headers) = of(Dialect::Generate, &format!("{url}?a=b"), true).unwrap();
        assert_eq!(uri, "/v1beta/models/m:streamGenerateContent?alt=sse&audit=a&a=b");
        assert_eq!(headers["x-goog-api-key"], "k");
        let (_, uri, _) = of(Dialect::Generate, &format!("{url}/p/g/v1/models"), false).unwrap();
        assert_eq!(uri, "/p/g/v1/models/m:generateContent?audit=a");
        assert!(of(Dialect::Messages, url, true).unwrap().2.contains_key("anthropic-version"));
        assert!(of(Dialect::Chat, "ws://127.0.0.1", true).unwrap_err().contains("http://"));
    }

    #[test]
    fn load_stays_on_this_machine_unless_allowed() {
        let refused = parse("ws://192.0.2.1:80/", Reach::Loopback).unwrap_err();
        assert!(refused.contains("--allow-remote"));
        assert!(parse("ws://192.0.2.1:80/", Reach::Anywhere).is_ok());
        assert!(parse("wss://127.0.0.1/", Reach::Loopback).unwrap_err().contains("--ca"));
        assert!(parse("ftp://127.0.0.1/", Reach::Loopback).is_err());
    }
}
