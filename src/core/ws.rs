//! WebSocket framing (RFC 6455 §5): headers are read and checked, payloads are left alone.

pub mod frame;
pub mod track;
pub mod walk;
