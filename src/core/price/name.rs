//! What a model's name says beside the model: the date of its edition, how it is deployed, and whether it fits a pattern.

use crate::terms::Terms;

/// `model` without the date of its edition (`-2026-05-01` or `-20260501`), if it has one.
pub(super) fn undated(model: &str) -> Option<&str> {
    let is_date = |tail: &[u8], shape: &[u8]| {
        tail.len() == shape.len()
            && tail.iter().zip(shape).all(|(byte, wanted)| match wanted {
                b'0' => byte.is_ascii_digit(),
                _ => byte == wanted,
            })
    };
    [&b"-0000-00-00"[..], b"-00000000"].into_iter().find_map(|shape| {
        let (name, tail) = model.split_at_checked(model.len().checked_sub(shape.len())?)?;
        (!name.is_empty() && is_date(tail.as_bytes(), shape)).then_some(name)
    })
}

/// `model` without how Azure deploys it, and on which terms that is: `gpt-realtime-global-standard` is `gpt-realtime`.
pub(super) fn deployed(model: &str) -> Option<(&str, Terms<'static>)> {
    let of = |part: &str| model.find(part).map(|at| &model[..at]).filter(|name| !name.is_empty());
    let global = || Some((of("-global-")?, Terms::default()));
    let zone = || Some((of("-datazone")?, Terms::default().with("deployment", "data_zone")));
    global().or_else(zone)
}

/// Whether `model` has the parts of `pattern` in their order, with anything where a `*` stands.
pub(super) fn matches(pattern: &str, model: &str) -> bool {
    let Some((head, tail)) = pattern.split_once('*') else { return pattern == model };
    let Some(mut rest) = model.strip_prefix(head) else { return false };
    let mut parts = tail.split('*').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}
