//! Parameters and results of jobs pinned: each operation has reviewed ones in `job_goldens/`, which
//! must read and write the same.

use std::{collections::BTreeSet, fs, path::Path};

use holdfast_protocol::message::{
    job::Operation,
    parameters::{Parameters, ReadData, Target},
    result,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

fn goldens(folder: &str) -> Vec<(String, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/job_goldens").join(folder);
    fs::read_dir(folder)
        .expect("the folder of goldens is in the tree")
        .map(|entry| entry.expect("a readable folder").path())
        .map(|path| {
            let name = path.file_stem().expect("a file name").to_string_lossy().into_owned();
            let text = fs::read_to_string(path).expect("a readable golden");
            (name, serde_json::from_str(&text).expect("a golden is JSON"))
        })
        .collect()
}

fn words() -> BTreeSet<String> {
    Operation::ALL.iter().map(|operation| operation.as_str().to_owned()).collect()
}

fn same<T: DeserializeOwned + Serialize>(golden: &Value) {
    let read: T =
        serde_json::from_value(golden.clone()).unwrap_or_else(|e| panic!("{golden}: {e}"));
    assert_eq!(serde_json::to_value(read).expect("what we write is JSON"), *golden);
}

#[test]
fn every_operation_has_parameters_that_read_and_write_the_same() {
    let goldens = goldens("parameters");
    assert_eq!(goldens.iter().map(|(name, _)| name.clone()).collect::<BTreeSet<_>>(), words());
    for (name, golden) in goldens {
        same::<Parameters>(&golden);
        let parameters: Parameters = serde_json::from_value(golden).expect("it was read before");
        assert_eq!(parameters.operation().as_str(), name);
    }
}

#[test]
fn every_operation_has_a_result_that_reads_and_writes_the_same() {
    let goldens = goldens("results");
    // A backup's result is restic's own summary, and the entries of a directory are told apart.
    let mut expected = words();
    expected.remove("backup");
    expected.insert("ls.entry".to_owned());
    assert_eq!(goldens.iter().map(|(name, _)| name.clone()).collect::<BTreeSet<_>>(), expected);
    for (name, golden) in goldens {
        match name.as_str() {
            "init" => same::<result::Initialised>(&golden),
            "snapshots" => same::<result::Listed>(&golden),
            "ls" => same::<result::Listing>(&golden),
            "ls.entry" => same::<result::Entry>(&golden),
            "dump" => same::<result::Dumped>(&golden),
            "diff" => same::<result::Difference>(&golden),
            "restore" => same::<result::Restored>(&golden),
            "tag" => same::<result::Retagged>(&golden),
            "forget" => same::<result::Forgotten>(&golden),
            "prune" => same::<result::Pruned>(&golden),
            "check" => same::<result::Checked>(&golden),
            "stats" => same::<result::Sizes>(&golden),
            "unlock" => same::<result::Unlocked>(&golden),
            other => panic!("no type for {other}"),
        }
    }
}

#[test]
fn a_wish_that_is_not_understood_refuses_the_whole() {
    for (name, mut golden) in goldens("parameters") {
        golden["a_wish_of_the_future"] = json!(true);
        let read = serde_json::from_value::<Parameters>(golden);
        // Those without parameters have nothing that a new wish could change.
        assert_eq!(read.is_err(), !matches!(name.as_str(), "init" | "snapshots"), "{name}");
    }
    for hostile in [
        json!({"kind": "check", "args": ["--password-command=x"]}),
        json!({"kind": "rebuild"}),
        json!({"kind": "forget", "which": {"policy": {"keep": {"keep_last": 0}}}}),
        json!({"kind": "forget", "which": {"policy": {"keep": {"keep_within": "1 year"}}}}),
        json!({"kind": "forget", "which": {"policy": {"keep": {"keep_forever": true}}}}),
        json!({"kind": "forget", "which": {"policy": {"tga": "home", "keep": {"keep_last": 1}}}}),
        json!({"kind": "prune", "max_unused": "--x"}),
        json!({"kind": "check", "read_data": {"part": {"number": 0, "of": 2}}}),
    ] {
        assert!(serde_json::from_value::<Parameters>(hostile.clone()).is_err(), "{hostile}");
    }
}

#[test]
fn the_least_that_can_be_asked_is_the_harmless_thing() {
    let read = |value| serde_json::from_value::<Parameters>(value).expect("it is enough");
    assert!(
        matches!(read(json!({"kind": "unlock"})), Parameters::Unlock(unlock) if !unlock.remove_all)
    );
    assert!(
        matches!(read(json!({"kind": "check"})), Parameters::Check(check) if check.read_data.is_none())
    );
    let restore = json!({"kind": "restore", "snapshot_id": "aaaaaaaa", "target": "original"});
    assert!(
        matches!(read(restore), Parameters::Restore(restore) if restore.target == Target::Original)
    );
    let nowhere = json!({"kind": "restore", "snapshot_id": "aaaaaaaa"});
    assert!(serde_json::from_value::<Parameters>(nowhere).is_err(), "there is no default target");
    let all = json!({"kind": "check", "read_data": "all"});
    assert!(
        matches!(read(all), Parameters::Check(check) if check.read_data == Some(ReadData::All))
    );
}
