//! Who may use the agent's socket.

use std::{
    fs, io,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
};

use axum::http::{HeaderMap, StatusCode, header};
use holdfast_protocol::message::config::Secret;
use nix::unistd::Uid;
use subtle::ConstantTimeEq;
use uuid::Uuid;

use super::ServeError;
use crate::config::Directory;

/// The file with the socket's token, in the agent's directory.
#[derive(Debug, Clone)]
pub(crate) struct TokenFile {
    directory: Directory,
}

const FILE: &str = "local-token";

impl TokenFile {
    /// The one in `directory`.
    #[must_use]
    pub(crate) fn in_directory(directory: &Directory) -> Self {
        Self { directory: directory.clone() }
    }

    /// Where it is.
    #[must_use]
    pub(crate) fn path(&self) -> PathBuf {
        self.directory.root().join(FILE)
    }

    /// The token; a new one when there is none.
    pub(super) fn read_or_mint(&self) -> Result<Secret, ServeError> {
        let path = self.path();
        let failed = |source| ServeError::Token { path: path.clone(), source };
        match fs::read_to_string(&path) {
            Ok(text) if !text.trim().is_empty() => return Ok(Secret::new(text.trim())),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        // Two random UUIDs: 244 bits.
        let token = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        let kept = self.directory.replace(FILE, token.as_bytes());
        kept.map_err(|error| failed(io::Error::other(error)))?;
        Ok(Secret::new(token))
    }
}

/// Decides about each connection.
pub(super) struct Guard {
    address: SocketAddr,
    token: Secret,
    origins: Vec<String>,
    user: Uid,
}

/// Why a connection was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The request names another host than this socket.
    OtherHost,
    /// A page of an origin that was not allowed.
    OtherOrigin,
    /// Neither the token nor a process of this user.
    Stranger,
}

impl Refusal {
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::OtherHost => StatusCode::MISDIRECTED_REQUEST,
            Self::OtherOrigin => StatusCode::FORBIDDEN,
            Self::Stranger => StatusCode::UNAUTHORIZED,
        }
    }

    pub(super) fn sentence(self) -> &'static str {
        match self {
            Self::OtherHost => "the request is for another host",
            Self::OtherOrigin => "pages of this origin may not use the agent's socket",
            Self::Stranger => "show the token in the agent's directory",
        }
    }
}

impl Guard {
    pub(super) fn new(address: SocketAddr, token: Secret, origins: &[String]) -> Self {
        let origins = origins.iter().map(|origin| origin.trim_end_matches('/').to_owned());
        Self { address, token, origins: origins.collect(), user: Uid::effective() }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn admit(
        &self,
        peer: SocketAddr,
        headers: &HeaderMap,
        query: Option<&str>,
    ) -> Result<(), Refusal> {
        let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
        if !text(header::HOST).is_some_and(|host| self.is_own(host)) {
            return Err(Refusal::OtherHost);
        }
        if text(header::ORIGIN).is_some_and(|origin| !self.allows(origin)) {
            return Err(Refusal::OtherOrigin);
        }
        let bearer = text(header::AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
        let shown = bearer.or_else(|| query.and_then(token_in));
        let known = shown.is_some_and(|token| self.is_token(token));
        if known || (shown.is_none() && self.is_own_user(peer)) {
            return Ok(());
        }
        Err(Refusal::Stranger)
    }

    /// Whether a `Host` header means this socket: a name that was bent to lead here is another's.
    fn is_own(&self, host: &str) -> bool {
        let port = self.address.port();
        ["127.0.0.1", "localhost", "[::1]"].iter().any(|name| host == format!("{name}:{port}"))
            || host == self.address.to_string()
    }

    fn allows(&self, origin: &str) -> bool {
        self.origins.iter().any(|allowed| allowed == origin)
    }

    fn is_token(&self, shown: &str) -> bool {
        shown.as_bytes().ct_eq(self.token.expose().as_bytes()).into()
    }

    fn is_own_user(&self, peer: SocketAddr) -> bool {
        let owner = owner_of(peer, self.address);
        owner.is_some_and(|owner| owner.is_root() || owner == self.user)
    }
}

fn token_in(query: &str) -> Option<&str> {
    query.split('&').find_map(|pair| pair.strip_prefix("token="))
}

/// The user whose process holds the other end of a connection on this machine, as the kernel's
/// list has it. `None` when it is not in the list.
fn owner_of(peer: SocketAddr, own: SocketAddr) -> Option<Uid> {
    let file = if peer.is_ipv4() { "/proc/net/tcp" } else { "/proc/net/tcp6" };
    let list = fs::read_to_string(Path::new(file)).ok()?;
    owner_in(&list, peer, own)
}

fn owner_in(list: &str, peer: SocketAddr, own: SocketAddr) -> Option<Uid> {
    let (peer, own) = (spelled(peer), spelled(own));
    list.lines().skip(1).find_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let (local, remote) = (fields.next()?, fields.next()?);
        let user = fields.nth(4)?;
        (local == peer && remote == own).then(|| user.parse().ok().map(Uid::from_raw))?
    })
}

/// An address as the kernel's list spells it: words of the machine's own byte order, in hex.
fn spelled(address: SocketAddr) -> String {
    let bytes = match address.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let words = bytes.chunks(4).map(|word| {
        let word = word.try_into().unwrap_or([0; 4]);
        format!("{:08X}", u32::from_ne_bytes(word))
    });
    format!("{}:{:04X}", words.collect::<String>(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard() -> Guard {
        let origins = ["http://localhost:3000/".to_owned()];
        Guard::new("127.0.0.1:8080".parse().unwrap(), Secret::new("secret"), &origins)
    }

    fn ask(pairs: &[(&str, &str)], query: Option<&str>) -> Result<(), Refusal> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            let name: header::HeaderName = name.parse().unwrap();
            headers.insert(name, value.parse().unwrap());
        }
        // Nobody connects from there, so only the token counts.
        guard().admit("127.0.0.1:1".parse().unwrap(), &headers, query)
    }

    const OWN: (&str, &str) = ("host", "127.0.0.1:8080");

    #[test]
    fn only_the_token_opens_for_a_stranger() {
        let bearer = ("authorization", "Bearer secret");
        assert_eq!(ask(&[OWN, bearer], None), Ok(()));
        assert_eq!(ask(&[("host", "localhost:8080")], Some("a=b&token=secret")), Ok(()));
        assert_eq!(ask(&[OWN], Some("token=wrong")), Err(Refusal::Stranger));
        assert_eq!(ask(&[OWN, ("authorization", "Bearer secre")], None), Err(Refusal::Stranger));
        assert_eq!(ask(&[OWN], None), Err(Refusal::Stranger));
    }

    #[test]
    fn another_name_for_this_machine_opens_nothing_whatever_it_shows() {
        let bearer = ("authorization", "Bearer secret");
        for host in ["evil.example:8080", "127.0.0.1", "127.0.0.1:80", "localhost.evil:8080"] {
            assert_eq!(ask(&[("host", host), bearer], None), Err(Refusal::OtherHost), "{host}");
        }
        assert_eq!(ask(&[bearer], None), Err(Refusal::OtherHost));
    }

    #[test]
    fn a_page_must_be_of_an_origin_that_was_allowed() {
        let bearer = ("authorization", "Bearer secret");
        assert_eq!(ask(&[OWN, bearer, ("origin", "http://localhost:3000")], None), Ok(()));
        for origin in ["https://evil.example", "null", "http://localhost:3001"] {
            let asked = ask(&[OWN, bearer, ("origin", origin)], None);
            assert_eq!(asked, Err(Refusal::OtherOrigin), "{origin}");
        }
    }

    #[test]
    fn the_owner_of_a_connection_is_read_from_the_kernels_list() {
        let list = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n\
            0: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0 0 1\n\
            1: 0100007F:C350 0100007F:1F90 01 00000000:00000000 00:00000000 00000000  1000 0 2\n";
        let (peer, own) = ("127.0.0.1:50000".parse().unwrap(), "127.0.0.1:8080".parse().unwrap());
        if cfg!(target_endian = "little") {
            assert_eq!(owner_in(list, peer, own), Some(Uid::from_raw(1000)));
        }
        assert_eq!(owner_in(list, "127.0.0.1:50001".parse().unwrap(), own), None);
    }

    #[test]
    fn a_connection_of_this_process_is_its_own_users() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let own = listener.local_addr().unwrap();
        let stream = std::net::TcpStream::connect(own).unwrap();
        assert_eq!(owner_of(stream.local_addr().unwrap(), own), Some(Uid::effective()));
    }
}
