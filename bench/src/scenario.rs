//! What is measured.

mod agent_idle;
mod dispatch;
mod endure;
mod fan_out;
mod floors;
mod idle;
mod ingest;
mod outbox;
mod overhead;
mod real;
mod storm;
mod ui;

use anyhow::Result;

use crate::driver::Bench;

/// One question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Scenario {
    /// What a connected agent costs that has nothing to say
    Idle,
    /// What it costs to be told something
    Ingest,
    /// How long a command takes to be accepted
    Dispatch,
    /// What happens when all agents connect at once
    Storm,
    /// What a browser's update costs
    FanOut,
    /// Durable appends against the disk's own
    Outbox,
    /// A supervised backup against plain restic
    Overhead,
    /// The real agent with nothing to do
    AgentIdle,
    /// Pages of the dashboard over a long history
    Ui,
    /// A whole fleet for ten minutes, with commands; not part of all
    Endure,
}

/// All of them, the quick ones first; but not the one that takes ten minutes by itself.
pub(crate) const ALL: [Scenario; 9] = [
    Scenario::Outbox,
    Scenario::Storm,
    Scenario::Idle,
    Scenario::Dispatch,
    Scenario::Ingest,
    Scenario::FanOut,
    Scenario::Ui,
    Scenario::AgentIdle,
    Scenario::Overhead,
];

impl Scenario {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Ingest => "ingest",
            Self::Dispatch => "dispatch",
            Self::Storm => "storm",
            Self::FanOut => "fan-out",
            Self::Outbox => "outbox",
            Self::Overhead => "overhead",
            Self::AgentIdle => "agent-idle",
            Self::Ui => "ui",
            Self::Endure => "endure",
        }
    }

    pub(crate) fn what(self) -> &'static str {
        match self {
            Self::Idle => "memory and time of connected agents that say nothing",
            Self::Ingest => "server time per progress message and per durable record",
            Self::Dispatch => "command to accepted, at rest and under load",
            Self::Storm => "all agents connect at once",
            Self::FanOut => "server time per update delivered to a browser",
            Self::Outbox => "durable appends against append and fdatasync",
            Self::Overhead => "a supervised backup against plain restic",
            Self::AgentIdle => "the real agent with nothing to do",
            Self::Ui => "pages over a long history",
            Self::Endure => "a whole fleet that stays, and takes commands",
        }
    }

    pub(crate) async fn run(self, bench: &mut Bench) -> Result<()> {
        match self {
            Self::Idle => Box::pin(idle::run(bench)).await,
            Self::Ingest => Box::pin(ingest::run(bench)).await,
            Self::Dispatch => Box::pin(dispatch::run(bench)).await,
            Self::Storm => Box::pin(storm::run(bench)).await,
            Self::FanOut => Box::pin(fan_out::run(bench)).await,
            Self::Outbox => Box::pin(outbox::run(bench)).await,
            Self::Overhead => Box::pin(overhead::run(bench)).await,
            Self::AgentIdle => Box::pin(agent_idle::run(bench)).await,
            Self::Ui => Box::pin(ui::run(bench)).await,
            Self::Endure => Box::pin(endure::run(bench)).await,
        }
    }
}
