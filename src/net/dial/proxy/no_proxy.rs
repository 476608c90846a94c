//! [`NoProxy`]: the list in `NO_PROXY`, of targets that are reached directly.

use std::net::{IpAddr, Ipv6Addr};

use super::host_and_port;

/// A parsed list, without the entries that could not be parsed.
#[derive(Debug)]
pub(super) struct NoProxy(Vec<Entry>);

#[derive(Debug)]
struct Entry {
    hosts: Hosts,
    /// `None` means every port.
    port: Option<u16>,
}

#[derive(Debug)]
enum Hosts {
    All,
    Network(Network),
    /// The subdomains of a domain.
    Domain {
        /// In lower case, without a dot at either end.
        name: String,
        /// True if the domain itself is included.
        itself: bool,
    },
}

/// All addresses with the same first `prefix` bits as `address`, which is never an IPv4-mapped IPv6 address.
#[derive(Debug)]
struct Network {
    address: IpAddr,
    prefix: u32,
}

impl NoProxy {
    pub(super) fn parse(list: &str) -> Self {
        NoProxy(list.split(|c: char| c == ',' || c.is_whitespace()).filter_map(Entry::parse).collect())
    }

    /// Returns true if a host is in the list. An IPv6 address must have no brackets.
    pub(super) fn covers(&self, host: &str, port: u16) -> bool {
        let host = without_dot(host).to_ascii_lowercase();
        let address = host.parse::<IpAddr>().ok().map(|address| address.to_canonical());
        self.0.iter().any(|entry| {
            entry.port.is_none_or(|only| only == port)
                && match (&entry.hosts, address) {
                    (Hosts::All, _) => true,
                    (Hosts::Network(network), Some(address)) => network.contains(address),
                    (Hosts::Domain { name, itself }, None) => match host.strip_suffix(name.as_str()) {
                        Some("") => *itself,
                        Some(rest) => rest.ends_with('.'),
                        None => false,
                    },
                    // An address has no parent domain: `0.0.1` does not cover `10.0.0.1`.
                    _ => false,
                }
        })
    }
}

impl Entry {
    fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Entry { hosts: Hosts::All, port: None });
        }
        if let Some((address, prefix)) = text.split_once('/') {
            let network = Network::new(address.parse().ok()?, prefix.parse().ok()?)?;
            return Some(Entry { hosts: Hosts::Network(network), port: None });
        }
        // An IPv6 address without brackets has colons but no port.
        let (host, port) = match text.parse::<Ipv6Addr>() {
            Ok(_) => (text, None),
            Err(_) => host_and_port(text.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(text))?,
        };
        let hosts = match host.parse::<IpAddr>() {
            Ok(address) => Hosts::Network(Network::new(address, bits(address))?),
            Err(_) => Hosts::domain(host)?,
        };
        Some(Entry { hosts, port })
    }
}

impl Hosts {
    /// Parses `example.com`, or `.example.com` for its subdomains only.
    fn domain(text: &str) -> Option<Self> {
        let text = without_dot(text).to_ascii_lowercase();
        let name = text.strip_prefix('.').unwrap_or(&text);
        (!name.is_empty()).then(|| Hosts::Domain { name: name.to_owned(), itself: name == text })
    }
}

impl Network {
    fn new(address: IpAddr, prefix: u32) -> Option<Self> {
        let canonical = address.to_canonical();
        // The first 96 bits of an IPv4-mapped IPv6 address are the same for all of them.
        let mapping_bits = bits(address) - bits(canonical);
        (prefix <= bits(address)).then_some(Network { address: canonical, prefix: prefix.checked_sub(mapping_bits)? })
    }

    fn contains(&self, address: IpAddr) -> bool {
        let common = match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => (own.to_bits() ^ other.to_bits()).leading_zeros(),
            (IpAddr::V6(own), IpAddr::V6(other)) => (own.to_bits() ^ other.to_bits()).leading_zeros(),
            _ => return false,
        };
        common >= self.prefix
    }
}

fn bits(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn without_dot(host: &str) -> &str {
    host.strip_suffix('.').unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A list, targets that it covers, and targets that it does not cover.
    type Row<'a> = (&'a str, &'a [(&'a str, u16)], &'a [(&'a str, u16)]);

    fn check(rows: &[Row<'_>]) {
        for (list, inside, outside) in rows {
            let parsed = NoProxy::parse(list);
            for (host, port) in *inside {
                assert!(parsed.covers(host, *port), "{list:?} does not cover {host}:{port}");
            }
            for (host, port) in *outside {
                assert!(!parsed.covers(host, *port), "{list:?} covers {host}:{port}");
            }
        }
    }

    #[test]
    fn a_name_covers_itself_and_its_subdomains() {
        let all: &[_] = &[("example.com", 80), ("a.example.com", 443), ("a.b.example.com", 1)];
        let others: &[_] = &[("notexample.com", 80), ("example.org", 80), ("example.com.org", 80), ("com", 80)];
        check(&[("example.com", all, others), ("example.com.", all, others), ("EXAMPLE.com", all, others)]);
        check(&[("localhost", &[("localhost", 80), ("LOCALHOST.", 80)], &[("127.0.0.1", 80), ("local", 80)])]);
    }

    #[test]
    fn a_leading_dot_or_star_covers_only_the_subdomains() {
        for list in [".example.com", "*.example.com", "*.Example.Com."] {
            check(&[(list, &[("a.example.com", 80), ("A.B.EXAMPLE.COM.", 80)], &[("example.com", 80)])]);
        }
    }

    #[test]
    fn an_entry_with_a_port_covers_only_this_port() {
        check(&[
            ("example.com:4443", &[("example.com", 4443), ("a.example.com", 4443)], &[("example.com", 443)]),
            (".example.com:4443", &[("a.example.com", 4443)], &[("example.com", 4443), ("a.example.com", 443)]),
            ("10.1.2.3:80", &[("10.1.2.3", 80)], &[("10.1.2.3", 81)]),
            ("[fd00::1]:80", &[("fd00::1", 80)], &[("fd00::1", 81), ("fd00::2", 80)]),
        ]);
    }

    #[test]
    fn an_address_covers_itself_in_every_notation() {
        check(&[
            ("10.1.2.3", &[("10.1.2.3", 80), ("::ffff:10.1.2.3", 80)], &[("10.1.2.4", 80), ("x.10.1.2.3", 80)]),
            ("::ffff:10.1.2.3", &[("10.1.2.3", 80), ("::ffff:a01:203", 80)], &[("10.1.2.4", 80)]),
            ("fd00::1", &[("fd00::1", 80), ("FD00:0:0::1", 80)], &[("fd00::2", 80)]),
            ("[fd00::1]", &[("fd00::1", 1)], &[("fd00::2", 1)]),
            ("::1:80", &[("::1:80", 443)], &[("::1", 80)]),
        ]);
    }

    #[test]
    fn a_network_covers_its_addresses() {
        check(&[
            ("10.0.0.0/8", &[("10.255.0.1", 80), ("::ffff:10.0.0.1", 80)], &[("11.0.0.0", 80), ("a.10.0.0.0", 80)]),
            ("10.1.2.3/8", &[("10.0.0.1", 80)], &[("9.255.255.255", 80)]),
            ("10.0.0.0/9", &[("10.127.255.255", 80)], &[("10.128.0.0", 80)]),
            ("10.1.2.3/32", &[("10.1.2.3", 80)], &[("10.1.2.2", 80)]),
            ("0.0.0.0/0", &[("10.1.2.3", 80), ("255.255.255.255", 80)], &[("::1", 80), ("a", 80)]),
            ("fd00::/8", &[("fdff::1", 80)], &[("fe00::1", 80)]),
            ("fd00::1/128", &[("fd00::1", 80)], &[("fd00::", 80)]),
            ("::/0", &[("::1", 80), ("ffff::", 80)], &[("10.1.2.3", 80), ("::ffff:10.1.2.3", 80)]),
            ("::ffff:10.0.0.0/104", &[("10.1.2.3", 80)], &[("11.1.2.3", 80), ("::1", 80)]),
        ]);
    }

    #[test]
    fn a_star_covers_everything() {
        check(&[("*", &[("example.com", 80), ("10.1.2.3", 443), ("::1", 1)], &[])]);
        check(&[("a, *", &[("example.com", 80)], &[])]);
    }

    #[test]
    fn a_domain_covers_no_address() {
        check(&[("0.0.1", &[], &[("10.0.0.1", 80)]), (".0.0.1", &[], &[("10.0.0.1", 80)])]);
    }

    #[test]
    fn commas_and_spaces_separate_entries() {
        let all: &[_] = &[("a", 80), ("b", 80), ("c", 80), ("10.1.2.3", 80)];
        for list in ["a,b,c,10.1.2.3", "a b c 10.1.2.3", " a, b ,,c\t\n10.0.0.0/8 ,"] {
            check(&[(list, all, &[("d", 80), ("", 80)])]);
        }
    }

    #[test]
    fn malformed_entries_are_ignored_and_the_others_count() {
        let malformed = [
            "",
            ".",
            "..",
            "*.",
            "**",
            "*x",
            "*:80",
            ":80",
            "example.com:http",
            "example.com:65536",
            "a:1:2",
            "10.0.0.0/33",
            "10.0.0.0/-1",
            "10.0.0.0/",
            "10.0.0.0/8:80",
            "10.0.0.0/4294967304",
            "fd00::/129",
            "/8",
            "example.com/8",
            "::ffff:10.0.0.0/95",
            "::ffff:10.0.0.0/129",
            "[fd00::1",
            "fd00::1]",
            "[]",
            "[]:80",
            "[example.com]",
            "[10.1.2.3]",
            "[fd00::1]80",
            "http://example.com",
            "user@example.com",
            "é",
        ];
        let targets = ["example.com", "10.1.2.3", "11.1.2.3", "::1", "x", ""];
        for entry in malformed {
            let parsed = NoProxy::parse(entry);
            assert!(parsed.0.is_empty(), "{entry:?} was parsed as {parsed:?}");
            let parsed = NoProxy::parse(&format!("{entry},good.example.org,{entry}"));
            assert!(parsed.covers("good.example.org", 80), "{entry:?} breaks the other entries");
            for host in targets {
                assert!(!parsed.covers(host, 80), "{entry:?} covers {host}");
            }
        }
    }
}
