//! An agent that is killed in mid-backup, with no server in reach.
//!
//! The test hands the agent its orders through the state file, as the link would have, and reads
//! the results there.

use std::{
    collections::BTreeMap,
    env,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    process::Command,
};

use holdfast_agent::{Directory, state::State};
use holdfast_link::{Record, Store, Unsequenced};
use holdfast_protocol::{
    JobId, Message, RepositoryId,
    message::{
        command::Run,
        config::{self, Secret},
        job::{Finished, Operation, Status},
    },
};
use jiff::Timestamp;
use tokio::runtime::Runtime;
use uuid::Uuid;

use crate::bench::{Bench, Running, contents, wait_for};

/// Nobody listens on the discard port.
const NO_SERVER: &str = "http://127.0.0.1:9";

#[test]
fn a_backup_cut_off_by_a_kill_is_interrupted_its_restic_is_gone_and_the_next_one_runs() {
    let story = Story::new();
    story.order(1);
    let (mut agent, pid) = story.start_slow_backup();
    agent.kill();
    assert!(is_alive(&pid), "restic outlives the agent, so there is something to clear up");

    let mut agent = story.start(&restic());
    wait_for("the orphan's end", || (!is_alive(&pid)).then_some(()));
    wait_for("the lock's end", || (story.locks() == 0).then_some(()));
    agent.kill();
    let ends = story.ends();
    assert_eq!(ends.len(), 1);
    assert_eq!(ends[0].status, Status::Interrupted);
    assert_eq!(ends[0].error.as_ref().unwrap().code, "agent_stopped");

    story.order(2);
    let mut agent = story.start(&restic());
    wait_for("the second job's end", || (story.snapshots() == 1 && story.is_idle()).then_some(()));
    agent.kill();
    let ends = story.ends();
    assert_eq!(ends.len(), 2, "the interrupted job was not run again");
    assert_eq!(ends[1].status, Status::Succeeded, "{:?}", ends[1].error);

    let said = contents(&story.bench.path("log")).unwrap();
    assert!(said.contains("job ended"), "{said}");
    assert!(!said.contains("canary"), "a secret is in the log: {said}");
}

#[test]
fn the_lock_of_a_restic_that_died_with_its_agent_is_removed() {
    let story = Story::new();
    story.order(1);
    let (mut agent, pid) = story.start_slow_backup();
    agent.kill();
    let killed = Command::new("kill").args(["-9", &pid]).status().unwrap();
    assert!(killed.success());
    wait_for("restic's end", || (!is_alive(&pid)).then_some(()));
    assert!(story.locks() > 0, "a killed restic leaves its lock");

    let mut agent = story.start(&restic());
    wait_for("the lock's end", || (story.locks() == 0).then_some(()));
    agent.kill();
    assert_eq!(story.ends()[0].status, Status::Interrupted);
}

#[test]
fn a_job_that_only_waited_when_the_agent_was_killed_runs_at_the_next_start() {
    let story = Story::new();
    story.order(1);
    story.order(2);
    let (mut agent, _) = story.start_slow_backup();
    agent.kill();
    let mut agent = story.start(&restic());
    wait_for("the second job's end", || (story.snapshots() == 1 && story.is_idle()).then_some(()));
    agent.kill();
    let status: Vec<_> = story.ends().iter().map(|end| end.status).collect();
    assert_eq!(status, [Status::Interrupted, Status::Succeeded]);
}

#[test]
fn a_stopped_agent_ends_its_backup_and_leaves_no_lock() {
    let story = Story::new();
    story.order(1);
    let (agent, pid) = story.start_slow_backup();
    let status = agent.stop();
    assert!(status.success(), "{status}");
    assert!(!is_alive(&pid));
    assert_eq!(story.locks(), 0);
    let ends = story.ends();
    assert_eq!(ends[0].status, Status::Interrupted);
    assert_eq!(ends[0].error.as_ref().unwrap().code, "agent_shutdown");
    assert!(story.is_idle(), "scratch files carry secrets and must go");
}

#[test]
fn a_second_signal_does_not_wait_and_kills_restic() {
    let story = Story::new();
    let stubborn = story.bench.program(
        "stubborn",
        &format!(
            "trap '' INT\ncase \" $* \" in *' version '*) echo 'restic 0.18.0 compiled with go';;\n\
             *' backup '*) echo $$ > '{0}.new'; mv '{0}.new' '{0}'\n\
             while :; do sleep 1; done;;\nesac",
            story.bench.path("pid").display()
        ),
    );
    story.order(1);
    let agent = story.start(&stubborn);
    let pid = wait_for("the backup", || contents(&story.bench.path("pid"))).trim().to_owned();
    agent.signal();
    // Two signals of one kind that come before the first is taken are one signal.
    wait_for("the first signal's arrival", || {
        contents(&story.bench.path("log"))?.contains("SIGTERM received").then_some(())
    });
    let status = agent.stop();
    assert_eq!(status.code(), Some(1));
    wait_for("restic's end", || (!is_alive(&pid)).then_some(()));
}

/// One host with one source and one repository.
struct Story {
    bench: Bench,
}

impl Story {
    fn new() -> Self {
        let bench = Bench::new();
        bench.pretend_enrolled(NO_SERVER);
        let source = bench.path("source");
        fs::create_dir_all(&source).unwrap();
        // Random, so that it is as large in the repository.
        let mut random = File::open("/dev/urandom").unwrap().take(8 << 20);
        io::copy(&mut random, &mut File::create(source.join("big")).unwrap()).unwrap();
        let story = Self { bench };
        story.with_state(|state, runtime| {
            runtime.block_on(state.receive(unsequenced(&story.config()))).unwrap();
        });
        story
    }

    fn start(&self, restic: &Path) -> Running {
        let command = self.bench.agent("run", &["--restic", restic.to_str().unwrap()]);
        Running::start(command, &self.bench.path("log"))
    }

    /// Starts the agent with a restic that would need minutes, and waits until that holds its lock.
    fn start_slow_backup(&self) -> (Running, String) {
        let marker = self.bench.path("pid");
        let slow = format!(
            "case \" $* \" in *' backup '*)\n\
             echo $$ > '{marker}.new'; mv '{marker}.new' '{marker}'\n\
             exec '{restic}' --limit-upload 16 \"$@\";;\nesac\nexec '{restic}' \"$@\"",
            marker = marker.display(),
            restic = restic().display(),
        );
        let agent = self.start(&self.bench.program("slow-restic", &slow));
        // The first call finds no repository; the one with a lock is the backup.
        wait_for("a locked repository", || (self.locks() > 0).then_some(()));
        let pid = contents(&marker).unwrap().trim().to_owned();
        (agent, pid)
    }

    /// Gives the agent an order, as the link would have. It must not be running.
    fn order(&self, number: u64) {
        let run = Run {
            config_version: 1,
            tag: "etc".to_owned(),
            includes: vec![self.bench.path("source").to_string_lossy().into_owned()],
            ..Run::new(
                JobId::from_uuid(Uuid::from_u128(number.into())),
                Operation::Backup,
                RepositoryId::from_uuid(Uuid::from_u128(9)),
            )
        };
        let message = Message::CommandRun(run);
        let (kind, payload) = (message.kind().to_owned(), message.encode());
        let record = Record { seq: number, ts: Timestamp::now(), kind, payload };
        self.with_state(|state, runtime| runtime.block_on(state.apply(vec![record])).unwrap());
    }

    /// The results so far, in order. The agent must not be running.
    fn ends(&self) -> Vec<Finished> {
        let load = |state: &State, runtime: &Runtime| runtime.block_on(state.load(0, 10_000));
        let records = self.with_state(load).unwrap();
        let ends = records.into_iter().filter(|record| record.kind == "job.finished");
        ends.map(|record| record.payload.parse().unwrap()).collect()
    }

    fn with_state<R>(&self, act: impl FnOnce(&State, &Runtime) -> R) -> R {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let directory = Directory::create(&self.bench.data()).unwrap();
        let state = State::open(&directory.state_path()).unwrap();
        act(&state, &runtime)
    }

    fn config(&self) -> Message {
        Message::ConfigUpdate(config::Update {
            version: 1,
            host_name: "alpha".to_owned(),
            repositories: vec![config::Repository {
                id: RepositoryId::from_uuid(Uuid::from_u128(9)),
                name: "main".to_owned(),
                url: Secret::new(self.repository().to_string_lossy()),
                password: Secret::new("canary"),
                environment: BTreeMap::new(),
                ca_certificate: None,
                admin: None,
            }],
            groups: vec![],
        })
    }

    fn repository(&self) -> PathBuf {
        self.bench.path("repository")
    }

    /// restic's locks. A file that it has not given its final name yet is none.
    fn locks(&self) -> usize {
        let files = fs::read_dir(self.repository().join("locks"));
        let names = files.into_iter().flatten().flatten().map(|file| file.file_name());
        names.filter(|name| !name.to_string_lossy().contains('-')).count()
    }

    fn snapshots(&self) -> usize {
        count(&self.repository().join("snapshots"))
    }

    /// A job's scratch directory goes when everything about the job is stored.
    fn is_idle(&self) -> bool {
        count(&self.bench.data().join("run")) == 0
    }
}

fn unsequenced(message: &Message) -> Unsequenced {
    Unsequenced {
        class: message.class(),
        key: String::new(),
        ts: Timestamp::now(),
        kind: message.kind().to_owned(),
        payload: message.encode(),
    }
}

fn count(dir: &Path) -> usize {
    fs::read_dir(dir).map_or(0, Iterator::count)
}

/// Whether the process runs. One that has ended and that nobody asked about does not.
fn is_alive(pid: &str) -> bool {
    let stat = contents(Path::new(&format!("/proc/{pid}/stat")));
    stat.is_some_and(|stat| !stat.contains(") Z "))
}

/// The restic to test with.
fn restic() -> PathBuf {
    let named = env::var_os("HOLDFAST_TEST_RESTIC").unwrap_or_default();
    let path = env::var_os("PATH").unwrap_or_default();
    let on_path = env::split_paths(&path).map(|dir| dir.join("restic"));
    env::split_paths(&named)
        .chain(on_path)
        .find(|program| program.is_file())
        .expect("install restic to run this test")
}
