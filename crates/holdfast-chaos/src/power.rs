//! Power cuts on real files.
//!
//! A killed process loses nothing that it wrote: the system still has it. A power cut loses what
//! was not synced, in any order and torn at any sector. So a program is watched by strace while it
//! works: every write, every sync, and every promise it made meanwhile, in the order they happened.
//! Then the power is cut on paper, at places chosen by a seed: what was synced is there, of the
//! rest some sectors are and some are not. The files that are left must open and hold every promise
//! made.

mod recording;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use holdfast_e2e::data::Numbers;

pub(crate) use recording::{Event, Recording, Watched, is_available};

/// What a disk writes wholly or not at all.
const SECTOR_BYTES: usize = 512;

/// The files that a cut leaves, by the names they had.
pub(crate) struct Left {
    files: BTreeMap<PathBuf, Vec<u8>>,
}

impl Left {
    /// The files after a cut before the event at `place`.
    ///
    /// A change of a file's length, its creation and its removal are taken to last at once: file
    /// systems journal them in order. What they do not journal is what is in the file.
    pub(crate) fn after(recording: &Recording, place: usize, numbers: &mut Numbers) -> Self {
        let mut files: BTreeMap<PathBuf, Vec<u8>> = BTreeMap::new();
        let synced = synced_before(recording, place);
        for (index, event) in recording.events[..place].iter().enumerate() {
            match event {
                Event::Write { file, offset, data } => {
                    let bytes = files.entry(file.clone()).or_default();
                    let lasts = synced.get(file).is_some_and(|covers| index < *covers);
                    write(bytes, *offset, data, || lasts || numbers.next_number() & 1 == 0);
                }
                Event::Length { file, length } => {
                    files.entry(file.clone()).or_default().resize(*length, 0);
                }
                Event::Removed { file } => {
                    files.remove(file);
                }
                Event::Sync { .. } | Event::Sent { .. } | Event::Noted { .. } => {}
            }
        }
        Self { files }
    }

    /// Writes those of the files that `wanted` names into `folder`, under their last names.
    pub(crate) fn put(&self, folder: &Path, wanted: impl Fn(&Path) -> bool) -> Result<()> {
        fs::create_dir_all(folder).context("no room for what is left")?;
        for (path, bytes) in self.files.iter().filter(|(path, _)| wanted(path)) {
            let name = path.file_name().context("a file without a name")?;
            fs::write(folder.join(name), bytes).context("cannot write what is left")?;
        }
        Ok(())
    }
}

/// Up to which event each file's writes are on the disk for certain.
fn synced_before(recording: &Recording, place: usize) -> BTreeMap<PathBuf, usize> {
    let mut synced = BTreeMap::new();
    for event in &recording.events[..place] {
        if let Event::Sync { file, covers } = event {
            synced.insert(file.clone(), *covers);
        }
    }
    synced
}

fn write(bytes: &mut Vec<u8>, offset: usize, data: &[u8], mut reaches: impl FnMut() -> bool) {
    let end = offset + data.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    let mut start = offset;
    while start < end {
        // Sectors are counted from the beginning of the file, not of the write.
        let stop = end.min((start / SECTOR_BYTES + 1) * SECTOR_BYTES);
        if reaches() {
            bytes[start..stop].copy_from_slice(&data[start - offset..stop - offset]);
        }
        start = stop;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recording() -> Recording {
        let file = PathBuf::from("a");
        let event = |offset, byte| Event::Write {
            file: file.clone(),
            offset,
            data: vec![byte; 64 * SECTOR_BYTES],
        };
        let sync = Event::Sync { file: file.clone(), covers: 1 };
        Recording { events: vec![event(0, 1), sync, event(0, 2), event(64 * SECTOR_BYTES, 3)] }
    }

    #[test]
    fn what_was_synced_lasts_and_the_rest_is_torn() {
        let recording = recording();
        let mut numbers = Numbers::new(1);
        let left = Left::after(&recording, 3, &mut numbers);
        let bytes = &left.files[Path::new("a")];
        let kept = bytes.chunks(SECTOR_BYTES).filter(|sector| sector[0] == 1).count();
        assert!((1..64).contains(&kept), "{kept}");
        assert!(bytes.iter().all(|byte| [1, 2].contains(byte)));
    }

    #[test]
    fn a_cut_before_the_sync_may_take_it_all() {
        let recording = recording();
        let mut numbers = Numbers::new(2);
        let left = Left::after(&recording, 1, &mut numbers);
        let lost = left.files[Path::new("a")].iter().filter(|byte| **byte == 0).count();
        assert!(lost > 0);
    }

    #[test]
    fn a_write_across_sectors_is_torn_at_their_borders() {
        let mut bytes = vec![0; 2 * SECTOR_BYTES];
        let mut turn = false;
        write(&mut bytes, 100, &[9; 600], || {
            turn = !turn;
            turn
        });
        assert_eq!(bytes[100..SECTOR_BYTES], [9; SECTOR_BYTES - 100]);
        assert!(bytes[SECTOR_BYTES..].iter().all(|byte| *byte == 0));
    }
}
