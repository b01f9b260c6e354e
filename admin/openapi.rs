//! The API's description, OpenAPI 3.1: made from the routes and the shapes, served, and committed as
//! `openapi.json`, from which clients are generated.

use crate::auth::Area;
use crate::dto::ErrorBody;
use axum::http::StatusCode;
use std::collections::BTreeSet;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::schema::{AdditionalProperties, ArrayItems, Schema};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Components, Content, ContentBuilder, Ref, RefOr, Required, ResponseBuilder};
use utoipa::{OpenApi, ToSchema};

#[derive(OpenApi)]
#[openapi(
    info(title = "tokenist", description = "Usage, limits, blocks and live sessions of a tokenist proxy."),
    tags(
        (name = "process", description = "The process itself."),
        (name = "usage", description = "What everybody used."),
        (name = "users", description = "Whose usage is metered."),
        (name = "orgs", description = "What users used together."),
        (name = "rules", description = "What an org's users may use, and what happens to whoever uses more."),
        (name = "keys", description = "What opens the proxy and this API."),
        (name = "limits", description = "What a user may spend."),
        (name = "prices", description = "What models cost."),
        (name = "blocks", description = "Who may not open sessions."),
        (name = "sessions", description = "What is live."),
        (name = "logins", description = "Who may sign in, and who is."),
        (name = "accounts", description = "Logins of people who use the service, and what they see of themselves."),
        (name = "audit", description = "What operators have changed."),
        (name = "sdk", description = "Calls that do not pass through the proxy."),
    ),
)]
pub(crate) struct Description;

/// Adds to the operations that need no credential what their bodies bring with them.
pub(crate) fn admit(description: &mut utoipa::openapi::OpenApi, body_bytes_max: usize) {
    let operations = description.paths.paths.values_mut().flat_map(operations);
    operations.filter(|operation| operation.request_body.is_some()).for_each(|operation| {
        expect_mistakes(operation, body_bytes_max);
        refuse(operation, StatusCode::TOO_MANY_REQUESTS, THROTTLED);
    });
}

/// Adds to every operation what it takes and its credential bring with them.
pub(crate) fn guard(description: &mut utoipa::openapi::OpenApi, area: Area, body_bytes_max: usize) {
    let components = description.components.get_or_insert_with(Components::new);
    let forbidden = match area {
        Area::Read | Area::Change => "The API key does not have the admin scope, or the login may only read.",
        Area::AccountRead | Area::AccountChange => {
            "The API key does not have the admin scope, the login may only read, or it is another account's."
        }
        Area::Own => "The credential is no owner's.",
        Area::Sdk => "The API key does not have the sdk scope, or speaks for another user or org.",
    };
    let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    components.add_security_scheme(BEARER, bearer);
    description.paths.paths.values_mut().flat_map(operations).for_each(|operation| {
        operation.security = Some(vec![SecurityRequirement::new(BEARER, [""; 0])]);
        refuse(operation, StatusCode::UNAUTHORIZED, "No API key, or a wrong one.");
        refuse(operation, StatusCode::FORBIDDEN, forbidden);
        refuse(operation, StatusCode::TOO_MANY_REQUESTS, THROTTLED);
        expect_mistakes(operation, body_bytes_max);
    });
}

/// Says of every object that a body may hold that it has no other fields than these.
pub(crate) fn close_bodies(description: &mut utoipa::openapi::OpenApi) {
    let bodies = description.paths.paths.values_mut().flat_map(operations);
    let bodies = bodies.filter_map(|operation| match &operation.request_body {
        Some(RefOr::T(body)) => Some(body.content.values().filter_map(schema_of).collect::<Vec<_>>()),
        Some(RefOr::Ref(_)) | None => None,
    });
    let mut waiting: Vec<String> = bodies.flatten().collect();
    let Some(components) = &mut description.components else { return };
    let mut closed = BTreeSet::new();
    while let Some(name) = waiting.pop() {
        if closed.insert(name.clone())
            && let Some(schema) = components.schemas.get_mut(&name)
        {
            close(schema, &mut waiting);
        }
    }
    for whole in WHOLE {
        if let Some(RefOr::T(Schema::Object(object))) = components.schemas.get_mut(whole) {
            object.min_properties = Some(1);
        }
    }
}

/// The name of the shape that a body has.
fn schema_of(content: &RefOr<Content>) -> Option<String> {
    match content {
        RefOr::T(Content { schema: Some(RefOr::Ref(shape)), .. }) => Some(name_of(shape)),
        RefOr::T(_) | RefOr::Ref(_) => None,
    }
}

fn name_of(shape: &Ref) -> String {
    shape.ref_location.rsplit('/').next().unwrap_or_default().to_owned()
}

/// Closes an object and all that are in it. What it refers to waits to be closed.
fn close(schema: &mut RefOr<Schema>, waiting: &mut Vec<String>) {
    match schema {
        RefOr::Ref(shape) => waiting.push(name_of(shape)),
        RefOr::T(Schema::Object(object)) => {
            // An object without fields of its own may hold any.
            if !object.properties.is_empty() {
                object.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(false)));
            }
            object.properties.values_mut().for_each(|field| close(field, waiting));
        }
        RefOr::T(Schema::OneOf(one)) => one.items.iter_mut().for_each(|each| close(each, waiting)),
        RefOr::T(Schema::AnyOf(any)) => any.items.iter_mut().for_each(|each| close(each, waiting)),
        RefOr::T(Schema::Array(array)) => {
            if let ArrayItems::RefOrSchema(items) = &mut array.items {
                close(items, waiting);
            }
        }
        // Each of them would forbid what the others have.
        RefOr::T(Schema::AllOf(_)) => panic!("a body's shape is one object"),
        RefOr::T(_) => {}
    }
}

/// What may be wrong with what an operation takes, and that the ledger may not answer.
fn expect_mistakes(operation: &mut Operation, body_bytes_max: usize) {
    let has_body = operation.request_body.is_some();
    if let Some(RefOr::T(body)) = &mut operation.request_body {
        let may_be_missing =
            operation.operation_id.as_deref().is_some_and(|id| OPTIONAL_BODIES.contains(&id));
        body.required = Some(if may_be_missing { Required::False } else { Required::True });
    }
    if has_body || operation.parameters.is_some() {
        refuse(
            operation,
            StatusCode::BAD_REQUEST,
            "An id, a parameter or a field is wrong; the message says which.",
        );
    }
    if has_body {
        let too_large = format!("The body is larger than {} KiB.", body_bytes_max / 1024);
        refuse(operation, StatusCode::PAYLOAD_TOO_LARGE, &too_large);
    }
    refuse(operation, StatusCode::SERVICE_UNAVAILABLE, "The ledger is busy, full or gone, or too slow.");
}

/// Unless the operation itself tells when it answers so.
fn refuse(operation: &mut Operation, status: StatusCode, description: &str) {
    let body = ContentBuilder::new().schema(Some(Ref::from_schema_name(ErrorBody::name()))).build();
    let response = ResponseBuilder::new().description(description).content("application/json", body).build();
    operation.responses.responses.entry(status.as_str().to_owned()).or_insert(response.into());
}

fn operations(path: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let PathItem { get, post, put, delete, patch, .. } = path;
    [get, post, put, delete, patch].into_iter().flatten()
}

/// The shapes that replace the whole of something, and so say something of it.
const WHOLE: [&str; 2] = ["ThresholdRequest", "LimitRequest"];
/// The operations that take a body, and go without.
const OPTIONAL_BODIES: [&str; 3] = ["block_user", "rotate_key", "sign_out"];
const BEARER: &str = "key";
const THROTTLED: &str = "Too many wrong credentials from this address.";
