//! Agents and servers of other systems, played by peers that know nothing of our code, over real
//! sockets.

mod backupy;
mod envelope;
mod hostile;
mod hostile_servers;
mod hostile_sockets;
mod joined;
mod local;
mod nerdbackup;
mod page;
mod served;
mod theirs;
