//! Folders compared as a restore must bring them back: every name, kind, byte, mode, time and link.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};

/// What something below a folder is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Thing {
    Folder,
    /// Its bytes, and the first of the names that are links to the same file.
    File(Vec<u8>, PathBuf),
    Link(PathBuf),
}

/// Everything below a folder by its path within.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    things: BTreeMap<PathBuf, (Thing, u32, i64, i64)>,
}

impl Tree {
    /// What is below `folder` now.
    ///
    /// # Errors
    /// When something cannot be read.
    pub fn of(folder: &Path) -> Result<Self> {
        let mut tree = Self::default();
        let mut names = BTreeMap::new();
        tree.read(folder, folder, &mut names)?;
        Ok(tree)
    }

    /// An error that names the first differences, when there are any.
    ///
    /// # Errors
    /// When `other` is not the same in every respect.
    pub fn must_equal(&self, other: &Self) -> Result<()> {
        let paths = self.things.keys().chain(other.things.keys());
        let differs = |path: &&PathBuf| self.things.get(*path) != other.things.get(*path);
        let mut different: Vec<String> =
            paths.filter(differs).map(|path| self.difference(other, path)).collect();
        different.sort();
        different.dedup();
        ensure!(
            different.is_empty(),
            "{} differ: {:#?}",
            different.len(),
            &different[..different.len().min(5)]
        );
        Ok(())
    }

    /// How many things there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.things.len()
    }

    fn difference(&self, other: &Self, path: &Path) -> String {
        let shown = |tree: &Self| match tree.things.get(path) {
            None => "nothing".to_owned(),
            Some((Thing::File(bytes, first), mode, seconds, nanoseconds)) => {
                let (length, first) = (bytes.len(), first.display());
                format!(
                    "a file of {length} bytes, mode {mode:o}, {seconds}.{nanoseconds:09}, as {first}"
                )
            }
            Some(thing) => format!("{thing:?}"),
        };
        format!("{}: {} here, {} there", path.display(), shown(self), shown(other))
    }

    fn read(
        &mut self,
        top: &Path,
        folder: &Path,
        names: &mut BTreeMap<(u64, u64), PathBuf>,
    ) -> Result<()> {
        let mut paths: Vec<PathBuf> = fs::read_dir(folder)
            .with_context(|| format!("cannot list {}", folder.display()))?
            .map(|entry| Ok(entry?.path()))
            .collect::<Result<_>>()?;
        paths.sort();
        for path in paths {
            let facts = fs::symlink_metadata(&path)?;
            let within = path.strip_prefix(top)?.to_path_buf();
            let thing = thing(&path, &within, &facts, names)?;
            let is_folder = thing == Thing::Folder;
            // A link's own mode means nothing.
            let mode = if facts.is_symlink() { 0 } else { facts.mode() & 0o7777 };
            self.things.insert(within, (thing, mode, facts.mtime(), facts.mtime_nsec()));
            if is_folder {
                self.read(top, &path, names)?;
            }
        }
        Ok(())
    }
}

fn thing(
    path: &Path,
    within: &Path,
    facts: &Metadata,
    names: &mut BTreeMap<(u64, u64), PathBuf>,
) -> Result<Thing> {
    if facts.is_symlink() {
        return Ok(Thing::Link(fs::read_link(path)?));
    }
    if facts.is_dir() {
        return Ok(Thing::Folder);
    }
    let first = names.entry((facts.dev(), facts.ino())).or_insert_with(|| within.to_path_buf());
    Ok(Thing::File(fs::read(path)?, first.clone()))
}

/// A folder with everything that careless restores lose. Returns the paths of some of its files.
///
/// # Errors
/// When the disk refuses.
pub fn lay_out(folder: &Path) -> Result<Vec<PathBuf>> {
    fs::create_dir_all(folder.join("deep/er"))?;
    fs::create_dir_all(folder.join("empty"))?;
    let names: [&[u8]; 8] = [
        b"plain",
        b"with space",
        b"--dashes",
        "naïve 文書 🗄".as_bytes(),
        b"new\nline",
        b"quote'\"s",
        b"[a-z]*?\\",
        b"not-\xff\xfe-text",
    ];
    let mut files = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let file = folder.join("deep").join(OsString::from_vec(name.to_vec()));
        fs::write(&file, name.repeat(index * 700 + 1))?;
        set_time(&file, 1_500_000_000 + index as u64, 123_456_789)?;
        files.push(file);
    }
    fs::write(folder.join("nothing"), "")?;
    for (name, mode) in [("plain", 0o640), ("with space", 0o4755), ("--dashes", 0o400)] {
        fs::set_permissions(folder.join("deep").join(name), fs::Permissions::from_mode(mode))?;
    }
    symlink("deep/plain", folder.join("near"))?;
    symlink("/nowhere/at all", folder.join("far"))?;
    fs::hard_link(folder.join("deep/plain"), folder.join("deep/er/twin"))?;
    fs::set_permissions(folder.join("empty"), fs::Permissions::from_mode(0o1751))?;
    set_time(&folder.join("empty"), 1_234_567_890, 5)?;
    set_time(&folder.join("deep/er"), 1_234_567_891, 5)?;
    set_time(&folder.join("deep"), 1_234_567_892, 5)?;
    Ok(files)
}

fn set_time(path: &Path, seconds: u64, nanoseconds: u32) -> Result<()> {
    let time = UNIX_EPOCH + Duration::new(seconds, nanoseconds);
    File::open(path)?.set_modified(time)?;
    Ok(())
}

/// Where the content of `path` lies below `target` after a restore there.
#[must_use]
pub fn restored(target: &Path, path: &Path) -> PathBuf {
    let within = path.as_os_str().as_bytes();
    let within = within.strip_prefix(b"/").unwrap_or(within);
    target.join(OsString::from_vec(within.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_equals_itself_and_no_change_goes_unnoticed() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        lay_out(one.path()).unwrap();
        lay_out(two.path()).unwrap();
        let tree = |folder: &Path| Tree::of(folder).unwrap();
        let before = tree(one.path());
        assert!(before.count() > 10);
        let changes: [&dyn Fn(&Path); 5] = [
            &|folder| fs::write(folder.join("deep/new\nline"), "x").unwrap(),
            &|folder| {
                let mode = fs::Permissions::from_mode(0o755);
                fs::set_permissions(folder.join("deep/with space"), mode).unwrap();
            },
            &|folder| {
                fs::remove_file(folder.join("near")).unwrap();
                symlink("deep/else", folder.join("near")).unwrap();
            },
            &|folder| {
                let twin = folder.join("deep/er/twin");
                let (bytes, facts) = (fs::read(&twin).unwrap(), fs::metadata(&twin).unwrap());
                fs::remove_file(&twin).unwrap();
                fs::write(&twin, bytes).unwrap();
                fs::set_permissions(&twin, facts.permissions()).unwrap();
                File::open(&twin).unwrap().set_modified(facts.modified().unwrap()).unwrap();
            },
            &|folder| set_time(&folder.join("empty"), 1_234_567_890, 6).unwrap(),
        ];
        for change in changes {
            let earlier = tree(one.path());
            change(one.path());
            assert!(tree(one.path()).must_equal(&earlier).is_err());
        }
    }
}
