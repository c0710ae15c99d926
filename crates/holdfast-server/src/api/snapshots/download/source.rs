//! The pieces of a file, one after the other: asked for ahead of the reader, but never far.
//!
//! ```text
//! agent ──piece──► Source (a task) ──one waits──► the answer's body ──► somebody
//! ```
//!
//! A reader that is slow leaves the task waiting, and the task the agent, and that one restic. So
//! nothing is ever whole in memory. A link that is lost on the way is waited for: the agent keeps
//! its place, and what was asked twice is answered alike.

use std::{io, time::Duration};

use axum::body::Bytes;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures_util::stream::{self, Stream};
use holdfast_protocol::{
    Payload,
    message::{
        browse::{self, Piece, Read},
        parameters::Dump,
    },
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::super::place::{Place, WAIT_EACH};
use crate::hub::{AskError, Hub};

/// How long the agent may take over one piece before it is asked again. It may have to pass over
/// much of the file first.
const PIECE_WITHIN: Duration = Duration::from_secs(60);

/// How long no piece may come before a download is given up.
const GIVE_UP_AFTER: Duration = Duration::from_secs(300);

/// How often a host that was lost is looked for.
const RETRY_EVERY: Duration = Duration::from_millis(500);

/// Bytes of the file, and whether they are the last.
type Told = Result<(Bytes, bool), AskError>;

/// A download as the server sees it.
pub(super) struct Source {
    hub: Hub,
    stop: CancellationToken,
    place: Place,
    read: Read,
}

impl Source {
    pub(super) fn new(hub: Hub, stop: CancellationToken, place: Place, wish: Dump) -> Self {
        let read = Read { download: Uuid::new_v4(), repository_id: place.repository, wish };
        Self { hub, stop, place, read }
    }

    /// Starts it and waits a while for the first piece. One that takes longer is waited for by
    /// whoever reads.
    pub(super) async fn begin(
        self,
    ) -> Result<impl Stream<Item = io::Result<Bytes>> + Send + 'static, AskError> {
        let (sender, mut pieces) = mpsc::channel(1);
        tokio::spawn(self.run(sender));
        let first = match timeout(WAIT_EACH, pieces.recv()).await {
            Ok(Some(told)) => Some(told?),
            Ok(None) => return Err(AskError::Silent),
            Err(_) => None,
        };
        Ok(stream::try_unfold(Some((first, pieces)), async |held| {
            let Some((ready, mut pieces)) = held else { return Ok(None) };
            let told = match ready {
                Some(told) => Some(Ok(told)),
                None => pieces.recv().await,
            };
            // Without its last piece a file is not whole, whoever is to blame.
            let Some(Ok((bytes, last))) = told else {
                return Err(io::Error::other("the download broke off"));
            };
            Ok(Some((bytes, (!last).then_some((None, pieces)))))
        }))
    }

    /// Asks for pieces until the last, or until nobody wants more.
    async fn run(mut self, pieces: mpsc::Sender<Told>) {
        let stop = self.stop.clone();
        loop {
            let told = tokio::select! {
                biased;
                () = pieces.closed() => return,
                () = stop.cancelled() => Err(AskError::Offline),
                told = self.next() => told,
            };
            let over = !matches!(told, Ok((_, false)));
            if pieces.send(told).await.is_err() || over {
                return;
            }
        }
    }

    async fn next(&mut self) -> Told {
        let since = Instant::now();
        loop {
            let payload = Payload::of(&self.read);
            let asked = self.hub.ask(self.place.host, browse::READ, payload, PIECE_WITHIN);
            match asked.await {
                Ok(answer) => return self.take(&answer),
                Err(error) if self.is_worth_asking_again(&error, since) => sleep(RETRY_EVERY).await,
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether it may go on. Before the first piece a host that is away is nothing to wait for.
    fn is_worth_asking_again(&self, error: &AskError, since: Instant) -> bool {
        let under_way = self.read.wish.offset_bytes > 0;
        let passing = match error {
            AskError::Silent => true,
            AskError::Offline | AskError::Busy => under_way,
            AskError::Refused(_) => false,
        };
        passing && since.elapsed() < GIVE_UP_AFTER
    }

    fn take(&mut self, answer: &Payload) -> Told {
        let piece: Piece = answer.parse().map_err(|_| AskError::Silent)?;
        let bytes = STANDARD.decode(piece.data).map_err(|_| AskError::Silent)?;
        self.read.wish.offset_bytes += bytes.len() as u64;
        Ok((bytes.into(), piece.last))
    }
}
