//! What strace wrote down, as events.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use holdfast_e2e::slow_restic::write_program;

use crate::wire;

/// The calls that matter.
const CALLS: &str = "trace=pwrite64,write,writev,fsync,fdatasync,ftruncate,sendto,unlink,unlinkat";
/// Longer than any write.
const STRING_MAX: &str = "100000000";

/// Something that a program did.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Event {
    /// Bytes went into a file.
    Write { file: PathBuf, offset: usize, data: Vec<u8> },
    /// A file's writes among the first `covers` events are on the disk.
    Sync { file: PathBuf, covers: usize },
    /// A file got another length.
    Length { file: PathBuf, length: usize },
    /// A file was removed.
    Removed { file: PathBuf },
    /// Bytes went to the peer, as the peer reads them.
    Sent { data: Vec<u8> },
    /// A line went into a log or a ledger: a file that is only appended to.
    Noted { file: PathBuf, data: Vec<u8> },
}

/// Everything a program did, in order.
#[derive(Debug, Default)]
pub(crate) struct Recording {
    pub(crate) events: Vec<Event>,
}

/// Whether programs can be watched here.
pub(crate) fn is_available() -> bool {
    let watched = Command::new("strace").args(["-f", "-o", "/dev/null", "true"]).output();
    watched.is_ok_and(|output| output.status.success())
}

/// A program that is another one, and is watched from some moment on.
pub(crate) struct Watched {
    /// What to start in its place.
    pub(crate) program: PathBuf,
    log: PathBuf,
    flag: PathBuf,
}

impl Watched {
    /// `program`, to be watched when its first argument is `verb`.
    pub(crate) fn new(folder: &Path, program: &Path, verb: &str) -> Result<Self> {
        let name = program.file_name().context("a program without a name")?;
        let watched = Self {
            program: folder.join(name),
            log: folder.join("strace"),
            flag: folder.join("watch"),
        };
        // As a grandchild, strace leaves the program its place: its process id, its signals.
        let script = format!(
            "#!/bin/sh\nif [ \"$1\" = '{verb}' ] && [ -e '{flag}' ]; then\n  exec strace -D -f -y \
             -xx -s {STRING_MAX} -e signal=none -e {CALLS} -o '{log}' '{program}' \"$@\"\nfi\n\
             exec '{program}' \"$@\"\n",
            flag = watched.flag.display(),
            log = watched.log.display(),
            program = program.display(),
        );
        write_program(&watched.program, &script)?;
        Ok(watched)
    }

    /// From its next start on it is watched.
    pub(crate) fn watch(&self) -> Result<()> {
        fs::write(&self.flag, "").context("cannot tell the wrapper to watch")
    }

    /// What it did, after `file` was there with this content.
    pub(crate) fn recording(&self, file: &Path, content: Vec<u8>) -> Result<Recording> {
        let log = &self.log;
        let text = fs::read(log).with_context(|| format!("cannot read {}", log.display()))?;
        let file = file.to_path_buf();
        let start = Event::Write { file: file.clone(), offset: 0, data: content };
        let mut recording = Recording { events: vec![start, Event::Sync { file, covers: 1 }] };
        recording.parse(&String::from_utf8_lossy(&text));
        Ok(recording)
    }
}

impl Recording {
    fn parse(&mut self, text: &str) {
        let mut unfinished: HashMap<&str, (String, usize)> = HashMap::new();
        for line in text.lines() {
            let Some((pid, said)) = line.split_once(' ') else { continue };
            let said = said.trim_start();
            if let Some(resumed) = said.strip_prefix("<... ") {
                if let Some((begun, index)) = unfinished.remove(pid) {
                    self.finish(&begun, index, succeeded(resumed));
                }
            } else if let Some(begun) = said.strip_suffix(" <unfinished ...>") {
                let index = self.events.len();
                self.begin(begun);
                unfinished.insert(pid, (begun.to_owned(), index));
            } else {
                let index = self.events.len();
                self.begin(said);
                self.finish(said, index, succeeded(said));
            }
        }
    }

    /// What may have an effect as soon as it begins.
    fn begin(&mut self, call: &str) {
        self.events.extend(Call::parse(call).and_then(|call| call.begun()));
    }

    /// What has an effect only when it is through.
    fn finish(&mut self, call: &str, index: usize, succeeded: bool) {
        let done = Call::parse(call).filter(|_| succeeded);
        self.events.extend(done.and_then(|call| call.done(index)));
    }
}

fn succeeded(said: &str) -> bool {
    said.rsplit_once("= ").is_some_and(|(_, result)| !result.starts_with('-'))
}

/// A call as strace shows it: `name(fd<path>, "\x..", 1, 2`.
struct Call<'a> {
    name: &'a str,
    arguments: &'a str,
}

impl<'a> Call<'a> {
    fn parse(said: &'a str) -> Option<Self> {
        let (name, arguments) = said.split_once('(')?;
        Some(Self { name, arguments })
    }

    fn begun(&self) -> Option<Event> {
        match self.name {
            "pwrite64" => {
                let (data, rest) = self.data()?;
                let offset = rest.split(", ").nth(2)?;
                let offset = offset.trim_end_matches(|c: char| !c.is_ascii_digit());
                let offset = offset.split(')').next()?.parse().ok()?;
                Some(Event::Write { file: self.file()?, offset, data })
            }
            "write" | "writev" | "sendto" => self.sent_or_noted(),
            _ => None,
        }
    }

    fn done(&self, covers: usize) -> Option<Event> {
        match self.name {
            "fsync" | "fdatasync" => Some(Event::Sync { file: self.file()?, covers }),
            "ftruncate" => {
                let length = self.arguments.split(", ").nth(1)?;
                let length = length.split(')').next()?.trim().parse().ok()?;
                Some(Event::Length { file: self.file()?, length })
            }
            "unlink" | "unlinkat" => {
                let (path, _) = self.data()?;
                Some(Event::Removed { file: PathBuf::from(String::from_utf8(path).ok()?) })
            }
            _ => None,
        }
    }

    fn sent_or_noted(&self) -> Option<Event> {
        let file = self.file()?;
        let (mut data, mut rest) = self.data()?;
        if self.name == "writev" {
            // Its parts follow each other.
            while let Some((more, after)) = string(rest) {
                data.extend(more);
                rest = after;
            }
        }
        let name = file.to_string_lossy();
        if name.starts_with("socket:") || name.starts_with("TCP:") {
            let plain = wire::unmask(&data);
            return Some(Event::Sent { data: if plain.is_empty() { data } else { plain } });
        }
        name.starts_with('/').then(|| Event::Noted { file: file.clone(), data })
    }

    /// The path of the first argument's descriptor.
    fn file(&self) -> Option<PathBuf> {
        let (_, rest) = self.arguments.split_once('<')?;
        let (path, _) = rest.split_once('>')?;
        Some(PathBuf::from(String::from_utf8(unescape(path)).ok()?))
    }

    /// The first string, and what comes after it.
    fn data(&self) -> Option<(Vec<u8>, &'a str)> {
        string(self.arguments)
    }
}

fn string(text: &str) -> Option<(Vec<u8>, &str)> {
    let (_, rest) = text.split_once('"')?;
    let (inside, after) = rest.split_once('"')?;
    Some((unescape(inside), after))
}

fn unescape(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len() / 4);
    let mut index = 0;
    while index < bytes.len() {
        let code = bytes.get(index..index + 4).filter(|code| code.starts_with(b"\\x"));
        let code = code.and_then(|code| std::str::from_utf8(&code[2..]).ok());
        if let Some(byte) = code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            plain.push(byte);
            index += 4;
        } else {
            plain.push(bytes[index]);
            index += 1;
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = r#"7 pwrite64(5</a/state.redb>, "\x01\x02", 2, 4096) = 2
7 fdatasync(5</a/state.redb> <unfinished ...>
8 write(6</a/peer.ledger>, "\x64\x20\x31", 3) = 3
8 pwrite64(5</a/state.redb>, "\x03", 1, 0 <unfinished ...>
7 <... fdatasync resumed>) = 0
8 <... pwrite64 resumed>) = 1
7 ftruncate(5</a/state.redb>, 8192) = 0
7 sendto(9<socket:[77]>, "\x68\x69", 2, 0x4000, NULL, 0) = 2
7 unlink("\x2f\x61\x2f\x62") = -1 ENOENT (No such file or directory)
7 unlink("\x2f\x61\x2f\x62") = 0
7 writev(9<TCP:[1]>, [{iov_base="\x61", iov_len=1}, {iov_base="\x62", iov_len=1}], 2) = 2
"#;

    #[test]
    fn a_log_becomes_what_happened() {
        let file = PathBuf::from("/a/state.redb");
        let write =
            |offset, data: &[u8]| Event::Write { file: file.clone(), offset, data: data.to_vec() };
        let expected = [
            write(4096, &[1, 2]),
            Event::Noted { file: PathBuf::from("/a/peer.ledger"), data: b"d 1".to_vec() },
            write(0, &[3]),
            // It began before the second write, so it says nothing about it.
            Event::Sync { file: file.clone(), covers: 1 },
            Event::Length { file: file.clone(), length: 8192 },
            Event::Sent { data: b"hi".to_vec() },
            Event::Removed { file: PathBuf::from("/a/b") },
            Event::Sent { data: b"ab".to_vec() },
        ];
        let mut recording = Recording::default();
        recording.parse(LOG);
        assert_eq!(recording.events, expected);
    }
}
