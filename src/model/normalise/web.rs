//! E-mail addresses, domains and web addresses.

use email_address::{EmailAddress, Options};
use url::Url;

use crate::Invalid;

/// Characters of a web address at most.
const URL_CHARS_MAX: usize = 2000;
/// Bytes of a domain name at most (RFC 1035 §2.3.4).
const DOMAIN_BYTES_MAX: usize = 253;
/// Bytes of a label of a domain name at most.
const LABEL_BYTES_MAX: usize = 63;
/// Bytes of the part of an e-mail address before the `@` at most (RFC 5321 §4.5.3.1).
const LOCAL_BYTES_MAX: usize = 64;
/// Bytes of a domain name up to which no limit of any kind can be reached.
const PLAIN_BYTES_MAX: usize = 180;

/// The address in lower case, its domain in ASCII.
///
/// RFC 5321 lets mailboxes differ in case; no system that people use does, and two records of one person must meet.
pub(super) fn email(raw: &str) -> Result<String, Invalid> {
    let expected = || Invalid::new(raw, "an e-mail address such as ana@example.com");
    let (local, domain) = raw.rsplit_once('@').ok_or_else(expected)?;
    if plain_local(local) && domain.contains('.') && plain_domain(domain) {
        return Ok(raw.to_owned());
    }
    let address = format!("{}@{}", local.to_lowercase(), ascii(domain).ok_or_else(expected)?);
    let options = Options::default()
        .without_display_text()
        .without_domain_literal()
        .with_required_tld();
    EmailAddress::parse_with_options(&address, options).map_err(|_| expected())?;
    Ok(address)
}

/// Whether the part before the `@` is of the usual kind, which is valid and normal as it stands: nine in ten
/// addresses are, and their full check costs a microsecond each.
fn plain_local(local: &str) -> bool {
    let usual = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+_-".contains(&b);
    local.len() <= LOCAL_BYTES_MAX
        && local
            .split('.')
            .all(|part| !part.is_empty() && part.bytes().all(usual))
}

/// Whether a domain name is normal as it stands; see [`plain_local`]. Names in Punycode are left to the full check.
fn plain_domain(domain: &str) -> bool {
    let label = |label: &str| {
        let usual = label
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        let within = !label.is_empty() && label.len() <= LABEL_BYTES_MAX;
        // Hyphens in the third and fourth place mark encoded names.
        usual && within && !label.starts_with('-') && !label.ends_with('-') && label.get(2..4) != Some("--")
    };
    domain.len() <= PLAIN_BYTES_MAX && domain.split('.').all(label)
}

/// The registrable domain (public suffix list) of a domain, a web address or an e-mail address.
pub(super) fn domain(raw: &str) -> Result<String, Invalid> {
    let expected = || Invalid::new(raw, "a domain such as example.com");
    let rest = raw.split_once("://").map_or(raw, |(_, rest)| rest);
    let host = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    let host = host.split_once(':').map_or(host, |(host, _)| host);
    let host = ascii(host).ok_or_else(expected)?;
    if host
        .rsplit('.')
        .next()
        .is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()))
    {
        return Err(Invalid::new(
            raw,
            "a domain such as example.com, not a network address",
        ));
    }
    match psl::domain_str(&host) {
        Some(domain) => Ok(domain.to_owned()),
        None => Err(Invalid::new(
            raw,
            "a domain that can be registered, such as example.com",
        )),
    }
}

/// A domain name in lower-case ASCII without a dot at its end.
fn ascii(domain: &str) -> Option<String> {
    let domain = domain.trim();
    let domain = domain.strip_suffix('.').unwrap_or(domain);
    if plain_domain(domain) {
        return Some(domain.to_owned());
    }
    if domain.len() > DOMAIN_BYTES_MAX * 4 {
        return None;
    }
    let ascii = idna::domain_to_ascii(domain).ok()?;
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= LABEL_BYTES_MAX
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    (ascii.len() <= DOMAIN_BYTES_MAX && ascii.split('.').all(label)).then_some(ascii)
}

/// The web address with scheme (`https` when none is written), host in lower-case ASCII, no default port, and no
/// slash when there is nothing behind it. Only http and https, and no user name or password: those are secrets.
pub(super) fn url(raw: &str) -> Result<String, Invalid> {
    let expected = || Invalid::new(raw, "a web address such as https://www.example.com");
    let with_scheme = if raw.contains("://") {
        raw.to_owned()
    } else {
        format!("https://{raw}")
    };
    if with_scheme.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(expected());
    }
    let url = Url::parse(&with_scheme).map_err(|_| expected())?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(Invalid::new(
            raw,
            "a web address that begins with https:// or http://",
        ));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Invalid::new(
            "…@…",
            "a web address without user name and password",
        ));
    }
    if !url.host_str().is_some_and(|host| host.contains(['.', ':'])) {
        return Err(expected());
    }
    let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    let mut text = String::from(url);
    if bare {
        text.pop();
    }
    if text.len() > URL_CHARS_MAX {
        return Err(Invalid::new(
            raw,
            format!("a web address of at most {URL_CHARS_MAX} characters"),
        ));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

        /// What is taken as it stands is what the full check would have answered.
        #[test]
        fn the_short_way_agrees_with_the_full_check(
            local in "[a-z0-9._+-]{1,12}|[a-z]{60,70}",
            domain in "([a-z0-9-]{1,6}\\.){1,3}[a-z0-9-]{1,6}|xn--[a-z0-9]{1,4}\\.de",
        ) {
            if plain_domain(&domain) {
                prop_assert_eq!(idna::domain_to_ascii(&domain).ok(), Some(domain.clone()));
            }
            if plain_local(&local) && plain_domain(&domain) {
                let options = Options::default().without_display_text().without_domain_literal().with_required_tld();
                let address = format!("{local}@{domain}");
                prop_assert!(EmailAddress::parse_with_options(&address, options).is_ok(), "{}", address);
            }
        }
    }
}
