//! The newest runs of each source group: what a verdict is made from.

use holdfast_protocol::{
    HostId,
    message::job::{JobError, Status},
};
use jiff::Timestamp;
use sqlx::{QueryBuilder, Sqlite, sqlite::SqliteRow};

use super::LatestBackup;
use crate::{
    store::{Error, Store, host, row::Columns},
    verdict::{Claim, Ended},
};

/// The newest runs of one source group. Of a job that was tried again its last try counts: what
/// came before is no end of anything.
#[derive(Debug, Clone)]
pub(crate) struct GroupRuns {
    pub(crate) host_id: HostId,
    pub(crate) group: String,
    /// The one that ended last, however it ended.
    pub(crate) ended: Option<LatestBackup>,
    /// The one that ended last and was not cancelled by a person.
    pub(crate) telling: Option<Ended>,
    /// The same, but one that did begin.
    pub(crate) ran: Option<Ended>,
    /// The last that says it made a snapshot.
    pub(crate) claim: Option<Claim>,
    /// When the newest was due or ordered; one that never ran does not count.
    pub(crate) last_run_at: Option<Timestamp>,
    /// Since when one is under way.
    pub(crate) running_since: Option<Timestamp>,
}

/// Each of these is one look into an index; that of the open jobs is only looked into by the very
/// words it was made with.
const SELECT: &str = "WITH newest AS (
    SELECT g.host_id, g.name,
        (SELECT id FROM jobs WHERE host_id = g.host_id AND group_name = g.name
             AND operation = 'backup'
             AND ended_at IS NOT NULL AND retried_by IS NULL
         ORDER BY ended_at DESC, id DESC LIMIT 1) AS ended_id,
        (SELECT id FROM jobs WHERE host_id = g.host_id AND group_name = g.name
             AND operation = 'backup'
             AND ended_at IS NOT NULL AND status <> 'cancelled' AND retried_by IS NULL
         ORDER BY ended_at DESC, id DESC LIMIT 1) AS telling_id,
        (SELECT id FROM jobs WHERE host_id = g.host_id AND group_name = g.name
             AND operation = 'backup'
             AND ended_at IS NOT NULL AND status NOT IN ('cancelled', 'missed')
             AND retried_by IS NULL
         ORDER BY ended_at DESC, id DESC LIMIT 1) AS ran_id,
        (SELECT id FROM jobs WHERE host_id = g.host_id AND group_name = g.name
             AND operation = 'backup'
             AND ended_at IS NOT NULL AND status IN ('succeeded', 'partial')
             AND snapshot_id IS NOT NULL
         ORDER BY ended_at DESC, id DESC LIMIT 1) AS claim_id,
        (SELECT COALESCE(scheduled_at, created_at) FROM jobs
         WHERE host_id = g.host_id AND group_name = g.name
             AND operation = 'backup' AND status <> 'missed'
         ORDER BY created_at DESC, id DESC LIMIT 1) AS last_run_at,
        (SELECT MIN(COALESCE(started_at, created_at)) FROM jobs
         WHERE host_id = g.host_id AND group_name = g.name
             AND operation = 'backup' AND status <> 'queued'
             AND status IN ('queued', 'running', 'paused')) AS running_since
    FROM source_groups g WHERE 1 = 1";

const JOINS: &str = ")
    SELECT n.host_id, n.name, n.last_run_at, n.running_since,
        e.id, e.group_name, e.status, e.finished_at, e.ended_at, e.snapshot_id,
        t.id AS t_id, t.ended_at AS t_ended, t.status AS t_status, t.error_code AS t_code,
        t.error_message AS t_message, t.error_action AS t_action,
        r.id AS r_id, r.ended_at AS r_ended, r.status AS r_status, r.error_code AS r_code,
        r.error_message AS r_message, r.error_action AS r_action,
        c.snapshot_id AS c_snapshot, COALESCE(c.started_at, c.created_at) AS c_began,
        c.finished_at AS c_finished, c.ended_at AS c_ended
    FROM newest n
    LEFT JOIN jobs e ON e.id = n.ended_id
    LEFT JOIN jobs t ON t.id = n.telling_id
    LEFT JOIN jobs r ON r.id = n.ran_id
    LEFT JOIN jobs c ON c.id = n.claim_id";

impl Store {
    /// The newest runs of every group of these hosts, or of all.
    pub(crate) async fn group_runs(
        &self,
        only: Option<&[HostId]>,
    ) -> Result<Vec<GroupRuns>, Error> {
        const PHASE: &str = "reading the newest runs";
        let mut query = QueryBuilder::<Sqlite>::new(SELECT);
        host::only_hosts(&mut query, "g.host_id", only);
        query.push(JOINS);
        let rows = query.build().fetch_all(self.readers()).await.map_err(Error::database(PHASE))?;
        rows.iter().map(read).collect::<Result<_, _>>().map_err(Error::database(PHASE))
    }
}

fn read(row: &SqliteRow) -> Result<GroupRuns, sqlx::Error> {
    let ended = match row.text_opt("id")? {
        Some(_) => Some(super::read_latest(row)?),
        None => None,
    };
    Ok(GroupRuns {
        host_id: row.parsed("host_id")?,
        group: row.text("name")?,
        ended,
        telling: read_ended(row, &TELLING)?,
        ran: read_ended(row, &RAN)?,
        claim: read_claim(row)?,
        last_run_at: row.time_opt("last_run_at")?,
        running_since: row.time_opt("running_since")?,
    })
}

/// The columns of one of the runs in a row.
struct Names {
    id: &'static str,
    ended: &'static str,
    status: &'static str,
    error: [&'static str; 3],
}

const TELLING: Names = Names {
    id: "t_id",
    ended: "t_ended",
    status: "t_status",
    error: ["t_code", "t_message", "t_action"],
};
const RAN: Names = Names {
    id: "r_id",
    ended: "r_ended",
    status: "r_status",
    error: ["r_code", "r_message", "r_action"],
};

fn read_ended(row: &SqliteRow, names: &Names) -> Result<Option<Ended>, sqlx::Error> {
    let Some(word) = row.text_opt(names.status)? else { return Ok(None) };
    let [code, message, action] = names.error;
    let error = match row.text_opt(code)? {
        None => None,
        Some(code) => Some(JobError {
            code,
            message: row.text_opt(message)?.unwrap_or_default(),
            action: row.text_opt(action)?.unwrap_or_default(),
        }),
    };
    let (job_id, ended_at) = (row.parsed(names.id)?, row.time(names.ended)?);
    // A word that a newer version has written says nothing here.
    Ok(Status::from_word(&word).map(|status| Ended { job_id, ended_at, status, error }))
}

fn read_claim(row: &SqliteRow) -> Result<Option<Claim>, sqlx::Error> {
    let Some(snapshot_id) = row.text_opt("c_snapshot")? else { return Ok(None) };
    Ok(Some(Claim {
        snapshot_id,
        began_at: row.time("c_began")?,
        finished_at: row.time("c_finished")?,
        ended_at: row.time("c_ended")?,
    }))
}

#[cfg(test)]
mod tests {
    use crate::store::row::sql;

    use super::*;

    /// A fleet has a thousand times as many jobs that have ended as jobs that are open.
    #[tokio::test]
    async fn the_newest_runs_are_found_without_looking_through_the_history() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).await.unwrap();
        let query = sql(&["EXPLAIN QUERY PLAN ", SELECT, JOINS]);
        let rows = sqlx::query(query).fetch_all(store.readers()).await.unwrap();
        let plan: Vec<String> = rows.iter().map(|row| row.text("detail").unwrap()).collect();
        let open = "SEARCH jobs USING INDEX jobs_open (host_id=? AND group_name=?)";
        assert!(plan.iter().any(|step| step == open), "{plan:#?}");
        assert!(!plan.iter().any(|step| step.starts_with("SCAN jobs")), "{plan:#?}");
    }
}
