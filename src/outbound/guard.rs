//! [`Guard`]: which hosts and addresses may be called.
//!
//! Two layers, because either alone is bypassed: a URL whose host is an address never reaches a resolver
//! (`127.0.0.1`, `[::ffff:127.0.0.1]`, `2130706433` and `0x7f.1` all mean loopback), and a public name may resolve to a
//! private address.
//! Where calls go through a [`Proxy`], names are its to look up, and the second layer is its, too.
//! [`Guard::check`] is the first layer, [`Guard::resolve`] the second.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use url::{Host, Url};

use crate::lookup::Lookups;
use crate::proxy::Proxy;

/// What an administrator allows beyond public addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Addresses in a block, written `10.1.0.0/16`, `127.0.0.1` or `fd00::/8`.
    Block {
        /// The first address of the block; bits behind the prefix do not matter.
        address: IpAddr,
        /// How many leading bits count.
        prefix: u8,
    },
    /// A host by its name, wherever it resolves to; written as the name, in lower case. With `*.` in front, all hosts below
    /// that name.
    Host(String),
}

impl Rule {
    /// Whether it names an address.
    pub(crate) fn names_address(&self, address: IpAddr) -> bool {
        match self {
            Rule::Block { address: of, prefix } => in_block(unmapped(address), unmapped(*of), *prefix),
            Rule::Host(_) => false,
        }
    }

    /// Whether it names a host.
    pub(crate) fn names_host(&self, host: &str) -> bool {
        let Rule::Host(name) = self else {
            return false;
        };
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        match name.strip_prefix('*') {
            Some(below) => host.len() > below.len() && host.ends_with(below),
            None => *name == host,
        }
    }
}

/// A rule that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is neither an address block such as 10.1.0.0/16 nor a host name such as erp.example.com")]
pub struct BadRule(String);

impl FromStr for Rule {
    type Err = BadRule;

    fn from_str(text: &str) -> Result<Rule, BadRule> {
        let bad = || BadRule(text.to_owned());
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix.parse::<u8>().map_err(|_| bad())?)),
            None => (text, None),
        };
        if let Ok(address) = address.parse::<IpAddr>() {
            let bits = if address.is_ipv4() { 32 } else { 128 };
            let prefix = prefix.unwrap_or(bits);
            return if prefix <= bits {
                Ok(Rule::Block { address, prefix })
            } else {
                Err(bad())
            };
        }
        match Host::parse(address) {
            Ok(Host::Domain(name)) if prefix.is_none() => Ok(Rule::Host(name)),
            _ => Err(bad()),
        }
    }
}

/// Why a call was refused before a packet left.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAllowed {
    /// The URL is not `http` or `https`.
    #[error("the scheme `{0}` is not allowed, use https")]
    Scheme(String),
    /// The URL carries a user or password, which would end up in logs.
    #[error("the address carries a user name or password, put credentials into the secrets instead")]
    Credentials,
    /// The URL has no host.
    #[error("the address has no host")]
    NoHost,
    /// The host is, or resolves to, an address that is not public.
    #[error(
        "`{host}` leads to {address}, which is not a public address; allow it by name or block if that is meant"
    )]
    Private {
        /// The host as it stands in the URL.
        host: String,
        /// The address it leads to.
        address: IpAddr,
    },
    /// Only some may be called, and it is none of them.
    #[error("`{0}` is not among those that may be called")]
    NotListed(String),
    /// The name does not resolve.
    #[error("`{0}` does not resolve to any address")]
    Unresolved(String),
}

/// Decides which hosts and addresses may be called: public ones, and what the rules allow; and whether through a proxy.
/// Cheap to clone.
#[derive(Clone, Default)]
pub struct Guard {
    rules: Arc<[Rule]>,
    /// Nothing else may be called; everything when there is none.
    only: Arc<[Rule]>,
    lookups: Lookups,
    proxy: Option<Arc<Proxy>>,
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Guard");
        shown
            .field("rules", &self.rules)
            .field("only", &self.only)
            .field("proxy", &self.proxy)
            .finish()
    }
}

impl Guard {
    /// Public addresses only.
    pub fn public_only() -> Guard {
        Guard::default()
    }

    /// Public addresses, and what the rules allow.
    pub fn allowing(rules: impl IntoIterator<Item = Rule>) -> Guard {
        Guard {
            rules: rules.into_iter().collect(),
            ..Guard::default()
        }
    }

    /// Of these, only what some rules name: names of hosts, and addresses. Without rules, everything.
    pub fn only(self, rules: impl IntoIterator<Item = Rule>) -> Guard {
        Guard {
            only: rules.into_iter().collect(),
            ..self
        }
    }

    /// The same, with calls through a proxy, which is to look names up, and to refuse those of private addresses.
    pub fn through(self, proxy: Proxy) -> Guard {
        Guard {
            proxy: Some(Arc::new(proxy)),
            ..self
        }
    }

    /// The proxy, if there is one.
    pub(crate) fn proxy(&self) -> Option<&Proxy> {
        self.proxy.as_deref()
    }

    /// The proxy through which a host is called; nothing where it is called directly.
    pub(crate) fn proxy_to(&self, host: &str) -> Option<&Proxy> {
        self.proxy().filter(|proxy| proxy.leads_to(host))
    }

    /// First layer: scheme, credentials, and hosts that are written as an address in any spelling.
    pub fn check(&self, url: &Url) -> Result<(), NotAllowed> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(NotAllowed::Scheme(url.scheme().to_owned()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(NotAllowed::Credentials);
        }
        // The parser of URLs has already turned every spelling of an IPv4 address into four numbers.
        let (address, host) = match url.host().ok_or(NotAllowed::NoHost)? {
            Host::Domain(name) => return self.name(name),
            Host::Ipv4(address) => (address.into(), address.to_string()),
            Host::Ipv6(address) => (address.into(), address.to_string()),
        };
        match (self.allows(address), self.lists_address(address)) {
            (false, _) => Err(NotAllowed::Private { host, address }),
            (true, false) => Err(NotAllowed::NotListed(host)),
            (true, true) => Ok(()),
        }
    }

    /// Whether a name may be called, before it is looked up: where it is not listed, an address that it leads to may be.
    fn name(&self, host: &str) -> Result<(), NotAllowed> {
        let lists_addresses = self.only.iter().any(|rule| matches!(rule, Rule::Block { .. }));
        let is_looked_up = self.proxy_to(host).is_none();
        match self.lists_host(host) || (lists_addresses && is_looked_up) {
            true => Ok(()),
            false => Err(NotAllowed::NotListed(host.to_owned())),
        }
    }

    /// Second layer: resolves a name and keeps the addresses that may be called.
    pub async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, NotAllowed> {
        let found = self.lookups.find(host).await;
        let mut addresses: Vec<IpAddr> = found.iter().map(SocketAddr::ip).collect();
        let Some(first) = addresses.first().copied() else {
            return Err(NotAllowed::Unresolved(host.to_owned()));
        };
        // The proxy is the operator's, wherever it is.
        if !self.proxy().is_some_and(|proxy| proxy.is_at(host)) {
            addresses.retain(|address| self.allows_host(host) || self.allows(*address));
            if addresses.is_empty() {
                let (host, address) = (host.to_owned(), first);
                return Err(NotAllowed::Private { host, address });
            }
            addresses.retain(|address| self.lists_host(host) || self.lists_address(*address));
            if addresses.is_empty() {
                return Err(NotAllowed::NotListed(host.to_owned()));
            }
        }
        let addresses = addresses
            .into_iter()
            .map(|address| SocketAddr::new(address, port));
        Ok(addresses.collect())
    }

    /// Whether an address may be called: it is public, or a rule allows it.
    pub fn allows(&self, address: IpAddr) -> bool {
        let address = unmapped(address);
        is_public(address) || self.rules.iter().any(|rule| rule.names_address(address))
    }

    fn allows_host(&self, host: &str) -> bool {
        self.rules.iter().any(|rule| rule.names_host(host))
    }

    fn lists_host(&self, host: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|rule| rule.names_host(host))
    }

    fn lists_address(&self, address: IpAddr) -> bool {
        self.only.is_empty() || self.only.iter().any(|rule| rule.names_address(address))
    }
}

/// An IPv4 address that is dressed as IPv6 is judged as the IPv4 address.
fn unmapped(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => embedded(v6).map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    }
}

fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let last = Ipv4Addr::from((u32::from(g) << 16) | u32::from(h));
    match [a, b, c, d, e, f] {
        [0, 0, 0, 0, 0, 0xffff] => Some(last),
        // NAT64
        [0x64, 0xff9b, 0, 0, 0, 0] => Some(last),
        // 6to4
        [0x2002, high, low, ..] => Some(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low))),
        _ => None,
    }
}

fn in_block(address: IpAddr, of: IpAddr, prefix: u8) -> bool {
    let shift = |bits: u32| bits.saturating_sub(u32::from(prefix));
    match (address, of) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            (u64::from(a.to_bits()) >> shift(32)) == (u64::from(b.to_bits()) >> shift(32))
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => {
            prefix == 0 || (a.to_bits() >> shift(128)) == (b.to_bits() >> shift(128))
        }
        _ => false,
    }
}

/// Blocks that are not public, from the IANA special-purpose address registries.
const NOT_PUBLIC_V4: [([u8; 4], u8); 15] = [
    ([0, 0, 0, 0], 8),
    ([10, 0, 0, 0], 8),
    ([100, 64, 0, 0], 10),
    ([127, 0, 0, 0], 8),
    ([169, 254, 0, 0], 16),
    ([172, 16, 0, 0], 12),
    ([192, 0, 0, 0], 24),
    ([192, 0, 2, 0], 24),
    ([192, 88, 99, 0], 24),
    ([192, 168, 0, 0], 16),
    ([198, 18, 0, 0], 15),
    ([198, 51, 100, 0], 24),
    ([203, 0, 113, 0], 24),
    ([224, 0, 0, 0], 4),
    ([240, 0, 0, 0], 4),
];

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => !NOT_PUBLIC_V4
            .iter()
            .any(|(of, prefix)| in_block(address, IpAddr::from(*of), *prefix)),
        IpAddr::V6(v6) => {
            let [a, b, ..] = v6.segments();
            // Global unicast is 2000::/3; documentation and the protocol assignments 2001::/23 inside it are not public.
            (a & 0xe000) == 0x2000 && !(a == 0x2001 && (b < 0x0200 || b == 0x0db8))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(guard: &Guard, url: &str) -> Result<(), NotAllowed> {
        guard.check(&Url::parse(url).unwrap())
    }

    #[test]
    fn every_spelling_of_a_private_address_is_refused() {
        for host in [
            "127.0.0.1",
            "2130706433",
            "0x7f.1",
            "0177.0.0.1",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[64:ff9b::10.0.0.1]",
            "[2002:7f00:1::]",
            "[fd00::1]",
            "[fe80::1]",
            "[ff02::1]",
            "[::]",
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "169.254.169.254",
            "172.31.0.1",
            "192.168.1.1",
            "224.0.0.1",
            "255.255.255.255",
        ] {
            let found = check(&Guard::public_only(), &format!("https://{host}/x"));
            assert!(
                matches!(found, Err(NotAllowed::Private { .. })),
                "{host}: {found:?}"
            );
        }
    }

    #[test]
    fn public_addresses_and_names_pass_the_first_layer() {
        for host in [
            "api.example.com",
            "8.8.8.8",
            "172.32.0.1",
            "[2600::1]",
            "[64:ff9b::808:808]",
        ] {
            assert_eq!(
                check(&Guard::public_only(), &format!("https://{host}/")),
                Ok(()),
                "{host}"
            );
        }
    }

    #[test]
    fn schemes_and_credentials_are_checked() {
        let guard = Guard::public_only();
        assert_eq!(
            check(&guard, "file:///etc/passwd"),
            Err(NotAllowed::Scheme("file".into()))
        );
        assert_eq!(
            check(&guard, "https://u:p@example.com/"),
            Err(NotAllowed::Credentials)
        );
    }

    #[test]
    fn rules_open_exactly_their_block() {
        let guard = Guard::allowing(["127.0.0.0/8".parse().unwrap(), "fd00:1::/32".parse().unwrap()]);
        assert!(check(&guard, "http://127.9.9.9/").is_ok());
        assert!(check(&guard, "http://[::ffff:127.0.0.1]/").is_ok());
        assert!(check(&guard, "http://[fd00:1::7]/").is_ok());
        assert!(check(&guard, "http://[fd00:2::7]/").is_err());
        assert!(check(&guard, "http://10.0.0.1/").is_err());
        for bad in ["10.0.0.0/33", "a b", "example.com/8", ""] {
            assert!(bad.parse::<Rule>().is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn names_that_resolve_to_private_addresses_are_refused_unless_allowed() {
        let refused = Guard::public_only().resolve("localhost", 80).await;
        assert!(matches!(refused, Err(NotAllowed::Private { .. })), "{refused:?}");
        let by_name = Guard::allowing(["LocalHost".parse().unwrap()]);
        assert!(by_name.resolve("localhost", 80).await.is_ok());
        let by_block = Guard::allowing(["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()]);
        assert!(by_block.resolve("localhost", 80).await.is_ok());
    }

    #[tokio::test]
    async fn nothing_else_is_called_where_some_are_listed() {
        let rules = |all: &[&str]| -> Vec<Rule> { all.iter().map(|rule| rule.parse().unwrap()).collect() };
        let listed = rules(&[
            "*.partner.example",
            "erp.internal",
            "203.0.114.0/24",
            "127.0.0.0/8",
        ]);
        let guard = Guard::allowing(rules(&["127.0.0.0/8"])).only(listed.clone());
        for url in [
            "https://a.partner.example/",
            "https://erp.internal/",
            "https://203.0.114.9/",
        ] {
            assert_eq!(check(&guard, url), Ok(()), "{url}");
        }
        let refused = check(&guard, "https://8.8.8.8/");
        assert_eq!(refused, Err(NotAllowed::NotListed("8.8.8.8".to_owned())));
        // That a name is not listed is known when it is looked up: it may lead to an address that is.
        assert_eq!(check(&guard, "https://localhost/"), Ok(()));
        assert!(guard.resolve("localhost", 1).await.is_ok());
        let by_name = Guard::allowing(rules(&["127.0.0.0/8"])).only(rules(&["erp.internal"]));
        let not_listed = Err(NotAllowed::NotListed("localhost".to_owned()));
        assert_eq!(check(&by_name, "https://localhost/"), not_listed);
        assert_eq!(by_name.resolve("localhost", 1).await.map(drop), not_listed);
        // What is private is not called because it is listed.
        let listed_only = Guard::public_only().only(listed.clone());
        let private = |told| matches!(told, Err(NotAllowed::Private { .. }));
        assert!(private(check(&listed_only, "https://127.0.0.1/")));
        assert!(private(listed_only.resolve("localhost", 1).await.map(drop)));
        // Who does not look names up cannot know their addresses.
        let through = Guard::public_only()
            .only(listed)
            .through(Proxy::at("http://localhost:3128").unwrap());
        assert!(matches!(
            check(&through, "https://hooks.example/"),
            Err(NotAllowed::NotListed(_))
        ));
        assert_eq!(check(&through, "https://a.partner.example/"), Ok(()));
        assert!(
            through.resolve("localhost", 3128).await.is_ok(),
            "the proxy is the operator's"
        );
    }
}
