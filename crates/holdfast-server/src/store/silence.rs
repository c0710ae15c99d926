//! Silences: who wanted peace, from what and until when.

use holdfast_protocol::HostId;
use jiff::Timestamp;
use sqlx::{QueryBuilder, Sqlite, SqliteConnection, sqlite::SqliteRow};
use uuid::Uuid;

use super::{Error, Store, audit, row::Columns};
use crate::{
    alert::{Rule, Silence},
    view::SilenceView,
};

pub(super) use crate::alert::silenced_until as until;

/// A silence to be made. What it does not name it covers whatever it is.
#[derive(Debug, Clone)]
pub struct NewSilence {
    /// When it ends.
    pub until: Timestamp,
    /// Why.
    pub reason: String,
    /// Only alerts of this host.
    pub host: Option<HostId>,
    /// Only alerts of this source group of the host.
    pub group: Option<String>,
    /// Only alerts of this rule.
    pub rule: Option<Rule>,
    /// Only this alert.
    pub alert: Option<Uuid>,
}

impl Store {
    /// Makes a silence.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn add_silence(&self, actor: &str, new: &NewSilence) -> Result<SilenceView, Error> {
        const PHASE: &str = "making a silence";
        let id = Uuid::now_v7();
        let mut tx = self.begin(PHASE).await?;
        insert(&mut tx, actor, id, new, self.now()).await.map_err(Error::database(PHASE))?;
        let after = serde_json::json!({
            "id": id, "until": new.until, "host_id": new.host, "group": new.group,
            "rule": new.rule, "alert_id": new.alert,
        });
        audit::changed(&mut tx, (actor, "silence.add", &new.reason), None, Some(after))
            .await
            .map_err(Error::database(PHASE))?;
        tx.commit().await.map_err(Error::database(PHASE))?;
        let found = self.read_silences(Some(id), None, PHASE).await?.into_iter().next();
        found.map(SilenceView::from).ok_or_else(|| not_found(id))
    }

    /// The silences that have not ended at `now`, the one that ends first first.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn silences(&self, now: Timestamp) -> Result<Vec<SilenceView>, Error> {
        Ok(self.silences_at(now).await?.into_iter().map(SilenceView::from).collect())
    }

    /// Ends a silence.
    ///
    /// # Errors
    /// [`Error::SilenceNotFound`] and [`Error::Database`].
    pub async fn end_silence(&self, actor: &str, id: Uuid) -> Result<(), Error> {
        const PHASE: &str = "ending a silence";
        let now = self.now();
        let mut tx = self.begin(PHASE).await?;
        let known = self.read_silences(Some(id), Some(now), PHASE).await?.into_iter().next();
        let known = known.ok_or_else(|| not_found(id))?;
        let ended = sqlx::query("UPDATE silences SET until = $2 WHERE id = $1 AND until > $2")
            .bind(id.to_string())
            .bind(now.as_millisecond())
            .execute(&mut *tx)
            .await
            .map_err(Error::database(PHASE))?;
        if ended.rows_affected() == 0 {
            return Err(not_found(id));
        }
        let told = |until| Some(serde_json::json!({ "id": id, "until": until }));
        let what = (actor, "silence.end", known.reason.as_str());
        audit::changed(&mut tx, what, told(known.until), told(now))
            .await
            .map_err(Error::database(PHASE))?;
        tx.commit().await.map_err(Error::database(PHASE))
    }

    pub(crate) async fn silences_at(&self, now: Timestamp) -> Result<Vec<Silence>, Error> {
        self.read_silences(None, Some(now), "reading silences").await
    }

    async fn read_silences(
        &self,
        id: Option<Uuid>,
        after: Option<Timestamp>,
        phase: &'static str,
    ) -> Result<Vec<Silence>, Error> {
        let mut query = QueryBuilder::<Sqlite>::new(
            "SELECT s.id, s.created_at, s.created_by, s.until, s.reason, s.host_id,
                 h.name AS host_name, s.group_name, s.rule, s.alert_id
             FROM silences s LEFT JOIN hosts h ON h.id = s.host_id WHERE 1 = 1",
        );
        if let Some(id) = id {
            query.push(" AND s.id = ").push_bind(id.to_string());
        }
        if let Some(after) = after {
            query.push(" AND s.until > ").push_bind(after.as_millisecond());
        }
        query.push(" ORDER BY s.until, s.id");
        let rows = query.build().fetch_all(self.readers()).await.map_err(Error::database(phase))?;
        rows.iter().map(read).collect::<Result<_, _>>().map_err(Error::database(phase))
    }
}

fn not_found(id: Uuid) -> Error {
    Error::SilenceNotFound { silence: id.to_string() }
}

async fn insert(
    connection: &mut SqliteConnection,
    actor: &str,
    id: Uuid,
    new: &NewSilence,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO silences (id, created_at, created_by, until, reason, host_id, group_name,
             rule, alert_id)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(id.to_string())
    .bind(now.as_millisecond())
    .bind(actor)
    .bind(new.until.as_millisecond())
    .bind(&new.reason)
    .bind(new.host.map(|host| host.to_string()))
    .bind(&new.group)
    .bind(new.rule.map(Rule::as_str))
    .bind(new.alert.map(|alert| alert.to_string()))
    .execute(connection)
    .await?;
    Ok(())
}

fn read(row: &SqliteRow) -> Result<Silence, sqlx::Error> {
    let host_id: Option<HostId> = row.parsed_opt("host_id")?;
    let host_name = row.text_opt("host_name")?.unwrap_or_default();
    Ok(Silence {
        id: row.parsed("id")?,
        created_at: row.time("created_at")?,
        created_by: row.text("created_by")?,
        until: row.time("until")?,
        reason: row.text("reason")?,
        host: host_id.map(|id| (id, host_name)),
        group: row.text_opt("group_name")?,
        rule: row.text_opt("rule")?.and_then(|word| Rule::from_word(&word)),
        alert_id: row.parsed_opt("alert_id")?,
    })
}
