//! Two sessions, two disks and a wire, in virtual time.

mod conversation;
mod greeting;
mod hostile;
mod leaving;
mod liveness;
mod priority;
mod stream;
mod world;
