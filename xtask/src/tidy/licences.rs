//! What we may build on: the licences and the bans of `deny.toml`, held against what cargo says.
//!
//! `cargo deny check` reads the same file and knows more (the advisories); it needs a database from
//! the network. This here needs nothing, so it can stand in every gate.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use super::Finding;

const POLICY: &str = "deny.toml";

/// Checks every package in cargo's `metadata` against the policy.
pub(super) fn check(metadata: &Value, policy: &str) -> Result<Vec<Finding>> {
    let policy: toml::Table = policy.parse().context("deny.toml is not TOML")?;
    let allowed = names(&policy, "licenses", "allow");
    let banned: Vec<&str> = list(&policy, "bans", "deny").filter_map(ban).collect();
    let packages = metadata["packages"].as_array().context("cargo metadata has no packages")?;
    Ok(packages.iter().filter_map(|package| judge(package, &allowed, &banned)).collect())
}

fn judge(package: &Value, allowed: &[&str], banned: &[&str]) -> Option<Finding> {
    let name = package["name"].as_str().unwrap_or_default();
    let found = |rule: String| Some(Finding::in_file(Path::new(POLICY), rule));
    if banned.contains(&name) {
        return found(format!("{name} is banned, and something depends on it"));
    }
    let Some(licence) = package["license"].as_str() else {
        return found(format!("{name} does not say its licence"));
    };
    match is_allowed(licence, allowed) {
        Some(true) => None,
        Some(false) => found(format!("{name} is licensed as {licence}, which is not allowed")),
        None => found(format!("{name} has a licence that cannot be read: {licence}")),
    }
}

fn list<'a>(
    policy: &'a toml::Table,
    section: &str,
    key: &str,
) -> impl Iterator<Item = &'a toml::Value> {
    policy.get(section).and_then(|it| it.get(key)?.as_array()).into_iter().flatten()
}

fn names<'a>(policy: &'a toml::Table, section: &str, key: &str) -> Vec<&'a str> {
    list(policy, section, key).filter_map(toml::Value::as_str).collect()
}

/// The crate that is banned in every version.
fn ban(entry: &toml::Value) -> Option<&str> {
    let name = entry.as_str().or_else(|| entry.get("crate")?.as_str())?;
    // Those of some versions are left to `cargo deny`, which knows how versions compare.
    (!name.contains(':')).then_some(name)
}

/// Whether a licence expression (SPDX) can be met with these licences; `None` when it is none.
fn is_allowed(expression: &str, allowed: &[&str]) -> Option<bool> {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut reader = Reader { words: &words, allowed };
    let answer = reader.any()?;
    reader.words.is_empty().then_some(answer)
}

/// Reads an expression word by word.
struct Reader<'a> {
    words: &'a [&'a str],
    allowed: &'a [&'a str],
}

impl Reader<'_> {
    /// Alternatives: one that can be met is enough.
    fn any(&mut self) -> Option<bool> {
        let mut answer = self.all()?;
        while self.takes("OR") {
            answer |= self.all()?;
        }
        Some(answer)
    }

    /// Parts that hold together.
    fn all(&mut self) -> Option<bool> {
        let mut answer = self.one()?;
        while self.takes("AND") {
            answer &= self.one()?;
        }
        Some(answer)
    }

    fn one(&mut self) -> Option<bool> {
        if self.takes("(") {
            let answer = self.any()?;
            return self.takes(")").then_some(answer);
        }
        let (first, rest) = self.words.split_first()?;
        if ["AND", "OR", "WITH", ")"].contains(first) {
            return None;
        }
        self.words = rest;
        if !self.takes("WITH") {
            return Some(self.allowed.contains(first));
        }
        // A licence with an exception is another licence.
        let (exception, rest) = self.words.split_first()?;
        self.words = rest;
        Some(self.allowed.contains(&format!("{first} WITH {exception}").as_str()))
    }

    fn takes(&mut self, word: &str) -> bool {
        let taken = self.words.first() == Some(&word);
        if taken {
            self.words = &self.words[1..];
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ALLOWED: [&str; 2] = ["MIT", "Apache-2.0"];

    #[test]
    fn an_expression_is_met_or_not_or_is_none() {
        for (expression, answer) in [
            ("MIT", Some(true)),
            ("GPL-3.0", Some(false)),
            ("GPL-3.0 OR MIT", Some(true)),
            ("MIT/Apache-2.0", Some(true)),
            ("MIT AND GPL-3.0", Some(false)),
            ("GPL-3.0 OR MIT AND Apache-2.0", Some(true)),
            ("(GPL-3.0 OR MIT) AND Apache-2.0", Some(true)),
            ("(GPL-3.0 OR MIT) AND BSD-3-Clause", Some(false)),
            ("Apache-2.0 WITH LLVM-exception", Some(false)),
            ("Apache-2.0 WITH LLVM-exception OR MIT", Some(true)),
            ("", None),
            ("MIT OR", None),
            ("MIT Apache-2.0", None),
            ("(MIT", None),
            ("AND MIT", None),
        ] {
            assert_eq!(is_allowed(expression, &ALLOWED), answer, "{expression}");
        }
    }

    #[test]
    fn a_banned_crate_and_one_that_says_nothing_are_found() {
        let policy = "[licenses]\nallow = [\"MIT\"]\n[bans]\n\
            deny = [{ crate = \"native-tls\" }, \"rusqlite\", { crate = \"a:<2\" }]\n";
        let package = |name: &str, licence: Option<&str>| json!({"name": name, "license": licence});
        let metadata = json!({ "packages": [
            package("good", Some("MIT OR Apache-2.0")),
            package("a", Some("MIT")),
            package("native-tls", Some("MIT")),
            package("rusqlite", Some("MIT")),
            package("silent", None),
            package("strict", Some("AGPL-3.0")),
        ]});
        let found = check(&metadata, policy).unwrap();
        let rules: Vec<&str> = found.iter().map(|finding| finding.rule.as_str()).collect();
        assert_eq!(rules.len(), 4, "{rules:?}");
        assert!(rules[0].contains("native-tls is banned") && rules[1].contains("rusqlite"));
        assert!(rules[2].contains("silent") && rules[3].contains("AGPL-3.0"));
    }
}
