//! What is remembered of a child's words: enough to judge its end and to tell people why.

use std::collections::{BTreeSet, VecDeque};

use holdfast_protocol::{Payload, message::log::Source};
use tokio::time::Instant;

use crate::{
    Event,
    event::{Reporter, truncate},
    progress::Meter,
    restic::{
        deletion::Deletion,
        findings::Findings,
        output::{Line, plain},
        redactor::Redactor,
        session::ANSWER_MAX,
        step::Step,
    },
    run::{Exit, Listener, lines::RawLine},
};

/// How many bytes of a remembered line are kept.
const LINE_MAX: usize = 512;

/// Listens to one child. Bounded, whatever the child says.
#[derive(Debug)]
pub(crate) struct Transcript {
    redactor: Redactor,
    meter: Meter,
    /// Keep standard output instead of logging it.
    capturing: bool,
    captured: String,
    /// The last lines of standard error.
    tail: VecDeque<String>,
    exit_error: Option<String>,
    /// Files that could not be read; `first_item` says why for the first of them.
    items: BTreeSet<String>,
    first_item: Option<String>,
    /// Paths that vanished before restic came to them.
    skipped: Vec<String>,
    snapshot_id: Option<String>,
    summary: Option<Payload>,
    findings: Findings,
    deletion: Deletion,
}

impl Transcript {
    /// A transcript; `capturing`, it keeps standard output instead of passing it on.
    pub(crate) fn new(redactor: Redactor, capturing: bool) -> Self {
        Self {
            redactor,
            meter: Meter::default(),
            capturing,
            captured: String::new(),
            tail: VecDeque::new(),
            exit_error: None,
            items: BTreeSet::new(),
            first_item: None,
            skipped: Vec::new(),
            snapshot_id: None,
            summary: None,
            findings: Findings::default(),
            deletion: Deletion::default(),
        }
    }

    /// Everything that says why restic ended.
    pub(crate) fn said(&self) -> String {
        let tail = self.tail.iter().map(String::as_str);
        let lines: Vec<_> = tail.chain(self.exit_error.as_deref()).collect();
        lines.join("\n")
    }

    /// The one line that says best why restic ended.
    pub(crate) fn reason(&self) -> Option<String> {
        let last = |start: &str| self.tail.iter().rev().find(|line| line.starts_with(start));
        let telling = || last("Fatal:").or_else(|| last("unable to ")).or(self.tail.back());
        let line = self.exit_error.as_ref().or_else(telling)?;
        let line = line.lines().next()?.trim_start_matches("Fatal: ").trim_end_matches('.');
        Some(line.to_owned())
    }

    pub(crate) fn snapshot_id(&self) -> Option<&str> {
        self.snapshot_id.as_deref()
    }

    pub(crate) fn summary(&self) -> Option<&Payload> {
        self.summary.as_ref()
    }

    /// What was kept of standard output.
    pub(crate) fn captured(&self) -> &str {
        &self.captured
    }

    /// Whether restic passed over an id because no snapshot has it.
    pub(crate) fn names_unknown_snapshot(&self) -> bool {
        let passes_over =
            |line: &String| line.starts_with("Ignoring ") && line.contains("no matching ID found");
        self.tail.iter().any(passes_over)
    }

    /// The lines restic wrote in the middle of its work that mean something to the operation.
    pub(crate) fn findings(&self) -> &Findings {
        &self.findings
    }

    /// Why something that was to be deleted is still there, if it is.
    pub(crate) fn not_deleted(&self, exit: Exit) -> Option<&str> {
        self.deletion.refused(exit == Exit::Code(0))
    }

    /// How many files could not be read, and the first of them with its reason.
    pub(crate) fn unreadable(&self) -> (usize, Option<&str>) {
        (self.items.len(), self.first_item.as_deref())
    }

    /// Paths that did not exist for restic. Some versions end with 0 all the same.
    pub(crate) fn skipped(&self) -> &[String] {
        &self.skipped
    }

    fn heard_line(&mut self, stream: Source, line: Line, reporter: &mut Reporter) {
        match line {
            Line::Status(status) => {
                let progress = self.meter.measure(status, Instant::now());
                reporter.emit(Event::Progress(progress));
            }
            Line::Step(step) => self.step(stream, &step, reporter),
            Line::VerboseStatus => {}
            Line::Summary(summary, text) => {
                self.snapshot_id = summary.snapshot_id.filter(|id| is_snapshot_id(id));
                self.summary = Payload::from_text(text).ok();
            }
            Line::Error(error) => {
                let text = plain(&format!("{}: {}", error.item, error.reason()));
                let text = self.redactor.redact(text);
                self.unreadable_item(error.item, &text);
                self.log(stream, &text, reporter);
            }
            Line::ExitError(error) => {
                let message = self.redactor.redact(error.message);
                self.exit_error = Some(message.chars().take(4 * LINE_MAX).collect());
                self.log(stream, &message, reporter);
            }
            Line::Text(text) if text.is_empty() => {}
            Line::Text(text) => self.text(stream, &text, reporter),
        }
    }

    /// restic repeats a step's line while it works on it; only the last one is worth a log line.
    fn step(&mut self, stream: Source, step: &Step, reporter: &mut Reporter) {
        reporter.emit(Event::Progress(step.to_progress()));
        if step.is_done() {
            self.log(stream, &step.text, reporter);
        }
    }

    fn unreadable_item(&mut self, item: String, text: &str) {
        const ITEMS_MAX: usize = 10_000;
        if self.items.len() < ITEMS_MAX {
            self.items.insert(item);
        }
        self.first_item.get_or_insert_with(|| {
            let mut text = text.to_owned();
            truncate(&mut text, LINE_MAX);
            text
        });
    }

    fn text(&mut self, stream: Source, text: &str, reporter: &mut Reporter) {
        const TAIL_LINES: usize = 40;
        self.findings.hear(stream, text);
        if stream == Source::Stderr {
            self.skipped_path(text);
            self.not_restored(text);
            if self.tail.len() == TAIL_LINES {
                self.tail.pop_front();
            }
            let mut line = self.redactor.redact(text.to_owned());
            truncate(&mut line, LINE_MAX);
            self.deletion.hear(&line);
            self.tail.push_back(line);
        }
        self.log(stream, text, reporter);
    }

    fn skipped_path(&mut self, text: &str) {
        const SKIPPED_MAX: usize = 100;
        if let Some(path) = text.strip_suffix(" does not exist, skipping")
            && self.skipped.len() < SKIPPED_MAX
        {
            self.skipped.push(self.redactor.redact(path.to_owned()));
        }
    }

    /// How restic before 0.17 says that something was not restored.
    fn not_restored(&mut self, text: &str) {
        let Some((item, reason)) =
            text.strip_prefix("ignoring error for ").and_then(|rest| rest.split_once(": "))
        else {
            return;
        };
        let told = self.redactor.redact(format!("{item}: {reason}"));
        self.unreadable_item(item.to_owned(), &told);
    }

    fn log(&self, stream: Source, text: &str, reporter: &mut Reporter) {
        reporter.log(stream, self.redactor.redact(plain(text)));
    }
}

impl Listener for Transcript {
    fn heard(&mut self, stream: Source, line: RawLine, reporter: &mut Reporter) {
        if self.capturing && stream == Source::Stdout {
            if self.captured.len() + line.text.len() <= ANSWER_MAX {
                self.captured.push_str(&line.text);
                self.captured.push('\n');
            }
            return;
        }
        let cut_bytes = line.cut_bytes;
        self.heard_line(stream, Line::parse(&line.text), reporter);
        if cut_bytes > 0 {
            reporter.remark(format!("{cut_bytes} bytes of the line above were not kept"));
        }
    }

    fn started(&mut self, pid: u32) {
        self.meter.follow(pid);
    }

    fn resumed(&mut self) {
        self.meter.restart();
    }
}

/// Eight hexadecimal digits before restic 0.17, sixty-four since.
fn is_snapshot_id(id: &str) -> bool {
    (8..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_hexdigit())
}
