//! Secrets at rest: sealed with a key that lies beside the state file, not in it.
//!
//! A copy of the state file alone (a backup of the machine's data, a support bundle, a disk image
//! of one partition) gives nobody a repository password. Whoever can read the agent's whole
//! directory can, and so can root. A key that systemd hands over as a credential lies elsewhere
//! and may be bound to the machine, which also protects a copy of the whole directory.

use std::{
    env,
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use holdfast_protocol::message::config::Secret;
use zeroize::Zeroizing;

/// The key file's name, beside the state file.
const KEY: &str = "key";

/// The credential's name, for `LoadCredentialEncrypted=` in the agent's unit.
const CREDENTIAL: &str = "holdfast-agent-key";

/// What a sealed row begins with; the number names how it is sealed.
const MARK: &str = "sealed:1:";

const NONCE_SIZE: usize = 24;
const KEY_SIZE: usize = 32;

/// The key cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read or written.
    #[error("the key file {} cannot be used", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file does not hold exactly 32 bytes.
    #[error("the key file {} is damaged: it must hold 32 bytes", path.display())]
    Length {
        /// The file.
        path: PathBuf,
    },
}

/// A sealed text does not open: it was sealed with another key, or changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a stored secret does not open with the agent's key")]
pub(crate) struct Refused;

/// Seals and opens secrets with the key of one agent.
#[derive(Clone)]
pub(crate) struct Sealer {
    cipher: XChaCha20Poly1305,
}

impl Sealer {
    /// The key that systemd handed over, else the one beside the state file at `state`, which is
    /// made when there is none.
    pub(crate) fn beside(state: &Path) -> Result<Self, KeyError> {
        match env::var_os("CREDENTIALS_DIRECTORY").map(|dir| Path::new(&dir).join(CREDENTIAL)) {
            Some(credential) if credential.exists() => Self::read(&credential),
            _ => Self::open(&state.with_file_name(KEY)),
        }
    }

    fn open(path: &Path) -> Result<Self, KeyError> {
        match create(path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                Err(KeyError::File { path: path.to_owned(), source: error })
            }
            _ => Self::read(path),
        }
    }

    fn read(path: &Path) -> Result<Self, KeyError> {
        let read = fs::read(path);
        let key = read.map_err(|source| KeyError::File { path: path.to_owned(), source })?;
        Self::of(&Zeroizing::new(key)).ok_or_else(|| KeyError::Length { path: path.to_owned() })
    }

    fn of(key: &[u8]) -> Option<Self> {
        Some(Self { cipher: XChaCha20Poly1305::new_from_slice(key).ok()? })
    }

    /// A key that nobody else has, for state that lives no longer than this process.
    #[cfg(test)]
    pub(crate) fn for_a_test() -> Self {
        Self::of(&[7; KEY_SIZE]).expect("the key has the right length")
    }

    /// Seals `text` for the row `name`: copied to another row it does not open.
    pub(crate) fn seal(&self, name: &str, text: &str) -> String {
        let nonce: [u8; NONCE_SIZE] = rand::random();
        let payload = Payload { msg: text.as_bytes(), aad: name.as_bytes() };
        let sealed = self.cipher.encrypt(&XNonce::from(nonce), payload);
        let sealed = sealed.expect("encryption fails only beyond 256 GiB");
        format!("{MARK}{}", STANDARD_NO_PAD.encode([&nonce[..], &sealed].concat()))
    }

    /// The text of the row `name`.
    pub(crate) fn unseal(&self, name: &str, row: &str) -> Result<Secret, Refused> {
        let sealed = row.strip_prefix(MARK).ok_or(Refused)?;
        let bytes = STANDARD_NO_PAD.decode(sealed).map_err(|_| Refused)?;
        let (nonce, sealed) = bytes.split_first_chunk::<NONCE_SIZE>().ok_or(Refused)?;
        let payload = Payload { msg: sealed, aad: name.as_bytes() };
        let plain = self.cipher.decrypt(&XNonce::from(*nonce), payload).map_err(|_| Refused)?;
        String::from_utf8(plain).map(Secret::new).map_err(|_| Refused)
    }
}

/// Writes a fresh key beside its final name first, so that a crash never leaves half a key behind.
fn create(path: &Path) -> io::Result<()> {
    if path.exists() {
        return Err(ErrorKind::AlreadyExists.into());
    }
    let key = Zeroizing::new(rand::random::<[u8; KEY_SIZE]>());
    let draft = path.with_extension(format!("{:016x}", rand::random::<u64>()));
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)
        .and_then(|mut file| file.write_all(&*key).and_then(|()| file.sync_all()))
        // A hard link refuses to replace a file: of two programs that start at once, one key wins.
        .and_then(|()| fs::hard_link(&draft, path));
    let _ = fs::remove_file(&draft);
    written?;
    path.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_secret_opens_only_in_its_row_and_with_its_key() {
        let dir = tempfile::tempdir().unwrap();
        let sealer = Sealer::open(&dir.path().join("key")).unwrap();
        let sealed = sealer.seal("config", "canary");
        assert!(!sealed.contains("canary"));
        assert_eq!(sealer.unseal("config", &sealed).unwrap().expose(), "canary");
        assert_eq!(sealer.unseal("schedules", &sealed), Err(Refused));
        assert_eq!(sealer.unseal("config", "{}"), Err(Refused));
        assert_eq!(Sealer::for_a_test().unseal("config", &sealed), Err(Refused));
        assert_ne!(sealed, sealer.seal("config", "canary"));
    }

    #[test]
    fn the_key_is_made_once_and_only_for_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let sealed = Sealer::open(&path).unwrap().seal("config", "canary");
        assert!(Sealer::open(&path).unwrap().unseal("config", &sealed).is_ok());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_short_key_file_is_named_in_the_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        fs::write(&path, "short").unwrap();
        let error = Sealer::open(&path).err().unwrap();
        assert!(error.to_string().contains("must hold 32 bytes"), "{error}");
    }
}
