//! Fields of an event as the OpenAI-like dialects look at them.

use crate::json::{self, End, Field, Fields};
use std::borrow::Cow;

/// What the first bytes of an event, or all of them, tell of its type.
#[derive(Debug, PartialEq)]
pub(super) enum Type<'a> {
    Named(Cow<'a, [u8]>),
    /// It stands behind what is seen.
    Unseen,
    /// It has none.
    None,
}

/// The type, wherever it stands among the fields.
pub(super) fn type_of(head: &[u8]) -> Type<'_> {
    if let Some(name) = json::leading_text(head, b"{\"type\":\"") {
        return Type::Named(Cow::Borrowed(name));
    }
    let mut fields = Fields::of(head);
    match fields.by_ref().find(|field| field.key.is("type")) {
        Some(field) if field.cut => Type::Unseen,
        Some(field) => field.value.text().map_or(Type::None, |name| Type::Named(name.bytes())),
        None if fields.end() == Some(End::Cut) => Type::Unseen,
        None => Type::None,
    }
}

pub(super) fn text<'a>(field: Field<'a>) -> Option<Cow<'a, str>> {
    field.value.text().filter(|text| !field.cut && !text.raw.is_empty()).map(|text| text.decode())
}

pub(super) fn object<'a>(field: Field<'a>) -> Option<Fields<'a>> {
    field.value.fields()
}

pub(super) fn is_null(field: Field<'_>) -> bool {
    matches!(field.value, json::Value::Plain(b"null"))
}

/// The last field of a name.
pub(super) fn find<'a>(fields: Fields<'a>, name: &str) -> Option<Field<'a>> {
    fields.filter(|field| field.key.is(name)).last()
}
