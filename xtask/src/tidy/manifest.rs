//! Rules for `Cargo.toml`, `Cargo.lock`, and npm's files: one version, one set of lints, and no
//! address of a package registry that only one machine knows.

use std::path::Path;

use super::Finding;

/// The one source a package in `Cargo.lock` may have: the index every cargo knows.
const CRATES_INDEX: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// What every member's manifest takes from the workspace.
const SHARED: [&str; 4] = [
    "version.workspace = true",
    "edition.workspace = true",
    "rust-version.workspace = true",
    "[lints]",
];

pub(super) fn check(file: &Path, content: &str) -> Vec<Finding> {
    match file.file_name().and_then(|name| name.to_str()) {
        Some("Cargo.toml") if is_member(file, content) => check_member(file, content),
        Some("Cargo.lock") => check_sources(file, content),
        Some("package-lock.json") => check_lines(file, content, "\"resolved\": \"http"),
        Some(".npmrc") => check_lines(file, content, "registry="),
        Some("config.toml") => check_lines(file, content, "[source."),
        _ => Vec::new(),
    }
}

/// The fuzz targets need another compiler, so they are no member and share nothing.
fn is_member(file: &Path, content: &str) -> bool {
    content.contains("[package]") && !file.starts_with("fuzz")
}

fn check_member(file: &Path, content: &str) -> Vec<Finding> {
    let missing = SHARED.into_iter().filter(|shared| !has_line(content, shared));
    missing.map(|shared| Finding::in_file(file, format!("lacks the line {shared:?}"))).collect()
}

/// Whole lines only: `rust-version` ends like `version`. Lints are shared by the line after the
/// heading.
fn has_line(content: &str, wanted: &str) -> bool {
    let mut lines = content.lines().skip_while(|line| *line != wanted);
    match lines.next() {
        Some("[lints]") => lines.next() == Some("workspace = true"),
        found => found.is_some(),
    }
}

fn check_sources(file: &Path, content: &str) -> Vec<Finding> {
    let sources = content.lines().enumerate().filter_map(|(index, line)| {
        let source = line.strip_prefix("source = \"")?.strip_suffix('"')?;
        (source != CRATES_INDEX).then_some(index + 1)
    });
    sources.map(|line| Finding::at(file, line, "a package comes from elsewhere")).collect()
}

fn check_lines(file: &Path, content: &str, needle: &str) -> Vec<Finding> {
    let lines = content.lines().enumerate().filter(|(_, line)| line.contains(needle));
    lines
        .map(|(index, _)| Finding::at(file, index + 1, "names a package registry's address"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_shares_version_and_lints() {
        let good = "[package]\nversion.workspace = true\nedition.workspace = true\n\
            rust-version.workspace = true\n\n[lints]\nworkspace = true\n";
        assert_eq!(check(Path::new("crates/a/Cargo.toml"), good), []);
        let bad = good.replace("version.workspace = true\nedition", "version = \"1.0.0\"\nedition");
        let found = check(Path::new("crates/a/Cargo.toml"), &bad.replace("[lints]", "[other]"));
        assert_eq!(found.len(), 2, "{found:?}");
    }

    #[test]
    fn the_workspace_manifest_is_not_a_member() {
        assert_eq!(check(Path::new("Cargo.toml"), "[workspace]\nmembers = []\n"), []);
        assert_eq!(check(Path::new("fuzz/Cargo.toml"), "[package]\n[workspace]\n"), []);
    }

    #[test]
    fn packages_come_from_the_common_index_only() {
        let good = format!("source = \"{CRATES_INDEX}\"\n");
        assert_eq!(check(Path::new("Cargo.lock"), &good), []);
        let bad = format!("{good}source = \"registry+https://index.example/\"\n");
        assert_eq!(check(Path::new("Cargo.lock"), &bad)[0].line, Some(2));
    }

    #[test]
    fn npm_files_name_no_registry() {
        let lock = "{\n  \"resolved\": \"https://registry.example/a.tgz\"\n}\n";
        assert_eq!(check(Path::new("web/package-lock.json"), lock)[0].line, Some(2));
        let settings = "registry=https://registry.example\n";
        assert_eq!(check(Path::new("web/.npmrc"), settings).len(), 1);
        assert_eq!(check(Path::new("web/.npmrc"), "fund=false\n"), []);
    }
}
