//! What every request and answer passes: the deadline, the headers that browsers need, and CORS.

use crate::App;
use crate::auth::Peer;
use crate::error::ApiError;
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
    let mut response = if request.method() == Method::OPTIONS {
        StatusCode::NO_CONTENT.into_response()
    } else {
        let deadline = Duration::from_millis(app.config.request_ms);
        timeout(deadline, next.run(request)).await.unwrap_or_else(|_| ApiError::too_slow().into_response())
    };
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
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
