//! One attempt: token, dial, handshake, session.

use std::{sync::OnceLock, time::Duration};

use holdfast_protocol::{Payload, message::config::Secret};
use jiff::Timestamp;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{CredentialsError, Retry, Shared};
use crate::{
    clock::Clock,
    dial::DialError,
    driver::{Answering, Driver, Outside, Wire, dial, drain, handshake, live},
    session::{Config, Ended, Event, Introduction, Notice, Opened, Request, Session},
    status::{LinkEvent, LinkState},
    store::{Store, StoreError},
    transport::{Transport, TransportKind},
};

/// What came of an attempt.
pub(super) enum Attempt {
    /// There is no token, now or from before.
    NoToken(CredentialsError),
    /// No connection came about.
    Dial(DialError),
    /// Our own store cannot be read.
    Store(StoreError),
    /// There was a session, or at least a greeting.
    Ended {
        ended: Ended,
        /// The welcome and how long the session lived after it.
        lived: Option<(Opened, Duration)>,
    },
    /// A better road was found, and the session has left for it.
    Moving,
    /// Stopped before there was a session.
    Stopped,
}

impl Attempt {
    /// Another token might do better.
    pub(super) fn is_about_the_token(&self) -> bool {
        match self {
            Self::NoToken(_) => true,
            Self::Dial(error) => {
                matches!(error, DialError::Unauthorised { .. } | DialError::UnusableToken)
            }
            Self::Ended { ended, .. } => ended.code() == "revoked",
            Self::Moving | Self::Store(_) | Self::Stopped => false,
        }
    }
}

impl<S: Store> Shared<S> {
    pub(super) async fn attempt(&self, retry: &mut Retry, stop: &CancellationToken) -> Attempt {
        self.enter(LinkState::Dialing, "due", |_| {});
        self.tell(&LinkEvent::Dialing);
        let dial_max = self.config.dial_max;
        let token = match dial::ask(&*self.credentials, dial_max, stop).await {
            Some(answer) => answer.or_else(|error| last_good(retry, error)),
            None => return Attempt::Stopped,
        };
        let token = match token {
            Ok(token) => token,
            Err(error) => return Attempt::NoToken(error),
        };
        retry.used_token = Some(token.clone());
        let transport = match retry.successor.take() {
            Some(transport) => transport,
            None => {
                let dialled = dial::run(&*self.dialer, &self.server, &token, dial_max, stop);
                match dialled.await {
                    Some(Ok(transport)) => transport,
                    Some(Err(error)) => return Attempt::Dial(error),
                    None => return Attempt::Stopped,
                }
            }
        };
        retry.good_token = retry.used_token.clone();
        self.enter(LinkState::Handshaking, "connected", |_| {});
        self.converse(transport, retry, stop).await
    }

    async fn converse(
        &self,
        transport: Box<dyn Transport>,
        retry: &mut Retry,
        stop: &CancellationToken,
    ) -> Attempt {
        let positions = match self.store.positions().await {
            Ok(positions) => positions,
            Err(error) => return Attempt::Store(error),
        };
        let face = Face { shared: self, kind: transport.kind(), opened: OnceLock::new() };
        let clock = Clock::start();
        let config = Config { jitter: self.config.dice.roll(), ..self.config.session.clone() };
        let session =
            Session::agent(config, positions, self.introduction(retry.epoch), clock.now());
        let mut driver = Driver::new(
            session,
            Wire::new(transport, self.config.session.frame_max),
            self.store.clone(),
            clock,
            &self.post,
            &face,
        );
        // What waits, then the states over it: one that is in both goes once.
        driver.handle_post();
        for state in self.states().values() {
            driver.handle(Event::Send(state.clone()));
        }
        let ended = match handshake::greet(&mut driver, stop).await {
            Some(ended) => ended,
            None => {
                let token = retry.good_token.clone().unwrap_or_else(|| Secret::new(""));
                let better = self.dialer.better(&token);
                let (ended, successor) = live::run_until_better(&mut driver, better, stop).await;
                retry.successor = successor;
                ended
            }
        };
        let lived = face.lived();
        // A reject is an answer too: frames pass.
        let greeted = lived.is_some() || matches!(ended, Ended::Rejected(_));
        if greeted || !stop.is_cancelled() {
            self.dialer.came_of(face.kind, greeted);
        }
        self.enter(LinkState::Waiting, ended.code(), |_| {});
        self.post.put_back(drain::finish(driver).await.into_lanes());
        if let Some((opened, _)) = &lived {
            retry.epoch = opened.epoch;
        }
        if retry.successor.is_some() && !stop.is_cancelled() {
            retry.note_lived(lived.as_ref());
            return Attempt::Moving;
        }
        Attempt::Ended { ended, lived }
    }

    fn introduction(&self, epoch: u64) -> Introduction {
        Introduction {
            incarnation: self.identity.incarnation,
            boot: self.identity.boot,
            instance: self.instance,
            epoch,
            capabilities: self.host.capabilities(),
            facts: self.host.facts(),
        }
    }

    /// Says what came of an attempt.
    pub(super) fn report(&self, attempt: &Attempt) {
        let (code, message, event) = match attempt {
            Attempt::NoToken(error) => rejected("no_token", chain(error)),
            Attempt::Dial(error) => rejected(error.code(), error.to_string()),
            Attempt::Store(error) => rejected("store_failed", chain(error)),
            Attempt::Ended { ended: Ended::Rejected(reject), .. } => {
                rejected(&reject.code, reject.message.clone())
            }
            Attempt::Ended { ended, .. } => {
                let reason = ended.to_string();
                (ended.code().to_owned(), reason.clone(), LinkEvent::Lost { reason })
            }
            Attempt::Moving | Attempt::Stopped => return,
        };
        tracing::info!(code, reason = message, "no link");
        if code == "fenced" {
            self.tell(&LinkEvent::Fenced);
        }
        self.status.send_modify(|status| {
            status.last_error = Some(message);
            status.last_error_code = Some(code);
        });
        self.tell(&event);
    }

    pub(super) fn waiting(&self, delay: Duration) {
        let at = Timestamp::now().saturating_add(delay).unwrap_or(Timestamp::MAX);
        self.enter(LinkState::Waiting, "backoff", |status| status.retry_at = Some(at));
        self.tell(&LinkEvent::RetryingAt { at, delay });
    }
}

/// A source that fails for a moment must not cost the link a token that still works.
fn last_good(retry: &Retry, error: CredentialsError) -> Result<Secret, CredentialsError> {
    match &retry.good_token {
        Some(token) => {
            tracing::warn!(%error, "using the last token that worked");
            Ok(token.clone())
        }
        None => Err(error),
    }
}

fn rejected(code: &str, message: String) -> (String, String, LinkEvent) {
    let event = LinkEvent::Rejected { code: code.to_owned(), message: message.clone() };
    (code.to_owned(), message, event)
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// The client as its session sees it.
struct Face<'a, S> {
    shared: &'a Shared<S>,
    kind: TransportKind,
    opened: OnceLock<(Opened, Instant)>,
}

impl<S> Face<'_, S> {
    fn lived(&self) -> Option<(Opened, Duration)> {
        self.opened.get().map(|(opened, at)| (opened.clone(), at.elapsed()))
    }
}

impl<S: Store> Outside for Face<'_, S> {
    fn heartbeat(&self) -> Payload {
        self.shared.host.heartbeat()
    }

    fn opened(&self, opened: &Opened) {
        let first = self.shared.status.borrow().epoch == 0;
        // A session opens once.
        let _ = self.opened.set((opened.clone(), Instant::now()));
        let offset = opened.server_time.as_millisecond() - Timestamp::now().as_millisecond();
        self.shared.enter(LinkState::Live, "welcome", |status| {
            status.session_id = Some(opened.session_id);
            status.epoch = opened.epoch;
            status.reconnect_count += u64::from(!first);
            status.last_error = None;
            status.last_error_code = None;
            status.transport = Some(self.kind);
            status.clock_offset_ms = Some(offset);
        });
        let Opened { session_id, epoch, .. } = *opened;
        let transport = self.kind;
        self.shared.tell(&LinkEvent::Connected { session_id, epoch, transport });
    }

    fn answer(&self, request: Request) -> Answering<'_> {
        self.shared.host.answer(request)
    }

    fn notice(&self, notice: &Notice) {
        tracing::warn!(?notice, "link notice");
        if let Notice::PeerSetBack { missing } | Notice::Missing { missing } = notice {
            self.shared.tell(&LinkEvent::Gap { missing: missing.clone() });
        }
    }
}
