//! The greeting, from both ends.

use holdfast_protocol::message::link::Hello;
use tokio_util::sync::CancellationToken;

use super::{Driver, Wire};
use crate::{
    clock::Clock,
    session::{Action, Ended, Event, Session},
    store::Store,
};

/// The agent's end: says hello and waits for the answer. Gives how it ended when it came to
/// nothing.
pub(crate) async fn greet<S: Store>(
    driver: &mut Driver<'_, S>,
    stop: &CancellationToken,
) -> Option<Ended> {
    loop {
        if let Some(ended) = driver.carry_out() {
            return Some(ended);
        }
        if driver.session.is_live() {
            return None;
        }
        let deadline = driver.session.deadline();
        // Order: leaving, what has taken too long, the peer.
        tokio::select! {
            biased;
            () = stop.cancelled() => driver.handle(Event::Stop),
            () = driver.clock.wait_until(deadline) => driver.tick(),
            turn = driver.wire.turn(true) => driver.handle(turn.into()),
        }
    }
}

/// What the server's end knows once the agent has said who it is.
pub(crate) struct Caller {
    pub(crate) session: Session,
    pub(crate) wire: Wire,
    pub(crate) hello: Hello,
}

/// The server's end, first half: waits for the hello. There is no store yet: whose it is, is what
/// the hello says.
pub(crate) async fn listen(
    mut session: Session,
    mut wire: Wire,
    clock: Clock,
    stop: &CancellationToken,
) -> Result<Caller, Ended> {
    let mut close = None;
    loop {
        while let Some(action) = session.poll_action() {
            match action {
                Action::Admit(hello) => return Ok(Caller { session, wire, hello: *hello }),
                Action::Close { code, reason } => close = Some((code, reason)),
                Action::End(ended) => {
                    super::drain::close(&mut wire, close).await;
                    return Err(ended);
                }
                Action::Send(frame) => wire.send_frame(frame),
                // Everything else needs a session that is live.
                _ => {}
            }
        }
        let deadline = session.deadline();
        // Order: leaving, what has taken too long, the peer.
        let event = tokio::select! {
            biased;
            () = stop.cancelled() => Event::Stop,
            () = clock.wait_until(deadline) => Event::Tick,
            turn = wire.turn(true) => turn.into(),
        };
        session.handle(event, clock.now());
    }
}
