//! A place for one test, stubs of restic, and waiting with a limit.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use holdfast_engine::{Access, Backup, Child, Control, Event, Outcome, Patience, Restic};
use holdfast_protocol::message::{config::Secret, job::Status};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

pub(crate) const PASSWORD: &str = "canary-password";
/// What one test may take at most for one thing it waits for.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// Directories for one test; gone with it.
pub(crate) struct Place {
    home: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        let place = Self { home: tempfile::tempdir().unwrap() };
        fs::create_dir(place.source()).unwrap();
        fs::write(place.source().join("file"), "some text").unwrap();
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    pub(crate) fn source(&self) -> PathBuf {
        self.path("source")
    }

    pub(crate) fn repository(&self) -> PathBuf {
        self.path("repository")
    }

    pub(crate) fn scratch(&self) -> PathBuf {
        self.path("scratch")
    }

    pub(crate) fn access(&self) -> Access {
        Access {
            url: Secret::new(self.repository().to_str().unwrap()),
            password: Secret::new(PASSWORD),
            environment: BTreeMap::new(),
            ca_certificate: None,
            cache_dir: self.path("cache"),
            scratch_dir: self.scratch(),
        }
    }

    pub(crate) fn backup(&self) -> Backup {
        backup_of(&[&self.source()])
    }

    /// A restic that does what `behaviour`, a piece of shell script, says. The script knows
    /// `$operation` and `$here`.
    pub(crate) async fn stub(&self, behaviour: &str) -> Restic {
        self.stub_of_version("0.18.0", behaviour).await
    }

    pub(crate) async fn stub_of_version(&self, version: &str, behaviour: &str) -> Restic {
        let program = self.path("restic");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/engine/stub.sh");
        // A link to a program that nobody writes: a fresh one can be "busy" when others fork.
        std::os::unix::fs::symlink(script, &program).unwrap();
        let head = format!(
            "if [ $operation = version ]; then echo 'restic {version} compiled with sh'; exit 0; fi\n\
             echo \"$@\" >>\"$here/calls\"\n"
        );
        fs::write(self.path("behaviour.sh"), head + behaviour).unwrap();
        Restic::discover(Some(&program)).await.unwrap().with_patience(hasty())
    }

    /// The operations that the stub was asked for, in order.
    pub(crate) fn calls(&self) -> Vec<String> {
        let calls = fs::read_to_string(self.path("calls")).unwrap_or_default();
        calls.lines().filter_map(|line| Some(line.split(' ').next()?.to_owned())).collect()
    }

    /// The text of a file that a child writes, once it is whole.
    pub(crate) async fn line_of(&self, name: &str) -> String {
        let path = self.path(name);
        let whole = || fs::read_to_string(&path).is_ok_and(|text| text.ends_with('\n'));
        eventually(&format!("{name} is written"), whole).await;
        fs::read_to_string(&path).unwrap().trim().to_owned()
    }

    pub(crate) fn locks(&self) -> usize {
        fs::read_dir(self.repository().join("locks")).map_or(0, Iterator::count)
    }

    /// Locks that are in force: those still being written have other names.
    pub(crate) fn whole_locks(&self) -> usize {
        let Ok(locks) = fs::read_dir(self.repository().join("locks")) else { return 0 };
        locks.filter(|lock| lock.as_ref().unwrap().file_name().len() == 64).count()
    }
}

pub(crate) fn backup_of(includes: &[&Path]) -> Backup {
    Backup {
        host: "host-1".to_owned(),
        tag: "documents".to_owned(),
        includes: includes.iter().map(|path| path.to_str().unwrap().to_owned()).collect(),
        excludes: Vec::new(),
        options: Default::default(),
    }
}

/// Waits short enough for a test.
pub(crate) fn hasty() -> Patience {
    Patience {
        cancel_grace: Duration::from_millis(500),
        lock_wait: Duration::from_millis(500),
        retry_min: Duration::from_millis(20),
        retry_max: Duration::from_millis(200),
        pipe_grace: Duration::from_millis(300),
        ..Patience::default()
    }
}

/// An operation that runs in the background.
pub(crate) struct Job {
    pub(crate) control: Control,
    pub(crate) seen: Vec<Event>,
    events: mpsc::Receiver<Event>,
    task: JoinHandle<Outcome>,
}

impl Job {
    pub(crate) fn start(restic: &Restic, access: Access, backup: Backup) -> Self {
        let restic = restic.clone();
        Self::of(async move |control, events| {
            restic.backup(&access, &backup, &control, events).await
        })
    }

    /// Any operation.
    pub(crate) fn of<F, W>(work: F) -> Self
    where
        F: FnOnce(Control, mpsc::Sender<Event>) -> W,
        W: Future<Output = Outcome> + Send + 'static,
    {
        let (sender, events) = mpsc::channel(64);
        let control = Control::new();
        let task = tokio::spawn(work(control.clone(), sender));
        Self { control, seen: Vec::new(), events, task }
    }

    /// The first event from now on that `wanted` takes.
    pub(crate) async fn event<T>(&mut self, wanted: impl Fn(&Event) -> Option<T>) -> T {
        let search = async {
            loop {
                let event = self.events.recv().await;
                let event = event.unwrap_or_else(|| panic!("it ended before: {:?}", self.seen));
                let found = wanted(&event);
                self.seen.push(event);
                if let Some(found) = found {
                    return found;
                }
            }
        };
        timeout(LIMIT, search).await.expect("the event comes in time")
    }

    pub(crate) async fn spawned(&mut self) -> Child {
        self.event(|event| match event {
            Event::Spawned(child) => Some(*child),
            _ => None,
        })
        .await
    }

    /// Waits until restic has read something, and returns how much.
    pub(crate) async fn reading(&mut self, more_than: u64) -> u64 {
        self.event(|event| match event {
            Event::Progress(progress) => {
                (progress.bytes_done > more_than).then_some(progress.bytes_done)
            }
            _ => None,
        })
        .await
    }

    pub(crate) async fn remark(&mut self, part: &str) {
        self.event(|event| match event {
            Event::Log { text, .. } => text.contains(part).then_some(()),
            _ => None,
        })
        .await;
    }

    pub(crate) async fn end(mut self) -> (Outcome, Vec<Event>) {
        let drained = async {
            while let Some(event) = self.events.recv().await {
                self.seen.push(event);
            }
        };
        timeout(LIMIT, drained).await.expect("the job ends in time");
        (self.task.await.unwrap(), self.seen)
    }

    pub(crate) async fn outcome(self) -> Outcome {
        self.end().await.0
    }

    /// Drops the job's future.
    pub(crate) async fn drop_future(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }
}

pub(crate) async fn run(restic: &Restic, place: &Place) -> Outcome {
    Job::start(restic, place.access(), place.backup()).outcome().await
}

pub(crate) fn code(outcome: &Outcome) -> &str {
    outcome.error.as_ref().map_or("", |error| error.code.as_str())
}

pub(crate) async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LIMIT, wait).await.unwrap_or_else(|_| panic!("in time: {what}"));
}

/// The state letter of a process; `None` when it is gone or only waits to be buried.
pub(crate) fn process_state(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let state = stat.rsplit(')').next()?.trim().chars().next()?;
    (state != 'Z').then_some(state)
}

/// The restics named in `HOLDFAST_TEST_RESTIC`, parted by colons, or else the one on the `PATH`.
pub(crate) async fn restics() -> Vec<Restic> {
    let named = std::env::var_os("HOLDFAST_TEST_RESTIC").unwrap_or_default();
    let paths: Vec<_> =
        std::env::split_paths(&named).filter(|path| path != Path::new("")).collect();
    let mut wanted: Vec<_> = paths.iter().map(|path| Some(path.as_path())).collect();
    if wanted.is_empty() {
        wanted.push(None);
    }
    let mut found = Vec::new();
    for path in wanted {
        let restic = Restic::discover(path).await;
        found.push(restic.unwrap_or_else(|error| panic!("{error}. {}", error.action())));
    }
    found
}

/// Patient where a busy machine needs it, and quick to look again.
pub(crate) fn eager(restic: Restic) -> Restic {
    restic.with_patience(Patience {
        retry_min: Duration::from_millis(100),
        retry_max: Duration::from_millis(500),
        ..Patience::default()
    })
}

/// Quick to kill what does not end: a restic held back by a limit hears nothing while it waits.
pub(crate) fn brisk(restic: Restic) -> Restic {
    restic.with_patience(Patience { cancel_grace: Duration::from_secs(1), ..Patience::default() })
}

/// Bytes that neither compress nor repeat.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..length).map(|_| next()).collect()
}

/// Runs an operation that must succeed, and returns its result.
pub(crate) fn result_of<T: serde::de::DeserializeOwned>(outcome: &Outcome) -> T {
    assert_eq!(outcome.status, Status::Succeeded, "{outcome:?}");
    stats_of(outcome)
}

pub(crate) fn stats_of<T: serde::de::DeserializeOwned>(outcome: &Outcome) -> T {
    outcome.stats.as_ref().unwrap().parse().unwrap()
}

/// What restic itself says, asked directly.
pub(crate) async fn ask_restic(restic: &Restic, place: &Place, arguments: &[&str]) -> String {
    let answer = Command::new(restic.program())
        .args(arguments)
        .env("RESTIC_REPOSITORY", place.repository())
        .env("RESTIC_PASSWORD", PASSWORD)
        .env("RESTIC_CACHE_DIR", place.path("cache"))
        .output()
        .await
        .unwrap();
    assert!(answer.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&answer.stderr));
    String::from_utf8(answer.stdout).unwrap()
}

/// Something in a directory, with all that a restore has to bring back.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Thing {
    name: Vec<u8>,
    mode: u32,
    owner: (u32, u32),
    modified: (i64, i64),
    content: Vec<u8>,
    links: u64,
    /// The first name of the same file.
    same_as: Vec<u8>,
}

impl std::fmt::Debug for Thing {
    /// Names are shown as far as they are text, and content is not.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Thing")
            .field("name", &String::from_utf8_lossy(&self.name))
            .field("mode", &format_args!("{:o}", self.mode))
            .field("owner", &self.owner)
            .field("modified", &self.modified)
            .field("size", &self.content.len())
            .field("links", &self.links)
            .field("same_as", &String::from_utf8_lossy(&self.same_as))
            .finish()
    }
}

impl Thing {
    /// The same without what an archive keeps in seconds only.
    pub(crate) fn without_times(self) -> Self {
        Self { modified: (0, 0), ..self }
    }
}

/// Everything below `root`.
pub(crate) fn things(root: &Path) -> Vec<Thing> {
    use std::os::unix::{ffi::OsStrExt, fs::FileTypeExt, fs::MetadataExt};
    let (mut things, mut waiting) = (Vec::new(), vec![root.to_owned()]);
    let mut first_names = BTreeMap::new();
    while let Some(directory) = waiting.pop() {
        let mut paths: Vec<_> =
            fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        for path in paths {
            let name = path.strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec();
            let found = fs::symlink_metadata(&path).unwrap();
            let kind = found.file_type();
            let content = if kind.is_symlink() {
                fs::read_link(&path).unwrap().as_os_str().as_bytes().to_vec()
            } else if kind.is_file() {
                fs::read(&path).unwrap()
            } else {
                vec![u8::from(kind.is_fifo())]
            };
            let same_as = first_names.entry(found.ino()).or_insert_with(|| name.clone()).clone();
            things.push(Thing {
                name,
                mode: found.mode(),
                owner: (found.uid(), found.gid()),
                modified: (found.mtime(), found.mtime_nsec()),
                content,
                links: if kind.is_dir() { 0 } else { found.nlink() },
                same_as,
            });
            if kind.is_dir() {
                waiting.push(path);
            }
        }
    }
    things.sort();
    things
}
