//! How a source group may be backed up and kept, as people may ask for it.

use holdfast_protocol::message::{config::GroupOptions, parameters::Retention};
use serde_json::Value;

use super::{problem::Problem, validate};

/// What may stand in `options`. The type itself takes more, because an agent must be able to read
/// the words of a newer server.
const FIELDS: [&str; 9] = [
    "exclude_presets",
    "exclude_caches",
    "one_file_system",
    "bandwidth",
    "retry_max",
    "retry_backoff_seconds",
    "timeout_seconds",
    "hooks",
    "source",
];

/// How many hooks may run before a backup, and after it.
const HOOKS_MAX: usize = 16;

/// More tries than this only make the same mistake again.
const RETRIES_MAX: u32 = 20;

/// Reads and checks `options`.
pub(super) fn options(value: &Value) -> Result<GroupOptions, Problem> {
    let known = |key: &String| FIELDS.contains(&key.as_str());
    if let Some(unknown) = value.as_object().and_then(|map| map.keys().find(|key| !known(key))) {
        return Err(refused(&format!("There is no option `{}`.", validate::shown(unknown))));
    }
    let options: GroupOptions = serde_json::from_value(value.clone())
        .map_err(|error| refused(&format!("The options cannot be read: {error}.")))?;
    check(&options)?;
    Ok(options)
}

fn check(options: &GroupOptions) -> Result<(), Problem> {
    let hooks = &options.hooks;
    if hooks.pre.len() > HOOKS_MAX || hooks.post.len() > HOOKS_MAX {
        return Err(refused("There are more than 16 hooks before or after the backup."));
    }
    hooks.pre.iter().chain(&hooks.post).try_for_each(|name| validate::name("hook", name))?;
    if options.retry.retry_max > RETRIES_MAX {
        return Err(refused("A failed backup cannot be tried again more than 20 times."));
    }
    options.source.as_ref().map_or(Ok(()), |source| validate::name("database", &source.database))
}

/// Checks what a source group includes, given how it is backed up.
pub(super) fn sources(includes: &[String], options: &GroupOptions) -> Result<(), Problem> {
    if options.source.is_none() {
        return validate::includes(includes);
    }
    if includes.is_empty() {
        return Ok(());
    }
    Err(Problem::invalid(
        "invalid_includes",
        "A source group that backs up a command's output cannot include files too.",
        "Leave the includes empty, or use another source group for the files.",
    ))
}

/// Checks which snapshots are to be kept.
pub(super) fn retention(retention: &Retention) -> Result<(), Problem> {
    if !retention.always_keeps_one() {
        return Err(Problem::invalid(
            "invalid_retention",
            "These rules could remove every snapshot of the source group.",
            "Give at least one rule besides tags, such as keep_last or keep_daily.",
        ));
    }
    retention.keep_tags.iter().try_for_each(|tag| validate::name("tag", tag))
}

fn refused(title: &str) -> Problem {
    Problem::invalid(
        "invalid_options",
        title,
        "See the schema `GroupOptions` of the API document at /api/v1/openapi.json.",
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn options_are_read_and_what_is_not_known_is_refused() {
        let good = json!({
            "exclude_presets": ["caches"], "one_file_system": true,
            "bandwidth": { "upload_kib_s": 512 }, "retry_max": 3, "retry_backoff_seconds": 60,
            "timeout_seconds": 3600, "hooks": { "pre": ["stop-app"], "post": ["start-app"] },
            "source": { "preset": "postgresql", "database": "shop" },
        });
        let read = options(&good).unwrap();
        assert_eq!(read.retry.retry_max, 3);
        assert_eq!(read.hooks.pre, ["stop-app"]);
        for bad in [
            json!({ "one_filesystem": true }),
            json!({ "exclude_presets": ["everything"] }),
            json!({ "hooks": { "pre": ["rm -rf /"] } }),
            json!({ "hooks": { "pre": ["/bin/sh"] } }),
            json!({ "source": { "preset": "shell", "database": "x" } }),
            json!({ "source": { "preset": "sqlite", "database": "../x" } }),
            json!({ "retry_max": 1000 }),
            json!({ "timeout_seconds": 0 }),
            json!({ "bandwidth": { "upload_kib_s": 0 } }),
        ] {
            assert!(options(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_command_source_needs_no_files_and_takes_none() {
        let source = options(&json!({ "source": { "preset": "redis", "database": "main" } }));
        let source = source.unwrap();
        assert!(sources(&[], &source).is_ok());
        assert!(sources(&["/etc".to_owned()], &source).is_err());
        assert!(sources(&[], &GroupOptions::default()).is_err());
    }

    #[test]
    fn a_retention_that_could_keep_nothing_is_refused() {
        let read = |value: Value| serde_json::from_value::<Retention>(value).unwrap();
        assert!(retention(&read(json!({ "keep_daily": 7 }))).is_ok());
        assert!(retention(&read(json!({ "keep_tags": ["kept"] }))).is_err());
        assert!(retention(&read(json!({}))).is_err());
    }
}
