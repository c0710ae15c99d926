//! The REST API through its router: the real store in a temporary directory, no sockets but for the
//! live socket's tests.

#![expect(clippy::unwrap_used, reason = "a test's helpers may fail like the test itself")]

mod access;
mod agent_link;
mod alerts;
mod audit;
mod audited;
mod browse;
mod browser;
mod calendar;
mod channels;
mod enrolment;
mod fleet;
mod foreign;
mod hosts;
mod jobs;
mod live;
mod logs;
mod matrix;
mod metrics;
#[cfg(feature = "oidc")]
mod oidc;
#[cfg(feature = "oidc")]
mod openapi;
mod pages;
#[path = "../state/receivers.rs"]
mod receivers;
mod repositories;
mod scope;
mod shared;
mod sign_in;
mod support;
