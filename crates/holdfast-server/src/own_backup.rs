//! The control plane's own backup: what a new machine needs to go on where this one ended.
//!
//! A copy holds the database as of one moment, the key file sealed with a passphrase, and a note of
//! when it was made. Where copies go is not this crate's affair: the server hands a folder to
//! whoever started it, and is told how it went.

use std::{
    fs::{File, OpenOptions},
    io::{ErrorKind, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use argon2::{Algorithm, Argon2, Params, Version};
use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use holdfast_protocol::message::config::Secret;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    store::{DATABASE, KEY, OpenError, Store},
    view::AuditHead,
};

/// The files of a copy, besides the database.
const SEALED_KEY: &str = "key.sealed";
const MANIFEST: &str = "manifest.json";
/// How costly a guess at the passphrase is: 64 MiB and a fraction of a second. A copy lies for
/// years in places that others run.
const MEMORY_KIB: u32 = 64 * 1024;
const PASSES: u32 = 3;
/// More than this nobody sealed; a forged note must not take all memory.
const MEMORY_KIB_MAX: u32 = 1024 * 1024;
const PASSES_MAX: u32 = 20;
const KEY_SIZE: usize = 32;
const NONCE_SIZE: usize = 24;
const SALT_SIZE: usize = 16;
/// The shortest passphrase that is taken, in bytes.
const PASSPHRASE_LENGTH_MIN: usize = 12;

/// What a copy says about itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Manifest {
    /// The shape of the copy.
    pub format: u32,
    /// The Holdfast that made it.
    pub version: String,
    /// When it was made.
    pub made_at: Timestamp,
    /// Where the audit stood: an anchor for `holdfast audit verify`.
    pub audit: AuditHead,
}

/// The key file under a passphrase.
#[derive(Serialize, Deserialize)]
struct SealedKey {
    memory_kib: u32,
    passes: u32,
    salt: String,
    nonce: String,
    key: String,
}

/// Why a copy could not be made or put back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CopyError {
    /// A file cannot be read or written.
    #[error("cannot use {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The database could not be copied.
    #[error("the database could not be copied")]
    Snapshot {
        /// What it said.
        #[source]
        source: sqlx::Error,
    },
    /// A passphrase that can be guessed.
    #[error("the passphrase is shorter than {PASSPHRASE_LENGTH_MIN} bytes")]
    WeakPassphrase,
    /// The passphrase is another one, or the sealed key was changed.
    #[error("the passphrase does not open the key in the copy")]
    WrongPassphrase,
    /// It is no copy, or a damaged one.
    #[error("the copy is damaged: {what}")]
    Damaged {
        /// What is wrong with it.
        what: String,
    },
    /// There is a server in the folder already.
    #[error("the data directory {} is not empty", path.display())]
    Occupied {
        /// The folder.
        path: PathBuf,
    },
    /// The copy does not open as a data directory.
    #[error(transparent)]
    Open(OpenError),
}

impl CopyError {
    /// What to do about it, in one sentence.
    #[must_use]
    pub fn action(&self) -> &'static str {
        match self {
            Self::File { .. } => "Check the path, its permissions and the free space.",
            Self::Snapshot { .. } => "Check the free space beside the data directory.",
            Self::WeakPassphrase => "Use five random words, and keep them outside this machine.",
            Self::WrongPassphrase => "Give the passphrase with which this copy was made.",
            Self::Damaged { .. } => "Restore an older snapshot, and check the repository.",
            Self::Occupied { .. } => "Name a folder that does not exist yet or is empty.",
            Self::Open(error) => error.action(),
        }
    }
}

/// Puts a copy of the server in `data` into the empty folder `into`. The server may be running.
///
/// # Errors
/// [`CopyError`].
pub async fn prepare(
    store: &Store,
    data: &Path,
    into: &Path,
    passphrase: &Secret,
) -> Result<Manifest, CopyError> {
    if passphrase.expose().len() < PASSPHRASE_LENGTH_MIN {
        return Err(CopyError::WeakPassphrase);
    }
    let path = data.join(KEY);
    let key = std::fs::read(&path).map_err(|source| CopyError::File { path, source })?;
    let (key, phrase) = (Zeroizing::new(key), passphrase.clone());
    let sealed = blocking(move || seal(&key, &phrase)).await?;
    write(&into.join(SEALED_KEY), &to_json(&sealed))?;
    // The audit is read first, so that its anchor is never ahead of the database in the copy.
    let audit = store.audit_head().await.map_err(|source| CopyError::Snapshot { source })?;
    let database = into.join(DATABASE);
    store.copy_to(&database).await.map_err(|source| CopyError::Snapshot { source })?;
    let manifest = Manifest {
        format: 1,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        made_at: store.now(),
        audit,
    };
    write(&into.join(MANIFEST), &to_json(&manifest))?;
    Ok(manifest)
}

/// Makes `data` the data directory that the copy in `from` was made of.
///
/// # Errors
/// [`CopyError`]. `data` is then as it was, or has only the files of this copy.
pub async fn restore(from: &Path, data: &Path, passphrase: &Secret) -> Result<Manifest, CopyError> {
    let manifest: Manifest = read(&from.join(MANIFEST))?;
    if manifest.format != 1 {
        let what = format!("its format {} is of a newer version", manifest.format);
        return Err(CopyError::Damaged { what });
    }
    let sealed: SealedKey = read(&from.join(SEALED_KEY))?;
    let phrase = passphrase.clone();
    let key = blocking(move || unseal(&sealed, &phrase)).await?;
    if std::fs::read_dir(data).is_ok_and(|mut files| files.next().is_some()) {
        return Err(CopyError::Occupied { path: data.to_owned() });
    }
    crate::store::create_dir(data).map_err(CopyError::Open)?;
    write(&data.join(KEY), &key)?;
    let (copy, database) = (from.join(DATABASE), data.join(DATABASE));
    let refused = |source| CopyError::File { path: copy.clone(), source };
    let mut source = File::open(&copy).map_err(refused)?;
    let mut target = create(&database)?;
    std::io::copy(&mut source, &mut target).and_then(|_| target.sync_all()).map_err(refused)?;
    check(data, &manifest).await?;
    Ok(manifest)
}

/// Opens what was put back, as the server will.
async fn check(data: &Path, manifest: &Manifest) -> Result<(), CopyError> {
    let store = Store::open(data).await.map_err(CopyError::Open)?;
    let whole = store.is_whole().await;
    let outdated = store.outdate_configs().await;
    let verdict = store.verify_audit(Some(&manifest.audit)).await;
    store.close().await;
    let damaged = |what: &str| CopyError::Damaged { what: what.to_owned() };
    if !whole {
        return Err(damaged("the database fails its own integrity check"));
    }
    match verdict {
        Ok(verdict) if verdict.ok => outdated.map_err(|source| CopyError::Snapshot { source }),
        Ok(_) => Err(damaged("its audit is not whole")),
        Err(_) => Err(damaged("its audit cannot be read")),
    }
}

fn seal(key: &[u8], passphrase: &Secret) -> Result<SealedKey, CopyError> {
    let (salt, nonce) = (rand::random::<[u8; SALT_SIZE]>(), rand::random::<[u8; NONCE_SIZE]>());
    let cipher = cipher(passphrase, &salt, MEMORY_KIB, PASSES)?;
    let payload = Payload { msg: key, aad: PURPOSE };
    let sealed = cipher
        .encrypt(&XNonce::from(nonce), payload)
        .expect("encryption fails only beyond 256 GiB");
    Ok(SealedKey {
        memory_kib: MEMORY_KIB,
        passes: PASSES,
        salt: STANDARD_NO_PAD.encode(salt),
        nonce: STANDARD_NO_PAD.encode(nonce),
        key: STANDARD_NO_PAD.encode(sealed),
    })
}

/// What the sealed bytes are for, so that they open as nothing else.
const PURPOSE: &[u8] = b"holdfast server key";

fn unseal(sealed: &SealedKey, passphrase: &Secret) -> Result<Zeroizing<Vec<u8>>, CopyError> {
    let damaged = || CopyError::Damaged { what: "its key cannot be read".to_owned() };
    if sealed.memory_kib > MEMORY_KIB_MAX || sealed.passes > PASSES_MAX {
        return Err(damaged());
    }
    let bytes = |text: &str| STANDARD_NO_PAD.decode(text).map_err(|_| damaged());
    let (salt, key) = (bytes(&sealed.salt)?, bytes(&sealed.key)?);
    let nonce: [u8; NONCE_SIZE] = bytes(&sealed.nonce)?.try_into().map_err(|_| damaged())?;
    let cipher = cipher(passphrase, &salt, sealed.memory_kib, sealed.passes)?;
    let payload = Payload { msg: &key, aad: PURPOSE };
    let plain = cipher.decrypt(&XNonce::from(nonce), payload);
    plain.map(Zeroizing::new).map_err(|_| CopyError::WrongPassphrase)
}

fn cipher(
    passphrase: &Secret,
    salt: &[u8],
    memory_kib: u32,
    passes: u32,
) -> Result<XChaCha20Poly1305, CopyError> {
    let damaged = |_| CopyError::Damaged { what: "its key cannot be read".to_owned() };
    let params = Params::new(memory_kib, passes, 1, Some(KEY_SIZE)).map_err(damaged)?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let mut key = Zeroizing::new([0; KEY_SIZE]);
    let phrase = passphrase.expose().as_bytes();
    argon2.hash_password_into(phrase, salt, &mut *key).map_err(damaged)?;
    Ok(XChaCha20Poly1305::new(&(*key).into()))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, CopyError> + Send + 'static,
) -> Result<T, CopyError> {
    let stopped = |_| CopyError::Damaged { what: "the work on its key was cut off".to_owned() };
    tokio::task::spawn_blocking(work).await.map_err(stopped)?
}

fn to_json<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec_pretty(value).expect("plain data has a JSON form")
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, CopyError> {
    let name = path.file_name().unwrap_or_default().display();
    let bytes = std::fs::read(path).map_err(|source| match source.kind() {
        ErrorKind::NotFound => CopyError::Damaged { what: format!("it has no file `{name}`") },
        _ => CopyError::File { path: path.to_owned(), source },
    })?;
    let unread = |_| CopyError::Damaged { what: format!("its file `{name}` cannot be read") };
    serde_json::from_slice(&bytes).map_err(unread)
}

fn create(path: &Path) -> Result<File, CopyError> {
    let options = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    options.map_err(|source| CopyError::File { path: path.to_owned(), source })
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), CopyError> {
    let mut file = create(path)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    written.map_err(|source| CopyError::File { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phrase(text: &str) -> Secret {
        Secret::new(text)
    }

    async fn copy() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let (data, into) = (dir.path().join("data"), dir.path().join("copy"));
        std::fs::create_dir(&into).unwrap();
        let store = Store::open(&data).await.unwrap();
        store.add_host("ops", "web-1").await.unwrap();
        prepare(&store, &data, &into, &phrase("five random words here")).await.unwrap();
        // What comes after the copy is not in it.
        store.add_host("ops", "db-1").await.unwrap();
        store.close().await;
        (dir, into)
    }

    #[tokio::test]
    async fn a_copy_opens_with_its_passphrase_and_is_the_server_of_that_moment() {
        let (dir, copy) = copy().await;
        let key = std::fs::read(dir.path().join("data").join(KEY)).unwrap();
        for file in std::fs::read_dir(&copy).unwrap() {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            assert!(!bytes.windows(key.len()).any(|part| part == key), "the bare key is in it");
        }
        let new = dir.path().join("new");
        let wrong = restore(&copy, &new, &phrase("another passphrase")).await.unwrap_err();
        assert!(matches!(wrong, CopyError::WrongPassphrase), "{wrong}");
        assert!(!new.exists());
        restore(&copy, &new, &phrase("five random words here")).await.unwrap();
        let store = Store::open(&new).await.unwrap();
        store.find_host("web-1").await.unwrap();
        store.find_host("db-1").await.unwrap_err();
        store.close().await;
        let again = restore(&copy, &new, &phrase("five random words here")).await.unwrap_err();
        assert!(matches!(again, CopyError::Occupied { .. }), "{again}");
    }

    #[tokio::test]
    async fn damage_is_found_before_a_server_starts_on_it() {
        let (dir, copy) = copy().await;
        let database = copy.join(DATABASE);
        let mut bytes = std::fs::read(&database).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle..].iter_mut().for_each(|byte| *byte = 0x55);
        std::fs::write(&database, bytes).unwrap();
        let data = dir.path().join("new");
        restore(&copy, &data, &phrase("five random words here")).await.unwrap_err();
        std::fs::remove_file(copy.join(SEALED_KEY)).unwrap();
        let data = dir.path().join("newer");
        let error = restore(&copy, &data, &phrase("five random words here")).await.unwrap_err();
        assert!(error.to_string().contains("it has no file `key.sealed`"), "{error}");
    }

    #[tokio::test]
    async fn a_short_passphrase_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("data")).await.unwrap();
        let made = prepare(&store, &dir.path().join("data"), dir.path(), &phrase("short")).await;
        assert!(matches!(made, Err(CopyError::WeakPassphrase)));
    }
}
