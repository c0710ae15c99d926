//! `holdfast snapshots`.

mod download;
mod look;

use super::Operator;
use crate::{
    cli::{self, Look as Wish},
    failure::Failure,
    model::{Snapshot, Snapshots},
    output::{Look, Table, bytes, count},
};

/// What stands after the `?`.
type Query<'a> = Vec<(&'a str, &'a str)>;

/// `holdfast snapshots …`.
pub(super) async fn run(operator: &Operator, args: &cli::Snapshots) -> Result<(), Failure> {
    match &args.look {
        None => list(operator, args.host.as_deref().unwrap_or_default()).await,
        Some(Wish::Ls { snapshot, path }) => look::list(operator, snapshot, path).await,
        Some(Wish::Find { snapshot, pattern, limit }) => {
            look::find(operator, snapshot, pattern, *limit).await
        }
        Some(Wish::Diff { host, from, to, metadata, limit, repo }) => {
            let repo = repo.as_deref();
            let pair = look::Pair { host, from, to, metadata: *metadata, limit: *limit, repo };
            look::compare(operator, pair).await
        }
        Some(Wish::Download { snapshot, path, output }) => {
            download::run(operator, snapshot, path, output.as_deref()).await
        }
    }
}

/// The id that `text` stands for: the word `latest` is the newest snapshot of the host now.
async fn named(operator: &Operator, host: &str, text: &str) -> Result<String, Failure> {
    if text == "latest" { newest(operator, host, None).await } else { Ok(text.to_owned()) }
}

/// The newest snapshot of the host now, or of one of its source groups. Its id is used and not the
/// word: what is the newest may have changed by the time the host gets to it.
pub(super) async fn newest(
    operator: &Operator,
    host: &str,
    group: Option<&str>,
) -> Result<String, Failure> {
    let answer = operator.ask(host, &["hosts", host, "snapshots"], &[]).await?;
    let listed: Snapshots = operator.read(&answer)?;
    let wanted = |tags: &[String]| group.is_none_or(|group| tags.iter().any(|tag| tag == group));
    let found = listed.snapshots.into_iter().find(|snapshot| wanted(&snapshot.tags));
    found.map(|snapshot| snapshot.id).ok_or_else(|| {
        Failure::new(
            format!("No snapshot of {host} is known."),
            format!("List them with `holdfast snapshots {host}`."),
        )
    })
}

/// `holdfast snapshots HOST`.
async fn list(operator: &Operator, host: &str) -> Result<(), Failure> {
    let answer = operator.ask(host, &["hosts", host, "snapshots"], &[]).await?;
    let snapshots: Snapshots = operator.read(&answer)?;
    operator.screen.show(&answer, |look| table(&snapshots.snapshots, look));
    Ok(())
}

fn table(snapshots: &[Snapshot], look: &Look) -> String {
    let heads = ["SNAPSHOT", "TIME", "TAGS", "REPOSITORY", "FILES", "SIZE", "PATHS"];
    let mut table =
        Table::new(&heads, "No snapshots yet. Make one with `holdfast run HOST --group NAME`.");
    for snapshot in snapshots {
        table.row([
            snapshot.short_id.as_str().into(),
            look.when_some(snapshot.time).into(),
            snapshot.tags.join(", ").into(),
            snapshot.repository_name.as_str().into(),
            snapshot.file_count.map_or_else(|| "-".to_owned(), count).into(),
            snapshot.size_bytes.map_or_else(|| "-".to_owned(), bytes).into(),
            snapshot.paths.join(", ").into(),
        ]);
    }
    table.render(look)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::test_look;

    #[test]
    fn what_an_old_restic_cannot_tell_is_a_dash() {
        let snapshot = Snapshot {
            short_id: "0badcafe".into(),
            time: Some("2026-11-21T13:00:00Z".parse().unwrap()),
            paths: vec!["/etc".into()],
            tags: vec!["etc".into()],
            repository_name: "main".into(),
            ..Snapshot::default()
        };
        let text = table(&[snapshot], &test_look());
        let wanted =
            "0badcafe  2026-11-21 13:00 (25 min ago)  etc   main        -      -     /etc\n";
        assert!(text.ends_with(wanted), "{text}");
    }
}
