//! The seeded world in which the link is tested. Never shipped.
