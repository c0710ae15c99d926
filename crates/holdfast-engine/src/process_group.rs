//! The process group of one child: signals reach restic and whatever it started.

use std::time::Duration;

use nix::{
    errno::Errno,
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::time::Instant;

/// A child as an agent's journal remembers it, so that a later life can tell it from a stranger
/// that got the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Child {
    /// Its process id, which is also its process group's.
    pub pid: u32,
    /// When it was started, in clock ticks since the machine's boot; 0 when that is unknown.
    pub start_time: u64,
}

impl Child {
    pub(crate) fn of_pid(pid: u32) -> Self {
        Self { pid, start_time: Stat::of(pid).map_or(0, |stat| stat.start_time) }
    }

    /// Whether this very process is still there, and leads its group, and has not ended.
    fn is_alive(self) -> bool {
        let same = |stat: &Stat| {
            stat.start_time == self.start_time && stat.group == self.pid && stat.state != 'Z'
        };
        self.start_time != 0 && Stat::of(self.pid).as_ref().is_some_and(same)
    }
}

/// What became of an orphan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reaped {
    /// It was gone already, or its number belongs to somebody else now; nothing was touched.
    Gone,
    /// It ended after SIGINT, so restic has removed its own lock.
    Interrupted,
    /// It had to be killed; its lock is stale now (see [`crate::Restic::unlock_stale`]).
    Killed,
}

/// Ends the process group that a crashed agent left running, if it still is the one recorded.
///
/// SIGINT first, then up to ten seconds for restic to remove its lock, then SIGKILL.
///
/// # Cancel safety
/// Safe to drop; the group may then be left running, and the call can be repeated.
pub async fn reap_orphan(child: Child) -> Reaped {
    const GRACE: Duration = Duration::from_secs(10);
    let Some(group) = Pid::try_from_child(child).filter(|_| child.is_alive()) else {
        return Reaped::Gone;
    };
    // A paused orphan could not react: it is continued first.
    for signal in [Signal::SIGCONT, Signal::SIGINT] {
        let _ = killpg(group, signal);
    }
    if ended_within(child, GRACE).await {
        return Reaped::Interrupted;
    }
    let _ = killpg(group, Signal::SIGKILL);
    ended_within(child, GRACE).await;
    Reaped::Killed
}

async fn ended_within(child: Child, limit: Duration) -> bool {
    const LOOK_EVERY: Duration = Duration::from_millis(50);
    let deadline = Instant::now() + limit;
    while child.is_alive() {
        if Instant::now() >= deadline {
            return false;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    true
}

trait FromChild: Sized {
    fn try_from_child(child: Child) -> Option<Self>;
}

impl FromChild for Pid {
    /// `None` for 0 and 1: signalling those groups would mean ourselves or everybody.
    fn try_from_child(child: Child) -> Option<Self> {
        i32::try_from(child.pid).ok().filter(|pid| *pid > 1).map(Self::from_raw)
    }
}

/// The group of a running child. Dropped, it kills what is left of the group.
#[derive(Debug)]
pub(crate) struct ProcessGroup {
    leader: Option<Pid>,
}

impl ProcessGroup {
    pub(crate) fn led_by(child: Child) -> Self {
        Self { leader: Pid::try_from_child(child) }
    }

    /// Sends `signal` to every process of the group; a group that is gone is no error.
    pub(crate) fn signal(&self, signal: Signal) {
        let Some(leader) = self.leader else { return };
        match killpg(leader, signal) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(error) => tracing::warn!(%leader, %signal, %error, "the signal was not sent"),
        }
    }

    /// Kills what the leader, which has just been waited for, left behind, and forgets the group:
    /// an empty group's number may soon be a stranger's.
    pub(crate) fn leader_ended(&mut self) {
        self.signal(Signal::SIGKILL);
        self.leader = None;
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
    }
}

/// The part of `/proc/PID/stat` that is of use here.
struct Stat {
    state: char,
    group: u32,
    start_time: u64,
}

impl Stat {
    fn of(pid: u32) -> Option<Self> {
        Self::parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// The name (field 2) is in parentheses and may hold anything, so counting starts after it.
    fn parse(text: &str) -> Option<Self> {
        let mut fields = text.get(text.rfind(')')? + 1..)?.split_ascii_whitespace();
        let state = fields.next()?.chars().next()?;
        let group = fields.nth(1)?.parse().ok()?;
        let start_time = fields.nth(16)?.parse().ok()?;
        Some(Self { state, group, start_time })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_name_with_parentheses_and_spaces_is_no_trap() {
        let line = "42 (a) b) c) S 1 42 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 1 2";
        let stat = Stat::parse(line).unwrap();
        assert_eq!((stat.state, stat.group, stat.start_time), ('S', 42, 987_654));
        assert!(Stat::parse("").is_none());
        assert!(Stat::parse("42 (sh) S 1").is_none());
    }

    #[tokio::test]
    async fn a_stranger_with_the_same_number_is_left_alone() {
        let mut sleeper = tokio::process::Command::new("sleep")
            .arg("60")
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let real = Child::of_pid(sleeper.id().unwrap());
        let stranger = Child { start_time: real.start_time + 1, ..real };
        assert_eq!(reap_orphan(stranger).await, Reaped::Gone);
        assert_eq!(sleeper.try_wait().unwrap(), None);
        assert_eq!(reap_orphan(real).await, Reaped::Interrupted);
        assert!(!sleeper.wait().await.unwrap().success());
        assert_eq!(reap_orphan(real).await, Reaped::Gone);
    }

    #[tokio::test]
    async fn the_groups_of_nobody_and_of_init_are_never_signalled() {
        for pid in [0, 1, u32::MAX] {
            assert_eq!(reap_orphan(Child { pid, start_time: 1 }).await, Reaped::Gone);
        }
    }
}
