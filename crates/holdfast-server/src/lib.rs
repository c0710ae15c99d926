//! The control plane: store, hub of live links, REST API and dashboard.

pub mod api;
pub mod auth;
mod bus;
mod config;
mod embed;
pub mod hub;
pub mod live;
pub mod metrics;
mod openapi;
mod secret;
pub mod server;
pub mod store;
pub mod token;
pub mod view;

pub use config::ServerConfig;
pub use secret::SecretError;
