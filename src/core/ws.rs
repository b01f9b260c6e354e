//! WebSocket framing (RFC 6455 §5): headers are read and checked, text is looked at, and no payload is changed.

pub mod frame;
pub mod masked;
pub mod track;
pub mod utf8;
pub mod walk;
