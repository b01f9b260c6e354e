//! How a credential was found, and what a refusal in HTTP says.

/// How the key that a request shows compares with the one that is let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Credential {
    Right,
    Wrong,
    Missing,
}

/// A refusal in HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) code: &'static str,
    pub(super) message: String,
    pub(super) retry_after_seconds: Option<u64>,
}

impl Refusal {
    pub(super) fn new(status: u16, code: &'static str, message: &str) -> Refusal {
        Refusal { status, code, message: message.to_owned(), retry_after_seconds: None }
    }
}
