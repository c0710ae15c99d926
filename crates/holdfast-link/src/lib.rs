//! The conversation between an agent and its server: one long-lived link that loses nothing and
//! repeats nothing.
//!
//! An agent dials its server and keeps the connection. Both sides append *records* (a job's end, a
//! command) to an outbox on their own disk and wake the link; the link carries them across, in
//! order, and the other side applies each one exactly once, through any crash, cut or power failure
//! of either. Beside the records go messages that may be replaced or dropped: state, progress,
//! logs, heartbeats. The link knows nothing about backups.
//!
//! # Who owns whom
//!
//! ```text
//! Client (agent)                          accept (server, one call per connection)
//!   retry    when to dial again             Gate      decides about the hello, hears of the end
//!   Dial     opens connections, by          Mailbox   the hub's handle to the live session
//!            the road that works            Exchanges the long-poll road's way in
//!   driver ──────────── one task per connection ─────────── driver
//!     Session    decides: pure, no I/O, no clock, no dice
//!     Transport  carries text frames: WebSocket, long polls, memory
//!     Store      the durable half, yours: outbox and inbox position
//! ```
//!
//! A [`Session`] is one connected life of a link. It is a plain value: [`Session::handle`] takes
//! what has happened and when, [`Session::poll_action`] says what to do. The drivers only wait, and
//! turn each wake-up into an event; so everything that matters can be simulated, and is.
//!
//! # What it promises
//!
//! The numbers are those of the project's list of invariants.
//!
//! * **I1** An ack means on disk: it leaves only after [`Store::apply`] has returned.
//! * **I2** A record is forgotten only once the peer has acknowledged it.
//! * **I3** Nothing is on the wire that [`Store::load`] did not give, so nothing that is not
//!   durable.
//! * **I4** A new session goes on after the last applied record. A record that came before is
//!   dropped and acknowledged again; one that comes too early is dropped and the right one asked
//!   for.
//! * **I5, I6** Each record takes effect once, in order. There is no window after which a repeat
//!   would be taken for new.
//! * **I8** A newer session of the same agent shuts out the older one. The epoch that fences is
//!   kept by the server's store; the link closes the older connection when told to.
//! * **I10** Memory is bounded by class and by count ([`session::Window`], the overflow table of
//!   [`session::Dropped`]); whatever is dropped is counted.
//! * **I11** Progress never delays a result: one waits per job, the newest, at most one a second
//!   goes.
//! * **I13** A dead peer is noticed within 50 s, a closed one at once, one that never reads in 10
//!   s.
//! * **I14** No decision reads a wall clock.
//! * **I15** Leaving in good order flushes what there is and takes at most 5 s.
//! * **I16** Unknown fields are ignored, unknown kinds are counted, the link stays up.
//! * **I19** Dials are spread by full jitter, also the first redial; only a session that lasted
//!   resets the backoff; the server's hints win.
//! * **I21** A record no frame can carry is replaced by a marker, so that it cannot stop the
//!   stream.
//!
//! What it does not promise: any order between records and other messages, or that a log line
//! arrives. And it is as good as its store: read the promises that [`Store`] asks for.
//!
//! # Example
//!
//! The agent's end of a greeting that nobody answers, in no time at all. `examples/echo.rs` is a
//! whole link over a real socket.
//!
//! ```
//! use std::time::Duration;
//!
//! use holdfast_link::{Moment, Positions, Session, session::{Action, Config, Event, Introduction}};
//! use holdfast_protocol::{Incarnation, message::link::Facts};
//!
//! # let incarnation: Incarnation = "0190b5f2-7c3e-7d0a-9a51-3f6f0c1d2e4b".parse()?;
//! let introduction = Introduction {
//!     incarnation,
//!     boot: 1,
//!     instance: "7d0ab5f2-7c3e-4d0a-9a51-3f6f0c1d2e4b".parse()?,
//!     epoch: 0,
//!     capabilities: vec![],
//!     facts: Facts::default(),
//! };
//! // A new outbox: nothing received, nothing appended.
//! let positions = Positions { received: 0, oldest: 1, next: 1 };
//! let now = Moment::ORIGIN;
//! let mut session = Session::agent(Config::default(), positions, introduction, now);
//!
//! let Some(Action::Send(hello)) = session.poll_action() else { panic!("hello comes first") };
//! assert_eq!(hello.kind, "hello");
//! session.handle(Event::Written, now);
//!
//! // Nobody answers. Time is a value, so ten seconds pass at once.
//! let deadline = session.deadline().expect("a greeting has an end");
//! assert_eq!(deadline, now + Duration::from_secs(10));
//! session.handle(Event::Tick, deadline);
//! assert!(session.is_ended());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod backoff;
pub mod client;
mod clock;
pub mod close_code;
pub mod crash;
pub mod dial;
mod dice;
mod driver;
mod events;
mod post;
pub mod server;
pub mod session;
mod status;
pub mod store;
pub mod transport;

pub use client::{
    Client, ClientConfig, ConfigError, Credentials, CredentialsError, Fatal, Host, Identity,
};
pub use clock::Moment;
pub use dial::{PlaintextRule, ProxyRule};
pub use dice::Dice;
pub use events::{Events, EventsEnded};
pub use server::{
    Admission, Delivery, Detached, ExchangeError, Exchanges, Gate, Mailbox, OpenGate, ServeConfig,
    accept,
};
pub use session::{CloseReason, Ended, Request, RequestError, Session};
pub use status::{LinkEvent, LinkState, LinkStatus};
pub use store::{Positions, Record, Store, StoreError, Unsequenced};
pub use transport::accepted::{Accepted, AcceptedWebSocket, NotAnUpgrade, Upgrade};
pub use transport::tls::KeyPin;
