//! `restic unlock`: removes stale locks, never live ones (it is never called with `--remove-all`).

use holdfast_protocol::message::job::JobError;

use crate::{
    Access, Control, Restic,
    event::Reporter,
    restic::{exit_code::Cause, session::Session},
};

pub(crate) async fn run(restic: &Restic, access: &Access) -> Result<(), JobError> {
    let (control, mut reporter) = (Control::new(), Reporter::silent());
    let mut session = Session::open(restic, access, &control, &mut reporter)?;
    within(&mut session).await
}

/// The same as a step of a longer operation.
pub(crate) async fn within(session: &mut Session<'_>) -> Result<(), JobError> {
    let report = session.run_brief(&["unlock"]).await?;
    match report.cause {
        Cause::Complete if report.ended.stop.is_none() => Ok(()),
        _ => Err(report.error()),
    }
}
