//! Everything that reads bytes from a peer, as fuzz targets; see README.md.

pub mod targets;
