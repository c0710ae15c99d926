//! Hosts that share a repository and want to work on it all at once.
//!
//! Two hosts with restics of different versions back up without a break, while forget, prune and
//! check are ordered of either in turn, and somebody from outside, of whom the server knows
//! nothing, backs up and checks with restic itself. In a long race the server is also away for a
//! while, and the hosts' schedules fire without it. However they meet: no job ends in a lock error,
//! nothing hangs, and the repository is whole at the end.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::data;
use crate::fleet::Fleet;
use crate::operator::{Operator, has_ended};
use crate::programs::Programs;
use crate::restic::Repository;
use crate::wait;

/// How long a job may take in all, waiting for its turn included. A job that takes longer hangs.
const JOB_LIMIT: Duration = Duration::from_secs(8 * 60);

/// A race of at least this length has a part without the server.
const LONG: Duration = Duration::from_secs(5 * 60);

/// How long the server is away: every schedule fires at least once.
const AWAY: Duration = Duration::from_secs(90);

/// How soon a restarted server has its agents back. They redial within a minute, and again.
const BACK_LIMIT: Duration = Duration::from_secs(180);

const HOSTS: [&str; 2] = ["one", "two"];
const GROUP: &str = "data";
const REPOSITORY: &str = "vault";

/// What is raced with.
#[derive(Debug, Clone)]
pub struct Race {
    /// The programs of Holdfast.
    pub programs: Programs,
    /// The restic of each host; the second is the outsider's too.
    pub restics: [PathBuf; 2],
    /// For how long jobs are ordered.
    pub length: Duration,
}

/// How many jobs of each operation ended how.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally(BTreeMap<(String, String), u64>);

impl Tally {
    /// How many there were of `operation` that succeeded.
    #[must_use]
    pub fn succeeded(&self, operation: &str) -> u64 {
        self.0.get(&(operation.to_owned(), "succeeded".to_owned())).copied().unwrap_or_default()
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for ((operation, status), count) in &self.0 {
            writeln!(f, "{operation:<10} {status:<12} {count:>6}")?;
        }
        Ok(())
    }
}

impl Race {
    /// Races below `folder`, which must be empty; `stop` ends it early.
    ///
    /// # Errors
    /// When a job ended in anything but success, one hangs, or the repository is not whole.
    pub fn run(&self, folder: &Path, stop: &dyn Fn() -> bool) -> Result<Tally> {
        let mut fleet = Fleet::start(&self.programs, &self.restics[0], folder)?;
        for (host, restic) in HOSTS.into_iter().zip(&self.restics) {
            fleet.add_host_with(host, restic)?;
            let source = source(folder, host);
            data::small_files(&source, 60, 11)?;
            fleet.add_group(host, GROUP, &[&source], &[])?;
        }
        let course = Course::new(folder, fleet.operator.clone(), fleet.repository());
        course.job(HOSTS[0], &json!({"operation": "init", "repository": REPOSITORY}))?;
        course.play(self.length, &mut fleet, stop)?;
        let tally = course.judge()?;
        fleet.stop()?;
        Ok(tally)
    }
}

fn source(folder: &Path, host: &str) -> PathBuf {
    folder.join("sources").join(host)
}

/// The race while it runs.
struct Course {
    folder: PathBuf,
    operator: Operator,
    repository: Repository,
    over: AtomicBool,
    /// Whether the server is away, so that nobody can be asked.
    away: AtomicBool,
    round: AtomicU64,
    trouble: Mutex<Vec<String>>,
}

impl Course {
    fn new(folder: &Path, operator: Operator, repository: Repository) -> Self {
        Self {
            folder: folder.to_path_buf(),
            operator,
            repository,
            over: AtomicBool::new(false),
            away: AtomicBool::new(false),
            round: AtomicU64::new(0),
            trouble: Mutex::new(Vec::new()),
        }
    }

    fn play(&self, length: Duration, fleet: &mut Fleet, stop: &dyn Fn() -> bool) -> Result<()> {
        let started = Instant::now();
        thread::scope(|scope| {
            for host in HOSTS {
                scope.spawn(move || self.again_and_again(|| self.back_up(host)));
            }
            scope.spawn(|| self.again_and_again(|| self.maintain()));
            scope.spawn(|| self.again_and_again(|| self.meddle()));
            let played = self.watch(started, length, fleet, stop);
            self.over.store(true, Ordering::SeqCst);
            played
        })
    }

    fn watch(
        &self,
        started: Instant,
        length: Duration,
        fleet: &mut Fleet,
        stop: &dyn Fn() -> bool,
    ) -> Result<()> {
        let mut absence = (length >= LONG).then_some(length / 3);
        while started.elapsed() < length && !self.is_over() {
            ensure!(!stop(), "stopped on request");
            if absence.is_some_and(|at| started.elapsed() > at) {
                absence = None;
                self.without_server(fleet, stop)?;
            }
            wait::pause(Duration::from_millis(200));
        }
        Ok(())
    }

    /// The hosts' own schedules fire, and nobody keeps their slots apart.
    fn without_server(&self, fleet: &mut Fleet, stop: &dyn Fn() -> bool) -> Result<()> {
        for host in HOSTS {
            let set = ["schedule", "set", host, GROUP, "--cron", "* * * * *", "--zone", "UTC"];
            self.operator.json(&set)?;
        }
        self.away.store(true, Ordering::SeqCst);
        fleet.server.stop()?;
        let gone = Instant::now();
        while gone.elapsed() < AWAY {
            ensure!(!stop(), "stopped on request");
            wait::pause(Duration::from_millis(200));
        }
        fleet.server.restart()?;
        for host in HOSTS {
            self.operator.await_host(host, "online", BACK_LIMIT)?;
        }
        self.away.store(false, Ordering::SeqCst);
        Ok(())
    }

    fn again_and_again(&self, once: impl Fn() -> Result<()>) {
        while !self.is_over() {
            if self.away.load(Ordering::SeqCst) {
                wait::pause(Duration::from_millis(200));
            } else if let Err(error) = once() {
                self.note(format!("{error:#}"));
            }
        }
    }

    fn back_up(&self, host: &str) -> Result<()> {
        let round = self.round.fetch_add(1, Ordering::SeqCst);
        data::random_file(&source(&self.folder, host).join("changing"), 256 << 10, round)?;
        self.job(host, &json!({"operation": "backup", "group": GROUP}))
    }

    fn maintain(&self) -> Result<()> {
        let round = self.round.fetch_add(1, Ordering::SeqCst);
        let host = HOSTS[usize::try_from(round / 3 % 2).unwrap_or_default()];
        let keep = json!({"policy": {"keep": {"keep_last": 2}}});
        for order in [
            json!({"operation": "forget", "parameters": {"which": keep}}),
            json!({"operation": "prune", "parameters": {"max_unused": {"bytes": 0}}}),
            json!({"operation": "check", "parameters": {"read_data": {"percent": 10.0}}}),
        ] {
            self.job(host, &order)?;
        }
        Ok(())
    }

    /// Somebody with restic and the password. Whom the others' locks turn away comes again; only
    /// the fleet has promised to wait.
    fn meddle(&self) -> Result<()> {
        let note = self.folder.join("sources/note");
        std::fs::write(&note, "from outside")?;
        let note = note.to_str().context("the folder's name is not text")?;
        let _ = self.repository.ask(&["backup", "--host=outside", note]);
        let _ = self.repository.ask(&["check"]);
        wait::pause(Duration::from_secs(1));
        Ok(())
    }

    /// Orders a job and waits until it has ended well.
    fn job(&self, host: &str, order: &Value) -> Result<()> {
        let Some(job) = self.unless_away(|| self.operator.order(host, order))? else {
            return Ok(());
        };
        let started = Instant::now();
        while started.elapsed() < JOB_LIMIT {
            if let Some(seen) = self.unless_away(|| self.operator.job(&job))?
                && has_ended(&seen)
            {
                return is_good(&seen);
            }
            wait::pause(Duration::from_millis(100));
        }
        bail!("the job {job} of {host} hangs: {order}")
    }

    /// What `ask` says; `None` when the server was away then.
    fn unless_away<T>(&self, ask: impl Fn() -> Result<T>) -> Result<Option<T>> {
        let away = || self.away.load(Ordering::SeqCst);
        let before = away();
        match ask() {
            Ok(answer) => Ok(Some(answer)),
            Err(_) if before || away() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Every job that there was, and the repository they leave behind.
    fn judge(&self) -> Result<Tally> {
        wait::until("the last jobs to end", JOB_LIMIT, || {
            Ok(self.jobs()?.iter().all(has_ended).then_some(()))
        })?;
        let mut tally = Tally::default();
        for job in self.jobs()? {
            let word = |field: &str| job[field].as_str().unwrap_or_default().to_owned();
            *tally.0.entry((word("operation"), word("status"))).or_default() += 1;
            if let Err(error) = is_good(&job) {
                self.note(format!("{error:#}"));
            }
        }
        let trouble = self.trouble.lock().map(|list| list.clone()).unwrap_or_default();
        ensure!(trouble.is_empty(), "{}\n{tally}", trouble.join("\n"));
        ensure!(self.repository.locks()?.is_empty(), "a lock was left behind");
        self.repository.check()?;
        Ok(tally)
    }

    fn jobs(&self) -> Result<Vec<Value>> {
        let mut all = Vec::new();
        let mut page = self.operator.api().get("/jobs?limit=500")?;
        loop {
            all.extend(page["jobs"].as_array().context("no jobs")?.iter().cloned());
            let Some(next) = page["next"].as_str() else { return Ok(all) };
            page = self.operator.api().get(&format!("/jobs?limit=500&before={next}"))?;
        }
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    /// The first trouble ends the race.
    fn note(&self, trouble: String) {
        if let Ok(mut list) = self.trouble.lock() {
            list.push(trouble);
        }
        self.over.store(true, Ordering::SeqCst);
    }
}

/// Slots that came due while another backup of the same group ran are left out, and said to be.
fn is_good(job: &Value) -> Result<()> {
    let skipped = job["status"] == "missed" && job["cause"] == "schedule";
    ensure!(job["status"] == "succeeded" || skipped, "{job}");
    Ok(())
}
