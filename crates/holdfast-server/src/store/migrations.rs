//! The steps by which the schema grew. A step that has been released never changes.

use std::{fs::File, path::Path};

use sqlx::{
    SqlSafeStr, SqlitePool,
    migrate::{MigrateError, Migration, MigrationType, Migrator},
};

use super::OpenError;

const STEPS: &[(i64, &str, &str)] = &[
    (1, "fleet", include_str!("../../migrations/0001_fleet.sql")),
    (2, "verdict", include_str!("../../migrations/0002_verdict.sql")),
    (3, "evaluations", include_str!("../../migrations/0003_evaluations.sql")),
    (4, "alerts", include_str!("../../migrations/0004_alerts.sql")),
    (5, "channels", include_str!("../../migrations/0005_channels.sql")),
    (6, "instances", include_str!("../../migrations/0006_instances.sql")),
    (7, "identity", include_str!("../../migrations/0007_identity.sql")),
    (8, "repositories", include_str!("../../migrations/0008_repositories.sql")),
    (9, "growth", include_str!("../../migrations/0009_growth.sql")),
    (10, "dialects", include_str!("../../migrations/0010_dialects.sql")),
    (11, "operations", include_str!("../../migrations/0011_operations.sql")),
    (12, "history", include_str!("../../migrations/0012_history.sql")),
    (13, "audit", include_str!("../../migrations/0013_audit.sql")),
    (14, "lease", include_str!("../../migrations/0014_lease.sql")),
    (15, "upkeep", include_str!("../../migrations/0015_upkeep.sql")),
    (16, "maintenance", include_str!("../../migrations/0016_maintenance.sql")),
    (17, "digest", include_str!("../../migrations/0017_digest.sql")),
    (18, "witness", include_str!("../../migrations/0018_witness.sql")),
    (19, "exclusive", include_str!("../../migrations/0019_exclusive.sql")),
    (20, "oidc", include_str!("../../migrations/0020_oidc.sql")),
    (21, "located", include_str!("../../migrations/0021_located.sql")),
    (22, "agents_word", include_str!("../../migrations/0022_agents_word.sql")),
    (23, "tries", include_str!("../../migrations/0023_tries.sql")),
    (24, "packed_logs", include_str!("../../migrations/0024_packed_logs.sql")),
    (25, "scale", include_str!("../../migrations/0025_scale.sql")),
];

/// Brings the database up to date.
pub(super) async fn run(pool: &SqlitePool, dir: &Path) -> Result<(), OpenError> {
    let _lock = lock(dir)?;
    let refused = |source| match source {
        MigrateError::VersionMissing(found) => OpenError::Newer { found, known: known() },
        source => OpenError::Migration { source },
    };
    migrator().run(pool).await.map_err(refused)
}

/// Two programs that start at once must not both upgrade. The lock goes with the file handle.
fn lock(dir: &Path) -> Result<File, OpenError> {
    let path = dir.join("upgrade.lock");
    let refused = |source| OpenError::Directory { path: path.clone(), source };
    let file =
        File::options().write(true).create(true).truncate(false).open(&path).map_err(refused)?;
    file.lock().map_err(refused)?;
    Ok(file)
}

fn migrator() -> Migrator {
    let step = |&(version, name, sql): &(i64, &'static str, &'static str)| {
        Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    Migrator::with_migrations(STEPS.iter().map(step).collect())
}

fn known() -> i64 {
    STEPS.iter().map(|step| step.0).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_steps_have_one_number() {
        let numbers: Vec<i64> = STEPS.iter().map(|step| step.0).collect();
        let wanted: Vec<i64> = (1..).take(STEPS.len()).collect();
        assert_eq!(numbers, wanted, "a step that came second takes the next free number");
    }
}
