//! What restic can be asked for, one module each.

pub(crate) mod backup;
pub(crate) mod campaign;
pub(crate) mod check;
pub(crate) mod diff;
pub(crate) mod dump;
pub(crate) mod excludes;
pub(crate) mod find;
pub(crate) mod forget;
pub(crate) mod init;
pub(crate) mod listing;
pub(crate) mod ls;
pub(crate) mod prune;
pub(crate) mod restore;
pub(crate) mod snapshots;
pub(crate) mod sources;
pub(crate) mod stats;
pub(crate) mod tag;
pub(crate) mod unlock;
pub(crate) mod values;
