//! The control plane: store, hub of live links, REST API and dashboard.

mod bus;
pub mod live;
pub mod metrics;
mod secret;
pub mod store;
pub mod token;
pub mod view;

pub use secret::SecretError;
