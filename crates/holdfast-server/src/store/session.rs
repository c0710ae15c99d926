//! Opening and closing a session: the one place where an epoch is handed out.

use std::collections::BTreeMap;

use holdfast_protocol::{HostId, Incarnation, Instance, message::link::Hello};
use jiff::Timestamp;
use sqlx::{QueryBuilder, Sqlite, SqliteConnection, query_builder::Separated, sqlite::SqliteRow};

use super::{
    Error, Store, audit,
    host::only_hosts,
    outbox,
    row::{Columns, int, json},
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
}

/// Opens sessions in the transaction of a round, each of another host; the answers in their order.
pub(super) async fn open(
    connection: &mut SqliteConnection,
    callers: &[(HostId, &Hello)],
    now: Timestamp,
) -> Result<Vec<Result<Opened, Refusal>>, sqlx::Error> {
    let mut known = known(&mut *connection, callers).await?;
    let mut verdicts = Vec::with_capacity(callers.len());
    for (host, hello) in callers {
        let verdict = check(known.remove(host), hello)?;
        if let Ok(row) = &verdict {
            witness(&mut *connection, *host, hello, row, now).await?;
            catch_up(&mut *connection, *host, hello, row.int("next_seq")?).await?;
        }
        verdicts.push(verdict.map(drop));
    }
    let accepted = callers.iter().zip(&verdicts).filter(|(_, verdict)| verdict.is_ok());
    let accepted: Vec<(HostId, &Hello)> = accepted.map(|(caller, _)| *caller).collect();
    let mut opened = take_epochs(connection, &accepted, now).await?;
    let answer = |((host, _), verdict): (&(HostId, &Hello), Result<(), Refusal>)| match verdict {
        Ok(()) => opened.remove(host).ok_or(sqlx::Error::RowNotFound).map(Ok),
        Err(refusal) => Ok(Err(refusal)),
    };
    callers.iter().zip(verdicts).map(answer).collect()
}

async fn known(
    connection: &mut SqliteConnection,
    callers: &[(HostId, &Hello)],
) -> Result<BTreeMap<HostId, SqliteRow>, sqlx::Error> {
    let hosts: Vec<HostId> = callers.iter().map(|(host, _)| *host).collect();
    let mut query = QueryBuilder::<Sqlite>::new(
        "SELECT id, name, incarnation, boot, instance, next_seq, epoch FROM hosts
         WHERE removed_at IS NULL",
    );
    only_hosts(&mut query, "id", Some(&hosts));
    let rows = query.build().fetch_all(connection).await?;
    rows.into_iter().map(|row| Ok((row.parsed("id")?, row))).collect()
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

async fn take_epochs(
    connection: &mut SqliteConnection,
    accepted: &[(HostId, &Hello)],
    now: Timestamp,
) -> Result<BTreeMap<HostId, Opened>, sqlx::Error> {
    if accepted.is_empty() {
        return Ok(BTreeMap::new());
    }
    // A server that was restored from an old copy must still hand out an epoch above any the agent
    // has seen.
    let mut query = QueryBuilder::<Sqlite>::new(
        "UPDATE hosts SET
             epoch = CASE WHEN epoch > said.column2 THEN epoch ELSE said.column2 END + 1,
             boot = said.column3, sessions = sessions + 1, last_seen_at = said.column4,
             agent_version = said.column5, restic_version = said.column6,
             hostname = said.column7, os = said.column8, arch = said.column9,
             time_zone = said.column10, instance = said.column11, capabilities = said.column12
         FROM (",
    );
    query.push_values(accepted, |row, (host, hello)| say(row, *host, hello, now));
    query.push(") AS said WHERE hosts.id = said.column1 RETURNING id, epoch, config_version");
    let rows = query.build().fetch_all(connection).await?;
    let read = |row: &SqliteRow| {
        let config_version = row.int("config_version")?;
        Ok((row.parsed("id")?, Opened { epoch: row.count("epoch")?, config_version }))
    };
    rows.iter().map(read).collect()
}

/// What a hello says, in the order of the columns above.
fn say(mut row: Separated<'_, Sqlite, &'static str>, host: HostId, hello: &Hello, now: Timestamp) {
    row.push_bind(host.to_string())
        .push_bind(int(hello.epoch.min(MAX_NUMBER)))
        .push_bind(int(hello.boot))
        .push_bind(now.as_millisecond())
        .push_bind(bounded(&hello.facts.agent_version))
        .push_bind(bounded(&hello.facts.restic_version))
        .push_bind(bounded(&hello.facts.hostname))
        .push_bind(bounded(&hello.facts.os))
        .push_bind(bounded(&hello.facts.arch))
        .push_bind(bounded(&hello.facts.time_zone))
        .push_bind(hello.instance.map(|instance| instance.to_string()))
        .push_bind(capabilities(&hello.capabilities));
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
