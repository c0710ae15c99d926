//! `holdfast audit …`.

use std::process::ExitCode;

use serde_json::Value;

use super::Operator;
use crate::{
    cli,
    failure::Failure,
    output::{Cell, Look, Table},
};

/// `holdfast audit …`.
pub(super) async fn run(operator: &Operator, command: &cli::Audit) -> Result<ExitCode, Failure> {
    match command {
        cli::Audit::List { actor, action, limit } => {
            let limit = limit.to_string();
            let mut query = vec![("limit", limit.as_str())];
            query.extend(actor.as_deref().map(|actor| ("actor", actor)));
            query.extend(action.as_deref().map(|action| ("action", action)));
            let answer = operator.client.fetch(&["audit"], &query).await?;
            operator.screen.show(&answer, |look| table(&answer, look));
            Ok(ExitCode::SUCCESS)
        }
        cli::Audit::Verify { anchor } => {
            let query: Vec<_> = anchor.iter().map(|anchor| ("anchor", anchor.as_str())).collect();
            let answer = operator.client.fetch(&["audit", "verify"], &query).await?;
            operator.screen.show(&answer, |_| verdict(&answer));
            Ok(if answer["ok"] == true { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
    }
}

fn verdict(answer: &Value) -> String {
    let head = &answer["head"];
    let anchor = format!("{}:{}", head["seq"], head["hash"].as_str().unwrap_or_default());
    match answer["first_bad"].as_u64() {
        None => format!(
            "All {} entries are as they were written.\nanchor: {anchor}\n",
            answer["entries"]
        ),
        Some(bad) => format!(
            "Entry {bad} was changed, moved or taken out; the {} before it are whole.\n",
            answer["entries"]
        ),
    }
}

fn table(answer: &Value, look: &Look) -> String {
    let heads = ["NO", "AT", "WHO", "FROM", "WHAT", "SUBJECT"];
    let mut table = Table::new(&heads, "Nobody did anything.");
    for entry in answer["entries"].as_array().into_iter().flatten() {
        let text = |field: &str| entry[field].as_str().unwrap_or_default().to_owned();
        let who = format!("{} ({})", text("actor"), text("actor_kind"));
        let seq = entry["seq"].to_string();
        let cells = [seq, text("at"), who, text("address"), text("action"), text("subject")];
        table.row(cells.into_iter().map(Cell::from));
    }
    table.render(look)
}
