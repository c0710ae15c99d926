//! `restic backup`, from the first look at the sources to one truthful end.

use std::ffi::OsString;

use holdfast_protocol::message::{
    job::{JobError, Status},
    parameters,
};

use crate::{
    Access, Code, Control, Outcome, Restic, SourceCommand,
    error::job_error,
    event::Reporter,
    operation::{
        campaign::{Campaign, failed},
        excludes,
        init::{self, Created},
        snapshots,
        sources::{Sources, missing_error},
    },
    restic::{call::Call, exit_code::Cause, session::Report},
};

/// What to back up, and under which names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    /// The host's name in the fleet; restic records it as the snapshot's host.
    pub host: String,
    /// The source group's name, the snapshot's only tag. Empty for none.
    pub tag: String,
    /// Paths, absolute.
    pub includes: Vec<String>,
    /// restic exclude patterns.
    pub excludes: Vec<String>,
    /// How to choose among the files.
    pub options: parameters::Backup,
}

/// What to back up when it is the output of a command, and under which names.
#[derive(Debug, Clone)]
pub struct CommandBackup {
    /// The host's name in the fleet; restic records it as the snapshot's host.
    pub host: String,
    /// The source group's name, the snapshot's only tag. Empty for none.
    pub tag: String,
    /// The name that the output has in the snapshot, a file at its top such as `all.sql`.
    pub file_name: String,
    /// The command.
    pub command: SourceCommand,
}

/// Runs the backup of files. Whatever happens is an [`Outcome`].
pub(crate) async fn run(
    restic: &Restic,
    access: &Access,
    backup: &Backup,
    control: &Control,
    reporter: &mut Reporter,
) -> Outcome {
    if control.is_cancelled() {
        return Outcome::cancelled_idle();
    }
    let prepared = backup.check().and_then(|()| {
        let sources = Sources::look(&backup.includes)?;
        Ok((sources, Campaign::open(restic, access, control, reporter)?))
    });
    match prepared {
        Ok((sources, campaign)) => {
            let arguments = backup.arguments(&sources.present);
            let dry_run = backup.options.dry_run;
            let missing = sources.missing;
            Tries { campaign, arguments, source: None, missing, dry_run, inits: 0 }.run().await
        }
        Err(error) => Outcome::failed(None, error),
    }
}

/// Runs the backup of a command's output. Whatever happens is an [`Outcome`].
pub(crate) async fn run_command(
    restic: &Restic,
    access: &Access,
    backup: &CommandBackup,
    control: &Control,
    reporter: &mut Reporter,
) -> Outcome {
    if control.is_cancelled() {
        return Outcome::cancelled_idle();
    }
    let prepared = backup.check().and_then(|()| Campaign::open(restic, access, control, reporter));
    match prepared {
        Ok(campaign) => {
            let (arguments, source) = (backup.arguments(), Some(&backup.command));
            let missing = Vec::new();
            Tries { campaign, arguments, source, missing, dry_run: false, inits: 0 }.run().await
        }
        Err(error) => Outcome::failed(None, error),
    }
}

impl Backup {
    fn check(&self) -> Result<(), JobError> {
        check_names(&self.host, &self.tag)?;
        if self.excludes.iter().any(|pattern| pattern.trim().is_empty() || pattern.contains('\0')) {
            return refuse("The source group has an empty exclude pattern.");
        }
        Ok(())
    }

    /// Every value is bound to its option by `=`, and `--` comes before the paths, so that nothing
    /// of the configuration can become an option.
    fn arguments(&self, paths: &[&str]) -> Vec<OsString> {
        let mut arguments = head(&self.host, &self.tag);
        let presets = excludes::patterns(&self.options.exclude_presets).map(str::to_owned);
        let excludes = self.excludes.iter().cloned().chain(presets);
        arguments.extend(excludes.map(|pattern| format!("--exclude={pattern}")));
        for (wanted, flag) in [
            (self.options.exclude_caches, "--exclude-caches"),
            (self.options.one_file_system, "--one-file-system"),
            (self.options.dry_run, "--dry-run"),
        ] {
            arguments.extend(wanted.then(|| flag.to_owned()));
        }
        arguments.push("--".to_owned());
        arguments.extend(paths.iter().map(|&path| path.to_owned()));
        arguments.into_iter().map(OsString::from).collect()
    }
}

impl CommandBackup {
    fn check(&self) -> Result<(), JobError> {
        check_names(&self.host, &self.tag)?;
        let name = self.file_name.as_str();
        if matches!(name, "" | "." | "..") || name.contains(['/', '\0']) {
            return refuse("The output of the command has no name that a file could have.");
        }
        Ok(())
    }

    fn arguments(&self) -> Vec<OsString> {
        let mut arguments = head(&self.host, &self.tag);
        arguments.push("--stdin".to_owned());
        arguments.push(format!("--stdin-filename={}", self.file_name));
        arguments.into_iter().map(OsString::from).collect()
    }
}

fn head(host: &str, tag: &str) -> Vec<String> {
    let mut arguments = vec!["backup".to_owned(), "--json".to_owned(), format!("--host={host}")];
    if !tag.is_empty() {
        arguments.push(format!("--tag={tag}"));
    }
    arguments
}

fn check_names(host: &str, tag: &str) -> Result<(), JobError> {
    if host.is_empty() || host.contains('\0') {
        return refuse("The host has no name that restic could record.");
    }
    // restic would take the parts for several tags.
    if tag.contains([',', '\0']) {
        return refuse("The source group's name holds a comma, which restic's tags cannot.");
    }
    Ok(())
}

fn refuse<T>(message: &str) -> Result<T, JobError> {
    Err(job_error(Code::InvalidConfiguration, message))
}

/// The tries of one backup.
struct Tries<'a> {
    campaign: Campaign<'a>,
    arguments: Vec<OsString>,
    source: Option<&'a SourceCommand>,
    missing: Vec<&'a str>,
    dry_run: bool,
    inits: u32,
}

/// How often "there is no repository" is answered with `init`: once for the repository, and some
/// more for one that somebody else is only half-way through creating.
const INITS_MAX: u32 = init::TRIES_MAX;

impl Tries<'_> {
    async fn run(&mut self) -> Outcome {
        for path in &self.missing {
            self.campaign.remark(format!("{path} does not exist and is left out"));
        }
        loop {
            let mut call = Call::new(self.arguments.iter().cloned()).fed_by(self.source);
            let report = match self.campaign.run(&mut call).await {
                Ok(report) => report,
                Err(outcome) => return outcome,
            };
            if let Some(outcome) = self.judge(report).await {
                return outcome;
            }
        }
    }

    /// The end that `report` means; `None` to try again.
    async fn judge(&mut self, report: Report) -> Option<Outcome> {
        let stopped = report.ended.stop.is_some();
        match report.cause {
            _ if report.source_error.is_some() => Some(self.disown(&report).await),
            Cause::Complete | Cause::Partial => Some(self.done(&report).await),
            Cause::NoRepository if !stopped && !self.dry_run && self.may_create() => {
                self.create(&report).await.err()
            }
            _ => Some(self.campaign.end(&report).await),
        }
    }

    fn may_create(&self) -> bool {
        self.campaign.session.restic.creates()
    }

    /// The command failed, so whatever there is, is half of it. restic was still waiting for the
    /// rest and has stored no snapshot; should it have, that is removed.
    async fn disown(&mut self, report: &Report) -> Outcome {
        if let Some(id) = report.transcript.snapshot_id() {
            let forget = &mut Call::new(["forget", "--", id]).brief().undisturbed();
            let forgotten = self.campaign.session.run(forget).await;
            let gone = forgotten.is_ok_and(|report| report.cause == Cause::Complete);
            let what = if gone { "is removed" } else { "could not be removed" };
            self.campaign
                .remark(format!("snapshot {id} holds a part of the output only and {what}"));
        }
        self.campaign.end(report).await
    }

    /// restic ended well. Whether that is true shows in the snapshot it names.
    async fn done(&mut self, report: &Report) -> Outcome {
        let stats = report.transcript.summary().cloned();
        let Some(id) = report.transcript.snapshot_id() else {
            if report.ended.stop.is_some() {
                return self.campaign.end(report).await;
            }
            let message = "restic ended as if it had succeeded, but named no snapshot.";
            let error = job_error(Code::SnapshotUnconfirmed, message);
            return Outcome { stats, ..Outcome::failed(report.ended.exit.code(), error) };
        };
        let error = self.shortfall(report);
        Outcome {
            status: if error.is_some() { Status::Partial } else { Status::Succeeded },
            exit_code: report.ended.exit.code(),
            // The id that a dry run names is nobody's.
            snapshot_id: if self.dry_run { None } else { Some(self.full_id(id).await) },
            stats,
            error,
        }
    }

    /// What the snapshot lacks.
    fn shortfall(&self, report: &Report) -> Option<JobError> {
        let skipped = report.transcript.skipped().iter().map(String::as_str);
        let missing: Vec<_> = self.missing.iter().copied().chain(skipped).collect();
        if !missing.is_empty() {
            return Some(missing_error(&missing));
        }
        (report.cause == Cause::Partial).then(|| {
            let message = match report.transcript.unreadable() {
                (0, _) | (_, None) => "Some files could not be read.".to_owned(),
                (1, Some(first)) => format!("One file could not be read: {first}."),
                (count, Some(first)) => {
                    format!("{count} files could not be read; the first is {first}.")
                }
            };
            job_error(Code::SourceUnreadable, message)
        })
    }

    /// restic before 0.17 tells the first eight digits only; the list of snapshots has them all.
    async fn full_id(&mut self, id: &str) -> String {
        const FULL_LENGTH: usize = 64;
        if id.len() == FULL_LENGTH {
            return id.to_owned();
        }
        let listed = snapshots::list(&mut self.campaign.session, id).await.unwrap_or_default();
        let found = listed.into_iter().find(|snapshot| snapshot.id.starts_with(id));
        found.map_or_else(|| id.to_owned(), |snapshot| snapshot.id)
    }

    async fn create(&mut self, report: &Report) -> Result<(), Outcome> {
        if self.inits == INITS_MAX {
            return Err(failed(report));
        }
        self.inits += 1;
        let exit_code = report.ended.exit.code();
        match init::within(&mut self.campaign.session).await {
            Ok(Created::ByUs) => {
                self.campaign.remark("the repository did not exist and was created");
            }
            Ok(Created::BySomebodyElse) if self.inits == INITS_MAX => {
                return Err(Outcome::failed(exit_code, init::half_made()));
            }
            Ok(Created::BySomebodyElse) => {
                self.campaign.remark("the repository is being created by somebody else");
                self.campaign.pause_between_tries().await;
            }
            Err(error) => return Err(Outcome::failed(exit_code, error)),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backup() -> Backup {
        Backup {
            host: "-h".to_owned(),
            tag: "--password-command=x".to_owned(),
            includes: vec!["/src".to_owned()],
            excludes: vec!["--x".to_owned()],
            options: parameters::Backup::default(),
        }
    }

    #[test]
    fn no_value_can_become_an_option() {
        let arguments = backup().arguments(&["/src"]);
        let expected = [
            "backup",
            "--json",
            "--host=-h",
            "--tag=--password-command=x",
            "--exclude=--x",
            "--",
            "/src",
        ];
        assert_eq!(arguments, expected.map(OsString::from));
    }

    #[test]
    fn names_that_restic_would_split_are_refused() {
        assert_eq!(backup().check(), Ok(()));
        for broken in [
            Backup { tag: "a,b".to_owned(), ..backup() },
            Backup { host: String::new(), ..backup() },
            Backup { excludes: vec![" ".to_owned()], ..backup() },
        ] {
            assert_eq!(broken.check().unwrap_err().code, "invalid_configuration");
        }
    }

    #[test]
    fn every_option_has_its_argument() {
        let options = parameters::Backup {
            exclude_presets: vec![parameters::ExcludePreset::Temporary],
            exclude_caches: true,
            one_file_system: true,
            dry_run: true,
        };
        let arguments = Backup { options, ..backup() }.arguments(&["/src"]);
        let options: Vec<_> = arguments.iter().skip(4).map(|it| it.to_str().unwrap()).collect();
        assert_eq!(
            options,
            [
                "--exclude=--x",
                "--exclude=/tmp/*",
                "--exclude=/var/tmp/*",
                "--exclude-caches",
                "--one-file-system",
                "--dry-run",
                "--",
                "/src"
            ]
        );
    }

    #[test]
    fn the_output_of_a_command_needs_the_name_of_a_file() {
        let command = SourceCommand {
            program: "/bin/true".into(),
            arguments: Vec::new(),
            environment: std::collections::BTreeMap::new(),
        };
        let backup = |file_name: &str| CommandBackup {
            host: "h".to_owned(),
            tag: String::new(),
            file_name: file_name.to_owned(),
            command: command.clone(),
        };
        assert_eq!(backup("-all.sql").check(), Ok(()));
        let arguments = backup("-all.sql").arguments();
        assert_eq!(arguments[3..], ["--stdin", "--stdin-filename=-all.sql"].map(OsString::from));
        for name in ["", ".", "..", "a/b", "/a", "a\0"] {
            assert_eq!(backup(name).check().unwrap_err().code, "invalid_configuration", "{name}");
        }
    }
}
