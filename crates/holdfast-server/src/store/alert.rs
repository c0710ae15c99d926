//! Alerts and how their rules are set.

use holdfast_protocol::HostId;
use jiff::{SignedDuration, Timestamp};
use sqlx::{QueryBuilder, Sqlite, SqliteConnection, sqlite::SqliteRow};
use uuid::Uuid;

use super::{
    Error, Refusal, Store, audit,
    evaluation::POLICY_CODES,
    outbox,
    row::{Columns, int, json},
    silence,
};
use crate::{
    alert::{
        Alert, Change, Crowded, RefusedAgent, RefusedJob, ResetOutbox, Rule, RuleSetting, Severity,
        State,
    },
    view::{AlertPage, AlertView},
};

/// Which alerts a page shows, newest first.
#[derive(Debug, Clone, Default)]
pub struct AlertFilter {
    /// Only in one of these states; all when empty.
    pub states: Vec<State>,
    /// At most this many.
    pub limit: u32,
    /// The `next` of the page before.
    pub before: Option<String>,
}

/// For how long it is told that a host refused a job.
const REFUSAL_TOLD: SignedDuration = SignedDuration::from_hours(24);
/// More refusals than this say nothing new.
const REFUSALS_MAX: i64 = 1000;
/// How long a lost outbox, or a database that was set back, is told of.
const RESET_TOLD: SignedDuration = SignedDuration::from_hours(24);

const SELECT: &str = "SELECT id, key, rule, severity, state, title, cause, action, subjects, count,
    occurrences, since, first_seen_at, last_seen_at, acknowledged_at, acknowledged_by, resolved_at
    FROM alerts WHERE 1 = 1";

impl Store {
    /// A page of alerts, newest first.
    ///
    /// # Errors
    /// [`Error::InvalidCursor`] and [`Error::Database`].
    pub async fn alerts(&self, filter: &AlertFilter, now: Timestamp) -> Result<AlertPage, Error> {
        const PHASE: &str = "reading alerts";
        let mut query = QueryBuilder::<Sqlite>::new(SELECT);
        if !filter.states.is_empty() {
            query.push(" AND state IN (");
            let mut list = query.separated(", ");
            for state in &filter.states {
                list.push_bind(state.as_str());
            }
            query.push(")");
        }
        if let Some(cursor) = &filter.before {
            let (at, id) = parse_cursor(cursor)?;
            query.push(" AND (first_seen_at, id) < (").push_bind(at);
            query.push(", ").push_bind(id.to_string()).push(")");
        }
        query.push(" ORDER BY first_seen_at DESC, id DESC LIMIT ");
        query.push_bind(i64::from(filter.limit) + 1);
        let mut alerts = self.read_alerts(query, PHASE).await?;
        let more = alerts.len() > filter.limit as usize;
        alerts.truncate(filter.limit as usize);
        let next = alerts.last().filter(|_| more).map(cursor);
        Ok(AlertPage { alerts: self.shown(alerts, now).await?, next })
    }

    /// One alert.
    ///
    /// # Errors
    /// [`Error::AlertNotFound`] and [`Error::Database`].
    pub async fn alert(&self, id: Uuid, now: Timestamp) -> Result<AlertView, Error> {
        const PHASE: &str = "reading an alert";
        let mut query = QueryBuilder::<Sqlite>::new(SELECT);
        query.push(" AND id = ").push_bind(id.to_string());
        let found = self.read_alerts(query, PHASE).await?;
        let shown = self.shown(found, now).await?.into_iter().next();
        shown.ok_or_else(|| Error::AlertNotFound { alert: id.to_string() })
    }

    /// Takes an alert on, so that others need not. One that somebody has taken on already stays
    /// with them.
    ///
    /// # Errors
    /// [`Error::AlertNotFound`], [`Error::AlertResolved`] and [`Error::Database`].
    pub async fn acknowledge_alert(&self, actor: &str, id: Uuid) -> Result<(), Error> {
        const PHASE: &str = "acknowledging an alert";
        let mut tx = self.begin(PHASE).await?;
        let state: Option<String> = sqlx::query_scalar("SELECT state FROM alerts WHERE id = $1")
            .bind(id.to_string())
            .fetch_optional(&mut *tx)
            .await
            .map_err(Error::database(PHASE))?;
        match state.as_deref().map(State::from_word) {
            None => return Err(Error::AlertNotFound { alert: id.to_string() }),
            Some(Some(State::Resolved)) => return Err(Error::AlertResolved),
            Some(_) => {}
        }
        sqlx::query(
            "UPDATE alerts SET state = 'acknowledged', acknowledged_at = $2, acknowledged_by = $3
             WHERE id = $1 AND state = 'open'",
        )
        .bind(id.to_string())
        .bind(self.now().as_millisecond())
        .bind(actor)
        .execute(&mut *tx)
        .await
        .map_err(Error::database(PHASE))?;
        let told = |word: &str| Some(serde_json::json!({ "state": word }));
        let (before, after) = (state.as_deref().and_then(told), told("acknowledged"));
        audit::changed(&mut tx, (actor, "alert.acknowledge", &id.to_string()), before, after)
            .await
            .map_err(Error::database(PHASE))?;
        tx.commit().await.map_err(Error::database(PHASE))
    }

    /// How every rule is set, by name.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub(crate) async fn alert_rules(&self) -> Result<Vec<RuleSetting>, Error> {
        const PHASE: &str = "reading the alert rules";
        let rows = sqlx::query("SELECT rule, enabled, grace_seconds FROM alert_rules")
            .fetch_all(self.readers())
            .await
            .map_err(Error::database(PHASE))?;
        let mut settings: Vec<_> = Rule::ALL.map(Rule::default_setting).into();
        for row in &rows {
            let read = read_setting(row).map_err(Error::database(PHASE))?;
            let Some(changed) = read else { continue };
            let place = settings.iter_mut().find(|setting| setting.rule == changed.rule);
            place.into_iter().for_each(|place| *place = changed);
        }
        Ok(settings)
    }

    /// Sets a rule.
    pub(crate) async fn set_alert_rule(
        &self,
        actor: &str,
        setting: RuleSetting,
    ) -> Result<(), Error> {
        const PHASE: &str = "setting an alert rule";
        let mut tx = self.begin(PHASE).await?;
        let describe = |setting: &RuleSetting| {
            let grace = setting.grace.as_secs();
            Some(serde_json::json!({ "enabled": setting.enabled, "grace_seconds": grace }))
        };
        let known = self.alert_rules().await?;
        let before = known.iter().find(|known| known.rule == setting.rule).and_then(describe);
        sqlx::query(
            "INSERT INTO alert_rules (rule, enabled, grace_seconds) VALUES ($1, $2, $3)
             ON CONFLICT (rule) DO UPDATE SET
                 enabled = excluded.enabled, grace_seconds = excluded.grace_seconds",
        )
        .bind(setting.rule.as_str())
        .bind(setting.enabled)
        .bind(setting.grace.as_secs())
        .execute(&mut *tx)
        .await
        .map_err(Error::database(PHASE))?;
        let (action, subject) = ("alert_rule.set", setting.rule.as_str());
        let after = describe(&setting);
        let draft = audit::Draft { actor, action, subject, before, after, ..Default::default() };
        audit::append(&mut tx, draft).await.map_err(Error::database(PHASE))?;
        tx.commit().await.map_err(Error::database(PHASE))
    }

    /// The alerts that are not resolved.
    pub(crate) async fn active_alerts(&self, now: Timestamp) -> Result<Vec<AlertView>, Error> {
        const PHASE: &str = "reading the active alerts";
        let mut query = QueryBuilder::<Sqlite>::new(SELECT);
        query.push(" AND state <> 'resolved'");
        let alerts = self.read_alerts(query, PHASE).await?;
        self.shown(alerts, now).await
    }

    /// The alerts that are not resolved, and those that were not before `since`.
    pub(crate) async fn alerts_to_compare(&self, since: Timestamp) -> Result<Vec<Alert>, Error> {
        const PHASE: &str = "reading the alerts to compare";
        let mut query = QueryBuilder::<Sqlite>::new(SELECT);
        query.push(" AND (state <> 'resolved' OR (state = 'resolved' AND resolved_at >= ");
        query.push_bind(since.as_millisecond()).push("))");
        self.read_alerts(query, PHASE).await
    }

    /// Writes what the alarm found.
    pub(crate) async fn change_alerts(&self, changes: &[Change]) -> Result<(), Error> {
        const PHASE: &str = "writing alerts";
        if changes.is_empty() {
            return Ok(());
        }
        let mut tx = self.begin(PHASE).await?;
        for change in changes {
            match change {
                Change::Opened(alert) => insert(&mut tx, alert).await,
                Change::Changed(alert) => update(&mut tx, alert).await,
                Change::Resolved(alert) => resolve(&mut tx, alert).await,
            }
            .map_err(Error::database(PHASE))?;
        }
        tx.commit().await.map_err(Error::database(PHASE))?;
        changes.iter().for_each(log);
        Ok(())
    }

    /// Drops alerts that were resolved before `before`, and silences that ended then.
    pub(crate) async fn prune_alerts(&self, before: Timestamp) -> Result<(), Error> {
        const PHASE: &str = "dropping old alerts";
        let old: Option<i64> = sqlx::query_scalar(
            "SELECT 1 FROM alerts WHERE state = 'resolved' AND resolved_at < $1 LIMIT 1",
        )
        .bind(before.as_millisecond())
        .fetch_optional(self.readers())
        .await
        .map_err(Error::database(PHASE))?;
        if old.is_none() {
            return Ok(());
        }
        let mut tx = self.begin(PHASE).await?;
        for statement in [
            "DELETE FROM silences WHERE until < $1 OR alert_id IN (
                 SELECT id FROM alerts WHERE state = 'resolved' AND resolved_at < $1)",
            "DELETE FROM alerts WHERE state = 'resolved' AND resolved_at < $1",
        ] {
            sqlx::query(statement)
                .bind(before.as_millisecond())
                .execute(&mut *tx)
                .await
                .map_err(Error::database(PHASE))?;
        }
        tx.commit().await.map_err(Error::database(PHASE))
    }

    /// Notes that an agent was turned away. One that was never enrolled is nobody's copy.
    pub(crate) async fn note_refusal(&self, host: HostId, refusal: Refusal) -> Result<(), Error> {
        const PHASE: &str = "noting a refused agent";
        let code = match refusal {
            Refusal::NotEnrolled => return Ok(()),
            Refusal::UnknownIncarnation => "unknown_incarnation",
            Refusal::StaleBoot => "stale_boot",
            Refusal::Cloned => "cloned_identity",
        };
        let mut tx = self.begin(PHASE).await?;
        sqlx::query("UPDATE hosts SET refused_code = $2, refused_at = $3 WHERE id = $1")
            .bind(host.to_string())
            .bind(code)
            .bind(self.now().as_millisecond())
            .execute(&mut *tx)
            .await
            .map_err(Error::database(PHASE))?;
        tx.commit().await.map_err(Error::database(PHASE))
    }

    /// When an agent of each host was last turned away.
    pub(crate) async fn refused_agents(&self) -> Result<Vec<RefusedAgent>, Error> {
        const PHASE: &str = "reading refused agents";
        let rows = sqlx::query(
            "SELECT id, refused_at FROM hosts
             WHERE removed_at IS NULL AND refused_at IS NOT NULL
                 AND (enrolled_at IS NULL OR refused_at > enrolled_at)",
        )
        .fetch_all(self.readers())
        .await
        .map_err(Error::database(PHASE))?;
        let read = |row: &SqliteRow| {
            Ok(RefusedAgent { host_id: row.parsed("id")?, at: row.time("refused_at")? })
        };
        rows.iter().map(read).collect::<Result<_, _>>().map_err(Error::database(PHASE))
    }

    /// Agents that told of a lost outbox within [`RESET_TOLD`].
    pub(crate) async fn reset_outboxes(&self, now: Timestamp) -> Result<Vec<ResetOutbox>, Error> {
        const PHASE: &str = "reading lost outboxes";
        let since = now.saturating_sub(RESET_TOLD).unwrap_or(Timestamp::MIN);
        let rows = sqlx::query("SELECT id, outbox_reset_at FROM hosts WHERE outbox_reset_at >= $1")
            .bind(since.as_millisecond())
            .fetch_all(self.readers())
            .await
            .map_err(Error::database(PHASE))?;
        let read = |row: &SqliteRow| {
            Ok(ResetOutbox { host_id: row.parsed("id")?, at: row.time("outbox_reset_at")? })
        };
        rows.iter().map(read).collect::<Result<_, _>>().map_err(Error::database(PHASE))
    }

    /// The first agent within [`RESET_TOLD`] that showed that this database is older than one it
    /// has met.
    pub(crate) async fn first_ahead(
        &self,
        now: Timestamp,
    ) -> Result<Option<(String, Timestamp)>, Error> {
        const PHASE: &str = "reading who has met a later state";
        let since = now.saturating_sub(RESET_TOLD).unwrap_or(Timestamp::MIN);
        let row = sqlx::query(
            "SELECT name, ahead_at FROM hosts WHERE ahead_at >= $1 ORDER BY ahead_at, name LIMIT 1",
        )
        .bind(since.as_millisecond())
        .fetch_optional(self.readers())
        .await
        .map_err(Error::database(PHASE))?;
        let read = |row: &SqliteRow| Ok((row.text("name")?, row.time("ahead_at")?));
        row.as_ref().map(read).transpose().map_err(Error::database(PHASE))
    }

    /// Jobs other than backups that were ordered within [`REFUSAL_TOLD`] and that the hosts' own
    /// policies refused, the newest first.
    pub(crate) async fn refused_jobs(&self, now: Timestamp) -> Result<Vec<RefusedJob>, Error> {
        const PHASE: &str = "reading refused jobs";
        let since = now.saturating_sub(REFUSAL_TOLD).unwrap_or(Timestamp::MIN);
        let rows = sqlx::query(
            "SELECT id, host_id, operation, ended_at, error_message FROM jobs
             WHERE status = 'failed' AND created_at >= $1 AND operation <> 'backup'
                 AND error_code LIKE $2
             ORDER BY created_at DESC, id DESC LIMIT $3",
        )
        .bind(since.as_millisecond())
        .bind(POLICY_CODES)
        .bind(REFUSALS_MAX)
        .fetch_all(self.readers())
        .await
        .map_err(Error::database(PHASE))?;
        let read = |row: &SqliteRow| {
            Ok(RefusedJob {
                host_id: row.parsed("host_id")?,
                job_id: row.parsed("id")?,
                operation: row.operation("operation")?,
                at: row.time("ended_at")?,
                message: row.text("error_message")?,
            })
        };
        rows.iter().map(read).collect::<Result<_, _>>().map_err(Error::database(PHASE))
    }

    /// Hosts whose outbox is nearly full.
    pub(crate) async fn crowded_outboxes(&self) -> Result<Vec<Crowded>, Error> {
        const PHASE: &str = "counting waiting commands";
        let rows = sqlx::query(
            "SELECT host_id, COUNT(*) AS waiting FROM outbox GROUP BY host_id
             HAVING COUNT(*) >= $1",
        )
        .bind(int(outbox::COMMANDS_MAX / 10 * 9))
        .fetch_all(self.readers())
        .await
        .map_err(Error::database(PHASE))?;
        let read = |row: &SqliteRow| {
            Ok(Crowded { host_id: row.parsed("host_id")?, waiting: row.count("waiting")? })
        };
        rows.iter().map(read).collect::<Result<_, _>>().map_err(Error::database(PHASE))
    }

    async fn read_alerts(
        &self,
        mut query: QueryBuilder<Sqlite>,
        phase: &'static str,
    ) -> Result<Vec<Alert>, Error> {
        let rows = query.build().fetch_all(self.readers()).await.map_err(Error::database(phase))?;
        let alerts = rows.iter().filter_map(|row| read(row).transpose());
        alerts.collect::<Result<_, _>>().map_err(Error::database(phase))
    }

    async fn shown(&self, alerts: Vec<Alert>, now: Timestamp) -> Result<Vec<AlertView>, Error> {
        let silences = self.silences_at(now).await?;
        let view = |alert: Alert| {
            let until = silence::until(&silences, &alert, now);
            AlertView::new(alert, until)
        };
        Ok(alerts.into_iter().map(view).collect())
    }
}

fn log(change: &Change) {
    match change {
        Change::Opened(alert) => {
            tracing::warn!(rule = alert.rule.as_str(), title = alert.title, "alert opened");
        }
        Change::Resolved(alert) => {
            tracing::info!(rule = alert.rule.as_str(), title = alert.title, "alert resolved");
        }
        Change::Changed(_) => {}
    }
}

async fn insert(connection: &mut SqliteConnection, alert: &Alert) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO alerts (id, key, rule, severity, state, title, cause, action, subjects, count,
             occurrences, since, first_seen_at, last_seen_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
    )
    .bind(alert.id.to_string())
    .bind(&alert.key)
    .bind(alert.rule.as_str())
    .bind(alert.severity.as_str())
    .bind(alert.state.as_str())
    .bind(&alert.title)
    .bind(&alert.cause)
    .bind(&alert.action)
    .bind(json(&alert.subjects))
    .bind(int(alert.count))
    .bind(json(&alert.occurrences))
    .bind(alert.since.as_millisecond())
    .bind(alert.first_seen_at.as_millisecond())
    .bind(alert.last_seen_at.as_millisecond())
    .execute(connection)
    .await?;
    Ok(())
}

/// A person may have acknowledged it between the look and this; that stays.
async fn update(connection: &mut SqliteConnection, alert: &Alert) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE alerts SET rule = $2, severity = $3, title = $4, cause = $5, action = $6,
             subjects = $7, count = $8, occurrences = $9, last_seen_at = $10, resolved_at = NULL,
             state = CASE WHEN acknowledged_at IS NULL THEN 'open' ELSE 'acknowledged' END
         WHERE id = $1",
    )
    .bind(alert.id.to_string())
    .bind(alert.rule.as_str())
    .bind(alert.severity.as_str())
    .bind(&alert.title)
    .bind(&alert.cause)
    .bind(&alert.action)
    .bind(json(&alert.subjects))
    .bind(int(alert.count))
    .bind(json(&alert.occurrences))
    .bind(alert.last_seen_at.as_millisecond())
    .execute(connection)
    .await?;
    Ok(())
}

async fn resolve(connection: &mut SqliteConnection, alert: &Alert) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE alerts SET state = 'resolved', resolved_at = $2 WHERE id = $1")
        .bind(alert.id.to_string())
        .bind(alert.resolved_at.map(Timestamp::as_millisecond))
        .execute(connection)
        .await?;
    Ok(())
}

fn cursor(alert: &Alert) -> String {
    format!("{}_{}", alert.first_seen_at.as_millisecond(), alert.id)
}

fn parse_cursor(text: &str) -> Result<(i64, Uuid), Error> {
    let parts = text.split_once('_').ok_or(Error::InvalidCursor)?;
    let at = parts.0.parse().map_err(|_| Error::InvalidCursor)?;
    let id = parts.1.parse().map_err(|_| Error::InvalidCursor)?;
    Ok((at, id))
}

fn read_setting(row: &SqliteRow) -> Result<Option<RuleSetting>, sqlx::Error> {
    let Some(rule) = Rule::from_word(&row.text("rule")?) else { return Ok(None) };
    let grace = SignedDuration::from_secs(row.int("grace_seconds")?);
    Ok(Some(RuleSetting { rule, enabled: row.flag("enabled")?, grace }))
}

/// The alert; `None` for one of a rule that only a newer version knows.
fn read(row: &SqliteRow) -> Result<Option<Alert>, sqlx::Error> {
    let rule = Rule::from_word(&row.text("rule")?);
    let severity = Severity::from_word(&row.text("severity")?);
    let state = State::from_word(&row.text("state")?);
    let (Some(rule), Some(severity), Some(state)) = (rule, severity, state) else {
        return Ok(None);
    };
    Ok(Some(Alert {
        id: row.parsed("id")?,
        key: row.text("key")?,
        rule,
        severity,
        state,
        title: row.text("title")?,
        cause: row.text("cause")?,
        action: row.text("action")?,
        subjects: row.json("subjects")?,
        count: row.count("count")?,
        occurrences: row.json("occurrences")?,
        since: row.time("since")?,
        first_seen_at: row.time("first_seen_at")?,
        last_seen_at: row.time("last_seen_at")?,
        acknowledged_at: row.time_opt("acknowledged_at")?,
        acknowledged_by: row.text_opt("acknowledged_by")?,
        resolved_at: row.time_opt("resolved_at")?,
    }))
}
