//! One browser's share of the live view, for who sees some host groups only.
//!
//! Updates are written as text once for all. Few people have a narrowed view, so for them each text
//! is read again and what is not theirs is taken out.

use std::collections::HashSet;

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::auth::Scope;

/// Takes out of the updates what is not within some host groups.
pub(crate) struct Narrow {
    scope: Scope,
    /// The hosts that the browser has been shown.
    hosts: HashSet<String>,
    jobs: HashSet<String>,
}

impl Narrow {
    /// Keeps what is in `scope`.
    pub(crate) fn new(scope: Scope) -> Self {
        Self { scope, hosts: HashSet::new(), jobs: HashSet::new() }
    }

    /// What the browser may know of `text`; `None` for nothing.
    pub(crate) fn keep(&mut self, text: Utf8Bytes) -> Option<Utf8Bytes> {
        if self.scope == Scope::All {
            return Some(text);
        }
        let mut update: Value = serde_json::from_str(text.as_str()).ok()?;
        let kept = match update["kind"].as_str()? {
            "snapshot" | "snapshot.part" => self.snapshot(&mut update),
            "host" => return self.host(&update, text),
            "host.removed" => self.hosts.remove(update["host_id"].as_str()?),
            "job" => self.job(&update["job"]),
            "job.progress" => self.jobs.contains(update["job_id"].as_str()?),
            "alert" => self.is_about_theirs(&update["alert"]),
            _ => false,
        };
        kept.then(|| update.to_string().into())
    }

    fn snapshot(&mut self, update: &mut Value) -> bool {
        retain(update.get_mut("hosts"), |host| {
            let theirs = self.scope.holds(host["host_group"].as_str().unwrap_or_default());
            theirs && host["id"].as_str().is_some_and(|id| self.hosts.insert(id.to_owned()))
        });
        retain(update.get_mut("jobs"), |job| self.job(job));
        retain(update.get_mut("alerts"), |alert| self.is_about_theirs(alert));
        true
    }

    /// A host that went to another host group is gone, for who does not see that one.
    fn host(&mut self, update: &Value, text: Utf8Bytes) -> Option<Utf8Bytes> {
        let host = &update["host"];
        let id = host["id"].as_str()?;
        if self.scope.holds(host["host_group"].as_str()?) {
            self.hosts.insert(id.to_owned());
            return Some(text);
        }
        let known = self.hosts.remove(id);
        let gone = json!({"kind": "host.removed", "rev": update["rev"], "host_id": id});
        known.then(|| gone.to_string().into())
    }

    fn job(&mut self, job: &Value) -> bool {
        let theirs = job["host_id"].as_str().is_some_and(|host| self.hosts.contains(host));
        if let Some(id) = job["id"].as_str() {
            if theirs && job["finished_at"].is_null() {
                self.jobs.insert(id.to_owned());
            } else {
                self.jobs.remove(id);
            }
        }
        theirs
    }

    fn is_about_theirs(&self, alert: &Value) -> bool {
        let subjects = alert["subjects"].as_array().map(Vec::as_slice).unwrap_or_default();
        let theirs = |subject: &Value| {
            subject["host_id"].as_str().is_some_and(|host| self.hosts.contains(host))
        };
        !subjects.is_empty() && subjects.iter().all(theirs)
    }
}

fn retain(list: Option<&mut Value>, keep: impl FnMut(&Value) -> bool) {
    if let Some(list) = list.and_then(Value::as_array_mut) {
        list.retain(keep);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn narrow(group: &str) -> Narrow {
        Narrow::new(Scope::of([group.to_owned()]))
    }

    fn host(id: &str, group: &str) -> Value {
        json!({"id": id, "host_group": group})
    }

    fn keep(narrow: &mut Narrow, update: &Value) -> Option<Value> {
        let kept = narrow.keep(update.to_string().into())?;
        Some(serde_json::from_str(kept.as_str()).unwrap())
    }

    #[test]
    fn of_the_fleet_only_what_is_theirs_is_left() {
        let mut view = narrow("dmz");
        let snapshot = json!({"kind": "snapshot", "rev": 1,
            "hosts": [host("a", "dmz"), host("b", "lan"), host("c", "")],
            "jobs": [{"id": "1", "host_id": "a"}, {"id": "2", "host_id": "b"}],
            "alerts": [
                {"id": "x", "subjects": [{"host_id": "a"}]},
                {"id": "y", "subjects": [{"host_id": "a"}, {"host_id": "b"}]},
                {"id": "z", "subjects": []}]});
        let kept = keep(&mut view, &snapshot).unwrap();
        let ids = |list: &str| {
            let list = kept[list].as_array().unwrap();
            list.iter().map(|it| it["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!((ids("hosts"), ids("jobs")), (vec!["a".to_owned()], vec!["1".to_owned()]));
        assert_eq!(ids("alerts"), ["x"]);
        let progress = |job| json!({"kind": "job.progress", "rev": 2, "job_id": job});
        assert!(keep(&mut view, &progress("1")).is_some());
        assert!(keep(&mut view, &progress("2")).is_none());
        assert!(keep(&mut view, &json!({"kind": "something new"})).is_none());
    }

    #[test]
    fn hosts_that_come_before_the_snapshot_are_narrowed_too() {
        let mut view = narrow("dmz");
        let part = json!({"kind": "snapshot.part", "hosts": [host("a", "dmz"), host("b", "lan")]});
        let kept = json!({"kind": "snapshot.part", "hosts": [host("a", "dmz")]});
        assert_eq!(keep(&mut view, &part), Some(kept));
        let jobs = json!([{"id": "1", "host_id": "a"}, {"id": "2", "host_id": "b"}]);
        let snapshot = json!({"kind": "snapshot", "rev": 1, "hosts": [], "jobs": jobs});
        assert_eq!(keep(&mut view, &snapshot).unwrap()["jobs"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn a_host_that_moves_comes_and_goes() {
        let mut view = narrow("dmz");
        let update = |group| json!({"kind": "host", "rev": 7, "host": host("a", group)});
        assert!(keep(&mut view, &update("lan")).is_none());
        assert_eq!(keep(&mut view, &update("dmz")), Some(update("dmz")));
        let gone = json!({"kind": "host.removed", "rev": 7, "host_id": "a"});
        assert_eq!(keep(&mut view, &update("lan")), Some(gone));
        assert!(keep(&mut view, &update("lan")).is_none());
        assert!(keep(&mut view, &json!({"kind": "job", "job": {"host_id": "a"}})).is_none());
    }

    #[test]
    fn who_sees_everything_gets_the_text_as_it_is() {
        let text = Utf8Bytes::from_static("not even JSON");
        assert_eq!(Narrow::new(Scope::All).keep(text.clone()), Some(text));
    }
}
