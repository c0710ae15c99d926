//! What restic can be asked for, one module each.

pub(crate) mod backup;
pub(crate) mod init;
pub(crate) mod snapshots;
pub(crate) mod sources;
pub(crate) mod unlock;
