//! What a server is told when it starts.

use std::path::PathBuf;

use crate::alert::guard::Range;

/// What a server must know.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Where everything is kept. Made, for the owner only, when it does not exist.
    pub data_dir: PathBuf,
    /// The address to listen on, such as `127.0.0.1:7400`; port 0 picks a free one.
    pub listen: String,
    /// Networks inside the house that notifications may go to, on any port. Everything else that is
    /// not public is closed to them.
    pub notify_allow: Vec<Range>,
    /// Proxies before the server: only their word counts about who a client is and whether it
    /// speaks HTTPS.
    pub trusted_proxies: Vec<Range>,
    /// Names that browsers may ask by. Without any, every name counts, unless the server listens
    /// only for programs of its own machine.
    pub host_names: Vec<String>,
    /// Whether `/metrics` answers everybody; otherwise it takes a token of the role viewer.
    pub metrics_public: bool,
}
