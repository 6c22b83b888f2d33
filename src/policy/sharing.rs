//! [`SharingPolicy`]: the agreement, as a list of rules.

use model::EventType;

use crate::PathPattern;

/// What of an event's `data` is shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Share {
    /// All of it.
    All,
    /// What one of the patterns means, and nothing else.
    Only(Vec<PathPattern>),
    /// All but what one of the patterns means.
    Except(Vec<PathPattern>),
}

/// What is shared of some types of events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Patterns of event types, as in a subscription: `deal.won`, `deal.*`, `*`.
    pub events: Vec<String>,
    /// What is shared of them.
    pub share: Share,
    /// Of what is shared, the places whose values are replaced by [`crate::MASKED`].
    pub mask: Vec<PathPattern>,
}

/// The field-level sharing agreement with a partner.
///
/// The first rule that means an event's type decides; when none does, nothing of the event's `data` is shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharingPolicy {
    /// The rules, the first match decides.
    pub rules: Vec<Rule>,
}

impl SharingPolicy {
    /// Every field of every event.
    pub fn everything() -> SharingPolicy {
        SharingPolicy::of_all_events(Share::All, Vec::new())
    }

    /// One rule for all events, those that tell of the hub's own state included: who gets them is another question.
    pub fn of_all_events(share: Share, mask: Vec<PathPattern>) -> SharingPolicy {
        let events = ["*", "endpoint.*", "secret.*"].map(str::to_owned).to_vec();
        SharingPolicy {
            rules: vec![Rule { events, share, mask }],
        }
    }

    /// The rule that decides about a type.
    pub fn rule(&self, event_type: &EventType) -> Option<&Rule> {
        let means = |rule: &&Rule| rule.events.iter().any(|pattern| event_type.matches(pattern));
        self.rules.iter().find(means)
    }

    /// Whether an event of this type may be passed on as it is, without being read.
    pub fn shares_everything(&self, event_type: &EventType) -> bool {
        self.rule(event_type)
            .is_some_and(|rule| rule.share == Share::All && rule.mask.is_empty())
    }
}
