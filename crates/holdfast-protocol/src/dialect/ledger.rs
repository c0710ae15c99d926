//! What the driver of a foreign connection knows and the dialect leaves unsaid.

use std::collections::BTreeMap;

use jiff::Timestamp;
use uuid::Uuid;

use crate::{HostId, JobId, RepositoryId};

/// The open jobs of one host, by which frames without a job's id find theirs.
///
/// The driver opens a job when it sends or takes the command and closes it at its end.
#[derive(Debug, Clone)]
pub struct Ledger {
    host: HostId,
    jobs: BTreeMap<JobId, OpenJob>,
    groups: BTreeMap<String, RepositoryId>,
    spelled: Option<(JobId, String)>,
}

/// How many jobs a peer may have open on one host by its own orders.
pub const OPEN_JOBS_MAX: usize = 256;

/// One job that has not ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OpenJob {
    /// Its source group: D0 calls it `repo_id`, D1 `job_id`.
    pub group: String,
    /// How the peer spells the job's id; empty when it uses ours.
    pub name: String,
    /// The id of the last request about it, in a dialect whose answers name only that.
    pub request: String,
    /// Somebody asked for its end, so that an end without a reason is no failure.
    pub cancelling: bool,
    lines: u64,
}

impl OpenJob {
    /// A job of `group`, spelled as we spell it.
    pub fn of_group(group: impl Into<String>) -> Self {
        Self { group: group.into(), ..Self::default() }
    }

    /// The same job, spelled `name` by the peer.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }
}

impl Ledger {
    /// The ledger of `host`, with no job open. Ids made up here are the host's own.
    #[must_use]
    pub fn new(host: HostId) -> Self {
        Self { host, jobs: BTreeMap::new(), groups: BTreeMap::new(), spelled: None }
    }

    /// Notes that `group` is backed up to `repository`.
    pub fn set_repository(&mut self, group: impl Into<String>, repository: RepositoryId) {
        self.groups.insert(group.into(), repository);
    }

    /// Where `group` is backed up to. An unknown group gets an id that only its name decides.
    #[must_use]
    pub fn repository_of(&self, group: &str) -> RepositoryId {
        let known = self.groups.get(group).copied();
        known.unwrap_or_else(|| RepositoryId::from_uuid(self.derive(&["repository", group])))
    }

    /// The one repository of the host; `None` when it has none or several.
    #[must_use]
    pub fn sole_repository(&self) -> Option<RepositoryId> {
        let mut repositories = self.groups.values();
        let first = repositories.next()?;
        repositories.all(|other| other == first).then_some(*first)
    }

    /// The one source group of the host; `None` when it has none or several.
    #[must_use]
    pub fn sole_group(&self) -> Option<String> {
        let mut groups = self.groups.keys();
        let first = groups.next()?;
        groups.next().is_none().then(|| first.clone())
    }

    /// Notes how the peer spells the id of a job that is open, or will be opened next.
    pub fn spell(&mut self, id: JobId, name: &str) {
        let open = self.jobs.get_mut(&id);
        match open {
            _ if name.parse() == Ok(id) => {}
            Some(job) => name.clone_into(&mut job.name),
            None => self.spelled = Some((id, name.to_owned())),
        }
    }

    /// Notes a job that begins, or replaces what was known of it.
    pub fn open(&mut self, id: JobId, mut job: OpenJob) {
        if let Some((_, name)) = self.spelled.take_if(|(spelled, _)| *spelled == id) {
            job.name = name;
        }
        self.jobs.insert(id, job);
    }

    /// Notes a job that the peer orders; a repeat keeps what is known of it.
    ///
    /// False when [`OPEN_JOBS_MAX`] are open already: a peer must not decide how much we remember.
    pub fn open_ordered(&mut self, id: JobId, job: OpenJob) -> bool {
        if !self.jobs.contains_key(&id) && self.jobs.len() >= OPEN_JOBS_MAX {
            return false;
        }
        self.jobs.entry(id).or_insert(job);
        true
    }

    /// Forgets a job that has ended.
    pub fn close(&mut self, id: JobId) -> Option<OpenJob> {
        self.jobs.remove(&id)
    }

    /// Notes that somebody asked for the job's end.
    pub fn mark_cancelling(&mut self, id: JobId) {
        if let Some(job) = self.jobs.get_mut(&id) {
            job.cancelling = true;
        }
    }

    /// Notes the id of a request about the job.
    pub fn mark_request(&mut self, id: JobId, request: impl Into<String>) {
        if let Some(job) = self.jobs.get_mut(&id) {
            job.request = request.into();
        }
    }

    /// The open job that the request was about.
    #[must_use]
    pub fn job_asked_by(&self, request: &str) -> Option<JobId> {
        self.only(|job| !request.is_empty() && job.request == request)
    }

    /// What is known of an open job.
    #[must_use]
    pub fn job(&self, id: JobId) -> Option<&OpenJob> {
        self.jobs.get(&id)
    }

    /// The open jobs.
    pub fn jobs(&self) -> impl Iterator<Item = JobId> {
        self.jobs.keys().copied()
    }

    /// How the peer spells the job.
    #[must_use]
    pub fn name_of(&self, id: JobId) -> String {
        match self.job(id) {
            Some(job) if !job.name.is_empty() => job.name.clone(),
            _ => id.to_string(),
        }
    }

    /// The source group of an open job; empty when it is not open.
    #[must_use]
    pub fn group_of(&self, id: JobId) -> String {
        self.job(id).map(|job| job.group.clone()).unwrap_or_default()
    }

    /// The job that the peer calls `name`: ours when it is one of our ids, else one that only the
    /// name decides, so that a repeat finds the same job.
    #[must_use]
    pub fn job_named(&self, name: &str) -> JobId {
        let open = self.jobs.iter().find(|(_, job)| !name.is_empty() && job.name == name);
        let known = open.map(|(id, _)| *id).or_else(|| name.parse().ok());
        known.unwrap_or_else(|| JobId::from_uuid(self.derive(&["job", name])))
    }

    /// The job a frame is about: by its name when there is one, else the one open job of its group.
    ///
    /// Two open jobs of a group cannot be told apart, and a guess would end the wrong one.
    #[must_use]
    pub fn place(&self, name: &str, group: &str) -> Option<JobId> {
        if !name.is_empty() {
            return Some(self.job_named(name));
        }
        if group.is_empty() { None } else { self.only(|job| job.group == group) }
    }

    /// The one job that is open, when exactly one is.
    #[must_use]
    pub fn sole_job(&self) -> Option<JobId> {
        self.only(|_| true)
    }

    fn only(&self, wanted: impl Fn(&OpenJob) -> bool) -> Option<JobId> {
        let mut jobs = self.jobs.iter().filter(|(_, job)| wanted(job));
        match (jobs.next(), jobs.next()) {
            (Some((id, _)), None) => Some(*id),
            _ => None,
        }
    }

    /// The id of a run that the peer started on its own: the same for the same group and second.
    #[must_use]
    pub fn unasked_job(&self, group: &str, started_at: Timestamp) -> JobId {
        let second = started_at.as_second().to_string();
        JobId::from_uuid(self.derive(&["unasked", group, &second]))
    }

    /// The number of the job's next log line; `None` when the job is not open.
    pub fn next_line(&mut self, id: JobId) -> Option<u64> {
        let job = self.jobs.get_mut(&id)?;
        job.lines += 1;
        Some(job.lines)
    }

    /// Log lines of the job are already known up to this number.
    pub fn resume_lines(&mut self, id: JobId, last: u64) {
        if let Some(job) = self.jobs.get_mut(&id) {
            job.lines = job.lines.max(last);
        }
    }

    /// An id that the host and `parts` decide.
    fn derive(&self, parts: &[&str]) -> Uuid {
        Uuid::new_v5(&self.host.as_uuid(), parts.join("\u{0}").as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger() -> Ledger {
        Ledger::new(HostId::from_uuid(Uuid::from_u128(1)))
    }

    fn job(number: u128) -> JobId {
        JobId::from_uuid(Uuid::from_u128(number))
    }

    #[test]
    fn a_frame_without_an_id_finds_the_one_open_job_of_its_group() {
        let mut ledger = ledger();
        ledger.open(job(1), OpenJob::of_group("home"));
        ledger.open(job(2), OpenJob::of_group("etc"));
        assert_eq!(ledger.place("", "home"), Some(job(1)));
        assert_eq!(ledger.place("", "srv"), None);
        ledger.open(job(3), OpenJob::default());
        assert_eq!(ledger.place("", ""), None, "nothing names nobody");
        assert_eq!(ledger.sole_job(), None);
    }

    #[test]
    fn two_open_jobs_of_a_group_are_never_guessed_between() {
        let mut ledger = ledger();
        ledger.open(job(1), OpenJob::of_group("home"));
        ledger.open(job(2), OpenJob::of_group("home"));
        assert_eq!(ledger.place("", "home"), None);
        ledger.close(job(2));
        assert_eq!(ledger.place("", "home"), Some(job(1)));
    }

    #[test]
    fn a_foreign_name_always_gives_the_same_job_and_is_given_back() {
        let mut ledger = ledger();
        let id = ledger.job_named("run 7");
        assert_eq!(id, ledger.job_named("run 7"));
        assert_ne!(id, ledger.job_named("run 8"));
        ledger.open(id, OpenJob::of_group("home").named("run 7"));
        assert_eq!(ledger.name_of(id), "run 7");
        assert_eq!(ledger.place("run 7", ""), Some(id));
        assert_eq!(ledger.name_of(job(9)), job(9).to_string());
    }

    #[test]
    fn a_peer_cannot_make_us_remember_any_number_of_jobs() {
        let mut ledger = ledger();
        let opened = (0..2000).filter(|n| ledger.open_ordered(job(*n), OpenJob::default())).count();
        assert_eq!((opened, ledger.jobs().count()), (OPEN_JOBS_MAX, OPEN_JOBS_MAX));
        assert!(ledger.open_ordered(job(0), OpenJob::default()), "a repeat is no new job");
        ledger.close(job(0));
        assert!(ledger.open_ordered(job(5000), OpenJob::default()));
    }

    #[test]
    fn an_ordered_job_that_comes_again_keeps_what_is_known_of_it() {
        let mut ledger = ledger();
        ledger.open_ordered(job(1), OpenJob::of_group("home"));
        ledger.mark_cancelling(job(1));
        ledger.open_ordered(job(1), OpenJob::of_group("home"));
        assert!(ledger.job(job(1)).is_some_and(|job| job.cancelling));
    }

    #[test]
    fn an_unasked_run_is_known_by_group_and_second() {
        let ledger = ledger();
        let at = |nanos| Timestamp::new(1_800_000_000, nanos).unwrap();
        assert_eq!(ledger.unasked_job("home", at(0)), ledger.unasked_job("home", at(999)));
        assert_ne!(ledger.unasked_job("home", at(0)), ledger.unasked_job("etc", at(0)));
        let other = Ledger::new(HostId::from_uuid(Uuid::from_u128(2)));
        assert_ne!(ledger.unasked_job("home", at(0)), other.unasked_job("home", at(0)));
    }

    #[test]
    fn a_name_that_comes_before_its_job_is_kept_for_it() {
        let mut ledger = ledger();
        let id = ledger.job_named("run 7");
        ledger.spell(id, "run 7");
        ledger.open(job(9), OpenJob::default());
        ledger.open(id, OpenJob::of_group("home"));
        assert_eq!(
            (ledger.name_of(id), ledger.name_of(job(9))),
            ("run 7".into(), job(9).to_string())
        );
        ledger.spell(job(9), &job(9).to_string());
        assert_eq!(ledger.job(job(9)).unwrap().name, "", "our own spelling is no name");
    }

    #[test]
    fn several_groups_may_share_the_sole_repository() {
        let mut ledger = ledger();
        assert_eq!(ledger.sole_repository(), None);
        let repository = RepositoryId::from_uuid(Uuid::from_u128(5));
        ledger.set_repository("home", repository);
        ledger.set_repository("etc", repository);
        assert_eq!(ledger.sole_repository(), Some(repository));
        ledger.set_repository("srv", RepositoryId::from_uuid(Uuid::from_u128(6)));
        assert_eq!(ledger.sole_repository(), None);
    }
}
