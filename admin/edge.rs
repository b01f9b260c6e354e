//! What every request and answer passes: the deadline, the headers that browsers need, and CORS.

use crate::App;
use crate::auth;
use crate::error::ApiError;
use crate::peer::Peer;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::net::IpAddr;
use std::time::Duration;
use tokenist_core::client::TrustedProxies;
use tokio::time::timeout;

pub(crate) async fn edge(State(app): State<App>, mut request: Request, next: Next) -> Response {
    if let Some(&Peer(peer)) = request.extensions().get::<Peer>() {
        let client = client(request.headers(), peer, &app.config.trusted_proxies);
        request.extensions_mut().insert(Peer(client));
    }
    let origin = allowed(request.headers(), &app.config.cors_origins);
    let mut response = if let Err(error) = refuse_ambiguous(&request) {
        error.into_response()
    } else if request.method() == Method::OPTIONS {
        StatusCode::NO_CONTENT.into_response()
    } else {
        let deadline = Duration::from_millis(app.config.request_ms);
        timeout(deadline, next.run(request)).await.unwrap_or_else(|_| ApiError::too_slow().into_response())
    };
    let headers = response.headers_mut();
    for (name, value) in SHIELDS {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.append(header::VARY, HeaderValue::from_static("origin"));
    if let Some(origin) = origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
        headers.insert(
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            HeaderValue::from_static("authorization, content-type"),
        );
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    }
    response
}

/// Refuses a request that two readers could take for different ones, as the data port does.
fn refuse_ambiguous(request: &Request) -> Result<(), ApiError> {
    let bad = |why: String| Err(ApiError::new(StatusCode::BAD_REQUEST, why));
    let uri = request.uri();
    if uri.scheme().is_some()
        || uri.authority().is_some()
        || !uri.path().starts_with('/')
        || uri.path().contains("://")
    {
        return bad(
            "The target of a request must be a path that begins with a slash, with no scheme or host".into(),
        );
    }
    let headers = request.headers();
    match SINGLE.iter().find(|(name, _)| headers.get_all(*name).iter().nth(1).is_some()) {
        Some((_, written)) => bad(format!("The request gives {written} twice: send it once")),
        None if auth::session_cookies(headers).nth(1).is_some() => {
            let name = auth::SESSION_COOKIE;
            bad(format!(
                "The request gives the cookie {name} twice: remove this site's cookies and sign in again"
            ))
        }
        None => Ok(()),
    }
}

/// Where the request comes from, as far as those say whose word for it is taken.
fn client(headers: &HeaderMap, peer: IpAddr, trusted: &TrustedProxies) -> IpAddr {
    // What is not text is no address: it must not be passed over.
    let lines =
        |name| headers.get_all(name).iter().map(|value: &HeaderValue| value.to_str().unwrap_or_default());
    trusted.client(peer, lines(HeaderName::from_static("x-forwarded-for")), lines(header::FORWARDED))
}

/// The request's origin if the operator trusts it.
fn allowed(headers: &HeaderMap, origins: &[String]) -> Option<HeaderValue> {
    let origin = headers.get(header::ORIGIN)?;
    origins
        .iter()
        .any(|allowed| allowed == "*" || allowed.as_bytes() == origin.as_bytes())
        .then(|| origin.clone())
}

/// What every answer tells browsers, unless it says something of its own: that it is what it says it is, loads
/// nothing and stands in no other page's frame.
const SHIELDS: [(HeaderName, &str); 4] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "same-origin"),
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    ),
];
/// Headers of which there may be one.
const SINGLE: [(&str, &str); 6] = [
    ("authorization", "Authorization"),
    ("host", "Host"),
    ("origin", "Origin"),
    ("content-type", "Content-Type"),
    ("idempotency-key", "Idempotency-Key"),
    ("transfer-encoding", "Transfer-Encoding"),
];
const METHODS: &str = "GET, POST, PUT, PATCH, DELETE, OPTIONS";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_origins_are_told_they_may() {
        let listed = ["https://ops.example.com".to_owned()];
        for (origins, origin, expected) in [
            (&listed[..], "https://ops.example.com", true),
            (&listed, "https://ops.example.com.evil.example", false),
            (&listed, "null", false),
            (&["*".to_owned()], "https://any.example", true),
            (&[], "https://ops.example.com", false),
        ] {
            let headers = HeaderMap::from_iter([(header::ORIGIN, HeaderValue::from_static(origin))]);
            assert_eq!(allowed(&headers, origins).is_some(), expected, "{origin}");
        }
    }
}
