//! What each dialect can say, so that the rest is refused before it is tried.

use super::Dialect;
use crate::{Message, message::job::Operation};

/// Something a person may want of a host, or wants to see of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ability {
    /// Start a backup at once.
    Backup,
    /// End a running job.
    Cancel,
    /// Stop a running job where it stands.
    Pause,
    /// Let a paused job go on.
    Resume,
    /// See how far a running job is.
    Progress,
    /// See the result of a job with its figures.
    Result,
    /// See a job's log while it runs.
    Logs,
    /// List a host's snapshots.
    Snapshots,
    /// See a repository's size.
    RepositoryStats,
    /// Change source groups and repositories from here.
    Configure,
    /// Run schedules while the server is away.
    Schedule,
    /// Bring files back.
    Restore,
    /// Look into a snapshot.
    Look,
    /// Create, check, clean up or unlock a repository.
    Maintain,
    /// Look into the host's folders.
    Browse,
    /// Be told that a command was taken.
    Acknowledge,
}

impl Ability {
    /// Every ability, in the order people meet them.
    pub const ALL: [Self; 16] = [
        Self::Backup,
        Self::Cancel,
        Self::Pause,
        Self::Resume,
        Self::Progress,
        Self::Result,
        Self::Logs,
        Self::Snapshots,
        Self::RepositoryStats,
        Self::Configure,
        Self::Schedule,
        Self::Restore,
        Self::Look,
        Self::Maintain,
        Self::Browse,
        Self::Acknowledge,
    ];

    /// The word for it in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Backup => "backup",
            Self::Cancel => "cancel",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Progress => "progress",
            Self::Result => "result",
            Self::Logs => "logs",
            Self::Snapshots => "snapshots",
            Self::RepositoryStats => "repository_stats",
            Self::Configure => "configure",
            Self::Schedule => "schedule",
            Self::Restore => "restore",
            Self::Look => "look",
            Self::Maintain => "maintain",
            Self::Browse => "browse",
            Self::Acknowledge => "acknowledge",
        }
    }

    /// What follows "this host's agent cannot".
    #[must_use]
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Backup => "start a backup on command",
            Self::Cancel => "cancel a job",
            Self::Pause => "pause a job",
            Self::Resume => "resume a job",
            Self::Progress => "show how far a job is",
            Self::Result => "report how a job ended",
            Self::Logs => "send a job's log",
            Self::Snapshots => "list its snapshots",
            Self::RepositoryStats => "report a repository's size",
            Self::Configure => "take its configuration from here",
            Self::Schedule => "run a schedule of its own",
            Self::Restore => "restore files on command",
            Self::Look => "look into a snapshot on command",
            Self::Maintain => "maintain a repository on command",
            Self::Browse => "list its folders",
            Self::Acknowledge => "confirm that it took a command",
        }
    }

    /// The ability that sending `message` to an agent needs; `None` for reports, which need none.
    #[must_use]
    pub fn needed_for(message: &Message) -> Option<Self> {
        match message {
            Message::CommandRun(run) => Some(Self::of_operation(run.operation)),
            Message::CommandCancel(_) => Some(Self::Cancel),
            Message::CommandPause(_) => Some(Self::Pause),
            Message::CommandResume(_) => Some(Self::Resume),
            Message::ConfigUpdate(_) => Some(Self::Configure),
            Message::ScheduleSet(_) => Some(Self::Schedule),
            _ => None,
        }
    }

    /// The ability that an operation on command needs.
    #[must_use]
    pub fn of_operation(operation: Operation) -> Self {
        match operation {
            Operation::Backup => Self::Backup,
            Operation::Restore => Self::Restore,
            Operation::Snapshots | Operation::Ls | Operation::Dump | Operation::Diff => Self::Look,
            _ => Self::Maintain,
        }
    }
}

impl Dialect {
    /// What an agent of this dialect can do.
    ///
    /// Only what works with the agents as they are, with one exception: Backupy's wire has a word
    /// for cancelling that its own agent merely logs, while others obey it. Who asks for it sees
    /// that it was asked, and the job ends as it truly ended. NerdBackup's
    /// agent takes a schedule along, but follows it only if the link happened to be down when it
    /// came; it restores too, but from whichever repository comes first.
    #[must_use]
    pub fn abilities(self) -> &'static [Ability] {
        use Ability as A;
        match self {
            Self::Backupy => &[A::Backup, A::Cancel, A::Progress, A::Result, A::Logs, A::Configure],
            Self::Envelope => &Ability::ALL,
            Self::Fleet => &[
                A::Backup,
                A::Cancel,
                A::Progress,
                A::Result,
                A::Logs,
                A::Snapshots,
                A::RepositoryStats,
                A::Configure,
                A::Schedule,
                A::Acknowledge,
            ],
            Self::Local => &[A::Cancel, A::Pause, A::Resume, A::Progress, A::Result, A::Logs],
            Self::Nerdbackup => &[
                A::Backup,
                A::Cancel,
                A::Pause,
                A::Resume,
                A::Progress,
                A::Result,
                A::RepositoryStats,
                A::Configure,
            ],
        }
    }

    /// Whether an agent of this dialect can do it.
    #[must_use]
    pub fn can(self, ability: Ability) -> bool {
        self.abilities().contains(&ability)
    }

    /// Refuses what an agent of this dialect cannot do.
    ///
    /// # Errors
    /// [`Unsayable`], fit to be shown to the person who asked.
    pub fn require(self, ability: Ability) -> Result<(), Unsayable> {
        if self.can(ability) { Ok(()) } else { Err(Unsayable { dialect: self, ability }) }
    }
}

/// The dialect has no words for what was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this host's agent cannot {}: it speaks {}", ability.in_words(), dialect.as_str())]
pub struct Unsayable {
    /// The dialect.
    pub dialect: Dialect,
    /// What was asked.
    pub ability: Ability,
}

impl Unsayable {
    /// Stable code for the API.
    pub const CODE: &'static str = "not_in_dialect";

    /// One sentence: what to do about it.
    pub const ACTION: &'static str =
        "Install holdfast-agent on the host, or do it with the host's own tools.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_reads_like_a_sentence() {
        let refusal = Dialect::Backupy.require(Ability::Pause).unwrap_err();
        assert_eq!(refusal.to_string(), "this host's agent cannot pause a job: it speaks backupy");
        assert_eq!(Dialect::Nerdbackup.require(Ability::Pause), Ok(()));
    }

    #[test]
    fn whoever_can_pause_can_resume_and_words_are_unique() {
        for dialect in Dialect::ALL {
            assert_eq!(dialect.can(Ability::Pause), dialect.can(Ability::Resume), "{dialect:?}");
            assert_eq!(Dialect::from_word(dialect.as_str()), Some(dialect));
        }
        let words: std::collections::BTreeSet<&str> =
            Ability::ALL.iter().map(|ability| ability.as_str()).collect();
        assert_eq!(words.len(), Ability::ALL.len());
    }
}
