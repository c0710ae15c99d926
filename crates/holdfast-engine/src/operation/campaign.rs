//! What every operation with a repository has in common: it waits for the locks of others, leaves
//! none of its own, and tells the truth about how it ended.

use std::{ffi::OsString, time::Duration};

use holdfast_protocol::message::job::JobError;
use tokio::{io::DuplexStream, time::Instant};

use crate::{
    Access, Control, Outcome, Restic,
    event::Reporter,
    operation::unlock,
    restic::{
        call::Call,
        exit_code::Cause,
        session::{Report, Session},
    },
    run::Stop,
};

/// How much of restic's output waits to be read.
pub(crate) const TAP_SIZE: usize = 64 * 1024;

/// The calls of one job.
pub(crate) struct Campaign<'a> {
    pub(crate) session: Session<'a>,
    /// Whether a call may have left a lock.
    locks: bool,
    locked_since: Option<Instant>,
    delay: Duration,
}

impl<'a> Campaign<'a> {
    /// # Errors
    /// When the access is not acceptable, or the private directory of the job not usable.
    pub(crate) fn open(
        restic: &'a Restic,
        access: &'a Access,
        control: &'a Control,
        reporter: &'a mut Reporter,
    ) -> Result<Self, JobError> {
        let session = Session::open(restic, access, control, reporter)?;
        let delay = restic.patience().retry_min;
        Ok(Self { session, locks: true, locked_since: None, delay })
    }

    /// A job whose calls take no lock.
    pub(crate) fn without_locks(self) -> Self {
        Self { locks: false, ..self }
    }

    pub(crate) fn remark(&mut self, text: impl Into<String>) {
        self.session.reporter.remark(text);
    }

    /// Makes `call`, again and again as long as somebody else's lock is in the way, and for as long
    /// as that is worth it.
    ///
    /// # Errors
    /// How the job ends when the call was never made.
    pub(crate) async fn run(&mut self, call: &mut Call<'_>) -> Result<Report, Outcome> {
        loop {
            if self.session.control.is_cancelled() {
                return Err(Outcome::cancelled_idle());
            }
            let report = self.session.run(call).await;
            let report = report.map_err(|error| Outcome::failed(None, error))?;
            let in_the_way = report.cause == Cause::Locked && report.ended.stop.is_none();
            if !in_the_way || !self.wait_for_lock(&report).await {
                return Ok(report);
            }
        }
    }

    /// Makes `call`, and ends the job unless the call did what it was for.
    ///
    /// # Errors
    /// How the job ends.
    pub(crate) async fn complete(&mut self, call: &mut Call<'_>) -> Result<Report, Outcome> {
        let report = self.run(call).await?;
        if report.cause == Cause::Complete {
            return Ok(report);
        }
        Err(self.end(&report).await)
    }

    /// Makes a call of restic and reads what it writes while it writes; the reader sets the pace,
    /// and may leave early.
    ///
    /// # Errors
    /// How the job ends when the call was never made.
    pub(crate) async fn listen<T, Reading: Future<Output = T>>(
        &mut self,
        arguments: impl IntoIterator<Item = impl Into<OsString>>,
        read: impl FnOnce(DuplexStream) -> Reading,
    ) -> Result<(Report, T), Outcome> {
        let (mut tap, output) = tokio::io::duplex(TAP_SIZE);
        let running = async {
            let report = self.run(&mut Call::new(arguments).tapped(&mut tap)).await;
            // The reader waits for the end of the output.
            drop(tap);
            report
        };
        let (report, read) = tokio::join!(running, read(output));
        Ok((report?, read))
    }

    /// Listens to a call, and ends the job unless all of its output was there to be read.
    ///
    /// # Errors
    /// How the job ends.
    pub(crate) async fn listen_to_all<T, Reading: Future<Output = T>>(
        &mut self,
        arguments: impl IntoIterator<Item = impl Into<OsString>>,
        read: impl FnOnce(DuplexStream) -> Reading,
    ) -> Result<(Report, T), Outcome> {
        let (report, read) = self.listen(arguments, read).await?;
        // A call that was stopped may have lost some of its output, however it ended.
        let lost = report.ended.stop.is_some() || report.ended.cut;
        if report.cause == Cause::Complete && !lost {
            return Ok((report, read));
        }
        Err(self.end(&report).await)
    }

    /// The end of a job whose call did not do what it was for.
    pub(crate) async fn end(&mut self, report: &Report) -> Outcome {
        match report.ended.stop {
            None => failed(report),
            // Nobody wished for these ends.
            Some(Stop::TimedOut | Stop::SourceFailed) => {
                self.remove_own_lock().await;
                failed(report)
            }
            Some(Stop::Cancelled | Stop::PausedTooLong | Stop::Unwanted) => {
                self.remove_own_lock().await;
                Outcome::cancelled(report.ended.exit.code(), report.error())
            }
        }
    }

    /// A killed restic leaves its lock; its owner is gone, so restic itself takes it for stale. An
    /// interrupted one leaves it too when it was still taking it: for the moment in which it looks
    /// for rivals the lock is in the repository, and restic does not clean it up yet.
    async fn remove_own_lock(&mut self) {
        // Somebody waits for the end of the job, and the next backup removes stale locks too.
        const UNLOCK_WITHIN: Duration = Duration::from_secs(20);
        if !self.locks {
            return;
        }
        // The job's own control says "cancelled", which would end the unlock too.
        let unlocking = unlock::run(self.session.restic, self.session.access);
        let remark = match tokio::time::timeout(UNLOCK_WITHIN, unlocking).await {
            Ok(Ok(())) => "stale locks, if there were any, are removed".to_owned(),
            Ok(Err(error)) => format!("stale locks could not be removed: {}", error.message),
            Err(_) => "stale locks could not be removed in time".to_owned(),
        };
        self.remark(remark);
    }

    /// Waits a little; false when it has waited long enough.
    async fn wait_for_lock(&mut self, report: &Report) -> bool {
        let since = *self.locked_since.get_or_insert_with(Instant::now);
        if since.elapsed() >= self.session.restic.patience().lock_wait {
            return false;
        }
        let reason = report.transcript.reason().unwrap_or_default();
        self.remark(format!("the repository is locked, waiting: {reason}"));
        if let Err(error) = unlock::within(&mut self.session).await {
            self.remark(format!("stale locks could not be removed: {}", error.message));
        }
        self.pause_between_tries().await;
        true
    }

    /// Waits, twice as long each time; a cancel ends the wait.
    pub(crate) async fn pause_between_tries(&mut self) {
        let _ = tokio::time::timeout(self.delay, self.session.control.cancelled()).await;
        self.delay = (self.delay * 2).min(self.session.restic.patience().retry_max);
    }
}

pub(crate) fn failed(report: &Report) -> Outcome {
    Outcome {
        stats: report.transcript.summary().cloned(),
        ..Outcome::failed(report.ended.exit.code(), report.error())
    }
}
