//! Faults: what a system may be told to do wrong, how often, and to whom.
//!
//! A [`Switch`] is one fault that is on, until it has happened `times` times or is cleared.
//! A [`FaultBook`] holds the switches of one system; every request asks it once on the way in ([`FaultBook::due`]),
//! and writes ask it again per row ([`FaultBook::bad_row`]).
//! What a fault looks like on the wire is the business of the system, not of this file.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::calls::Class;

/// Switches one system may hold at a time.
pub const FAULTS_MAX: usize = 100;
/// The longest delay a slow answer may be given.
pub const DELAY_MS_MAX: u64 = 600_000;

/// Which rate limit a refusal speaks of. Salesforce and partners have only one and ignore this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum LimitPolicy {
    /// Too many calls within a second.
    Secondly,
    /// Too many calls within ten seconds.
    TenSecondlyRolling,
    /// The day's allowance is used up.
    Daily,
}

/// One way to go wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Refuse for too many calls: Salesforce answers 403, HubSpot and partners answer 429.
    Limit {
        /// The limit named in a HubSpot refusal.
        policy: LimitPolicy,
    },
    /// Answer 503.
    Unavailable,
    /// Treat the token of the request as expired, from this request on.
    ExpireToken,
    /// Let the search index lag behind the rows. HubSpot only.
    SearchLag {
        /// How far behind.
        lag_ms: u64,
    },
    /// Refuse a written row when one of its fields has this value.
    BadRow {
        /// The object the row must be of; any object when absent.
        object: Option<String>,
        /// The field's name in the system.
        field: String,
        /// The value, as text.
        value: String,
    },
    /// Do what was asked, then cut the connection instead of answering.
    DropConnection,
    /// Do what was asked, then wait before answering.
    Slow {
        /// How long to wait.
        delay_ms: u64,
    },
    /// Tell changes as gaps, by their headers alone. Streams of Salesforce only, as are the next four.
    Gap {
        /// The object whose changes; any object when absent.
        object: Option<String>,
    },
    /// Tell changes as an overflow, which does not even name the row.
    Overflow {
        /// The object whose changes; any object when absent.
        object: Option<String>,
    },
    /// Have no change events of an object, as before somebody selects it.
    NoTopic {
        /// The object; every object when absent.
        object: Option<String>,
    },
    /// Refuse to go on from a replay id.
    ReplayExpired,
    /// Know no schema of an event.
    NoSchema,
    /// Answer with this status and do nothing.
    Status {
        /// The HTTP status.
        status: u16,
        /// Seconds to send as `Retry-After`.
        retry_after_s: Option<u32>,
    },
}

/// Which requests a fault reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// Every request but those for a token.
    #[default]
    Any,
    /// Requests that read.
    Reads,
    /// Requests that write.
    Writes,
    /// Requests for a token.
    Auth,
}

impl Reach {
    fn covers(self, class: Class) -> bool {
        match self {
            Self::Any => class != Class::Auth,
            Self::Reads => class == Class::Read,
            Self::Writes => class == Class::Write,
            Self::Auth => class == Class::Auth,
        }
    }
}

/// A fault that is on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Switch {
    /// What goes wrong.
    pub fault: Fault,
    /// Which requests it reaches.
    pub reach: Reach,
    /// Only routes that contain this text, when given.
    pub route: Option<String>,
    /// How many more times; until cleared when absent.
    pub times: Option<u32>,
}

impl Switch {
    /// A fault for every request until it is cleared.
    #[must_use]
    pub fn always(fault: Fault) -> Self {
        Self {
            fault,
            reach: Reach::Any,
            route: None,
            times: None,
        }
    }

    /// A fault for the next `times` requests it reaches.
    #[must_use]
    pub fn times(fault: Fault, times: u32) -> Self {
        Self {
            times: Some(times),
            ..Self::always(fault)
        }
    }

    /// The same switch for fewer requests.
    #[must_use]
    pub fn on(self, reach: Reach) -> Self {
        Self { reach, ..self }
    }

    fn use_up(&mut self) {
        self.times = self.times.map(|left| left.saturating_sub(1));
    }

    fn spent(&self) -> bool {
        self.times == Some(0)
    }
}

/// What the faults make of one request.
#[derive(Debug, Default)]
pub(crate) struct Due {
    /// Answer with this fault and do nothing.
    pub(crate) refuse: Option<Fault>,
    /// Wait this long before answering.
    pub(crate) delay_ms: u64,
    /// Cut the connection instead of answering.
    pub(crate) cut: bool,
}

/// No more switches fit.
#[derive(Debug, thiserror::Error)]
#[error("{FAULTS_MAX} faults are on, which is the limit: clear some with DELETE /_sandbox/faults")]
pub struct TooManyFaults;

/// The switches of one system.
#[derive(Debug, Default)]
pub struct FaultBook(Mutex<Vec<Switch>>);

impl FaultBook {
    fn switches(&self) -> MutexGuard<'_, Vec<Switch>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Switches a fault on.
    ///
    /// # Errors
    /// When [`FAULTS_MAX`] are on already.
    pub fn add(&self, switch: Switch) -> Result<(), TooManyFaults> {
        let mut switches = self.switches();
        if switches.len() >= FAULTS_MAX {
            return Err(TooManyFaults);
        }
        switches.push(switch);
        Ok(())
    }

    /// Switches every fault off.
    pub fn clear(&self) {
        self.switches().clear();
    }

    /// The faults that are on, oldest first.
    #[must_use]
    pub fn list(&self) -> Vec<Switch> {
        self.switches().clone()
    }

    /// What a request of this class on this route meets. Uses up the faults it meets; the first refusal wins.
    pub(crate) fn due(&self, class: Class, route: &str) -> Due {
        let mut due = Due::default();
        let mut switches = self.switches();
        for switch in switches.iter_mut() {
            if !switch.reach.covers(class) || switch.route.as_ref().is_some_and(|part| !route.contains(part))
            {
                continue;
            }
            match &switch.fault {
                Fault::SearchLag { .. }
                | Fault::BadRow { .. }
                | Fault::Gap { .. }
                | Fault::Overflow { .. }
                | Fault::NoTopic { .. }
                | Fault::ReplayExpired
                | Fault::NoSchema => continue,
                Fault::Slow { delay_ms } => due.delay_ms = due.delay_ms.max((*delay_ms).min(DELAY_MS_MAX)),
                Fault::DropConnection => due.cut = true,
                refusal => {
                    if due.refuse.is_some() {
                        continue;
                    }
                    due.refuse = Some(refusal.clone());
                }
            }
            switch.use_up();
        }
        switches.retain(|switch| !switch.spent());
        due
    }

    /// Whether a fault is on that is wanted where requests do not pass; it has happened once more then.
    pub(crate) fn meets(&self, wanted: impl Fn(&Fault) -> bool) -> bool {
        let mut switches = self.switches();
        let met = switches.iter_mut().find(|switch| wanted(&switch.fault));
        let met = met.map(Switch::use_up).is_some();
        switches.retain(|switch| !switch.spent());
        met
    }

    /// How far the search index lags at the moment.
    pub(crate) fn search_lag_ms(&self) -> Option<u64> {
        let mut switches = self.switches();
        let lag = switches.iter_mut().find_map(|switch| {
            let Fault::SearchLag { lag_ms } = switch.fault else {
                return None;
            };
            switch.use_up();
            Some(lag_ms)
        });
        switches.retain(|switch| !switch.spent());
        lag
    }

    /// Whether a row about to be written is to be refused: the name of the field at fault.
    pub(crate) fn bad_row(&self, object: &str, text_of: impl Fn(&str) -> Option<String>) -> Option<String> {
        let mut switches = self.switches();
        let hit = switches.iter_mut().find_map(|switch| {
            let Fault::BadRow {
                object: only,
                field,
                value,
            } = &switch.fault
            else {
                return None;
            };
            let here = only.as_ref().is_none_or(|only| only.eq_ignore_ascii_case(object));
            if !here || text_of(field).as_deref() != Some(value) {
                return None;
            }
            let field = field.clone();
            switch.use_up();
            Some(field)
        });
        switches.retain(|switch| !switch.spent());
        hit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_happens_as_often_as_told_and_only_where_told() {
        let book = FaultBook::default();
        book.add(Switch::times(Fault::Unavailable, 2).on(Reach::Writes))
            .unwrap();
        assert!(book.due(Class::Read, "/a").refuse.is_none());
        assert_eq!(book.due(Class::Write, "/a").refuse, Some(Fault::Unavailable));
        assert_eq!(book.due(Class::Write, "/a").refuse, Some(Fault::Unavailable));
        assert!(book.due(Class::Write, "/a").refuse.is_none());
        assert!(book.list().is_empty());

        let only_search = Switch {
            route: Some("search".into()),
            ..Switch::always(Fault::Unavailable)
        };
        book.add(only_search).unwrap();
        assert!(book.due(Class::Read, "/crm/list").refuse.is_none());
        assert!(book.due(Class::Read, "/crm/search").refuse.is_some());
    }

    #[test]
    fn a_second_refusal_waits_its_turn_and_is_not_used_up() {
        let book = FaultBook::default();
        book.add(Switch::times(Fault::Unavailable, 1)).unwrap();
        book.add(Switch::times(Fault::ExpireToken, 1)).unwrap();
        assert_eq!(book.due(Class::Read, "/").refuse, Some(Fault::Unavailable));
        assert_eq!(book.due(Class::Read, "/").refuse, Some(Fault::ExpireToken));
        assert!(book.due(Class::Read, "/").refuse.is_none());
    }

    #[test]
    fn a_bad_row_is_told_by_the_value_of_a_field() {
        let book = FaultBook::default();
        let fault = Fault::BadRow {
            object: Some("Lead".into()),
            field: "Company".into(),
            value: "Bad".into(),
        };
        book.add(Switch::always(fault)).unwrap();
        let row = |field: &str| (field == "Company").then(|| "Bad".to_owned());
        assert_eq!(book.bad_row("Lead", row).as_deref(), Some("Company"));
        assert_eq!(book.bad_row("Account", row), None);
        assert_eq!(book.bad_row("Lead", |_| Some("Good".into())), None);
        // A bad row is met by rows, never by whole requests.
        assert!(book.due(Class::Write, "/").refuse.is_none());
    }

    #[test]
    fn the_book_has_a_last_page() {
        let book = FaultBook::default();
        for _ in 0..FAULTS_MAX {
            book.add(Switch::always(Fault::Unavailable)).unwrap();
        }
        assert!(book.add(Switch::always(Fault::Unavailable)).is_err());
        book.clear();
        assert!(book.list().is_empty());
    }
}
