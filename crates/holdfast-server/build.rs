//! Has the crate rebuilt when the dashboard's files change.
//!
//! Release builds take the files of `web/dist` into the binary one by one, so the compiler alone
//! would not notice a new one.

use std::{fs, path::Path};

fn main() {
    let dist = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../web/dist");
    // cargo takes a missing path as changed in every build. An empty directory is what a checkout
    // without a built dashboard needs; if it cannot be made, builds are only slower.
    let _ = fs::create_dir_all(&dist);
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={}", dist.display());
}
