//! Numbers for Prometheus. The names are part of the public interface.

pub(crate) mod fleet;

use std::{sync::OnceLock, time::Duration};

use holdfast_protocol::{
    HostId,
    message::job::{Operation, Status},
};
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio_util::sync::CancellationToken;

const HOSTS_TOTAL: &str = "holdfast_hosts_total";
const HOSTS_ONLINE: &str = "holdfast_hosts_online";
const JOBS_RUNNING: &str = "holdfast_jobs_running";
const RUNS: &str = "holdfast_runs_total";
const RUN_SECONDS: &str = "holdfast_run_duration_seconds";
const LINK_RECORDS: &str = "holdfast_link_records_total";
const RECORDS_SET_ASIDE: &str = "holdfast_records_set_aside_total";
const LOG_LINES_DROPPED: &str = "holdfast_log_lines_dropped_total";
const RUNS_MISSED: &str = "holdfast_missed_runs_total";
const LAST_SUCCESS: &str = "holdfast_last_success_timestamp_seconds";
const BUILD_INFO: &str = "holdfast_build_info";

/// From seconds to a day: backups take that long.
const RUN_BUCKETS: &[f64] =
    &[1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 1800.0, 3600.0, 7200.0, 14400.0, 28800.0, 86400.0];
/// The exporter's histogram buffers grow until somebody empties them.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

static RECORDER: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

/// A job that ended.
pub(crate) struct Run {
    pub(crate) host: HostId,
    pub(crate) operation: Operation,
    pub(crate) status: Status,
    pub(crate) seconds: Option<f64>,
}

/// Installs the recorder, once per process.
pub fn install() {
    if recorder().is_some() {
        describe();
        gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    }
}

/// All numbers in Prometheus' text form; empty when no recorder could be installed.
#[must_use]
pub fn render() -> String {
    recorder().map(PrometheusHandle::render).unwrap_or_default()
}

/// Empties the recorder's buffers until stopped.
pub(crate) async fn run_upkeep(stop: CancellationToken) {
    let mut interval = tokio::time::interval(UPKEEP_INTERVAL);
    while stop.run_until_cancelled(interval.tick()).await.is_some() {
        if let Some(recorder) = recorder() {
            recorder.run_upkeep();
        }
    }
}

pub(crate) fn run_ended(run: &Run) {
    let operation = run.operation.as_str();
    tracing::info!(host = %run.host, operation, status = run.status.as_str(), "job ended");
    counter!(RUNS, "operation" => operation, "outcome" => run.status.as_str()).increment(1);
    if let Some(seconds) = run.seconds {
        histogram!(RUN_SECONDS, "operation" => operation).record(seconds);
    }
}

pub(crate) fn runs_missed(count: usize) {
    counter!(RUNS_MISSED).increment(count as u64);
}

pub(crate) fn records_received(count: usize) {
    counter!(LINK_RECORDS, "direction" => "received").increment(count as u64);
}

pub(crate) fn records_sent(count: usize) {
    counter!(LINK_RECORDS, "direction" => "sent").increment(count as u64);
}

pub(crate) fn record_set_aside() {
    counter!(RECORDS_SET_ASIDE).increment(1);
}

pub(crate) fn log_lines_dropped(count: usize) {
    counter!(LOG_LINES_DROPPED).increment(count as u64);
}

pub(crate) fn fleet(total: usize, online: usize, running: usize) {
    #[expect(clippy::cast_precision_loss, reason = "no fleet has 2^52 hosts")]
    let number = |count: usize| count as f64;
    gauge!(HOSTS_TOTAL).set(number(total));
    gauge!(HOSTS_ONLINE).set(number(online));
    gauge!(JOBS_RUNNING).set(number(running));
}

pub(crate) fn last_success(host: &str, group: &str, at: jiff::Timestamp) {
    #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 fit into 52 bits")]
    let seconds = at.as_second() as f64;
    gauge!(LAST_SUCCESS, "host" => host.to_owned(), "group" => group.to_owned()).set(seconds);
}

fn recorder() -> Option<&'static PrometheusHandle> {
    RECORDER.get_or_init(build).as_ref()
}

fn build() -> Option<PrometheusHandle> {
    let builder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Full(RUN_SECONDS.to_owned()), RUN_BUCKETS)
        .expect("the list of buckets is not empty");
    builder.install_recorder().ok()
}

fn describe() {
    describe_gauge!(HOSTS_TOTAL, "Hosts in the fleet.");
    describe_gauge!(HOSTS_ONLINE, "Hosts whose agent is connected.");
    describe_gauge!(JOBS_RUNNING, "Jobs that run or are paused.");
    describe_counter!(RUNS, "Jobs that ended, by operation and outcome.");
    describe_histogram!(RUN_SECONDS, "How long jobs ran, in seconds.");
    describe_counter!(LINK_RECORDS, "Records that crossed links, by direction.");
    describe_counter!(RECORDS_SET_ASIDE, "Records of agents that could not be applied.");
    describe_counter!(LOG_LINES_DROPPED, "Log lines that were dropped because too many waited.");
    describe_counter!(RUNS_MISSED, "Runs that were due and that nobody told of in time.");
    describe_gauge!(LAST_SUCCESS, "When the group's last good backup ended.");
    describe_gauge!(BUILD_INFO, "The version that runs.");
}
