use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt, path::PathBuf};

use holdfast_engine::{Access, Restic};
use holdfast_protocol::{RepositoryId, message::config::Secret};
use tempfile::TempDir;

use super::*;

/// A restic that writes numbered blocks of 60,000 bytes for ever, or as many as it was told, and
/// counts those that it got rid of.
const STUB: &str = r#"#!/bin/sh
case "$*" in
*version*) echo "restic 0.18.0 compiled with go1.24 on linux/amd64"; exit 0 ;;
*dump*) ;;
*) exit 0 ;;
esac
n=0
while [ "$n" -lt BLOCKS ]; do
    printf '%060000d' "$n" || exit 1
    n=$((n + 1))
    printf x >> HOME/blocks
done
"#;
const BLOCK_SIZE: usize = 60_000;

/// What lies between restic and a piece that was told: the chunks that wait, the pipes and buffers
/// on the way, and the piece that was begun.
const UNDER_WAY_MAX: usize = 16 * BLOCK_SIZE;

struct Bench {
    home: TempDir,
    restic: Arc<Restic>,
    downloads: Downloads,
}

impl Bench {
    async fn new(blocks: usize) -> Self {
        let home = tempfile::tempdir().unwrap();
        let program = home.path().join("restic");
        let script = STUB
            .replace("HOME", home.path().to_str().unwrap())
            .replace("BLOCKS", &blocks.to_string());
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
        let restic = Restic::discover(Some(&program)).await.unwrap();
        Self { home, restic: Arc::new(restic), downloads: Downloads::default() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn look(&self) -> Look {
        let scratch_dir = self.path("scratch");
        fs::create_dir_all(&scratch_dir).unwrap();
        let access = Access {
            url: Secret::new(self.path("repository").to_string_lossy()),
            password: Secret::new("canary"),
            environment: BTreeMap::new(),
            ca_certificate: None,
            cache_dir: self.path("cache"),
            scratch_dir,
        };
        Look { access, restic: Arc::clone(&self.restic) }
    }

    async fn read(&self, download: u128, offset: usize) -> Result<(Vec<u8>, bool), JobError> {
        let question = Read {
            download: Uuid::from_u128(download),
            repository_id: RepositoryId::from_uuid(Uuid::from_u128(1)),
            wish: Dump {
                snapshot_id: "0123456789abcdef".to_owned(),
                path: "/file".to_owned(),
                offset_bytes: offset as u64,
            },
        };
        let piece = self.downloads.read(&question, || Ok(self.look())).await?;
        Ok((STANDARD.decode(piece.data).unwrap(), piece.last))
    }

    /// How many bytes restic got rid of.
    fn written(&self) -> usize {
        fs::read(self.path("blocks")).map_or(0, |blocks| blocks.len()) * BLOCK_SIZE
    }
}

/// The file that the stub writes.
fn content(blocks: usize) -> Vec<u8> {
    (0..blocks).flat_map(|number| format!("{number:060000}").into_bytes()).collect()
}

#[tokio::test]
async fn pieces_make_the_file_and_the_last_one_says_so() {
    let (bench, whole) = (Bench::new(9).await, content(9));
    let mut taken = Vec::new();
    loop {
        let (bytes, last) = bench.read(1, taken.len()).await.unwrap();
        assert!(bytes.len() <= PIECE_SIZE_MAX);
        let again = bench.read(1, taken.len()).await.unwrap();
        assert!(again == (bytes.clone(), last), "what may be lost on the way is told again");
        taken.extend(bytes);
        if last {
            break;
        }
    }
    assert!(taken == whole);
    assert_eq!(bench.written(), whole.len(), "restic read it once");
}

#[tokio::test]
async fn a_download_goes_on_from_anywhere() {
    let (bench, whole) = (Bench::new(9).await, content(9));
    for offset in [100_000, 0, whole.len(), 300_001] {
        let (bytes, last) = bench.read(1, offset).await.unwrap();
        assert!(bytes == whole[offset..whole.len().min(offset + PIECE_SIZE_MAX)], "{offset}");
        assert_eq!(last, whole.len() - offset < PIECE_SIZE_MAX);
    }
}

#[tokio::test]
async fn restic_is_never_far_ahead_of_who_reads() {
    let bench = Bench::new(1_000_000).await;
    let mut taken = 0;
    for _ in 0..40 {
        let (bytes, last) = bench.read(1, taken).await.unwrap();
        taken += bytes.len();
        assert!(!last && bench.written() <= taken + UNDER_WAY_MAX, "{}", bench.written());
    }
}

#[tokio::test]
async fn there_are_only_so_many_downloads_and_an_unused_one_makes_room() {
    let downloads = Downloads::default();
    let id = |number: usize| Uuid::from_u128(number as u128);
    let mut held: Vec<Slot> =
        (0..DOWNLOADS_MAX).map(|number| downloads.slot(id(number)).unwrap()).collect();
    let refused = downloads.slot(id(100)).err().unwrap();
    assert_eq!(refused.code, "too_many_downloads");
    assert!(downloads.slot(id(1)).is_ok(), "one that is under way goes on");
    held.remove(2);
    assert!(downloads.slot(id(100)).is_ok());
    assert!(!downloads.open().contains_key(&id(2)) && downloads.open().contains_key(&id(0)));
}

#[tokio::test]
async fn what_restic_did_not_end_well_is_never_the_last_piece() {
    let bench = Bench::new(2).await;
    let broken = fs::read_to_string(bench.path("restic")).unwrap() + "\nexit 1\n";
    fs::write(bench.path("restic"), broken).unwrap();
    let error = bench.read(1, 0).await.unwrap_err();
    assert_eq!(error.code, "restic_failed", "{error:?}");
    assert!(bench.downloads.open().is_empty(), "the next question begins anew");
}
