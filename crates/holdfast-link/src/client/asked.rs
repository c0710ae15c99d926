//! What the link asks the application.

use std::{error::Error, fmt, future::Future, pin::Pin};

use holdfast_protocol::{
    Payload,
    message::{
        config::Secret,
        link::{Facts, Refusal},
    },
};

use crate::{
    dial::{Dial, DialError},
    driver::Answering,
    session::Request,
    transport::{Transport, TransportKind},
};

/// Where the agent's token comes from.
pub trait Credentials: Send + Sync + 'static {
    /// The token, asked for before every dial, so that a rotated one is taken up at once. After a
    /// token was refused it is also asked for every few seconds, and a different one is tried then.
    ///
    /// # Errors
    /// When there is none now. The last one that the server accepted is then tried.
    fn token(&self) -> impl Future<Output = Result<Secret, CredentialsError>> + Send;
}

/// No token could be had.
#[derive(Debug)]
pub struct CredentialsError {
    source: Box<dyn Error + Send + Sync>,
}

impl CredentialsError {
    /// An error with this cause. The cause must not contain the token.
    pub fn new(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { source: source.into() }
    }
}

impl fmt::Display for CredentialsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the agent's token cannot be read")
    }
}

impl Error for CredentialsError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.source)
    }
}

/// What the link asks the agent. The first three must answer at once.
pub trait Host: Send + Sync + 'static {
    /// What the machine and the agent are; asked at every hello.
    fn facts(&self) -> Facts;
    /// Names of optional abilities; asked at every hello.
    fn capabilities(&self) -> Vec<String>;
    /// The body of a heartbeat; asked whenever one is due.
    fn heartbeat(&self) -> Payload;
    /// The server asks. It may take its time; others are asked meanwhile. The default knows
    /// nothing.
    ///
    /// # Errors
    /// A [`Refusal`], which is sent as it is.
    ///
    /// # Cancel safety
    /// Dropped half-way when the session ends.
    fn answer(&self, request: Request) -> impl Future<Output = Result<Payload, Refusal>> + Send {
        std::future::ready(Err(Refusal::unknown(&request.kind)))
    }
}

/// A token that never changes.
impl Credentials for Secret {
    async fn token(&self) -> Result<Secret, CredentialsError> {
        Ok(self.clone())
    }
}

/// A machine that knows what it is and can do nothing optional.
impl Host for Facts {
    fn facts(&self) -> Facts {
        self.clone()
    }

    fn capabilities(&self) -> Vec<String> {
        Vec::new()
    }

    fn heartbeat(&self) -> Payload {
        Payload::of(&serde_json::json!({}))
    }
}

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// [`Credentials`] behind a pointer.
pub(crate) trait AnyCredentials: Send + Sync {
    fn token(&self) -> Boxed<'_, Result<Secret, CredentialsError>>;
}

impl<C: Credentials> AnyCredentials for C {
    fn token(&self) -> Boxed<'_, Result<Secret, CredentialsError>> {
        Box::pin(Credentials::token(self))
    }
}

/// [`Host`] behind a pointer.
pub(crate) trait AnyHost: Send + Sync {
    fn facts(&self) -> Facts;
    fn capabilities(&self) -> Vec<String>;
    fn heartbeat(&self) -> Payload;
    fn answer(&self, request: Request) -> Answering<'_>;
}

impl<H: Host> AnyHost for H {
    fn facts(&self) -> Facts {
        Host::facts(self)
    }

    fn capabilities(&self) -> Vec<String> {
        Host::capabilities(self)
    }

    fn heartbeat(&self) -> Payload {
        Host::heartbeat(self)
    }

    fn answer(&self, request: Request) -> Answering<'_> {
        Box::pin(Host::answer(self, request))
    }
}

/// [`Dial`] behind a pointer.
pub(crate) trait AnyDial: Send + Sync {
    fn dial<'a>(&'a self, token: &'a Secret) -> Boxed<'a, Result<Box<dyn Transport>, DialError>>;
    fn better<'a>(&'a self, token: &'a Secret) -> Boxed<'a, Box<dyn Transport>>;
    fn came_of(&self, kind: TransportKind, greeted: bool);
}

impl<D: Dial> AnyDial for D {
    fn dial<'a>(&'a self, token: &'a Secret) -> Boxed<'a, Result<Box<dyn Transport>, DialError>> {
        Box::pin(Dial::dial(self, token))
    }

    fn better<'a>(&'a self, token: &'a Secret) -> Boxed<'a, Box<dyn Transport>> {
        Box::pin(Dial::better(self, token))
    }

    fn came_of(&self, kind: TransportKind, greeted: bool) {
        Dial::came_of(self, kind, greeted);
    }
}
