//! I10: what a session holds is bounded, whatever the peer does.

use holdfast_link::Session;

/// The window both ways, the records loaded ahead, and the lanes with all their keys.
const HELD_MAX: usize = 256 + 64 + 256 + 256 + 256 + 256 + 16;

/// Judges a session after each event.
pub(crate) fn check(session: &Session) -> Result<(), String> {
    let held = session.held();
    if held > HELD_MAX {
        return Err(format!("a session holds {held} messages; {HELD_MAX} are allowed"));
    }
    Ok(())
}
