//! [`Subscription`]: which events an endpoint gets. Together with where the endpoint is and in which shape it gets them,
//! that is a route.

use std::cell::OnceCell;
use std::fmt;
use std::sync::Arc;

use model::EventType;
use program::Program;
use serde_json::Value as Json;

/// Which events an endpoint gets: those for which everything holds that is said here.
#[derive(Clone)]
pub struct Subscription {
    /// Of these types: `deal.won`, `deal.*`, `*`.
    pub types: Vec<String>,
    /// Said by one of these partners, or said because of a change at one of these connections; by anybody when empty.
    pub from: Vec<String>,
    /// For which this gives something else than false or null. It sees the whole event, before it is projected; an event
    /// on which it fails is not for the endpoint.
    pub filter: Option<Arc<Program>>,
    /// Whether of several of these that wait, of one type and about one record, only the newest goes; see
    /// [`crate::FOLDED`]. Only with [`crate::Order::Record`].
    pub fold: bool,
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("types", &self.types)
            .field("from", &self.from)
            .field(
                "filter",
                &self.filter.as_ref().map(|filter| filter.source().to_owned()),
            )
            .field("fold", &self.fold)
            .finish()
    }
}

/// All events of a pattern.
impl From<&str> for Subscription {
    fn from(pattern: &str) -> Subscription {
        Subscription {
            types: vec![pattern.to_owned()],
            from: Vec::new(),
            filter: None,
            fold: false,
        }
    }
}

/// An event, and who said it, as subscriptions look at it.
#[derive(Debug)]
pub struct Said<'a> {
    event_type: &'a EventType,
    source: &'a str,
    connection: Option<&'a str>,
    body: &'a [u8],
    /// The body, read when the first filter asks for it; nothing when it cannot be read.
    read: OnceCell<Option<Json>>,
}

impl<'a> Said<'a> {
    /// What `source` said: a partner, or the hub itself ([`crate::SOURCE`]), which may say it because of a change at a
    /// connection.
    pub fn new(
        event_type: &'a EventType,
        source: &'a str,
        connection: Option<&'a str>,
        body: &'a [u8],
    ) -> Said<'a> {
        Said {
            event_type,
            source,
            connection,
            body,
            read: OnceCell::new(),
        }
    }

    /// Its type.
    pub fn event_type(&self) -> &EventType {
        self.event_type
    }

    /// Who said it.
    pub fn source(&self) -> &str {
        self.source
    }

    /// Whether a filter gives something of it; not when the filter fails on it.
    pub(crate) fn passes(&self, filter: &Program) -> bool {
        let Some(event) = self.read() else {
            return false;
        };
        match filter.one(event, &|_| None) {
            Ok(value) => !matches!(value, Json::Null | Json::Bool(false)),
            Err(_) => {
                // Why, would show what is in the event.
                tracing::warn!(
                    filter = filter.name(),
                    event_type = self.event_type.name(),
                    "a filter fails on an event, which is not sent on for it"
                );
                false
            }
        }
    }

    fn read(&self) -> Option<&Json> {
        self.read
            .get_or_init(|| serde_json::from_slice(self.body).ok())
            .as_ref()
    }
}

impl Subscription {
    /// Whether it means events of a type, whoever says them and whatever is in them.
    pub fn means(&self, event_type: &EventType) -> bool {
        self.types.iter().any(|pattern| event_type.matches(pattern))
    }

    /// Whether it means an event, and names the connection because of which it is said.
    pub(crate) fn fits_by_name(&self, said: &Said<'_>) -> bool {
        let named = |connection: &str| self.from.iter().any(|name| name == connection);
        said.connection.is_some_and(named) && self.fits(said)
    }

    /// Whether it means an event. What costs most is asked last.
    pub fn fits(&self, said: &Said<'_>) -> bool {
        let from = |name: &String| name == said.source || Some(name.as_str()) == said.connection;
        self.means(said.event_type)
            && (self.from.is_empty() || self.from.iter().any(from))
            && self.filter.as_ref().is_none_or(|filter| said.passes(filter))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subscription(types: &[&str], from: &[&str], filter: Option<&str>) -> Subscription {
        Subscription {
            types: types.iter().map(|&text| text.to_owned()).collect(),
            from: from.iter().map(|&text| text.to_owned()).collect(),
            filter: filter.map(|text| Arc::new(Program::compile(text, &[]).unwrap())),
            fold: false,
        }
    }

    #[test]
    fn everything_that_is_said_must_hold() {
        let won = EventType::DEAL_WON;
        let body = br#"{"type":"deal.won","data":{"id":"D-1","deal":{"name":"Solar park","amount":{"amount":"12","currency":"EUR"}}}}"#;
        let fits = |types: &[&str], from: &[&str], filter: Option<&str>| {
            let said = Said::new(&won, "interconnect", Some("crm"), body);
            subscription(types, from, filter).fits(&said)
        };
        assert!(fits(&["lead.*", "deal.*"], &[], None));
        assert!(!fits(&["lead.*"], &[], None));
        assert!(fits(&["*"], &["acme", "crm"], None), "because of a connection");
        assert!(fits(&["*"], &["interconnect"], None), "by the hub");
        assert!(!fits(&["*"], &["erp", "acme"], None));
        let euros = Some(r#".data.deal.amount.currency == "EUR""#);
        assert!(fits(&["*"], &[], euros) && !fits(&["lead.*"], &[], euros) && !fits(&["*"], &["erp"], euros));
        assert!(!fits(&["*"], &[], Some(r#".data.deal.amount.currency == "USD""#)));
        assert!(fits(&["*"], &[], Some(".data.deal.name")), "something");
        assert!(!fits(&["*"], &[], Some(".data.deal.stage")), "null");
        assert!(!fits(&["*"], &[], Some("empty")), "nothing");
        assert!(
            !fits(&["*"], &[], Some(".data.id + 1 > 2")),
            "it fails on this event"
        );
        let unread = Said::new(&won, "acme", None, b"{");
        assert!(
            !subscription(&["*"], &[], Some("true")).fits(&unread)
                && subscription(&["*"], &[], None).fits(&unread)
        );
    }
}
