//! The wire pinned: each kind has a reviewed body in `goldens/`, which must read and write the
//! same.
//!
//! A golden may gain optional fields; a change that makes an existing one fail breaks older peers.

use std::{collections::BTreeSet, fs, path::Path};

use holdfast_protocol::{Message, Payload};
use serde_json::Value;

fn goldens() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens");
    fs::read_dir(folder)
        .expect("the folder of goldens is in the tree")
        .map(|entry| entry.expect("a readable folder").path())
        // The dialects have theirs in a folder of their own, and tests of their own.
        .filter(|path| path.is_file())
        .map(|path| {
            let kind = path.file_stem().expect("a file name").to_string_lossy().into_owned();
            (kind, fs::read_to_string(path).expect("a readable golden"))
        })
        .collect()
}

#[test]
fn every_kind_has_a_golden_and_every_golden_a_kind() {
    let files: BTreeSet<String> = goldens().into_iter().map(|(kind, _)| kind).collect();
    let kinds: BTreeSet<String> = Message::KINDS.iter().map(ToString::to_string).collect();
    assert_eq!(files, kinds);
}

#[test]
fn every_golden_reads_and_writes_the_same() {
    for (kind, text) in goldens() {
        let payload = Payload::from_text(text.clone()).expect("a golden is JSON");
        let message = Message::decode(&kind, &payload).unwrap_or_else(|e| panic!("{kind}: {e:?}"));
        assert_eq!(message.kind(), kind);
        assert_eq!(Some(message.class()), Message::class_of(&kind));
        let written: Value = message.encode().parse().expect("what we write is JSON");
        let reviewed: Value = serde_json::from_str(&text).expect("a golden is JSON");
        assert_eq!(written, reviewed, "{kind}");
    }
}

#[test]
fn unknown_fields_are_ignored_everywhere() {
    for (kind, text) in goldens() {
        let mut body: Value = serde_json::from_str(&text).expect("a golden is JSON");
        body["a_field_of_the_future"] = serde_json::json!({"nested": [1, null]});
        let message = Message::decode(&kind, &Payload::of(&body));
        assert!(message.is_ok(), "{kind}: {message:?}");
    }
}

#[test]
fn a_missing_required_field_is_malformed_and_names_the_kind() {
    for (kind, _) in goldens() {
        let error = Message::decode(&kind, &Payload::of(&serde_json::json!({}))).unwrap_err();
        assert_eq!(error.to_string(), format!("`{kind}` has a body of the wrong shape"));
    }
}
