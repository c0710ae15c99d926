//! Files on their way to somebody, a piece at a time.
//!
//! One restic runs per download and waits, in its pipe, for the next question: whoever takes the
//! bytes sets the pace, and the agent holds two pieces at most. A link that breaks in between does
//! not matter: the last piece is kept until the next is asked for.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use holdfast_engine::{Control, Outcome};
use holdfast_protocol::message::{
    browse::{PIECE_SIZE_MAX, Piece, Read},
    job::JobError,
    parameters::Dump,
};
use tokio::{
    sync::{Mutex as AsyncMutex, mpsc, oneshot},
    time::{Instant, sleep},
};
use uuid::Uuid;

use super::{Look, strange, succeeded};
use crate::job::job_error;

/// How many downloads are under way at once.
const DOWNLOADS_MAX: usize = 4;

/// How long a download is kept that nobody asks about. A server waits no longer for a lost host.
const IDLE_MAX: Duration = Duration::from_secs(120);

/// How many of restic's chunks, 64 KiB each, wait for a question.
const CHUNKS_WAITING: usize = 2;

/// The downloads under way.
#[derive(Default)]
pub(super) struct Downloads {
    open: Arc<Mutex<BTreeMap<Uuid, Slot>>>,
}

#[derive(Clone)]
struct Slot {
    download: Arc<AsyncMutex<Option<Download>>>,
    used_at: Instant,
}

/// One file under way.
struct Download {
    wish: Dump,
    chunks: mpsc::Receiver<Vec<u8>>,
    outcome: oneshot::Receiver<Outcome>,
    control: Control,
    /// Where `rest` begins.
    next: u64,
    rest: Vec<u8>,
    /// The piece that was answered last, by where it begins.
    last: Option<(u64, Piece)>,
}

impl Drop for Download {
    fn drop(&mut self) {
        // restic ends by itself; nobody waits for that.
        self.control.cancel();
    }
}

impl Downloads {
    /// The piece that begins at the wish's offset. `open` gives the way to the repository when the
    /// file has to be begun.
    ///
    /// # Cancel safety
    /// Safe: what restic has told stays with the download.
    pub(super) async fn read(
        &self,
        question: &Read,
        open: impl FnOnce() -> Result<Look, JobError>,
    ) -> Result<Piece, JobError> {
        let (id, wish) = (question.download, &question.wish);
        let slot = self.slot(id)?;
        let mut download = slot.download.lock().await;
        if !download.as_ref().is_some_and(|it| it.goes_on_with(wish)) {
            *download = Some(Download::begin(wish.clone(), open()?));
        }
        let Some(running) = download.as_mut() else { return Err(strange()) };
        let piece = running.piece(wish.offset_bytes).await;
        // What is over keeps its last piece for a while, in case that is lost on the way; what
        // went wrong begins anew.
        if piece.is_err() {
            *download = None;
            drop(download);
            self.open().remove(&id);
        }
        piece
    }

    /// The place of a download, which is kept for a while after each question.
    fn slot(&self, id: Uuid) -> Result<Slot, JobError> {
        let mut open = self.open();
        if let Some(slot) = open.get_mut(&id) {
            slot.used_at = Instant::now();
            return Ok(slot.clone());
        }
        if open.len() >= DOWNLOADS_MAX {
            // It loses nothing but its place: asked for again, it begins anew at its offset.
            let unused = open.iter().filter(|(_, slot)| slot.is_unused());
            let oldest = unused.min_by_key(|(_, slot)| slot.used_at).map(|(id, _)| *id);
            open.remove(&oldest.ok_or_else(too_many)?);
        }
        let slot = Slot { download: Arc::default(), used_at: Instant::now() };
        open.insert(id, slot.clone());
        tokio::spawn(forget_when_idle(Arc::clone(&self.open), id));
        Ok(slot)
    }

    fn open(&self) -> MutexGuard<'_, BTreeMap<Uuid, Slot>> {
        lock(&self.open)
    }
}

impl Slot {
    /// Whether nobody waits for a piece of it just now.
    fn is_unused(&self) -> bool {
        Arc::strong_count(&self.download) == 1
    }
}

fn lock(open: &Mutex<BTreeMap<Uuid, Slot>>) -> MutexGuard<'_, BTreeMap<Uuid, Slot>> {
    // Whole values only: nothing half-made is ever inside.
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn forget_when_idle(open: Arc<Mutex<BTreeMap<Uuid, Slot>>>, id: Uuid) {
    loop {
        let idle = {
            let mut open = lock(&open);
            let Some(slot) = open.get(&id) else { return };
            let idle = slot.used_at.elapsed();
            if idle >= IDLE_MAX && slot.is_unused() {
                open.remove(&id);
                return;
            }
            idle
        };
        sleep(IDLE_MAX.saturating_sub(idle).max(Duration::from_secs(1))).await;
    }
}

impl Download {
    fn begin(wish: Dump, look: Look) -> Self {
        let (sender, chunks) = mpsc::channel(CHUNKS_WAITING);
        let (told, outcome) = oneshot::channel();
        let control = Control::new();
        let next = wish.offset_bytes;
        let (steered, dump) = (control.clone(), wish.clone());
        tokio::spawn(async move {
            let (events, _) = mpsc::channel(1);
            let dumping = look.restic.dump(&look.access, &dump, sender, &steered, events);
            let outcome = Box::pin(dumping).await;
            // Nobody listens when the download was given up.
            let _ = told.send(outcome);
        });
        Self { wish, chunks, outcome, control, next, rest: Vec::new(), last: None }
    }

    /// Whether the wish is for the next piece of this file, or for the last one again.
    fn goes_on_with(&self, wish: &Dump) -> bool {
        let same = (&self.wish.snapshot_id, &self.wish.path) == (&wish.snapshot_id, &wish.path);
        same && (self.answered_at(wish.offset_bytes).is_some() || wish.offset_bytes == self.next)
    }

    fn answered_at(&self, offset: u64) -> Option<&Piece> {
        self.last.as_ref().filter(|(start, _)| *start == offset).map(|(_, piece)| piece)
    }

    async fn piece(&mut self, offset: u64) -> Result<Piece, JobError> {
        if let Some(piece) = self.answered_at(offset) {
            return Ok(piece.clone());
        }
        while self.rest.len() < PIECE_SIZE_MAX {
            let Some(chunk) = self.chunks.recv().await else { break };
            self.rest.extend(chunk);
        }
        let last = self.rest.len() < PIECE_SIZE_MAX;
        if last {
            // What came is whole only when restic says so.
            let outcome = (&mut self.outcome).await.map_err(|_| strange())?;
            succeeded(outcome)?;
        }
        let after = self.rest.split_off(self.rest.len().min(PIECE_SIZE_MAX));
        let bytes = std::mem::replace(&mut self.rest, after);
        self.next = offset + bytes.len() as u64;
        let piece = Piece { data: STANDARD.encode(&bytes), last };
        self.last = Some((offset, piece.clone()));
        Ok(piece)
    }
}

fn too_many() -> JobError {
    job_error(
        "too_many_downloads",
        "The host serves as many downloads as it may at once.",
        "Wait until one of them has ended.",
    )
}

#[cfg(test)]
mod tests;
