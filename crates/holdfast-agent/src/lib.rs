//! The agent: one per protected host.
