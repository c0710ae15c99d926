//! What came of a job that is no backup, for people.

use crate::{
    model::Outcome,
    output::{Facts, bytes, count},
};

/// Adds what came of it.
pub(super) fn add(facts: Facts, outcome: &Outcome) -> Facts {
    let dry_run = if outcome.dry_run { "yes: nothing was changed" } else { "" };
    facts
        .add("Dry run", dry_run)
        .maybe("Restored to", outcome.target.clone())
        .maybe("Restored", restored(outcome))
        .maybe("Left as they were", outcome.files_skipped.filter(|it| *it > 0).map(count))
        .maybe("Restored size", outcome.bytes_restored.map(bytes))
        .maybe("Removed", outcome.removed_count.map(snapshots))
        .maybe("Kept", outcome.kept_count.map(snapshots))
        .maybe("Freed", outcome.freed_bytes.map(bytes))
        .maybe("Moved", outcome.repacked_bytes.map(bytes))
        .maybe("Remaining", outcome.remaining_bytes.map(bytes))
        .maybe("Errors", outcome.error_count.map(count))
        .add("Broken packs", outcome.broken_packs.join(", "))
        .maybe("Size", outcome.total_size_bytes.map(bytes))
        .maybe("Files", outcome.total_file_count.map(count))
        .maybe("Snapshots", outcome.snapshot_count.map(count))
        .maybe("Compression", outcome.compression_ratio.map(|ratio| format!("{ratio:.2}")))
        .maybe("Locks removed", outcome.locks_removed.map(count))
        .maybe("Locks left", outcome.locks_left.map(count))
        .maybe("Created", outcome.created.map(|it| if it { "yes" } else { "it was there" }))
}

fn restored(outcome: &Outcome) -> Option<String> {
    let (done, total) = (outcome.files_restored?, outcome.total_files?);
    Some(format!("{} of {} files and directories", count(done), count(total)))
}

fn snapshots(number: u64) -> String {
    if number == 1 { "1 snapshot".to_owned() } else { format!("{} snapshots", count(number)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::test_look;

    #[test]
    fn a_restore_tells_where_the_files_are_and_whether_they_are() {
        let text = r#"{"target":"/srv/x","total_files":3,"files_restored":2,"error_count":1,
            "dry_run":false,"bytes_restored":2048}"#;
        let outcome: Outcome = serde_json::from_str(text).unwrap();
        let text = add(Facts::new(), &outcome).render(&test_look());
        for wanted in ["Restored to:    /srv/x\n", "2 of 3 files and directories", "2.0 KiB"] {
            assert!(text.contains(wanted), "{wanted} in {text}");
        }
        assert!(!text.contains("Dry run"), "{text}");
    }
}
