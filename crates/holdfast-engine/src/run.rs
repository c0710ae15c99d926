//! One supervised child, from its start to the end of its whole process group.

pub(crate) mod lines;

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use holdfast_protocol::message::log::Source;
use nix::sys::signal::Signal;
use tokio::process::{self, ChildStderr, ChildStdout, Command};
use tokio::sync::watch;
use tokio::time::{Instant, Interval, MissedTickBehavior};

use crate::{
    Child, Control, Event, Patience,
    control::Wish,
    event::Reporter,
    process_group::ProcessGroup,
    run::lines::{LineReader, RawLine},
};

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Code(i32),
    Signal(i32),
}

impl Exit {
    pub(crate) fn code(self) -> Option<i32> {
        match self {
            Self::Code(code) => Some(code),
            Self::Signal(_) => None,
        }
    }
}

impl From<ExitStatus> for Exit {
    fn from(status: ExitStatus) -> Self {
        // A wait reports ended children only, so what has no code has a signal.
        status.code().map_or_else(|| Self::Signal(status.signal().unwrap_or(0)), Self::Code)
    }
}

/// Why we ended a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    Cancelled,
    PausedTooLong,
    TimedOut,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) exit: Exit,
    /// Set when the child was told to end. It may have done its work all the same.
    pub(crate) stop: Option<Stop>,
    /// It did not react to SIGINT, so it had no chance to remove its lock.
    pub(crate) killed: bool,
}

/// Takes what a child says.
pub(crate) trait Listener: Send {
    fn heard(&mut self, stream: Source, line: RawLine, reporter: &mut Reporter);
    /// The child goes on after a pause.
    fn resumed(&mut self) {}
}

/// The terms on which a child runs.
pub(crate) struct Terms<'a> {
    pub(crate) control: &'a Control,
    pub(crate) patience: &'a Patience,
    /// The longest run, if there is one.
    pub(crate) limit: Option<Duration>,
    /// The longest line that is kept, in bytes.
    pub(crate) line_max: usize,
}

/// Runs `command` until its whole process group has ended and its pipes are read.
///
/// # Errors
/// The system's error when the child could not be started or waited for.
///
/// # Cancel safety
/// Dropping the future kills the process group.
pub(crate) async fn supervise(
    mut command: Command,
    terms: Terms<'_>,
    reporter: &mut Reporter,
    listener: &mut dyn Listener,
) -> io::Result<Ended> {
    let mut leader = command.spawn()?;
    let child = Child::of_pid(leader.id().unwrap_or_default());
    let group = ProcessGroup::led_by(child);
    reporter.emit(Event::Spawned(child));
    let mut supervisor = Supervisor::new(group, terms, reporter, listener);
    let exit = supervisor.attend(&mut leader).await?;
    Ok(Ended { exit, stop: supervisor.stop, killed: supervisor.killed })
}

/// Where a child stands. The deadline that counts is the present state's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Running,
    Paused,
    /// Told to end; restic may clean up.
    Stopping,
    /// SIGKILL is on its way. There is no deadline: nothing more can be done.
    Killed,
    /// The leader has ended; its pipes are read to their end.
    Ended,
}

struct Supervisor<'a> {
    group: ProcessGroup,
    terms: Terms<'a>,
    reporter: &'a mut Reporter,
    listener: &'a mut dyn Listener,
    wishes: watch::Receiver<Wish>,
    ticks: Interval,
    state: State,
    deadline: Option<Instant>,
    stop: Option<Stop>,
    killed: bool,
}

enum Wake {
    Wish,
    Deadline,
    Exit(io::Result<ExitStatus>),
    Line(Source, Option<RawLine>),
    Tick,
}

impl<'a> Supervisor<'a> {
    fn new(
        group: ProcessGroup,
        terms: Terms<'a>,
        reporter: &'a mut Reporter,
        listener: &'a mut dyn Listener,
    ) -> Self {
        /// How often a slow listener of events is offered the backlog.
        const FLUSH_EVERY: Duration = Duration::from_millis(200);
        let wishes = terms.control.subscribe();
        let deadline = terms.limit.map(|limit| Instant::now() + limit);
        let mut ticks = tokio::time::interval(FLUSH_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            group,
            terms,
            reporter,
            listener,
            wishes,
            ticks,
            state: State::Running,
            deadline,
            stop: None,
            killed: false,
        }
    }

    async fn attend(&mut self, leader: &mut process::Child) -> io::Result<Exit> {
        let line_max = self.terms.line_max;
        let mut stdout = LineReader::new(leader.stdout.take(), line_max);
        let mut stderr = LineReader::new(leader.stderr.take(), line_max);
        let mut exit = None;
        loop {
            match self.next(leader, &mut stdout, &mut stderr).await {
                Wake::Wish => self.obey(),
                Wake::Deadline if self.state == State::Ended => break,
                Wake::Deadline => self.deadline_passed(),
                Wake::Exit(status) => exit = Some(self.leader_ended(status?)),
                Wake::Line(stream, Some(line)) => self.listener.heard(stream, line, self.reporter),
                Wake::Line(_, None) => {}
                Wake::Tick => self.reporter.flush(),
            }
            if exit.is_some() && !stdout.is_open() && !stderr.is_open() {
                break;
            }
        }
        exit.ok_or_else(|| io::Error::other("the child was lost"))
    }

    /// In order: what we are told, what time tells, what the child does, and its output last, so
    /// that a flood of output delays nothing.
    async fn next(
        &mut self,
        leader: &mut process::Child,
        stdout: &mut LineReader<ChildStdout>,
        stderr: &mut LineReader<ChildStderr>,
    ) -> Wake {
        tokio::select! {
            biased;
            Ok(()) = self.wishes.changed() => Wake::Wish,
            () = until(self.deadline) => Wake::Deadline,
            status = leader.wait(), if self.state != State::Ended => Wake::Exit(status),
            _ = self.ticks.tick() => Wake::Tick,
            line = stderr.next(), if stderr.is_open() => Wake::Line(Source::Stderr, line),
            line = stdout.next(), if stdout.is_open() => Wake::Line(Source::Stdout, line),
        }
    }

    fn obey(&mut self) {
        let wish = *self.wishes.borrow_and_update();
        match self.state {
            State::Running | State::Paused if wish.cancelled => self.stop(Stop::Cancelled),
            State::Running if wish.paused => self.pause(),
            State::Paused if !wish.paused => self.resume(),
            _ => {}
        }
    }

    fn deadline_passed(&mut self) {
        match self.state {
            State::Running => self.stop(Stop::TimedOut),
            State::Paused => {
                self.reporter.remark(
                    "the pause outlasted what restic's lock bears: the job is stopped; \
                     started again, it goes on with what was uploaded",
                );
                self.stop(Stop::PausedTooLong);
            }
            State::Stopping => self.kill(),
            State::Killed | State::Ended => self.deadline = None,
        }
    }

    fn pause(&mut self) {
        self.group.signal(Signal::SIGSTOP);
        self.enter(State::Paused, Some(self.terms.patience.pause_max));
        self.reporter.emit(Event::Paused);
    }

    fn resume(&mut self) {
        self.group.signal(Signal::SIGCONT);
        self.enter(State::Running, self.terms.limit);
        self.listener.resumed();
        self.reporter.emit(Event::Resumed);
    }

    fn stop(&mut self, why: Stop) {
        // A stopped process would take the interrupt only after somebody continued it.
        self.group.signal(Signal::SIGCONT);
        self.group.signal(Signal::SIGINT);
        self.stop = Some(why);
        self.enter(State::Stopping, Some(self.terms.patience.cancel_grace));
    }

    fn kill(&mut self) {
        self.reporter.remark("restic did not end when it was interrupted, so it was killed");
        self.group.signal(Signal::SIGKILL);
        self.killed = true;
        self.enter(State::Killed, None);
    }

    fn leader_ended(&mut self, status: ExitStatus) -> Exit {
        // Helpers have no purpose without restic. What it wrote last is still in the pipes, and
        // only a process that left the group can keep them open, which is not waited for long.
        self.group.leader_ended();
        self.enter(State::Ended, Some(self.terms.patience.pipe_grace));
        Exit::from(status)
    }

    fn enter(&mut self, state: State, limit: Option<Duration>) {
        tracing::debug!(from = ?self.state, to = ?state, why = ?self.stop, "restic's child");
        self.state = state;
        self.deadline = limit.map(|limit| Instant::now() + limit);
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
