//! Both ends of the link together: over memory with paused time, and over real sockets.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say so")]

mod herd;
mod long_poll;
mod loopback;
mod memory;
mod proxy;
mod request;
mod tls;
mod world;
