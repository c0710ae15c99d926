//! `holdfast repos` and `holdfast repo …`.

use std::process::ExitCode;

use holdfast_protocol::message::config::Secret;
use serde_json::{Map, json};

use super::{Operator, maintain, operate};
use crate::{
    cli::{self, RepoAdd, operate::Credentials},
    failure::Failure,
    input,
    model::{Repositories, Repository},
    output::{Look, Table, bytes, count},
};

/// `holdfast repo …`.
pub(super) async fn run(operator: &Operator, command: &cli::Repo) -> Result<ExitCode, Failure> {
    match command {
        cli::Repo::Add(args) => add(operator, args).await?,
        cli::Repo::Check(args) => return operate::check(operator, args).await,
        cli::Repo::Credentials(args) => credentials(operator, args).await?,
        cli::Repo::Init(runner) => return operate::init(operator, runner).await,
        cli::Repo::Maintain(args) => maintain::set(operator, args).await?,
        cli::Repo::Show(repository) => maintain::show(operator, &repository.name).await?,
        cli::Repo::Prune(args) => return operate::prune(operator, args).await,
        cli::Repo::Stats(args) => return operate::stats(operator, args).await,
        cli::Repo::Unlock(args) => return operate::unlock(operator, args).await,
    }
    Ok(ExitCode::SUCCESS)
}

/// `holdfast repos`.
pub(super) async fn list(operator: &Operator) -> Result<(), Failure> {
    let answer = operator.client.fetch(&["repositories"], &[]).await?;
    let repositories: Repositories = operator.read(&answer)?;
    operator.screen.show(&answer, |look| table(&repositories.repositories, look));
    Ok(())
}

async fn add(operator: &Operator, args: &RepoAdd) -> Result<(), Failure> {
    let url = url(args)?;
    let password = input::secret(&args.password_file, "repository password")?;
    let environment =
        args.environment_file.as_deref().map(input::environment).transpose()?.unwrap_or_default();
    let body = json!({
        "name": args.name,
        "url": url,
        "password": password,
        "environment": environment,
    });
    let answer = operator.client.post(&["repositories"], &body).await?;
    operator.screen.show(&answer, |_| format!("Repository `{}` is added.\n", args.name));
    Ok(())
}

async fn credentials(operator: &Operator, args: &Credentials) -> Result<(), Failure> {
    let path = ["repositories", &args.name, "credentials", args.slot.as_str()];
    let slot = args.slot.as_str();
    if args.clear {
        let answer = operator.client.delete(&path).await?;
        operator.screen.show(&answer, |_| {
            format!("Slot `{slot}` of repository `{}` is cleared.\n", args.name)
        });
        return Ok(());
    }
    let mut body = Map::new();
    for (field, file, noun) in [
        ("url", &args.url_file, "repository location"),
        ("password", &args.password_file, "repository password"),
        ("ca_certificate", &args.ca_file, "certificate"),
    ] {
        if let Some(file) = file {
            body.insert(field.to_owned(), json!(input::secret(file, noun)?));
        }
    }
    if let Some(file) = &args.environment_file {
        body.insert("environment".to_owned(), json!(input::environment(file)?));
    }
    if body.is_empty() {
        let advice = "Use --password-file, --url-file, --environment-file, --ca-file or --clear.";
        return Err(Failure::new("It is not said what to change.", advice));
    }
    let answer = operator.client.put(&path, &body.into()).await?;
    operator
        .screen
        .show(&answer, |_| format!("Slot `{slot}` of repository `{}` is changed.\n", args.name));
    Ok(())
}

fn url(args: &RepoAdd) -> Result<Secret, Failure> {
    if let Some(file) = &args.url_file {
        return input::secret(file, "repository location");
    }
    let url = args.url.as_deref().unwrap_or_default();
    if carries_password(url) {
        return Err(Failure::new(
            "The repository location carries a password, which the command line would show.",
            "Write the location into a file that only you can read, and use --url-file.",
        ));
    }
    Ok(Secret::new(url))
}

/// Whether `url` has the form `…//user:password@…`.
fn carries_password(url: &str) -> bool {
    let Some((_, rest)) = url.split_once("://") else { return false };
    let authority = rest.split('/').next().unwrap_or_default();
    authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'))
}

fn table(repositories: &[Repository], look: &Look) -> String {
    let heads = ["REPOSITORY", "KIND", "LOCATION", "HOSTS", "SNAPSHOTS", "SIZE"];
    let mut table =
        Table::new(&heads, "No repositories yet. Add one with `holdfast repo add NAME`.");
    for repository in repositories {
        let size = repository.total_size_bytes.map(bytes);
        table.row([
            repository.name.as_str().into(),
            repository.kind.as_str().into(),
            repository.location.as_str().into(),
            count(repository.host_count).into(),
            repository.snapshot_count.map_or_else(|| "-".to_owned(), count).into(),
            size.unwrap_or_else(|| "-".to_owned()).into(),
        ]);
    }
    table.render(look)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::test_look;

    #[test]
    fn a_password_in_a_location_is_noticed() {
        assert!(carries_password("rest:https://user:secret@backup.example/"));
        assert!(!carries_password("rest:https://backup.example:8000/a@b"));
        assert!(!carries_password("sftp:user@host:/srv"));
        assert!(!carries_password("/srv/backup"));
    }

    #[test]
    fn unknown_sizes_are_dashes() {
        let repository = Repository {
            name: "main".into(),
            kind: "local".into(),
            location: "/srv/backup".into(),
            snapshot_count: Some(1200),
            total_size_bytes: None,
            host_count: 3,
        };
        let text = table(&[repository], &test_look());
        assert!(text.ends_with("main        local  /srv/backup  3      1,200      -\n"), "{text}");
    }
}
