//! Channels and their sealed settings.

use holdfast_protocol::HostId;
use jiff::Timestamp;
use sqlx::{QueryBuilder, Sqlite, SqliteConnection, sqlite::SqliteRow};
use uuid::Uuid;

use super::{Error, Store, audit, row::Columns};
use crate::{
    alert::{Listener, Severity, channel::Settings},
    secret::{Place, Sealer, SecretError},
    view::ChannelView,
};

/// A channel to be added.
#[derive(Debug, Clone)]
pub struct NewChannel {
    /// What people will call it.
    pub name: String,
    /// How it is set; checked.
    pub settings: Settings,
    /// Only alerts at least this grave.
    pub severity_min: Severity,
    /// Only of this host.
    pub host: Option<HostId>,
    /// Only of this source group.
    pub group: Option<String>,
}

const SELECT: &str = "SELECT c.id, c.name, c.kind, c.target, c.severity_min, c.host_id,
    h.name AS host_name, c.group_name, c.created_at
    FROM channels c LEFT JOIN hosts h ON h.id = c.host_id WHERE 1 = 1";

impl Store {
    /// Adds a channel.
    ///
    /// # Errors
    /// [`Error::ChannelExists`] and [`Error::Database`].
    pub async fn add_channel(&self, actor: &str, new: &NewChannel) -> Result<ChannelView, Error> {
        const PHASE: &str = "adding a channel";
        let id = Uuid::now_v7();
        let mut tx = self.begin(PHASE).await?;
        let added = insert(&mut tx, self.sealer(), id, new, self.now())
            .await
            .map_err(Error::database(PHASE))?;
        if !added {
            return Err(Error::ChannelExists { name: new.name.clone() });
        }
        let after = serde_json::json!({
            "kind": new.settings.kind(), "target": new.settings.target(),
            "severity_min": new.severity_min, "host_id": new.host, "group": new.group,
        });
        audit::changed(&mut tx, (actor, "channel.add", &new.name), None, Some(after))
            .await
            .map_err(Error::database(PHASE))?;
        tx.commit().await.map_err(Error::database(PHASE))?;
        self.channel(&id.to_string()).await
    }

    /// All channels, by name.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn channels(&self) -> Result<Vec<ChannelView>, Error> {
        let mut query = QueryBuilder::<Sqlite>::new(SELECT);
        query.push(" ORDER BY c.name");
        self.read_channels(query).await
    }

    /// The channel whose id or name is `text`.
    ///
    /// # Errors
    /// [`Error::ChannelNotFound`] and [`Error::Database`].
    pub async fn channel(&self, text: &str) -> Result<ChannelView, Error> {
        let mut query = QueryBuilder::<Sqlite>::new(SELECT);
        query.push(" AND (c.name = ").push_bind(text);
        query.push(" OR c.id = ").push_bind(text.to_ascii_lowercase());
        query.push(") ORDER BY CASE WHEN c.id = ").push_bind(text.to_ascii_lowercase());
        query.push(" THEN 0 ELSE 1 END LIMIT 1");
        let found = self.read_channels(query).await?.into_iter().next();
        let channel = text.chars().take(100).collect();
        found.ok_or(Error::ChannelNotFound { channel })
    }

    /// Removes a channel with its log.
    ///
    /// # Errors
    /// [`Error::ChannelNotFound`] and [`Error::Database`].
    pub async fn remove_channel(&self, actor: &str, text: &str) -> Result<(), Error> {
        const PHASE: &str = "removing a channel";
        let channel = self.channel(text).await?;
        let mut tx = self.begin(PHASE).await?;
        sqlx::query("DELETE FROM channels WHERE id = $1")
            .bind(channel.id.to_string())
            .execute(&mut *tx)
            .await
            .map_err(Error::database(PHASE))?;
        let before = serde_json::json!({
            "kind": channel.kind, "target": channel.target,
            "severity_min": channel.severity_min, "host_id": channel.host_id,
            "group": channel.group,
        });
        audit::changed(&mut tx, (actor, "channel.remove", &channel.name), Some(before), None)
            .await
            .map_err(Error::database(PHASE))?;
        tx.commit().await.map_err(Error::database(PHASE))
    }

    /// A channel's name and settings; `None` when it is gone.
    pub(crate) async fn channel_settings(
        &self,
        id: Uuid,
    ) -> Result<Option<(String, Settings)>, Error> {
        const PHASE: &str = "reading a channel's settings";
        let row = sqlx::query("SELECT name, settings FROM channels WHERE id = $1")
            .bind(id.to_string())
            .fetch_optional(self.readers())
            .await
            .map_err(Error::database(PHASE))?;
        let Some(row) = row else { return Ok(None) };
        let sealed = row.text("settings").map_err(Error::database(PHASE))?;
        let text = id.to_string();
        let open = self.sealer().unseal(place(&text), &sealed).map_err(Error::damaged(PHASE))?;
        let settings = serde_json::from_str(open.expose()).map_err(|_| {
            // serde's own text could quote what it read.
            Error::damaged(PHASE)(SecretError::Sealed { table: "channels", column: "settings" })
        })?;
        Ok(Some((row.text("name").map_err(Error::database(PHASE))?, settings)))
    }

    /// The channels that tell of alerts.
    pub(crate) async fn listeners(&self) -> Result<Vec<Listener>, Error> {
        const PHASE: &str = "reading channels";
        let rows = sqlx::query(
            "SELECT id, created_at, severity_min, host_id, group_name FROM channels
             WHERE kind <> 'ping'",
        )
        .fetch_all(self.readers())
        .await
        .map_err(Error::database(PHASE))?;
        rows.iter().map(read_listener).collect::<Result<_, _>>().map_err(Error::database(PHASE))
    }

    async fn read_channels(
        &self,
        mut query: QueryBuilder<Sqlite>,
    ) -> Result<Vec<ChannelView>, Error> {
        const PHASE: &str = "reading channels";
        let rows = query.build().fetch_all(self.readers()).await.map_err(Error::database(PHASE))?;
        rows.iter().map(read).collect::<Result<_, _>>().map_err(Error::database(PHASE))
    }
}

fn place(row: &str) -> Place<'_> {
    Place { table: "channels", row, column: "settings" }
}

async fn insert(
    connection: &mut SqliteConnection,
    sealer: &Sealer,
    id: Uuid,
    new: &NewChannel,
    now: Timestamp,
) -> Result<bool, sqlx::Error> {
    let id = id.to_string();
    let settings = sealer.seal(place(&id), &super::row::json(&new.settings));
    let done = sqlx::query(
        "INSERT INTO channels
             (id, name, kind, target, settings, severity_min, host_id, group_name, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (name) DO NOTHING",
    )
    .bind(&id)
    .bind(&new.name)
    .bind(new.settings.kind())
    .bind(new.settings.target())
    .bind(settings)
    .bind(new.severity_min.as_str())
    .bind(new.host.map(|host| host.to_string()))
    .bind(&new.group)
    .bind(now.as_millisecond())
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// A word that a newer version has written lets everything through.
fn severity(row: &SqliteRow) -> Result<Severity, sqlx::Error> {
    Ok(Severity::from_word(&row.text("severity_min")?).unwrap_or(Severity::Info))
}

fn read_listener(row: &SqliteRow) -> Result<Listener, sqlx::Error> {
    Ok(Listener {
        id: row.parsed("id")?,
        created_at: row.time("created_at")?,
        severity_min: severity(row)?,
        host: row.parsed_opt("host_id")?,
        group: row.text_opt("group_name")?,
    })
}

fn read(row: &SqliteRow) -> Result<ChannelView, sqlx::Error> {
    Ok(ChannelView {
        id: row.parsed("id")?,
        name: row.text("name")?,
        kind: row.text("kind")?,
        target: row.text("target")?,
        severity_min: severity(row)?,
        host_id: row.parsed_opt("host_id")?,
        host_name: row.text_opt("host_name")?,
        group: row.text_opt("group_name")?,
        created_at: row.time("created_at")?,
    })
}
