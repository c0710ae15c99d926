//! Dependencies that nobody uses: they cost every build and every audit.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use super::Finding;
use crate::workspace;

/// Checks that each package names, somewhere in its code, every crate that it depends on.
pub(super) fn check(metadata: &Value) -> Result<Vec<Finding>> {
    let packages = metadata["packages"].as_array().context("cargo metadata has no packages")?;
    let mut findings = Vec::new();
    for package in packages {
        let manifest = super::manifest(package);
        let code = code_below(manifest.parent().context("a manifest lies in no folder")?)?;
        let unused = dependencies(package).filter(|name| !mentions(&code, name));
        findings.extend(
            unused.map(|name| Finding::in_file(&manifest, format!("{name} is used nowhere"))),
        );
    }
    Ok(findings)
}

/// The crates `package` depends on, by the name its code knows them under.
fn dependencies(package: &Value) -> impl Iterator<Item = String> + '_ {
    let list = package["dependencies"].as_array().into_iter().flatten();
    list.filter_map(|dependency| dependency["rename"].as_str().or(dependency["name"].as_str()))
        .map(|name| name.replace('-', "_"))
}

/// All Rust code of the project below `folder`, which is relative to the checkout.
fn code_below(folder: &Path) -> Result<String> {
    let mut code = String::new();
    for file in workspace::files()? {
        if file.starts_with(folder) && file.extension().is_some_and(|extension| extension == "rs") {
            code.push_str(&std::fs::read_to_string(workspace::root().join(&file))?);
        }
    }
    Ok(code)
}

/// Whether `name` stands in `code` as a word of its own.
fn mentions(code: &str, name: &str) -> bool {
    let is_part = |character: char| character.is_alphanumeric() || character == '_';
    code.match_indices(name).any(|(start, _)| {
        let before = code[..start].chars().next_back();
        let after = code[start + name.len()..].chars().next();
        !before.is_some_and(is_part) && !after.is_some_and(is_part)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_part_of_a_longer_word_is_no_use() {
        assert!(mentions("use tokio::net;", "tokio"));
        assert!(mentions("tokio", "tokio"));
        assert!(!mentions("use tokio_util::task;", "tokio"));
        assert!(!mentions("use my_tokio::net;", "tokio"));
    }

    #[test]
    fn a_renamed_crate_is_known_by_its_new_name() {
        let package = json!({ "dependencies": [
            { "name": "tokio-util", "rename": null },
            { "name": "openssl", "rename": "tls" },
        ]});
        assert_eq!(dependencies(&package).collect::<Vec<_>>(), ["tokio_util", "tls"]);
    }
}
