//! Which configuration and schedules agents said they have in force, for a round of records.

use std::collections::BTreeMap;

use holdfast_protocol::HostId;
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};

/// What agents said, in the order in which each said it.
#[derive(Debug, Default)]
pub(super) struct InForce {
    pub(super) configs: Words,
    pub(super) schedules: Words,
}

type Words = BTreeMap<HostId, Vec<i64>>;

impl InForce {
    /// Writes it: the first word of all hosts in one statement, then the second of those that said
    /// another, and so on.
    ///
    /// Of one host only the last word counts in the end. But each record has its effect, once and
    /// in its turn, also where the next one covers it: that is what a witness in the database can
    /// count.
    pub(super) async fn write(&self, connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        let columns = [("config_applied", &self.configs), ("schedule_applied", &self.schedules)];
        for (column, words) in columns {
            let turns = words.values().map(Vec::len).max().unwrap_or(0);
            for turn in 0..turns {
                let said = words.iter().filter_map(|(host, said)| Some((host, *said.get(turn)?)));
                write_turn(&mut *connection, column, said).await?;
            }
        }
        Ok(())
    }
}

async fn write_turn(
    connection: &mut SqliteConnection,
    column: &'static str,
    said: impl Iterator<Item = (&HostId, i64)>,
) -> Result<(), sqlx::Error> {
    let mut query = QueryBuilder::<Sqlite>::new("UPDATE hosts SET ");
    query.push(column).push(" = said.column2 FROM (");
    query.push_values(said, |mut row, (host, version)| {
        row.push_bind(host.to_string()).push_bind(version);
    });
    query.push(") AS said WHERE hosts.id = said.column1");
    query.build().execute(connection).await?;
    Ok(())
}
