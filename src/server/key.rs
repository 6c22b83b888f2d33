//! [`ApiKey`], and [`Admin`]: who may use the API.
//!
//! The key is never kept, only its SHA-256, and what is shown is compared in constant time.
//! Without a key the socket is on loopback (`ServerSettings::check`), and then a request must also name this machine
//! and must not come from a page of another site: a browser would carry it here from anywhere.

use std::fmt;
use std::str::FromStr;

use axum::extract::FromRequestParts;
use axum::http::HeaderValue;
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN};
use axum::http::request::Parts;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::{Hub, Problem};

/// Characters that a key must have at least.
pub const API_KEY_CHARS_MIN: usize = 24;

/// What the API's callers must show, as its hash.
#[derive(Clone)]
pub struct ApiKey([u8; 32]);

/// Text that is no key. It is not repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadApiKey {
    /// Shorter than [`API_KEY_CHARS_MIN`].
    #[error(
        "an API key has at least {API_KEY_CHARS_MIN} characters, this one has {0}; make one with `openssl rand -hex 24`"
    )]
    Short(usize),
    /// With characters that cannot stand in a header.
    #[error("an API key is made of visible ASCII characters without spaces")]
    Characters,
}

impl FromStr for ApiKey {
    type Err = BadApiKey;

    fn from_str(text: &str) -> Result<ApiKey, BadApiKey> {
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(BadApiKey::Characters);
        }
        if text.len() < API_KEY_CHARS_MIN {
            return Err(BadApiKey::Short(text.len()));
        }
        Ok(ApiKey(Sha256::digest(text).into()))
    }
}

impl ApiKey {
    pub(crate) fn is(&self, shown: &str) -> bool {
        let shown: [u8; 32] = Sha256::digest(shown).into();
        self.0.ct_eq(&shown).into()
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(…)")
    }
}

/// The key that a request shows.
pub(crate) fn bearer(authorization: &HeaderValue) -> Option<&str> {
    let (scheme, shown) = authorization.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| shown.trim())
}

/// An admin, and with that the right to the hub behind the API.
pub(crate) struct Admin(pub(crate) Hub);

impl FromRequestParts<Hub> for Admin {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, hub: &Hub) -> Result<Admin, Problem> {
        match &hub.settings.api_key {
            Some(key) => {
                let shown = parts.headers.get(AUTHORIZATION);
                match shown {
                    Some(value) if bearer(value).is_some_and(|shown| key.is(shown)) => {}
                    Some(_) => {
                        return Err(Problem::unauthorized(
                            "the key in `Authorization: Bearer …` is not this hub's",
                        ));
                    }
                    None => {
                        return Err(Problem::unauthorized(
                            "show the hub's key as `Authorization: Bearer …`",
                        ));
                    }
                }
            }
            None => only_from_here(parts)?,
        }
        Ok(Admin(hub.clone()))
    }
}

/// What proxies tell of whom they stand for. One that tells nothing and rewrites `Host` cannot be told from this machine.
const PROXIED: [&str; 6] = [
    "forwarded",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
];

fn only_from_here(parts: &Parts) -> Result<(), Problem> {
    let text = |name| parts.headers.get(name).map(|value| value.to_str().unwrap_or(""));
    let host = text(HOST).unwrap_or("");
    if !names_this_machine(host) {
        return Err(Problem::forbidden(
            "without `admin_key`, the API answers to localhost only; call it by that name, or set a key",
        ));
    }
    if PROXIED.into_iter().any(|name| parts.headers.contains_key(name)) {
        return Err(Problem::forbidden(
            "without `admin_key`, the API does not answer through a proxy; set a key",
        ));
    }
    match text(ORIGIN) {
        Some(origin)
            if !origin
                .split_once("://")
                .is_some_and(|(_, host)| names_this_machine(host)) =>
        {
            Err(Problem::forbidden(
                "without `admin_key`, the API does not answer to pages of other sites",
            ))
        }
        _ => Ok(()),
    }
}

fn names_this_machine(authority: &str) -> bool {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    };
    matches!(host, "localhost" | "127.0.0.1" | "[::1]")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a request with these headers is taken for one of this machine.
    fn is_from_here(headers: &[(&'static str, &'static str)]) -> bool {
        let mut request = axum::http::Request::new(());
        for (name, value) in headers {
            let value = axum::http::HeaderValue::from_static(value);
            request.headers_mut().insert(*name, value);
        }
        only_from_here(&request.into_parts().0).is_ok()
    }

    #[test]
    fn without_a_key_who_is_elsewhere_or_comes_by_a_proxy_is_refused() {
        assert!(is_from_here(&[("host", "localhost:8080")]));
        assert!(is_from_here(&[
            ("host", "[::1]:8080"),
            ("origin", "http://localhost:8080")
        ]));
        assert!(!is_from_here(&[("host", "hub.example")]));
        assert!(!is_from_here(&[
            ("host", "localhost"),
            ("origin", "https://elsewhere.example")
        ]));
        for name in PROXIED {
            assert!(
                !is_from_here(&[("host", "127.0.0.1:8080"), (name, "x")]),
                "{name}"
            );
        }
    }

    #[test]
    fn keys_are_long_and_do_not_show() {
        assert_eq!("short".parse::<ApiKey>().unwrap_err(), BadApiKey::Short(5));
        assert_eq!(
            "a key with spaces, which is long".parse::<ApiKey>().unwrap_err(),
            BadApiKey::Characters
        );
        let key: ApiKey = "0123456789abcdef01234567".parse().unwrap();
        assert!(key.is("0123456789abcdef01234567") && !key.is("0123456789abcdef01234568") && !key.is(""));
        assert_eq!(format!("{key:?}"), "ApiKey(…)");
    }

    #[test]
    fn this_machine_has_three_names() {
        for here in [
            "localhost",
            "localhost:8400",
            "127.0.0.1:1",
            "[::1]",
            "[::1]:8400",
        ] {
            assert!(names_this_machine(here), "{here}");
        }
        for elsewhere in [
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.nip.io:80",
            "evil.example:8400",
        ] {
            assert!(!names_this_machine(elsewhere), "{elsewhere}");
        }
    }
}
