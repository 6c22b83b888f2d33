//! A policy as it is kept with what was told by it: its own form with a version, so that what was told can be said again
//! by the policy that held then.

use std::sync::Arc;

use program::Program;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::{Acceptance, Allow, Bucket, Consent, PathPattern, Purpose, Rules, SharingPolicy};

/// The version of the form that is written.
const VERSION: u8 = 1;

/// A kept policy that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("a kept sharing policy cannot be read: {0}")]
pub struct Unreadable(String);

#[derive(Serialize, Deserialize)]
struct StoredPolicy {
    version: u8,
    name: String,
    rules: StoredRules,
    purpose: Option<String>,
    agreement: Option<String>,
    until: Option<String>,
    when: Option<String>,
    /// Nothing is said when both are missing.
    consent_given: bool,
    consent_told_by: Option<String>,
    accepted_when: Option<String>,
    before_acceptance: Option<StoredRules>,
}

#[derive(Serialize, Deserialize)]
struct StoredRules {
    everything: bool,
    allow: Vec<String>,
    omit: Vec<String>,
    mask: Vec<String>,
    /// A path, and a word or the bounds as a list in JSON.
    bucket: Vec<(String, String)>,
}

impl SharingPolicy {
    /// The form that is kept.
    pub fn stored(&self) -> Json {
        let source = |program: &Arc<Program>| program.source().to_owned();
        let stored = StoredPolicy {
            version: VERSION,
            name: self.name.clone(),
            rules: StoredRules::from(&self.rules),
            purpose: self.purpose.map(|purpose| purpose.word().to_owned()),
            agreement: self.agreement.clone(),
            until: self.until.map(|until| until.to_string()),
            when: self.when.as_ref().map(source),
            consent_given: matches!(self.consent, Consent::Given),
            consent_told_by: match &self.consent {
                Consent::ToldBy(program) => Some(source(program)),
                Consent::Unsaid | Consent::Given => None,
            },
            accepted_when: self
                .acceptance
                .as_ref()
                .map(|acceptance| source(&acceptance.when)),
            before_acceptance: self
                .acceptance
                .as_ref()
                .map(|acceptance| (&acceptance.before).into()),
        };
        serde_json::to_value(stored).expect("texts and lists are JSON")
    }

    /// Reads the form that is kept.
    pub fn from_stored(stored: &Json) -> Result<SharingPolicy, Unreadable> {
        let stored = StoredPolicy::deserialize(stored).map_err(unreadable)?;
        if stored.version != VERSION {
            return Err(Unreadable(format!(
                "it has the form {}, known is {VERSION}",
                stored.version
            )));
        }
        let consent = match (stored.consent_given, program(stored.consent_told_by)?) {
            (_, Some(program)) => Consent::ToldBy(program),
            (true, None) => Consent::Given,
            (false, None) => Consent::Unsaid,
        };
        let acceptance = match (program(stored.accepted_when)?, stored.before_acceptance) {
            (Some(when), Some(before)) => Some(Acceptance {
                when,
                before: before.read()?,
            }),
            _ => None,
        };
        let purpose = |word: String| Purpose::WORDS.into_iter().find(|(known, _)| *known == word);
        Ok(SharingPolicy {
            name: stored.name,
            rules: stored.rules.read()?,
            purpose: stored.purpose.and_then(purpose).map(|(_, purpose)| purpose),
            agreement: stored.agreement,
            until: stored
                .until
                .map(|until| until.parse())
                .transpose()
                .map_err(unreadable)?,
            when: program(stored.when)?,
            consent,
            acceptance,
        })
    }
}

impl From<&Rules> for StoredRules {
    fn from(rules: &Rules) -> StoredRules {
        let texts = |patterns: &[PathPattern]| patterns.iter().map(ToString::to_string).collect();
        let (everything, allow) = match &rules.allow {
            Allow::Everything => (true, Vec::new()),
            Allow::Only(patterns) => (false, texts(patterns)),
        };
        let bucket = rules
            .bucket
            .iter()
            .map(|(path, bucket)| (path.to_string(), bucket.to_string()));
        StoredRules {
            everything,
            allow,
            omit: texts(&rules.omit),
            mask: texts(&rules.mask),
            bucket: bucket.collect(),
        }
    }
}

impl StoredRules {
    fn read(self) -> Result<Rules, Unreadable> {
        let bucket = |(path, text): (String, String)| {
            let word = Bucket::WORDS.into_iter().find(|(word, _)| *word == text);
            let bucket = match word {
                Some((_, bucket)) => bucket,
                None => Bucket::bands(serde_json::from_str(&text).map_err(unreadable)?)
                    .ok_or_else(|| Unreadable(format!("`{text}` are no bounds")))?,
            };
            Ok((path.parse().map_err(unreadable)?, bucket))
        };
        Ok(Rules {
            allow: if self.everything {
                Allow::Everything
            } else {
                Allow::Only(patterns(&self.allow)?)
            },
            omit: patterns(&self.omit)?,
            mask: patterns(&self.mask)?,
            bucket: self
                .bucket
                .into_iter()
                .map(bucket)
                .collect::<Result<_, Unreadable>>()?,
        })
    }
}

fn patterns(texts: &[String]) -> Result<Vec<PathPattern>, Unreadable> {
    texts
        .iter()
        .map(|text| text.parse().map_err(unreadable))
        .collect()
}

fn program(source: Option<String>) -> Result<Option<Arc<Program>>, Unreadable> {
    let compiled = source.map(|source| Program::compile(&source, &[]));
    let compiled = compiled
        .transpose()
        .map_err(|broken| Unreadable(broken.message))?;
    Ok(compiled.map(Arc::new))
}

fn unreadable(error: impl std::fmt::Display) -> Unreadable {
    Unreadable(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Preset;

    #[test]
    fn a_policy_reads_back_as_it_was_kept() {
        let program = |text: &str| Arc::new(Program::compile(text, &[]).unwrap());
        let full = SharingPolicy {
            rules: Rules {
                omit: vec!["deal.contact".parse().unwrap()],
                mask: vec!["deal.*.name".parse().unwrap()],
                bucket: vec![
                    (
                        "deal.amount.amount".parse().unwrap(),
                        Bucket::bands(vec![-5, 10]).unwrap(),
                    ),
                    ("deal.stage".parse().unwrap(), Bucket::Outcome),
                ],
                ..Preset::CoSell.rules()
            },
            purpose: Some(Purpose::Referral),
            agreement: Some("MSA".into()),
            until: Some("2027-01-01T00:00:00Z".parse().unwrap()),
            when: Some(program(".data.deal.stage")),
            consent: Consent::ToldBy(program(".data.consent")),
            acceptance: Some(Acceptance {
                when: program(".data.accepted"),
                before: Preset::Teaser.rules(),
            }),
            ..SharingPolicy::of("deals", Rules::default())
        };
        let given = SharingPolicy {
            consent: Consent::Given,
            ..SharingPolicy::default()
        };
        for policy in [
            full,
            given,
            SharingPolicy::everything(),
            Preset::VisibilityOnly.into(),
        ] {
            let read = SharingPolicy::from_stored(&policy.stored()).unwrap();
            assert_eq!(format!("{read:?}"), format!("{policy:?}"));
            assert_eq!(read.stored(), policy.stored());
        }
        let mut later = SharingPolicy::everything().stored();
        later["version"] = Json::from(2);
        assert!(SharingPolicy::from_stored(&later).is_err());
    }
}
