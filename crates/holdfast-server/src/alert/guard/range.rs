//! Networks, and which of them are the public internet.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

/// A network: `10.0.0.0/8`, `fd00::/8`, or a single address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    network: IpAddr,
    bits: u32,
}

/// A text is no network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an address or a network such as 192.168.1.0/24")]
pub struct RangeError(String);

impl FromStr for Range {
    type Err = RangeError;

    fn from_str(text: &str) -> Result<Self, RangeError> {
        let wrong = || RangeError(text.chars().take(60).collect());
        let (network, bits) = match text.split_once('/') {
            Some((network, bits)) => (network, Some(bits.parse::<u32>().map_err(|_| wrong())?)),
            None => (text, None),
        };
        let network: IpAddr = network.parse().map_err(|_| wrong())?;
        let all = if network.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(all);
        if bits > all { Err(wrong()) } else { Ok(Self { network, bits }) }
    }
}

impl Range {
    /// Whether `ip` lies in it. An IPv4 address that is written as an IPv6 one is not the same.
    #[must_use]
    pub fn holds(&self, ip: IpAddr) -> bool {
        match (self.network, ip) {
            (IpAddr::V4(network), IpAddr::V4(ip)) => {
                same(network.to_bits().into(), ip.to_bits().into(), 32 - self.bits)
            }
            (IpAddr::V6(network), IpAddr::V6(ip)) => {
                same(network.to_bits(), ip.to_bits(), 128 - self.bits)
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

fn same(one: u128, other: u128, free_bits: u32) -> bool {
    (one ^ other).checked_shr(free_bits).unwrap_or(0) == 0
}

/// Networks of IPv4 that are not the public internet, after IANA's special-purpose registry.
const INSIDE_V4: [(Ipv4Addr, u32); 16] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    (Ipv4Addr::new(168, 63, 129, 16), 32), // a cloud's own host, though its address looks public
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
];

/// The one block of IPv6 that is handed out to the public, and what in it is not.
const OUTSIDE_V6: (Ipv6Addr, u32) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);
const INSIDE_V6: [(Ipv6Addr, u32); 4] = [
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16), // carries an IPv4 address inside
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];

/// Whether anybody on the internet could be meant by `ip`.
pub(super) fn is_public(ip: IpAddr) -> bool {
    let within = |network: IpAddr, bits: u32| Range { network, bits }.holds(ip);
    match ip {
        IpAddr::V4(_) => !INSIDE_V4.iter().any(|(network, bits)| within((*network).into(), *bits)),
        // Mapped, translated and compatible IPv4 addresses lie outside of the public block.
        IpAddr::V6(_) => {
            within(OUTSIDE_V6.0.into(), OUTSIDE_V6.1)
                && !INSIDE_V6.iter().any(|(network, bits)| within((*network).into(), *bits))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_holds_what_begins_like_it() {
        let holds =
            |range: &str, ip: &str| range.parse::<Range>().unwrap().holds(ip.parse().unwrap());
        assert!(holds("10.0.0.0/8", "10.255.0.1"));
        assert!(!holds("10.0.0.0/8", "11.0.0.1"));
        assert!(holds("192.168.1.5", "192.168.1.5"));
        assert!(!holds("192.168.1.5", "192.168.1.6"));
        assert!(holds("0.0.0.0/0", "8.8.8.8"));
        assert!(holds("fd00::/8", "fd12::1") && !holds("fd00::/8", "fe80::1"));
        assert!(!holds("127.0.0.0/8", "::ffff:127.0.0.1"));
        for wrong in ["", "10.0.0.0/33", "10/8", "example.org", "::/129", "10.0.0.0/-1"] {
            assert!(wrong.parse::<Range>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_internet_is_what_is_left() {
        for public in ["8.8.8.8", "1.1.1.1", "100.63.255.255", "172.32.0.1", "2606:4700::1111"] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for inside in ["0.1.2.3", "100.64.0.1", "::", "::1", "64:ff9b::a00:1", "3fff::1", "fec0::1"]
        {
            assert!(!is_public(inside.parse().unwrap()), "{inside}");
        }
    }
}
