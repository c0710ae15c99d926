//! Which host has which live session. At most one each: the one with the highest epoch.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard},
};

use holdfast_link::{CloseReason, Mailbox, Unsequenced};
use holdfast_protocol::{HostId, SessionId};

#[derive(Default)]
pub(super) struct Registry {
    mailboxes: Mutex<BTreeMap<HostId, Mailbox>>,
    /// The configuration each connected host should have by now.
    owed: Mutex<BTreeMap<HostId, i64>>,
}

impl Registry {
    /// Puts a session in its host's place; whether it is the one that stays.
    ///
    /// The older session loses even when it is the healthier one. Two live sessions of one agent
    /// could run a command twice; a wrong loser costs one redial.
    pub(super) fn open(&self, host: HostId, mailbox: Mailbox) -> bool {
        let mut mailboxes = self.lock();
        if mailboxes.get(&host).is_some_and(|other| other.epoch() > mailbox.epoch()) {
            mailbox.close(CloseReason::Fenced);
            return false;
        }
        if let Some(older) = mailboxes.insert(host, mailbox) {
            older.close(CloseReason::Fenced);
        }
        true
    }

    /// Takes a session out that has ended; whether it still was its host's.
    pub(super) fn closed(&self, host: HostId, session: SessionId) -> bool {
        let mut mailboxes = self.lock();
        let current = mailboxes.get(&host).is_some_and(|mailbox| mailbox.session_id() == session);
        if current {
            mailboxes.remove(&host);
            self.owed().remove(&host);
        }
        current
    }

    pub(super) fn is_connected(&self, host: HostId) -> bool {
        self.lock().contains_key(&host)
    }

    pub(super) fn mailbox(&self, host: HostId) -> Option<Mailbox> {
        self.lock().get(&host).cloned()
    }

    pub(super) fn wake(&self, host: HostId) {
        if let Some(mailbox) = self.lock().get(&host) {
            mailbox.wake();
        }
    }

    pub(super) fn send(&self, host: HostId, message: &Unsequenced) {
        if let Some(mailbox) = self.lock().get(&host) {
            mailbox.send(message.clone());
        }
    }

    pub(super) fn close(&self, host: HostId, reason: CloseReason) {
        if let Some(mailbox) = self.lock().get(&host) {
            mailbox.close(reason);
        }
    }

    /// The configuration of this version was sent to the host, or should have been.
    pub(super) fn owe_config(&self, host: HostId, version: i64) {
        self.owed().insert(host, version);
    }

    /// As [`owe_config`](Self::owe_config), unless a newer one has been sent meanwhile.
    pub(super) fn owe_first_config(&self, host: HostId, version: i64) {
        self.owed().entry(host).or_insert(version);
    }

    /// Whether a host that has `version` in force lacks what it was sent.
    pub(super) fn lacks_config(&self, host: HostId, version: i64) -> bool {
        self.owed().get(&host).is_some_and(|owed| version < *owed)
    }

    /// Whether a host has a later configuration in force than this server ever made.
    pub(super) fn is_overtaken(&self, host: HostId, version: i64) -> bool {
        self.owed().get(&host).is_some_and(|owed| version > *owed)
    }

    fn owed(&self) -> MutexGuard<'_, BTreeMap<HostId, i64>> {
        self.owed.lock().expect("nothing panics while holding it")
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<HostId, Mailbox>> {
        self.mailboxes.lock().expect("nothing panics while holding it")
    }
}
