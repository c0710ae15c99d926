//! What people may ask of a job: read as the typed parameters of its operation, and checked.
//!
//! The agent and the engine check everything again, since they cannot know who speaks to them; here
//! it is done so that whoever asks learns at once what is wrong.

pub(super) use holdfast_protocol::message::parameters::Parameters;
use holdfast_protocol::message::{
    job::Operation,
    parameters::{Forget, Selection, TagEdit, Target},
};
use serde_json::{Map, Value};

use super::{problem::Problem, validate::shown};

/// How many paths, snapshots or tags one job may name.
const LIST_MAX: usize = 1000;

/// The longest path or tag, in bytes.
const TEXT_LENGTH_MAX: usize = 4096;

/// The parameters of `operation` in `asked`; `None` when nothing was said and nothing has to be.
///
/// # Errors
/// `invalid_parameters`, which names the field and never the value.
pub(super) fn read(
    operation: Operation,
    asked: Option<Value>,
) -> Result<Option<Parameters>, Problem> {
    let mut fields = match asked {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(fields)) => fields,
        Some(_) => return Err(invalid("`parameters` is not an object")),
    };
    if fields.contains_key("kind") {
        return Err(invalid("the field `kind` is not known"));
    }
    if fields.is_empty() && has_plain(operation) {
        return Ok(None);
    }
    if matches!(operation, Operation::Init | Operation::Snapshots) {
        return Err(invalid("this operation takes no parameters"));
    }
    fields.insert("kind".to_owned(), operation.as_str().into());
    let read: Result<Parameters, _> = serde_json::from_value(Value::Object(fields));
    let parameters = read.map_err(|error| invalid(&what_is_wrong(&error.to_string())))?;
    check(&parameters)?;
    Ok(Some(parameters))
}

/// Every snapshot that the parameters name.
pub(super) fn snapshots_named(parameters: &mut Parameters) -> Vec<&mut String> {
    match parameters {
        Parameters::Ls(ls) => vec![&mut ls.snapshot_id],
        Parameters::Dump(dump) => vec![&mut dump.snapshot_id],
        Parameters::Restore(restore) => vec![&mut restore.snapshot_id],
        Parameters::Diff(diff) => vec![&mut diff.from_snapshot_id, &mut diff.to_snapshot_id],
        Parameters::Tag(tag) => tag.snapshot_ids.iter_mut().collect(),
        Parameters::Forget(Forget { which: Selection::Snapshots(ids), .. }) => {
            ids.iter_mut().collect()
        }
        Parameters::Stats(stats) => stats.snapshot_id.iter_mut().collect(),
        Parameters::Forget(Forget {
            which: Selection::Policy { .. } | Selection::Groups(_),
            ..
        })
        | Parameters::Backup(_)
        | Parameters::Init
        | Parameters::Snapshots
        | Parameters::Prune(_)
        | Parameters::Check(_)
        | Parameters::Unlock(_) => Vec::new(),
    }
}

/// Whether there is nothing that has to be said.
fn has_plain(operation: Operation) -> bool {
    use Operation::{Backup, Check, Init, Prune, Snapshots, Unlock};
    matches!(operation, Backup | Check | Init | Prune | Snapshots | Unlock)
}

/// serde's own text may repeat a value; only names of fields and variants pass.
fn what_is_wrong(text: &str) -> String {
    let named = ["missing field", "unknown field", "duplicate field", "unknown variant"];
    if named.iter().any(|start| text.starts_with(start)) {
        return shown_names(text);
    }
    "a value has the wrong type".to_owned()
}

/// An unknown variant is the asker's text: it is cut and made harmless.
fn shown_names(text: &str) -> String {
    let safe = |letter: char| if letter.is_control() { '\u{fffd}' } else { letter };
    text.chars().take(200).map(safe).collect()
}

fn check(parameters: &Parameters) -> Result<(), Problem> {
    match parameters {
        Parameters::Restore(restore) => {
            snapshot(&restore.snapshot_id)?;
            few(&restore.paths)?;
            restore.paths.iter().try_for_each(|path| absolute(path))?;
            if let Target::Directory(directory) = &restore.target {
                absolute(directory)?;
            }
            Ok(())
        }
        Parameters::Diff(diff) => {
            snapshot(&diff.from_snapshot_id)?;
            snapshot(&diff.to_snapshot_id)
        }
        Parameters::Tag(tag) => {
            snapshots(&tag.snapshot_ids)?;
            let (TagEdit::Add(tags) | TagEdit::Remove(tags) | TagEdit::Set(tags)) = &tag.edit;
            few(tags)?;
            tags.iter().try_for_each(|tag| plain(tag))
        }
        Parameters::Forget(forget) => match &forget.which {
            Selection::Snapshots(ids) => snapshots(ids),
            // Whoever may order jobs of one host must not reach the snapshots of others by it.
            Selection::Groups(_) => Err(invalid("only the repository's maintenance names groups")),
            Selection::Policy { keep, .. } if !keep.always_keeps_one() => {
                Err(invalid("the policy keeps nothing"))
            }
            Selection::Policy { tag, .. } if tag.is_empty() => Ok(()),
            Selection::Policy { tag, .. } => plain(tag),
        },
        Parameters::Stats(stats) => stats.snapshot_id.as_deref().map_or(Ok(()), snapshot),
        _ => Ok(()),
    }
}

fn snapshots(ids: &[String]) -> Result<(), Problem> {
    if ids.is_empty() {
        return Err(invalid("no snapshot is named"));
    }
    few(ids)?;
    ids.iter().try_for_each(|id| snapshot(id))
}

/// An id, or at least eight digits of it. A word such as `latest` would mean another one tomorrow.
pub(super) fn snapshot(id: &str) -> Result<(), Problem> {
    if (8..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(());
    }
    Err(invalid(&format!("`{}` is not the id of a snapshot", shown(id))))
}

/// The path of something in a snapshot, or of a directory on the host.
pub(super) fn absolute(path: &str) -> Result<(), Problem> {
    let long = path.len() > TEXT_LENGTH_MAX;
    let detour = path.split('/').any(|part| matches!(part, "." | ".."));
    if path.starts_with('/') && !long && !detour && !path.contains('\0') {
        return Ok(());
    }
    Err(invalid(&format!("`{}` is not an absolute path without detours", shown(path))))
}

fn plain(text: &str) -> Result<(), Problem> {
    let bad = text.trim().is_empty() || text.contains([',', '\0', '\n']);
    if !bad && text.len() <= TEXT_LENGTH_MAX {
        return Ok(());
    }
    Err(invalid(&format!("`{}` is not a tag", shown(text))))
}

fn few(list: &[String]) -> Result<(), Problem> {
    if list.len() <= LIST_MAX {
        return Ok(());
    }
    Err(invalid(&format!("a list has more than {LIST_MAX} entries")))
}

pub(super) fn invalid(what: &str) -> Problem {
    Problem::invalid(
        "invalid_parameters",
        format!("The parameters cannot be used: {what}."),
        "See `order_job` in the API document at /api/v1/openapi.json, and docs/jobs.md.",
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(operation: Operation, asked: Value) -> bool {
        read(operation, Some(asked)).is_err()
    }

    #[test]
    fn what_needs_no_parameters_may_have_none_and_the_rest_may_not() {
        for operation in Operation::ALL.into_iter().filter(|operation| operation.is_job()) {
            let verdict = read(operation, None);
            assert_eq!(verdict.is_ok(), has_plain(operation), "{operation:?}");
            assert_eq!(read(operation, Some(json!({}))).is_ok(), has_plain(operation));
        }
        assert!(refused(Operation::Init, json!({"force": true})));
    }

    #[test]
    fn a_restore_is_read_with_all_its_wishes() {
        let asked = json!({"snapshot_id": "0123abcd", "paths": ["/etc/-x"],
            "target": {"directory": "/srv/x"}, "overwrite": "never", "dry_run": true});
        let Ok(Some(Parameters::Restore(restore))) = read(Operation::Restore, Some(asked)) else {
            panic!("refused");
        };
        assert_eq!(restore.target, Target::Directory("/srv/x".to_owned()));
        let short = json!({"snapshot_id": "0123abcd", "target": "restore_root"});
        assert!(read(Operation::Restore, Some(short)).is_ok());
    }

    #[test]
    fn wishes_that_could_hurt_or_mislead_are_refused() {
        let restore = |change: Value| {
            let mut asked = json!({"snapshot_id": "0123abcd", "target": "original"});
            asked.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            refused(Operation::Restore, asked)
        };
        assert!(!restore(json!({})));
        assert!(restore(json!({"snapshot_id": "latest"})));
        assert!(restore(json!({"snapshot_id": "--help00"})));
        assert!(restore(json!({"paths": ["etc"]})));
        assert!(restore(json!({"paths": ["/a/../b"]})));
        assert!(restore(json!({"paths": ["/a\u{0}"]})));
        assert!(restore(json!({"paths": vec!["/a"; 1001]})));
        assert!(restore(json!({"target": {"directory": "--target=/"}})));
        assert!(restore(json!({"args": ["--no-lock"]})));
        assert!(restore(json!({"kind": "prune"})));
        let keep_none = json!({"which": {"policy": {"keep": {}}}});
        assert!(refused(Operation::Forget, keep_none));
        assert!(!refused(
            Operation::Forget,
            json!({"which": {"policy": {"keep": {"keep_last": 1}}}})
        ));
        assert!(refused(Operation::Tag, json!({"snapshot_ids": [], "edit": {"add": ["x"]}})));
        assert!(refused(
            Operation::Tag,
            json!({"snapshot_ids": ["0123abcd"], "edit": {"add": ["a,b"]}})
        ));
    }
}
