//! Fields of an event, as the dialects look at them.

use crate::json::{self, End, Field, Fields, Value};
use std::borrow::Cow;

/// What the first bytes of an event, or all of them, tell of its type.
#[derive(Debug, PartialEq)]
pub(crate) enum Type<'a> {
    Named(Cow<'a, [u8]>),
    /// It stands behind what is seen.
    Unseen,
    /// It has none.
    None,
}

/// The type, wherever it stands among the fields.
pub(crate) fn type_of(head: &[u8]) -> Type<'_> {
    if let Some(name) = json::leading_text(head, b"{\"type\":\"") {
        return Type::Named(Cow::Borrowed(name));
    }
    type_under(head, "type")
}

/// The same of a protocol that has the type under another key.
pub(crate) fn type_under<'a>(head: &'a [u8], key: &str) -> Type<'a> {
    let mut fields = Fields::of(head);
    match fields.by_ref().find(|field| field.key.is(key)) {
        Some(field) if field.cut => Type::Unseen,
        Some(field) => field.value.text().map_or(Type::None, |name| Type::Named(name.bytes())),
        None if fields.end() == Some(End::Cut) => Type::Unseen,
        None => Type::None,
    }
}

pub(crate) fn text<'a>(field: Field<'a>) -> Option<Cow<'a, str>> {
    field.value.text().filter(|text| !field.cut && !text.raw.is_empty()).map(|text| text.decode())
}

pub(crate) fn object<'a>(field: Field<'a>) -> Option<Fields<'a>> {
    field.value.fields()
}

pub(crate) fn is_null(field: Field<'_>) -> bool {
    matches!(field.value, json::Value::Plain(b"null"))
}

/// The last field of a name.
pub(crate) fn find<'a>(fields: Fields<'a>, name: &str) -> Option<Field<'a>> {
    fields.filter(|field| field.key.is(name)).last()
}

/// The value at a path: at `a.b` that of field `b` in the object that is field `a`.
pub(crate) fn value_at<'a>(fields: Fields<'a>, path: &str) -> Option<Value<'a>> {
    match path.split_once('.') {
        Some((name, rest)) => value_at(object(find(fields, name)?)?, rest),
        None => find(fields, path).filter(|field| !field.cut).map(|field| field.value),
    }
}

/// A value as it stands there, a text without its quotes.
pub(crate) fn raw<'a>(field: Field<'a>) -> &'a [u8] {
    match field.value {
        Value::Object(raw) | Value::Array(raw) | Value::Plain(raw) | Value::Text(json::Text { raw, .. }) => {
            raw
        }
    }
}

/// A name without what says where it is: `models/M` is M.
pub(crate) fn last_word(name: Cow<'_, str>) -> Cow<'_, str> {
    match name.rfind('/') {
        Some(slash) => Cow::Owned(name[slash + 1..].to_owned()),
        None => name,
    }
}
