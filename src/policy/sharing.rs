//! [`SharingPolicy`]: the agreement about what a partner may be told.

use std::sync::Arc;

use jiff::Timestamp;
use program::Program;
use serde_json::{Value as Json, json};

use crate::{Allow, Preset, Rules};

/// What something is shared for; it is told with what was shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Selling together.
    CoSell,
    /// Passing a customer on.
    Referral,
    /// Delivering what was sold.
    Fulfilment,
    /// Finding common customers.
    AccountMapping,
    /// Telling people about an offer.
    Marketing,
    /// Helping a customer.
    Support,
    /// Counting.
    Reporting,
}

impl Purpose {
    /// All of them, with their words.
    pub const WORDS: [(&'static str, Purpose); 7] = [
        ("co_sell", Purpose::CoSell),
        ("referral", Purpose::Referral),
        ("fulfilment", Purpose::Fulfilment),
        ("account_mapping", Purpose::AccountMapping),
        ("marketing", Purpose::Marketing),
        ("support", Purpose::Support),
        ("reporting", Purpose::Reporting),
    ];

    /// Its word.
    pub fn word(self) -> &'static str {
        let named = Purpose::WORDS.iter().find(|(_, purpose)| *purpose == self);
        named.map_or("", |(word, _)| word)
    }
}

/// Whether the people that an event tells of agree.
#[derive(Clone, Debug)]
pub enum Consent {
    /// Nothing is known of it: what is theirs is left out, unless everything is shared on purpose.
    Unsaid,
    /// They do, and that is known elsewhere.
    Given,
    /// They do when this is true of the event, and nothing else than true.
    ToldBy(Arc<Program>),
}

/// What is shared before the other side has accepted.
#[derive(Clone, Debug)]
pub struct Acceptance {
    /// Accepted is that of which this gives something else than false or null.
    pub when: Arc<Program>,
    /// What is shared before.
    pub before: Rules,
}

/// The field-level sharing agreement with a partner.
#[derive(Clone, Debug)]
pub struct SharingPolicy {
    /// What it is called where it is told of.
    pub name: String,
    /// What it shares.
    pub rules: Rules,
    /// What for.
    pub purpose: Option<Purpose>,
    /// Which contract it rests on, by the name that people know it by.
    pub agreement: Option<String>,
    /// From then on nothing is shared by it.
    pub until: Option<Timestamp>,
    /// It shares only events of which this gives something else than false or null; it sees the whole event.
    pub when: Option<Arc<Program>>,
    /// What of people is shared.
    pub consent: Consent,
    /// Whether there is less to know until something is accepted.
    pub acceptance: Option<Acceptance>,
}

/// Why nothing is shared. What is in the event is not told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Withheld {
    /// Its time is over.
    #[error("the sharing policy `{policy}` ended at {until}, and nothing is shared by it any more")]
    Ended {
        /// Its name.
        policy: String,
        /// When.
        until: Timestamp,
    },
    /// It does not mean this event.
    #[error("the sharing policy `{policy}` shares nothing of this event: its `when` is not true of it")]
    NotMeant {
        /// Its name.
        policy: String,
    },
}

impl Default for SharingPolicy {
    /// Nothing.
    fn default() -> SharingPolicy {
        SharingPolicy::of("nothing", Rules::default())
    }
}

impl From<Preset> for SharingPolicy {
    fn from(preset: Preset) -> SharingPolicy {
        SharingPolicy::of(preset.word(), preset.rules())
    }
}

impl SharingPolicy {
    /// A policy that always shares what its rules do, but for what is people's.
    pub fn of(name: impl Into<String>, rules: Rules) -> SharingPolicy {
        SharingPolicy {
            name: name.into(),
            rules,
            purpose: None,
            agreement: None,
            until: None,
            when: None,
            consent: Consent::Unsaid,
            acceptance: None,
        }
    }

    /// Every field of every event, those that nobody has thought of yet too.
    pub fn everything() -> SharingPolicy {
        Preset::Everything.into()
    }

    /// Whether events may be passed on as they are at this moment, without being read.
    pub fn shares_everything(&self, now: Timestamp) -> bool {
        let always = self.when.is_none() && self.acceptance.is_none();
        let of_people = !matches!(self.consent, Consent::ToldBy(_));
        always && of_people && self.until.is_none_or(|until| now < until) && self.rules.are_everything()
    }

    /// The policy as people and programs read it, in the words of the configuration.
    pub fn summary(&self) -> Json {
        let consent = match &self.consent {
            Consent::Unsaid => None,
            Consent::Given => Some("given"),
            Consent::ToldBy(program) => Some(program.source()),
        };
        let acceptance = self.acceptance.as_ref();
        let acceptance =
            acceptance.map(|one| json!({"when": one.when.source(), "before": one.before.summary()}));
        let mut summary = self.rules.summary();
        for (key, value) in [
            ("name", json!(self.name)),
            ("purpose", json!(self.purpose.map(Purpose::word))),
            ("agreement", json!(self.agreement)),
            ("until", json!(self.until.map(|until| until.to_string()))),
            ("when", json!(self.when.as_ref().map(|when| when.source()))),
            ("consent", json!(consent)),
            ("acceptance", json!(acceptance)),
        ] {
            summary[key] = value;
        }
        summary
    }

    /// Whether its time is over.
    pub fn has_ended(&self, now: Timestamp) -> bool {
        self.until.is_some_and(|until| until <= now)
    }

    /// The rules that hold for an event now, and whether they hold for what is people's.
    pub(crate) fn rules_for(&self, event: &Json, now: Timestamp) -> Result<(&Rules, bool), Withheld> {
        if let Some(until) = self.until.filter(|_| self.has_ended(now)) {
            let policy = self.name.clone();
            return Err(Withheld::Ended { policy, until });
        }
        if self.when.as_ref().is_some_and(|when| !holds(when, event)) {
            let policy = self.name.clone();
            return Err(Withheld::NotMeant { policy });
        }
        let rules = match &self.acceptance {
            Some(acceptance) if !holds(&acceptance.when, event) => &acceptance.before,
            _ => &self.rules,
        };
        let people = match &self.consent {
            Consent::Unsaid => rules.allow == Allow::Everything,
            Consent::Given => true,
            Consent::ToldBy(program) => answer(program, event) == Some(Json::Bool(true)),
        };
        Ok((rules, people))
    }
}

/// Whether a program gives something of an event; one that fails on it gives nothing, and does not tell why, for that
/// would show what is in the event.
fn holds(program: &Program, event: &Json) -> bool {
    !matches!(
        answer(program, event),
        None | Some(Json::Null | Json::Bool(false))
    )
}

fn answer(program: &Program, event: &Json) -> Option<Json> {
    program.one(event, &|_| None).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Bucket;

    #[test]
    fn a_policy_is_read_in_the_words_of_the_configuration() {
        let program = |text: &str| Arc::new(Program::compile(text, &[]).unwrap());
        let policy = SharingPolicy {
            purpose: Some(Purpose::Referral),
            agreement: Some("MSA 7".into()),
            until: Some("2027-12-31T00:00:00Z".parse().unwrap()),
            when: Some(program(".data.deal.partner")),
            consent: Consent::ToldBy(program(".data.consent")),
            acceptance: Some(Acceptance {
                when: program(".data.accepted"),
                before: Rules::only(vec!["id".parse().unwrap()]),
            }),
            rules: Rules {
                omit: vec!["deal.contact".parse().unwrap()],
                mask: vec!["deal.name".parse().unwrap()],
                bucket: vec![("deal.amount.amount".parse().unwrap(), Bucket::Bands(vec![1, 2]))],
                ..Preset::InfluenceMin.rules()
            },
            ..SharingPolicy::of("deals", Rules::default())
        };
        insta::assert_snapshot!(policy.summary(), @r#"{"acceptance":{"before":{"allow":["id"],"bucket":{},"mask":[],"omit":[]},"when":".data.accepted"},"agreement":"MSA 7","allow":["id","version","merged","unmerged","lead.company.name","deal.customer.name","deal.stage"],"bucket":{"deal.amount.amount":"[1, 2]"},"consent":".data.consent","mask":["deal.name"],"name":"deals","omit":["deal.contact"],"purpose":"referral","until":"2027-12-31T00:00:00Z","when":".data.deal.partner"}"#);
        insta::assert_snapshot!(SharingPolicy::everything().summary(), @r#"{"acceptance":null,"agreement":null,"allow":"everything","bucket":{},"consent":null,"mask":[],"name":"everything","omit":[],"purpose":null,"until":null,"when":null}"#);
    }
}
