//! What agents should know: their configurations and schedules, read for many hosts at once.

use std::collections::BTreeMap;

use holdfast_protocol::{
    HostId, Message,
    message::{config, schedule},
};
use sqlx::{QueryBuilder, Sqlite, SqliteConnection, SqlitePool};

use super::{
    Error, Store, group, host::only_hosts, repository, row::Columns, schedule as schedules,
};
use crate::secret::Sealer;

const PHASE: &str = "reading a host's configuration";

/// A host's configuration and its schedules, as of one moment.
pub(super) type Config = (config::Update, schedule::Set);

impl Store {
    /// What the agent of `host` should know: its configuration and its schedules, as of one moment.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn config(&self, host: HostId) -> Result<Config, Error> {
        self.inner.configs.ask(host).await
    }

    /// The messages that bring an agent's configuration up to date, and their version.
    pub(crate) async fn config_messages(&self, host: HostId) -> Result<(i64, [Message; 2]), Error> {
        let (update, set) = self.config(host).await?;
        Ok((update.version, [Message::ConfigUpdate(update), Message::ScheduleSet(set)]))
    }
}

/// The configurations of these hosts, in their order.
pub(super) async fn read(
    readers: &SqlitePool,
    sealer: &Sealer,
    hosts: &[HostId],
) -> Result<Vec<Config>, Error> {
    // A reading transaction sees one moment, so the version and the content belong together.
    let mut tx = readers.begin().await.map_err(Error::database(PHASE))?;
    let named = names(&mut tx, hosts).await.map_err(Error::database(PHASE))?;
    let repositories = repository::of_hosts(&mut tx, sealer, hosts).await?;
    let groups = group::configs_of(&mut tx, hosts).await.map_err(Error::database(PHASE))?;
    let plans = schedules::configs_of(&mut tx, hosts).await.map_err(Error::database(PHASE))?;
    let whole = |host: &HostId| {
        let (host_name, version) = named.get(host).cloned().ok_or(sqlx::Error::RowNotFound)?;
        let repositories = repositories.get(host).cloned().unwrap_or_default();
        let groups = groups.get(host).cloned().unwrap_or_default();
        let schedules = plans.get(host).cloned().unwrap_or_default();
        let update = config::Update { version, host_name, repositories, groups };
        Ok((update, schedule::Set { version, schedules }))
    };
    hosts.iter().map(whole).collect::<Result<_, _>>().map_err(Error::database(PHASE))
}

async fn names(
    connection: &mut SqliteConnection,
    hosts: &[HostId],
) -> Result<BTreeMap<HostId, (String, i64)>, sqlx::Error> {
    let mut query =
        QueryBuilder::<Sqlite>::new("SELECT id, name, config_version FROM hosts WHERE 1 = 1");
    only_hosts(&mut query, "id", Some(hosts));
    let rows = query.build().fetch_all(connection).await?;
    rows.iter()
        .map(|row| Ok((row.parsed("id")?, (row.text("name")?, row.int("config_version")?))))
        .collect()
}
