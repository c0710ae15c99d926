//! From where a request comes, as far as that can be believed.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::{
    extract::{ConnectInfo, FromRequestParts},
    http::{HeaderMap, header, request::Parts},
};

use super::origin;
use crate::{alert::guard::Range, api::problem::Problem};

/// The browser or program that asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Client {
    /// Its address.
    pub(crate) address: IpAddr,
    /// Whether it speaks HTTPS, to us or to a proxy before us.
    pub(crate) https: bool,
    /// What it calls itself, shortened.
    pub(crate) user_agent: String,
}

/// The longest name of a browser that is kept, in letters.
const USER_AGENT_MAX: usize = 200;

impl Client {
    /// Reads it out of a request. What a proxy says counts only from an address in `trusted`.
    pub(crate) fn of(head: &Parts, trusted: &[Range]) -> Self {
        let peer = head.extensions.get::<ConnectInfo<SocketAddr>>();
        let peer = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0.ip());
        let peer = peer.to_canonical();
        let behind_proxy = is_in(trusted, peer);
        let address = if behind_proxy { forwarded(&head.headers, trusted) } else { None };
        let headers = &head.headers;
        // A browser says by itself that our page came over HTTPS, and only about itself.
        let own_word = origin::is_own_page(headers, &head.uri)
            && headers.get(header::ORIGIN).is_some_and(|at| at.as_bytes().starts_with(b"https://"));
        let proxys_word = headers.get("x-forwarded-proto").is_some_and(|proto| proto == "https");
        Self {
            address: address.unwrap_or(peer),
            https: own_word || (behind_proxy && proxys_word),
            user_agent: user_agent(headers),
        }
    }
}

/// Whether a request comes by one of our proxies.
pub(crate) fn is_by_proxy(head: &Parts, trusted: &[Range]) -> bool {
    let peer = head.extensions.get::<ConnectInfo<SocketAddr>>();
    peer.is_some_and(|peer| is_in(trusted, peer.0.ip().to_canonical()))
}

/// The nearest address that is none of our proxies: what stands before it anybody can write.
fn forwarded(headers: &HeaderMap, trusted: &[Range]) -> Option<IpAddr> {
    let lines = headers.get_all("x-forwarded-for").into_iter().collect::<Vec<_>>();
    let hops = lines.iter().rev().filter_map(|line| line.to_str().ok());
    let mut hops = hops.flat_map(|line| line.rsplit(','));
    let address = hops.find_map(|hop| match hop.trim().parse::<IpAddr>() {
        Ok(ip) if is_in(trusted, ip.to_canonical()) => None,
        other => Some(other.ok()),
    });
    address.flatten().map(|ip| ip.to_canonical())
}

fn is_in(ranges: &[Range], ip: IpAddr) -> bool {
    ranges.iter().any(|range| range.holds(ip))
}

fn user_agent(headers: &HeaderMap) -> String {
    let text = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
    text.unwrap_or_default().chars().take(USER_AGENT_MAX).collect()
}

impl<S: Send + Sync> FromRequestParts<S> for Client {
    type Rejection = Problem;

    /// Takes what the guard has found.
    async fn from_request_parts(head: &mut Parts, _: &S) -> Result<Self, Problem> {
        Ok(head.extensions.get::<Self>().cloned().unwrap_or_else(|| Self::of(head, &[])))
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn client(peer: &str, headers: &[(&str, &str)], trusted: &[&str]) -> Client {
        let mut request = Request::get("/");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut head = request.body(()).unwrap().into_parts().0;
        let peer: IpAddr = peer.parse().unwrap();
        head.extensions.insert(ConnectInfo(SocketAddr::from((peer, 1))));
        let trusted = trusted.iter().map(|range| range.parse().unwrap()).collect::<Vec<_>>();
        Client::of(&head, &trusted)
    }

    #[test]
    fn nobody_is_believed_who_is_not_a_proxy_of_ours() {
        let says = [("x-forwarded-for", "192.0.2.9"), ("x-forwarded-proto", "https")];
        let stranger = client("198.51.100.1", &says, &["10.0.0.0/8"]);
        assert_eq!(stranger.address.to_string(), "198.51.100.1");
        assert!(!stranger.https);
        let proxied = client("10.0.0.1", &says, &["10.0.0.0/8"]);
        assert_eq!(proxied.address.to_string(), "192.0.2.9");
        assert!(proxied.https);
        assert!(!client("127.0.0.1", &says, &[]).https);
    }

    #[test]
    fn of_a_chain_the_last_stranger_counts() {
        let chain = |hops: &str| {
            let says = [("x-forwarded-for", hops)];
            client("10.0.0.1", &says, &["10.0.0.0/8"]).address.to_string()
        };
        assert_eq!(chain("1.1.1.1, 192.0.2.9, 10.0.0.7"), "192.0.2.9");
        assert_eq!(chain("10.0.0.8, 10.0.0.7"), "10.0.0.1");
        assert_eq!(chain("192.0.2.9, rubbish"), "10.0.0.1");
        assert_eq!(chain(""), "10.0.0.1");
    }

    #[test]
    fn a_browsers_own_page_tells_its_scheme() {
        let says = |origin| client("192.0.2.1", &[("host", "h"), ("origin", origin)], &[]).https;
        assert!(says("https://h"));
        assert!(!says("http://h"));
        assert!(!says("https://evil"), "that is about another page");
    }
}
