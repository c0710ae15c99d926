//! What we ship for other programs, judged by those: the rules for Prometheus and the board for
//! Grafana. A rule that does not parse is found where it should ring, and that is too late.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::{command, tools, workspace};

/// The alert rules, the proof that they ring, and the board.
const RULES: &str = "packaging/prometheus/holdfast.rules.yml";
const RULES_TEST: &str = "packaging/prometheus/holdfast.rules.test.yml";
const BOARD: &str = "packaging/grafana/holdfast.json";

/// Has promtool check the rules, try them, and read every expression of the board.
///
/// Where promtool cannot be had this is said loudly, and the rest goes on without it.
pub(crate) fn check() -> Result<()> {
    let promtool = match tools::promtool::find_or_fetch() {
        Ok(program) => program,
        Err(error) => {
            eprintln!(
                "\n!!! The rules for Prometheus and the board for Grafana are NOT checked: {error:#}.\
                 \n!!! Install promtool (Debian's package `prometheus`) and run this again.\n"
            );
            return Ok(());
        }
    };
    command::run(command::in_root(&promtool).args(["check", "rules", RULES]))?;
    command::run(command::in_root(&promtool).args(["test", "rules", RULES_TEST]))?;
    check_board(&promtool)
}

fn check_board(promtool: &Path) -> Result<()> {
    let text = std::fs::read_to_string(workspace::root().join(BOARD))
        .with_context(|| format!("cannot read {BOARD}"))?;
    let board: Value =
        serde_json::from_str(&text).with_context(|| format!("{BOARD} is no JSON"))?;
    let found = expressions(&board);
    ensure!(!found.is_empty(), "{BOARD} asks for no number");
    let folder = tempfile::tempdir().context("no room for the board's expressions")?;
    let file = folder.path().join("board.yml");
    // JSON is YAML too.
    std::fs::write(&file, as_rules(&found).to_string())?;
    let said = command::capture(Command::new(promtool).args(["check", "rules"]).arg(&file));
    said.with_context(|| format!("{BOARD} has an expression that Prometheus cannot read"))?;
    println!("{BOARD}: {} expressions", found.len());
    Ok(())
}

/// Every expression below `value`, as Grafana would send it.
fn expressions(value: &Value) -> Vec<String> {
    match value {
        Value::Array(items) => items.iter().flat_map(expressions).collect(),
        Value::Object(fields) => {
            let below = fields.iter().flat_map(|(name, value)| match (name.as_str(), value) {
                ("expr", Value::String(text)) => vec![filled(text)],
                _ => expressions(value),
            });
            below.collect()
        }
        _ => Vec::new(),
    }
}

/// Grafana puts a length of time where these stand.
fn filled(expression: &str) -> String {
    let lengths = ["$__rate_interval", "$__interval", "$__range"];
    lengths.iter().fold(expression.to_owned(), |text, name| text.replace(name, "5m"))
}

fn as_rules(expressions: &[String]) -> Value {
    let rule = |(index, expression): (usize, &String)| json!({ "record": format!("board:{index}"), "expr": expression });
    let rules: Vec<Value> = expressions.iter().enumerate().map(rule).collect();
    json!({ "groups": [{ "name": "board", "rules": rules }] })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_expression_of_a_board_is_found_with_its_lengths_filled_in() {
        let board = json!({"title": "expr", "panels": [
            {"targets": [{"expr": "up"}, {"expr": "rate(a[$__rate_interval])"}]},
            {"panels": [{"targets": [{"expr": "b"}]}]},
        ]});
        assert_eq!(expressions(&board), ["up", "rate(a[5m])", "b"]);
        let rules = as_rules(&expressions(&board));
        assert_eq!(rules["groups"][0]["rules"][2], json!({"record": "board:2", "expr": "b"}));
    }
}
