//! What may be wrong with a setting, all of it at once: [`BadSetting`].

use std::fmt;

use model::{EVENT_TYPES, EventType};

use outbound::header::{HeaderMap, HeaderName, HeaderValue};

use crate::{PRIVATE_PREFIX, PUBLIC_PREFIX, Secret, Subscription};

/// Characters that the name of a partner or an endpoint may have.
pub const NAME_CHARS_MAX: usize = 64;
/// Secrets at the same moment: the present one, and those that are being rotated out or in.
pub const SECRETS_MAX: usize = 4;
/// Headers of its own that an endpoint may get.
pub const HEADERS_MAX: usize = 20;
/// What a delivery's headers are that nobody else sets, beside those that begin with `webhook-`.
const OUR_HEADERS: [&str; 7] = [
    "host",
    "content-type",
    "content-length",
    "connection",
    "transfer-encoding",
    "user-agent",
    "expect",
];
/// Patterns that the subscriptions of an endpoint may have together.
pub const SUBSCRIPTIONS_MAX: usize = 100;

/// What is wrong with a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadSetting {
    /// The field, as it is called in the configuration.
    pub field: &'static str,
    /// Which of a list's elements, from 0.
    pub index: Option<usize>,
    /// What is wrong, and what to write instead.
    pub reason: String,
}

impl fmt::Display for BadSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.index {
            Some(index) => write!(f, "`{}[{index}]`: {}", self.field, self.reason),
            None => write!(f, "`{}`: {}", self.field, self.reason),
        }
    }
}

impl std::error::Error for BadSetting {}

#[derive(Default)]
pub(crate) struct Findings(pub(crate) Vec<BadSetting>);

impl Findings {
    pub(crate) fn add(&mut self, field: &'static str, reason: impl fmt::Display) {
        self.add_at(field, None, reason);
    }

    pub(crate) fn add_at(
        &mut self,
        field: &'static str,
        index: impl Into<Option<usize>>,
        reason: impl fmt::Display,
    ) {
        self.0.push(BadSetting {
            field,
            index: index.into(),
            reason: reason.to_string(),
        });
    }

    pub(crate) fn name(&mut self, field: &'static str, name: &str) {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
        if name.is_empty() || name.len() > NAME_CHARS_MAX || !name.chars().all(fits) {
            self.add(
                field,
                format_args!("a name is up to {NAME_CHARS_MAX} of a-z, 0-9, `-` and `_`; `{name}` is not"),
            );
        }
    }

    pub(crate) fn secrets(&mut self, secrets: &[String]) -> Vec<Secret> {
        if secrets.is_empty() || secrets.len() > SECRETS_MAX {
            self.add(
                "secrets",
                format_args!(
                    "1 to {SECRETS_MAX} secrets are needed, here are {}",
                    secrets.len()
                ),
            );
        }
        let mut read = Vec::new();
        for (index, text) in secrets.iter().enumerate() {
            match text.parse() {
                Ok(secret) => read.push(secret),
                Err(bad) => self.add_at("secrets", index, bad),
            }
        }
        read
    }

    /// Secrets to sign with.
    pub(crate) fn signing(&mut self, secrets: &[String]) -> Vec<Secret> {
        let read = self.secrets(secrets);
        if let Some(index) = secrets.iter().position(|text| text.starts_with(PUBLIC_PREFIX)) {
            self.add_at(
                "secrets",
                index,
                format_args!("`{PUBLIC_PREFIX}` cannot sign; the hub needs the private half, `{PRIVATE_PREFIX}…`, and the endpoint has the public one"),
            );
        }
        read
    }

    /// Headers that are sent beside ours. Their values are not repeated, for most are secrets.
    pub(crate) fn headers(&mut self, headers: &[(String, String)]) -> HeaderMap {
        let mut read = HeaderMap::new();
        if headers.len() > HEADERS_MAX {
            self.add(
                "headers",
                format_args!("{} are more than {HEADERS_MAX}", headers.len()),
            );
        }
        for (name, value) in headers {
            let reserved = OUR_HEADERS.iter().any(|ours| name.eq_ignore_ascii_case(ours))
                || name.to_ascii_lowercase().starts_with("webhook-");
            let parsed = HeaderName::from_bytes(name.as_bytes()).ok();
            match (parsed, HeaderValue::from_str(value)) {
                _ if reserved => self.add("headers", format_args!("`{name}` is set by the hub itself")),
                (None, _) => self.add("headers", format_args!("`{name}` cannot be the name of a header")),
                (_, Err(_)) => {
                    self.add(
                        "headers",
                        format_args!("the value of `{name}` has characters that a header cannot"),
                    );
                }
                (Some(name), Ok(mut value)) => {
                    value.set_sensitive(true);
                    read.append(name, value);
                }
            }
        }
        read
    }

    pub(crate) fn subscriptions(&mut self, subscriptions: &[Subscription]) {
        let patterns: usize = subscriptions.iter().map(|one| one.types.len()).sum();
        if patterns == 0 || patterns > SUBSCRIPTIONS_MAX {
            self.add(
                "subscriptions",
                format_args!(
                    "1 to {SUBSCRIPTIONS_MAX} patterns are needed, here are {patterns}; `*` means all events"
                ),
            );
        }
        for (index, subscription) in subscriptions.iter().enumerate() {
            for pattern in subscription
                .types
                .iter()
                .filter(|pattern| !means_something(pattern))
            {
                let known = EVENT_TYPES.join(", ");
                self.add_at(
                    "subscriptions",
                    index,
                    format_args!("`{pattern}` means no event; there are {known}, `custom.…`, `deal.*` for a group and `*` for all"),
                );
            }
        }
    }

    pub(crate) fn range(&mut self, field: &'static str, value: u64, range: std::ops::RangeInclusive<u64>) {
        if !range.contains(&value) {
            self.add(
                field,
                format_args!("{value} is not between {} and {}", range.start(), range.end()),
            );
        }
    }
}

fn means_something(pattern: &str) -> bool {
    let group = pattern.strip_suffix('*').is_some_and(|group| {
        group.is_empty()
            || group.starts_with("custom.")
            || (group.ends_with('.') && EVENT_TYPES.iter().any(|name| name.starts_with(group)))
    });
    group || EventType::parse(pattern).is_ok()
}
