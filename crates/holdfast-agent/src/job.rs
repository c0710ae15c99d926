//! Jobs: what was promised, done and reported.
//!
//! ```text
//! journal ──▶ runner (one) ──▶ queue decides what may start
//!                └─▶ one task per running job: intent (synced) ─▶ restic ─▶ result (synced)
//!                                                        └─ events ─▶ report ─▶ link
//! results ──▶ listings (one): what the repository now holds, when the server can hear it
//! ```
//!
//! The journal leads and the runner follows: commands and slots only change the journal, and the
//! runner compares it with what runs. So a wish that comes while the runner is busy is never lost.

mod attempts;
mod hook;
mod listing;
mod log;
mod perform;
mod queue;
mod recovery;
mod report;
mod room;
mod runner;
mod task;
mod words;

use std::sync::Arc;

use holdfast_engine::{Access, Restic};
use holdfast_link::{Client, StoreError};
use holdfast_protocol::{
    JobId, RepositoryId,
    message::{
        command::Run,
        job::{Finished, JobError, Operation, Status},
    },
};
use jiff::Timestamp;

use crate::{config::Directory, policy::Policy, state::State};
pub use listing::run_listings;
pub(crate) use perform::parameters_of;
pub use queue::Limits;
pub use recovery::recover;
pub use runner::Runner;
pub(crate) use task::remove as remove_scratch;

/// What every job needs. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    /// The agent's directory.
    pub directory: Directory,
    /// Where results go when the server should have them soon.
    pub link: Client<State>,
    /// The restic that does the work.
    pub restic: Arc<Restic>,
    /// The agent's durable memory.
    pub state: Arc<State>,
}

impl Context {
    /// How to reach a repository, for a run whose scratch files are named by `scratch`; `None` when
    /// the configuration in force does not know it.
    fn access(&self, repository: RepositoryId, scratch: &str) -> Option<Access> {
        self.access_for(repository, Operation::Snapshots, scratch)
    }

    /// As [`Context::access`], with the credentials that `operation` needs.
    fn access_for(
        &self,
        repository: RepositoryId,
        operation: Operation,
        scratch: &str,
    ) -> Option<Access> {
        let settings = Arc::clone(&self.state.settings().borrow());
        let repository = settings.repository(repository)?;
        let (url, password, environment) = repository.credentials_for(operation);
        Some(Access {
            url,
            password,
            environment,
            ca_certificate: repository.ca_certificate.clone(),
            cache_dir: self.directory.cache_dir(),
            scratch_dir: self.directory.run_dir().join(scratch),
        })
    }

    /// As [`Context::access`] for the job of `run`, if the host's policy allows the repository.
    ///
    /// # Errors
    /// `repository_unknown` and `refused_by_policy`.
    fn access_by_policy(&self, policy: &Policy, run: &Run) -> Result<Access, JobError> {
        let scratch = run.job_id.to_string();
        let access = self.access_for(run.repository_id, run.operation, &scratch);
        let access = access.ok_or_else(|| {
            job_error(
                "repository_unknown",
                "The host's configuration does not contain the repository of this job.",
                "Check which repository the source group uses, then run it again.",
            )
        })?;
        let settings = Arc::clone(&self.state.settings().borrow());
        let name = settings.repository(run.repository_id).map(|it| it.name.as_str());
        policy.check_repository(name.unwrap_or_default(), access.url.expose())?;
        Ok(access)
    }

    /// What restic records as the host of a snapshot.
    fn host_name(&self) -> String {
        let settings = Arc::clone(&self.state.settings().borrow());
        settings.config.as_ref().map(|config| config.host_name.clone()).unwrap_or_default()
    }

    /// Ends a job that never ran.
    async fn refuse(&self, job: JobId, error: JobError) -> Result<(), StoreError> {
        tracing::warn!(job_id = %job, code = error.code, "job refused: {}", error.message);
        self.state.finish(without_result(job, Status::Failed, error)).await.map(drop)
    }
}

/// The end of a job that has nothing to show.
fn without_result(job_id: JobId, status: Status, error: JobError) -> Finished {
    Finished {
        job_id,
        status,
        exit_code: None,
        finished_at: Timestamp::now(),
        snapshot_id: None,
        stats: None,
        error: Some(error),
        next_try: None,
    }
}

/// An error for programs and people.
pub(crate) fn job_error(code: &str, message: &str, action: &str) -> JobError {
    JobError { code: code.to_owned(), message: message.to_owned(), action: action.to_owned() }
}

#[cfg(test)]
mod tests;
