//! What agents have answered, and what they are being asked.

use std::{
    collections::{BTreeMap, VecDeque},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures_util::future::Shared;
use holdfast_protocol::Payload;

use super::AskError;

/// How much text of answers is remembered.
const SIZE_MAX: usize = 32 * 1024 * 1024;

/// How many questions are asked at once, of all hosts.
const UNDER_WAY_MAX: usize = 256;

/// A question under way, for everybody who waits for its answer.
pub(super) type Asking =
    Shared<Pin<Box<dyn Future<Output = Result<Arc<Payload>, AskError>> + Send>>>;

/// Answers that were given, the oldest first to go, and questions that were asked.
#[derive(Default)]
pub(in crate::hub) struct Memory {
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    answers: BTreeMap<String, Arc<Payload>>,
    order: VecDeque<String>,
    size: usize,
    under_way: BTreeMap<String, Asking>,
}

/// What there is of an answer.
pub(super) enum Recalled {
    /// It was given before.
    Known(Arc<Payload>),
    /// It is on its way.
    UnderWay(Asking),
    /// It cannot be asked for now.
    TooMany,
}

impl Memory {
    /// The answer to the question `key`; `begin` asks it where nobody has.
    pub(super) fn recall(&self, key: &str, begin: impl FnOnce() -> Asking) -> Recalled {
        let mut known = self.known();
        if let Some(answer) = known.answers.get(key) {
            return Recalled::Known(Arc::clone(answer));
        }
        if let Some(asking) = known.under_way.get(key) {
            return Recalled::UnderWay(asking.clone());
        }
        if known.under_way.len() >= UNDER_WAY_MAX {
            return Recalled::TooMany;
        }
        // It settles under the lock that is held here, so it cannot have ended before it is known.
        let asking = begin();
        known.under_way.insert(key.to_owned(), asking.clone());
        Recalled::UnderWay(asking)
    }

    /// A question has been answered, or has failed.
    pub(super) fn settle(&self, key: String, answer: Option<&Arc<Payload>>) {
        let mut known = self.known();
        known.under_way.remove(&key);
        if let Some(answer) = answer {
            known.remember(key, Arc::clone(answer));
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Whole values only: nothing half-made is ever inside.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn remember(&mut self, key: String, answer: Arc<Payload>) {
        self.size += size(&key, &answer);
        match self.answers.insert(key.clone(), answer) {
            Some(older) => self.size -= size(&key, &older),
            None => self.order.push_back(key),
        }
        while self.size > SIZE_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            if let Some(answer) = self.answers.remove(&oldest) {
                self.size -= size(&oldest, &answer);
            }
        }
    }
}

/// The key is kept twice.
fn size(key: &str, answer: &Payload) -> usize {
    2 * key.len() + answer.as_str().len()
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn pending() -> Asking {
        async { std::future::pending().await }.boxed().shared()
    }

    #[test]
    fn what_is_remembered_has_an_end_and_the_oldest_goes_first() {
        let memory = Memory::default();
        let answer = || Arc::new(Payload::of(&"x".repeat(SIZE_MAX / 3)));
        for key in ["a", "b", "c", "c", "c"] {
            memory.settle(key.to_owned(), Some(&answer()));
        }
        let is_known = |key: &str| matches!(memory.recall(key, pending), Recalled::Known(_));
        assert!(!is_known("a"), "three of these are more than all");
        assert!(is_known("b") && is_known("c"));
        assert!(memory.known().size <= SIZE_MAX);
    }

    #[test]
    fn the_same_question_is_asked_once_and_again_only_after_it_has_failed() {
        let memory = Memory::default();
        let mut asked = 0;
        let mut recall = |key: &str| {
            memory.recall(key, || {
                asked += 1;
                pending()
            });
            asked
        };
        assert_eq!([recall("a"), recall("a"), recall("b")], [1, 1, 2]);
        memory.settle("a".to_owned(), None);
        assert_eq!(recall("a"), 3);
    }

    #[test]
    fn only_so_many_questions_are_under_way() {
        let memory = Memory::default();
        for number in 0..UNDER_WAY_MAX {
            memory.recall(&number.to_string(), pending);
        }
        assert!(matches!(memory.recall("one more", pending), Recalled::TooMany));
        memory.settle("0".to_owned(), None);
        assert!(matches!(memory.recall("one more", pending), Recalled::UnderWay(_)));
    }
}
