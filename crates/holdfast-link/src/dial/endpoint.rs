//! The URL to dial, made from the one a person wrote.

use std::net::IpAddr;

use url::{Host, Url};

/// Whether an unencrypted connection is acceptable.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PlaintextRule {
    /// Only to this very machine.
    #[default]
    LoopbackOnly,
    /// Also across a network. The token and all that is said can be read on the way.
    Allow,
}

/// The server's URL cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// A user name or password is in it; the agent has its own token.
    #[error("the server's URL must not contain a user name or password; leave them out")]
    Credentials,
    /// It would send the token unencrypted across a network.
    #[error(
        "{server} is not encrypted and not on this machine, so the agent's token could be read on \
         the way; use https, or allow plaintext by name"
    )]
    Plaintext {
        /// The URL without its path.
        server: String,
    },
    /// Not an http or https URL with a host.
    #[error(
        "the server's URL must begin with https:// (or http:// for this machine) and name a host"
    )]
    Scheme,
}

/// The URL to dial: `http` becomes `ws`, `https` becomes `wss`, and a path in `server` (a server
/// behind a prefix of a proxy) stays in front of `path`.
///
/// # Errors
/// [`EndpointError`].
pub fn endpoint(server: &Url, path: &str, rule: PlaintextRule) -> Result<Url, EndpointError> {
    let scheme = match server.scheme() {
        "http" | "ws" => "ws",
        "https" | "wss" => "wss",
        _ => return Err(EndpointError::Scheme),
    };
    if !server.username().is_empty() || server.password().is_some() {
        return Err(EndpointError::Credentials);
    }
    let mut url = server.clone();
    url.set_scheme(scheme).map_err(|()| EndpointError::Scheme)?;
    if scheme == "ws" && rule == PlaintextRule::LoopbackOnly && !is_loopback(&url) {
        return Err(EndpointError::Plaintext { server: shown(&url) });
    }
    let prefix = url.path().trim_end_matches('/');
    let prefix = prefix.strip_suffix(path).unwrap_or(prefix).to_owned();
    url.set_path(&format!("{prefix}{path}"));
    url.set_query(None);
    url.set_fragment(None);
    Ok(url)
}

pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => IpAddr::from(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::from(address).is_loopback(),
        None => false,
    }
}

/// The URL as people typed it: with `http` in front, without the endpoint's path.
pub(crate) fn shown(endpoint: &Url) -> String {
    let scheme = if matches!(endpoint.scheme(), "wss" | "https") { "https" } else { "http" };
    let host = endpoint.host_str().unwrap_or_default();
    match endpoint.port() {
        Some(port) => format!("{scheme}://{host}:{port}"),
        None => format!("{scheme}://{host}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &str = "/api/v1/agent/connect";

    fn dialled(server: &str, rule: PlaintextRule) -> Result<String, EndpointError> {
        endpoint(&server.parse().unwrap(), PATH, rule).map(String::from)
    }

    #[test]
    fn schemes_become_websocket_schemes_and_prefixes_stay() {
        let rule = PlaintextRule::LoopbackOnly;
        for (server, url) in [
            ("https://hold.example", "wss://hold.example/api/v1/agent/connect"),
            ("https://hold.example/", "wss://hold.example/api/v1/agent/connect"),
            (
                "wss://hold.example:8443/fleet/?x=1#y",
                "wss://hold.example:8443/fleet/api/v1/agent/connect",
            ),
            (
                "https://hold.example/fleet/api/v1/agent/connect",
                "wss://hold.example/fleet/api/v1/agent/connect",
            ),
            ("http://127.0.0.1:8080", "ws://127.0.0.1:8080/api/v1/agent/connect"),
            ("http://[::1]:8080", "ws://[::1]:8080/api/v1/agent/connect"),
            ("http://localhost", "ws://localhost/api/v1/agent/connect"),
        ] {
            assert_eq!(dialled(server, rule).as_deref(), Ok(url));
        }
    }

    #[test]
    fn plaintext_across_a_network_is_refused_unless_allowed() {
        let server = "http://hold.example/fleet";
        let refused = dialled(server, PlaintextRule::LoopbackOnly).unwrap_err();
        assert!(
            refused.to_string().starts_with("http://hold.example is not encrypted"),
            "{refused}"
        );
        assert!(dialled(server, PlaintextRule::Allow).is_ok());
        assert!(dialled("http://127.0.0.1.example", PlaintextRule::LoopbackOnly).is_err());
    }

    #[test]
    fn odd_urls_are_refused() {
        let rule = PlaintextRule::Allow;
        assert_eq!(dialled("ftp://hold.example", rule), Err(EndpointError::Scheme));
        assert_eq!(
            dialled("https://me:canary@hold.example", rule),
            Err(EndpointError::Credentials)
        );
    }
}
