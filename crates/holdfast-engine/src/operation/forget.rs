//! `restic forget`: removes snapshots of one host, by a policy or one by one, or those of many
//! source groups, each by its own policy.
//!
//! On a repository that several hosts share, restic's own way of grouping (by host and paths) lets
//! a policy miss or mix what belongs together. Here the host is always named, and groups are formed
//! by host and tags, which the fleet chooses and a change of paths does not touch.

use holdfast_protocol::message::{
    job::JobError,
    parameters::{Forget, GroupRetention, Retention, Selection},
    result::{Forgotten, Group, Judged},
    snapshot::Snapshot,
};
use jiff::Timestamp;
use serde::Deserialize;

use crate::{
    Access, Code, Control, Outcome, Restic,
    error::job_error,
    event::Reporter,
    operation::{
        campaign::Campaign,
        snapshots,
        values::{check_snapshot_ids, check_tag, refuse},
    },
    restic::call::Call,
};

/// How many snapshots a result lists, so that it fits into a frame.
const LISTED_MAX: usize = 5000;

pub(crate) async fn run(
    restic: &Restic,
    access: &Access,
    host: &str,
    forget: &Forget,
    control: &Control,
    reporter: &mut Reporter,
) -> Result<Outcome, Outcome> {
    if host.is_empty() || host.contains('\0') {
        refuse("The host has no name by which its snapshots could be found.")?;
    }
    let job = Job { campaign: Campaign::open(restic, access, control, reporter)?, host, forget };
    match &forget.which {
        Selection::Policy { tag, keep } => job.by_policy(tag, keep).await,
        Selection::Groups(groups) => job.by_groups(groups).await,
        Selection::Snapshots(ids) => job.by_id(ids).await,
    }
}

struct Job<'a> {
    campaign: Campaign<'a>,
    host: &'a str,
    forget: &'a Forget,
}

impl Job<'_> {
    async fn by_policy(mut self, tag: &str, keep: &Retention) -> Result<Outcome, Outcome> {
        let arguments = policy_arguments(self.host, tag, keep)?;
        let (exit_code, groups) = self.apply(arguments).await?;
        Ok(self.done(exit_code, groups))
    }

    /// Applies the policies one after the other. All of them are looked at before the first one
    /// removes anything.
    async fn by_groups(mut self, rules: &[GroupRetention]) -> Result<Outcome, Outcome> {
        let calls = rules.iter().map(group_arguments).collect::<Result<Vec<_>, _>>()?;
        let (mut exit_code, mut groups) = (None, Vec::new());
        for (rule, arguments) in rules.iter().zip(calls) {
            self.campaign.remark(format!("source group {} of {}", rule.tag, rule.host));
            let (code, judged) = self.apply(arguments).await?;
            exit_code = code;
            groups.extend(judged);
        }
        Ok(self.done(exit_code, groups))
    }

    async fn apply(&mut self, policy: Vec<String>) -> Result<(Option<i32>, Vec<Group>), Outcome> {
        let arguments = [self.head(), policy].concat();
        let report = self.campaign.complete(&mut Call::new(arguments).capturing()).await?;
        let exit_code = report.ended.exit.code();
        let groups = parse(report.transcript.captured()).map_err(|error| {
            let message = format!("What restic removed could not be read: {error}.");
            Outcome::failed(exit_code, job_error(Code::ResticFailed, message))
        })?;
        Ok((exit_code, groups))
    }

    async fn by_id(mut self, ids: &[String]) -> Result<Outcome, Outcome> {
        check_snapshot_ids(ids)?;
        let chosen = snapshots::choose(&mut self.campaign.session, self.host, ids).await?;
        let mut arguments = self.head();
        arguments.push("--".to_owned());
        arguments.extend(chosen.iter().map(|snapshot| snapshot.id.clone()));
        let report = self.campaign.complete(&mut Call::new(arguments).capturing()).await?;
        let remove = chosen.into_iter().map(judged).collect();
        let group = Group { host: self.host.to_owned(), remove, ..Group::default() };
        Ok(self.done(report.ended.exit.code(), vec![group]))
    }

    fn done(&mut self, exit_code: Option<i32>, groups: Vec<Group>) -> Outcome {
        let result = forgotten(groups, self.forget.dry_run);
        let Forgotten { kept_count, removed_count, dry_run, .. } = result;
        let verb = if dry_run { "would be" } else { "are" };
        let remark = format!("{removed_count} snapshots {verb} removed, {kept_count} are kept");
        self.campaign.remark(remark);
        Outcome::succeeded(exit_code, &result)
    }

    fn head(&self) -> Vec<String> {
        let dry_run = self.forget.dry_run.then_some("--dry-run");
        ["forget", "--json"].into_iter().chain(dry_run).map(str::to_owned).collect()
    }
}

/// Nothing may be left open here: an empty name would stand for all hosts or all tags.
fn group_arguments(rule: &GroupRetention) -> Result<Vec<String>, JobError> {
    if rule.host.is_empty() || rule.host.contains('\0') || rule.tag.is_empty() {
        return refuse("A policy names no host or no source group.");
    }
    policy_arguments(&rule.host, &rule.tag, &rule.keep)
}

fn policy_arguments(host: &str, tag: &str, keep: &Retention) -> Result<Vec<String>, JobError> {
    if !keep.always_keeps_one() {
        return refuse(
            "The policy could remove every snapshot: it needs a number or a span of time to keep.",
        );
    }
    keep.keep_tags.iter().try_for_each(|tag| check_tag(tag))?;
    let mut arguments = vec!["--group-by=host,tags".to_owned(), format!("--host={host}")];
    if !tag.is_empty() {
        check_tag(tag)?;
        arguments.push(format!("--tag={tag}"));
    }
    let counts = keep.counts().into_iter().filter_map(|(rule, n)| Some((rule, n?.to_string())));
    let spans = keep.spans().into_iter().filter_map(|(rule, n)| Some((rule, n?.to_string())));
    arguments.extend(counts.chain(spans).map(|(rule, value)| format!("--keep-{rule}={value}")));
    arguments.extend(keep.keep_tags.iter().map(|tag| format!("--keep-tag={tag}")));
    Ok(arguments)
}

#[derive(Deserialize)]
struct Applied {
    tags: Option<Vec<String>>,
    #[serde(default)]
    host: String,
    keep: Option<Vec<Named>>,
    remove: Option<Vec<Named>>,
    reasons: Option<Vec<Reason>>,
}

#[derive(Deserialize)]
struct Named {
    id: String,
    time: Timestamp,
}

/// In the order of what is kept; the snapshot in it has no id.
#[derive(Deserialize)]
struct Reason {
    matches: Option<Vec<String>>,
}

/// Reads restic's answer. It is empty when there was nothing to look at.
fn parse(answer: &str) -> Result<Vec<Group>, serde_json::Error> {
    let Some(line) = answer.lines().find(|line| line.starts_with('[')) else {
        return Ok(Vec::new());
    };
    let groups: Vec<Applied> = serde_json::from_str(line)?;
    Ok(groups.into_iter().map(Applied::into_group).collect())
}

impl Applied {
    fn into_group(self) -> Group {
        let named =
            |named: Named| Judged { snapshot_id: named.id, time: named.time, reasons: Vec::new() };
        let mut keep: Vec<_> = self.keep.unwrap_or_default().into_iter().map(named).collect();
        for (kept, reason) in keep.iter_mut().zip(self.reasons.unwrap_or_default()) {
            kept.reasons = reason.matches.unwrap_or_default();
        }
        Group {
            host: self.host,
            tags: self.tags.unwrap_or_default(),
            keep,
            remove: self.remove.unwrap_or_default().into_iter().map(named).collect(),
        }
    }
}

fn judged(snapshot: Snapshot) -> Judged {
    Judged { snapshot_id: snapshot.id, time: snapshot.time, reasons: Vec::new() }
}

/// Counts everything and lists as much as a result may hold; what goes is listed before what stays.
fn forgotten(mut groups: Vec<Group>, dry_run: bool) -> Forgotten {
    let count = |list: fn(&Group) -> usize| groups.iter().map(list).sum::<usize>() as u64;
    let (kept_count, removed_count) =
        (count(|group| group.keep.len()), count(|group| group.remove.len()));
    let mut room = LISTED_MAX;
    let mut fit = |list: &mut Vec<Judged>| {
        list.truncate(room);
        room -= list.len();
    };
    groups.iter_mut().for_each(|group| fit(&mut group.remove));
    groups.iter_mut().for_each(|group| fit(&mut group.keep));
    let omitted = kept_count + removed_count - (LISTED_MAX - room) as u64;
    Forgotten { dry_run, kept_count, removed_count, groups, omitted }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    #[test]
    fn every_rule_has_its_argument_and_the_host_is_always_named() {
        let span = |text: &str| text.parse().ok();
        let keep = Retention {
            keep_last: NonZeroU32::new(1),
            keep_yearly: NonZeroU32::new(10),
            keep_within: span("14d"),
            keep_within_monthly: span("1y6m"),
            keep_tags: vec!["kept".to_owned()],
            ..Retention::default()
        };
        let arguments = policy_arguments("-h", "home", &keep).unwrap();
        let expected = [
            "--group-by=host,tags",
            "--host=-h",
            "--tag=home",
            "--keep-last=1",
            "--keep-yearly=10",
            "--keep-within=14d",
            "--keep-within-monthly=1y6m",
            "--keep-tag=kept",
        ];
        assert_eq!(arguments, expected);
    }

    #[test]
    fn a_policy_that_could_remove_everything_is_refused() {
        let tags = Retention { keep_tags: vec!["kept".to_owned()], ..Retention::default() };
        for keep in [Retention::default(), tags] {
            let error = policy_arguments("h", "", &keep).unwrap_err();
            assert_eq!(error.code, "invalid_configuration");
        }
    }

    #[test]
    fn a_policy_of_many_groups_names_host_and_tag_of_each() {
        let keep = Retention { keep_last: NonZeroU32::new(1), ..Retention::default() };
        let rule = |host: &str, tag: &str| GroupRetention {
            host: host.to_owned(),
            tag: tag.to_owned(),
            keep: keep.clone(),
        };
        let arguments = group_arguments(&rule("web-1", "etc")).unwrap();
        assert_eq!(arguments[1..3], ["--host=web-1", "--tag=etc"]);
        for open in [rule("", "etc"), rule("web-1", ""), rule("web\0", "etc")] {
            assert_eq!(group_arguments(&open).unwrap_err().code, "invalid_configuration");
        }
    }

    #[test]
    fn reasons_are_joined_to_what_they_keep() {
        let answer = r#"something before
[{"tags":["t"],"host":"h","paths":null,"keep":[{"id":"a","time":"2026-11-21T14:15:49Z"},{"id":"b","time":"2026-11-20T14:15:49Z"}],"remove":null,"reasons":[{"snapshot":{},"matches":["last snapshot"]},{"matches":null}]}]"#;
        let groups = parse(answer).unwrap();
        assert_eq!(groups[0].keep[0].reasons, ["last snapshot"]);
        assert!(groups[0].keep[1].reasons.is_empty() && groups[0].remove.is_empty());
        assert_eq!(parse("").unwrap(), []);
        assert!(parse("[{]").is_err());
    }

    #[test]
    fn a_result_that_is_too_long_lists_first_what_goes() {
        let judged = Judged {
            snapshot_id: "a".to_owned(),
            time: Timestamp::UNIX_EPOCH,
            reasons: Vec::new(),
        };
        let group = Group {
            keep: vec![judged.clone(); 3000],
            remove: vec![judged; 4000],
            ..Group::default()
        };
        let result = forgotten(vec![group], true);
        assert_eq!((result.kept_count, result.removed_count, result.omitted), (3000, 4000, 2000));
        assert_eq!((result.groups[0].remove.len(), result.groups[0].keep.len()), (4000, 1000));
    }
}
