//! `holdfast repos` and `holdfast repo …`.

use holdfast_protocol::message::config::Secret;
use serde_json::json;

use super::Operator;
use crate::{
    cli::{self, RepoAdd},
    failure::Failure,
    input,
    model::{Repositories, Repository},
    output::{Look, Table, bytes, count},
};

/// `holdfast repo …`.
pub(super) async fn run(operator: &Operator, command: &cli::Repo) -> Result<(), Failure> {
    match command {
        cli::Repo::Add(args) => add(operator, args).await,
    }
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
