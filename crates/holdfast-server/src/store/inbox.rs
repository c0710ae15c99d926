//! One host's half of the store, as the link sees it.

use std::ops::RangeInclusive;

use holdfast_link::{Positions, Record, Unsequenced};
use holdfast_protocol::{HostId, Message, Seq};

use super::{
    Store, audit, outbox,
    row::{Columns, int},
};
use crate::metrics;

/// The durable half of one session of one host. A session that was fenced can read but not write.
#[derive(Clone)]
pub struct HostStore {
    store: Store,
    host: HostId,
    epoch: u64,
}

impl HostStore {
    /// The store of `host` for the session that holds `epoch`.
    #[must_use]
    pub fn new(store: Store, host: HostId, epoch: u64) -> Self {
        Self { store, host, epoch }
    }

    async fn read_positions(&self) -> Result<Positions, sqlx::Error> {
        let row = sqlx::query(
            "SELECT received, next_seq,
                 (SELECT MIN(seq) FROM outbox WHERE host_id = $1) AS oldest
             FROM hosts WHERE id = $1",
        )
        .bind(self.host.to_string())
        .fetch_one(self.store.readers())
        .await?;
        let next = row.count("next_seq")?;
        let oldest = row.count_opt("oldest")?.unwrap_or(next);
        Ok(Positions { received: row.count("received")?, oldest, next })
    }

    async fn drop_through(&self, through: Seq) -> Result<(), sqlx::Error> {
        let mut tx = self.store.inner.writer.begin_with("BEGIN IMMEDIATE").await?;
        // A fenced session may have been answered by an agent that no longer is.
        let current: Option<i64> =
            sqlx::query_scalar("SELECT epoch FROM hosts WHERE id = $1 AND epoch = $2")
                .bind(self.host.to_string())
                .bind(int(self.epoch))
                .fetch_optional(&mut *tx)
                .await?;
        if current.is_some() {
            outbox::forget(&mut tx, self.host, through).await?;
        }
        tx.commit().await
    }

    /// Notes lost records where people see them, and goes on after them.
    async fn pass_over(&self, missing: &RangeInclusive<Seq>) -> Result<(), sqlx::Error> {
        let mut tx = self.store.inner.writer.begin_with("BEGIN IMMEDIATE").await?;
        let passed = sqlx::query(
            "UPDATE hosts SET received = $4
             WHERE id = $1 AND epoch = $2 AND received = $3 AND $4 > $3",
        )
        .bind(self.host.to_string())
        .bind(int(self.epoch))
        .bind(int(*missing.start()) - 1)
        .bind(int(*missing.end()))
        .execute(&mut *tx)
        .await?;
        if passed.rows_affected() == 1 {
            let subject =
                format!("{}: records {} to {}", self.host, missing.start(), missing.end());
            audit::note(&mut tx, "server", "link.gap", &subject).await?;
            tracing::error!(host = %self.host, ?missing, "records of the agent are lost");
        }
        tx.commit().await
    }

    fn hear(&self, message: &Unsequenced) {
        let bus = self.store.bus();
        if !bus.is_current(self.host, self.epoch) {
            return;
        }
        match Message::decode(&message.kind, &message.payload) {
            Ok(Message::Heartbeat(heartbeat)) => {
                bus.heartbeat(self.host, heartbeat, self.store.now());
            }
            Ok(Message::JobProgress(progress)) => bus.progress(self.host, progress),
            Ok(Message::LogStream(stream)) => self.store.writer().log(self.host, stream),
            Ok(_) => tracing::debug!(host = %self.host, kind = message.kind, "not for a server"),
            Err(error) => tracing::debug!(host = %self.host, %error, "message not understood"),
        }
    }
}

impl holdfast_link::Store for HostStore {
    async fn positions(&self) -> Result<Positions, holdfast_link::StoreError> {
        self.read_positions().await.map_err(failed("reading the link's positions"))
    }

    async fn load(
        &self,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<Record>, holdfast_link::StoreError> {
        let records = outbox::load(self.store.readers(), self.host, after, limit)
            .await
            .map_err(failed("reading the outbox"))?;
        metrics::records_sent(records.len());
        Ok(records)
    }

    async fn forget(&self, through: Seq) -> Result<(), holdfast_link::StoreError> {
        self.drop_through(through).await.map_err(failed("forgetting acknowledged records"))
    }

    async fn apply(&self, records: Vec<Record>) -> Result<(), holdfast_link::StoreError> {
        self.store
            .writer()
            .apply(self.host, self.epoch, records)
            .await
            .map_err(|error| holdfast_link::StoreError::new("applying records", error))
    }

    async fn skip(&self, missing: RangeInclusive<Seq>) -> Result<(), holdfast_link::StoreError> {
        self.pass_over(&missing).await.map_err(failed("noting lost records"))
    }

    async fn receive(&self, message: Unsequenced) -> Result<(), holdfast_link::StoreError> {
        self.hear(&message);
        Ok(())
    }
}

fn failed(phase: &'static str) -> impl Fn(sqlx::Error) -> holdfast_link::StoreError {
    move |source| holdfast_link::StoreError::new(phase, source)
}
