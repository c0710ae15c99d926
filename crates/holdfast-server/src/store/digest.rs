//! Digests: when they are due, and what they tell.

use std::collections::BTreeMap;

use holdfast_protocol::HostId;
use jiff::Timestamp;
use sqlx::{QueryBuilder, Sqlite, SqliteConnection, sqlite::SqliteRow};
use uuid::Uuid;

use super::{Error, Store, audit, delivery, row::Columns};
use crate::{
    alert::{Event, digest::DigestSetting},
    view::ChannelView,
};

/// A channel that gets a digest.
#[derive(Debug, Clone)]
pub(crate) struct DigestReader {
    pub(crate) channel: Uuid,
    pub(crate) setting: DigestSetting,
    /// The newest due time that is done with.
    pub(crate) told_through: Timestamp,
}

impl Store {
    /// When a channel gets its digest.
    pub(crate) async fn digest(&self, channel: &ChannelView) -> Result<DigestSetting, Error> {
        const PHASE: &str = "reading a digest's setting";
        let row = sqlx::query("SELECT enabled, cron, time_zone FROM digests WHERE channel_id = $1")
            .bind(channel.id.to_string())
            .fetch_optional(self.readers())
            .await
            .map_err(Error::database(PHASE))?;
        match row {
            Some(row) => setting(&row).map_err(Error::database(PHASE)),
            None => Ok(DigestSetting::of_kind(&channel.kind)),
        }
    }

    /// Sets when a channel gets its digest. What was due before now is not made up for.
    pub(crate) async fn set_digest(
        &self,
        actor: &str,
        channel: &ChannelView,
        new: &DigestSetting,
    ) -> Result<(), Error> {
        const PHASE: &str = "setting a digest";
        let before = self.digest(channel).await?;
        let mut tx = self.begin(PHASE).await?;
        put(&mut tx, channel.id, new, self.now()).await.map_err(Error::database(PHASE))?;
        let draft = audit::Draft {
            actor,
            action: "channel.digest",
            subject: &channel.name,
            before: Some(described(&before)),
            after: Some(described(new)),
            ..Default::default()
        };
        audit::append(&mut tx, draft).await.map_err(Error::database(PHASE))?;
        tx.commit().await.map_err(Error::database(PHASE))
    }

    /// Every channel that gets a digest.
    pub(crate) async fn digest_readers(&self) -> Result<Vec<DigestReader>, Error> {
        const PHASE: &str = "reading who gets a digest";
        let rows = sqlx::query(
            "SELECT c.id, c.kind, c.created_at, d.enabled, d.cron, d.time_zone, d.told_through
             FROM channels c LEFT JOIN digests d ON d.channel_id = c.id",
        )
        .fetch_all(self.readers())
        .await
        .map_err(Error::database(PHASE))?;
        let readers = rows.iter().map(read).collect::<Result<Vec<_>, _>>();
        let mut readers = readers.map_err(Error::database(PHASE))?;
        readers.retain(|reader| reader.setting.enabled);
        Ok(readers)
    }

    /// Writes down that a channel is to be told the digest that was due at `slot`.
    pub(crate) async fn queue_digest(
        &self,
        reader: &DigestReader,
        slot: Timestamp,
        now: Timestamp,
    ) -> Result<(), Error> {
        const PHASE: &str = "writing down a digest";
        let mut tx = self.begin(PHASE).await?;
        put(&mut tx, reader.channel, &reader.setting, slot)
            .await
            .map_err(Error::database(PHASE))?;
        let channel = reader.channel.to_string();
        delivery::queue(&mut tx, &channel, Event::Digest, None, None, now)
            .await
            .map_err(Error::database(PHASE))?;
        tx.commit().await.map_err(Error::database(PHASE))
    }

    /// How many backups ended how between two moments.
    pub(crate) async fn backup_outcomes(
        &self,
        from: Timestamp,
        until: Timestamp,
        host: Option<HostId>,
        group: Option<&str>,
    ) -> Result<BTreeMap<&'static str, u64>, Error> {
        const PHASE: &str = "counting how backups ended";
        let mut query = QueryBuilder::<Sqlite>::new(
            "SELECT status, COUNT(*) AS ended FROM jobs
             WHERE operation = 'backup' AND retried_by IS NULL AND ended_at >= ",
        );
        query.push_bind(from.as_millisecond());
        query.push(" AND ended_at < ").push_bind(until.as_millisecond());
        if let Some(host) = host {
            query.push(" AND host_id = ").push_bind(host.to_string());
        }
        if let Some(group) = group {
            query.push(" AND group_name = ").push_bind(group.to_owned());
        }
        query.push(" GROUP BY status");
        let rows = query.build().fetch_all(self.readers()).await.map_err(Error::database(PHASE))?;
        let count = |row: &SqliteRow| Ok((row.status("status")?.as_str(), row.count("ended")?));
        rows.iter().map(count).collect::<Result<_, _>>().map_err(Error::database(PHASE))
    }
}

async fn put(
    connection: &mut SqliteConnection,
    channel: Uuid,
    setting: &DigestSetting,
    told_through: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO digests (channel_id, enabled, cron, time_zone, told_through)
         VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (channel_id) DO UPDATE SET enabled = excluded.enabled, cron = excluded.cron,
             time_zone = excluded.time_zone, told_through = excluded.told_through",
    )
    .bind(channel.to_string())
    .bind(setting.enabled)
    .bind(&setting.cron)
    .bind(&setting.time_zone)
    .bind(told_through.as_millisecond())
    .execute(connection)
    .await?;
    Ok(())
}

fn described(setting: &DigestSetting) -> serde_json::Value {
    let DigestSetting { enabled, cron, time_zone } = setting;
    serde_json::json!({ "enabled": enabled, "cron": cron, "time_zone": time_zone })
}

fn setting(row: &SqliteRow) -> Result<DigestSetting, sqlx::Error> {
    Ok(DigestSetting {
        enabled: row.flag("enabled")?,
        cron: row.text("cron")?,
        time_zone: row.text("time_zone")?,
    })
}

fn read(row: &SqliteRow) -> Result<DigestReader, sqlx::Error> {
    let told_through = row.time_opt("told_through")?;
    let setting = match told_through {
        Some(_) => setting(row)?,
        None => DigestSetting::of_kind(&row.text("kind")?),
    };
    // Nothing is told of the time before there was a channel.
    let told_through = told_through.unwrap_or(row.time("created_at")?);
    Ok(DigestReader { channel: row.parsed("id")?, setting, told_through })
}
