//! Backupy's protobuf messages (`backup.v1`), by hand: the numbers are the contract, and there is
//! no compiler to install and no generated file to trust.
//!
//! Maps are ordered here, so that what we write is the same every time; peers may order them as
//! they like. Types that carry a key or an address with one in it have a `Debug` that shows
//! neither.
#![allow(
    missing_docs,
    reason = "the fields are named as in the contract, unit last; what surprises has a comment"
)]

use std::{collections::BTreeMap, fmt};

use prost::{Enumeration, Message, Oneof};

/// One frame. Old frames come again with their old `seq`, and a restart begins at 1: it orders
/// nothing and proves nothing.
#[derive(Clone, PartialEq, Message)]
pub struct Envelope {
    #[prost(uint64, tag = "1")]
    pub seq: u64,
    /// Milliseconds since 1970 by the sender's clock.
    #[prost(uint64, tag = "2")]
    pub ts_ms: u64,
    #[prost(string, tag = "3")]
    pub correlation_id: String,
    /// None for a number this build does not know; such a frame is no error.
    #[prost(
        oneof = "Body",
        tags = "10, 11, 12, 13, 14, 15, 16, 17, 18, 50, 51, 52, 53, 54, 56, 57"
    )]
    pub payload: Option<Body>,
}

/// What a frame says: 10 to 49 from the agent, 50 to 99 from the server.
#[derive(Clone, PartialEq, Oneof)]
pub enum Body {
    #[prost(message, tag = "10")]
    Register(Register),
    #[prost(message, tag = "11")]
    Heartbeat(Heartbeat),
    #[prost(message, tag = "12")]
    Discovery(DiscoveryReport),
    #[prost(message, tag = "13")]
    JobUpdate(JobUpdate),
    #[prost(message, tag = "14")]
    BackupCompleted(BackupCompleted),
    #[prost(message, tag = "15")]
    HealthResult(HealthCheckResult),
    #[prost(message, tag = "16")]
    Log(LogEvent),
    #[prost(message, tag = "17")]
    RestoreUpdate(RestoreUpdate),
    #[prost(message, tag = "18")]
    Ack(Ack),
    #[prost(message, tag = "50")]
    RegisterAck(RegisterAck),
    #[prost(message, tag = "51")]
    ConfigUpdate(ConfigUpdate),
    #[prost(message, tag = "52")]
    RunBackup(RunBackup),
    #[prost(message, tag = "53")]
    CancelJob(CancelJob),
    #[prost(message, tag = "54")]
    RunHealthCheck(RunHealthCheck),
    #[prost(message, tag = "56")]
    SelfUpdate(SelfUpdate),
    #[prost(message, tag = "57")]
    Ping(Ping),
}

// Agent to server.

#[derive(Clone, PartialEq, Message)]
pub struct Register {
    #[prost(string, tag = "1")]
    pub agent_version: String,
    #[prost(string, tag = "2")]
    pub hostname: String,
    #[prost(string, tag = "3")]
    pub os: String,
    #[prost(string, tag = "4")]
    pub arch: String,
    #[prost(string, tag = "5")]
    pub docker_version: String,
    #[prost(string, repeated, tag = "6")]
    pub capabilities: Vec<String>,
    #[prost(uint64, tag = "7")]
    pub last_known_config_version: u64,
}

#[derive(Clone, PartialEq, Message)]
pub struct Heartbeat {
    #[prost(uint64, tag = "1")]
    pub config_version: u64,
    #[prost(message, optional, tag = "2")]
    pub metrics: Option<AgentMetrics>,
    #[prost(string, repeated, tag = "3")]
    pub active_job_ids: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub struct DiscoveryReport {
    #[prost(message, repeated, tag = "1")]
    pub containers: Vec<DiscoveredContainer>,
}

#[derive(Clone, PartialEq, Message)]
pub struct DiscoveredContainer {
    #[prost(string, tag = "1")]
    pub container_id: String,
    #[prost(string, tag = "2")]
    pub name: String,
    #[prost(string, tag = "3")]
    pub image: String,
    #[prost(string, tag = "4")]
    pub detected_db_type: String,
    #[prost(string, repeated, tag = "5")]
    pub networks: Vec<String>,
    /// Names of environment variables; each value is the word `set`.
    #[prost(btree_map = "string, string", tag = "6")]
    pub env_hints: BTreeMap<String, String>,
    #[prost(message, repeated, tag = "7")]
    pub ports: Vec<PortBinding>,
}

/// The shipped agent sends it only to say FAILED.
#[derive(Clone, PartialEq, Message)]
pub struct JobUpdate {
    #[prost(string, tag = "1")]
    pub job_id: String,
    #[prost(enumeration = "JobStatus", tag = "2")]
    pub status: i32,
    /// 0 to 100.
    #[prost(uint32, tag = "3")]
    pub progress_percent: u32,
    #[prost(string, tag = "4")]
    pub current_step: String,
    #[prost(string, tag = "5")]
    pub error_message: String,
    /// Older agents leave it out.
    #[prost(string, tag = "6")]
    pub run_id: String,
}

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub struct BackupCompleted {
    #[prost(string, tag = "1")]
    pub job_id: String,
    #[prost(string, tag = "2")]
    pub run_id: String,
    #[prost(string, tag = "3")]
    pub s3_key: String,
    #[prost(uint64, tag = "4")]
    pub size_bytes: u64,
    /// Of the ciphertext, in hexadecimal.
    #[prost(string, tag = "5")]
    pub sha256: String,
    #[prost(uint64, tag = "6")]
    pub duration_ms: u64,
    #[prost(string, tag = "7")]
    pub dek_kms_id: String,
    /// The key of [`RunBackup`], given back: in the default build it is the raw key.
    #[prost(bytes = "vec", tag = "8")]
    pub encrypted_dek: Vec<u8>,
    #[prost(string, tag = "9")]
    pub compression: String,
    #[prost(string, tag = "10")]
    pub db_engine_version: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct HealthCheckResult {
    #[prost(string, tag = "1")]
    pub check_id: String,
    #[prost(uint64, tag = "2")]
    pub ts_ms: u64,
    #[prost(bool, tag = "3")]
    pub ok: bool,
    #[prost(uint32, tag = "4")]
    pub latency_ms: u32,
    #[prost(string, tag = "5")]
    pub error: String,
    #[prost(uint32, tag = "6")]
    pub status_code: u32,
}

#[derive(Clone, PartialEq, Message)]
pub struct LogEvent {
    #[prost(uint64, tag = "1")]
    pub ts_ms: u64,
    #[prost(enumeration = "LogLevel", tag = "2")]
    pub level: i32,
    /// Empty when the line belongs to no job.
    #[prost(string, tag = "3")]
    pub job_id: String,
    #[prost(string, tag = "4")]
    pub message: String,
    #[prost(btree_map = "string, string", tag = "5")]
    pub fields: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
pub struct RestoreUpdate {
    #[prost(string, tag = "1")]
    pub restore_id: String,
    #[prost(enumeration = "JobStatus", tag = "2")]
    pub status: i32,
    #[prost(uint32, tag = "3")]
    pub progress_percent: u32,
    #[prost(string, tag = "4")]
    pub current_step: String,
    #[prost(string, tag = "5")]
    pub error_message: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct Ack {
    #[prost(string, tag = "1")]
    pub correlation_id: String,
    #[prost(bool, tag = "2")]
    pub accepted: bool,
    #[prost(string, tag = "3")]
    pub reason: String,
}

// Server to agent.

#[derive(Clone, PartialEq, Message)]
pub struct RegisterAck {
    #[prost(string, tag = "1")]
    pub session_id: String,
    /// Always sent whole: a restarted agent knows the version of its configuration, not the
    /// content.
    #[prost(message, optional, tag = "2")]
    pub config: Option<AgentConfig>,
    #[prost(uint32, tag = "3")]
    pub heartbeat_interval_sec: u32,
    #[prost(string, tag = "4")]
    pub server_time_iso: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct AgentConfig {
    #[prost(uint64, tag = "1")]
    pub version: u64,
    #[prost(message, repeated, tag = "2")]
    pub targets: Vec<Target>,
    #[prost(message, repeated, tag = "3")]
    pub jobs: Vec<BackupJobSpec>,
    #[prost(message, repeated, tag = "4")]
    pub health_checks: Vec<HealthCheckSpec>,
    #[prost(message, optional, tag = "5")]
    pub maintenance: Option<MaintenanceWindow>,
    #[prost(message, optional, tag = "6")]
    pub advanced: Option<AdvancedSettings>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Target {
    #[prost(string, tag = "1")]
    pub id: String,
    #[prost(enumeration = "DbType", tag = "2")]
    pub r#type: i32,
    #[prost(string, tag = "3")]
    pub display_name: String,
    #[prost(message, optional, tag = "4")]
    pub connection: Option<ConnectionConfig>,
}

#[derive(Clone, PartialEq, Message)]
pub struct ConnectionConfig {
    #[prost(string, tag = "1")]
    pub host: String,
    #[prost(uint32, tag = "2")]
    pub port: u32,
    #[prost(string, tag = "3")]
    pub database: String,
    #[prost(string, tag = "4")]
    pub username: String,
    /// Where the agent finds the password; never the password.
    #[prost(string, tag = "5")]
    pub password_secret_ref: String,
    #[prost(string, tag = "6")]
    pub container_id: String,
    #[prost(enumeration = "ConnectionStrategy", tag = "7")]
    pub strategy: i32,
}

#[derive(Clone, PartialEq, Message)]
pub struct BackupJobSpec {
    #[prost(string, tag = "1")]
    pub id: String,
    #[prost(string, tag = "2")]
    pub target_id: String,
    /// In UTC; the agent does not run it, the server has to.
    #[prost(string, tag = "3")]
    pub cron: String,
    #[prost(uint32, tag = "4")]
    pub retention_days: u32,
    #[prost(string, tag = "5")]
    pub compression: String,
    #[prost(bool, tag = "6")]
    pub encryption_enabled: bool,
    #[prost(string, repeated, tag = "7")]
    pub pre_hooks: Vec<String>,
    #[prost(string, repeated, tag = "8")]
    pub post_hooks: Vec<String>,
    #[prost(message, optional, tag = "9")]
    pub retry: Option<RetryPolicy>,
    #[prost(uint32, tag = "10")]
    pub timeout_sec: u32,
}

#[derive(Clone, PartialEq, Message)]
pub struct HealthCheckSpec {
    #[prost(string, tag = "1")]
    pub id: String,
    #[prost(string, tag = "2")]
    pub name: String,
    #[prost(enumeration = "CheckType", tag = "3")]
    pub r#type: i32,
    #[prost(string, tag = "4")]
    pub target: String,
    #[prost(uint32, tag = "5")]
    pub interval_sec: u32,
    #[prost(uint32, tag = "6")]
    pub timeout_sec: u32,
    #[prost(uint32, tag = "7")]
    pub expected_status: u32,
}

#[derive(Clone, PartialEq, Message)]
pub struct ConfigUpdate {
    #[prost(message, optional, tag = "1")]
    pub config: Option<AgentConfig>,
}

/// `job_id` is the [`BackupJobSpec`], `run_id` this run of it. Nothing acknowledges it.
#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub struct RunBackup {
    #[prost(string, tag = "1")]
    pub job_id: String,
    #[prost(string, tag = "2")]
    pub run_id: String,
    #[prost(bool, tag = "3")]
    pub manual_trigger: bool,
    #[prost(message, optional, tag = "4")]
    pub upload_creds: Option<S3UploadCreds>,
    /// The default build of the agent takes it as the raw key of 32 bytes.
    #[prost(bytes = "vec", tag = "5")]
    pub encrypted_dek: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub struct CancelJob {
    #[prost(string, tag = "1")]
    pub job_id: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct RunHealthCheck {
    #[prost(string, tag = "1")]
    pub check_id: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct SelfUpdate {
    #[prost(string, tag = "1")]
    pub target_version: String,
    #[prost(string, tag = "2")]
    pub binary_url: String,
    #[prost(string, tag = "3")]
    pub sha256: String,
    #[prost(bytes = "vec", tag = "4")]
    pub cosign_signature: Vec<u8>,
    #[prost(bool, tag = "5")]
    pub force: bool,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub struct Ping {
    #[prost(uint64, tag = "1")]
    pub ts_ms: u64,
}

// Both.

#[derive(Clone, Copy, PartialEq, Message)]
pub struct AgentMetrics {
    #[prost(float, tag = "1")]
    pub cpu_percent: f32,
    #[prost(uint64, tag = "2")]
    pub mem_used_bytes: u64,
    #[prost(uint64, tag = "3")]
    pub mem_total_bytes: u64,
    #[prost(uint64, tag = "4")]
    pub disk_used_bytes: u64,
    #[prost(uint64, tag = "5")]
    pub disk_total_bytes: u64,
    #[prost(uint32, tag = "6")]
    pub queue_depth: u32,
}

#[derive(Clone, PartialEq, Message)]
pub struct PortBinding {
    #[prost(uint32, tag = "1")]
    pub container_port: u32,
    /// 0 when it is not published.
    #[prost(uint32, tag = "2")]
    pub host_port: u32,
    #[prost(string, tag = "3")]
    pub protocol: String,
}

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub struct S3UploadCreds {
    /// Whoever has it may write the object.
    #[prost(string, tag = "1")]
    pub presigned_put_url: String,
    #[prost(uint64, tag = "2")]
    pub expires_at_ms: u64,
    #[prost(string, tag = "3")]
    pub final_s3_key: String,
}

/// Declared by the contract and used by no message of it.
#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub struct S3DownloadCreds {
    /// Whoever has it may read the object.
    #[prost(string, tag = "1")]
    pub presigned_get_url: String,
    #[prost(uint64, tag = "2")]
    pub expires_at_ms: u64,
    #[prost(string, tag = "3")]
    pub s3_key: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct RetryPolicy {
    #[prost(uint32, tag = "1")]
    pub max_attempts: u32,
    #[prost(uint32, repeated, tag = "2")]
    pub backoff_seconds: Vec<u32>,
}

/// Times of day as `HH:MM` in UTC.
#[derive(Clone, PartialEq, Message)]
pub struct MaintenanceWindow {
    #[prost(string, tag = "1")]
    pub start_utc: String,
    #[prost(string, tag = "2")]
    pub end_utc: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct AdvancedSettings {
    #[prost(uint32, tag = "1")]
    pub max_parallel_jobs: u32,
    #[prost(string, tag = "2")]
    pub log_level: String,
    #[prost(bool, tag = "3")]
    pub auto_update_enabled: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum JobStatus {
    Unspecified = 0,
    Queued = 1,
    Running = 2,
    Success = 3,
    Failed = 4,
    Cancelled = 5,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum DbType {
    Unspecified = 0,
    Postgresql = 1,
    Mysql = 2,
    Mariadb = 3,
    Mongodb = 4,
    Redis = 5,
    Sqlite = 6,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum ConnectionStrategy {
    Tcp = 0,
    DockerExec = 1,
    UnixSocket = 2,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum CheckType {
    Http = 0,
    Https = 1,
    /// The contract's pages call it TCP; the number is the same.
    TcpCheck = 2,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum LogLevel {
    Trace = 0,
    Debug = 1,
    Info = 2,
    Warn = 3,
    Error = 4,
}

impl fmt::Debug for BackupCompleted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackupCompleted")
            .field("job_id", &self.job_id)
            .field("run_id", &self.run_id)
            .field("size_bytes", &self.size_bytes)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for RunBackup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunBackup")
            .field("job_id", &self.job_id)
            .field("run_id", &self.run_id)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for S3UploadCreds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3UploadCreds").finish_non_exhaustive()
    }
}

impl fmt::Debug for S3DownloadCreds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3DownloadCreds").finish_non_exhaustive()
    }
}
