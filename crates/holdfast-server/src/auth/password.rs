//! Passwords of people: slow to check on purpose, and never more checks at once than the machine
//! can bear.

use std::sync::{Arc, LazyLock};

use argon2::{
    Argon2,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use holdfast_protocol::message::config::Secret;
use tokio::sync::Semaphore;

/// Checks and makes password hashes (argon2id, 19 MiB each). A clone shares its limits.
#[derive(Clone)]
pub(crate) struct Passwords {
    working: Arc<Semaphore>,
    places: Arc<Semaphore>,
}

/// Why a password was neither checked nor hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PasswordError {
    /// Too many wait already.
    #[error("too many passwords are being checked")]
    Busy,
    /// The work itself failed.
    #[error("a password could not be hashed")]
    Failed,
}

/// Hashes computed at once: guessing must not take every core from the agents.
const AT_ONCE_MAX: usize = 2;
/// Those computed and those that wait. Each takes some 30 ms, so the last waits half a second.
const PLACES_MAX: usize = 32;

/// What the password of somebody who does not exist is compared with, so that the answer takes as
/// long as for somebody who does.
static NOBODY: LazyLock<Option<String>> = LazyLock::new(|| hash(b"nobody has this password").ok());

impl Default for Passwords {
    fn default() -> Self {
        Self {
            working: Arc::new(Semaphore::new(AT_ONCE_MAX)),
            places: Arc::new(Semaphore::new(PLACES_MAX)),
        }
    }
}

impl Passwords {
    /// The hash to store for `password`.
    pub(crate) async fn hash(&self, password: Secret) -> Result<String, PasswordError> {
        self.work(move || hash(password.expose().as_bytes())).await?
    }

    /// Whether `password` belongs to `stored`. Takes as long when there is nothing stored.
    pub(crate) async fn fits(
        &self,
        password: Secret,
        stored: Option<String>,
    ) -> Result<bool, PasswordError> {
        self.work(move || {
            let nobody = stored.is_none();
            let stored = stored.or_else(|| NOBODY.clone()).unwrap_or_default();
            let fits = verify(password.expose().as_bytes(), &stored);
            fits && !nobody
        })
        .await
    }

    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PasswordError> {
        let place = self.places.clone().try_acquire_owned().map_err(|_| PasswordError::Busy)?;
        let turn = self.working.clone().acquire_owned().await.map_err(|_| PasswordError::Busy)?;
        // The permits go along: who gives up waiting does not make room before the work is done.
        let working = tokio::task::spawn_blocking(move || {
            let _held = (place, turn);
            work()
        });
        working.await.map_err(|_| PasswordError::Failed)
    }
}

fn hash(password: &[u8]) -> Result<String, PasswordError> {
    let hash = Argon2::default().hash_password(password).map_err(|_| PasswordError::Failed)?;
    Ok(hash.to_string())
}

fn verify(password: &[u8], stored: &str) -> bool {
    let Ok(stored) = PasswordHash::new(stored) else { return false };
    Argon2::default().verify_password(password, &stored).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_right_password_fits_and_no_two_hashes_are_alike() {
        let passwords = Passwords::default();
        let stored = passwords.hash(Secret::new("correct horse")).await.unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
        let fits = async |password: &str, stored: Option<&str>| {
            passwords.fits(Secret::new(password), stored.map(str::to_owned)).await.unwrap()
        };
        assert!(fits("correct horse", Some(&stored)).await);
        assert!(!fits("correct horsf", Some(&stored)).await);
        assert!(!fits("", Some(&stored)).await);
        assert!(!fits("x", Some("rubbish")).await);
        assert_ne!(stored, passwords.hash(Secret::new("correct horse")).await.unwrap());
    }

    #[tokio::test]
    async fn nobody_has_no_password_not_even_the_one_compared_with() {
        let passwords = Passwords::default();
        let guess = Secret::new("nobody has this password");
        assert!(!passwords.fits(guess, None).await.unwrap());
    }

    #[tokio::test]
    async fn beyond_the_places_nobody_waits() {
        let passwords = Passwords::default();
        let _all = passwords.places.clone().acquire_many_owned(32).await.unwrap();
        let refused = passwords.fits(Secret::new("x"), None).await;
        assert_eq!(refused, Err(PasswordError::Busy));
    }
}
