//! The whole of fleet operations: real server, real agent, real restic, driven through the REST API
//! and the command line, and judged by restic itself.

mod databases;
mod evil;
mod kinds;
mod rest;
