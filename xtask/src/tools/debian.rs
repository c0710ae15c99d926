//! A package of a Debian suite, unpacked into a folder without installing it.
//!
//! It uses the archive that the machine's own apt sources name, with a package state of its own,
//! so that no file of the system changes and root is not needed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::package::apt_get;
use crate::command;

/// The key that signs Debian's archive.
const ARCHIVE_KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Unpacks `package` of `suite` into `folder`: wholly, or not at all.
pub(super) fn unpack(package: &str, suite: &str, folder: &Path) -> Result<()> {
    let archive = machine_archive()?;
    let parent = folder.parent().context("the folder to unpack into has no parent")?;
    fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    let scratch = tempfile::Builder::new().prefix(".unpack-").tempdir_in(parent)?;
    let state = State::create(scratch.path(), &archive, suite)?;
    state.download(package)?;
    let unpacked = scratch.path().join("unpacked");
    command::capture(Command::new("dpkg").arg("-x").arg(state.package_file()?).arg(&unpacked))?;
    // A half-made folder of an earlier run would make the rename fail.
    let _ = fs::remove_dir_all(folder);
    fs::rename(&unpacked, folder).with_context(|| format!("cannot make {}", folder.display()))
}

/// The code name of the Debian release that the machine runs.
pub(super) fn own_suite() -> Result<String> {
    let release = fs::read_to_string("/etc/os-release").context("cannot read /etc/os-release")?;
    codename(&release).context("this is not a Debian release")
}

/// The archive address in the machine's apt sources, for the release it runs.
fn machine_archive() -> Result<String> {
    for tool in ["apt-get", "dpkg"] {
        if command::on_path(tool).is_none() {
            bail!("{tool} is missing: only Debian has packages of later Debian suites");
        }
    }
    let codename = own_suite()?;
    let sources = apt_sources().into_iter().filter_map(|file| fs::read_to_string(file).ok());
    for text in sources {
        if let Some(archive) = archive_of(&text, &codename) {
            return Ok(archive);
        }
    }
    bail!("the apt sources name no archive for {codename} main")
}

fn apt_sources() -> Vec<PathBuf> {
    let parts = fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = parts.map(|entry| entry.path()).collect();
    files.sort();
    files.push("/etc/apt/sources.list".into());
    files
}

/// The release's code name, if `release` (the text of `os-release`) is Debian's own.
fn codename(release: &str) -> Option<String> {
    let field = |name: &str| {
        let prefix = format!("{name}=");
        let line = release.lines().find_map(|line| line.strip_prefix(&prefix))?;
        Some(line.trim_matches('"').to_owned())
    };
    (field("ID")? == "debian").then(|| field("VERSION_CODENAME"))?
}

/// The archive that `text` (apt sources in either format) names for `codename` main.
fn archive_of(text: &str, codename: &str) -> Option<String> {
    text.split("\n\n")
        .find_map(|stanza| archive_of_stanza(stanza, codename))
        .or_else(|| text.lines().find_map(|line| archive_of_line(line, codename)))
}

fn archive_of_stanza(stanza: &str, codename: &str) -> Option<String> {
    let field = |name: &str| {
        let prefix = format!("{name}:");
        stanza.lines().find_map(|line| line.strip_prefix(&prefix)).map(str::trim)
    };
    let holds = |name: &str, word: &str| {
        field(name).is_some_and(|value| value.split_whitespace().any(|found| found == word))
    };
    let fits = holds("Types", "deb") && holds("Suites", codename) && holds("Components", "main");
    fits.then(|| field("URIs")?.split_whitespace().next().map(str::to_owned))?
}

fn archive_of_line(line: &str, codename: &str) -> Option<String> {
    let entry = line.strip_prefix("deb ")?.trim_start();
    let entry = match entry.strip_prefix('[') {
        Some(options) => options.split_once(']')?.1,
        None => entry,
    };
    let mut words = entry.split_whitespace();
    let (uri, suite) = (words.next()?, words.next()?);
    (suite == codename && words.any(|word| word == "main")).then(|| uri.to_owned())
}

/// apt's own state, in a folder that is thrown away.
struct State<'a> {
    folder: &'a Path,
}

impl<'a> State<'a> {
    fn create(folder: &'a Path, archive: &str, suite: &str) -> Result<Self> {
        for part in ["lists/partial", "archives/partial"] {
            fs::create_dir_all(folder.join(part))?;
        }
        let signed_by = match Path::new(ARCHIVE_KEYRING).exists() {
            true => format!("[signed-by={ARCHIVE_KEYRING}] "),
            false => String::new(),
        };
        let entry = format!("deb {signed_by}{archive} {suite} main\n");
        fs::write(folder.join("sources.list"), entry)?;
        Ok(Self { folder })
    }

    fn download(&self, package: &str) -> Result<()> {
        command::capture(self.apt().arg("update"))?;
        command::capture(self.apt().args(["download", package]))?;
        Ok(())
    }

    fn apt(&self) -> Command {
        let at = |part: &str| self.folder.join(part).display().to_string();
        let mut apt = apt_get();
        apt.current_dir(self.folder).arg("-qq");
        for option in [
            format!("Dir::State::Lists={}", at("lists")),
            format!("Dir::Cache::Archives={}", at("archives")),
            format!("Dir::Etc::SourceList={}", at("sources.list")),
            "Dir::Etc::SourceParts=/dev/null".into(),
            "Dir::Cache::pkgcache=".into(),
            "Dir::Cache::srcpkgcache=".into(),
            // The usual download user cannot write into our folder.
            format!("APT::Sandbox::User={}", user()),
        ] {
            apt.arg("-o").arg(option);
        }
        apt
    }

    fn package_file(&self) -> Result<PathBuf> {
        let mut entries = fs::read_dir(self.folder)?.flatten().map(|entry| entry.path());
        entries
            .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
            .context("apt-get download left no package")
    }
}

fn user() -> String {
    match nix::unistd::User::from_uid(nix::unistd::geteuid()) {
        Ok(Some(user)) => user.name,
        _ => "root".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STANZAS: &str = "Types: deb\n# URIs: http://old.example/debian\n\
        URIs: http://new.example/debian\nSuites: bookworm bookworm-updates\n\
        Components: main contrib\n\n\
        Types: deb\nURIs: http://security.example/debian-security\n\
        Suites: bookworm-security\nComponents: main\n";

    #[test]
    fn the_archive_comes_from_the_stanza_of_this_release() {
        assert_eq!(archive_of(STANZAS, "bookworm").as_deref(), Some("http://new.example/debian"));
        assert_eq!(archive_of(STANZAS, "trixie"), None);
    }

    #[test]
    fn the_archive_comes_from_an_old_style_line_too() {
        let lines = "# deb http://no.example bookworm main\n\
            deb http://security.example bookworm-security main\n\
            deb [arch=amd64 signed-by=/a/b] http://yes.example/debian bookworm contrib main\n";
        assert_eq!(archive_of(lines, "bookworm").as_deref(), Some("http://yes.example/debian"));
        assert_eq!(archive_of("deb http://other.example cloud extra\n", "bookworm"), None);
    }

    #[test]
    fn only_debian_itself_counts() {
        let debian = "NAME=\"Debian\"\nID=debian\nVERSION_CODENAME=bookworm\n";
        assert_eq!(codename(debian).as_deref(), Some("bookworm"));
        assert_eq!(codename("ID=ubuntu\nVERSION_CODENAME=noble\n"), None);
    }
}
