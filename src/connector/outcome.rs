//! From what a system says about a batch to one [`Outcome`] for each of its items.

use std::collections::HashMap;

use outbound::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value as Json;

use crate::call::may_go_on;
use crate::classify::classify;
use crate::connection::{Connection, Outcome};
use crate::failure::{Class, Failure, RecordClass, RecordError};
use crate::names::scalar;
use crate::write::{Item, Work};
use crate::zone::moment;

/// The outcomes so far, by item.
pub(crate) type Outcomes = Vec<Option<Outcome>>;

impl Connection {
    /// Gives every item of a batch its outcome; an item the answer does not mention is unknown.
    pub(crate) fn assign(
        &self,
        work: &Work<'_>,
        chunk: &[usize],
        items: &[Item],
        results: &[Json],
        outcomes: &mut Outcomes,
        locked: &mut Vec<usize>,
    ) {
        for at in chunk {
            outcomes[*at] = Some(Outcome::Unknown);
        }
        let by_id: HashMap<&str, usize> = chunk
            .iter()
            .filter_map(|at| Some((items[*at].id.as_deref()?, *at)))
            .collect();
        let by_key: HashMap<&str, usize> = chunk.iter().map(|at| (items[*at].key.as_str(), *at)).collect();
        for result in results {
            let number = scalar(&result["index"]).or_else(|| scalar(&result["trace"]));
            let by_number = number
                .and_then(|n| n.parse::<usize>().ok())
                .and_then(|n| chunk.get(n).copied());
            let named =
                |name: &str, by: &HashMap<&str, usize>| by.get(scalar(&result[name])?.as_str()).copied();
            let found = by_number
                .or_else(|| named("for_id", &by_id))
                .or_else(|| named("key", &by_key));
            let Some(at) = found else {
                continue;
            };
            let (outcome, again) = self.outcome(work, &items[at], result);
            if again {
                locked.push(at);
            }
            outcomes[at] = Some(outcome);
        }
    }

    fn outcome(&self, work: &Work<'_>, item: &Item, result: &Json) -> (Outcome, bool) {
        if result["ok"].as_bool() == Some(true) {
            let id = scalar(&result["id"]).or_else(|| item.id.clone());
            let outcome = id.map_or(Outcome::Unknown, |id| Outcome::Written {
                id,
                created: result["created"].as_bool().unwrap_or(item.created),
                version: scalar(&result["version"]),
                modified: moment(&result["modified"], work.zone.as_ref()),
                left_out: item.left_out.clone(),
            });
            return (outcome, false);
        }
        if result["sent"] == false {
            let failure = Failure::new(Class::Transient, "the job did not get to it");
            return (Outcome::NotSent(failure), false);
        }
        if result["answer"].is_object() {
            return self.by_answer(item, &result["answer"]);
        }
        let code = scalar(&result["code"]).unwrap_or_default();
        let rules = &self.caller.manifest().record_rules;
        let rule = rules.iter().find(|rule| rule.codes.contains(&code));
        let class = rule.map_or(RecordClass::Other, |rule| rule.class);
        let verify = rule.is_some_and(|rule| rule.verify);
        let class = match (class, &item.id) {
            // What is only being created cannot be gone.
            (RecordClass::Gone, None) => RecordClass::Validation,
            _ => class,
        };
        if class == RecordClass::Gone && !verify {
            return (Outcome::Gone, false);
        }
        let mut error = RecordError::new(class, code, scalar(&result["message"]).unwrap_or_default());
        let fields = result["fields"].as_array().map_or(&[][..], Vec::as_slice);
        error.fields = fields.iter().filter_map(scalar).collect();
        error.existing_id = scalar(&result["existing_id"]);
        (Outcome::Refused(error), rule.is_some_and(|rule| rule.retry))
    }
}

impl Connection {
    /// What became of an item that was answered by a part of its own: the rules for answers say it.
    fn by_answer(&self, item: &Item, answer: &Json) -> (Outcome, bool) {
        let mut headers = HeaderMap::new();
        for (name, value) in answer["headers"].as_object().into_iter().flatten() {
            let name = HeaderName::from_bytes(name.as_bytes());
            let value = HeaderValue::from_str(value.as_str().unwrap_or_default());
            if let (Ok(name), Ok(value)) = (name, value) {
                headers.insert(name, value);
            }
        }
        let status = answer["status"]
            .as_u64()
            .and_then(|status| u16::try_from(status).ok());
        let (caller, now) = (&self.caller, self.caller.clock.now());
        let status = status.unwrap_or_default();
        let (mut failure, _) = classify(caller.manifest(), status, &headers, &answer["body"], now);
        failure.ambiguous = may_go_on(status, &failure);
        match &failure.class {
            Class::Permission => {
                let name = failure.class.name();
                let error = RecordError::new(RecordClass::Permission, name, failure.detail);
                (Outcome::Refused(error), false)
            }
            class if class.concerns_records() => (refused(item, &failure), false),
            // What passes by itself is tried again at once, everything else when the account is well again.
            class => {
                let again = *class == Class::Transient;
                (Outcome::NotSent(failure), again)
            }
        }
    }
}

/// An object that needs no writing.
pub(crate) fn unchanged(id: &str, item: &Item) -> Outcome {
    Outcome::Written {
        id: id.to_owned(),
        created: false,
        version: None,
        modified: None,
        left_out: item.left_out.clone(),
    }
}

/// What a failure means for the one record it is about.
pub(crate) fn refused(item: &Item, failure: &Failure) -> Outcome {
    let class = match &failure.class {
        // What is only being created cannot be gone: what it refers to, or where it belongs, is not there.
        Class::NotFound if item.id.is_some() => return Outcome::Gone,
        Class::Duplicate { .. } => RecordClass::Duplicate,
        Class::Conflict => RecordClass::Conflict,
        _ => RecordClass::Validation,
    };
    let mut error = RecordError::new(class, failure.class.name(), failure.detail.clone());
    error.ambiguous = failure.ambiguous;
    match &failure.class {
        Class::Duplicate { existing_id } => error.existing_id.clone_from(existing_id),
        Class::SchemaDrift { field } => error.fields.extend(field.clone()),
        _ => {}
    }
    Outcome::Refused(error)
}
