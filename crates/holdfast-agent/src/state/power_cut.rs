//! What a power cut leaves of the state file, on a disk that forgets.
//!
//! A killed process loses nothing that it wrote: the system still has it. A power cut loses
//! whatever was not synced, in any order and torn at any sector. This disk does that, by a seed.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard},
};

use holdfast_link::{Record, Store};
use holdfast_protocol::{
    Message, RepositoryId,
    message::{
        command::Run,
        job::{Operation, Status},
    },
};
use redb::StorageBackend;

use super::{database::Database, *};

/// The unit that a disk writes wholly or not at all.
const SECTOR: usize = 512;

/// How many histories are tried.
const SEEDS: u64 = 60;

#[derive(Debug, Clone, Default)]
struct Disk {
    platters: Arc<Mutex<Platters>>,
}

#[derive(Debug, Default)]
struct Platters {
    /// What a reader sees.
    seen: Vec<u8>,
    /// What is on the disk for certain.
    synced: Vec<u8>,
    /// Sectors written since the last sync, as offset and content.
    pending: Vec<(usize, Vec<u8>)>,
}

impl Disk {
    fn platters(&self) -> MutexGuard<'_, Platters> {
        self.platters.lock().unwrap()
    }

    /// The disk after a cut at this moment: of the pending sectors some were written, some not.
    fn after_cut(&self, random: &mut Random) -> Self {
        let platters = self.platters();
        let mut left = platters.synced.clone();
        for (offset, sector) in &platters.pending {
            if random.next().is_multiple_of(2) {
                write(&mut left, *offset, sector);
            }
        }
        let platters = Platters { seen: left.clone(), synced: left, pending: Vec::new() };
        Self { platters: Arc::new(Mutex::new(platters)) }
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.platters().seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).unwrap();
        let platters = self.platters();
        let bytes = platters.seen.get(start..start + out.len());
        out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut platters = self.platters();
        let len = usize::try_from(len).unwrap();
        // File systems journal lengths, so a length is never torn; it is taken as synced.
        platters.seen.resize(len, 0);
        platters.synced.resize(len, 0);
        platters.pending.retain(|(offset, sector)| offset + sector.len() <= len);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut platters = self.platters();
        platters.pending.clear();
        platters.synced = platters.seen.clone();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let start = usize::try_from(offset).unwrap();
        let mut platters = self.platters();
        write(&mut platters.seen, start, data);
        for (index, sector) in data.chunks(SECTOR).enumerate() {
            platters.pending.push((start + index * SECTOR, sector.to_vec()));
        }
        Ok(())
    }
}

fn write(bytes: &mut Vec<u8>, offset: usize, data: &[u8]) {
    let end = offset + data.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[offset..end].copy_from_slice(data);
}

/// A small generator: the same seed, the same history.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }
}

fn open(disk: &Disk) -> State {
    let database = Database::on(disk.clone()).expect("the file opens after a cut");
    State::on(database, Sealer::for_a_test()).unwrap()
}

fn job(number: u64) -> JobId {
    JobId::from_uuid(Uuid::from_u128(number.into()))
}

fn command(number: u64) -> Record {
    let message = Message::CommandRun(Run {
        config_version: 1,
        tag: "etc".to_owned(),
        includes: vec!["/etc".to_owned(); 40],
        ..Run::new(job(number), Operation::Backup, RepositoryId::from_uuid(Uuid::from_u128(9)))
    });
    let (kind, payload) = (message.kind().to_owned(), message.encode());
    Record { seq: number, ts: Timestamp::now(), kind, payload }
}

fn finished(number: u64) -> Finished {
    Finished {
        job_id: job(number),
        status: Status::Succeeded,
        exit_code: Some(0),
        finished_at: Timestamp::now(),
        snapshot_id: None,
        stats: None,
        error: None,
        next_try: None,
    }
}

/// Commands come and end, the server takes what it is told, and at some point the power goes: in
/// the middle of a step, whose fate is open, after steps that were answered, which must all be
/// there.
async fn one_history(seed: u64) {
    let mut random = Random(seed);
    let disk = Disk::default();
    let state = open(&disk);
    let steps = 1 + random.next() % 12;
    for number in 1..=steps {
        state.apply(vec![command(number)]).await.unwrap();
        state.finish(finished(number)).await.unwrap();
        if random.next().is_multiple_of(3) {
            state.forget(number).await.unwrap();
        }
    }
    let answered = state.positions().await.unwrap();
    let (in_flight, cut) = tokio::join!(state.apply(vec![command(steps + 1)]), async {
        for _ in 0..random.next() % 4 {
            tokio::task::yield_now().await;
        }
        disk.after_cut(&mut random)
    });
    in_flight.unwrap();
    check(&open(&cut), answered, steps, seed).await;
}

async fn check(state: &State, answered: Positions, steps: u64, seed: u64) {
    let positions = state.positions().await.unwrap();
    let came_through = positions.received.wrapping_sub(answered.received);
    assert!(came_through <= 1, "seed {seed}: {positions:?} after {answered:?}");
    assert_eq!(positions.next, answered.next + came_through, "seed {seed}: one answer per command");
    assert_eq!(positions.oldest, answered.oldest, "seed {seed}");
    let records = state.load(0, 1000).await.unwrap();
    let seqs: Vec<Seq> = records.iter().map(|record| record.seq).collect();
    assert_eq!(seqs, (positions.oldest..positions.next).collect::<Vec<_>>(), "seed {seed}: dense");
    let jobs = state.active_jobs().await.unwrap();
    assert_eq!(jobs.len() as u64, came_through, "seed {seed}: a command and its entry are one");
    for number in 1..=steps {
        assert!(!state.finish(finished(number)).await.unwrap(), "seed {seed}: it ended once");
    }
}

#[tokio::test]
async fn what_was_answered_is_there_after_any_power_cut() {
    for seed in 0..SEEDS {
        one_history(seed).await;
    }
}

#[tokio::test]
async fn the_disk_of_this_test_does_forget() {
    let mut random = Random(1);
    let disk = Disk::default();
    disk.write(0, &[1; 64 * SECTOR]).unwrap();
    let cut = disk.after_cut(&mut random);
    let left = cut.platters().seen.chunks(SECTOR).filter(|sector| sector[0] == 1).count();
    assert!((1..64).contains(&left), "some of it, not all: {left}");
}
