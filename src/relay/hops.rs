//! [`Hops`]: through whom an event came, so that it does not go round in circles.
//!
//! A partner that passes on what it heard from us says so by sending the header `webhook-hops` along as it came. The event
//! is then not sent to those through whom it came, and not taken at all when it came through too many.
//! A hop is a partner's *mark*: it is made of the partner's secret, so that who receives an event does not learn by it who
//! said it. The header is not part of what is signed: who leaves it out is believed, and its echo is a new event.

use std::fmt;

use hmac::Mac;
use outbound::header::{HeaderName, HeaderValue};

use crate::Secret;

/// The header of the hops, newest first, with commas between.
pub const HOPS: HeaderName = HeaderName::from_static("webhook-hops");
/// Hops that an event may have behind it.
pub const HOPS_MAX: usize = 8;
/// Characters of a mark.
const MARK_CHARS: usize = 16;
/// What a secret's mark is made over.
const MARKED: &[u8] = b"interconnect hop ";

/// The mark of the partner of that name who has a secret.
pub(crate) fn mark(name: &str, secret: &Secret) -> String {
    let mut mac = secret.marker.clone();
    mac.update(MARKED);
    mac.update(name.as_bytes());
    let made = mac.finalize().into_bytes();
    made.iter()
        .take(MARK_CHARS / 2)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Marks, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hops(Vec<String>);

/// Hops that are none, or too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadHops {
    /// Not as it was sent.
    #[error("the header `webhook-hops` is not as it was sent; pass it on as it is, or leave it out")]
    Malformed,
    /// Too many.
    #[error("the event came through more than {HOPS_MAX} hands already; somebody sends it round in circles")]
    TooMany,
}

impl Hops {
    /// Those of a header; none when there is no header.
    pub(crate) fn read(header: Option<&HeaderValue>) -> Result<Hops, BadHops> {
        let Some(header) = header else {
            return Ok(Hops::default());
        };
        let text = header.to_str().map_err(|_| BadHops::Malformed)?;
        Hops::parse(text, ',')
    }

    /// Those that the ledger kept.
    pub(crate) fn kept(text: &str) -> Hops {
        Hops(text.split_whitespace().map(str::to_owned).collect())
    }

    fn parse(text: &str, between: char) -> Result<Hops, BadHops> {
        let mut hops = Vec::new();
        for hop in text.split(between).map(str::trim) {
            let digit = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
            if hop.len() != MARK_CHARS || !hop.bytes().all(digit) {
                return Err(BadHops::Malformed);
            }
            if hops.len() == HOPS_MAX {
                return Err(BadHops::TooMany);
            }
            hops.push(hop.to_owned());
        }
        Ok(Hops(hops))
    }

    /// Whether it came through whoever has one of these marks.
    pub(crate) fn through(&self, marks: &[String]) -> bool {
        self.0.iter().any(|hop| marks.contains(hop))
    }

    /// With one more in front; the last ones are left out where they would be more than [`HOPS_MAX`].
    pub(crate) fn behind(mut self, newest: Option<&String>) -> Hops {
        self.0.splice(0..0, newest.cloned());
        self.0.truncate(HOPS_MAX);
        self
    }

    /// As the ledger keeps them.
    pub(crate) fn to_kept(&self) -> String {
        self.0.join(" ")
    }

    /// The header of an event that came on through one more.
    pub(crate) fn header(&self, newest: &str) -> Option<HeaderValue> {
        let all = std::iter::once(newest).chain(self.0.iter().map(String::as_str));
        let text = all.collect::<Vec<_>>().join(", ");
        HeaderValue::from_str(&text).ok()
    }
}

impl fmt::Display for Hops {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_kept())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Hops, BadHops> {
        Hops::read(Some(&HeaderValue::from_str(text).unwrap()))
    }

    #[test]
    fn hops_are_read_as_they_were_sent() {
        let secret = Secret::from_bytes(&[1; 32]).unwrap();
        let (a, b) = (mark("acme", &secret), mark("borealis", &secret));
        assert_ne!(a, b);
        assert_eq!(Hops::read(None), Ok(Hops::default()));
        let one = Hops::default().header(&a).unwrap();
        let two = read(one.to_str().unwrap()).unwrap().header(&b).unwrap();
        assert_eq!(two, format!("{b}, {a}").as_str());
        let hops = read(two.to_str().unwrap()).unwrap();
        assert_eq!(Hops::kept(&hops.to_kept()), hops);
        assert!(hops.through(std::slice::from_ref(&a)) && !Hops::default().through(&[a.clone(), b]));
        assert_eq!(read(&[a.as_str(); HOPS_MAX].join(",")).unwrap().0.len(), HOPS_MAX);
        assert_eq!(read(&[a.as_str(); HOPS_MAX + 1].join(",")), Err(BadHops::TooMany));
        for bad in [
            "",
            "acme",
            "0123456789ABCDEF",
            "0123456789abcde",
            "0123456789abcdef,",
        ] {
            assert_eq!(read(bad), Err(BadHops::Malformed), "{bad}");
        }
    }
}
