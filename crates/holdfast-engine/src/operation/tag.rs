//! `restic tag`: changes the tags of snapshots.

use std::collections::BTreeSet;

use holdfast_protocol::message::{
    job::JobError,
    parameters::{Tag, TagEdit},
    result::{Renamed, Retagged},
    snapshot::Snapshot,
};
use serde::Deserialize;

use crate::{
    Access, Control, Outcome, Restic,
    event::Reporter,
    operation::{
        campaign::Campaign,
        snapshots,
        values::{check_snapshot_ids, check_tag, refuse},
    },
    restic::call::Call,
};

pub(crate) async fn run(
    restic: &Restic,
    access: &Access,
    host: &str,
    tag: &Tag,
    control: &Control,
    reporter: &mut Reporter,
) -> Result<Outcome, Outcome> {
    check_snapshot_ids(&tag.snapshot_ids)?;
    check_edit(&tag.edit)?;
    let mut campaign = Campaign::open(restic, access, control, reporter)?;
    let chosen = snapshots::choose(&mut campaign.session, host, &tag.snapshot_ids).await?;
    let Some(edit) = edit_argument(&tag.edit, &chosen) else {
        return Ok(Outcome::succeeded(None, &retagged("")));
    };
    let ids = chosen.into_iter().map(|snapshot| snapshot.id);
    let arguments = ["tag".to_owned(), "--json".to_owned(), edit, "--".to_owned()];
    let mut call = Call::new(arguments.into_iter().chain(ids)).capturing();
    let report = campaign.complete(&mut call).await?;
    let result = retagged(report.transcript.captured());
    Ok(Outcome::succeeded(report.ended.exit.code(), &result))
}

fn check_edit(edit: &TagEdit) -> Result<(), JobError> {
    match edit {
        TagEdit::Add(tags) | TagEdit::Remove(tags) if tags.is_empty() => {
            refuse("There are no tags to add or to remove.")
        }
        TagEdit::Add(tags) | TagEdit::Remove(tags) | TagEdit::Set(tags) => {
            tags.iter().try_for_each(|tag| check_tag(tag))
        }
    }
}

/// The option for `edit`; `None` when there is nothing to change. restic takes an empty `--set` for
/// none at all, so there all tags are removed by name.
fn edit_argument(edit: &TagEdit, chosen: &[Snapshot]) -> Option<String> {
    let (flag, tags) = match edit {
        TagEdit::Add(tags) => ("add", tags.join(",")),
        TagEdit::Remove(tags) => ("remove", tags.join(",")),
        TagEdit::Set(tags) if !tags.is_empty() => ("set", tags.join(",")),
        TagEdit::Set(_) => {
            let present = chosen.iter().flat_map(|snapshot| &snapshot.tags);
            let present: BTreeSet<_> = present.map(String::as_str).collect();
            ("remove", Vec::from_iter(present).join(","))
        }
    };
    (!tags.is_empty()).then(|| format!("--{flag}={tags}"))
}

#[derive(Deserialize)]
#[serde(tag = "message_type", rename_all = "snake_case")]
enum Line {
    Changed { old_snapshot_id: String, new_snapshot_id: String },
    Summary { changed_snapshots: u64 },
}

/// Reads what restic answered: JSON since 0.17, words before.
fn retagged(answer: &str) -> Retagged {
    let mut result = Retagged { snapshot_count: 0, renamed: Vec::new() };
    for line in answer.lines() {
        match serde_json::from_str(line) {
            Ok(Line::Changed { old_snapshot_id: from, new_snapshot_id: to }) => {
                result.renamed.push(Renamed { from, to });
            }
            Ok(Line::Summary { changed_snapshots }) => result.snapshot_count = changed_snapshots,
            Err(_) => result.snapshot_count = counted(line).unwrap_or(result.snapshot_count),
        }
    }
    result
}

/// `modified tags on 3 snapshots`
fn counted(line: &str) -> Option<u64> {
    let rest = line.strip_prefix("modified tags on ")?;
    rest.strip_suffix(" snapshots")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_all_versions_are_read() {
        let old = "create exclusive lock for repository\nmodified tags on 3 snapshots\n";
        assert_eq!(retagged(old), Retagged { snapshot_count: 3, renamed: Vec::new() });
        let new = "create exclusive lock for repository\n\
            {\"message_type\":\"changed\",\"old_snapshot_id\":\"a\",\"new_snapshot_id\":\"b\"}\n\
            {\"message_type\":\"summary\",\"changed_snapshots\":1}\n";
        let renamed = vec![Renamed { from: "a".to_owned(), to: "b".to_owned() }];
        assert_eq!(retagged(new), Retagged { snapshot_count: 1, renamed });
        assert_eq!(retagged("no snapshots were modified\n").snapshot_count, 0);
    }

    #[test]
    fn every_edit_has_its_argument() {
        let tags = || vec!["a".to_owned(), "-b".to_owned()];
        let snapshot = |tags: &[&str]| Snapshot {
            id: String::new(),
            short_id: String::new(),
            time: jiff::Timestamp::UNIX_EPOCH,
            hostname: String::new(),
            paths: Vec::new(),
            tags: tags.iter().map(|&tag| tag.to_owned()).collect(),
            size_bytes: None,
            file_count: None,
        };
        let chosen = [snapshot(&["x", "y"]), snapshot(&["y"]), snapshot(&[])];
        for (edit, expected) in [
            (TagEdit::Add(tags()), "--add=a,-b"),
            (TagEdit::Remove(tags()), "--remove=a,-b"),
            (TagEdit::Set(tags()), "--set=a,-b"),
            (TagEdit::Set(Vec::new()), "--remove=x,y"),
        ] {
            assert_eq!(check_edit(&edit), Ok(()));
            assert_eq!(edit_argument(&edit, &chosen).as_deref(), Some(expected));
        }
        assert_eq!(edit_argument(&TagEdit::Set(Vec::new()), &[snapshot(&[])]), None);
        for edit in [TagEdit::Add(Vec::new()), TagEdit::Set(vec!["a,b".to_owned()])] {
            assert_eq!(check_edit(&edit).unwrap_err().code, "invalid_configuration");
        }
    }
}
