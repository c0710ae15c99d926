//! `holdfast restore`.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::{Operator, run::ordered};
use crate::{cli, failure::Failure, model::Snapshots};

/// `holdfast restore HOST SNAPSHOT`.
pub(super) async fn run(operator: &Operator, args: &cli::Restore) -> Result<ExitCode, Failure> {
    let snapshot = match args.snapshot.as_str() {
        "latest" => latest(operator, args).await?,
        id => id.to_owned(),
    };
    let body = order(args, &snapshot);
    let answer = match operator.client.post(&["hosts", &args.host, "jobs"], &body).await {
        Ok(answer) => answer,
        Err(error) => return Err(operator.about_host(&args.host, error).await),
    };
    ordered(operator, &answer, args.wait).await
}

/// The newest snapshot now. Its id is ordered and not the word: what is the newest may have changed
/// by the time the host gets to it.
async fn latest(operator: &Operator, args: &cli::Restore) -> Result<String, Failure> {
    let host = args.from.as_deref().unwrap_or(&args.host);
    let answer = match operator.client.fetch(&["hosts", host, "snapshots"], &[]).await {
        Ok(answer) => answer,
        Err(error) => return Err(operator.about_host(host, error).await),
    };
    let listed: Snapshots = operator.read(&answer)?;
    let wanted = |tags: &[String]| args.group.as_ref().is_none_or(|group| tags.contains(group));
    let found = listed.snapshots.into_iter().find(|snapshot| wanted(&snapshot.tags));
    found.map(|snapshot| snapshot.id).ok_or_else(|| {
        Failure::new(
            format!("No snapshot of {host} is known."),
            format!("List them with `holdfast snapshots {host}`."),
        )
    })
}

fn order(args: &cli::Restore, snapshot: &str) -> Value {
    let target = match &args.to {
        Some(directory) => json!({ "directory": directory }),
        None if args.original => json!("original"),
        None => json!("restore_root"),
    };
    let mut body = json!({
        "operation": "restore",
        "parameters": {
            "snapshot_id": snapshot,
            "paths": args.paths,
            "target": target,
            "overwrite": args.overwrite.as_str(),
            "dry_run": args.dry_run,
            "verify": args.verify,
        },
    });
    if let Some(repository) = &args.repo {
        body["repository"] = json!(repository);
    }
    if let Some(limit) = args.limit_download {
        body["bandwidth"] = json!({ "download_kib_s": limit });
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};

    fn args(line: &str) -> cli::Restore {
        match Cli::read(line.split(' ')).unwrap().command {
            Command::Restore(args) => args,
            other => panic!("parsed as {other:?}"),
        }
    }

    #[test]
    fn without_a_place_files_go_below_the_hosts_restore_root() {
        let body = order(&args("holdfast restore web-1 0123abcd"), "0123abcd");
        assert_eq!(body["parameters"]["target"], "restore_root");
        assert_eq!(body["parameters"]["overwrite"], "always");
        assert!(body.get("repository").is_none());
    }

    #[test]
    fn every_wish_reaches_the_order() {
        let line = "holdfast restore web-1 0123abcd --path /etc/a --path /etc/-b --to /srv/x \
                    --overwrite if-changed --repo main --dry-run --verify --limit-download 100";
        let body = order(&args(line), "0123abcd");
        assert_eq!(
            body,
            json!({
                "operation": "restore",
                "repository": "main",
                "bandwidth": { "download_kib_s": 100 },
                "parameters": {
                    "snapshot_id": "0123abcd",
                    "paths": ["/etc/a", "/etc/-b"],
                    "target": { "directory": "/srv/x" },
                    "overwrite": "if_changed",
                    "dry_run": true,
                    "verify": true,
                },
            })
        );
        let original = order(&args("holdfast restore web-1 0123abcd --original"), "0123abcd");
        assert_eq!(original["parameters"]["target"], "original");
    }
}
