//! Questions of the same kind that are asked at once are asked of the database together.
//!
//! A question costs the database a few microseconds and the way there and back ten times as much.
//! When a whole fleet comes back, thousands ask the same thing, each for its own host. So whoever
//! asks while another question is on its way waits for the next one, which carries all that wait.
//! Nothing waits for a timer: a lone question is asked at once.

use std::future::Future;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{Error, background::Background};

/// Where questions about `K` are asked; the answers are `V`.
pub(super) struct Together<K, V> {
    questions: mpsc::Sender<Question<K, V>>,
    phase: &'static str,
    task: Background,
}

struct Question<K, V> {
    about: K,
    reply: oneshot::Sender<Result<V, Error>>,
}

/// One question to the database is about at most so many.
const ROUND_MAX: usize = 256;
/// Waiting beyond these, askers wait outside.
const WAITING: usize = 1024;

impl<K, V> Together<K, V>
where
    K: Clone + Send + Sync + 'static,
    V: Send + 'static,
{
    /// Asks with `ask`, which answers in the order of what it is asked about.
    pub(super) fn spawn<A, F>(phase: &'static str, ask: A) -> Self
    where
        A: Fn(Vec<K>) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Vec<V>, Error>> + Send + 'static,
    {
        let (questions, waiting) = mpsc::channel(WAITING);
        let task = Background::spawn(|stop| run(waiting, ask, stop));
        Self { questions, phase, task }
    }

    /// The answer about one of them.
    ///
    /// # Cancel safety
    /// Safe: a question that nobody waits for any more is not asked.
    pub(super) async fn ask(&self, about: K) -> Result<V, Error> {
        let (reply, answer) = oneshot::channel();
        let closed = || Error::database(self.phase)(sqlx::Error::PoolClosed);
        self.questions.send(Question { about, reply }).await.map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }

    /// Ends the task.
    pub(super) async fn close(&self) {
        self.task.close().await;
    }
}

async fn run<K, V, A, F>(
    mut waiting: mpsc::Receiver<Question<K, V>>,
    ask: A,
    stop: CancellationToken,
) where
    K: Clone,
    A: Fn(Vec<K>) -> F,
    F: Future<Output = Result<Vec<V>, Error>>,
{
    let mut round = Vec::new();
    loop {
        tokio::select! {
            biased;
            count = waiting.recv_many(&mut round, ROUND_MAX) => if count == 0 { break },
            () = stop.cancelled() => break,
        }
        // Who has given up would only make the others wait longer.
        round.retain(|question| !question.reply.is_closed());
        answer(std::mem::take(&mut round), &ask).await;
    }
}

/// Asks about all of a round. What cannot be answered for one must not be lost for all, so after a
/// failure each is asked about alone.
async fn answer<K, V, A, F>(round: Vec<Question<K, V>>, ask: &A)
where
    K: Clone,
    A: Fn(Vec<K>) -> F,
    F: Future<Output = Result<Vec<V>, Error>>,
{
    if round.len() > 1 {
        let about = round.iter().map(|question| question.about.clone()).collect();
        if let Ok(answers) = ask(about).await {
            for (question, answer) in round.into_iter().zip(answers) {
                let _ = question.reply.send(Ok(answer));
            }
            return;
        }
    }
    for Question { about, reply } in round {
        let answer = ask(vec![about]).await.and_then(|answers| {
            let first = answers.into_iter().next();
            first.ok_or_else(|| Error::database("asking together")(sqlx::Error::RowNotFound))
        });
        let _ = reply.send(answer);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use futures_util::future::join_all;
    use tokio::sync::Semaphore;

    use super::*;

    type Rounds = Arc<Mutex<Vec<Vec<u32>>>>;

    /// Doubles numbers, but for 13; each question waits for a permit.
    fn doubling(rounds: &Rounds, permits: &Arc<Semaphore>) -> Together<u32, u32> {
        let (rounds, permits) = (Arc::clone(rounds), Arc::clone(permits));
        Together::spawn("doubling", move |numbers: Vec<u32>| {
            let (rounds, permits) = (Arc::clone(&rounds), Arc::clone(&permits));
            async move {
                permits.acquire().await.unwrap().forget();
                rounds.lock().unwrap().push(numbers.clone());
                if numbers.contains(&13) {
                    return Err(Error::database("doubling")(sqlx::Error::RowNotFound));
                }
                Ok(numbers.iter().map(|number| number * 2).collect())
            }
        })
    }

    #[tokio::test]
    async fn those_who_ask_meanwhile_share_the_next_question() {
        let (rounds, permits) = (Rounds::default(), Arc::new(Semaphore::new(0)));
        let together = doubling(&rounds, &permits);
        let first = async {
            let answer = together.ask(1);
            tokio::join!(answer, async {
                let others = join_all((102..200).map(|number| together.ask(number)));
                permits.add_permits(100);
                others.await
            })
        };
        let (one, others) = first.await;
        assert_eq!(one.unwrap(), 2);
        for (number, answer) in (102..200).zip(others) {
            assert_eq!(answer.unwrap(), number * 2);
        }
        assert!(rounds.lock().unwrap().len() <= 3, "{:?}", rounds.lock().unwrap());
    }

    #[tokio::test]
    async fn what_cannot_be_answered_for_one_is_answered_for_the_others() {
        let (rounds, permits) = (Rounds::default(), Arc::new(Semaphore::new(100)));
        let together = doubling(&rounds, &permits);
        let answers = join_all([12, 13, 14].map(|number| together.ask(number))).await;
        let answers: Vec<Option<u32>> = answers.into_iter().map(Result::ok).collect();
        assert_eq!(answers, [Some(24), None, Some(28)]);
    }

    #[tokio::test]
    async fn nobody_asks_for_those_who_have_gone() {
        let (rounds, permits) = (Rounds::default(), Arc::new(Semaphore::new(0)));
        let together = Arc::new(doubling(&rounds, &permits));
        let asker = Arc::clone(&together);
        let first = tokio::spawn(async move { asker.ask(1).await });
        tokio::task::yield_now().await;
        {
            let gone = together.ask(2);
            assert!(futures_util::poll!(Box::pin(gone)).is_pending());
        }
        permits.add_permits(100);
        assert_eq!(together.ask(3).await.unwrap(), 6);
        assert_eq!(first.await.unwrap().unwrap(), 2);
        assert!(!rounds.lock().unwrap().iter().flatten().any(|number| *number == 2));
    }

    #[tokio::test]
    async fn who_asks_after_the_end_is_told() {
        let (rounds, permits) = (Rounds::default(), Arc::new(Semaphore::new(100)));
        let together = doubling(&rounds, &permits);
        together.close().await;
        assert!(together.ask(1).await.is_err());
    }
}
