//! What the server knows, on disk: one SQLite file, written by one connection.
//!
//! ```text
//! Store ── writer (1 connection, WAL, synchronous=FULL) ── every change, one transaction each
//!       ├─ Writer task: the effects of all hosts' records, many hosts to one commit
//!       ├─ Doorway task: sessions that are opened and have ended, many to one commit
//!       ├─ readers (a small read-only pool)
//!       ├─ Together tasks: what many hosts' agents ask at once, in one question
//!       ├─ Sealer: repository credentials
//!       └─ Bus: what changed, for the live view; told only after the commit
//! ```
//!
//! The SQL keeps to what SQLite and PostgreSQL share: numbered parameters, `ON CONFLICT`,
//! `RETURNING`, ids as text and times as milliseconds.

mod alert;
mod apply;
mod audit;
mod background;
mod channel;
mod config;
mod delivery;
mod dialect;
mod digest;
mod doorway;
mod enrolment;
mod error;
mod evaluation;
mod firing;
mod group;
mod host;
mod in_force;
mod inbox;
mod job;
mod log;
mod maintenance;
mod mark;
mod migrations;
#[cfg(feature = "oidc")]
mod oidc;
mod outbox;
mod own_backup;
mod repository;
mod row;
mod schedule;
mod scoped;
mod session;
mod sign_in;
mod silence;
mod snapshot;
mod together;
mod token;
mod upkeep;
mod user;
mod writer;

use std::{
    fs::DirBuilder,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::Path,
    sync::Arc,
    time::Duration,
};

use holdfast_protocol::HostId;
use jiff::Timestamp;
use sqlx::{
    Sqlite, SqlitePool, Transaction,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::sync::watch;

use crate::{bus::Bus, clock::Clock, secret::Sealer, token::TokenHash};
use together::Together;

pub use alert::AlertFilter;
pub use audit::AuditFilter;
pub use channel::NewChannel;
pub use dialect::{ForeignHost, NewForeignHost};
pub use enrolment::{Enrolled, Enrolment, NewHost};
pub use error::{Error, OpenError};
pub use evaluation::EvaluationFilter;
pub use group::{GroupChange, NewGroup};
pub use host::{HostChange, HostRow};
pub use inbox::HostStore;
pub use job::{Cancelled, JobFilter, Order, Ordered};
pub use maintenance::NewMaintenance;
pub use outbox::COMMANDS_MAX;
pub use repository::{NewCredentials, NewLocation, NewRepository};
pub use schedule::NewSchedule;
pub use session::{Opened, Refusal};
pub use silence::NewSilence;
pub use token::{ApiToken, NewApiToken, NewToken};
pub use user::{NewUser, UserChange};

pub(crate) use delivery::Due;
pub(crate) use dialect::DialledHost;
pub(crate) use digest::DigestReader;
pub(crate) use evaluation::{Decision, DueSlots, OpenSlot, ScheduleForm};
pub(crate) use firing::UnfiredSlot;
pub(crate) use group::{GroupRow, ScheduleRow};
pub(crate) use job::{GroupRuns, JobRow, LatestBackup};
pub(crate) use log::{LOG_LIFE, LOG_SETTLES};
pub(crate) use maintenance::{DuePlan, KINDS as MAINTENANCE_KINDS, Placed, WaitingSlot};
#[cfg(feature = "oidc")]
pub(crate) use oidc::TurnedAway;
pub(crate) use sign_in::{LIFE_MAX as SIGN_IN_LIFE_MAX, NewSignIn};
pub(crate) use snapshot::SeenRow;
pub(crate) use upkeep::Upkeep;
pub(crate) use user::UserRow;

/// The file inside the data directory.
pub(crate) const DATABASE: &str = "holdfast.db";
/// The key file inside the data directory.
pub(crate) const KEY: &str = "key";
/// How long a statement waits for another process (`holdfast token create`) to finish writing.
const BUSY_WAIT: Duration = Duration::from_secs(10);
const READERS: u32 = 4;
/// More changes to one host than this nobody makes between two copies of the database.
const CONFIG_VERSIONS_LOST_MAX: i64 = 1_000_000;

/// The open database. A clone is another handle to the same one.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    writer: SqlitePool,
    readers: SqlitePool,
    sealer: Sealer,
    bus: Bus,
    clock: Clock,
    apply: writer::Writer,
    doorway: doorway::Doorway,
    tokens: Together<TokenHash, Option<HostId>>,
    configs: Together<HostId, config::Config>,
}

impl Store {
    /// Opens the database in `dir`, creating and upgrading it as needed. The directory is made for
    /// the owner only.
    ///
    /// Several processes may have one directory open: the server and `holdfast token create`.
    ///
    /// # Errors
    /// [`OpenError`] says what to do about it.
    pub async fn open(dir: &Path) -> Result<Self, OpenError> {
        Self::open_with(dir, Clock::real()).await
    }

    /// As [`open`](Self::open), for a store that goes by another clock.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn open_with(dir: &Path, clock: Clock) -> Result<Self, OpenError> {
        create_dir(dir)?;
        let sealer = Sealer::open(&dir.join(KEY)).map_err(|source| OpenError::Key { source })?;
        let writer = connect_writer(dir, &sealer).await?;
        migrations::run(&writer, dir).await?;
        audit::begin(&writer).await.map_err(unusable(dir))?;
        let readers = connect_readers(dir).await?;
        repository::check_key(&readers, &sealer)
            .await
            .map_err(|source| OpenError::Key { source })?;
        let bus = Bus::default();
        let apply = writer::Writer::spawn(writer.clone(), bus.clone(), clock.clone());
        let doorway = doorway::Doorway::spawn(writer.clone(), bus.clone(), clock.clone());
        let tokens = tokens(&readers);
        let configs = configs(&readers, &sealer);
        let inner = Inner { writer, readers, sealer, bus, clock, apply, doorway, tokens, configs };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Writes what is under way and closes the file.
    pub async fn close(&self) {
        self.inner.doorway.close().await;
        self.inner.apply.close().await;
        self.inner.tokens.close().await;
        self.inner.configs.close().await;
        self.inner.readers.close().await;
        self.inner.writer.close().await;
    }

    /// Writes the database as it is at one moment into a new file.
    pub(crate) async fn copy_to(&self, file: &Path) -> Result<(), sqlx::Error> {
        let file = file.to_string_lossy().into_owned();
        sqlx::query("VACUUM INTO $1").bind(file).execute(self.readers()).await?;
        Ok(())
    }

    /// Whether every page of the database file is as it should be.
    pub(crate) async fn is_whole(&self) -> bool {
        let found = sqlx::query_scalar::<_, String>("PRAGMA integrity_check");
        found.fetch_one(self.readers()).await.is_ok_and(|found| found == "ok")
    }

    /// Makes what every host knows of its configuration outdated, so that each is sent what is in
    /// this database though it may have had later versions.
    pub(crate) async fn outdate_configs(&self) -> Result<(), sqlx::Error> {
        sqlx::query("UPDATE hosts SET config_version = config_version + $1")
            .bind(CONFIG_VERSIONS_LOST_MAX)
            .execute(&self.inner.writer)
            .await?;
        Ok(())
    }

    /// Whether the database answers, for the health page.
    pub async fn is_healthy(&self) -> bool {
        sqlx::query("SELECT 1").execute(self.readers()).await.is_ok()
    }

    pub(crate) fn bus(&self) -> &Bus {
        &self.inner.bus
    }

    /// The present, by the clock that the server goes by.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.inner.clock.now()
    }

    /// Tells whenever somebody's access may have ended.
    pub(crate) fn access_changes(&self) -> watch::Receiver<u64> {
        self.bus().access()
    }

    fn readers(&self) -> &SqlitePool {
        &self.inner.readers
    }

    fn sealer(&self) -> &Sealer {
        &self.inner.sealer
    }

    fn writer(&self) -> &writer::Writer {
        &self.inner.apply
    }

    /// Starts a writing transaction. It takes the write lock at once: a transaction that reads
    /// first and upgrades later can fail however long it waits.
    async fn begin(&self, phase: &'static str) -> Result<Transaction<'static, Sqlite>, Error> {
        self.inner.writer.begin_with("BEGIN IMMEDIATE").await.map_err(Error::database(phase))
    }
}

/// Whose agent tokens these are.
fn tokens(readers: &SqlitePool) -> Together<TokenHash, Option<HostId>> {
    let readers = readers.clone();
    Together::spawn("checking an agent token", move |hashes: Vec<TokenHash>| {
        let readers = readers.clone();
        async move { token::agents(&readers, &hashes).await }
    })
}

/// What these agents should know.
fn configs(readers: &SqlitePool, sealer: &Sealer) -> Together<HostId, config::Config> {
    let (readers, sealer) = (readers.clone(), sealer.clone());
    Together::spawn("reading a host's configuration", move |hosts: Vec<HostId>| {
        let (readers, sealer) = (readers.clone(), sealer.clone());
        async move { config::read(&readers, &sealer, &hosts).await }
    })
}

pub(crate) fn create_dir(dir: &Path) -> Result<(), OpenError> {
    let refused = |source| OpenError::Directory { path: dir.to_owned(), source };
    if !dir.exists() {
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(refused)?;
    }
    let mode = std::fs::metadata(dir).map_err(refused)?.permissions().mode();
    if mode & 0o077 != 0 {
        // It holds the key and every credential; whoever made it wider did not mean that.
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700)).map_err(refused)?;
    }
    Ok(())
}

fn unusable(dir: &Path) -> impl Fn(sqlx::Error) -> OpenError {
    move |source| OpenError::Database { path: dir.join(DATABASE), source }
}

async fn connect_writer(dir: &Path, sealer: &Sealer) -> Result<SqlitePool, OpenError> {
    let key: Arc<str> = sealer.audit_key().into();
    let options = options(dir).create_if_missing(true).optimize_on_close(true, None);
    SqlitePoolOptions::new()
        .max_connections(1)
        .idle_timeout(None)
        .max_lifetime(None)
        .after_connect(move |connection, _| {
            let key = Arc::clone(&key);
            Box::pin(async move { audit::bring_key(connection, &key).await })
        })
        .connect_with(options)
        .await
        .map_err(|source| OpenError::Database { path: dir.join(DATABASE), source })
}

async fn connect_readers(dir: &Path) -> Result<SqlitePool, OpenError> {
    SqlitePoolOptions::new()
        .max_connections(READERS)
        .connect_with(options(dir).read_only(true))
        .await
        .map_err(|source| OpenError::Database { path: dir.join(DATABASE), source })
}

fn options(dir: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(dir.join(DATABASE))
        .journal_mode(SqliteJournalMode::Wal)
        // NORMAL may take back acknowledged records at a power cut; with group commits FULL costs
        // next to nothing.
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY_WAIT)
}
