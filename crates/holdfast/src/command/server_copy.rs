//! `holdfast server backup` and `holdfast server restore`: the control plane's own copy.

use std::{
    fs::DirBuilder,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process::ExitCode,
};

use holdfast_server::{
    own_backup::{self, CopyError, Manifest},
    store::Store,
};
use serde_json::json;

use super::{runtime, token::failure};
use crate::{
    cli::{CopyArgs, ServerCopy},
    failure::Failure,
    input,
    output::Screen,
    restic::Depot,
};

/// `holdfast server backup` and `holdfast server restore`.
pub(super) fn run(command: &ServerCopy, screen: &Screen) -> Result<ExitCode, Failure> {
    match command {
        ServerCopy::Backup(copy) => backup(copy, screen)?,
        ServerCopy::Restore { copy, snapshot } => restore(copy, snapshot, screen)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn backup(copy: &CopyArgs, screen: &Screen) -> Result<(), Failure> {
    if !copy.data.is_dir() {
        return Err(Failure::new(
            format!("There is no data directory `{}`.", copy.data.display()),
            "Name the directory that the server runs with.",
        ));
    }
    let manifest = runtime()?.block_on(async {
        let store = Store::open(&copy.data).await;
        let store = store.map_err(|error| failure(&error, error.action()))?;
        let made = copy_out(copy, &store).await;
        // The alarm watches over these: a timer that fails at night is nobody's screen.
        let why = made.as_ref().err().map(in_brief);
        let noted = store.note_own_backup(why.as_deref().map_or(Ok(()), Err)).await;
        store.close().await;
        let manifest = made?;
        noted.map_err(|error| failure(&error, error.action()))?;
        Ok::<_, Failure>(manifest)
    })?;
    let anchor = format!("{}:{}", manifest.audit.seq, manifest.audit.hash);
    let answer = json!({ "made_at": manifest.made_at, "audit_anchor": anchor });
    screen.show(&answer, |_| format!("The control plane is backed up.\naudit anchor: {anchor}\n"));
    Ok(())
}

async fn copy_out(copy: &CopyArgs, store: &Store) -> Result<Manifest, Failure> {
    let passphrase = input::secret(&copy.passphrase_file, "passphrase")?;
    let depot = depot(copy)?;
    // On the same disk, where there is room for the database if there is any.
    let staging = Staging::beside(&copy.data)?;
    let made = own_backup::prepare(store, &copy.data, &staging.path, &passphrase).await;
    let manifest = made.map_err(refused)?;
    depot.store(&staging.path)?;
    Ok(manifest)
}

/// The failure in a few words. restic's own, after the colon, may name more than an alert should.
fn in_brief(failure: &Failure) -> String {
    let words = failure.message().split(": ").next().unwrap_or_default();
    format!("{}.", words.trim_end_matches('.'))
}

fn restore(copy: &CopyArgs, snapshot: &str, screen: &Screen) -> Result<(), Failure> {
    let passphrase = input::secret(&copy.passphrase_file, "passphrase")?;
    let depot = depot(copy)?;
    let staging = Staging::beside(&copy.data)?;
    depot.fetch(snapshot, &staging.path)?;
    let restored = own_backup::restore(&staging.path, &copy.data, &passphrase);
    let manifest = runtime()?.block_on(restored).map_err(refused)?;
    let answer = json!({ "made_at": manifest.made_at, "data": copy.data });
    screen.show(&answer, |_| {
        let data = copy.data.display();
        format!(
            "The control plane of {} is back. Start it with `holdfast server --data {data}`; agents \
             give it again what it had taken since.\n",
            manifest.made_at
        )
    });
    Ok(())
}

#[expect(clippy::needless_pass_by_value, reason = "it is handed over by `map_err`")]
fn refused(error: CopyError) -> Failure {
    failure(&error, error.action())
}

fn depot(copy: &CopyArgs) -> Result<Depot, Failure> {
    let environment = copy.environment_file.as_deref().map(input::environment).transpose()?;
    let plain = environment.unwrap_or_default().into_iter();
    Ok(Depot {
        program: copy.restic.clone(),
        repository_file: absolute(&copy.repo_file)?,
        password_file: absolute(&copy.password_file)?,
        environment: plain.map(|(name, value)| (name, value.expose().to_owned())).collect(),
    })
}

/// restic runs in another folder.
fn absolute(file: &Path) -> Result<PathBuf, Failure> {
    file.canonicalize().map_err(|error| {
        Failure::new(
            format!("`{}` cannot be used: {error}.", file.display()),
            "Name a readable file.",
        )
    })
}

/// A folder for the owner only, removed with everything in it.
struct Staging {
    path: PathBuf,
}

impl Staging {
    fn beside(data: &Path) -> Result<Self, Failure> {
        let whole = std::path::absolute(data).unwrap_or_else(|_| data.to_owned());
        let name = format!(".holdfast-copy-{}", std::process::id());
        let path = whole.parent().unwrap_or(Path::new("/")).join(name);
        DirBuilder::new().mode(0o700).create(&path).map_err(|error| {
            Failure::new(
                format!("The folder `{}` cannot be made: {error}.", path.display()),
                "Check the space and the permissions beside the data directory.",
            )
        })?;
        Ok(Self { path })
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // What is left behind is sealed, and is named for what it is.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}
