//! The API's description as it is served.

use crate::openapi::close_bodies;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use std::sync::LazyLock;

/// The description as it is served.
pub fn openapi_json() -> &'static str {
    static JSON: LazyLock<String> = LazyLock::new(|| {
        let (_, mut description) = super::routes().split_for_parts();
        close_bodies(&mut description);
        let mut json = description.to_pretty_json().expect("a description is plain data");
        json.push('\n');
        json
    });
    &JSON
}

/// The API's own description.
#[utoipa::path(
    get, path = "/openapi.json", tag = "process",
    responses((status = 200, description = "OpenAPI 3.1.", body = serde_json::Value))
)]
pub(crate) async fn read_openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], openapi_json()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect_file;

    #[test]
    fn the_api_is_what_clients_were_built_from() {
        expect_file!["../openapi.json"].assert_eq(openapi_json());
    }

    #[test]
    fn every_shape_that_is_referred_to_is_there() {
        let description: serde_json::Value = serde_json::from_str(openapi_json()).unwrap();
        let references = openapi_json().split("\"$ref\": \"#").skip(1);
        for reference in references.map(|rest| rest.split('"').next().unwrap()) {
            assert!(description.pointer(reference).is_some(), "{reference}");
        }
    }
}
