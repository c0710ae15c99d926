//! How source groups are backed up and kept, for the API document. The values themselves are the
//! protocol's, which knows no documents.

use utoipa::ToSchema;

/// How a source group is backed up.
#[derive(Debug, ToSchema)]
#[schema(as = GroupOptions)]
pub struct GroupOptionsDoc {
    /// Known kinds of files to leave out.
    pub exclude_presets: Option<Vec<ExcludePresetDoc>>,
    /// Leave out what directories marked with a `CACHEDIR.TAG` file hold.
    pub exclude_caches: Option<bool>,
    /// Stay within the file systems on which the paths lie.
    pub one_file_system: Option<bool>,
    /// How much of the network a backup may take.
    pub bandwidth: Option<BandwidthDoc>,
    /// How often a failed backup is tried again.
    pub retry_max: Option<u32>,
    /// How long to wait before the second try; twice as long before each later one.
    pub retry_backoff_seconds: Option<u32>,
    /// How long a backup may take before it is ended; absent for no limit.
    pub timeout_seconds: Option<u32>,
    /// What the host runs before and after: names of commands in the host's own policy.
    pub hooks: Option<HooksDoc>,
    /// Back up what a command of the host writes, instead of files.
    pub source: Option<CommandSourceDoc>,
}

/// A known kind of files that few people want to back up.
#[derive(Debug, ToSchema)]
#[schema(as = ExcludePreset, rename_all = "snake_case")]
pub enum ExcludePresetDoc {
    /// `/proc`, `/sys`, `/dev`, `/run` and the like.
    SystemPseudo,
    /// `/tmp`, `/var/tmp`.
    Temporary,
    /// Caches of programs and package managers.
    Caches,
    /// What builds make: `node_modules`, `target`, `__pycache__`.
    Development,
    /// Trash folders.
    Trash,
    /// Layers and images of container engines; volumes stay in.
    Containers,
}

/// How much of the network restic may take, in KiB per second; absent for no limit.
#[derive(Debug, ToSchema)]
#[schema(as = Bandwidth)]
pub struct BandwidthDoc {
    /// Towards the repository.
    pub upload_kib_s: Option<u32>,
    /// From the repository.
    pub download_kib_s: Option<u32>,
}

/// Names of commands in the host's own policy file.
#[derive(Debug, ToSchema)]
#[schema(as = Hooks)]
pub struct HooksDoc {
    /// Before the backup, in this order. When one fails there is no backup.
    pub pre: Option<Vec<String>>,
    /// After it, in this order, however it ended and also when a hook before it failed.
    pub post: Option<Vec<String>>,
}

/// A command of the host whose output is backed up.
#[derive(Debug, ToSchema)]
#[schema(as = CommandSource)]
pub struct CommandSourceDoc {
    /// What kind of data it is.
    pub preset: SourcePresetDoc,
    /// Which of the host's entries for this preset; the database's name, as a rule.
    pub database: String,
}

/// Kinds of data that a command writes out.
#[derive(Debug, ToSchema)]
#[schema(as = SourcePreset, rename_all = "snake_case")]
pub enum SourcePresetDoc {
    /// `pg_dump`.
    Postgresql,
    /// `mysqldump`, of MySQL and MariaDB.
    Mysql,
    /// `sqlite3 .backup`.
    Sqlite,
    /// `redis-cli --rdb`.
    Redis,
    /// `mongodump --archive`.
    Mongodb,
}

/// Which snapshots are kept. At least one rule other than `keep_tags` is needed, so that one
/// snapshot always stays.
#[derive(Debug, ToSchema)]
#[schema(as = Retention)]
pub struct RetentionDoc {
    /// The newest.
    pub keep_last: Option<u32>,
    /// The newest of each of the last so many hours with snapshots.
    pub keep_hourly: Option<u32>,
    /// The newest of each of the last so many days with snapshots.
    pub keep_daily: Option<u32>,
    /// The newest of each of the last so many weeks with snapshots.
    pub keep_weekly: Option<u32>,
    /// The newest of each of the last so many months with snapshots.
    pub keep_monthly: Option<u32>,
    /// The newest of each of the last so many years with snapshots.
    pub keep_yearly: Option<u32>,
    /// All that are not older than this, such as `1y5m7d2h`, counted back from the newest.
    pub keep_within: Option<String>,
    /// The newest of each hour within this span.
    pub keep_within_hourly: Option<String>,
    /// The newest of each day within this span.
    pub keep_within_daily: Option<String>,
    /// The newest of each week within this span.
    pub keep_within_weekly: Option<String>,
    /// The newest of each month within this span.
    pub keep_within_monthly: Option<String>,
    /// The newest of each year within this span.
    pub keep_within_yearly: Option<String>,
    /// All with one of these tags.
    pub keep_tags: Option<Vec<String>>,
}
