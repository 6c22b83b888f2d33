//! Lookups: a text that a mapping writes becomes the id of another object, which the system is asked for.
//!
//! An id is found once for a connection. What is not found, or found twice, is not remembered, because somebody may put
//! it right: a text that several objects have names none of them, and its record is refused. Where the manifest says
//! `create`, an object that is missing is made; its creation is never repeated, and is found by its text the next time.

use std::collections::HashMap;
use std::sync::PoisonError;

use serde_json::Value as Json;

use crate::call::Repeat;
use crate::connection::Connection;
use crate::failure::Failure;
use crate::manifest::Lookup;
use crate::names::scalar;
use crate::outcome::concerns_records;
use crate::write::Work;

/// What a lookup found for a text.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Found {
    Id(Json),
    /// Objects that have this text, by their ids: it names none of them.
    Several(Vec<String>),
    /// It was to be made, and the system refused.
    Refused(String),
    Nothing,
}

/// What was found for the texts of one write, by lookup and text.
#[derive(Debug, Default)]
pub(crate) struct Texts(HashMap<(String, String), Found>);

impl Texts {
    pub(crate) fn get(&self, lookup: &str, text: &str) -> Found {
        let found = self.0.get(&(lookup.to_owned(), text.to_owned()));
        found.cloned().unwrap_or(Found::Nothing)
    }
}

impl Connection {
    /// Finds the ids of texts, each by its lookup.
    pub(crate) async fn look_up(
        &self,
        work: &Work<'_>,
        mut wanted: Vec<(String, String)>,
    ) -> Result<Texts, Failure> {
        wanted.sort_unstable();
        wanted.dedup();
        let mut texts = Texts::default();
        {
            let known = self.looked_up.lock().unwrap_or_else(PoisonError::into_inner);
            wanted.retain(|(lookup, text)| {
                let id = known.get(&(work.object.to_owned(), lookup.clone(), text.clone()));
                texts
                    .0
                    .extend(id.map(|id| ((lookup.clone(), text.clone()), Found::Id(id.clone()))));
                id.is_none()
            });
        }
        for (name, lookup) in &work.kind.lookups {
            let keys = wanted.iter().filter(|(of, _)| of == name);
            let keys: Vec<String> = keys.map(|(_, text)| text.clone()).collect();
            if keys.is_empty() {
                continue;
            }
            let found = self.found(work, lookup, &keys).await?;
            {
                // What the system told beside what was asked need not be asked for either.
                let ids = found.iter().filter_map(|(text, found)| match found {
                    Found::Id(id) => Some(((work.object.to_owned(), name.clone(), text.clone()), id.clone())),
                    _ => None,
                });
                let mut known = self.looked_up.lock().unwrap_or_else(PoisonError::into_inner);
                known.extend(ids);
            }
            for key in keys {
                let found = match found.get(&key).cloned() {
                    None => self.made(work, lookup, &key).await?,
                    Some(found) => found,
                };
                if let Found::Id(id) = &found {
                    let mut known = self.looked_up.lock().unwrap_or_else(PoisonError::into_inner);
                    known.insert((work.object.to_owned(), name.clone(), key.clone()), id.clone());
                }
                texts.0.insert((name.clone(), key), found);
            }
        }
        Ok(texts)
    }

    /// Asks for the ids of these texts.
    async fn found(
        &self,
        work: &Work<'_>,
        lookup: &Lookup,
        keys: &[String],
    ) -> Result<HashMap<String, Found>, Failure> {
        let names = work.names.clone().with("keys", keys.to_vec());
        let reply = self
            .caller
            .call(&lookup.request, names.clone(), Repeat::Safe)
            .await?;
        let names = reply.names(names);
        let mut found: HashMap<String, Found> = HashMap::new();
        for pair in lookup.pairs.run(&reply.body, &|name| names.get(name))? {
            let (Some(text), id) = (scalar(&pair["key"]), pair["id"].clone()) else {
                continue;
            };
            let shown = |id: &Json| scalar(id).unwrap_or_else(|| id.to_string());
            found
                .entry(text)
                .and_modify(|before| match before {
                    Found::Id(other) if *other != id => {
                        *before = Found::Several(vec![shown(other), shown(&id)]);
                    }
                    Found::Several(ids) if !ids.contains(&shown(&id)) => ids.push(shown(&id)),
                    _ => {}
                })
                .or_insert(Found::Id(id));
        }
        Ok(found)
    }

    /// Makes what is missing, where the manifest and the connection want that.
    async fn made(&self, work: &Work<'_>, lookup: &Lookup, key: &str) -> Result<Found, Failure> {
        let Some(create) = &lookup.create else {
            return Ok(Found::Nothing);
        };
        let names = work.names.clone().with("key", key);
        let wanted = match &create.when {
            Some(when) => self.caller.render(when, &names)?.eq_ignore_ascii_case("true"),
            None => true,
        };
        if !wanted {
            return Ok(Found::Nothing);
        }
        let reply = match self
            .caller
            .call(&create.request, names.clone(), Repeat::Unsafe)
            .await
        {
            Ok(reply) => reply,
            Err(failure) if concerns_records(&failure.class) && !failure.ambiguous => {
                return Ok(Found::Refused(failure.detail));
            }
            Err(failure) => return Err(failure),
        };
        let names = reply.names(names);
        let id = create.value.one(&reply.body, &|name| names.get(name))?;
        if scalar(&id).is_none() {
            return Err(Failure::protocol(format!(
                "the new {} has no id in the answer",
                lookup.what
            )));
        }
        tracing::info!(
            connection = self.name(),
            object = work.object,
            what = lookup.what,
            "a missing object was made"
        );
        Ok(Found::Id(id))
    }
}
