//! Secrets at rest: sealed with a key that lies beside the database, not in it.
//!
//! A copy of the database alone (a backup, a support bundle) gives nobody a repository password.

use std::{
    fs::{File, OpenOptions},
    io::{ErrorKind, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use hmac::{Hmac, Mac};
use holdfast_protocol::message::config::Secret;
use sha2::Sha256;
use zeroize::Zeroizing;

/// Seals and opens secrets with the key of one data directory.
#[derive(Clone)]
pub(crate) struct Sealer {
    cipher: XChaCha20Poly1305,
    /// What the end of the audit is signed with: it leads back to the key of no secret.
    audit_key: Secret,
}

/// Where a sealed value lives. It is bound into the seal, so that a value copied to another row or
/// column does not open there.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) table: &'static str,
    pub(crate) row: &'a str,
    pub(crate) column: &'static str,
}

/// The key could not be had, or a sealed value does not open with it.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The key file cannot be read or written.
    #[error("cannot use the key file {}", path.display())]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The key file does not hold exactly 32 bytes.
    #[error("the key file {} is damaged: it must hold 32 bytes", path.display())]
    KeyLength {
        /// The file.
        path: PathBuf,
    },
    /// The value was sealed with another key, or changed.
    #[error("a stored secret ({table}.{column}) does not open with the key file")]
    Sealed {
        /// The table it is in.
        table: &'static str,
        /// The column it is in.
        column: &'static str,
    },
}

const NONCE_SIZE: usize = 24;
const KEY_SIZE: usize = 32;

impl Sealer {
    /// Reads the key at `path`, or makes one there when there is none.
    pub(crate) fn open(path: &Path) -> Result<Self, SecretError> {
        let key_file = |source| SecretError::KeyFile { path: path.to_owned(), source };
        match create_key(path) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(key_file(error)),
        }
        let mut key = Zeroizing::new(Vec::new());
        File::open(path).and_then(|mut file| file.read_to_end(&mut key)).map_err(key_file)?;
        let cipher = XChaCha20Poly1305::new_from_slice(&key)
            .map_err(|_| SecretError::KeyLength { path: path.to_owned() })?;
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("HMAC takes keys of any length");
        mac.update(b"holdfast audit");
        let audit_key = Secret::new(STANDARD_NO_PAD.encode(mac.finalize().into_bytes()));
        Ok(Self { cipher, audit_key })
    }

    /// The key for the end of the audit.
    pub(crate) fn audit_key(&self) -> &str {
        self.audit_key.expose()
    }

    pub(crate) fn seal(&self, place: Place<'_>, secret: &str) -> String {
        let nonce: [u8; NONCE_SIZE] = rand::random();
        let aad = place.aad();
        let payload = Payload { msg: secret.as_bytes(), aad: aad.as_bytes() };
        let sealed = self
            .cipher
            .encrypt(&XNonce::from(nonce), payload)
            .expect("encryption fails only beyond 256 GiB");
        STANDARD_NO_PAD.encode([&nonce[..], &sealed].concat())
    }

    pub(crate) fn unseal(&self, place: Place<'_>, text: &str) -> Result<Secret, SecretError> {
        let refused = || SecretError::Sealed { table: place.table, column: place.column };
        let bytes = STANDARD_NO_PAD.decode(text).map_err(|_| refused())?;
        let (nonce, sealed) = bytes.split_first_chunk::<NONCE_SIZE>().ok_or_else(refused)?;
        let aad = place.aad();
        let payload = Payload { msg: sealed, aad: aad.as_bytes() };
        let plain = self.cipher.decrypt(&XNonce::from(*nonce), payload).map_err(|_| refused())?;
        String::from_utf8(plain).map(Secret::new).map_err(|_| refused())
    }
}

impl Place<'_> {
    fn aad(&self) -> String {
        format!("{}/{}/{}", self.table, self.row, self.column)
    }
}

/// Writes a fresh key beside its final name first, so that a crash never leaves half a key behind.
fn create_key(path: &Path) -> std::io::Result<()> {
    let key = Zeroizing::new(rand::random::<[u8; KEY_SIZE]>());
    let draft = path.with_extension(format!("{:016x}", rand::random::<u64>()));
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)
        .and_then(|mut file| file.write_all(&*key).and_then(|()| file.sync_all()))
        // A hard link refuses to replace a file: of two programs that start at once, one key wins.
        .and_then(|()| std::fs::hard_link(&draft, path));
    let _ = std::fs::remove_file(&draft);
    written?;
    path.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const HERE: Place<'_> = Place { table: "repositories", row: "1", column: "password" };

    #[test]
    fn a_secret_opens_only_where_it_was_sealed() {
        let dir = tempfile::tempdir().unwrap();
        let sealer = Sealer::open(&dir.path().join("key")).unwrap();
        let sealed = sealer.seal(HERE, "canary");
        assert!(!sealed.contains("canary"));
        assert_eq!(sealer.unseal(HERE, &sealed).unwrap().expose(), "canary");
        let elsewhere = Place { row: "2", ..HERE };
        assert!(sealer.unseal(elsewhere, &sealed).is_err());
        assert!(sealer.unseal(HERE, "rubbish").is_err());
        assert_ne!(sealed, sealer.seal(HERE, "canary"));
    }

    #[test]
    fn the_key_is_made_once_and_only_for_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let sealed = Sealer::open(&path).unwrap().seal(HERE, "canary");
        assert_eq!(Sealer::open(&path).unwrap().unseal(HERE, &sealed).unwrap().expose(), "canary");
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_short_key_file_is_named_in_the_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        std::fs::write(&path, "short").unwrap();
        let error = Sealer::open(&path).err().unwrap();
        assert!(error.to_string().contains("must hold 32 bytes"), "{error}");
    }
}
