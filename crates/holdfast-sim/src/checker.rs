//! One file per promise. Some are judged while the world runs, the rest when it has settled.

pub(crate) mod answers;
pub(crate) mod commands;
pub(crate) mod durability;
pub(crate) mod exactly_once;
pub(crate) mod memory;
pub(crate) mod settled;
pub(crate) mod stampede;
