//! By which names the server may be asked for.
//!
//! A page elsewhere can have its own name point at this machine after it was loaded (DNS
//! rebinding), and is then the same origin as we are, for the browser. What it cannot do is ask by
//! a name that is ours: so a name that nobody has given us is not answered. An address is no name.

use axum::http::{HeaderMap, Uri, header};
use url::{Host, Url};

/// The names that this server answers to.
#[derive(Debug, Clone, Default)]
pub(crate) struct HostNames {
    /// In lower case.
    named: Vec<String>,
    /// Whether only programs of this machine can ask, so that no other name is needed.
    local_only: bool,
}

impl HostNames {
    /// Those in `named`. When there are none, every name counts, unless the server listens only for
    /// programs of its own machine.
    pub(crate) fn new(named: &[String], local_only: bool) -> Self {
        let plain = |name: &String| name.trim_end_matches('.').to_ascii_lowercase();
        Self { named: named.iter().map(plain).collect(), local_only }
    }

    /// Whether the name that a request asks for is ours. A request without one is no browser's.
    pub(crate) fn admit(&self, headers: &HeaderMap, uri: &Uri) -> bool {
        if self.named.is_empty() && !self.local_only {
            return true;
        }
        let Some(asked) = headers.get(header::HOST) else {
            return uri.authority().is_none_or(|asked| self.holds(asked.as_str()));
        };
        asked.to_str().is_ok_and(|asked| self.holds(asked))
    }

    fn holds(&self, asked: &str) -> bool {
        let Ok(url) = Url::parse(&format!("http://{asked}")) else { return false };
        match url.host() {
            Some(Host::Ipv4(_) | Host::Ipv6(_)) => true,
            Some(Host::Domain(name)) => {
                let name = name.trim_end_matches('.');
                let here = name == "localhost" || name.ends_with(".localhost");
                here || self.named.iter().any(|known| known == name)
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admits(names: &HostNames, host: &str) -> bool {
        let headers = HeaderMap::from_iter([(header::HOST, host.parse().unwrap())]);
        names.admit(&headers, &Uri::from_static("/"))
    }

    #[test]
    fn a_name_that_nobody_gave_us_is_not_answered() {
        let named = ["Backup.Example.".to_owned()];
        let names = HostNames::new(&named, false);
        for host in [
            "backup.example",
            "BACKUP.example:8443",
            "backup.example.",
            "10.0.0.7:7400",
            "[::1]:7400",
            "localhost:7400",
            "holdfast.localhost",
        ] {
            assert!(admits(&names, host), "{host}");
        }
        for host in [
            "evil.example",
            "backup.example.evil",
            "xbackup.example",
            "localhost.evil",
            "a b",
            "backup.example@evil.example",
            "",
        ] {
            assert!(!admits(&names, host), "{host}");
        }
        assert!(names.admit(&HeaderMap::new(), &Uri::from_static("/")), "no browser asks so");
        let absolute = Uri::from_static("http://evil.example/");
        assert!(!names.admit(&HeaderMap::new(), &absolute));
    }

    #[test]
    fn who_listens_for_its_own_machine_needs_no_name_and_who_says_nothing_takes_all() {
        assert!(!admits(&HostNames::new(&[], true), "evil.example"));
        assert!(admits(&HostNames::new(&[], true), "127.0.0.1:7400"));
        assert!(admits(&HostNames::new(&[], false), "backup.lan"));
    }
}
