//! [`Arrival`]: how an event arrived, kept so that it can be read again.

use jiff::Timestamp;
use outbound::header::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};

/// Headers that are kept of an event.
const HEADERS_KEPT_MAX: usize = 40;
/// Characters of a header's value that are kept.
const VALUE_CHARS_MAX: usize = 300;
/// Bytes of a body that are kept beside the event that was made of it.
const ORIGINAL_BYTES_MAX: usize = 65_536;
/// What stands in place of the value of a header that may be a secret.
pub(crate) const MASKED: &str = "***";
/// What a header is called whose value is a secret, or may be one: any part of its name.
const SECRET_WORDS: [&str; 9] = [
    "auth",
    "cookie",
    "token",
    "secret",
    "key",
    "password",
    "session",
    "credential",
    "cert",
];

/// How an event arrived, or why the hub says it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Arrival {
    /// The headers, names in lower case, in their order; values that may be secrets masked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, String)>,
    /// What its signature was: `v1` or `v1a`; nothing when who said it showed a key instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verified: Option<String>,
    /// When the sender signed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signed_at: Option<Timestamp>,
    /// What it came as, when that was no event of ours: `cloudevent`, `json`, `form` or `xml`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub came_as: Option<String>,
    /// The body as it came, when the event was made of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub original: Option<String>,
    /// The connection where what it tells of was changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection: Option<String>,
}

impl Arrival {
    /// That the hub says it because something changed at a connection.
    pub fn because_of(connection: Option<&str>) -> Arrival {
        Arrival {
            connection: connection.map(str::to_owned),
            ..Arrival::default()
        }
    }

    /// With these headers, as many as are kept.
    pub(crate) fn with_headers(mut self, headers: &HeaderMap) -> Arrival {
        let kept = headers.iter().take(HEADERS_KEPT_MAX);
        self.headers = kept
            .map(|(name, value)| (name.as_str().to_owned(), shown(name, value)))
            .collect();
        self
    }

    /// With the body that the event was made of.
    pub(crate) fn with_original(mut self, came_as: &str, body: &[u8]) -> Arrival {
        self.came_as = Some(came_as.to_owned());
        let kept = &body[..body.len().min(ORIGINAL_BYTES_MAX)];
        self.original = Some(String::from_utf8_lossy(kept).into_owned());
        self
    }

    /// As the ledger keeps it; empty when there is nothing to tell.
    pub fn to_kept(&self) -> String {
        match self == &Arrival::default() {
            true => String::new(),
            false => serde_json::to_string(self).expect("texts serialise"),
        }
    }

    /// As it was kept. What cannot be read tells nothing.
    pub fn kept(text: &str) -> Arrival {
        serde_json::from_str(text).unwrap_or_default()
    }
}

/// A header's value, unless it may be a secret. That of a signature is none: it is worth something only with its body,
/// and only once.
fn shown(name: &HeaderName, value: &HeaderValue) -> String {
    if may_be_secret(name.as_str().as_bytes()) {
        return MASKED.to_owned();
    }
    match value.to_str() {
        // Visible ASCII, as nearly all are.
        Ok(text) => text[..text.len().min(VALUE_CHARS_MAX)].to_owned(),
        Err(_) => String::from_utf8_lossy(value.as_bytes())
            .chars()
            .take(VALUE_CHARS_MAX)
            .collect(),
    }
}

/// Whether a header's name has one of the words in it. By their first letters, as this looks at every header of every post.
fn may_be_secret(name: &[u8]) -> bool {
    let begins = |at: usize| {
        let mut words = SECRET_WORDS.iter().map(|word| word.as_bytes());
        words.any(|word| word[0] == name[at] && name[at..].starts_with(word))
    };
    (0..name.len()).any(begins)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_a_secret_is_masked_and_all_of_it_reads_back() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("content-type", "application/json"),
            ("webhook-id", "m1"),
            ("webhook-signature", "v1,abc"),
            ("authorization", "hunter2"),
            ("x-api-key", "hunter2"),
            ("cookie", "hunter2"),
            ("x-amz-security-token", "hunter2"),
            ("x-client-cert", "hunter2"),
            ("x-long", &"a".repeat(1_000)),
        ] {
            headers.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                value.parse().unwrap(),
            );
        }
        let arrival = Arrival {
            verified: Some("v1".into()),
            ..Arrival::default()
        };
        let arrival = arrival.with_headers(&headers).with_original("form", b"a=1\xff");
        let kept = arrival.to_kept();
        assert!(!kept.contains("hunter2") && kept.contains("v1,abc"), "{kept}");
        assert_eq!(kept.matches(MASKED).count(), 5);
        assert_eq!(Arrival::kept(&kept), arrival);
        assert_eq!(arrival.headers.last().unwrap().1.len(), VALUE_CHARS_MAX);
        assert_eq!(arrival.original.as_deref(), Some("a=1\u{fffd}"));
        assert_eq!(
            (Arrival::default().to_kept(), Arrival::kept("")),
            (String::new(), Arrival::default())
        );
    }
}
