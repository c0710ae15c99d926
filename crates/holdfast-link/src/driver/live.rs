//! A session at work, until it ends.

use futures_util::StreamExt;
use tokio_util::sync::CancellationToken;

use super::Driver;
use crate::{
    session::{Ended, Event},
    store::Store,
    transport::Transport,
};

/// As [`run`], but leaves in good order when `better` ends with another connection. Gives that too,
/// for the next session.
///
/// # Cancel safety
/// As [`run`].
pub(crate) async fn run_until_better<S: Store>(
    driver: &mut Driver<'_, S>,
    better: impl Future<Output = Box<dyn Transport>>,
    stop: &CancellationToken,
) -> (Ended, Option<Box<dyn Transport>>) {
    let leave = stop.child_token();
    let mut running = std::pin::pin!(run(driver, &leave));
    // Order: the session, the search. The search is safe to drop, and the session goes on after it.
    let successor = tokio::select! {
        biased;
        ended = &mut running => return (ended, None),
        successor = better => successor,
    };
    leave.cancel();
    (running.await, Some(successor))
}

/// Drives the session until it ends, in whatever way.
///
/// # Cancel safety
/// Not safe: store work under way would be dropped. Cancel `stop` instead.
pub(crate) async fn run<S: Store>(driver: &mut Driver<'_, S>, stop: &CancellationToken) -> Ended {
    let mut stopping = false;
    // The gate may have taken its time. A session that acted on the time before it would take its
    // own first frame for long overdue.
    driver.handle_deadline(driver.session.wants_input());
    loop {
        if let Some(ended) = driver.carry_out() {
            return ended;
        }
        let deadline = driver.session.deadline();
        let reading = driver.session.wants_input();
        // Order: leaving, what has taken too long, the store, the application, and last the wire,
        // because it alone can be ready for ever. Everything before it comes to rest by itself.
        tokio::select! {
            biased;
            () = stop.cancelled(), if !stopping => {
                stopping = true;
                driver.handle(Event::Stop);
            }
            () = driver.clock.wait_until(deadline) => driver.handle_deadline(reading),
            Some(event) = driver.work.next() => driver.handle(event),
            Some(event) = driver.answers.next() => driver.handle(event),
            () = driver.post.arrived() => driver.handle_post(),
            turn = driver.wire.turn(reading) => driver.handle(turn.into()),
        }
    }
}
