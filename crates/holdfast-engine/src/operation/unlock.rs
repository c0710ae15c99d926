//! `restic unlock`: removes stale locks, and live ones only when that is asked for in so many
//! words.

use holdfast_protocol::message::{job::JobError, parameters::Unlock, result::Unlocked};

use crate::{
    Access, Control, Outcome, Restic,
    event::Reporter,
    operation::campaign::Campaign,
    restic::{call::Call, exit_code::Cause, session::Session},
};

/// Removes stale locks, outside of any job.
pub(crate) async fn run(restic: &Restic, access: &Access) -> Result<(), JobError> {
    let (control, mut reporter) = (Control::new(), Reporter::silent());
    let mut session = Session::open(restic, access, &control, &mut reporter)?;
    within(&mut session).await
}

/// The same as a step of a longer operation.
pub(crate) async fn within(session: &mut Session<'_>) -> Result<(), JobError> {
    let report = session.run(&mut Call::new(["unlock"]).brief()).await?;
    match report.cause {
        Cause::Complete if report.ended.stop.is_none() => Ok(()),
        _ => Err(report.error()),
    }
}

/// Removes locks as a job, and tells how many.
pub(crate) async fn job(
    restic: &Restic,
    access: &Access,
    unlock: Unlock,
    control: &Control,
    reporter: &mut Reporter,
) -> Result<Outcome, Outcome> {
    let mut campaign = Campaign::open(restic, access, control, reporter)?.without_locks();
    let before = locks(&mut campaign).await?;
    let all = unlock.remove_all.then_some("--remove-all");
    let call = &mut Call::new(["unlock"].into_iter().chain(all)).brief();
    let exit_code = campaign.complete(call).await?.ended.exit.code();
    let locks_left = locks(&mut campaign).await?;
    let result = Unlocked { locks_left, locks_removed: before.saturating_sub(locks_left) };
    Ok(Outcome::succeeded(exit_code, &result))
}

/// How many locks there are. restic does not tell how many it removed, or tells it in each version
/// otherwise.
async fn locks(campaign: &mut Campaign<'_>) -> Result<u64, Outcome> {
    let call = &mut Call::new(["list", "locks", "--no-lock"]).brief().capturing();
    let report = campaign.complete(call).await?;
    let is_id = |line: &&str| line.len() == 64 && line.bytes().all(|b| b.is_ascii_hexdigit());
    Ok(report.transcript.captured().lines().filter(is_id).count() as u64)
}
