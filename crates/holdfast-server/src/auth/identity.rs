//! What signing in works with, for as long as the server runs.

use std::sync::Arc;

use holdfast_protocol::message::config::Secret;
use subtle::ConstantTimeEq;

use super::{host_name::HostNames, limit::Attempts, password::Passwords, totp};
#[cfg(feature = "oidc")]
use crate::oidc::Provider;
use crate::{
    alert::guard::Range,
    store::{Error, Store},
};

/// A clone is another handle to the same one.
#[derive(Clone)]
pub struct Identity {
    inner: Arc<Inner>,
}

struct Inner {
    passwords: Passwords,
    attempts: Attempts,
    /// Proxies before us whose word about a client counts.
    trusted: Vec<Range>,
    setup_code: Secret,
    metrics_public: bool,
    names: HostNames,
    #[cfg(feature = "oidc")]
    provider: Provider,
}

/// The random bytes of the setup code: nobody guesses them through the limits on attempts.
const SETUP_CODE_SIZE: usize = 10;
const SETUP_CODE_PART: usize = 4;

impl Identity {
    /// Starts with no attempts counted and a setup code of its own.
    #[must_use]
    pub fn new(trusted: Vec<Range>, metrics_public: bool) -> Self {
        Self::with_names(trusted, metrics_public, &[], false)
    }

    /// The same for a server that answers to `names` only; `local_only` says that it listens for
    /// programs of its own machine.
    #[must_use]
    pub fn with_names(
        trusted: Vec<Range>,
        metrics_public: bool,
        names: &[String],
        local_only: bool,
    ) -> Self {
        let inner = Inner {
            passwords: Passwords::default(),
            attempts: Attempts::default(),
            trusted,
            setup_code: new_setup_code(),
            metrics_public,
            names: HostNames::new(names, local_only),
            #[cfg(feature = "oidc")]
            provider: Provider::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The code that makes the first user, as long as nobody else could: it is told where the
    /// server was started, and to nobody who only reaches its address.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn setup_code(&self, store: &Store) -> Result<Option<Secret>, Error> {
        Ok(store.needs_setup().await?.then(|| self.inner.setup_code.clone()))
    }

    /// Whether `code` is the setup code, in a time that does not depend on where they differ.
    pub(crate) fn is_setup_code(&self, code: &str) -> bool {
        let plain = |text: &str| {
            let letters = text.chars().filter(char::is_ascii_alphanumeric);
            letters.map(|letter| letter.to_ascii_uppercase()).collect::<String>()
        };
        let (ours, theirs) = (plain(self.inner.setup_code.expose()), plain(code));
        ours.as_bytes().ct_eq(theirs.as_bytes()).into()
    }

    pub(crate) fn passwords(&self) -> &Passwords {
        &self.inner.passwords
    }

    pub(crate) fn attempts(&self) -> &Attempts {
        &self.inner.attempts
    }

    pub(crate) fn trusted(&self) -> &[Range] {
        &self.inner.trusted
    }

    pub(crate) fn names(&self) -> &HostNames {
        &self.inner.names
    }

    #[cfg(feature = "oidc")]
    pub(crate) fn provider(&self) -> &Provider {
        &self.inner.provider
    }

    pub(crate) fn metrics_public(&self) -> bool {
        self.inner.metrics_public
    }
}

/// Sixteen letters and digits in groups, to be typed by hand.
fn new_setup_code() -> Secret {
    let bits: [u8; SETUP_CODE_SIZE] = rand::random();
    let text = totp::encode(&bits);
    let parts: Vec<&str> = text.as_bytes().chunks(SETUP_CODE_PART).filter_map(as_text).collect();
    Secret::new(parts.join("-"))
}

fn as_text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_setup_code_is_read_as_people_type_it() {
        let identity = Identity::new(Vec::new(), false);
        let code = identity.inner.setup_code.expose().to_owned();
        assert_eq!(code.len(), 19, "{code}");
        assert!(identity.is_setup_code(&code));
        assert!(identity.is_setup_code(&code.to_lowercase().replace('-', " ")));
        assert!(!identity.is_setup_code("") && !identity.is_setup_code(&code[1..]));
        let other = Identity::new(Vec::new(), false);
        assert!(!other.is_setup_code(&code));
    }
}
