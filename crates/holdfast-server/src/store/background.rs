//! A task that works for the store until that is closed.

use std::{
    future::Future,
    sync::{Mutex, PoisonError},
};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Ends when told to, having done what waits.
pub(super) struct Background {
    stop: CancellationToken,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Background {
    /// Starts it. When the token is cancelled the work must finish what it was given, and return.
    pub(super) fn spawn<W>(work: impl FnOnce(CancellationToken) -> W) -> Self
    where
        W: Future<Output = ()> + Send + 'static,
    {
        let stop = CancellationToken::new();
        let task = tokio::spawn(work(stop.clone()));
        Self { stop, task: Mutex::new(Some(task)) }
    }

    /// Tells it to end and waits until it has. A second call returns at once.
    pub(super) async fn close(&self) {
        self.stop.cancel();
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task {
            // It panicked, and has said so; there is nothing left to wait for.
            let _ = task.await;
        }
    }
}
