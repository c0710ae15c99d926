//! Bugs to plant, one at a time: a simulator that does not catch them proves nothing.

use std::{fmt, str::FromStr};

/// A planted bug. The first eight are those that other systems have; the rest are our own fears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plant {
    /// The outbox forgets a record when it is handed to the wire.
    ForgetAtSend,
    /// The numbers start again with the process.
    SeqRestarts,
    /// An older session of the same agent is neither closed nor kept from writing.
    NoFencing,
    /// What has been received is remembered in memory only.
    DedupInMemory,
    /// A record that comes too early is taken for the next one.
    NoGapCheck,
    /// Which commands are known is remembered in memory only.
    JournalInMemory,
    /// The ack leaves before the commit.
    AckBeforeSync,
    /// A record is on the wire before its commit.
    SendBeforeSync,
    /// A command whose process was started is taken for not started after a crash.
    RunAgain,
    /// The end of a job and the record that tells of it are two commits.
    ResultApart,
    /// The position and the effect are two commits, the position first.
    PositionFirst,
    /// Lost connections are dialled again at once.
    NoBackoff,
    /// A copy of a machine is let in by the numbers on its disk alone.
    CopyLetIn,
    /// Answers are matched with questions by their order.
    AnswersCrossed,
}

impl Plant {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::ForgetAtSend,
        Self::SeqRestarts,
        Self::NoFencing,
        Self::DedupInMemory,
        Self::NoGapCheck,
        Self::JournalInMemory,
        Self::AckBeforeSync,
        Self::SendBeforeSync,
        Self::RunAgain,
        Self::ResultApart,
        Self::PositionFirst,
        Self::NoBackoff,
        Self::CopyLetIn,
        Self::AnswersCrossed,
    ];

    /// The word on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ForgetAtSend => "forget-at-send",
            Self::SeqRestarts => "seq-restarts",
            Self::NoFencing => "no-fencing",
            Self::DedupInMemory => "dedup-in-memory",
            Self::NoGapCheck => "no-gap-check",
            Self::JournalInMemory => "journal-in-memory",
            Self::AckBeforeSync => "ack-before-sync",
            Self::SendBeforeSync => "send-before-sync",
            Self::RunAgain => "run-again",
            Self::ResultApart => "result-apart",
            Self::PositionFirst => "position-first",
            Self::NoBackoff => "no-backoff",
            Self::CopyLetIn => "copy-let-in",
            Self::AnswersCrossed => "answers-crossed",
        }
    }
}

impl fmt::Display for Plant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Plant {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|plant| plant.name() == word).ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|plant| plant.name()).collect();
            format!("no planted bug is called `{word}`; there are: {}", names.join(", "))
        })
    }
}
