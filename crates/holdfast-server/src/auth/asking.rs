//! Who asks, for the audit: carried along with the work on one request.
//!
//! The store is told by name who acts. From where, and as what, is known only to the guard, so it
//! stands beside the task instead of in every signature in between.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

tokio::task_local! {
    static ASKING: Asking;
}

/// Where a request comes from.
#[derive(Debug, Clone)]
pub(crate) struct Asking {
    /// `user`, `token`, `agent`, `public` or, outside of requests, `server`.
    pub(crate) kind: &'static str,
    /// The client's address; empty outside of requests.
    pub(crate) address: String,
    noted: Arc<AtomicBool>,
}

impl Asking {
    /// A request by this sort of client from this address.
    pub(crate) fn new(kind: &'static str, address: String) -> Self {
        Self { kind, address, noted: Arc::default() }
    }

    /// Does `work` for this request.
    pub(crate) async fn run<T>(&self, work: impl Future<Output = T>) -> T {
        ASKING.scope(self.clone(), work).await
    }

    /// Whether the work has left an entry in the audit.
    pub(crate) fn is_noted(&self) -> bool {
        self.noted.load(Ordering::Relaxed)
    }
}

/// Whose request is being worked on, which has an entry from now on.
pub(crate) fn note() -> Asking {
    let asking = ASKING.try_with(Asking::clone);
    let asking = asking.unwrap_or_else(|_| Asking::new("server", String::new()));
    asking.noted.store(true, Ordering::Relaxed);
    asking
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_done_for_a_request_knows_from_where() {
        assert_eq!(note().kind, "server");
        let asking = Asking::new("user", "192.0.2.1".to_owned());
        assert!(!asking.is_noted());
        let seen = asking.run(async { note().address }).await;
        assert_eq!((seen.as_str(), asking.is_noted()), ("192.0.2.1", true));
    }
}
