//! `holdfast why`: why a source group is protected or not, and why its backups did or did not run.

use serde_json::{Value, json};

use super::{
    Operator,
    hosts::{protection, reasons},
};
use crate::{
    cli::GroupName,
    client::{ApiError, Problem},
    failure::Failure,
    model::{Evaluation, Evaluations, Group, Groups},
    output::{Cell, Facts, Look, Table, tone_of},
};

/// How many due backups are told of.
const TOLD: &str = "20";

/// Tells what is known about a source group's protection.
pub(super) async fn tell(operator: &Operator, target: &GroupName) -> Result<(), Failure> {
    match ask(operator, target).await {
        Ok((group, evaluations)) => show(operator, &group, &evaluations),
        Err(error) => Err(operator.about_group(&target.host, &target.group, error).await),
    }
}

/// The group, and what became of its due backups, as the API answers.
async fn ask(operator: &Operator, target: &GroupName) -> Result<(Value, Value), ApiError> {
    let GroupName { host, group } = target;
    let answer = operator.client.fetch(&["hosts", host, "groups"], &[]).await?;
    let found = answer["groups"].as_array().into_iter().flatten();
    let found = found.into_iter().find(|found| found["name"] == json!(group));
    let found = found.cloned().ok_or_else(|| not_found(group))?;
    let query = [("group", group.as_str()), ("limit", TOLD)];
    let evaluations = operator.client.fetch(&["hosts", host, "evaluations"], &query).await?;
    Ok((found, evaluations["evaluations"].clone()))
}

fn not_found(group: &str) -> ApiError {
    ApiError::Problem(Problem {
        status: 404,
        code: "group_not_found".into(),
        title: format!("The host has no source group `{group}`."),
        action: "List the host's source groups and use one of their names.".into(),
    })
}

fn show(operator: &Operator, group: &Value, evaluations: &Value) -> Result<(), Failure> {
    let answer = json!({ "group": group, "evaluations": evaluations });
    let group: Groups = operator.read(&json!({ "groups": [group] }))?;
    let told: Evaluations = operator.read(&answer)?;
    operator.screen.show(&answer, |look| {
        group.groups.iter().map(|group| text(group, &told.evaluations, look)).collect()
    });
    Ok(())
}

fn text(group: &Group, evaluations: &[Evaluation], look: &Look) -> String {
    let next = group.schedule.as_ref().and_then(|schedule| schedule.next_at);
    let objective = format!("at most {} old", Look::span(group.objective_seconds));
    let mut text = Facts::new()
        .add("Source group", group.name.as_str())
        .toned("Protection", &protection(&group.verdict, look), tone_of(&group.verdict.standing))
        .add("Objective", objective)
        .maybe("Next backup", next.map(|at| look.when(at)))
        .render(look);
    text.push_str(&reasons(&group.verdict));
    text.push('\n');
    text.push_str(&table(evaluations, look));
    text
}

fn table(evaluations: &[Evaluation], look: &Look) -> String {
    let mut table = Table::new(&["DUE", "OUTCOME", "JOB", "WHY"], "Nothing has been due so far.");
    for evaluation in evaluations {
        let parts = [evaluation.message.as_deref(), evaluation.action.as_deref()];
        let why: Vec<&str> = parts.into_iter().flatten().collect();
        table.row([
            look.when_some(evaluation.due_at).into(),
            Cell::toned(&evaluation.outcome.replace('_', " "), tone_of(&evaluation.outcome)),
            evaluation.job_id.as_deref().unwrap_or("-").into(),
            if why.is_empty() { "-".into() } else { why.join(" ").into() },
        ]);
    }
    table.render(look)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::test_look;

    #[test]
    fn every_due_backup_has_its_line_with_the_reason() {
        let answer = json!({"evaluations": [
            {"due_at": "2026-11-21T12:00:00Z", "outcome": "missed",
             "message": "It did not run.", "action": "Start it."},
            {"due_at": "2026-11-21T11:00:00Z", "outcome": "caught_up", "job_id": "j1"},
        ]});
        let told: Evaluations = serde_json::from_value(answer).unwrap();
        let text = table(&told.evaluations, &test_look());
        let first = "2026-11-21 12:00 (1 h ago)  missed     -    It did not run. Start it.\n";
        let second = "2026-11-21 11:00 (2 h ago)  caught up  j1   -\n";
        assert!(text.contains(first) && text.contains(second), "{text}");
    }
}
