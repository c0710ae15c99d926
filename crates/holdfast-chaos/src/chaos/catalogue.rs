//! The faults, by their numbers.

use anyhow::Result;

use super::{
    crashes, freezes, hostile, identity, limits, network, power_cuts, slow, stops, stream,
};
use crate::stand::Bench;

/// How a check spends its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// It keeps the machine busy, or measures how fast it is.
    Busy,
    /// It waits for timers.
    Waiting,
}

use Pace::{Busy, Waiting};

/// One fault.
pub(super) struct Fault {
    pub(super) id: &'static str,
    pub(super) name: &'static str,
    pub(super) pace: Pace,
    /// What it measured, when the fault was survived.
    pub(super) check: fn(&Bench) -> Result<String>,
}

const fn fault(
    id: &'static str,
    name: &'static str,
    pace: Pace,
    check: fn(&Bench) -> Result<String>,
) -> Fault {
    Fault { id, name, pace, check }
}

pub(super) const CATALOGUE: [Fault; 35] = [
    fault("F01", "server killed under load", Busy, crashes::server_killed),
    fault("F02", "agent killed with results waiting", Busy, crashes::agent_killed),
    fault("F03", "both killed together", Busy, crashes::both_killed),
    fault("F04", "crash at every named point", Busy, crashes::crash_points),
    fault("F05", "agent killed while it replays its outbox", Busy, crashes::replay_killed),
    fault("F06", "server stands still", Waiting, freezes::server_frozen),
    fault("F07", "agent stands still in mid-backup", Waiting, freezes::agent_frozen),
    fault("F08", "power cut at the server", Busy, power_cuts::server),
    fault("F09", "power cut and flipped bits at the agent", Busy, power_cuts::agent),
    fault("F10", "server asked to stop under load", Busy, stops::server_stopped),
    fault("F11", "agent asked to stop in mid-backup", Busy, stops::agent_stopped),
    fault("F12", "rolling restart", Waiting, stops::rolling_restart),
    fault("F13", "half-open TCP", Waiting, network::half_open),
    fault("F14", "one-way blackhole, each direction", Waiting, network::one_way),
    fault("F15", "cut in mid-frame, at every byte", Busy, stream::cut_anywhere),
    fault("F16", "flapping link", Waiting, network::flapping),
    fault("F17", "long offline, many records", Busy, slow::backlog),
    fault("F18", "56 kbit/s", Waiting, slow::modem),
    fault("F19", "2 s round trip with stalls", Waiting, slow::satellite),
    fault("F20", "wrong names and addresses", Waiting, network::names),
    fault("F21", "proxy idles out, or strips the upgrade", Waiting, network::middle_box),
    fault("F22", "frame replayed from an older session", Busy, stream::replayed),
    fault("F23", "frames repeated and out of order", Busy, stream::shuffled),
    fault("F24", "peer that does not read", Waiting, slow::deaf_peer),
    fault("F25", "agent rewrites its history", Busy, hostile::rewritten_history),
    fault("F26", "two processes, one identity", Busy, identity::started_twice),
    fault("F27", "cloned machine", Waiting, identity::cloned),
    fault("F28", "agent restored from an old copy", Busy, identity::agent_set_back),
    fault("F29", "server restored from an old copy", Busy, identity::server_set_back),
    fault("F40", "accepted and dropped at once", Waiting, network::dropped_at_once),
    fault("F44", "oversized frames", Busy, hostile::oversized),
    fault("F45", "malformed frames", Busy, hostile::malformed),
    fault("F46", "floods of small frames", Busy, limits::floods),
    fault("F47", "slowloris", Busy, limits::slowloris),
    fault("F48", "bad credentials and token races", Busy, limits::credentials),
];
