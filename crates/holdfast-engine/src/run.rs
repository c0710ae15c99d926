//! One supervised child, from its start to the end of its whole process group.

pub(crate) mod feed;
pub(crate) mod lines;
pub(crate) mod tap;

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use holdfast_protocol::message::log::Source;
use nix::sys::signal::Signal;
use tokio::io::DuplexStream;
use tokio::process::{self, ChildStderr, Command};
use tokio::sync::watch;
use tokio::time::{Instant, Interval, MissedTickBehavior};

use crate::{
    Child, Control, Event, Patience,
    control::Wish,
    event::Reporter,
    process_group::ProcessGroup,
    run::{
        feed::{Feed, FeedEvent},
        lines::{LineReader, RawLine},
        tap::{Flow, Stdout},
    },
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
    /// The command whose output is backed up failed.
    SourceFailed,
    /// Whoever took its output wants no more of it.
    Unwanted,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) exit: Exit,
    /// Set when the child was told to end. It may have done its work all the same.
    pub(crate) stop: Option<Stop>,
    /// It did not react to SIGINT, so it had no chance to remove its lock.
    pub(crate) killed: bool,
    /// Some of its standard output was not read.
    pub(crate) cut: bool,
}

/// Takes what a child says.
pub(crate) trait Listener: Send {
    fn heard(&mut self, stream: Source, line: RawLine, reporter: &mut Reporter);
    /// The child has this number.
    fn started(&mut self, _pid: u32) {}
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

/// What a child's standard input and output are connected to. By default it reads nothing, and the
/// listener hears its output line by line.
#[derive(Default)]
pub(crate) struct Connections<'a> {
    /// Takes the standard output as it is, at its own pace.
    pub(crate) tap: Option<&'a mut DuplexStream>,
    /// The command whose output the child reads; the caller has connected the two.
    pub(crate) feed: Option<&'a mut Feed>,
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
    connections: Connections<'_>,
    terms: Terms<'_>,
    reporter: &mut Reporter,
    listener: &mut dyn Listener,
) -> io::Result<Ended> {
    let mut leader = command.spawn()?;
    // It may hold an end of a pipe to the child; the other end must see when the child is gone.
    drop(command);
    let child = Child::of_pid(leader.id().unwrap_or_default());
    let group = ProcessGroup::led_by(child);
    listener.started(child.pid);
    reporter.emit(Event::Spawned(child));
    let mut supervisor = Supervisor::new(group, terms, reporter, listener);
    supervisor.feed = connections.feed;
    let mut stdout = Stdout::of(leader.stdout.take(), connections.tap, supervisor.terms.line_max);
    let exit = supervisor.attend(&mut leader, &mut stdout).await?;
    Ok(Ended { exit, stop: supervisor.stop, killed: supervisor.killed, cut: stdout.is_open() })
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
    feed: Option<&'a mut Feed>,
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
    Output(Flow),
    Feed(FeedEvent),
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
            feed: None,
            wishes,
            ticks,
            state: State::Running,
            deadline,
            stop: None,
            killed: false,
        }
    }

    async fn attend(
        &mut self,
        leader: &mut process::Child,
        stdout: &mut Stdout<'_>,
    ) -> io::Result<Exit> {
        let mut stderr = LineReader::new(leader.stderr.take(), self.terms.line_max);
        let mut exit = None;
        loop {
            match self.next(leader, stdout, &mut stderr).await {
                // What it wrote last may wait for a reader that never comes.
                Wake::Wish if self.state == State::Ended && stdout.is_blocked() => {
                    if self.wishes.borrow_and_update().cancelled {
                        self.stop = Some(Stop::Cancelled);
                    }
                }
                Wake::Wish => self.obey(),
                // The reader of the output is slow, and what it has not taken yet is still good.
                Wake::Deadline if self.state == State::Ended && stdout.is_blocked() => {
                    self.enter(State::Ended, Some(self.terms.patience.pipe_grace));
                }
                Wake::Deadline if self.state == State::Ended => break,
                Wake::Deadline => self.deadline_passed(),
                Wake::Exit(status) => exit = Some(self.leader_ended(status?)),
                Wake::Line(stream, Some(line)) => self.listener.heard(stream, line, self.reporter),
                Wake::Line(_, None) | Wake::Output(Flow::Moving) => {}
                Wake::Output(Flow::Line(line)) => {
                    self.listener.heard(Source::Stdout, line, self.reporter);
                }
                Wake::Output(Flow::Refused) => self.unwanted(),
                Wake::Feed(event) => self.fed(event),
                Wake::Tick => self.reporter.flush(),
            }
            if exit.is_some() && self.stop.is_some() {
                stdout.give_up();
            }
            if exit.is_some() && !stdout.is_open() && !stderr.is_open() {
                break;
            }
        }
        exit.ok_or_else(|| io::Error::other("the child was lost"))
    }

    /// In order: what we are told, what time tells, what the children do, and their output last, so
    /// that a flood of output delays nothing.
    async fn next(
        &mut self,
        leader: &mut process::Child,
        stdout: &mut Stdout<'_>,
        stderr: &mut LineReader<ChildStderr>,
    ) -> Wake {
        tokio::select! {
            biased;
            Ok(()) = self.wishes.changed() => Wake::Wish,
            () = until(self.deadline) => Wake::Deadline,
            status = leader.wait(), if self.state != State::Ended => Wake::Exit(status),
            event = fed(self.feed.as_deref_mut()) => Wake::Feed(event),
            _ = self.ticks.tick() => Wake::Tick,
            line = stderr.next(), if stderr.is_open() => Wake::Line(Source::Stderr, line),
            flow = stdout.next(), if stdout.is_open() => Wake::Output(flow),
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

    /// A command that failed has given a part only, which must not become a good snapshot: restic,
    /// which still waits for the rest, is told to end.
    fn fed(&mut self, event: FeedEvent) {
        match event {
            FeedEvent::Said(line) => self.reporter.log(Source::Stderr, line),
            FeedEvent::Done => {}
            FeedEvent::Failed => self.stop_early(Stop::SourceFailed),
        }
    }

    /// Also a child that has ended did not do what it was for when nobody took all of its output.
    fn unwanted(&mut self) {
        self.stop_early(Stop::Unwanted);
        self.stop.get_or_insert(Stop::Unwanted);
    }

    fn stop_early(&mut self, why: Stop) {
        if matches!(self.state, State::Running | State::Paused) {
            self.stop(why);
        }
    }

    fn deadline_passed(&mut self) {
        match self.state {
            State::Running => self.stop(Stop::TimedOut),
            State::Paused => {
                self.reporter.remark(
                    "the pause outlasted what restic's lock bears: restic is stopped; begun again, \
                     it goes on with what was uploaded",
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
        self.enter(State::Stopping, Some(self.grace()));
    }

    /// A restic that waits for its input hears no interrupt, and its input must not end: that would
    /// make it store a part as if it were all.
    fn grace(&self) -> Duration {
        const FED_GRACE: Duration = Duration::from_secs(2);
        let grace = self.terms.patience.cancel_grace;
        if self.feed.is_some() { grace.min(FED_GRACE) } else { grace }
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

async fn fed(feed: Option<&mut Feed>) -> FeedEvent {
    match feed {
        Some(feed) => feed.next().await,
        None => std::future::pending().await,
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
