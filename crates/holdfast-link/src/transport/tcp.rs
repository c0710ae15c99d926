//! The TCP below a link.

use std::io;

use socket2::SockRef;
use tokio::net::TcpStream;

/// What the kernel may hold of what an agent has written, per connection; it counts its own
/// overhead, so about this much of ours is in it.
///
/// By itself the kernel goes up to megabytes. On a slow line that is minutes of log lines, which a
/// job's end, written after them, cannot overtake any more: what waits with us can still be put in
/// order, and dropped. At 56 kbit a second this much is six seconds; at a tenth of a second there
/// and back it lets 400 KiB a second pass, which is plenty for words about backups.
const AGENT_SEND_BUFFER_BYTES: usize = 40 * 1024;

/// Sets a connection up for frames, which do not wait for each other's acknowledgement.
///
/// # Errors
/// When the connection has ended already.
pub fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)
}

/// As [`tune`], for the agent's end: little waits in the kernel.
///
/// The server's end has no such limit. Its connections carry other things too, restored files among
/// them, and what it says to an agent is seldom more than a few words.
pub(crate) fn tune_agent(stream: &TcpStream) -> io::Result<()> {
    tune(stream)?;
    SockRef::from(stream).set_send_buffer_size(AGENT_SEND_BUFFER_BYTES)
}
