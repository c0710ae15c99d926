//! Orders for work on repositories and snapshots.

use std::process::ExitCode;

use serde_json::{Map, Value, json};

use super::{Operator, run::ordered};
use crate::{
    cli::operate::{Check, Forget, Prune, Runner, Stats, Tag, Unlock},
    failure::Failure,
    model::Hosts,
};

/// `holdfast repo check NAME`.
pub(super) async fn check(operator: &Operator, args: &Check) -> Result<ExitCode, Failure> {
    let mut parameters = Map::new();
    if let Some(text) = &args.read_data {
        parameters.insert("read_data".to_owned(), amount_to_read(text)?);
    }
    on_repository(operator, &args.runner, "check", parameters).await
}

/// `holdfast repo prune NAME`.
pub(super) async fn prune(operator: &Operator, args: &Prune) -> Result<ExitCode, Failure> {
    let mut parameters = Map::new();
    if let Some(text) = &args.max_unused {
        parameters.insert("max_unused".to_owned(), amount_unused(text)?);
    }
    if args.dry_run {
        parameters.insert("dry_run".to_owned(), true.into());
    }
    on_repository(operator, &args.runner, "prune", parameters).await
}

/// `holdfast repo stats NAME`.
pub(super) async fn stats(operator: &Operator, args: &Stats) -> Result<ExitCode, Failure> {
    let mode = if args.raw { "raw_data" } else { "restore_size" };
    let parameters = Map::from_iter([("mode".to_owned(), mode.into())]);
    on_repository(operator, &args.runner, "stats", parameters).await
}

/// `holdfast repo unlock NAME`.
pub(super) async fn unlock(operator: &Operator, args: &Unlock) -> Result<ExitCode, Failure> {
    let mut parameters = Map::new();
    if args.all {
        parameters.insert("remove_all".to_owned(), true.into());
    }
    on_repository(operator, &args.runner, "unlock", parameters).await
}

/// `holdfast repo init NAME`.
pub(super) async fn init(operator: &Operator, runner: &Runner) -> Result<ExitCode, Failure> {
    on_repository(operator, runner, "init", Map::new()).await
}

/// `holdfast forget HOST`.
pub(super) async fn forget(operator: &Operator, args: &Forget) -> Result<ExitCode, Failure> {
    let which = if args.snapshots.is_empty() {
        let keep = match args.keep.as_slice() {
            [] => stored_rules(operator, args).await?,
            rules => {
                rules.iter().map(|rule| keeping(rule)).collect::<Result<Map<_, _>, _>>()?.into()
            }
        };
        json!({ "policy": { "tag": args.group.clone().unwrap_or_default(), "keep": keep } })
    } else {
        json!({ "snapshots": args.snapshots })
    };
    let mut body = json!({
        "operation": "forget",
        "parameters": { "which": which, "dry_run": args.dry_run },
    });
    if let Some(group) = &args.group {
        body["group"] = json!(group);
    }
    send(operator, &args.host, body, args.repo.as_deref(), args.follow.wait).await
}

/// The rules that the source group has, as the API tells them.
async fn stored_rules(operator: &Operator, args: &Forget) -> Result<Value, Failure> {
    let unsaid = || {
        let advice = "Use --keep, such as `--keep daily=7 --keep weekly=5`, or --snapshot ID.";
        Failure::new("It is not said which snapshots to keep.", advice)
    };
    let name = args.group.as_deref().ok_or_else(unsaid)?;
    let answer = match operator.client.fetch(&["hosts", &args.host, "groups"], &[]).await {
        Ok(answer) => answer,
        Err(error) => return Err(operator.about_host(&args.host, error).await),
    };
    let mut groups = answer["groups"].as_array().into_iter().flatten();
    let group = groups.find(|group| group["name"] == name);
    let rules = group.map(|group| &group["retention"]).filter(|rules| rules.is_object());
    rules.cloned().ok_or_else(unsaid)
}

/// `holdfast tag HOST SNAPSHOT…`.
pub(super) async fn tag(operator: &Operator, args: &Tag) -> Result<ExitCode, Failure> {
    let parameters = json!({ "snapshot_ids": args.snapshots, "edit": edit(args)? });
    let body = json!({ "operation": "tag", "parameters": parameters });
    send(operator, &args.host, body, args.repo.as_deref(), args.follow.wait).await
}

fn edit(args: &Tag) -> Result<Value, Failure> {
    if let Some(all) = &args.set {
        let tags: Vec<_> = all.iter().filter(|tag| !tag.is_empty()).collect();
        return Ok(json!({ "set": tags }));
    }
    match (args.add.is_empty(), args.remove.is_empty()) {
        (false, _) => Ok(json!({ "add": args.add })),
        (true, false) => Ok(json!({ "remove": args.remove })),
        (true, true) => {
            let advice = "Use --add TAG, --remove TAG or --set TAG.";
            Err(Failure::new("It is not said which tags to change.", advice))
        }
    }
}

async fn on_repository(
    operator: &Operator,
    runner: &Runner,
    operation: &str,
    parameters: Map<String, Value>,
) -> Result<ExitCode, Failure> {
    let host = match &runner.host {
        Some(host) => host.clone(),
        None => host_for(operator, &runner.name).await?,
    };
    let body = json!({ "operation": operation, "parameters": parameters });
    send(operator, &host, body, Some(&runner.name), runner.follow.wait).await
}

async fn send(
    operator: &Operator,
    host: &str,
    mut body: Value,
    repository: Option<&str>,
    wait: bool,
) -> Result<ExitCode, Failure> {
    if let Some(repository) = repository {
        body["repository"] = json!(repository);
    }
    let answer = match operator.client.post(&["hosts", host, "jobs"], &body).await {
        Ok(answer) => answer,
        Err(error) => return Err(operator.about_host(host, error).await),
    };
    ordered(operator, &answer, wait).await
}

/// The first host that is online and has a source group in the repository.
async fn host_for(operator: &Operator, repository: &str) -> Result<String, Failure> {
    let hosts: Hosts = operator.read(&operator.client.fetch_hosts().await?)?;
    let uses = |host: &&crate::model::Host| {
        let mut groups = host.groups.iter();
        host.state == "online" && groups.any(|group| group.repository_name == repository)
    };
    let found = hosts.hosts.iter().find(uses).map(|host| host.name.clone());
    found.ok_or_else(|| {
        Failure::new(
            format!("No host that is online has a source group in repository `{repository}`."),
            "Name the host that is to do it with --host.",
        )
    })
}

/// `all`, `5%` or `3/10`.
pub(super) fn amount_to_read(text: &str) -> Result<Value, Failure> {
    let wrong = || {
        let advice = "Use `all`, a share such as `5%`, or a part such as `3/10`.";
        Failure::new(format!("`{text}` is no amount of data to read."), advice)
    };
    if text == "all" {
        return Ok(json!("all"));
    }
    if let Some(share) = text.strip_suffix('%') {
        return share.parse::<f64>().map(|share| json!({ "percent": share })).map_err(|_| wrong());
    }
    let (number, of) = text.split_once('/').ok_or_else(wrong)?;
    let parse = |text: &str| text.parse::<u32>().map_err(|_| wrong());
    Ok(json!({ "part": { "number": parse(number)?, "of": parse(of)? } }))
}

/// `5%`, `unlimited`, or a number of bytes.
fn amount_unused(text: &str) -> Result<Value, Failure> {
    if text == "unlimited" {
        return Ok(json!("unlimited"));
    }
    let share = text.strip_suffix('%').and_then(|share| share.parse::<f64>().ok());
    let found = share.map(|share| json!({ "percent": share }));
    found.or_else(|| text.parse::<u64>().ok().map(|bytes| json!({ "bytes": bytes }))).ok_or_else(
        || {
            let advice = "Use a share such as `5%`, `unlimited`, or a number of bytes.";
            Failure::new(format!("`{text}` is no amount of unused data."), advice)
        },
    )
}

/// `daily=7` as the API's field.
fn keeping(rule: &str) -> Result<(String, Value), Failure> {
    const COUNTS: [&str; 6] = ["last", "hourly", "daily", "weekly", "monthly", "yearly"];
    let parsed = rule.split_once('=').and_then(|(name, value)| {
        if COUNTS.contains(&name) {
            return Some((format!("keep_{name}"), json!(value.parse::<u32>().ok()?)));
        }
        let period = name.strip_prefix("within")?;
        let known = period.strip_prefix('-').is_none_or(|it| COUNTS[1..].contains(&it));
        let name = format!("keep_within{}", period.replace('-', "_"));
        (known && (period.is_empty() || period.starts_with('-'))).then(|| (name, json!(value)))
    });
    parsed.ok_or_else(|| {
        let advice =
            "Use rules such as `last=10`, `daily=7`, `weekly=5`, `monthly=12`, `within=30d`.";
        Failure::new(format!("`{rule}` is no rule of what to keep."), advice)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};

    #[test]
    fn amounts_are_read_as_people_write_them() {
        assert_eq!(amount_to_read("5%").unwrap(), json!({"percent": 5.0}));
        assert_eq!(amount_to_read("3/10").unwrap(), json!({"part": {"number": 3, "of": 10}}));
        assert_eq!(amount_to_read("all").unwrap(), json!("all"));
        assert_eq!(amount_unused("10%").unwrap(), json!({"percent": 10.0}));
        assert_eq!(amount_unused("1024").unwrap(), json!({"bytes": 1024}));
        for wrong in ["", "5", "x%", "1/2/3", "--all"] {
            assert!(amount_to_read(wrong).is_err(), "{wrong}");
        }
        assert!(amount_unused("some").is_err());
    }

    #[test]
    fn tags_are_added_removed_or_replaced() {
        let edit_of = |line: &str| {
            let line = line.split(' ').map(|word| if word == "''" { "" } else { word });
            match Cli::read(line).map(|cli| cli.command) {
                Ok(Command::Tag(args)) => edit(&args).ok(),
                _ => None,
            }
        };
        let tag = "holdfast tag web-1 0123abcd";
        assert_eq!(edit_of(&format!("{tag} --add a --add b")), Some(json!({"add": ["a", "b"]})));
        assert_eq!(edit_of(&format!("{tag} --remove a")), Some(json!({"remove": ["a"]})));
        assert_eq!(edit_of(&format!("{tag} --set a")), Some(json!({"set": ["a"]})));
        assert_eq!(edit_of(&format!("{tag} --set ''")), Some(json!({"set": []})));
        assert_eq!(edit_of(tag), None);
        assert_eq!(edit_of(&format!("{tag} --add a --set b")), None);
    }

    #[test]
    fn rules_become_fields() {
        assert_eq!(keeping("daily=7").unwrap(), ("keep_daily".to_owned(), json!(7)));
        let within = keeping("within-weekly=1y2m").unwrap();
        assert_eq!(within, ("keep_within_weekly".to_owned(), json!("1y2m")));
        assert_eq!(keeping("within=30d").unwrap().0, "keep_within");
        for wrong in ["daily", "daily=x", "secondly=1", "within_daily=1d", "withinx=1d", "=1"] {
            assert!(keeping(wrong).is_err(), "{wrong}");
        }
    }
}
