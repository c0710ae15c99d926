//! `holdfast group …`.

use serde_json::json;

use super::{Operator, hosts::groups_table};
use crate::{
    cli::{self, Age, GroupName},
    client::{ApiError, parse},
    failure::Failure,
    model::{Group, Groups, Repositories},
    output::{Look, print},
    suggest,
};

/// `holdfast group …`.
pub(super) async fn run(operator: &Operator, command: &cli::Group) -> Result<(), Failure> {
    match command {
        cli::Group::Add { host, name, repo, include, exclude } => {
            let body = json!({
                "name": name, "repository": repo, "includes": include, "excludes": exclude,
            });
            add(operator, host, repo, &body).await
        }
        cli::Group::List(host) => list(operator, &host.host).await,
        cli::Group::Remove(group) => remove(operator, group).await,
        cli::Group::Set { target, objective } => set(operator, target, *objective).await,
    }
}

async fn add(
    operator: &Operator,
    host: &str,
    repository: &str,
    body: &serde_json::Value,
) -> Result<(), Failure> {
    let answer = match operator.client.post(&["hosts", host, "groups"], body).await {
        Ok(answer) => answer,
        Err(error) if error.code() == Some("repository_not_found") => {
            return Err(operator.about_repository(repository, error).await);
        }
        Err(error) => return Err(operator.about_host(host, error).await),
    };
    let name = body["name"].as_str().unwrap_or_default();
    operator.screen.show(&answer, |_| {
        format!(
            "Source group `{name}` is added. Back it up now with \
             `holdfast run {host} --group {name}`.\n"
        )
    });
    Ok(())
}

async fn list(operator: &Operator, host: &str) -> Result<(), Failure> {
    let answer = match operator.client.fetch(&["hosts", host, "groups"], &[]).await {
        Ok(answer) => answer,
        Err(error) => return Err(operator.about_host(host, error).await),
    };
    let groups: Groups = operator.read(&answer)?;
    operator.screen.show(&answer, |look| groups_table(&groups.groups, look));
    Ok(())
}

async fn set(operator: &Operator, target: &GroupName, objective: Age) -> Result<(), Failure> {
    let GroupName { host, group } = target;
    let path = ["hosts", host, "groups", group, "objective"];
    let answer = match objective {
        Age::Default => operator.client.delete(&path).await,
        Age::Seconds(age) => operator.client.put(&path, &json!({ "objective_seconds": age })).await,
    };
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => return Err(operator.about_group(host, group, error).await),
    };
    let group: Group = operator.read(&answer)?;
    operator.screen.show(&answer, |_| {
        let age = Look::span(group.objective_seconds);
        let by = if group.objective_source == "set" { "" } else { ", as its schedule has it" };
        format!("The newest snapshot of `{}` may be {age} old{by}.\n", group.name)
    });
    Ok(())
}

async fn remove(operator: &Operator, GroupName { host, group }: &GroupName) -> Result<(), Failure> {
    match operator.client.delete(&["hosts", host, "groups", group]).await {
        Ok(_) if operator.screen.is_json() => print("{}\n"),
        Ok(_) => print(&format!("Source group `{group}` is removed. Its snapshots stay.\n")),
        Err(error) => return Err(operator.about_group(host, group, error).await),
    }
    Ok(())
}

impl Operator {
    /// The failure to show when something about a source group did not work.
    pub(super) async fn about_group(&self, host: &str, group: &str, error: ApiError) -> Failure {
        if error.code() != Some("group_not_found") {
            return self.about_host(host, error).await;
        }
        match self.group_like(host, group).await {
            Some(name) => Failure::from(error).with_action(format!("Did you mean `{name}`?")),
            None => error.into(),
        }
    }

    async fn group_like(&self, host: &str, group: &str) -> Option<String> {
        let answer = self.client.fetch(&["hosts", host, "groups"], &[]).await.ok()?;
        let groups: Groups = parse(&answer)?;
        let names = groups.groups.iter().map(|group| group.name.as_str());
        suggest::nearest(group, names).map(str::to_owned)
    }

    async fn about_repository(&self, repository: &str, error: ApiError) -> Failure {
        match self.repository_like(repository).await {
            Some(name) => Failure::from(error).with_action(format!("Did you mean `{name}`?")),
            None => error.into(),
        }
    }

    async fn repository_like(&self, repository: &str) -> Option<String> {
        let answer = self.client.fetch(&["repositories"], &[]).await.ok()?;
        let all: Repositories = parse(&answer)?;
        let names = all.repositories.iter().map(|repository| repository.name.as_str());
        suggest::nearest(repository, names).map(str::to_owned)
    }
}
