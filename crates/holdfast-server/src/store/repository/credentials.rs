//! Changing what opens a repository. Nothing here ever gives a secret back.

use std::collections::BTreeMap;

use holdfast_protocol::{
    HostId, RepositoryId,
    message::config::{Credentials, Secret, Slot},
};
use jiff::Timestamp;
use serde_json::{Value, json};
use sqlx::{SqliteConnection, sqlite::SqliteRow};

use super::{not_found, place, runner};
use crate::{
    secret::Sealer,
    store::{
        Error, Store, audit, host,
        row::{self, Columns},
    },
};

/// New credentials for a slot; what is `None` stays as it is.
#[derive(Debug, Clone, Default)]
pub struct NewCredentials {
    /// restic's repository location.
    pub url: Option<NewLocation>,
    /// The repository password.
    pub password: Option<Secret>,
    /// Backend credentials by environment variable name, all of them.
    pub environment: Option<BTreeMap<String, Secret>>,
    /// The certificates that the backend's must be signed by. Of the everyday slot only.
    pub ca_certificate: Option<String>,
}

/// A location with the parts of it that may be shown.
#[derive(Debug, Clone)]
pub struct NewLocation {
    /// `local`, `rest`, `s3`, `sftp`, …
    pub kind: String,
    /// Where it is, without credentials.
    pub location: String,
    /// All of it.
    pub url: Secret,
}

/// What the audit is told of a change.
struct Change<'a> {
    actor: &'a str,
    action: &'a str,
    before: Value,
    /// What was given anew, by name: of a secret that was exchanged nothing else shows.
    given: Vec<&'static str>,
}

impl Store {
    /// Changes the credentials of a slot and raises the configuration's version of every host that
    /// has to know. Returns those hosts.
    ///
    /// # Errors
    /// [`Error::RepositoryNotFound`] and [`Error::Database`].
    pub async fn set_credentials(
        &self,
        actor: &str,
        repository: RepositoryId,
        slot: Slot,
        new: &NewCredentials,
    ) -> Result<Vec<HostId>, Error> {
        const PHASE: &str = "setting a repository's credentials";
        let mut tx = self.begin(PHASE).await?;
        let row = find(&mut tx, repository, PHASE).await?;
        let before = self.described(&mut tx, repository, PHASE).await?;
        match slot {
            Slot::Repo => set_everyday(&mut tx, self.sealer(), repository, new, self.now()).await,
            Slot::Admin => {
                let stored = open_admin(self.sealer(), &row, PHASE)?.unwrap_or_default();
                let merged = merge(stored, new);
                set_admin(&mut tx, self.sealer(), repository, Some(&merged)).await
            }
        }
        .map_err(Error::database(PHASE))?;
        let action = match slot {
            Slot::Repo => "repository.credentials.repo",
            Slot::Admin => "repository.credentials.admin",
        };
        let change = Change { actor, action, before, given: given(new) };
        let hosts = self.finish(&mut tx, change, &row, PHASE).await?;
        tx.commit().await.map_err(Error::database(PHASE))?;
        Ok(hosts)
    }

    /// Clears a slot: all of the admin slot; of the everyday one the backend credentials and the
    /// certificates, because no repository goes without location and password. Returns the hosts
    /// that have to know.
    ///
    /// # Errors
    /// [`Error::RepositoryNotFound`] and [`Error::Database`].
    pub async fn clear_credentials(
        &self,
        actor: &str,
        repository: RepositoryId,
        slot: Slot,
    ) -> Result<Vec<HostId>, Error> {
        const PHASE: &str = "clearing a repository's credentials";
        let mut tx = self.begin(PHASE).await?;
        let row = find(&mut tx, repository, PHASE).await?;
        let before = self.described(&mut tx, repository, PHASE).await?;
        match slot {
            Slot::Repo => clear_everyday(&mut tx, self.sealer(), repository).await,
            Slot::Admin => set_admin(&mut tx, self.sealer(), repository, None).await,
        }
        .map_err(Error::database(PHASE))?;
        let action = "repository.credentials.clear";
        let change = Change { actor, action, before, given: Vec::new() };
        let hosts = self.finish(&mut tx, change, &row, PHASE).await?;
        tx.commit().await.map_err(Error::database(PHASE))?;
        Ok(hosts)
    }

    /// Names the host that keeps a repository in order; `None` for the one that has used it
    /// longest. It alone gets the admin slot. Returns the hosts that have to know.
    ///
    /// # Errors
    /// [`Error::RepositoryNotFound`] and [`Error::Database`].
    pub async fn set_runner(
        &self,
        actor: &str,
        repository: RepositoryId,
        runner: Option<HostId>,
    ) -> Result<Vec<HostId>, Error> {
        const PHASE: &str = "naming a repository's keeper";
        let mut tx = self.begin(PHASE).await?;
        let row = find(&mut tx, repository, PHASE).await?;
        let before = self.described(&mut tx, repository, PHASE).await?;
        let keeper = self::runner(&mut tx, repository).await.map_err(Error::database(PHASE))?;
        sqlx::query("UPDATE repositories SET runner_host_id = $2 WHERE id = $1")
            .bind(repository.to_string())
            .bind(runner.map(|host| host.to_string()))
            .execute(&mut *tx)
            .await
            .map_err(Error::database(PHASE))?;
        let change = Change { actor, action: "repository.runner", before, given: Vec::new() };
        let mut hosts = self.finish(&mut tx, change, &row, PHASE).await?;
        if let Some(keeper) = keeper.filter(|host| !hosts.contains(host)) {
            host::raise_config_version(&mut tx, keeper).await.map_err(Error::database(PHASE))?;
            hosts.push(keeper);
        }
        tx.commit().await.map_err(Error::database(PHASE))?;
        Ok(hosts)
    }

    /// Ends a change of a repository's credentials or keeper: tells the audit how it was and how it
    /// is now, and gives the hosts that have to know.
    async fn finish(
        &self,
        connection: &mut SqliteConnection,
        change: Change<'_>,
        row: &SqliteRow,
        phase: &'static str,
    ) -> Result<Vec<HostId>, Error> {
        let database = Error::database(phase);
        let repository: RepositoryId = row.parsed("id").map_err(&database)?;
        let name = row.text("name").map_err(&database)?;
        let mut after = self.described(&mut *connection, repository, phase).await?;
        if !change.given.is_empty() {
            after["given"] = json!(change.given);
        }
        let what = (change.actor, change.action, name.as_str());
        audit::changed(&mut *connection, what, Some(change.before), Some(after))
            .await
            .map_err(&database)?;
        raise_users(connection, repository, None).await.map_err(&database)
    }

    /// A repository's credentials as the audit tells of them: where, and by which names. Never a
    /// secret.
    async fn described(
        &self,
        connection: &mut SqliteConnection,
        repository: RepositoryId,
        phase: &'static str,
    ) -> Result<Value, Error> {
        let row = sqlx::query(
            "SELECT id, name, kind, location, url, password, environment, ca_certificate, admin,
                 runner_host_id
             FROM repositories WHERE id = $1",
        )
        .bind(repository.to_string())
        .fetch_one(connection)
        .await
        .map_err(Error::database(phase))?;
        // What does not open any more may be what is being mended.
        let everyday = super::open_repository(self.sealer(), &row, phase).ok();
        let admin = open_admin(self.sealer(), &row, phase).ok().flatten().map(|admin| {
            let fields = [("url", &admin.url), ("password", &admin.password)];
            let set = fields.into_iter().filter(|(_, secret)| secret.is_some());
            json!({
                "set": set.map(|(name, _)| name).collect::<Vec<_>>(),
                "environment": names(&admin.environment),
            })
        });
        let read = || {
            Ok(json!({
                "kind": row.text("kind")?,
                "location": row.text("location")?,
                "environment": everyday.as_ref().map(|everyday| names(&everyday.environment)),
                "ca_certificate": row.text_opt("ca_certificate")?.is_some(),
                "admin": admin,
                "runner_host_id": row.text_opt("runner_host_id")?,
            }))
        };
        read().map_err(Error::database(phase))
    }
}

/// The admin slot of `row`, which has its `id` and `admin`.
pub(super) fn open_admin(
    sealer: &Sealer,
    row: &SqliteRow,
    phase: &'static str,
) -> Result<Option<Credentials>, Error> {
    let database = Error::database(phase);
    let Some(sealed) = row.text_opt("admin").map_err(&database)? else { return Ok(None) };
    let id = row.text("id").map_err(&database)?;
    let text = sealer.unseal(place(&id, "admin"), &sealed).map_err(Error::damaged(phase))?;
    super::read_sealed(&text, "admin").map(Some).map_err(Error::damaged(phase))
}

/// Raises the configuration's version of every host that uses or keeps the repository, but for the
/// one whose version is raised already.
pub(in crate::store) async fn raise_users(
    connection: &mut SqliteConnection,
    repository: RepositoryId,
    except: Option<HostId>,
) -> Result<Vec<HostId>, sqlx::Error> {
    let rows = sqlx::query(
        "UPDATE hosts SET config_version = config_version + 1
         WHERE removed_at IS NULL AND id <> $2 AND (
             id IN (SELECT host_id FROM source_groups WHERE repository_id = $1)
             OR id IN (SELECT runner_host_id FROM repositories WHERE id = $1))
         RETURNING id",
    )
    .bind(repository.to_string())
    .bind(except.map(|host| host.to_string()).unwrap_or_default())
    .fetch_all(connection)
    .await?;
    rows.iter().map(|row| row.parsed("id")).collect()
}

async fn find(
    connection: &mut SqliteConnection,
    repository: RepositoryId,
    phase: &'static str,
) -> Result<SqliteRow, Error> {
    sqlx::query("SELECT id, name, admin FROM repositories WHERE id = $1")
        .bind(repository.to_string())
        .fetch_optional(connection)
        .await
        .map_err(Error::database(phase))?
        .ok_or_else(|| not_found(&repository.to_string()))
}

fn given(new: &NewCredentials) -> Vec<&'static str> {
    let fields = [
        ("url", new.url.is_some()),
        ("password", new.password.is_some()),
        ("environment", new.environment.is_some()),
        ("ca_certificate", new.ca_certificate.is_some()),
    ];
    fields.into_iter().filter(|(_, is_given)| *is_given).map(|(name, _)| name).collect()
}

fn names(environment: &BTreeMap<String, Secret>) -> Vec<&str> {
    environment.keys().map(String::as_str).collect()
}

fn merge(stored: Credentials, new: &NewCredentials) -> Credentials {
    Credentials {
        url: new.url.as_ref().map(|new| new.url.clone()).or(stored.url),
        password: new.password.clone().or(stored.password),
        environment: new.environment.clone().unwrap_or(stored.environment),
    }
}

async fn set_admin(
    connection: &mut SqliteConnection,
    sealer: &Sealer,
    repository: RepositoryId,
    credentials: Option<&Credentials>,
) -> Result<(), sqlx::Error> {
    let id = repository.to_string();
    let sealed = credentials
        .filter(|credentials| !credentials.is_empty())
        .map(|credentials| sealer.seal(place(&id, "admin"), &row::json(credentials)));
    sqlx::query("UPDATE repositories SET admin = $2 WHERE id = $1")
        .bind(&id)
        .bind(sealed)
        .execute(connection)
        .await?;
    Ok(())
}

async fn set_everyday(
    connection: &mut SqliteConnection,
    sealer: &Sealer,
    repository: RepositoryId,
    new: &NewCredentials,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let id = repository.to_string();
    let seal = |column, text: &str| sealer.seal(place(&id, column), text);
    sqlx::query(
        "UPDATE repositories SET url = COALESCE($2, url), kind = COALESCE($3, kind),
             location = COALESCE($4, location), password = COALESCE($5, password),
             environment = COALESCE($6, environment),
             ca_certificate = COALESCE($7, ca_certificate),
             located_at = CASE WHEN $4 <> location THEN $8 ELSE located_at END
         WHERE id = $1",
    )
    .bind(&id)
    .bind(new.url.as_ref().map(|new| seal("url", new.url.expose())))
    .bind(new.url.as_ref().map(|new| new.kind.clone()))
    .bind(new.url.as_ref().map(|new| new.location.clone()))
    .bind(new.password.as_ref().map(|password| seal("password", password.expose())))
    .bind(new.environment.as_ref().map(|all| seal("environment", &row::json(all))))
    .bind(new.ca_certificate.as_deref())
    .bind(now.as_millisecond())
    .execute(connection)
    .await?;
    Ok(())
}

async fn clear_everyday(
    connection: &mut SqliteConnection,
    sealer: &Sealer,
    repository: RepositoryId,
) -> Result<(), sqlx::Error> {
    let id = repository.to_string();
    sqlx::query("UPDATE repositories SET environment = $2, ca_certificate = NULL WHERE id = $1")
        .bind(&id)
        .bind(sealer.seal(place(&id, "environment"), "{}"))
        .execute(connection)
        .await?;
    Ok(())
}
