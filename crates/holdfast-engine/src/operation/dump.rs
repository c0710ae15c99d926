//! `restic dump`: the content of a file, or of a directory as an archive, as a stream of bytes.

use holdfast_protocol::message::{parameters::Dump, result::Dumped};
use tokio::io::{AsyncReadExt, DuplexStream};
use tokio::sync::mpsc::Sender;

use crate::{
    Access, Control, Outcome, Restic,
    event::Reporter,
    operation::{
        campaign::{Campaign, TAP_SIZE},
        values::{check_snapshot_id, path_within},
    },
};

pub(crate) async fn run(
    restic: &Restic,
    access: &Access,
    dump: &Dump,
    chunks: Sender<Vec<u8>>,
    control: &Control,
    reporter: &mut Reporter,
) -> Result<Outcome, Outcome> {
    check_snapshot_id(&dump.snapshot_id)?;
    let path = path_within(&dump.path)?;
    // Somebody who reads a file, perhaps slowly, must hold up neither a prune nor, on a repository
    // that cannot be written, himself. A prune that removes what is being read breaks it off.
    let mut campaign = Campaign::open(restic, access, control, reporter)?.without_locks();
    let arguments = ["dump", "--archive=tar", "--no-lock", "--", &dump.snapshot_id, path];
    let reading = |output| pass_on(output, dump.offset_bytes, chunks, control);
    let (report, size_bytes) = campaign.listen_to_all(arguments, reading).await?;
    let exit_code = report.ended.exit.code();
    // restic may have written all before anybody noticed that it is not taken.
    let size_bytes = size_bytes.ok_or_else(|| Outcome::abandoned(exit_code))?;
    Ok(Outcome::succeeded(exit_code, &Dumped { size_bytes }))
}

/// Hands over what comes after the first `offset` bytes, and returns how many bytes there were.
/// Whoever takes the chunks sets the pace; when nobody does any more, the rest is not read, and the
/// answer is `None`.
async fn pass_on(
    mut output: DuplexStream,
    offset: u64,
    chunks: Sender<Vec<u8>>,
    control: &Control,
) -> Option<u64> {
    let mut buffer = vec![0; TAP_SIZE];
    let mut size_bytes = 0;
    loop {
        let read = output.read(&mut buffer).await.unwrap_or(0);
        if read == 0 {
            return Some(size_bytes);
        }
        let skipped = offset.saturating_sub(size_bytes).min(read as u64);
        size_bytes += read as u64;
        // It is at most `read`, which is a `usize`.
        let chunk = buffer[usize::try_from(skipped).unwrap_or(read)..read].to_vec();
        if chunk.is_empty() {
            continue;
        }
        let sent = tokio::select! {
            sent = chunks.send(chunk) => sent.is_ok(),
            () = control.cancelled() => false,
        };
        if !sent {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_download_goes_on_where_it_was_broken_off() {
        let content: Vec<u8> = (0..200_000_u32).map(|number| number.to_le_bytes()[0]).collect();
        for offset in [0, 1, 65_536, 70_001, 199_999, 200_000, 300_000] {
            let (mut input, output) = tokio::io::duplex(1000);
            let (sender, mut receiver) = mpsc::channel(1);
            let written = content.clone();
            tokio::spawn(async move { input.write_all(&written).await });
            let control = Control::new();
            let passing = pass_on(output, offset, sender, &control);
            let taking = async {
                let mut taken = Vec::new();
                while let Some(chunk) = receiver.recv().await {
                    assert!(!chunk.is_empty() && chunk.len() <= TAP_SIZE);
                    taken.extend(chunk);
                }
                taken
            };
            let (size_bytes, taken) = tokio::join!(passing, taking);
            assert_eq!(size_bytes, Some(200_000));
            let start = usize::try_from(offset).unwrap().min(content.len());
            assert_eq!(taken, content[start..]);
        }
    }
}
