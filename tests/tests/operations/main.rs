//! The whole of fleet operations: real server, real agent, real restic, driven through the REST API
//! and the command line, and judged by restic itself.

mod canary;
mod databases;
mod evil;
mod history;
mod kinds;
mod race;
mod rest;
mod retries;
