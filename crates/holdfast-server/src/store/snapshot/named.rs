//! A snapshot that somebody names: which one it is, and whether they may know of it.

use std::collections::BTreeSet;

use holdfast_protocol::{HostId, RepositoryId};
use sqlx::{QueryBuilder, Sqlite, sqlite::SqliteRow};

use crate::{
    auth::Scope,
    store::{Error, Store, job::choose, row::Columns},
};

/// More snapshots with one beginning are told apart by nobody.
const CANDIDATES_MAX: i64 = 200;

/// A snapshot, as far as the lists of the hosts tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Named {
    /// Its whole id, or what was asked for when no list has it.
    pub(crate) id: String,
    /// The repository that holds it, where that is clear.
    pub(crate) repository: Option<RepositoryId>,
}

/// One line of a host's list.
struct Candidate {
    id: String,
    host: HostId,
    repository: RepositoryId,
}

impl Store {
    /// The snapshot that `text`, an id or its beginning, stands for when it is said about `host`.
    ///
    /// A repository may be shared, and whoever may work with one of its hosts has its key at hand.
    /// So for those whose role counts for some hosts only, there is nothing but what these have
    /// listed. For all others a snapshot may exist without being in a list.
    ///
    /// # Errors
    /// [`Error::SnapshotNotFound`] and [`Error::Database`].
    pub(crate) async fn named_snapshot(
        &self,
        host: HostId,
        text: &str,
        repository: Option<RepositoryId>,
        scope: &Scope,
    ) -> Result<Named, Error> {
        let theirs = self.hosts_in(scope).await?;
        let mut candidates = self.listed_as(text, repository).await?;
        candidates.retain(|candidate| theirs.hold(candidate.host));
        if candidates.iter().any(|candidate| candidate.host == host) {
            candidates.retain(|candidate| candidate.host == host);
        }
        let ids: BTreeSet<&str> = candidates.iter().map(|it| it.id.as_str()).collect();
        let places: BTreeSet<RepositoryId> = candidates.iter().map(|it| it.repository).collect();
        let only = |places: &BTreeSet<_>| places.first().copied().filter(|_| places.len() == 1);
        match (ids.first(), scope) {
            (Some(id), _) if ids.len() == 1 => {
                Ok(Named { id: (*id).to_owned(), repository: repository.or(only(&places)) })
            }
            (_, Scope::All) => Ok(Named { id: text.to_owned(), repository }),
            (_, Scope::Groups(_)) => Err(Error::SnapshotNotFound { snapshot: text.to_owned() }),
        }
    }

    /// As [`named_snapshot`](Self::named_snapshot), with the repository in any case: where no list
    /// tells, it is the only one that the host uses.
    ///
    /// # Errors
    /// As there, and [`Error::RepositoryRequired`].
    pub(crate) async fn placed_snapshot(
        &self,
        host: HostId,
        text: &str,
        repository: Option<RepositoryId>,
        scope: &Scope,
    ) -> Result<(String, RepositoryId), Error> {
        const PHASE: &str = "looking for a snapshot's repository";
        let named = self.named_snapshot(host, text, repository, scope).await?;
        if let Some(repository) = named.repository {
            return Ok((named.id, repository));
        }
        let mut connection = self.readers().acquire().await.map_err(Error::database(PHASE))?;
        let only = choose::only_one(&mut connection, host).await.map_err(Error::database(PHASE))?;
        Ok((named.id, only.ok_or(Error::RepositoryRequired)?))
    }

    /// What the lists in force have under this id or beginning of one.
    async fn listed_as(
        &self,
        text: &str,
        repository: Option<RepositoryId>,
    ) -> Result<Vec<Candidate>, Error> {
        const PHASE: &str = "looking for a snapshot";
        if text.len() < 8 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(Vec::new());
        }
        let mut query = QueryBuilder::<Sqlite>::new(
            "SELECT s.id, s.host_id, s.repository_id FROM snapshots s
             JOIN snapshot_lists l ON l.host_id = s.host_id
                 AND l.repository_id = s.repository_id AND l.report_id = s.report_id
             WHERE s.id LIKE ",
        );
        query.push_bind(format!("{}%", text.to_ascii_lowercase()));
        if let Some(repository) = repository {
            query.push(" AND s.repository_id = ").push_bind(repository.to_string());
        }
        query.push(" LIMIT ").push_bind(CANDIDATES_MAX);
        let rows = query.build().fetch_all(self.readers()).await.map_err(Error::database(PHASE))?;
        rows.iter().map(read).collect::<Result<_, _>>().map_err(Error::database(PHASE))
    }
}

fn read(row: &SqliteRow) -> Result<Candidate, sqlx::Error> {
    Ok(Candidate {
        id: row.text("id")?,
        host: row.parsed("host_id")?,
        repository: row.parsed("repository_id")?,
    })
}
