//! NerdBackup's agents: a socket without a handshake, and HTTP beside it.
//!
//! What an agent asks over HTTP goes to whoever has its host: the conversation on its socket, or,
//! while there is none, a counter that is open as long as the agent keeps asking.

use std::{collections::BTreeSet, time::Duration};

use holdfast_protocol::{
    HostId, Message,
    dialect::{
        Dialect, Ledger, Said, convert,
        nerdbackup::{
            self as words, AgentMessage, Command, JobReport, JobStarted, Progress,
            http::PendingBackup,
        },
    },
    message::{
        command::{Outcome, Verb},
        config,
        job::{JobError, Operation, Started},
        log, schedule,
    },
};
use jiff::Timestamp;
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{
    Dialects,
    converse::{Breach, Heard, Tongue, converse},
    socket::{Frame, Socket},
};
use crate::hub::desk::{Desk, DeskError};

/// What an agent asks over HTTP.
#[derive(Debug)]
pub(crate) enum Ask {
    /// The body of a heartbeat, a progress or a report: the same as on the socket.
    Say(Box<AgentMessage>),
    /// Lines of its log.
    Lines(Vec<String>),
    /// Backups it should start.
    PendingBackups,
    /// It has fetched its configuration.
    Config,
}

/// What it is answered.
#[derive(Debug)]
pub(crate) enum Answer {
    /// It was taken; this is the configuration that the agent has been told of.
    Taken(i64),
    /// The backups to start.
    Backups(Vec<PendingBackup>),
    /// The configuration and the schedules.
    Config(Box<(config::Update, schedule::Set)>),
}

/// One question and who waits for the answer.
#[derive(Debug)]
pub(crate) struct Call {
    ask: Ask,
    reply: oneshot::Sender<Answer>,
}

/// Nobody could answer: the server is busy or stopping, or a newer connection has the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the server cannot answer right now")]
pub(crate) struct Unanswered;

/// Questions of one host that may wait.
const CALLS_MAX: usize = 16;
/// An agent without a socket sends a heartbeat every minute. After this long without one it is
/// gone.
const COUNTER_OPEN: Duration = Duration::from_secs(150);
/// How long an answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// How many groups may have a run that the agent began by itself.
const BEGUN_MAX: usize = 256;
/// How many log lines of one call are kept.
const LINES_MAX: usize = 1000;

/// Serves an agent on its socket.
pub(super) async fn serve(
    dialects: &Dialects,
    host: HostId,
    socket: Socket,
    stop: CancellationToken,
) -> Result<(), DeskError> {
    let desk = match dialects.hub().open_desk(host).await {
        Ok(desk) => desk,
        Err(error) => {
            socket.close(1013, "try again later").await;
            return Err(error);
        }
    };
    let (sender, calls) = mpsc::channel(CALLS_MAX);
    dialects.counters().insert(host, sender);
    converse(socket, desk, Words::default(), calls, stop).await
}

impl Dialects {
    /// Answers what an agent asked over HTTP.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub(crate) async fn ask(&self, host: HostId, ask: Ask) -> Result<Answer, Unanswered> {
        let sender = self.counter(host).await?;
        let (reply, answer) = oneshot::channel();
        sender.try_send(Call { ask, reply }).map_err(|_| Unanswered)?;
        timeout(ANSWER_WITHIN, answer).await.map_err(|_| Unanswered)?.map_err(|_| Unanswered)
    }

    /// Whoever has the host; a new counter when nobody has.
    async fn counter(&self, host: HostId) -> Result<mpsc::Sender<Call>, Unanswered> {
        let open = |sender: &&mpsc::Sender<Call>| !sender.is_closed();
        if let Some(sender) = self.counters().get(&host).filter(open) {
            return Ok(sender.clone());
        }
        let desk = self.hub().open_desk(host).await.map_err(|_| Unanswered)?;
        let (sender, calls) = mpsc::channel(CALLS_MAX);
        let mut counters = self.counters();
        counters.retain(|_, sender| !sender.is_closed());
        counters.insert(host, sender.clone());
        drop(counters);
        let stop = self.inner.stop.child_token();
        self.inner.tasks.spawn(attend(desk, calls, stop));
        Ok(sender)
    }
}

/// Answers an agent that has no socket, until it stops asking.
async fn attend(mut desk: Desk, mut calls: mpsc::Receiver<Call>, stop: CancellationToken) {
    let mut words = Words { polled: true, ..Words::default() };
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            delivery = desk.delivery() => {
                if delivery.close.is_some() {
                    break;
                }
            }
            call = timeout(COUNTER_OPEN, calls.recv()) => match call {
                Ok(Some(call)) => {
                    if let Err(error) = words.call(call, &mut desk).await {
                        tracing::warn!(host = %desk.host(), error = %super::chain(&error),
                            "an agent was not answered");
                        break;
                    }
                }
                _ => break,
            }
        }
    }
    calls.close();
    desk.leave().await;
}

/// The words of one connection.
#[derive(Debug, Default)]
struct Words {
    /// The agent has no socket and asks for its commands.
    polled: bool,
    /// Groups of which the agent has begun a run by itself.
    begun: BTreeSet<String>,
}

impl Tongue for Words {
    fn dialect(&self) -> Dialect {
        Dialect::Nerdbackup
    }

    fn hear(&mut self, frame: Frame, ledger: &mut Ledger, now: Timestamp) -> Result<Heard, Breach> {
        let bytes = match frame {
            Frame::Text(text) => text.into_bytes(),
            Frame::Binary(bytes) => bytes,
            _ => return Ok(Heard::default()),
        };
        let message = AgentMessage::decode(&bytes).map_err(|error| {
            tracing::debug!(%error, "a frame is not of this dialect");
            Breach { code: 1007, reason: "not a message of this dialect" }
        })?;
        Ok(Heard::said(self.said(&message, ledger, now)))
    }

    async fn say(&mut self, order: &Message, desk: &mut Desk) -> Result<Vec<Frame>, JobError> {
        let command = Command::of(order, desk.ledger());
        let frame = |command: Command| Frame::Text(command.encode());
        Ok(command.unwrap_or_default().map(frame).into_iter().collect())
    }

    fn cancels_silently(&self) -> bool {
        true
    }

    async fn call(&mut self, call: Call, desk: &mut Desk) -> Result<(), DeskError> {
        let answer = match call.ask {
            Ask::Say(message) => {
                for said in self.said(&message, desk.ledger(), Timestamp::now()) {
                    hear(said, desk).await?;
                }
                Answer::Taken(desk.config_told())
            }
            Ask::Lines(lines) => {
                log(lines, desk).await?;
                Answer::Taken(desk.config_told())
            }
            Ask::PendingBackups if self.polled => Answer::Backups(pending(desk).await?),
            Ask::PendingBackups => Answer::Backups(Vec::new()),
            Ask::Config => {
                let config = desk.config().await?;
                desk.learn_groups().await?;
                desk.told_config(config.0.version).await?;
                Answer::Config(Box::new(config))
            }
        };
        // Who asked may have left.
        let _ = call.reply.send(answer);
        Ok(())
    }
}

/// Log lines come without their job: they belong to the one that runs, or to none.
async fn log(lines: Vec<String>, desk: &mut Desk) -> Result<(), DeskError> {
    let Some(job_id) = desk.ledger().sole_job() else { return Ok(()) };
    let now = Timestamp::now();
    let ledger = desk.ledger();
    let lines = lines.into_iter().take(LINES_MAX).filter_map(|line| {
        let payload = line.chars().take(4096).collect();
        let seq = ledger.next_line(job_id)?;
        Some(log::Line { seq, ts: now, stream: log::Source::Event, payload })
    });
    let stream = log::Stream { job_id, lines: lines.collect() };
    desk.hear(Message::LogStream(stream)).await
}

impl Words {
    /// What a message says, with what must be known before it: a run that the agent began by itself
    /// gets its start told by the first word that places it.
    fn said(&mut self, message: &AgentMessage, ledger: &Ledger, now: Timestamp) -> Vec<Said> {
        let mut all: Vec<Said> = self.unasked(message, ledger).into_iter().collect();
        all.extend(words::hear_agent(message, ledger, now));
        all
    }

    fn unasked(&mut self, message: &AgentMessage, ledger: &Ledger) -> Option<Said> {
        let (job_id, group, started_at) = match message {
            AgentMessage::JobStarted(JobStarted { job_id, repo_id: Some(group), status }) => {
                if job_id.is_empty() && status == "running" && self.begun.len() < BEGUN_MAX {
                    self.begun.insert(group.clone());
                }
                return None;
            }
            // A progress that comes late, of a run that has ended, begins no other.
            AgentMessage::Progress(progress) if self.begun.contains(&progress.repo_id) => {
                of_progress(progress, ledger)?
            }
            AgentMessage::JobReport(report) => {
                self.begun.remove(&report.repo_id);
                of_report(report, ledger)?
            }
            _ => return None,
        };
        if ledger.job(job_id).is_some() {
            return None;
        }
        Some(Said::Message(Message::JobStarted(Started {
            job_id,
            operation: Operation::Backup,
            started_at,
            attempt: 1,
            tag: group,
            schedule_id: None,
            scheduled_at: None,
        })))
    }
}

type Begun = (holdfast_protocol::JobId, String, Timestamp);

fn of_progress(progress: &Progress, ledger: &Ledger) -> Option<Begun> {
    // Two open jobs of the group cannot be told apart, and neither is a third.
    let shared = ledger.jobs().any(|job| ledger.group_of(job) == progress.repo_id);
    if !progress.job_id.is_empty() || progress.repo_id.is_empty() || shared {
        return None;
    }
    let started_at = convert::time_of_text(&progress.started_at)?;
    let job = ledger.unasked_job(&progress.repo_id, started_at);
    Some((job, progress.repo_id.clone(), started_at))
}

/// A report of another server's job, or one that this server has forgotten.
fn of_report(report: &JobReport, ledger: &Ledger) -> Option<Begun> {
    if report.dashboard_job_id.is_empty() || report.operation != "backup" {
        return None;
    }
    let job = ledger.job_named(&report.dashboard_job_id);
    Some((job, report.repo_id.clone(), report.started_at.known()?))
}

async fn hear(said: Said, desk: &mut Desk) -> Result<(), DeskError> {
    match said {
        Said::Introduction(introduction) => desk.introduce(&introduction).await,
        Said::Message(message) => desk.hear(message).await,
        Said::Other { .. } | Said::Unplaced { .. } => Ok(()),
    }
}

/// The backups that wait, for an agent that asks for them. One that was handed out counts as taken;
/// if the answer was lost on the way, the silence about it ends the job.
async fn pending(desk: &mut Desk) -> Result<Vec<PendingBackup>, DeskError> {
    let mut backups = Vec::new();
    let orders = desk.orders().await?;
    for order in orders {
        match order.message {
            Message::CommandRun(run) => {
                let known = desk.ledger().job(run.job_id).is_some();
                if known || desk.has_ended(run.job_id).await? {
                    continue;
                }
                if desk.is_unwanted(run.job_id).await? {
                    let reason = super::converse::cancelled();
                    let status = holdfast_protocol::message::job::Status::Cancelled;
                    desk.end_job(run.job_id, status, reason).await?;
                    continue;
                }
                backups.push(PendingBackup {
                    job_id: run.job_id.to_string(),
                    repo_id: run.tag.clone(),
                    created_at: convert::text_of_time(Timestamp::now()),
                });
                desk.open_job(run.job_id, &run.tag);
                let taken =
                    Outcome { job_id: run.job_id, command: Verb::Run, accepted: true, error: None };
                desk.hear(Message::CommandResult(taken)).await?;
            }
            // Without a socket nothing can be stopped; the wish is kept with the job, and the
            // socket's conversation sees it.
            Message::CommandCancel(cancel) => desk.ledger().mark_cancelling(cancel.job_id),
            _ => {}
        }
    }
    desk.settle(desk.taken()).await?;
    Ok(backups)
}

#[cfg(test)]
mod tests {
    use holdfast_protocol::{JobId, dialect::OpenJob};
    use uuid::Uuid;

    use super::*;

    fn progress(text: &str) -> AgentMessage {
        AgentMessage::decode(text.as_bytes()).unwrap()
    }

    #[test]
    fn the_first_word_about_a_run_of_its_own_tells_its_start() {
        let mut ledger = Ledger::new(HostId::from_uuid(Uuid::from_u128(1)));
        let frame = progress(
            r#"{"type":"progress","data":{"repo_id":"home","percent_done":0.5,
                "bytes_processed":1,"files_processed":1,"started_at":"2026-11-21T10:00:00+01:00"}}"#,
        );
        let mut words = Words::default();
        let late = words.said(&frame, &ledger, Timestamp::UNIX_EPOCH);
        assert!(matches!(&late[..], [Said::Message(Message::JobProgress(_))]), "{late:?}");
        let began = progress(
            r#"{"type":"job_started","data":{"job_id":"","repo_id":"home","status":"running"}}"#,
        );
        words.said(&began, &ledger, Timestamp::UNIX_EPOCH);
        let all = words.said(&frame, &ledger, Timestamp::UNIX_EPOCH);
        let Said::Message(Message::JobStarted(started)) = &all[0] else { panic!("{all:?}") };
        assert_eq!(started.tag, "home");
        let Said::Message(Message::JobProgress(progress)) = &all[1] else { panic!("{all:?}") };
        assert_eq!(progress.job_id, started.job_id);
        ledger.open(started.job_id, OpenJob::of_group("home"));
        assert_eq!(words.said(&frame, &ledger, Timestamp::UNIX_EPOCH).len(), 1);
    }

    #[test]
    fn progress_of_a_job_that_was_ordered_begins_no_other() {
        let mut ledger = Ledger::new(HostId::from_uuid(Uuid::from_u128(1)));
        let ours = JobId::from_uuid(Uuid::from_u128(7));
        ledger.open(ours, OpenJob::of_group("home"));
        let frame = progress(
            r#"{"type":"progress","data":{"repo_id":"home","percent_done":0.5,
                "bytes_processed":1,"files_processed":1,"started_at":"2026-11-21T10:00:00Z"}}"#,
        );
        let all = Words::default().said(&frame, &ledger, Timestamp::UNIX_EPOCH);
        let [Said::Message(Message::JobProgress(progress))] = &all[..] else { panic!("{all:?}") };
        assert_eq!(progress.job_id, ours);
    }
}
