//! [`EventType`]: what an event is called, and who may say it.

use std::fmt;

/// The type of an event: dotted words, `deal.stage_changed`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventType(std::borrow::Cow<'static, str>);

/// All types that Interconnect itself knows; `events/` says when each is said and what it looks like. Others are under
/// `custom.`.
pub const EVENT_TYPES: [&str; 23] = [
    "partner.created",
    "partner.updated",
    "partner.merged",
    "partner.unmerged",
    "partner.deleted",
    "lead.created",
    "lead.updated",
    "lead.converted",
    "lead.merged",
    "lead.unmerged",
    "lead.deleted",
    "deal.created",
    "deal.updated",
    "deal.stage_changed",
    "deal.won",
    "deal.lost",
    "deal.merged",
    "deal.unmerged",
    "deal.deleted",
    "endpoint.failing",
    "endpoint.recovered",
    "endpoint.disabled",
    "secret.expiring",
];

/// What the names of events begin with that tell of the hub's own state.
const OPERATIONAL: [&str; 2] = ["endpoint.", "secret."];

/// Characters that the name of an event may have at most.
const EVENT_TYPE_CHARS_MAX: usize = 128;

/// Text that is no event type.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not an event type; known are {known} and anything under `custom.`",
    known = EVENT_TYPES.join(", ")
)]
pub struct UnknownEventType(pub String);

impl EventType {
    /// A partner became known.
    pub const PARTNER_CREATED: EventType = EventType::constant("partner.created");
    /// A field of a partner changed.
    pub const PARTNER_UPDATED: EventType = EventType::constant("partner.updated");
    /// Two partners became one.
    pub const PARTNER_MERGED: EventType = EventType::constant("partner.merged");
    /// A partner that was merged is its own again.
    pub const PARTNER_UNMERGED: EventType = EventType::constant("partner.unmerged");
    /// A partner was deleted.
    pub const PARTNER_DELETED: EventType = EventType::constant("partner.deleted");
    /// A lead became known.
    pub const LEAD_CREATED: EventType = EventType::constant("lead.created");
    /// A field of a lead changed.
    pub const LEAD_UPDATED: EventType = EventType::constant("lead.updated");
    /// A lead became a deal.
    pub const LEAD_CONVERTED: EventType = EventType::constant("lead.converted");
    /// Two leads became one.
    pub const LEAD_MERGED: EventType = EventType::constant("lead.merged");
    /// A lead that was merged is its own again.
    pub const LEAD_UNMERGED: EventType = EventType::constant("lead.unmerged");
    /// A lead was deleted.
    pub const LEAD_DELETED: EventType = EventType::constant("lead.deleted");
    /// A deal became known.
    pub const DEAL_CREATED: EventType = EventType::constant("deal.created");
    /// A field of a deal changed.
    pub const DEAL_UPDATED: EventType = EventType::constant("deal.updated");
    /// A deal moved on.
    pub const DEAL_STAGE_CHANGED: EventType = EventType::constant("deal.stage_changed");
    /// A deal was committed.
    pub const DEAL_WON: EventType = EventType::constant("deal.won");
    /// A deal was lost.
    pub const DEAL_LOST: EventType = EventType::constant("deal.lost");
    /// Two deals became one.
    pub const DEAL_MERGED: EventType = EventType::constant("deal.merged");
    /// A deal that was merged is its own again.
    pub const DEAL_UNMERGED: EventType = EventType::constant("deal.unmerged");
    /// A deal was deleted.
    pub const DEAL_DELETED: EventType = EventType::constant("deal.deleted");

    /// An endpoint rests.
    pub const ENDPOINT_FAILING: EventType = EventType::constant("endpoint.failing");
    /// An endpoint is well again.
    pub const ENDPOINT_RECOVERED: EventType = EventType::constant("endpoint.recovered");
    /// An endpoint is sent nothing any more.
    pub const ENDPOINT_DISABLED: EventType = EventType::constant("endpoint.disabled");

    /// A secret is to be replaced.
    pub const SECRET_EXPIRING: EventType = EventType::constant("secret.expiring");

    const fn constant(name: &'static str) -> EventType {
        EventType(std::borrow::Cow::Borrowed(name))
    }

    /// The type of that name: one of the catalogue, or `custom.` and words of `[a-z0-9_]` with dots between.
    pub fn parse(name: &str) -> Result<EventType, UnknownEventType> {
        if let Some(known) = EVENT_TYPES.iter().find(|own| **own == name) {
            return Ok(EventType::constant(known));
        }
        let word = |w: &str| {
            !w.is_empty()
                && w.chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        };
        match name.strip_prefix("custom.") {
            Some(rest) if name.len() <= EVENT_TYPE_CHARS_MAX && rest.split('.').all(word) => {
                Ok(EventType(name.to_owned().into()))
            }
            _ => Err(UnknownEventType(
                name.chars().take(EVENT_TYPE_CHARS_MAX).collect(),
            )),
        }
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.0
    }

    /// Whether it tells of the hub's own state: no partner may say it, and who hears of it is named.
    pub fn is_ours_alone(&self) -> bool {
        OPERATIONAL.iter().any(|group| self.0.starts_with(group))
    }

    /// Whether a subscription's pattern means this type: the name itself, `deal.*`, or `*`. What tells of the hub's own
    /// state is not meant by `*`: one partner's endpoints are not another one's business.
    pub fn matches(&self, pattern: &str) -> bool {
        match pattern.strip_suffix('*') {
            Some("") => !self.is_ours_alone(),
            Some(prefix) => prefix.ends_with('.') && self.0.starts_with(prefix),
            None => self.0 == pattern,
        }
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_catalogue_and_custom_types() {
        assert_eq!(EventType::parse("deal.won"), Ok(EventType::DEAL_WON));
        assert_eq!(
            EventType::parse("custom.acme.quote_sent").unwrap().name(),
            "custom.acme.quote_sent"
        );
        for bad in [
            "deal.won ",
            "Deal.won",
            "custom.",
            "custom.a..b",
            "custom.a b",
            "other",
            "",
        ] {
            assert_eq!(EventType::parse(bad), Err(UnknownEventType(bad.into())), "{bad}");
        }
    }

    #[test]
    fn patterns_match_whole_words() {
        let won = EventType::DEAL_WON;
        assert!(won.matches("*") && won.matches("deal.*") && won.matches("deal.won"));
        let failing = EventType::ENDPOINT_FAILING;
        assert!(
            failing.matches("endpoint.*") && failing.matches("endpoint.failing") && !failing.matches("*")
        );
        assert!(
            !won.matches("deal*")
                && !won.matches("de.*")
                && !won.matches("lead.*")
                && !won.matches("deal.wo")
        );
    }
}
