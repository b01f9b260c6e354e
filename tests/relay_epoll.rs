//! What `relay.rs` promises, with epoll in the place of io_uring: many containers allow nothing else.

#[path = "relay.rs"]
mod relay;
