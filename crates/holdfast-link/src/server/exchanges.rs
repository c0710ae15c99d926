//! The long-poll road at the server: which link an exchange belongs to.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use holdfast_protocol::message::exchange::Exchange;
use tokio::time::Instant;
use uuid::Uuid;

use crate::transport::held::{Held, Line};

/// Links one agent may have here at a time, those that have ended lately included.
const LINES_MAX: usize = 8;
/// How long a link that has ended is remembered: for a last word that was lost on the way, and so
/// that a late copy of its first exchange opens nothing.
const MEMORY: Duration = Duration::from_secs(60);

/// The largest body of an exchange, in bytes.
pub const EXCHANGE_SIZE_MAX: usize = holdfast_protocol::FRAME_SIZE_MAX + 512 * 1024;

/// An exchange cannot be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExchangeError {
    /// Answer 410.
    #[error("this link is not known here, or no longer; dial again")]
    Gone,
    /// Answer 400.
    #[error("the body is not an exchange")]
    Malformed,
}

/// All links that take the long-poll road, by their agents. Share one per server.
#[derive(Debug, Default)]
pub struct Exchanges {
    lines: Mutex<Lines>,
}

#[derive(Debug, Default)]
struct Lines {
    /// By agent, then by link.
    lines: BTreeMap<Uuid, Vec<(Uuid, Arc<Line>)>>,
    swept_at: Option<Instant>,
}

impl Exchanges {
    /// Answers one exchange of `agent`, whom the caller has authenticated. A first exchange opens a
    /// link: `open` gets its transport and must [`serve`](super::serve()) it in a task of its own.
    ///
    /// It takes up to 25 s, and gives a JSON body.
    ///
    /// # Errors
    /// [`ExchangeError`].
    ///
    /// # Cancel safety
    /// Safe: what was answered is kept until the agent has confirmed it.
    pub async fn answer(
        &self,
        agent: Uuid,
        body: &[u8],
        open: impl FnOnce(Held),
    ) -> Result<Vec<u8>, ExchangeError> {
        let exchange: Exchange =
            serde_json::from_slice(body).map_err(|_| ExchangeError::Malformed)?;
        let (line, is_new) = self.lines().find(agent, &exchange).ok_or(ExchangeError::Gone)?;
        if is_new {
            open(Held::new(Arc::clone(&line)));
        }
        let answer = line.answer(&exchange).await;
        Ok(serde_json::to_vec(&answer).expect("an answer has a JSON form"))
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        // A map of whole values has no half-made state.
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lines {
    /// The line of an exchange, and whether it is new.
    fn find(&mut self, agent: Uuid, exchange: &Exchange) -> Option<(Arc<Line>, bool)> {
        let known = self.lines.get(&agent).into_iter().flatten();
        let known = known.into_iter().find(|(link, _)| *link == exchange.link);
        if let Some((_, line)) = known {
            return Some((Arc::clone(line), false));
        }
        if exchange.number > 0 {
            return None;
        }
        self.sweep();
        let line = Arc::new(Line::default());
        let lines = self.lines.entry(agent).or_default();
        lines.push((exchange.link, Arc::clone(&line)));
        if lines.len() > LINES_MAX {
            lines.remove(0).1.abandon();
        }
        Some((line, true))
    }

    /// Forgets what ended long ago. It looks at every line, so it does that now and then.
    fn sweep(&mut self) {
        let now = Instant::now();
        if self.swept_at.is_some_and(|swept_at| now - swept_at < MEMORY / 6) {
            return;
        }
        self.swept_at = Some(now);
        self.lines.retain(|_, lines| {
            lines.retain(|(_, line)| !line.is_over_since(MEMORY));
            !lines.is_empty()
        });
    }
}
