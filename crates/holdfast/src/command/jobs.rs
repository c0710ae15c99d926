//! `holdfast jobs`, `job`, `logs`, `cancel`, `pause` and `resume`.

mod outcome;

use serde_json::{Value, json};

use super::Operator;
use crate::{
    cli,
    client::ApiError,
    failure::Failure,
    model::{Gap, Job, Jobs, Line, Log, Stats, WaitingFor},
    output::{
        Cell, Facts, Look, Table, Tone, bytes, count, plain_line, print, printable, remark, tone_of,
    },
};

/// How many log lines are asked for at a time.
const LOG_PAGE: &str = "1000";

/// What can be asked of a job.
#[derive(Debug, Clone, Copy)]
pub(super) enum Request {
    Cancel,
    Pause,
    Resume,
}

impl Request {
    fn verb(self) -> &'static str {
        match self {
            Self::Cancel => "cancel",
            Self::Pause => "pause",
            Self::Resume => "resume",
        }
    }
}

/// `holdfast jobs`.
pub(super) async fn list(operator: &Operator, filter: &cli::Jobs) -> Result<(), Failure> {
    let limit = filter.limit.to_string();
    let mut query = vec![("limit", limit.as_str())];
    query.extend(filter.host.as_deref().map(|host| ("host", host)));
    query.extend(filter.status.as_deref().map(|status| ("status", status)));
    let answer = match operator.client.fetch(&["jobs"], &query).await {
        Ok(answer) => answer,
        Err(error) => {
            let host = filter.host.as_deref().unwrap_or_default();
            return Err(operator.about_host(host, error).await);
        }
    };
    let jobs: Jobs = operator.read(&answer)?;
    operator.screen.show(&answer, |look| table(&jobs.jobs, look));
    if jobs.next.is_some() && !operator.screen.is_json() {
        remark("There are older jobs; --limit shows more.");
    }
    Ok(())
}

/// `holdfast job ID`.
pub(super) async fn show(operator: &Operator, id: &str) -> Result<(), Failure> {
    let answer = operator.job(id).await?;
    let job: Job = operator.read(&answer)?;
    operator.screen.show(&answer, |look| facts(&job, look));
    Ok(())
}

/// `holdfast cancel|pause|resume ID`.
pub(super) async fn ask(operator: &Operator, id: &str, request: Request) -> Result<(), Failure> {
    let verb = request.verb();
    let answer = operator.client.post(&["jobs", id, verb], &json!({})).await?;
    operator.screen.show(&answer, |_| {
        format!("Asked to {verb} job {id}. See `holdfast job {id}` for what came of it.\n")
    });
    Ok(())
}

/// `holdfast logs ID`.
pub(super) async fn logs(operator: &Operator, id: &str) -> Result<(), Failure> {
    if operator.screen.is_json() {
        let answer = whole_log(operator, id).await?;
        operator.screen.show(&answer, |_| String::new());
        return Ok(());
    }
    let mut after = 0;
    loop {
        let log: Log = operator.read(&operator.log_page(id, after).await?)?;
        print(&log_text(&log, &operator.screen.look()));
        match log.next {
            Some(next) if next > after => after = next,
            _ => return Ok(()),
        }
    }
}

/// All pages as one document.
async fn whole_log(operator: &Operator, id: &str) -> Result<Value, Failure> {
    let (mut lines, mut gaps, mut after) = (Vec::new(), Vec::new(), 0);
    loop {
        let page = operator.log_page(id, after).await?;
        lines.extend(page["lines"].as_array().into_iter().flatten().cloned());
        gaps.extend(page["gaps"].as_array().into_iter().flatten().cloned());
        match page["next"].as_u64() {
            Some(next) if next > after => after = next,
            _ => {
                let mut log = json!({ "lines": lines, "gaps": gaps });
                if let Some(at) = page.get("pruned_at") {
                    log["pruned_at"] = at.clone();
                }
                return Ok(log);
            }
        }
    }
}

impl Operator {
    /// The API's answer about a job.
    pub(super) async fn job(&self, id: &str) -> Result<Value, ApiError> {
        self.client.fetch(&["jobs", id], &[]).await
    }

    async fn log_page(&self, id: &str, after: u64) -> Result<Value, ApiError> {
        let after = after.to_string();
        let query = [("after", after.as_str()), ("limit", LOG_PAGE)];
        self.client.fetch(&["jobs", id, "log"], &query).await
    }
}

fn table(jobs: &[Job], look: &Look) -> String {
    let heads = ["JOB", "HOST", "SOURCE GROUP", "STATUS", "STARTED", "TOOK", "SNAPSHOT"];
    let mut table = Table::new(&heads, "No jobs. Start one with `holdfast run HOST --group NAME`.");
    for job in jobs {
        table.row([
            job.id.as_str().into(),
            job.host_name.as_str().into(),
            job.group.as_str().into(),
            Cell::toned(&status(job), tone_of(&job.status)),
            look.when_some(job.started_at).into(),
            took(job, look).unwrap_or_else(|| "-".to_owned()).into(),
            short_id(job.snapshot_id.as_deref()).into(),
        ]);
    }
    table.render(look)
}

/// The status, with what a person must know to read it rightly.
fn status(job: &Job) -> String {
    let status = &job.status;
    match (&job.progress, job.host_online) {
        _ if job.retried_by.is_some() => format!("{status}, tried again"),
        _ if job.finished_at.is_some() => status.clone(),
        _ if job.cancel_requested => format!("{status}, cancel requested"),
        _ if job.not_before.is_some() => format!("{status}, try {}", job.attempt),
        (_, false) => format!("{status}, host offline"),
        (Some(progress), true) => format!("{status} {:.0} %", progress.percent_done * 100.0),
        (None, true) => status.clone(),
    }
}

fn took(job: &Job, look: &Look) -> Option<String> {
    job.started_at.map(|started| look.took(started, job.finished_at))
}

fn short_id(id: Option<&str>) -> String {
    id.map_or_else(|| "-".to_owned(), |id| id.chars().take(8).collect())
}

/// Everything known about a job.
pub(super) fn facts(job: &Job, look: &Look) -> String {
    let stats = job.stats.as_ref();
    let mut facts = Facts::new()
        .add("Job", job.id.as_str())
        .toned("Status", &status(job), tone_of(&job.status))
        .add("Host", job.host_name.as_str())
        .add("Operation", job.operation.as_str())
        .add("Source group", job.group.as_str())
        .add("Cause", job.cause.as_str())
        .add("Try", if job.attempt > 1 { job.attempt.to_string() } else { String::new() })
        .add("First try", job.retry_of.as_deref().unwrap_or_default())
        .add("Tried again by", job.retried_by.as_deref().unwrap_or_default())
        .maybe("Waits for", job.waiting_for.as_ref().map(WaitingFor::words))
        .maybe("Starts", job.not_before.map(|time| look.when(time)))
        .maybe("Created", job.created_at.map(|time| look.when(time)))
        .maybe("Started", job.started_at.map(|time| look.when(time)))
        .maybe("Finished", job.finished_at.map(|time| look.when(time)))
        .maybe("Took", took(job, look))
        .maybe("Progress", job.progress.as_ref().map(plain_line))
        .maybe("Snapshot", job.snapshot_id.clone())
        .maybe("Files", stats.and_then(files))
        .maybe("Looked at", stats.and_then(|stats| stats.total_bytes_processed).map(bytes))
        .maybe("Added", stats.and_then(|stats| stats.data_added).map(bytes))
        .maybe("Exit code", job.exit_code.map(|code| code.to_string()));
    if let Some(result) = &job.result {
        facts = outcome::add(facts, result);
    }
    if let Some(error) = &job.error {
        facts = facts
            .toned("Error", &error.message, Tone::Bad)
            .add("What to do", error.action.as_str())
            .add("Error code", error.code.as_str());
    }
    facts.render(look)
}

fn files(stats: &Stats) -> Option<String> {
    let (new, changed) = (stats.files_new?, stats.files_changed?);
    let same = stats.files_unmodified?;
    Some(format!("{} new, {} changed, {} unmodified", count(new), count(changed), count(same)))
}

/// The lines with the gaps between them, in order.
fn log_text(log: &Log, look: &Look) -> String {
    let mut text = String::new();
    let mut gaps = log.gaps.iter().peekable();
    for line in &log.lines {
        while let Some(gap) = gaps.next_if(|gap| gap.from < line.seq) {
            text.push_str(&gap_text(gap, look));
        }
        text.push_str(&line_text(line, look));
    }
    for gap in gaps {
        text.push_str(&gap_text(gap, look));
    }
    if let Some(at) = log.pruned_at {
        let told = format!("The log was dropped {}: logs are kept for 30 days.", look.when(at));
        text.push_str(&format!("{}\n", look.paint(Tone::Warning, &told)));
    }
    text
}

fn gap_text(gap: &Gap, look: &Look) -> String {
    let missing = gap.to.saturating_sub(gap.from) + 1;
    let text = format!("… {} lines were dropped …", count(missing));
    format!("{}\n", look.paint(Tone::Warning, &text))
}

fn line_text(line: &Line, look: &Look) -> String {
    let time = line.ts.map(|time| look.time_of_day(time)).unwrap_or_default();
    let tone = if line.stream == "stderr" { Tone::Bad } else { Tone::Plain };
    let head = look.paint(Tone::Quiet, &format!("{time} {:6}", printable(&line.stream)));
    format!("{head}  {}\n", look.paint(tone, &printable(&line.payload)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{model::JobError, output::test_look};

    fn failed() -> Job {
        let error = JobError {
            code: "wrong_password".into(),
            message: "The repository's password is wrong.".into(),
            action: "Add the repository again with the right one.".into(),
        };
        Job {
            id: "j1".into(),
            host_name: "web-1".into(),
            operation: "backup".into(),
            group: "etc".into(),
            status: "failed".into(),
            cause: "manual".into(),
            started_at: Some("2026-11-21T13:00:00Z".parse().unwrap()),
            finished_at: Some("2026-11-21T13:00:42Z".parse().unwrap()),
            exit_code: Some(12),
            attempt: 1,
            error: Some(error),
            host_online: true,
            ..Job::default()
        }
    }

    #[test]
    fn a_log_that_was_dropped_is_not_silently_empty() {
        let log =
            Log { pruned_at: Some("2026-11-21T13:00:00Z".parse().unwrap()), ..Log::default() };
        let text = log_text(&log, &test_look());
        assert!(text.contains("The log was dropped") && text.contains("30 days"), "{text}");
        assert_eq!(log_text(&Log::default(), &test_look()), "");
    }

    #[test]
    fn the_facts_of_a_failed_job_say_what_to_do() {
        let text = facts(&failed(), &test_look());
        for wanted in [
            "Status:        failed\n",
            "Took:          42 s\n",
            "Error:         The repository's password is wrong.\n",
            "What to do:    Add the repository again with the right one.\n",
            "Error code:    wrong_password\n",
        ] {
            assert!(text.contains(wanted), "{wanted} in {text}");
        }
        assert!(!text.contains("Try:"), "{text}");
    }

    #[test]
    fn a_row_has_outcome_time_and_length() {
        let text = table(&[failed()], &test_look());
        let wanted = "j1   web-1  etc           failed  2026-11-21 13:00 (25 min ago)  42 s  -\n";
        assert!(text.ends_with(wanted), "{text}");
    }

    #[test]
    fn a_running_job_of_an_offline_host_says_so() {
        let job = Job { status: "running".into(), finished_at: None, ..failed() };
        assert_eq!(status(&Job { host_online: false, ..job }), "running, host offline");
    }

    #[test]
    fn gaps_stand_between_the_lines_they_separate() {
        let text = r#"{"lines":[
                {"seq":1,"ts":"2026-11-21T13:00:00Z","stream":"event","payload":"started"},
                {"seq":5,"ts":"2026-11-21T13:00:01Z","stream":"stderr","payload":"no\u001b[2J"}],
            "gaps":[{"from":2,"to":4},{"from":6,"to":1005}]}"#;
        let log: Log = serde_json::from_str(text).unwrap();
        assert_eq!(
            log_text(&log, &test_look()),
            "13:00:00 event   started\n\
             … 3 lines were dropped …\n\
             13:00:01 stderr  no\\u{1b}[2J\n\
             … 1,000 lines were dropped …\n"
        );
    }
}
