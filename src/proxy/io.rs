//! The two ends of a session as bytes: buffers, connections and TLS. Knows nothing of what the bytes mean.

#[cfg(test)]
pub(crate) mod allocations;
pub(crate) mod buffer;
pub(crate) mod shut_down;
pub(crate) mod stream;
pub(crate) mod tcp;
pub(crate) mod tls;
