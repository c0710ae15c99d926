//! Files to back up. The same seed makes the same bytes, fast.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result};

/// How many files one folder of [`small_files`] holds.
const FILES_PER_FOLDER: usize = 100;

/// The smallest of [`small_files`], and how often that size may double.
const SMALL_BYTES_MIN: usize = 64;
const SMALL_OCTAVES: u32 = 8;

/// Random bytes are made and written in pieces of this size.
const PIECE_BYTES: usize = 1 << 20;

/// A sparse file has one island of random bytes, [`PIECE_BYTES`] long, per so many bytes.
const SEA_BYTES: u64 = 16 << 20;

/// A fast, seeded stream of numbers (splitmix64). Not for secrets.
#[derive(Debug, Clone)]
pub struct Numbers(u64);

impl Numbers {
    /// The stream that `seed` begins.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number; all 64 bits are equally random.
    pub fn next_number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Fills `bytes`.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let number = self.next_number().to_le_bytes();
            chunk.copy_from_slice(&number[..chunk.len()]);
        }
    }
}

/// `count` files like those of a home folder: many tiny, some of a few KiB, a hundred to a folder.
///
/// # Errors
/// When the disk refuses.
pub fn small_files(folder: &Path, count: usize, seed: u64) -> Result<()> {
    let mut numbers = Numbers::new(seed);
    let mut bytes = vec![0; SMALL_BYTES_MIN + (SMALL_BYTES_MIN << SMALL_OCTAVES)];
    for index in 0..count {
        let parent = folder.join(format!("{:03}", index / FILES_PER_FOLDER));
        if index % FILES_PER_FOLDER == 0 {
            make_folder(&parent)?;
        }
        let length = small_length(&mut numbers);
        numbers.fill(&mut bytes[..length]);
        write(&parent.join(format!("note-{index:05}.dat")), &bytes[..length])?;
    }
    Ok(())
}

/// Small sizes are common and large ones rare, as in life.
fn small_length(numbers: &mut Numbers) -> usize {
    let octave = numbers.next_number() % u64::from(SMALL_OCTAVES);
    let spread = (SMALL_BYTES_MIN as u64) << octave;
    SMALL_BYTES_MIN + usize::try_from(numbers.next_number() % spread).unwrap_or_default()
}

/// Files of `bytes` in all: half of them random, half sparse with islands of random bytes, like
/// the data of a database beside its reserved space.
///
/// # Errors
/// When the disk refuses.
pub fn sparse_and_random(folder: &Path, bytes: u64, seed: u64) -> Result<()> {
    const FILES: u64 = 8;
    make_folder(folder)?;
    let mut numbers = Numbers::new(seed);
    for index in 0..FILES {
        let length = bytes / FILES;
        match index % 2 {
            0 => random(&folder.join(format!("table-{index}.dat")), length, &mut numbers)?,
            _ => sparse(&folder.join(format!("reserve-{index}.dat")), length, &mut numbers)?,
        }
    }
    Ok(())
}

/// One file of `bytes` random bytes: nothing to compress, nothing to find twice.
///
/// # Errors
/// When the disk refuses.
pub fn random_file(path: &Path, bytes: u64, seed: u64) -> Result<()> {
    random(path, bytes, &mut Numbers::new(seed))
}

fn random(path: &Path, bytes: u64, numbers: &mut Numbers) -> Result<()> {
    let mut file = create(path)?;
    let mut piece = vec![0; PIECE_BYTES];
    let mut left = bytes;
    while left > 0 {
        let length = usize::try_from(left).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
        numbers.fill(&mut piece[..length]);
        file.write_all(&piece[..length])
            .with_context(|| format!("cannot write {}", path.display()))?;
        left -= length as u64;
    }
    Ok(())
}

fn sparse(path: &Path, bytes: u64, numbers: &mut Numbers) -> Result<()> {
    let file = create(path)?;
    let refused = || format!("cannot write {}", path.display());
    file.set_len(bytes).with_context(refused)?;
    let mut island = vec![0; PIECE_BYTES];
    let mut start = 0;
    while start + PIECE_BYTES as u64 <= bytes {
        numbers.fill(&mut island);
        file.write_all_at(&island, start).with_context(refused)?;
        start += SEA_BYTES;
    }
    Ok(())
}

fn create(path: &Path) -> Result<File> {
    File::create(path).with_context(|| format!("cannot make {}", path.display()))
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

fn make_folder(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_files() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for folder in [&first, &second] {
            small_files(folder.path(), 250, 7).unwrap();
        }
        for name in ["000/note-00000.dat", "001/note-00142.dat", "002/note-00249.dat"] {
            let read = |folder: &tempfile::TempDir| fs::read(folder.path().join(name)).unwrap();
            assert_eq!(read(&first), read(&second), "{name}");
            assert!(read(&first).len() >= 64, "{name}");
        }
        // Enough for every size there is.
        small_files(&first.path().join("more"), 3000, 7).unwrap();
        let differs = tempfile::tempdir().unwrap();
        small_files(differs.path(), 1, 8).unwrap();
        let name = "000/note-00000.dat";
        assert_ne!(
            fs::read(differs.path().join(name)).unwrap(),
            fs::read(first.path().join(name)).unwrap()
        );
    }

    #[test]
    fn the_mix_has_the_size_asked_for_and_holes() {
        use std::os::unix::fs::MetadataExt;

        let folder = tempfile::tempdir().unwrap();
        let bytes = 256 << 20;
        sparse_and_random(folder.path(), bytes, 1).unwrap();
        let files: Vec<fs::Metadata> =
            fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().metadata().unwrap()).collect();
        assert_eq!(files.iter().map(fs::Metadata::len).sum::<u64>(), bytes);
        let on_disk: u64 = files.iter().map(|file| file.blocks() * 512).sum();
        assert!(on_disk < bytes * 3 / 4, "{on_disk} bytes on disk of {bytes}");
    }
}
