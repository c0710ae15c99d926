//! The control plane: store, hub of live links, REST API and dashboard.
