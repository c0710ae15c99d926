//! What the tests of several modules begin with.

use std::collections::BTreeMap;

use holdfast_protocol::{RepositoryId, message::config::Secret};

use crate::store::{NewGroup, NewRepository};

/// A repository of this kind at this place.
pub(crate) fn repository(name: &str, kind: &str, location: &str) -> NewRepository {
    NewRepository {
        name: name.to_owned(),
        kind: kind.to_owned(),
        location: location.to_owned(),
        url: Secret::new(location),
        password: Secret::new("x"),
        environment: BTreeMap::new(),
        ca_certificate: None,
    }
}

/// A source group with the directory of its name.
pub(crate) fn group(name: &str, repository_id: RepositoryId) -> NewGroup {
    NewGroup {
        name: name.to_owned(),
        repository_id,
        includes: vec![format!("/{name}")],
        excludes: vec![],
        objective_seconds: None,
        options: Default::default(),
        retention: None,
    }
}
