//! `holdfast snapshots download`.
//!
//! What has come lies in a file beside the wanted one until it is whole, so a download that was
//! broken off goes on when it is asked for again, and half a file is never taken for a whole one.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Seek, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::json;

use super::{Query, named};
use crate::{
    cli,
    client::ApiError,
    command::Operator,
    failure::Failure,
    output::{bytes, printable, remark},
};

/// How often a broken download goes on by itself, counted anew whenever something has come.
const TRIES_MAX: u32 = 5;

/// How long between two tries.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// `holdfast snapshots download`.
pub(super) async fn run(
    operator: &Operator,
    snapshot: &cli::Snapshot,
    path: &str,
    output: Option<&str>,
) -> Result<(), Failure> {
    let id = named(operator, &snapshot.host, &snapshot.id).await?;
    let wanted = Wanted { host: &snapshot.host, id: &id, path, repo: snapshot.repo.as_deref() };
    if output == Some("-") {
        return wanted.take(operator, &mut Sink::Screen { written: 0 }).await.map(drop);
    }
    let given = output.map(PathBuf::from);
    let part = wanted.part(given.as_deref());
    if let Some(file) = &given {
        refuse_existing(file)?;
    }
    let mut sink = Sink::open(&part)?;
    let taken = wanted.take(operator, &mut sink).await;
    if taken.is_err() && sink.written() == 0 {
        // There is nothing to go on with. What cannot be removed does no harm.
        let _ = fs::remove_file(&part);
    }
    let suggested = taken?;
    let file = given.unwrap_or_else(|| PathBuf::from(suggested));
    // Without a given name only the answer tells whether it is an archive.
    refuse_existing(&file)?;
    fs::rename(&part, &file).map_err(|error| unwritable(&file, &error))?;
    told(operator, &file, sink.written());
    Ok(())
}

fn told(operator: &Operator, file: &Path, size: u64) {
    let shown = file.display().to_string();
    let answer = json!({ "file": shown, "size_bytes": size });
    operator.screen.show(&answer, |_| format!("{}  {}\n", printable(&shown), bytes(size)));
}

/// What is to be downloaded.
struct Wanted<'a> {
    host: &'a str,
    id: &'a str,
    path: &'a str,
    repo: Option<&'a str>,
}

impl Wanted<'_> {
    /// Takes all of it, and returns what it should be called.
    async fn take(&self, operator: &Operator, sink: &mut Sink) -> Result<String, Failure> {
        let mut tries = 0;
        loop {
            let before = sink.written();
            let error = match self.go_on(operator, sink).await {
                Ok(name) => return Ok(name),
                Err(Broken::Sink(failure)) => return Err(failure),
                Err(Broken::Link(error)) => error,
            };
            tries = if sink.written() > before { 1 } else { tries + 1 };
            if error.code() == Some("host_not_found") {
                return Err(operator.about_host(self.host, error).await);
            }
            // A host that was lost on the way may be away for a moment only.
            let passing = error.is_passing() || error.code() == Some("host_offline");
            if !passing || tries >= TRIES_MAX || (sink.written() == 0 && tries > 1) {
                return Err(error.into());
            }
            remark(&format!("broken off after {}; going on", bytes(sink.written())));
            tokio::time::sleep(RETRY_AFTER).await;
        }
    }

    async fn go_on(&self, operator: &Operator, sink: &mut Sink) -> Result<String, Broken> {
        let address = ["hosts", self.host, "snapshots", self.id, "download"];
        let mut query: Query = vec![("path", self.path)];
        query.extend(self.repo.map(|repo| ("repository", repo)));
        let opened = operator.client.open(&address, &query, sink.written()).await;
        let mut coming = match opened {
            Err(error) if error.code() == Some("range_not_satisfiable") => {
                // What lies here is not the beginning of this file.
                sink.rewind()?;
                operator.client.open(&address, &query, 0).await.map_err(Broken::Link)?
            }
            opened => opened.map_err(Broken::Link)?,
        };
        if coming.start() != sink.written() {
            sink.rewind()?;
        }
        while let Some(bytes) = coming.next().await.map_err(Broken::Link)? {
            sink.write(&bytes)?;
        }
        sink.finish()?;
        let end = if coming.is_archive() { ".tar" } else { "" };
        Ok(format!("{}{end}", self.name()))
    }

    /// The last part of the path. It comes from a snapshot, where a name is never `.` or `..`.
    fn name(&self) -> &str {
        self.path.rsplit('/').find(|part| !part.is_empty()).unwrap_or("snapshot")
    }

    /// The file for what has come, which no other download has.
    fn part(&self, file: Option<&Path>) -> PathBuf {
        let text = format!("{}\0{}\0{:?}", self.id, self.path, self.repo);
        let end = format!(".{:016x}.part", fingerprint(text.as_bytes()));
        let mut part = file.unwrap_or(Path::new(self.name())).as_os_str().to_owned();
        part.push(end);
        part.into()
    }
}

/// FNV-1a: the same on every machine and in every release.
fn fingerprint(text: &[u8]) -> u64 {
    text.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// Why a try has ended.
enum Broken {
    Link(ApiError),
    Sink(Failure),
}

impl From<Failure> for Broken {
    fn from(failure: Failure) -> Self {
        Self::Sink(failure)
    }
}

/// Where the bytes go.
enum Sink {
    Screen { written: u64 },
    File { file: File, path: PathBuf, written: u64 },
}

impl Sink {
    fn open(path: &Path) -> Result<Self, Failure> {
        let opened = OpenOptions::new().append(true).create(true).open(path);
        let file = opened.map_err(|error| unwritable(path, &error))?;
        let written = file.metadata().map_err(|error| unwritable(path, &error))?.len();
        Ok(Self::File { file, path: path.to_owned(), written })
    }

    fn written(&self) -> u64 {
        let (Self::Screen { written } | Self::File { written, .. }) = self;
        *written
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        match self {
            Self::Screen { written } => {
                *written += bytes.len() as u64;
                io::stdout().lock().write_all(bytes).map_err(|error| gone(&error))
            }
            Self::File { file, path, written } => {
                *written += bytes.len() as u64;
                file.write_all(bytes).map_err(|error| unwritable(path, &error))
            }
        }
    }

    /// Begins anew.
    fn rewind(&mut self) -> Result<(), Failure> {
        match self {
            Self::Screen { written: 0 } => Ok(()),
            Self::Screen { .. } => Err(Failure::new(
                "The download broke off, and an archive cannot go on in the middle.",
                "Do it again with --output FILE.",
            )),
            Self::File { file, path, written } => {
                *written = 0;
                let emptied = file.set_len(0).and_then(|()| file.rewind());
                emptied.map_err(|error| unwritable(path, &error))
            }
        }
    }

    /// All has come: a crash from now on must not leave a file that is not whole.
    fn finish(&mut self) -> Result<(), Failure> {
        match self {
            Self::Screen { .. } => io::stdout().lock().flush().map_err(|error| gone(&error)),
            Self::File { file, path, .. } => {
                file.sync_all().map_err(|error| unwritable(path, &error))
            }
        }
    }
}

fn refuse_existing(file: &Path) -> Result<(), Failure> {
    if !file.exists() {
        return Ok(());
    }
    Err(Failure::new(
        format!("There is already a file `{}`.", printable(&file.display().to_string())),
        "Choose another name with --output, or move that one away.",
    ))
}

fn unwritable(file: &Path, error: &io::Error) -> Failure {
    Failure::new(
        format!("`{}` cannot be written: {error}.", printable(&file.display().to_string())),
        "Choose another place with --output, or make room; what has come so far is kept.",
    )
}

fn gone(error: &io::Error) -> Failure {
    Failure::new(format!("Standard output cannot be written: {error}."), "Use --output FILE.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_downloads_never_go_on_in_each_others_file() {
        let part = |id, path| Wanted { host: "h", id, path, repo: None }.part(None);
        assert_ne!(part("01", "/a/x"), part("01", "/b/x"));
        assert_ne!(part("01", "/a/x"), part("02", "/a/x"));
        assert_eq!(part("01", "/a/x"), part("01", "/a/x"));
        let name = part("01", "/a/x").display().to_string();
        assert!(name.starts_with("x.") && name.ends_with(".part"), "{name}");
    }

    #[test]
    fn what_has_come_is_kept_and_what_belongs_elsewhere_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("part");
        fs::write(&path, "abc").unwrap();
        let mut sink = Sink::open(&path).unwrap();
        assert_eq!(sink.written(), 3);
        sink.write(b"de").unwrap();
        assert_eq!((fs::read(&path).unwrap().as_slice(), sink.written()), (&b"abcde"[..], 5));
        sink.rewind().unwrap();
        sink.write(b"x").unwrap();
        assert_eq!((fs::read(&path).unwrap().as_slice(), sink.written()), (&b"x"[..], 1));
        assert!(Sink::Screen { written: 1 }.rewind().is_err(), "it is on the screen already");
    }
}
