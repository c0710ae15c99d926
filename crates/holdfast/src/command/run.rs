//! `holdfast run`.

use std::{process::ExitCode, time::Duration};

use holdfast_protocol::message::job::Status;
use serde_json::{Value, json};

use super::{Operator, jobs};
use crate::{
    cli,
    client::{ApiError, parse},
    failure::Failure,
    model::Job,
    output::{bar_line, plain_line, print, remark},
};

/// How often a followed job is asked for.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// How often progress is printed where a line cannot be redrawn: often enough to see life, seldom
/// enough for a log.
const PLAIN_INTERVAL: Duration = Duration::from_secs(10);

/// The exit code for "a snapshot exists, but some files could not be read"; restic's own.
const EXIT_PARTIAL: u8 = 3;

/// The exit code after Ctrl-C, as shells expect it.
const EXIT_STOPPED: u8 = 130;

/// `holdfast run HOST --group NAME`.
pub(super) async fn run(operator: &Operator, args: &cli::Run) -> Result<ExitCode, Failure> {
    let body = json!({ "operation": "backup", "group": args.group });
    let answer = match operator.client.post(&["hosts", &args.host, "jobs"], &body).await {
        Ok(answer) => answer,
        Err(error) => return Err(operator.about_group(&args.host, &args.group, error).await),
    };
    ordered(operator, &answer, args.wait).await
}

/// Says which job was ordered, or follows it to its end.
pub(super) async fn ordered(
    operator: &Operator,
    answer: &Value,
    wait: bool,
) -> Result<ExitCode, Failure> {
    let id = answer["job_id"].as_str().unwrap_or_default();
    if wait {
        return follow(operator, id).await;
    }
    operator
        .screen
        .show(answer, |_| format!("Job {id} is queued. Follow it with `holdfast job {id}`.\n"));
    Ok(ExitCode::SUCCESS)
}

/// Shows the job until it has ended or somebody presses Ctrl-C; the job itself is left alone.
async fn follow(operator: &Operator, id: &str) -> Result<ExitCode, Failure> {
    let mut meter = Meter::new(operator);
    let ended = tokio::select! {
        biased;
        _ = tokio::signal::ctrl_c() => None,
        ended = end_of(operator, id, &mut meter) => Some(ended?),
    };
    meter.clear();
    let Some(answer) = ended else {
        remark(&format!(
            "The job goes on. See it with `holdfast job {id}`, end it with `holdfast cancel {id}`."
        ));
        return Ok(ExitCode::from(EXIT_STOPPED));
    };
    let job: Job = operator.read(&answer)?;
    operator.screen.show(&with_job_id(answer, id), |look| jobs::facts(&job, look));
    Ok(exit_code(&job.status))
}

/// Asks until the job has ended with its last try. A server that restarts meanwhile is waited for:
/// the job does not need it.
async fn end_of(operator: &Operator, id: &str, meter: &mut Meter) -> Result<Value, Failure> {
    let mut id = id.to_owned();
    loop {
        match operator.job(&id).await {
            Ok(answer) => {
                if let Some(job) = parse::<Job>(&answer) {
                    let ended = Status::from_word(&job.status).is_some_and(Status::is_terminal);
                    match job.retried_by {
                        Some(next) if ended => {
                            id = next;
                            continue;
                        }
                        None if ended => return Ok(answer),
                        _ => meter.show(&job),
                    }
                }
            }
            Err(error) if error.is_passing() => meter.lost(error),
            Err(error) => return Err(error.into()),
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// The same document with the key under which `run` without `--wait` answers.
fn with_job_id(mut answer: Value, id: &str) -> Value {
    if let Some(fields) = answer.as_object_mut() {
        fields.insert("job_id".to_owned(), id.into());
    }
    answer
}

fn exit_code(status: &str) -> ExitCode {
    ExitCode::from(outcome(status))
}

fn outcome(status: &str) -> u8 {
    match status {
        "succeeded" => 0,
        "partial" => EXIT_PARTIAL,
        _ => 1,
    }
}

/// Shows progress: one line that is redrawn in a terminal, else a line now and then.
struct Meter {
    redraw: bool,
    silent: bool,
    drawn: bool,
    last: String,
    printed_at: Option<tokio::time::Instant>,
}

impl Meter {
    fn new(operator: &Operator) -> Self {
        Self {
            redraw: operator.screen.is_terminal(),
            silent: operator.screen.is_json(),
            drawn: false,
            last: String::new(),
            printed_at: None,
        }
    }

    fn show(&mut self, job: &Job) {
        if self.redraw {
            self.draw(&line(job, true));
        } else {
            self.tell(&line(job, false), &job.status);
        }
    }

    fn lost(&mut self, error: ApiError) {
        let ApiError::Unreachable { server, cause } = error else { return };
        let line = format!("{server} does not answer ({cause}); the job goes on, trying again");
        if self.redraw { self.draw(&line) } else { self.tell(&line, "lost") }
    }

    /// Redraws the line. Wrapping is off meanwhile, so that the terminal cuts what does not fit.
    fn draw(&mut self, line: &str) {
        self.drawn = true;
        print(&format!("\r\x1b[?7l{line}\x1b[K\x1b[?7h"));
    }

    /// Prints a line when the state is a new one, or when it is time for a sign of life.
    fn tell(&mut self, line: &str, state: &str) {
        let due = self.printed_at.is_none_or(|at| at.elapsed() >= PLAIN_INTERVAL);
        if self.silent || (state == self.last && !due) {
            return;
        }
        state.clone_into(&mut self.last);
        self.printed_at = Some(tokio::time::Instant::now());
        print(&format!("{line}\n"));
    }

    fn clear(&mut self) {
        if std::mem::take(&mut self.drawn) {
            print("\r\x1b[K");
        }
    }
}

fn line(job: &Job, bar: bool) -> String {
    if job.not_before.is_some() {
        return format!("{}: try {} waits for its time", job.status, job.attempt);
    }
    if let Some(waiting) = &job.waiting_for {
        return format!("{}: waits for {}", job.status, waiting.words());
    }
    match &job.progress {
        _ if !job.host_online => {
            format!("{}: the host is offline; waiting for its agent", job.status)
        }
        Some(progress) if bar => format!("{} {}", job.status, bar_line(progress)),
        Some(progress) => format!("{} {}", job.status, plain_line(progress)),
        None if job.group.is_empty() => format!("{}: {}", job.status, job.operation),
        None => format!("{}: {}", job.status, job.group),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Progress, WaitingFor};

    #[test]
    fn the_exit_code_is_the_jobs_outcome() {
        assert_eq!(outcome("succeeded"), 0);
        assert_eq!(outcome("partial"), 3);
        for status in ["failed", "cancelled", "interrupted", "missed", "something new"] {
            assert_eq!(outcome(status), 1, "{status}");
        }
    }

    #[test]
    fn a_waiting_job_says_what_it_waits_for() {
        let job = Job { status: "queued".into(), ..Job::default() };
        assert_eq!(line(&job, true), "queued: the host is offline; waiting for its agent");
    }

    #[test]
    fn a_job_that_waits_for_its_repository_says_who_has_it() {
        let waiting = WaitingFor { operation: "prune".into(), host_name: Some("web-2".into()) };
        let job = Job { status: "queued".into(), waiting_for: Some(waiting), ..Job::default() };
        assert_eq!(line(&job, true), "queued: waits for prune on web-2");
    }

    #[test]
    fn a_job_between_two_tries_says_which_comes_next() {
        let not_before = Some(jiff::Timestamp::UNIX_EPOCH);
        let job = Job { status: "queued".into(), attempt: 2, not_before, ..Job::default() };
        assert_eq!(line(&job, true), "queued: try 2 waits for its time");
    }

    #[test]
    fn only_a_terminal_gets_a_bar() {
        let job = Job {
            status: "running".into(),
            host_online: true,
            progress: Some(Progress { percent_done: 0.5, ..Progress::default() }),
            ..Job::default()
        };
        assert!(line(&job, true).starts_with("running [====="));
        assert!(line(&job, false).starts_with("running  50.0 %"));
    }

    #[test]
    fn the_answer_of_a_followed_run_has_the_same_key() {
        let answer = with_job_id(json!({"id": "j1", "status": "succeeded"}), "j1");
        assert_eq!(answer["job_id"], "j1");
        assert_eq!(answer["status"], "succeeded");
    }
}
