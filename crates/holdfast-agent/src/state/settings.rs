//! What the server wants this host to know: its configuration and its schedules, the newest of
//! each.

use holdfast_protocol::{
    DecodeError, Message, Payload,
    message::config::{self, Secret, Update},
    message::schedule::{self, Set},
};
use jiff::Timestamp;
use redb::{ReadTransaction, WriteTransaction};

use super::{
    outbox,
    table::{self, CONFIG, SCHEDULES, TEXTS},
};
use crate::seal::Sealer;

/// The configuration and the schedules in force.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// The configuration; absent until the server has sent one.
    pub config: Option<Update>,
    /// The schedules; absent until the server has sent some.
    pub schedules: Option<Set>,
}

impl Settings {
    /// The configuration's version, 0 for none.
    #[must_use]
    pub fn config_version(&self) -> i64 {
        self.config.as_ref().map_or(0, |config| config.version)
    }

    /// The repository `id`, if this host may use it.
    #[must_use]
    pub fn repository(&self, id: holdfast_protocol::RepositoryId) -> Option<&config::Repository> {
        self.config.as_ref()?.repositories.iter().find(|repository| repository.id == id)
    }

    /// The source group `name`.
    #[must_use]
    pub fn group(&self, name: &str) -> Option<&config::Group> {
        self.config.as_ref()?.groups.iter().find(|group| group.name == name)
    }

    /// What `kind` and `payload` change, when they change anything.
    pub(super) fn change(
        &self,
        kind: &str,
        payload: &Payload,
    ) -> Result<Option<Change>, DecodeError> {
        let change = match Message::decode(kind, payload)? {
            Message::ConfigUpdate(update) => Change::Config(update),
            Message::ScheduleSet(set) => Change::Schedules(set),
            _ => return Ok(None),
        };
        Ok(self.is_older_than(&change).then_some(change))
    }

    // The server sends both again at the start of every session, so the version in force is the
    // usual case: storing it again would only wear the disk.
    fn is_older_than(&self, change: &Change) -> bool {
        match change {
            Change::Config(update) => {
                self.config.as_ref().is_none_or(|current| update.version > current.version)
            }
            Change::Schedules(set) => {
                self.schedules.as_ref().is_none_or(|current| set.version > current.version)
            }
        }
    }

    /// The settings with `change` in force.
    pub(super) fn with(mut self, change: Change) -> Self {
        match change {
            Change::Config(update) => self.config = Some(update),
            Change::Schedules(set) => self.schedules = Some(set),
        }
        self
    }
}

/// A newer version of one of the settings.
#[derive(Debug, Clone)]
pub(super) enum Change {
    /// A configuration.
    Config(Update),
    /// A set of schedules.
    Schedules(Set),
}

/// Stores `change` and the record that says so. A configuration holds credentials, so it is sealed.
pub(super) fn store(
    txn: &WriteTransaction,
    change: &Change,
    sealer: &Sealer,
) -> Result<(), redb::Error> {
    let applied_at = Timestamp::now();
    let (name, row, reply) = match change {
        Change::Config(update) => {
            let applied = config::Applied { version: update.version, applied_at };
            let row = sealer.seal(CONFIG, &table::to_json(update));
            (CONFIG, row, Message::ConfigApplied(applied))
        }
        Change::Schedules(set) => {
            let ack = schedule::Ack { version: set.version, applied_at };
            (SCHEDULES, table::to_json(set), Message::ScheduleAck(ack))
        }
    };
    table::set_text(txn, name, &row)?;
    outbox::append(txn, &reply)?;
    Ok(())
}

/// What is stored.
pub(super) fn load(txn: &ReadTransaction, sealer: &Sealer) -> Result<Settings, redb::Error> {
    let texts = txn.open_table(TEXTS)?;
    let config = texts.get(CONFIG)?.and_then(|row| open(row.value(), sealer));
    let config = config.map(|text| table::from_json(text.expose())).transpose()?;
    let schedules = texts.get(SCHEDULES)?.map(|row| table::from_json(row.value())).transpose()?;
    Ok(Settings { config, schedules })
}

/// The stored configuration. One that does not open is as good as none: the key is another one, and
/// the server sends the configuration again as soon as it hears that there is none.
fn open(row: &str, sealer: &Sealer) -> Option<Secret> {
    let opened = sealer.unseal(CONFIG, row);
    if let Err(error) = &opened {
        tracing::error!(
            %error,
            "the stored configuration is lost; nothing is backed up until the server has sent it \
             again",
        );
    }
    opened.ok()
}

/// Forgets both.
pub(super) fn clear(txn: &WriteTransaction) -> Result<(), redb::Error> {
    let mut texts = txn.open_table(TEXTS)?;
    texts.remove(CONFIG)?;
    texts.remove(SCHEDULES)?;
    Ok(())
}
