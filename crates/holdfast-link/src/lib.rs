//! The conversation between an agent and its server: one long-lived link that loses nothing and
//! repeats nothing.

mod store;

pub use store::{Positions, Record, Store, StoreError, Unsequenced};
