//! The dashboard, embedded as it was exported to `dashboard/out`, with the policy that lets its own scripts run and
//! nothing else. Built without that folder, there is a page that says how to get one.

use crate::error::ApiError;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{Html, IntoResponse, Response};
use rust_embed::{EmbeddedFile, RustEmbed};
use std::collections::HashMap;
use std::sync::LazyLock;

#[derive(RustEmbed)]
#[folder = "dashboard/out"]
#[allow_missing = true]
struct Export;

/// Whether the dashboard was there when this was built.
pub(crate) fn has_dashboard() -> bool {
    Export::get("index.html").is_some()
}

/// Whatever no route of the API answers. Under the API's own paths that is nothing, whatever the credential.
pub(crate) async fn serve(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    let path = uri.path().trim_matches('/');
    let is_api = API.iter().any(|api| path == *api || path.starts_with(&format!("{api}/")));
    if is_api || !matches!(method, Method::GET | Method::HEAD) {
        return ApiError::not_found().into_response();
    }
    match file_of(path) {
        Some(name) => file(&name, StatusCode::OK, &headers),
        None if !accepts(&headers, header::ACCEPT, "text/html") => ApiError::not_found().into_response(),
        None if Export::get("404.html").is_some() => file("404.html", StatusCode::NOT_FOUND, &headers),
        None if path.is_empty() => Html(NOT_BUILT).into_response(),
        None => ApiError::not_found().into_response(),
    }
}

/// A page goes by its name without `.html`.
fn file_of(path: &str) -> Option<String> {
    let page = if path.is_empty() { "index.html".to_owned() } else { format!("{path}.html") };
    [path.to_owned(), page].into_iter().find(|name| *name != POLICIES_FILE && Export::get(name).is_some())
}

fn file(name: &str, status: StatusCode, headers: &HeaderMap) -> Response {
    let packed =
        accepts(headers, header::ACCEPT_ENCODING, "gzip").then(|| Export::get(&format!("{name}.gz")));
    let (EmbeddedFile { data, .. }, is_packed) = match (packed.flatten(), Export::get(name)) {
        (Some(packed), _) => (packed, true),
        (None, Some(plain)) => (plain, false),
        (None, None) => return ApiError::not_found().into_response(),
    };
    let cached = if name.starts_with("_next/static/") { FOR_EVER } else { ASK_AGAIN };
    let mut response = (status, data.into_owned()).into_response();
    let answer = response.headers_mut();
    answer.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type(name)));
    answer.insert(header::CACHE_CONTROL, HeaderValue::from_static(cached));
    answer.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    answer.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    if is_packed {
        answer.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    if name.ends_with(".html") {
        answer.insert(header::CONTENT_SECURITY_POLICY, policy(name));
        answer.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    }
    response
}

/// Scripts of this origin run, and those within the page whose hashes were taken when it was built.
fn policy(page: &str) -> HeaderValue {
    static HASHES: LazyLock<HashMap<String, Vec<String>>> = LazyLock::new(|| {
        let file = Export::get(POLICIES_FILE);
        file.and_then(|file| serde_json::from_slice(&file.data).ok()).unwrap_or_default()
    });
    let hashes = HASHES.get(page).into_iter().flatten();
    let scripts = hashes.fold(String::from("'self'"), |scripts, hash| format!("{scripts} '{hash}'"));
    let reach = if page == CALLING { "'self' http: https:" } else { "'self'" };
    let policy = format!(
        "default-src 'self'; script-src {scripts}; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
         connect-src {reach}; object-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
    );
    HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
}

fn accepts(headers: &HeaderMap, name: header::HeaderName, what: &str) -> bool {
    headers.get(name).and_then(|value| value.to_str().ok()).is_some_and(|value| value.contains(what))
}

fn media_type(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("json") => "application/json",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("ico") => "image/x-icon",
        Some("woff2") => "font/woff2",
        Some("txt") => "text/plain; charset=utf-8",
        Some(_) | None => "application/octet-stream",
    }
}

const API: [&str; 7] = ["admin", "auth", "sdk", "v1", "health", "ready", "metrics"];
/// Asks the data port, whose address an operator names.
const CALLING: &str = "try.html";
/// By page, the hashes of the scripts within it.
const POLICIES_FILE: &str = "csp.json";
/// The name changes with the content.
const FOR_EVER: &str = "public, max-age=31536000, immutable";
const ASK_AGAIN: &str = "no-cache";
/// Cargo alone builds no dashboard: that takes Node, and the API alone needs neither.
const NOT_BUILT: &str = "<!doctype html><html lang=\"en\"><title>tokenist</title><h1>This build has no dashboard</h1>\
    <p>Everything else works. To have it, run this where tokenist was built, and start it again:\
    <pre>scripts/lib/dashboard &amp;&amp; cargo build --release</pre>\
    <p><code>scripts/start</code> does both. The API is described at <a href=\"/openapi.json\">/openapi.json</a>.";

#[cfg(test)]
mod tests {
    use super::*;

    async fn ask(method: Method, path: &str, accept: &'static str) -> Response {
        let headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(accept))]);
        serve(method, path.parse().unwrap(), headers).await
    }

    #[tokio::test]
    async fn what_is_neither_api_nor_page_is_not_found_in_terms_of_who_asks() {
        for (method, path, accept) in [
            (Method::GET, "/admin/nothing", "text/html"),
            (Method::GET, "/auth", "text/html"),
            (Method::POST, "/", "text/html"),
            (Method::GET, "/nothing/at/all", "application/json"),
            (Method::GET, "/csp.json", "*/*"),
            (Method::GET, "/../Cargo.toml", "*/*"),
            (Method::GET, "/..%2FCargo.toml", "*/*"),
        ] {
            let answer = ask(method.clone(), path, accept).await;
            assert_eq!(answer.status(), 404, "{method} {path}");
            assert_eq!(answer.headers()[header::CONTENT_TYPE], "application/json", "{method} {path}");
        }
        assert_eq!(ask(Method::GET, "/", "text/html").await.status(), 200);
    }
}
