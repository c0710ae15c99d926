//! Where notifications may go: not into the house.
//!
//! Whoever may set a channel up could otherwise have the server speak to what only the server can
//! reach: its own loopback, the router, the cloud's metadata. A name is resolved once, every
//! address it has must be a public one, and the connection goes to exactly those addresses: a name
//! that answers differently the second time is never asked a second time.
//!
//! What lies inside on purpose (a Gotify in the rack, the mail relay) is allowed by whoever starts
//! the server, not by the API.

mod range;

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use url::{Host, Url};

pub use range::{Range, RangeError};

type Looked = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;
type Lookup = dyn Fn(String, u16) -> Looked + Send + Sync;

/// Decides where a notification may go. A clone is another handle to the same one.
#[derive(Clone)]
pub struct Guard {
    allow: Arc<[Range]>,
    lookup: Arc<Lookup>,
}

/// Why a notification may not go there. It never tells an address that a name has: that would be an
/// answer to whoever asks what lies inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Blocked {
    /// Neither `http` nor `https`, or with a name and password in it.
    #[error("the address is not a plain http or https address")]
    Address,
    /// Not one of the usual ports.
    #[error("the port is not one that notifications may go to")]
    Port,
    /// The name has no address.
    #[error("the name has no address")]
    Unknown,
    /// An address that only the server can reach.
    #[error("the address lies in a network that notifications may not go to")]
    Internal,
}

/// How long a name may take to be resolved.
const LOOKUP_MAX: Duration = Duration::from_secs(5);

/// Where web servers listen.
const WEB_PORTS: [u16; 2] = [80, 443];

impl Guard {
    /// A guard that lets notifications go to public addresses, and to those in `allow` on any port.
    #[must_use]
    pub fn new(allow: Vec<Range>) -> Self {
        Self::with_lookup(allow, Arc::new(|host, port| Box::pin(look_up(host, port))))
    }

    /// A guard with another way to resolve names.
    #[must_use]
    pub fn with_lookup(allow: Vec<Range>, lookup: Arc<Lookup>) -> Self {
        Self { allow: allow.into(), lookup }
    }

    /// The addresses that a web address stands for, all of which may be spoken to.
    ///
    /// # Errors
    /// [`Blocked`].
    pub async fn web(&self, url: &Url) -> Result<Vec<SocketAddr>, Blocked> {
        let plain = matches!(url.scheme(), "http" | "https")
            && url.username().is_empty()
            && url.password().is_none();
        let (Some(host), Some(port), true) = (url.host(), url.port_or_known_default(), plain)
        else {
            return Err(Blocked::Address);
        };
        match host {
            Host::Domain(name) => self.named(name, port, &WEB_PORTS).await,
            Host::Ipv4(ip) => self.checked(vec![(ip, port).into()], &WEB_PORTS),
            Host::Ipv6(ip) => self.checked(vec![(ip, port).into()], &WEB_PORTS),
        }
    }

    /// The addresses of `host`, a name or an address, of which `ports` are the usual ports.
    ///
    /// # Errors
    /// [`Blocked`].
    pub async fn named(
        &self,
        host: &str,
        port: u16,
        ports: &[u16],
    ) -> Result<Vec<SocketAddr>, Blocked> {
        if let Ok(ip) = host.parse::<IpAddr>() {
            return self.checked(vec![(ip, port).into()], ports);
        }
        let looked = tokio::time::timeout(LOOKUP_MAX, (self.lookup)(host.to_owned(), port)).await;
        let Ok(Ok(addresses)) = looked else { return Err(Blocked::Unknown) };
        self.checked(addresses, ports)
    }

    /// One address inside is enough to refuse all: which of them is used is not ours to say.
    fn checked(
        &self,
        addresses: Vec<SocketAddr>,
        ports: &[u16],
    ) -> Result<Vec<SocketAddr>, Blocked> {
        let Some(first) = addresses.first() else { return Err(Blocked::Unknown) };
        let allowed = |ip: IpAddr| self.allow.iter().any(|range| range.holds(ip));
        if addresses.iter().all(|address| allowed(address.ip())) {
            return Ok(addresses);
        }
        if !addresses.iter().all(|it| allowed(it.ip()) || range::is_public(it.ip())) {
            return Err(Blocked::Internal);
        }
        if !ports.contains(&first.port()) {
            return Err(Blocked::Port);
        }
        Ok(addresses)
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("allow", &self.allow).finish_non_exhaustive()
    }
}

async fn look_up(host: String, port: u16) -> io::Result<Vec<SocketAddr>> {
    Ok(tokio::net::lookup_host((host, port)).await?.collect())
}

#[cfg(test)]
mod tests;
