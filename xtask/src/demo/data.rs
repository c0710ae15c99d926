//! The three hosts of the demo and the real files they have.

use std::path::{Path, PathBuf};

use anyhow::Result;
use holdfast_e2e::data;

use super::size::Size;
use crate::workspace;

/// How many small files the laptop has.
const SMALL_FILES: usize = 20_000;

/// The same bytes in every demo.
const SEED: u64 = 0x5eed;

/// One host, what it backs up, and the file whose restore is the proof.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) name: &'static str,
    pub(crate) group: &'static str,
    /// When it is backed up without being told to.
    pub(crate) cron: &'static str,
    pub(crate) what: String,
    pub(crate) source: PathBuf,
    pub(crate) excludes: Vec<String>,
    pub(crate) proof: PathBuf,
}

/// Makes the files below `folder`; the checkout is there already.
pub(crate) fn lay_out(folder: &Path, size: Size) -> Result<Vec<Host>> {
    let (notes, tables) = (folder.join("notes"), folder.join("tables"));
    data::small_files(&notes, SMALL_FILES, SEED)?;
    data::sparse_and_random(&tables, size.0, SEED)?;
    Ok(vec![checkout(), laptop(notes), database(tables, size)])
}

fn checkout() -> Host {
    let source = workspace::root();
    Host {
        name: "web-1",
        group: "checkout",
        cron: "0 3 * * *",
        what: "this checkout".into(),
        proof: source.join("rust-toolchain.toml"),
        excludes: vec![
            workspace::target().display().to_string(),
            source.join("target").display().to_string(),
            "node_modules".into(),
        ],
        source,
    }
}

fn laptop(source: PathBuf) -> Host {
    Host {
        name: "laptop-1",
        group: "notes",
        cron: "40 8-18 * * 1-5",
        what: format!("{SMALL_FILES} small files"),
        proof: source.join("123/note-12345.dat"),
        excludes: Vec::new(),
        source,
    }
}

fn database(source: PathBuf, size: Size) -> Host {
    Host {
        name: "db-1",
        group: "tables",
        cron: "30 */6 * * *",
        what: format!("{size}, random and sparse"),
        proof: source.join("reserve-1.dat"),
        excludes: Vec::new(),
        source,
    }
}
