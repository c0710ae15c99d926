//! `holdfast snapshots`.

use super::Operator;
use crate::{
    failure::Failure,
    model::{Snapshot, Snapshots},
    output::{Look, Table, bytes, count},
};

/// `holdfast snapshots HOST`.
pub(super) async fn list(operator: &Operator, host: &str) -> Result<(), Failure> {
    let answer = match operator.client.fetch(&["hosts", host, "snapshots"], &[]).await {
        Ok(answer) => answer,
        Err(error) => return Err(operator.about_host(host, error).await),
    };
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
