//! One line of restic's listing.

use holdfast_protocol::message::result::{Entry, EntryKind};
use jiff::Timestamp;
use serde::Deserialize;

/// A file, directory or the like, as restic lists it.
#[derive(Debug, Deserialize)]
pub(crate) struct Node {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    pub(crate) path: String,
    #[serde(default)]
    uid: u32,
    #[serde(default)]
    gid: u32,
    size: Option<u64>,
    #[serde(default)]
    mode: u32,
    mtime: Option<String>,
}

/// What a line is about. Both names are in use, alone or together.
#[derive(Deserialize)]
struct Subject {
    message_type: Option<String>,
    struct_type: Option<String>,
}

impl Node {
    /// Reads one line; `None` for what is about something else.
    pub(crate) fn parse(line: &str) -> Result<Option<Self>, serde_json::Error> {
        if line.trim().is_empty() {
            return Ok(None);
        }
        let subject: Subject = serde_json::from_str(line)?;
        let subject = subject.message_type.or(subject.struct_type);
        if subject.as_deref() != Some("node") {
            return Ok(None);
        }
        serde_json::from_str(line).map(Some)
    }

    pub(crate) fn kind(&self) -> EntryKind {
        match self.kind.as_str() {
            "file" => EntryKind::File,
            "dir" => EntryKind::Directory,
            "symlink" => EntryKind::Symlink,
            _ => EntryKind::Other,
        }
    }

    pub(crate) fn into_entry(self) -> Entry {
        let kind = self.kind();
        // A file without a size is empty; other things have none.
        let size_bytes = (kind == EntryKind::File).then(|| self.size.unwrap_or(0));
        Entry {
            kind,
            size_bytes,
            mode: unix_mode(self.mode),
            uid: self.uid,
            gid: self.gid,
            modified_at: self.mtime.and_then(|time| time.parse::<Timestamp>().ok()),
            name: self.name,
        }
    }
}

/// restic writes Go's mode, where set-user-id and its like have other places.
fn unix_mode(mode: u32) -> u32 {
    const SPECIAL: [(u32, u32); 3] = [(1 << 23, 0o4000), (1 << 22, 0o2000), (1 << 20, 0o1000)];
    let special =
        SPECIAL.iter().filter(|(go, _)| mode & go != 0).map(|(_, unix)| unix).sum::<u32>();
    mode & 0o777 | special
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_all_versions_are_read() {
        let old = r#"{"name":"tmp","type":"dir","path":"/tmp","uid":1,"gid":2,"mode":2148532735,"mtime":"2026-11-21T14:15:54.26069484Z","struct_type":"node"}"#;
        let new =
            old.replace(r#""struct_type""#, r#""inode":7,"message_type":"node","struct_type""#);
        for line in [old, &new] {
            let node = Node::parse(line).unwrap().unwrap();
            assert_eq!(node.path, "/tmp");
            let entry = node.into_entry();
            assert_eq!(
                (entry.kind, entry.mode, entry.size_bytes),
                (EntryKind::Directory, 0o1777, None)
            );
            assert_eq!(entry.modified_at.unwrap().to_string(), "2026-11-21T14:15:54.26069484Z");
        }
        for other in [r#"{"struct_type":"snapshot","time":"x"}"#, r#"{"message_type":"x"}"#, ""] {
            assert!(Node::parse(other).unwrap().is_none());
        }
        for broken in ["[", r#"{"struct_type":"node"}"#] {
            assert!(Node::parse(broken).is_err());
        }
    }

    #[test]
    fn an_empty_file_has_a_size_and_odd_times_are_left_out() {
        let line = r#"{"name":"n\nl","type":"file","path":"/n\nl","mode":420,"mtime":"99999-01-01T00:00:00Z","struct_type":"node"}"#;
        let entry = Node::parse(line).unwrap().unwrap().into_entry();
        assert_eq!((entry.name.as_str(), entry.size_bytes), ("n\nl", Some(0)));
        assert_eq!((entry.mode, entry.modified_at), (0o644, None));
    }
}
