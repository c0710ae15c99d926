//! `holdfast schedule …`.

use serde_json::{Value, json};

use super::Operator;
use crate::{
    cli::{self, GroupName},
    failure::Failure,
    model::Group,
    output::{Look, print},
};

/// `holdfast schedule …`.
pub(super) async fn run(operator: &Operator, command: &cli::Schedule) -> Result<(), Failure> {
    match command {
        cli::Schedule::Set { target, cron, zone, disabled } => {
            let body = json!({ "cron": cron, "time_zone": zone, "enabled": !disabled });
            set(operator, target, &body).await
        }
        cli::Schedule::Remove(target) => remove(operator, target).await,
    }
}

async fn set(operator: &Operator, target: &GroupName, body: &Value) -> Result<(), Failure> {
    let GroupName { host, group } = target;
    let path = ["hosts", host, "groups", group, "schedule"];
    let answer = match operator.client.put(&path, body).await {
        Ok(answer) => answer,
        Err(error) => return Err(operator.about_group(host, group, error).await),
    };
    let group: Group = operator.read(&answer)?;
    operator.screen.show(&answer, |look| text(&group, look));
    Ok(())
}

async fn remove(operator: &Operator, GroupName { host, group }: &GroupName) -> Result<(), Failure> {
    match operator.client.delete(&["hosts", host, "groups", group, "schedule"]).await {
        Ok(_) if operator.screen.is_json() => print("{}\n"),
        Ok(_) => print(&format!("`{group}` is backed up only when somebody asks.\n")),
        Err(error) => return Err(operator.about_group(host, group, error).await),
    }
    Ok(())
}

fn text(group: &Group, look: &Look) -> String {
    let name = &group.name;
    match &group.schedule {
        Some(schedule) if schedule.enabled => format!(
            "`{name}` is backed up: {} ({}). Next: {}.\n",
            schedule.words(),
            schedule.time_zone,
            look.when_some(schedule.next_at)
        ),
        Some(_) => format!("The schedule of `{name}` is kept and switched off.\n"),
        None => format!("`{name}` has no schedule.\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{model::Schedule, output::test_look};

    #[test]
    fn a_schedule_is_told_in_words_with_its_next_run() {
        let schedule = Schedule {
            in_words: "At 02:30.".into(),
            time_zone: "Europe/Berlin".into(),
            enabled: true,
            next_at: Some("2026-11-22T01:30:00Z".parse().unwrap()),
            ..Schedule::default()
        };
        let group = Group { name: "etc".into(), schedule: Some(schedule), ..Group::default() };
        assert_eq!(
            text(&group, &test_look()),
            "`etc` is backed up: At 02:30 (Europe/Berlin). Next: 2026-11-22 01:30 (in 12 h).\n"
        );
    }
}
