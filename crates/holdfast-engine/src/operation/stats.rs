//! `restic stats`: how much is stored.

use holdfast_protocol::message::{
    parameters::{Stats, StatsMode},
    result::Sizes,
};
use serde::Deserialize;

use crate::{
    Access, Code, Control, Outcome, Restic,
    error::job_error,
    event::Reporter,
    operation::{campaign::Campaign, values::check_snapshot_id},
    restic::call::Call,
};

pub(crate) async fn run(
    restic: &Restic,
    access: &Access,
    stats: &Stats,
    control: &Control,
    reporter: &mut Reporter,
) -> Result<Outcome, Outcome> {
    let id = stats.snapshot_id.as_deref();
    id.map_or(Ok(()), check_snapshot_id)?;
    let mut campaign = Campaign::open(restic, access, control, reporter)?.without_locks();
    let mode = match stats.mode {
        StatsMode::RestoreSize => "--mode=restore-size",
        StatsMode::RawData => "--mode=raw-data",
    };
    let arguments = ["stats", "--json", "--no-lock", mode, "--"].into_iter().chain(id);
    let report = campaign.complete(&mut Call::new(arguments).capturing()).await?;
    let exit_code = report.ended.exit.code();
    let measured: Measured =
        serde_json::from_str(report.transcript.captured()).map_err(|error| {
            let message = format!("What restic measured could not be read: {error}.");
            Outcome::failed(exit_code, job_error(Code::ResticFailed, message))
        })?;
    Ok(Outcome::succeeded(exit_code, &measured.into_sizes(stats.mode)))
}

#[derive(Deserialize)]
struct Measured {
    total_size: u64,
    total_file_count: Option<u64>,
    total_blob_count: Option<u64>,
    total_uncompressed_size: Option<u64>,
    compression_ratio: Option<f64>,
    #[serde(default)]
    snapshots_count: u64,
}

impl Measured {
    /// Some versions write a zero for what they did not count, others leave it out.
    fn into_sizes(self, mode: StatsMode) -> Sizes {
        let files = (mode == StatsMode::RestoreSize).then(|| self.total_file_count.unwrap_or(0));
        let blobs = (mode == StatsMode::RawData).then(|| self.total_blob_count.unwrap_or(0));
        Sizes {
            total_size_bytes: self.total_size,
            total_file_count: files,
            total_blob_count: blobs,
            total_uncompressed_size_bytes: self.total_uncompressed_size,
            compression_ratio: self.compression_ratio,
            snapshot_count: self.snapshots_count,
        }
    }
}
