//! `holdfast restore`.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::{Operator, run::ordered, snapshots::newest};
use crate::{cli, failure::Failure};

/// `holdfast restore HOST SNAPSHOT`.
pub(super) async fn run(operator: &Operator, args: &cli::Restore) -> Result<ExitCode, Failure> {
    let snapshot = match args.snapshot.as_str() {
        "latest" => {
            let host = args.from.as_deref().unwrap_or(&args.host);
            newest(operator, host, args.group.as_deref()).await?
        }
        id => id.to_owned(),
    };
    let body = order(args, &snapshot);
    let answer = match operator.client.post(&["hosts", &args.host, "jobs"], &body).await {
        Ok(answer) => answer,
        Err(error) => return Err(operator.about_host(&args.host, error).await),
    };
    ordered(operator, &answer, args.wait).await
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
