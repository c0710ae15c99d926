//! Opening and closing a session: the one place where an epoch is handed out.

use holdfast_protocol::{
    HostId, Incarnation, Instance, Message,
    message::{config, link::Hello, schedule},
};
use jiff::Timestamp;
use sqlx::{SqliteConnection, sqlite::SqliteRow};

use super::{
    Error, Store, audit, group, outbox,
    row::{Columns, int, json},
    schedule as schedules,
};

/// An accepted hello.
#[derive(Debug)]
pub struct Opened {
    /// The fencing token of the new session.
    pub epoch: u64,
    /// The configuration version that [`Store::config`] had then.
    pub config_version: i64,
}

/// Why a hello was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The host was removed, or never enrolled.
    #[error("the host is not enrolled")]
    NotEnrolled,
    /// The hello comes from another outbox than the one that enrolled.
    #[error("the agent's store is not the one that was enrolled")]
    UnknownIncarnation,
    /// A newer start of the same outbox has been here: this one is a copy.
    #[error("a newer start of this agent has already connected")]
    StaleBoot,
    /// Another process with the same number of starts has been here: one of the two is a copy.
    #[error("a copy of this agent has already connected")]
    Cloned,
}

impl Store {
    /// Checks a hello of `host` and takes the epoch for a new session. From here on no older
    /// session of the host can write.
    ///
    /// # Errors
    /// The outer error is the database's, the inner one the answer to the hello.
    pub async fn open_session(
        &self,
        host: HostId,
        hello: &Hello,
    ) -> Result<Result<Opened, Refusal>, Error> {
        self.inner.doorway.enter(host, hello.clone()).await
    }

    /// Has it written down when the agent of a link that has ended was last heard.
    pub(crate) async fn session_ended(&self, host: HostId, heard_at: Timestamp) {
        self.inner.doorway.leave(host, heard_at).await;
    }

    /// The version of a host's configuration.
    pub(crate) async fn config_version(&self, host: HostId) -> Result<i64, Error> {
        const PHASE: &str = "reading a configuration's version";
        sqlx::query_scalar("SELECT config_version FROM hosts WHERE id = $1")
            .bind(host.to_string())
            .fetch_one(self.readers())
            .await
            .map_err(Error::database(PHASE))
    }

    /// What the agent of `host` should know: its configuration and its schedules, as of one moment.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn config(&self, host: HostId) -> Result<(config::Update, schedule::Set), Error> {
        const PHASE: &str = "reading a host's configuration";
        // A reading transaction sees one moment, so the version and the content belong together.
        let mut tx = self.readers().begin().await.map_err(Error::database(PHASE))?;
        let row = sqlx::query("SELECT name, config_version FROM hosts WHERE id = $1")
            .bind(host.to_string())
            .fetch_one(&mut *tx)
            .await
            .map_err(Error::database(PHASE))?;
        let version = row.int("config_version").map_err(Error::database(PHASE))?;
        let host_name = row.text("name").map_err(Error::database(PHASE))?;
        let repositories = self.repositories_of(&mut tx, host).await?;
        let groups = group::config_of(&mut tx, host).await.map_err(Error::database(PHASE))?;
        let schedules =
            schedules::config_of(&mut tx, host).await.map_err(Error::database(PHASE))?;
        let update = config::Update { version, host_name, repositories, groups };
        Ok((update, schedule::Set { version, schedules }))
    }

    /// Raises the version of a host's configuration above one that its agent has from a later state
    /// of this database, which was then set back to an older copy; whether that was needed. What
    /// the server knows is in force again when it has been sent.
    pub(crate) async fn pass_config_version(
        &self,
        host: HostId,
        version: i64,
    ) -> Result<bool, Error> {
        const PHASE: &str = "passing a configuration's version";
        if version > int(MAX_NUMBER) {
            return Ok(false);
        }
        let mut tx = self.begin(PHASE).await?;
        let passed = sqlx::query(
            "UPDATE hosts SET config_version = $2 + 1 WHERE id = $1 AND config_version < $2",
        )
        .bind(host.to_string())
        .bind(version)
        .execute(&mut *tx)
        .await
        .map_err(Error::database(PHASE))?;
        tx.commit().await.map_err(Error::database(PHASE))?;
        let passed = passed.rows_affected() == 1;
        if passed {
            tracing::warn!(%host, version, "the agent's configuration is of a later state");
        }
        Ok(passed)
    }

    /// The messages that bring an agent's configuration up to date, and their version.
    pub(crate) async fn config_messages(&self, host: HostId) -> Result<(i64, [Message; 2]), Error> {
        let (update, set) = self.config(host).await?;
        Ok((update.version, [Message::ConfigUpdate(update), Message::ScheduleSet(set)]))
    }
}

/// Opens a session in the transaction of a round.
pub(super) async fn open(
    connection: &mut SqliteConnection,
    host: HostId,
    hello: &Hello,
    now: Timestamp,
) -> Result<Result<Opened, Refusal>, sqlx::Error> {
    let row = sqlx::query(
        "SELECT name, incarnation, boot, instance, next_seq, epoch FROM hosts
         WHERE id = $1 AND removed_at IS NULL",
    )
    .bind(host.to_string())
    .fetch_optional(&mut *connection)
    .await?;
    let row = match check(row, hello)? {
        Ok(row) => row,
        Err(refusal) => return Ok(Err(refusal)),
    };
    witness(&mut *connection, host, hello, &row, now).await?;
    catch_up(&mut *connection, host, hello, row.int("next_seq")?).await?;
    take_epoch(connection, host, hello, now).await.map(Ok)
}

fn check(row: Option<SqliteRow>, hello: &Hello) -> Result<Result<SqliteRow, Refusal>, sqlx::Error> {
    let Some(row) = row else { return Ok(Err(Refusal::NotEnrolled)) };
    let known: Option<Incarnation> = row.parsed_opt("incarnation")?;
    let (boot, instance) = (row.count("boot")?, row.parsed_opt::<Instance>("instance")?);
    Ok(match known {
        None => Err(Refusal::NotEnrolled),
        Some(known) if known != hello.incarnation => Err(Refusal::UnknownIncarnation),
        Some(_) if hello.boot < boot => Err(Refusal::StaleBoot),
        // A start is counted on disk before its first hello, so no machine shows one number as two
        // processes. Which of the two is the copy, nobody here can know: the first one stays.
        Some(_) if hello.boot == boot && instance.is_some() && instance != hello.instance => {
            Err(Refusal::Cloned)
        }
        Some(_) => Ok(row),
    })
}

/// An agent that has met a later epoch, or records that we never numbered, has met a later state of
/// this database: it was restored from a copy, or somebody put an older one in its place. Who did
/// that could have left out what the audit told since, but not what the fleet remembers.
async fn witness(
    connection: &mut SqliteConnection,
    host: HostId,
    hello: &Hello,
    row: &SqliteRow,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let (epoch, next) = (row.count("epoch")?, row.count("next_seq")?);
    if hello.epoch <= epoch && hello.received < next {
        return Ok(());
    }
    sqlx::query("UPDATE hosts SET ahead_at = $2 WHERE id = $1")
        .bind(host.to_string())
        .bind(now.as_millisecond())
        .execute(&mut *connection)
        .await?;
    let name = row.text("name")?;
    let ours = serde_json::json!({ "epoch": epoch, "next_record": next });
    let theirs = serde_json::json!({ "epoch": hello.epoch, "received": hello.received });
    audit::changed(connection, ("server", "server.set_back", &name), Some(ours), Some(theirs)).await
}

/// An agent that holds records we never numbered has met a later state of this database, which was
/// then set back to an older copy. Numbers must not be used twice, so what waits moves up. The
/// agent recognises by its job a command that it has had before.
async fn catch_up(
    connection: &mut SqliteConnection,
    host: HostId,
    hello: &Hello,
    next: i64,
) -> Result<(), sqlx::Error> {
    let theirs = hello.received.min(MAX_NUMBER);
    if int(theirs) < next {
        return Ok(());
    }
    tracing::warn!(%host, "the agent is ahead of this database, which seems to be an older copy");
    outbox::renumber(connection, host, theirs + 1).await
}

async fn take_epoch(
    connection: &mut SqliteConnection,
    host: HostId,
    hello: &Hello,
    now: Timestamp,
) -> Result<Opened, sqlx::Error> {
    // A server that was restored from an old copy must still hand out an epoch above any the agent
    // has seen.
    let row = sqlx::query(
        "UPDATE hosts SET
             epoch = CASE WHEN epoch > $2 THEN epoch ELSE $2 END + 1,
             boot = $3, sessions = sessions + 1, last_seen_at = $4, agent_version = $5,
             restic_version = $6, hostname = $7, os = $8, arch = $9, time_zone = $10,
             instance = $11, capabilities = $12
         WHERE id = $1 RETURNING epoch, config_version",
    )
    .bind(host.to_string())
    .bind(int(hello.epoch.min(MAX_NUMBER)))
    .bind(int(hello.boot))
    .bind(now.as_millisecond())
    .bind(bounded(&hello.facts.agent_version))
    .bind(bounded(&hello.facts.restic_version))
    .bind(bounded(&hello.facts.hostname))
    .bind(bounded(&hello.facts.os))
    .bind(bounded(&hello.facts.arch))
    .bind(bounded(&hello.facts.time_zone))
    .bind(hello.instance.map(|instance| instance.to_string()))
    .bind(capabilities(&hello.capabilities))
    .fetch_one(connection)
    .await?;
    Ok(Opened { epoch: row.count("epoch")?, config_version: row.int("config_version")? })
}

/// The words for what the agent can do, as they are stored; none when it said none.
fn capabilities(words: &[String]) -> Option<String> {
    const WORDS_MAX: usize = 64;
    let words: Vec<String> = words.iter().take(WORDS_MAX).map(|word| bounded(word)).collect();
    (!words.is_empty()).then(|| json(&words))
}

/// An agent that claims an absurd number must not be able to make ours overflow.
const MAX_NUMBER: u64 = 1 << 53;

fn bounded(text: &str) -> String {
    text.chars().take(256).collect()
}
