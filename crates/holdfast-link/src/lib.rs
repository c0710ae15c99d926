//! The conversation between an agent and its server: one long-lived link that loses nothing and
//! repeats nothing.

pub mod backoff;
pub mod client;
mod clock;
pub mod close_code;
pub mod dial;
mod driver;
mod post;
pub mod server;
pub mod session;
mod status;
pub mod store;
pub mod transport;

pub use client::{
    Client, ClientConfig, ConfigError, Credentials, CredentialsError, Fatal, Host, Identity,
};
pub use clock::Moment;
pub use dial::PlaintextRule;
pub use server::{Admission, Gate, Mailbox, ServeConfig, accept};
pub use session::{CloseReason, Ended, Session};
pub use status::{LinkEvent, LinkState, LinkStatus};
pub use store::{Positions, Record, Store, StoreError, Unsequenced};
pub use transport::accepted::configure;
