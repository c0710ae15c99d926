//! One job, from the journal to its result.

use std::{fs, io, path::Path, time::Duration};

use holdfast_engine::{Access, Control, Outcome};
use holdfast_link::StoreError;
use holdfast_protocol::{
    JobId,
    message::job::{Finished, JobError, Status},
};
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    Context,
    attempts::{Attempts, Next, Rest},
    job_error,
    perform::Plan,
    report::Report,
    words,
};
use crate::{
    config::create_private_dir,
    policy::Policy,
    state::{Entry, Wanted},
};

/// Events that may wait for the reporter; the engine keeps what does not fit.
const EVENTS_MAX: usize = 64;

/// Runs the job and stores its result.
///
/// # Errors
/// When the disk refused to store what must be stored; restic has been ended then.
pub(super) async fn run(
    context: Context,
    entry: Entry,
    control: Control,
    rest: Rest,
    stopping: CancellationToken,
) -> Result<(), StoreError> {
    let job = entry.job_id();
    let (plan, access) = match prepare(&context, &entry) {
        Ok(prepared) => prepared,
        Err(error) => return context.refuse(job, error).await,
    };
    if context.state.intend(job).await? {
        let operation = entry.run.operation.as_str();
        tracing::info!(job_id = %job, operation, group = entry.run.tag, "job starts");
        let mut report = Report::new(&context, &entry);
        let tried = Box::pin(tried(&context, &plan, &access, (&control, &rest), &mut report));
        let (outcome, wait) = tried.await?;
        let outcome =
            if stopping.is_cancelled() { own_up(&context, job, outcome).await? } else { outcome };
        report.conclude(&words::end(plan.parameters(), &outcome));
        end(&context, &entry, outcome, wait).await?;
    }
    remove(&access.scratch_dir);
    Ok(())
}

/// Everything that can be refused before the job counts as tried.
fn prepare(context: &Context, entry: &Entry) -> Result<(Plan, Access), JobError> {
    let policy = Policy::load(context.directory.root())?;
    let plan = Plan::new(&entry.run, context.host_name(), &policy)?;
    let access = context.access_by_policy(&policy, &entry.run)?;
    if let Some(root) = policy.own_restore_root() {
        make_private(root)?;
    }
    make_private(&access.scratch_dir)?;
    Ok((plan, access))
}

fn make_private(directory: &Path) -> Result<(), JobError> {
    create_private_dir(directory).map_err(|error| {
        let message = format!("The agent could not create {}: {error}.", directory.display());
        let action = "Check the free space and the permissions of the agent's data directory.";
        job_error("scratch_unusable", &message, action)
    })
}

/// Performs it, with the pauses that are made. Says how long to wait before the next try, when
/// there is one.
async fn tried(
    context: &Context,
    plan: &Plan,
    access: &Access,
    (control, rest): (&Control, &Rest),
    report: &mut Report<'_>,
) -> Result<(Outcome, Option<Duration>), StoreError> {
    let attempts = Attempts::of(report.entry());
    loop {
        let outcome = perform(context, plan, access, control, report).await?;
        let Some(next) = attempts.after(&outcome, control) else { return Ok((outcome, None)) };
        report.tell(&words::between(attempts, next, &outcome));
        if let Next::Retry(wait) = next {
            return Ok((outcome, Some(wait)));
        }
        rest.during(control.resumed()).await;
        if control.is_cancelled() {
            let error = job_error("cancelled", "It was ended while it was paused.", "");
            let outcome = Outcome { status: Status::Cancelled, error: Some(error), ..outcome };
            return Ok((outcome, None));
        }
        report.go_on().await?;
        // What ended may have taken its private files away.
        if let Err(error) = make_private(&access.scratch_dir) {
            let outcome = Outcome { status: Status::Failed, error: Some(error), ..outcome };
            return Ok((outcome, None));
        }
    }
}

async fn perform(
    context: &Context,
    plan: &Plan,
    access: &Access,
    control: &Control,
    report: &mut Report<'_>,
) -> Result<Outcome, StoreError> {
    let restic = &context.restic;
    report.begin(&words::beginning(plan.parameters(), &report.entry().run, restic.version()));
    let (events, incoming) = mpsc::channel(EVENTS_MAX);
    let running =
        async { Ok::<_, StoreError>(plan.perform(restic, access, control, events).await) };
    // When the disk refuses a record, restic's future is dropped and with it the process: what it
    // did could not be told any more.
    let (outcome, ()) = tokio::try_join!(running, report.run(incoming))?;
    Ok(outcome)
}

async fn end(
    context: &Context,
    entry: &Entry,
    outcome: Outcome,
    wait: Option<Duration>,
) -> Result<(), StoreError> {
    let (job, now) = (entry.job_id(), Timestamp::now());
    let finished = Finished {
        job_id: job,
        status: outcome.status,
        exit_code: outcome.exit_code,
        finished_at: now,
        snapshot_id: outcome.snapshot_id,
        stats: outcome.stats,
        error: outcome.error,
        next_try: wait.map(|wait| entry.next_try(now, wait)),
    };
    tracing::info!(job_id = %job, status = finished.status.as_str(), "job ended");
    context.link.withdraw("job.progress", &job.to_string());
    context.state.finish(finished).await.map(drop)
}

/// A job that the stopping agent cancelled was not cancelled by a person: it is interrupted.
async fn own_up(context: &Context, job: JobId, outcome: Outcome) -> Result<Outcome, StoreError> {
    let entries = context.state.active_jobs().await?;
    let wanted = entries.iter().find(|entry| entry.job_id() == job).map(|entry| entry.wanted);
    if outcome.status != Status::Cancelled || wanted == Some(Wanted::Cancel) {
        return Ok(outcome);
    }
    let error = job_error(
        "agent_shutdown",
        "The agent was stopped while this job ran.",
        "Start it again: what a backup has uploaded already is reused.",
    );
    Ok(Outcome { status: Status::Interrupted, error: Some(error), ..outcome })
}

/// Removes a scratch directory. What stays behind is removed at the next start.
pub(crate) fn remove(scratch: &Path) {
    match fs::remove_dir_all(scratch) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(path = %scratch.display(), %error, "scratch files were left behind");
        }
        _ => {}
    }
}
