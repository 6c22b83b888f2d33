//! [`Proof`]: what a request carries to show who it is from.

use std::collections::BTreeMap;

use outbound::header::{AUTHORIZATION, COOKIE, HeaderMap, HeaderName, SET_COOKIE};

use crate::call::{Outgoing, header_value};
use crate::failure::{Class, Failure};
use crate::oauth1;
use crate::secret::Secret;

/// Bytes that all cookies of a session may have together; more is a defect of the system.
const COOKIES_BYTES_MAX: usize = 16 * 1024;

/// What every request of a session carries.
pub(crate) enum Proof {
    /// A header with its value.
    Header(HeaderName, Secret),
    /// A parameter of the query.
    Query(String, Secret),
    /// A signature over the request itself.
    Signed(Box<oauth1::Keys>),
    /// Nothing but the session's cookies.
    Cookies,
}

impl Proof {
    /// The value of `Authorization`.
    pub(crate) fn authorization(value: String) -> Proof {
        Proof::Header(AUTHORIZATION, Secret::new(value))
    }

    /// The token alone, without the word before it; empty where the proof has none.
    pub(crate) fn token(&self) -> &str {
        match self {
            Proof::Header(_, value) | Proof::Query(_, value) => {
                let value = value.expose();
                value.split_once(' ').map_or(value, |(_, token)| token)
            }
            Proof::Signed(_) | Proof::Cookies => "",
        }
    }
}

/// What a session brings along besides its proof.
#[derive(Default)]
pub(crate) struct Browser {
    cookies: BTreeMap<String, String>,
    /// The header and the token for requests that change something.
    pub(crate) csrf: Option<(HeaderName, Secret)>,
}

impl Browser {
    /// Takes the cookies of an answer; the later value of a name wins. What cookies say of paths and times is not
    /// looked at: they are sent to the one system they come from, for as long as the session lives.
    pub(crate) fn take(&mut self, headers: &HeaderMap) -> Result<(), Failure> {
        for cookie in headers.get_all(SET_COOKIE) {
            let text = cookie.to_str().unwrap_or_default();
            let pair = text.split(';').next().unwrap_or_default();
            if let Some((name, value)) = pair.split_once('=') {
                self.cookies
                    .insert(name.trim().to_owned(), value.trim().to_owned());
            }
        }
        let bytes: usize = self
            .cookies
            .iter()
            .map(|(name, value)| name.len() + value.len() + 3)
            .sum();
        if bytes > COOKIES_BYTES_MAX {
            let text =
                format!("the system sets {bytes} bytes of cookies, at most {COOKIES_BYTES_MAX} are kept");
            return Err(Failure::protocol(text));
        }
        Ok(())
    }

    /// Whether the system has set any cookie.
    pub(crate) fn is_empty(&self) -> bool {
        self.cookies.is_empty()
    }

    fn header(&self) -> String {
        let pairs: Vec<String> = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        pairs.join("; ")
    }
}

impl Outgoing {
    /// Adds the proof. The last thing that is done to a request, because it may sign what was done before.
    ///
    /// `nonce` and `seconds` since 1970 are for signatures.
    pub(crate) fn prove(
        &mut self,
        proof: &Proof,
        browser: &Browser,
        nonce: &str,
        seconds: i64,
    ) -> Result<(), Failure> {
        let request = &mut self.request;
        if !browser.is_empty() {
            request
                .headers
                .insert(COOKIE, header_value(&browser.header(), true)?);
        }
        if let Some((name, token)) = browser.csrf.as_ref().filter(|_| !request.method.is_safe()) {
            request
                .headers
                .insert(name.clone(), header_value(token.expose(), true)?);
        }
        match proof {
            Proof::Header(name, value) => {
                request
                    .headers
                    .insert(name.clone(), header_value(value.expose(), true)?);
            }
            Proof::Query(name, value) => {
                request.url.query_pairs_mut().append_pair(name, value.expose());
            }
            Proof::Signed(keys) => {
                let value = oauth1::header(keys, &request.method, &request.url, nonce, seconds);
                request.headers.insert(AUTHORIZATION, header_value(&value, true)?);
            }
            Proof::Cookies => {}
        }
        Ok(())
    }
}

/// The name of a header, as a manifest writes it.
pub(crate) fn header_name(text: &str) -> Result<HeaderName, Failure> {
    let name = HeaderName::from_bytes(text.to_lowercase().as_bytes());
    name.map_err(|_| Failure::new(Class::Settings, format!("`{text}` is not a header name")))
}
