//! How much room there is for a repository that lies on this machine.

use std::path::Path;

use holdfast_protocol::message::snapshot::Room;
use nix::sys::statvfs::statvfs;

/// The room on the disk of the repository at `url`; `None` when that is not a directory of this
/// machine, or cannot be asked.
pub(super) fn room(url: &str) -> Option<Room> {
    let path = url.strip_prefix("local:").unwrap_or(url);
    if !path.starts_with('/') {
        return None;
    }
    let told = statvfs(Path::new(path)).ok()?;
    #[allow(clippy::useless_conversion, reason = "counts are 32 bits wide on some systems")]
    let bytes = |blocks| u64::from(blocks).saturating_mul(u64::from(told.fragment_size()));
    let capacity_bytes = bytes(told.blocks());
    // Some file systems do not say.
    (capacity_bytes > 0)
        .then(|| Room { free_bytes: bytes(told.blocks_available()), capacity_bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_directory_of_this_machine_has_room_that_can_be_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_str().unwrap();
        for url in [path.to_owned(), format!("local:{path}")] {
            let room = room(&url).unwrap();
            assert!(room.capacity_bytes > 0 && room.free_bytes <= room.capacity_bytes, "{room:?}");
        }
        let missing = format!("{path}/missing");
        for url in ["rest:https://backup.example/x", "s3:host/bucket", "relative", &missing, ""] {
            assert_eq!(room(url), None, "{url}");
        }
    }
}
