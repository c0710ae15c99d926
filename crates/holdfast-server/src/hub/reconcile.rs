//! Comparing notes: jobs that the server believes an agent has, and the agent does not; and
//! configurations that never arrived.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_protocol::{HostId, JobId, message::job::Heartbeat};

use crate::{
    bus::Heard,
    hub::registry::Registry,
    live::Live,
    store::{Error, Store},
};

/// How often in a row each job was missing from its host's heartbeats.
#[derive(Default)]
pub(super) struct Reconciler {
    missing: BTreeMap<JobId, Missing>,
    /// Hosts whose last heartbeat told of an older configuration than they were sent.
    behind: BTreeSet<HostId>,
}

struct Missing {
    host: HostId,
    heartbeats: u32,
}

/// A heartbeat may cross a command, or tell of a moment before a start. After this many it is no
/// coincidence.
const HEARTBEATS_MAX: u32 = 2;

impl Reconciler {
    /// Takes the heartbeats that have come; the hosts that must be told their configuration again.
    pub(super) async fn take(
        &mut self,
        store: &Store,
        live: &Live,
        registry: &Registry,
    ) -> Vec<HostId> {
        let mut untold = Vec::new();
        for (host, heard) in store.bus().take_heartbeats() {
            live.heard(host, heard.heartbeat.queue_depth, offset_ms(&heard), heard.at);
            if let Err(error) = self.compare(store, live, host, &heard.heartbeat).await {
                tracing::warn!(%host, %error, "a heartbeat could not be compared");
            }
            let version = heard.heartbeat.config_version;
            if registry.is_overtaken(host, version) {
                match store.pass_config_version(host, version).await {
                    Ok(true) => untold.push(host),
                    Ok(false) => {}
                    Err(error) => tracing::warn!(%host, %error, "a version could not be passed"),
                }
            }
            if self.stays_behind(host, registry.lacks_config(host, heard.heartbeat.config_version))
            {
                untold.push(host);
            }
        }
        untold
    }

    /// A state is not acknowledged, and a push can fail: the heartbeat tells whether it has
    /// arrived. One heartbeat may have crossed the message; a second one has not.
    fn stays_behind(&mut self, host: HostId, lacking: bool) -> bool {
        if !lacking {
            self.behind.remove(&host);
            return false;
        }
        !self.behind.insert(host)
    }

    async fn compare(
        &mut self,
        store: &Store,
        live: &Live,
        host: HostId,
        heartbeat: &Heartbeat,
    ) -> Result<(), Error> {
        // With records under way the agent may have told already what is missing here.
        if heartbeat.queue_depth > 0 || !live.misses_jobs(host, &heartbeat.active_job_ids) {
            self.missing.retain(|_, missing| missing.host != host);
            return Ok(());
        }
        let believed = store.accepted_jobs(host).await?;
        for job in self.forgotten(host, &believed, &heartbeat.active_job_ids) {
            tracing::warn!(%host, %job, "the agent no longer knows a job");
            store.interrupt_forgotten(job).await?;
        }
        Ok(())
    }

    /// Counts what is missing; the jobs that have been missing too often.
    fn forgotten(&mut self, host: HostId, believed: &[JobId], active: &[JobId]) -> Vec<JobId> {
        let lacking = |job: &JobId| believed.contains(job) && !active.contains(job);
        self.missing.retain(|job, missing| missing.host != host || lacking(job));
        let mut forgotten = Vec::new();
        for job in believed.iter().filter(|job| !active.contains(job)) {
            let missing = self.missing.entry(*job).or_insert(Missing { host, heartbeats: 0 });
            missing.heartbeats += 1;
            if missing.heartbeats > HEARTBEATS_MAX {
                forgotten.push(*job);
            }
        }
        forgotten
    }
}

fn offset_ms(heard: &Heard) -> i64 {
    heard.heartbeat.sent_at.as_millisecond() - heard.at.as_millisecond()
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn job(number: u128) -> JobId {
        JobId::from_uuid(Uuid::from_u128(number))
    }

    #[test]
    fn a_job_is_forgotten_only_after_three_heartbeats_without_it() {
        let host = HostId::from_uuid(Uuid::from_u128(9));
        let mut reconciler = Reconciler::default();
        let believed = [job(1), job(2)];
        assert!(reconciler.forgotten(host, &believed, &[job(2)]).is_empty());
        assert!(reconciler.forgotten(host, &believed, &[job(2)]).is_empty());
        assert_eq!(reconciler.forgotten(host, &believed, &[job(2)]), [job(1)]);
    }

    #[test]
    fn one_heartbeat_with_the_job_starts_the_count_again() {
        let host = HostId::from_uuid(Uuid::from_u128(9));
        let mut reconciler = Reconciler::default();
        for _ in 0..2 {
            assert!(reconciler.forgotten(host, &[job(1)], &[]).is_empty());
        }
        assert!(reconciler.forgotten(host, &[job(1)], &[job(1)]).is_empty());
        assert!(reconciler.forgotten(host, &[job(1)], &[]).is_empty());
        assert!(reconciler.missing.len() == 1);
    }

    #[test]
    fn a_configuration_is_sent_again_after_two_heartbeats_without_it() {
        let host = HostId::from_uuid(Uuid::from_u128(9));
        let mut reconciler = Reconciler::default();
        assert!(!reconciler.stays_behind(host, true));
        assert!(reconciler.stays_behind(host, true));
        assert!(!reconciler.stays_behind(host, false));
        assert!(!reconciler.stays_behind(host, true));
    }

    #[test]
    fn hosts_do_not_disturb_each_others_counts() {
        let (one, two) = (Uuid::from_u128(8), Uuid::from_u128(9));
        let mut reconciler = Reconciler::default();
        for round in 0..3 {
            let first = reconciler.forgotten(HostId::from_uuid(one), &[job(1)], &[]);
            reconciler.forgotten(HostId::from_uuid(two), &[job(2)], &[job(2)]);
            assert_eq!(!first.is_empty(), round == 2);
        }
    }
}
