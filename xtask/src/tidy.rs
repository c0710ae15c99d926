//! The rules of the house that no compiler knows. Each is a pure function over a file's text, or
//! over what cargo says about the workspace.

mod arrows;
mod claims;
mod licences;
mod manifest;
mod text;
mod unused;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::workspace;

/// One broken rule, as a person reads it: where, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) file: PathBuf,
    /// From 1; absent when the whole file is meant.
    pub(crate) line: Option<usize>,
    pub(crate) rule: String,
}

impl Finding {
    fn in_file(file: &Path, rule: impl Into<String>) -> Self {
        Self { file: file.to_path_buf(), line: None, rule: rule.into() }
    }

    fn at(file: &Path, line: usize, rule: impl Into<String>) -> Self {
        Self { file: file.to_path_buf(), line: Some(line), rule: rule.into() }
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.file.display(), self.rule),
            None => write!(f, "{}: {}", self.file.display(), self.rule),
        }
    }
}

/// Checks all files of the project and the arrows between its crates.
pub(crate) fn run() -> Result<()> {
    let findings = findings()?;
    for finding in &findings {
        eprintln!("{finding}");
    }
    match findings.len() {
        0 => Ok(()),
        1 => bail!("1 rule is broken; see above"),
        count => bail!("{count} rules are broken; see above"),
    }
}

fn findings() -> Result<Vec<Finding>> {
    let metadata = workspace::metadata()?;
    let mut findings = arrows::check(&metadata)?;
    findings.extend(unused::check(&metadata)?);
    let root = workspace::root();
    let policy = std::fs::read_to_string(root.join("deny.toml"))?;
    findings.extend(licences::check(&workspace::metadata_of_all()?, &policy)?);
    let (mut functions, mut claimed) = (BTreeSet::new(), String::new());
    for file in workspace::files()? {
        // What is not text (pictures) has no lines to judge.
        let Ok(content) = std::fs::read_to_string(root.join(&file)) else { continue };
        findings.extend(text::check(&file, &content));
        findings.extend(manifest::check(&file, &content));
        if file.extension().is_some_and(|extension| extension == "rs") {
            functions.extend(claims::functions(&content).map(str::to_owned));
        }
        if file == Path::new(claims::CLAIMS) {
            claimed = content;
        }
    }
    findings.extend(claims::check(&claimed, &functions));
    Ok(findings)
}

/// The manifest of one of cargo's packages, relative to the checkout where it is inside.
fn manifest(package: &serde_json::Value) -> PathBuf {
    let path = Path::new(package["manifest_path"].as_str().unwrap_or_default());
    path.strip_prefix(workspace::root()).unwrap_or(path).to_path_buf()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_reads_like_a_compiler_message() {
        let file = Path::new("src/lib.rs");
        assert_eq!(Finding::at(file, 7, "too long").to_string(), "src/lib.rs:7: too long");
        assert_eq!(Finding::in_file(file, "too long").to_string(), "src/lib.rs: too long");
    }
}
