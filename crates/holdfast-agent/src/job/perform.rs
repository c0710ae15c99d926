//! What a job does, by its operation.

use holdfast_engine::{Access, Backup, Control, Event, Outcome, Restic, RestorePolicy};
use holdfast_protocol::{
    Payload,
    message::{
        command::Run,
        job::{JobError, Operation, Status},
        parameters::{self, Parameters},
        result::Listed,
    },
};
use tokio::sync::mpsc;

use super::job_error;
use crate::policy::Policy;

/// A job that nothing speaks against.
#[derive(Debug)]
pub(super) struct Plan {
    /// The host's name in the fleet.
    host: String,
    parameters: Parameters,
    /// Where a restore may write.
    restore: RestorePolicy,
    bandwidth: parameters::Bandwidth,
    tag: String,
    includes: Vec<String>,
    excludes: Vec<String>,
}

impl Plan {
    /// What `run` asks for, as far as this host's policy allows it.
    ///
    /// # Errors
    /// `refused_by_policy`, or `invalid_parameters`.
    pub(super) fn new(run: &Run, host: String, policy: &Policy) -> Result<Self, JobError> {
        policy.check_operation(run.operation)?;
        let mut parameters = parameters_of(run)?;
        let mut restore = RestorePolicy::default();
        match &mut parameters {
            Parameters::Backup(_) => policy.check_sources(&run.includes)?,
            Parameters::Restore(wish) => {
                (*wish, restore) = policy.place(wish, &fresh_name(run, wish))?;
            }
            _ => {}
        }
        Ok(Self {
            host,
            parameters,
            restore,
            bandwidth: run.bandwidth,
            tag: run.tag.clone(),
            includes: run.includes.clone(),
            excludes: run.excludes.clone(),
        })
    }

    /// What the job does, with all that was left to the host filled in.
    pub(super) fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Does it.
    pub(super) async fn perform(
        &self,
        restic: &Restic,
        access: &Access,
        control: &Control,
        events: mpsc::Sender<Event>,
    ) -> Outcome {
        let restic = &restic.clone().with_bandwidth(self.bandwidth);
        match &self.parameters {
            Parameters::Backup(options) => {
                let backup = self.backup(options);
                Box::pin(restic.backup(access, &backup, control, events)).await
            }
            Parameters::Init => Box::pin(restic.init(access, control, events)).await,
            Parameters::Snapshots => list(restic, access, &self.host).await,
            Parameters::Restore(restore) => {
                Box::pin(restic.restore(access, restore, &self.restore, control, events)).await
            }
            Parameters::Diff(diff) => Box::pin(restic.diff(access, diff, control, events)).await,
            Parameters::Tag(tag) => {
                Box::pin(restic.tag(access, &self.host, tag, control, events)).await
            }
            Parameters::Forget(forget) => {
                Box::pin(restic.forget(access, &self.host, forget, control, events)).await
            }
            Parameters::Prune(prune) => {
                Box::pin(restic.prune(access, prune, control, events)).await
            }
            Parameters::Check(check) => {
                Box::pin(restic.check(access, check, control, events)).await
            }
            Parameters::Stats(stats) => {
                Box::pin(restic.stats(access, stats, control, events)).await
            }
            Parameters::Unlock(unlock) => {
                Box::pin(restic.unlock(access, *unlock, control, events)).await
            }
            Parameters::Ls(_) | Parameters::Dump(_) => {
                failed(not_a_job(self.parameters.operation()))
            }
        }
    }

    fn backup(&self, options: &parameters::Backup) -> Backup {
        Backup {
            host: self.host.clone(),
            tag: self.tag.clone(),
            includes: self.includes.clone(),
            excludes: self.excludes.clone(),
            options: options.clone(),
        }
    }
}

/// The command's parameters, or the plain ones where there is nothing to choose.
///
/// # Errors
/// `invalid_parameters` when they are another operation's, or missing.
pub(crate) fn parameters_of(run: &Run) -> Result<Parameters, JobError> {
    let operation = run.operation;
    if !operation.is_job() {
        return Err(not_a_job(operation));
    }
    match &run.parameters {
        Some(parameters) if parameters.operation() == operation => Ok((**parameters).clone()),
        Some(_) => Err(invalid(operation, "are those of another operation")),
        None => plain(operation).ok_or_else(|| invalid(operation, "are missing")),
    }
}

fn plain(operation: Operation) -> Option<Parameters> {
    Some(match operation {
        Operation::Backup => Parameters::Backup(parameters::Backup::default()),
        Operation::Init => Parameters::Init,
        Operation::Snapshots => Parameters::Snapshots,
        Operation::Prune => Parameters::Prune(parameters::Prune::default()),
        Operation::Check => Parameters::Check(parameters::Check::default()),
        Operation::Unlock => Parameters::Unlock(parameters::Unlock::default()),
        _ => return None,
    })
}

fn invalid(operation: Operation, what: &str) -> JobError {
    let message = format!("The parameters of the `{}` job {what}.", operation.as_str());
    job_error("invalid_parameters", &message, "Start the job again from the server's own tools.")
}

/// Directories and files of snapshots are shown while somebody waits, not stored as a job's result.
fn not_a_job(operation: Operation) -> JobError {
    let message = format!("`{}` cannot be run as a job.", operation.as_str());
    job_error("operation_unsupported", &message, "Browse the snapshot instead.")
}

/// A directory of the job's own: the snapshot for people, the job's end so that no other has it.
fn fresh_name(run: &Run, restore: &parameters::Restore) -> String {
    let id: String = restore.snapshot_id.chars().filter(char::is_ascii_hexdigit).take(8).collect();
    let job = run.job_id.as_uuid().simple().to_string();
    format!("{id}-{}", &job[job.len() - 8..])
}

async fn list(restic: &Restic, access: &Access, host: &str) -> Outcome {
    match restic.snapshots(access, host).await {
        Ok(snapshots) => Outcome {
            status: Status::Succeeded,
            stats: Some(Payload::of(&Listed { snapshot_count: snapshots.len() as u64 })),
            exit_code: None,
            snapshot_id: None,
            error: None,
        },
        Err(error) => failed(error),
    }
}

fn failed(error: JobError) -> Outcome {
    Outcome {
        status: Status::Failed,
        exit_code: None,
        snapshot_id: None,
        stats: None,
        error: Some(error),
    }
}
