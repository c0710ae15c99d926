//! WebSocket close codes this link uses. Those from 4000 on are ours.

/// The conversation ended as agreed.
pub const NORMAL: u16 = 1000;
/// A frame was larger than [`holdfast_protocol::FRAME_SIZE_MAX`].
pub const TOO_LARGE: u16 = 1009;
/// This side's disk or database refused.
pub const INTERNAL: u16 = 1011;
/// The server is going away and will be back.
pub const RESTART: u16 = 1012;
/// The peer said something the protocol does not allow.
pub const VIOLATION: u16 = 4400;
/// The agent's credential was taken back while it was connected.
pub const REVOKED: u16 = 4403;
/// The hello was answered with a reject.
pub const REJECTED: u16 = 4406;
/// The peer did not read, did not answer or did not finish its greeting in time.
pub const TIMED_OUT: u16 = 4408;
/// A newer session of the same agent has taken over.
pub const FENCED: u16 = 4409;
