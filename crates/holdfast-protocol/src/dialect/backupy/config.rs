//! Source groups as Backupy's jobs with their targets, and back.
//!
//! Backupy backs databases up, not folders. A source group for such a host names its database in
//! its first include, as an address:
//! `postgresql://USER@HOST:PORT/DATABASE?secret=REF&container=ID&strategy=docker_exec`.

use crate::{
    dialect::{Ledger, convert},
    message::{
        config::{Group, Update},
        schedule,
    },
};

use super::wire::{
    AgentConfig, BackupJobSpec, ConnectionConfig, ConnectionStrategy, DbType, Target,
};

/// Names of the databases, as their discovery spells them.
const DATABASES: [(&str, DbType); 6] = [
    ("postgresql", DbType::Postgresql),
    ("mysql", DbType::Mysql),
    ("mariadb", DbType::Mariadb),
    ("mongodb", DbType::Mongodb),
    ("redis", DbType::Redis),
    ("sqlite", DbType::Sqlite),
];

const STRATEGIES: [(&str, ConnectionStrategy); 3] = [
    ("tcp", ConnectionStrategy::Tcp),
    ("docker_exec", ConnectionStrategy::DockerExec),
    ("unix_socket", ConnectionStrategy::UnixSocket),
];

/// A host's whole configuration; a part is never sent, because their agent replaces all it has.
///
/// A group whose first include is no database address has no target and is left out.
#[must_use]
pub fn agent_config(update: &Update, schedules: Option<&schedule::Set>) -> AgentConfig {
    let groups = || update.groups.iter().filter_map(|group| Some((group, target_of(group)?)));
    AgentConfig {
        version: convert::count(update.version),
        targets: groups().map(|(_, target)| target).collect(),
        jobs: groups().map(|(group, target)| spec_of(group, target.id, schedules)).collect(),
        ..AgentConfig::default()
    }
}

fn target_of(group: &Group) -> Option<Target> {
    let (database, connection) = parse(group.includes.first()?)?;
    Some(Target {
        id: group.name.clone(),
        r#type: database.into(),
        display_name: group.name.clone(),
        connection: Some(connection),
    })
}

fn spec_of(group: &Group, target: String, schedules: Option<&schedule::Set>) -> BackupJobSpec {
    BackupJobSpec {
        id: group.name.clone(),
        target_id: target,
        cron: cron_of(&group.name, schedules),
        compression: "zstd".to_owned(),
        encryption_enabled: true,
        ..BackupJobSpec::default()
    }
}

/// Their cron is in UTC; one of another zone cannot be said and is left to the server.
fn cron_of(group: &str, schedules: Option<&schedule::Set>) -> String {
    let all = schedules.into_iter().flat_map(|set| &set.schedules);
    let utc = |zone: &str| ["UTC", "Etc/UTC", "Z"].contains(&zone);
    all.filter(|one| one.enabled && utc(&one.time_zone))
        .find(|one| one.source_groups.iter().any(|name| name == group))
        .map(|one| one.cron_expr.clone())
        .unwrap_or_default()
}

/// The configuration their server gives, as one of ours.
///
/// Repositories have no place in it: an upload's address comes with each run.
#[must_use]
pub fn update_of(config: &AgentConfig, ledger: &Ledger, host_name: &str) -> Update {
    let group = |spec: &BackupJobSpec| {
        let target = config.targets.iter().find(|target| target.id == spec.target_id)?;
        Some(Group::new(
            spec.id.clone(),
            ledger.repository_of(&spec.id),
            vec![address(target)],
            Vec::new(),
        ))
    };
    Update {
        version: convert::signed(config.version),
        host_name: host_name.to_owned(),
        repositories: Vec::new(),
        groups: config.jobs.iter().filter_map(group).collect(),
    }
}

/// Whether `text` is a database's address, as the first include of a group for such a host.
#[must_use]
pub fn is_database(text: &str) -> bool {
    parse(text).is_some()
}

fn parse(address: &str) -> Option<(DbType, ConnectionConfig)> {
    let (scheme, rest) = address.split_once("://")?;
    let (_, database) = DATABASES.into_iter().find(|(name, _)| *name == scheme)?;
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (host, path) = place.split_once('/').unwrap_or((place, ""));
    let (username, host) = host.rsplit_once('@').unwrap_or(("", host));
    let (host, port) = host.rsplit_once(':').unwrap_or((host, "0"));
    let option = |name: &str| {
        let mut options = query.split('&').filter_map(|option| option.split_once('='));
        options.find(|(key, _)| *key == name).map(|(_, value)| value).unwrap_or_default()
    };
    let strategy = option("strategy");
    let strategy = STRATEGIES.into_iter().find(|(name, _)| *name == strategy);
    let connection = ConnectionConfig {
        host: host.to_owned(),
        port: port.parse().ok()?,
        database: path.to_owned(),
        username: username.to_owned(),
        password_secret_ref: option("secret").to_owned(),
        container_id: option("container").to_owned(),
        strategy: strategy.map_or(ConnectionStrategy::Tcp, |(_, strategy)| strategy).into(),
    };
    Some((database, connection))
}

fn address(target: &Target) -> String {
    let connection = target.connection.clone().unwrap_or_default();
    let scheme = DATABASES.into_iter().find(|(_, database)| *database == target.r#type());
    let scheme = scheme.map_or("unknown", |(name, _)| name);
    let user = Some(&connection.username).filter(|name| !name.is_empty());
    let user = user.map(|name| format!("{name}@")).unwrap_or_default();
    let port = if connection.port == 0 { String::new() } else { format!(":{}", connection.port) };
    let strategy = STRATEGIES.into_iter().find(|(_, one)| *one == connection.strategy());
    let strategy = strategy.map_or("tcp", |(name, _)| name);
    let options = [
        ("secret", connection.password_secret_ref.as_str()),
        ("container", connection.container_id.as_str()),
        ("strategy", if strategy == "tcp" { "" } else { strategy }),
    ];
    let options: Vec<String> = options
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let query = if options.is_empty() { String::new() } else { format!("?{}", options.join("&")) };
    let (host, database) = (&connection.host, &connection.database);
    format!("{scheme}://{user}{host}{port}/{database}{query}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(text: &str) -> String {
        let (database, connection) = parse(text).expect("a database's address");
        address(&Target {
            r#type: database.into(),
            connection: Some(connection),
            ..Target::default()
        })
    }

    #[test]
    fn a_database_address_survives_the_way_there_and_back() {
        for text in [
            "postgresql://app@db:5432/shop?secret=PG_PASSWORD",
            "mysql://db/shop",
            "redis://:6379/?container=c1&strategy=docker_exec",
            "sqlite:///var/lib/app.db",
        ] {
            assert_eq!(round_trip(text), text);
        }
    }

    #[test]
    fn a_folder_and_a_broken_port_are_no_database() {
        assert!(parse("/home").is_none());
        assert!(parse("https://db/shop").is_none());
        assert!(parse("mysql://db:many/shop").is_none());
    }
}
