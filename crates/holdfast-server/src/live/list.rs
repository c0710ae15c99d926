//! The hosts as a list: those that match, in some order, a page at a time.
//!
//! It is read from memory: a page of a fleet of ten thousand must not cost ten thousand rows.

use super::{Live, State};
use crate::{
    auth::Scope,
    verdict::Standing,
    view::{GroupView, HostPage, HostState, HostView},
};

/// Which hosts to list, and how.
pub(crate) struct HostQuery {
    /// Only hosts of these groups.
    pub(crate) scope: Scope,
    /// Only hosts in which each of these words is found, in small letters.
    pub(crate) words: Vec<String>,
    pub(crate) state: Option<HostState>,
    pub(crate) standing: Option<Standing>,
    /// Only hosts of this group; of none for an empty text.
    pub(crate) host_group: Option<String>,
    pub(crate) sort: HostSort,
    /// The cursor of the page before.
    pub(crate) after: Option<String>,
    pub(crate) limit: usize,
}

/// In which order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum HostSort {
    #[default]
    Name,
    /// The worst first.
    Standing,
    /// Those whose last backup is the oldest first, and before them those without one.
    LastBackup,
    /// Those whose next backup comes first, and behind them those without one.
    NextBackup,
}

impl Live {
    /// A page of hosts, as they are now.
    pub(crate) async fn list_hosts(&self, query: &HostQuery) -> HostPage {
        self.catch_up_for_good().await;
        self.state().page(query)
    }

    /// All hosts as they are now, by name.
    pub async fn hosts(&self) -> Vec<HostView> {
        self.hosts_in(&Scope::All).await
    }

    /// The hosts in `scope` as they are now, by name.
    pub(crate) async fn hosts_in(&self, scope: &Scope) -> Vec<HostView> {
        self.catch_up_for_good().await;
        let mut hosts = self.state().hosts();
        hosts.retain(|host| scope.holds(&host.host_group));
        hosts.sort_by(|a, b| a.name.cmp(&b.name));
        hosts
    }
}

impl State {
    fn page(&self, query: &HostQuery) -> HostPage {
        let matching = self.all_hosts().filter(|host| query.holds(host));
        let mut matching: Vec<(String, &HostView)> =
            matching.map(|host| (query.sort.place(host), host)).collect();
        let total = matching.len() as u64;
        if let Some(after) = &query.after {
            matching.retain(|(place, _)| place > after);
        }
        matching.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        let more = matching.len() > query.limit;
        matching.truncate(query.limit);
        let next = matching.last().filter(|_| more).map(|(place, _)| place.clone());
        HostPage {
            hosts: matching.into_iter().map(|(_, host)| host.clone()).collect(),
            total,
            next,
        }
    }
}

impl HostQuery {
    fn holds(&self, host: &HostView) -> bool {
        self.scope.holds(&host.host_group)
            && self.state.is_none_or(|state| state == host.state)
            && self.standing.is_none_or(|standing| standing == host.verdict.standing)
            && self.host_group.as_ref().is_none_or(|group| *group == host.host_group)
            && self.finds(host)
    }

    fn finds(&self, host: &HostView) -> bool {
        if self.words.is_empty() {
            return true;
        }
        let labels = host.labels.iter().flat_map(|(name, value)| [name, value]);
        let groups = host.groups.iter().flat_map(names);
        let own = [&host.name, &host.hostname, &host.host_group, &host.os, &host.arch];
        let texts: Vec<String> =
            own.into_iter().chain(labels).chain(groups).map(|text| text.to_lowercase()).collect();
        self.words.iter().all(|word| texts.iter().any(|text| text.contains(word)))
    }
}

fn names(group: &GroupView) -> [&String; 2] {
    [&group.name, &group.repository_name]
}

impl HostSort {
    /// The order by its word.
    pub(crate) fn from_word(word: &str) -> Option<Self> {
        match word {
            "name" => Some(Self::Name),
            "standing" => Some(Self::Standing),
            "last_backup" => Some(Self::LastBackup),
            "next_backup" => Some(Self::NextBackup),
            _ => None,
        }
    }

    /// Where a host stands in this order, as a text. No two hosts have one name, so no two stand
    /// at one place, and the place of the last host of a page is the cursor of the next one.
    fn place(self, host: &HostView) -> String {
        let name = &host.name;
        match self {
            Self::Name => name.clone(),
            Self::Standing => {
                let good = Standing::Never as u8 - host.verdict.standing as u8;
                format!("{good} {name}")
            }
            Self::LastBackup => {
                let at = host.last_backup.as_ref().map(|backup| backup.finished_at);
                format!("{:015} {name}", at.map_or(0, |at| at.as_millisecond().max(1)))
            }
            Self::NextBackup => {
                let at = host.next_backup_at.map(|at| at.as_millisecond().max(1));
                format!("{:015} {name}", at.unwrap_or(999_999_999_999_999))
            }
        }
    }
}
