//! How far each host's stream of records has been applied, for a round of them.
//!
//! The records of many hosts share a commit, and so do their positions: one statement reads them
//! and one writes them, however many hosts there are.

use std::collections::BTreeMap;

use holdfast_protocol::HostId;
use jiff::Timestamp;
use sqlx::{QueryBuilder, Sqlite, SqliteConnection, sqlite::SqliteRow};

use super::{
    apply::Origin,
    host::only_hosts,
    row::{Columns, int},
};

/// The positions of the hosts of a round, as the transaction will leave them.
pub(super) struct Marks {
    hosts: BTreeMap<HostId, Mark>,
}

/// The position of one host.
pub(super) struct Mark {
    origin: Origin,
    epoch: i64,
    received: i64,
    moved: bool,
}

impl Marks {
    /// Those of `hosts`, as they are stored.
    pub(super) async fn read(
        connection: &mut SqliteConnection,
        hosts: &[HostId],
    ) -> Result<Self, sqlx::Error> {
        let mut query = QueryBuilder::<Sqlite>::new(
            "SELECT id, epoch, received, incarnation FROM hosts WHERE removed_at IS NULL",
        );
        only_hosts(&mut query, "id", Some(hosts));
        let rows = query.build().fetch_all(connection).await?;
        let hosts = rows.iter().map(read).collect::<Result<_, _>>()?;
        Ok(Self { hosts })
    }

    /// That of `host`, if the session with `epoch` may still write.
    pub(super) fn of(&self, host: HostId, epoch: u64) -> Option<&Mark> {
        self.hosts.get(&host).filter(|mark| mark.epoch == int(epoch))
    }

    /// The host's agent was heard, and its records are applied up to `received`.
    pub(super) fn advance(&mut self, host: HostId, received: i64) {
        if let Some(mark) = self.hosts.get_mut(&host) {
            mark.received = received;
            mark.moved = true;
        }
    }

    /// Stores what has moved.
    pub(super) async fn write(
        &self,
        connection: &mut SqliteConnection,
        now: Timestamp,
    ) -> Result<(), sqlx::Error> {
        let moved: Vec<_> = self.hosts.iter().filter(|(_, mark)| mark.moved).collect();
        if moved.is_empty() {
            return Ok(());
        }
        let mut query = QueryBuilder::<Sqlite>::new("UPDATE hosts SET last_seen_at = ");
        query.push_bind(now.as_millisecond());
        query.push(", received = moved.column2 FROM (");
        query.push_values(moved, |mut row, (host, mark)| {
            row.push_bind(host.to_string()).push_bind(mark.received);
        });
        query.push(") AS moved WHERE hosts.id = moved.column1");
        query.build().execute(connection).await?;
        Ok(())
    }
}

impl Mark {
    /// Whose records they are.
    pub(super) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The last record that is applied.
    pub(super) fn received(&self) -> i64 {
        self.received
    }
}

fn read(row: &SqliteRow) -> Result<(HostId, Mark), sqlx::Error> {
    let host = row.parsed("id")?;
    let incarnation = row.text_opt("incarnation")?.unwrap_or_default();
    let origin = Origin { host, incarnation };
    let (epoch, received) = (row.int("epoch")?, row.int("received")?);
    Ok((host, Mark { origin, epoch, received, moved: false }))
}
