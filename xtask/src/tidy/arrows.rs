//! Who may know whom. A new arrow is an architectural change: it belongs here in a commit of its
//! own that argues for it.

use anyhow::{Context, Result};
use serde_json::Value;

use super::Finding;

/// Each crate of the workspace, and which others of it it may use (in its tests, too).
const ARROWS: [(&str, &[&str]); 11] = [
    ("holdfast-protocol", &[]),
    ("holdfast-link", &["holdfast-protocol"]),
    ("holdfast-sim", &["holdfast-link", "holdfast-protocol"]),
    ("holdfast-engine", &["holdfast-protocol"]),
    ("holdfast-agent", &["holdfast-engine", "holdfast-link", "holdfast-protocol"]),
    ("holdfast-server", &["holdfast-link", "holdfast-protocol"]),
    (
        "holdfast",
        &[
            "holdfast-agent",
            "holdfast-engine",
            "holdfast-link",
            "holdfast-protocol",
            "holdfast-server",
        ],
    ),
    // They see the programs from outside, as a person does.
    ("holdfast-e2e", &[]),
    // It takes the pieces of the product apart, to measure each.
    (
        "holdfast-bench",
        &[
            "holdfast-agent",
            "holdfast-e2e",
            "holdfast-link",
            "holdfast-protocol",
            "holdfast-server",
        ],
    ),
    // It makes agents of the product's own parts, to put them under more than restic could bear.
    ("holdfast-chaos", &["holdfast-agent", "holdfast-e2e", "holdfast-link", "holdfast-protocol"]),
    ("xtask", &["holdfast-e2e"]),
];

/// Crates without I/O: their dependencies must not bring any.
const PURE: [&str; 1] = ["holdfast-protocol"];
const IMPURE: [&str; 8] = ["async-std", "axum", "hyper", "mio", "redb", "reqwest", "sqlx", "tokio"];

/// Checks the dependencies in cargo's `metadata` against the table.
pub(super) fn check(metadata: &Value) -> Result<Vec<Finding>> {
    let packages = metadata["packages"].as_array().context("cargo metadata has no packages")?;
    let names: Vec<&str> = packages.iter().filter_map(|package| package["name"].as_str()).collect();
    Ok(packages.iter().flat_map(|package| check_package(package, &names)).collect())
}

fn check_package(package: &Value, workspace: &[&str]) -> Vec<Finding> {
    let name = package["name"].as_str().unwrap_or_default();
    let manifest = super::manifest(package);
    let Some((_, allowed)) = ARROWS.iter().find(|(known, _)| *known == name) else {
        let rule = format!("{name} is not in the table of arrows (xtask/src/tidy/arrows.rs)");
        return vec![Finding::in_file(&manifest, rule)];
    };
    let uses = package["dependencies"].as_array().into_iter().flatten();
    uses.filter_map(|dependency| dependency["name"].as_str())
        .filter_map(|used| broken_arrow(name, used, allowed, workspace))
        .map(|rule| Finding::in_file(&manifest, rule))
        .collect()
}

fn broken_arrow(from: &str, to: &str, allowed: &[&str], workspace: &[&str]) -> Option<String> {
    if workspace.contains(&to) && !allowed.contains(&to) {
        return Some(format!("{from} must not use {to}: arrows point down only"));
    }
    let impure = PURE.contains(&from) && IMPURE.contains(&to);
    impure.then(|| format!("{from} is pure and must not use {to}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn findings(packages: &[(&str, &[&str])]) -> Vec<String> {
        let packages: Vec<Value> = packages
            .iter()
            .map(|(name, uses)| {
                let uses: Vec<Value> = uses.iter().map(|used| json!({ "name": used })).collect();
                json!({ "name": name, "manifest_path": "Cargo.toml", "dependencies": uses })
            })
            .collect();
        let metadata = json!({ "packages": packages });
        check(&metadata).unwrap().into_iter().map(|finding| finding.rule).collect()
    }

    #[test]
    fn arrows_in_the_table_pass() {
        let found = findings(&[
            ("holdfast-protocol", &["serde"]),
            ("holdfast-link", &["holdfast-protocol", "tokio"]),
        ]);
        assert_eq!(found, Vec::<String>::new());
    }

    #[test]
    fn the_agent_and_the_server_never_meet() {
        let found = findings(&[
            ("holdfast-agent", &["holdfast-server"]),
            ("holdfast-server", &["holdfast-agent"]),
        ]);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].contains("holdfast-agent must not use holdfast-server"), "{found:?}");
    }

    #[test]
    fn the_protocol_stays_pure() {
        let found = findings(&[("holdfast-protocol", &["tokio"])]);
        assert_eq!(found, ["holdfast-protocol is pure and must not use tokio"]);
    }

    #[test]
    fn a_new_crate_must_find_its_place() {
        let found = findings(&[("holdfast-extra", &[])]);
        assert!(found[0].contains("not in the table"), "{found:?}");
    }
}
