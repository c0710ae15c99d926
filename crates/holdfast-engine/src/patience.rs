//! How long the engine waits for what.

use std::time::Duration;

/// The waits of an operation. The default suits production; tests shorten them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patience {
    /// From SIGINT to SIGKILL: restic removes its lock in this time.
    pub cancel_grace: Duration,
    /// The longest pause. A stopped restic does not refresh its lock, which others may take for
    /// abandoned after 30 minutes, so a pause must end well before that.
    pub pause_max: Duration,
    /// How long a backup waits for somebody else's lock, counted from when it was first met.
    pub lock_wait: Duration,
    /// The first delay between two tries of a locked repository; later ones grow to `retry_max`.
    pub retry_min: Duration,
    /// The longest delay between two tries.
    pub retry_max: Duration,
    /// How long the pipes are still read after restic itself has ended, should a process that left
    /// its group hold them open.
    pub pipe_grace: Duration,
    /// The longest run of the small commands (init, unlock, snapshots), which an unreachable
    /// backend could otherwise hold for a quarter of an hour.
    pub command_max: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            cancel_grace: Duration::from_secs(20),
            pause_max: Duration::from_secs(20 * 60),
            lock_wait: Duration::from_secs(5 * 60),
            retry_min: Duration::from_secs(2),
            retry_max: Duration::from_secs(15),
            pipe_grace: Duration::from_secs(2),
            command_max: Duration::from_secs(3 * 60),
        }
    }
}
