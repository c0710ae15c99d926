//! `holdfast snapshots ls|find|diff`.

use serde_json::{Value, json};

use super::{Query, named};
use crate::{
    cli,
    command::Operator,
    failure::Failure,
    model::{Change, Difference, Entries, Entry},
    output::{Cell, Look, Table, Tone, bytes, count, printable},
};

/// How many entries are asked for at once.
const PAGE: &str = "5000";

/// `holdfast snapshots ls`.
pub(super) async fn list(
    operator: &Operator,
    snapshot: &cli::Snapshot,
    path: &str,
) -> Result<(), Failure> {
    let id = named(operator, &snapshot.host, &snapshot.id).await?;
    let address = ["hosts", &snapshot.host, "snapshots", &id, "entries"];
    let mut all: Vec<Value> = Vec::new();
    loop {
        let offset = all.len().to_string();
        let mut query: Query = vec![("path", path), ("limit", PAGE), ("offset", &offset)];
        query.extend(snapshot.repo.as_deref().map(|repo| ("repository", repo)));
        let mut page = operator.ask(&snapshot.host, &address, &query).await?;
        let told = page["entries"].as_array_mut().map(std::mem::take).unwrap_or_default();
        let over = told.is_empty() || !page["more"].as_bool().unwrap_or(false);
        all.extend(told);
        if over {
            break;
        }
    }
    let answer = json!({ "entries": all, "more": false });
    let listed: Entries = operator.read(&answer)?;
    operator.screen.show(&answer, |look| entries(&listed.entries, look));
    Ok(())
}

/// `holdfast snapshots find`.
pub(super) async fn find(
    operator: &Operator,
    snapshot: &cli::Snapshot,
    pattern: &str,
    limit: u32,
) -> Result<(), Failure> {
    let id = named(operator, &snapshot.host, &snapshot.id).await?;
    let address = ["hosts", &snapshot.host, "snapshots", &id, "search"];
    let limit = limit.to_string();
    let mut query: Query = vec![("pattern", pattern), ("limit", &limit)];
    query.extend(snapshot.repo.as_deref().map(|repo| ("repository", repo)));
    let answer = operator.ask(&snapshot.host, &address, &query).await?;
    let found: Entries = operator.read(&answer)?;
    operator.screen.show(&answer, |look| {
        let mut text = entries(&found.entries, look);
        if found.more {
            text.push_str("… and more; --limit tells more of them.\n");
        }
        text
    });
    Ok(())
}

/// What is shown of entries: their path where they have one, else their name.
fn entries(entries: &[Entry], look: &Look) -> String {
    let mut table = Table::new(&["MODE", "SIZE", "CHANGED", "NAME"], "Nothing.");
    for entry in entries {
        let (end, tone) = match entry.kind.as_str() {
            "directory" => ("/", Tone::Strong),
            "symlink" => ("@", Tone::Plain),
            _ => ("", Tone::Plain),
        };
        let name = entry.path.as_deref().unwrap_or(&entry.name);
        table.row([
            format!("{:04o}", entry.mode).into(),
            entry.size_bytes.map_or_else(|| "-".to_owned(), bytes).into(),
            look.when_some(entry.modified_at).into(),
            Cell::toned(&format!("{name}{end}"), tone),
        ]);
    }
    table.render(look)
}

/// Two snapshots, as somebody named them.
pub(super) struct Pair<'a> {
    pub(super) host: &'a str,
    pub(super) from: &'a str,
    pub(super) to: &'a str,
    pub(super) metadata: bool,
    pub(super) limit: u32,
    pub(super) repo: Option<&'a str>,
}

/// `holdfast snapshots diff`.
pub(super) async fn compare(operator: &Operator, pair: Pair<'_>) -> Result<(), Failure> {
    let from = named(operator, pair.host, pair.from).await?;
    let to = named(operator, pair.host, pair.to).await?;
    let limit = pair.limit.to_string();
    let metadata = pair.metadata.to_string();
    let mut query: Query =
        vec![("from", &from), ("to", &to), ("metadata", &metadata), ("limit", &limit)];
    query.extend(pair.repo.map(|repo| ("repository", repo)));
    let answer = operator.ask(pair.host, &["hosts", pair.host, "diff"], &query).await?;
    let difference: Difference = operator.read(&answer)?;
    operator.screen.show(&answer, |look| changes(&difference, look));
    Ok(())
}

fn changes(difference: &Difference, look: &Look) -> String {
    let mut text: String = difference.changes.iter().map(|it| change(it, look)).collect();
    if difference.omitted > 0 {
        text.push_str(&format!("… and {} more\n", count(difference.omitted)));
    }
    let (added, removed) = (difference.added.size_bytes, difference.removed.size_bytes);
    text.push_str(&format!(
        "{} files with other content; {} only in the later, {} only in the earlier.\n",
        count(difference.changed_files),
        bytes(added),
        bytes(removed),
    ));
    text
}

fn change(change: &Change, look: &Look) -> String {
    let (sign, tone) = match change.kind.as_str() {
        "added" => ("+", Tone::Good),
        "removed" => ("-", Tone::Bad),
        "content" => ("M", Tone::Warning),
        "metadata" => ("U", Tone::Quiet),
        "kind" => ("T", Tone::Warning),
        _ => ("?", Tone::Plain),
    };
    look.paint(tone, &format!("{sign}  {}", printable(&change.path))) + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{model::Amount, output::test_look};

    #[test]
    fn a_name_is_shown_with_its_kind_and_without_its_tricks() {
        let entry = |name: &str, kind: &str, size_bytes| Entry {
            name: name.to_owned(),
            kind: kind.to_owned(),
            size_bytes,
            mode: 0o640,
            ..Entry::default()
        };
        let listed = [entry("etc", "directory", None), entry("a\x1b[2J\n", "file", Some(2048))];
        let text = entries(&listed, &test_look());
        let wanted = "MODE  SIZE     CHANGED  NAME\n\
                      0640  -        -        etc/\n\
                      0640  2.0 KiB  -        a\\u{1b}[2J\\n\n";
        assert_eq!(text, wanted);
    }

    #[test]
    fn changes_have_a_sign_each_and_a_sum() {
        let change = |path: &str, kind: &str| Change { path: path.into(), kind: kind.into() };
        let difference = Difference {
            changes: vec![change("/a", "added"), change("/b\t", "removed")],
            omitted: 7,
            changed_files: 1,
            added: Amount { size_bytes: 1024 },
            removed: Amount::default(),
        };
        let text = changes(&difference, &test_look());
        let wanted = "+  /a\n-  /b\\t\n… and 7 more\n\
                      1 files with other content; 1.0 KiB only in the later, 0 B only in the \
                      earlier.\n";
        assert_eq!(text, wanted);
    }
}
