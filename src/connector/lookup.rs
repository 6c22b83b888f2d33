//! Lookups: a text that a mapping writes becomes the id of another object, which the system is asked for.
//!
//! An id is found once for a connection. What is not found, or found twice, is not remembered, because somebody may put
//! it right: a text that several objects have names none of them, and its record is refused. Where the manifest says
//! `create`, an object that is missing is made; its creation is never repeated, and is found by its text the next time.
//!
//! A lookup that *reads* also makes a text of each id that is read: of an owner's id their e-mail. People come and go, so
//! what it said is believed for [`BELIEVED_MS`], and what it did not know for [`UNKNOWN_MS`]; what is refused because of an
//! id that was remembered is asked for at once (`write.rs`). One with `next` lists everything there is.

use std::collections::{HashMap, HashSet};
use std::sync::{MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value as Json;

use crate::call::Repeat;
use crate::connection::{Connection, LookedUp, Object};
use crate::failure::Failure;
use crate::manifest::{Lookup, Object as ObjectKind};
use crate::names::{Names, scalar};
use crate::write::Work;

/// How long is believed what a lookup that reads has said.
pub(crate) const BELIEVED_MS: i64 = 600_000;
/// How long is believed that it does not know something.
pub(crate) const UNKNOWN_MS: i64 = 60_000;
/// Pages that one list may have.
pub(crate) const LIST_PAGES_MAX: usize = 1_000;
/// Texts, and ids, that are remembered of one lookup that reads; with more, all are forgotten.
const REMEMBERED_MAX: usize = 200_000;

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
pub(crate) struct Texts {
    found: HashMap<(String, String), Found>,
    /// Those that nobody was asked for now.
    remembered: HashSet<(String, String)>,
}

impl Texts {
    pub(crate) fn get(&self, lookup: &str, text: &str) -> Found {
        let found = self.found.get(&(lookup.to_owned(), text.to_owned()));
        found.cloned().unwrap_or(Found::Nothing)
    }

    /// Whether a lookup that reads was not asked for this text, because it had been before.
    pub(crate) fn is_remembered(&self, wanted: &(String, String)) -> bool {
        self.remembered.contains(wanted)
    }
}

/// What one lookup has said to a connection.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// By text.
    ids: HashMap<String, (Found, Timestamp)>,
    /// By id; null of what has no text, nothing of what is not known.
    texts: HashMap<String, (Option<Json>, Timestamp)>,
    /// When everything there is was listed.
    listed: Option<Timestamp>,
}

/// What a lookup says now.
#[derive(Debug, Default)]
struct Said {
    ids: HashMap<String, Found>,
    texts: HashMap<String, Json>,
}

fn is_fresh(at: Timestamp, now: Timestamp, known: bool) -> bool {
    let ms = if known { BELIEVED_MS } else { UNKNOWN_MS };
    now.duration_since(at) < SignedDuration::from_millis(ms)
}

impl Memory {
    /// What is known of a text; nothing when the system is to be asked.
    fn found(&self, lookup: &Lookup, text: &str, now: Timestamp) -> Option<Found> {
        let known = self.ids.get(text);
        if !lookup.reads {
            return known.map(|(found, _)| found.clone());
        }
        let fresh = known.filter(|(found, at)| is_fresh(*at, now, *found != Found::Nothing));
        fresh
            .map(|(found, _)| found.clone())
            .or_else(|| (known.is_none() && self.lists(now)).then_some(Found::Nothing))
    }

    /// The text of an id as far as it is known; nothing when the system is to be asked.
    fn text(&self, id: &str, now: Timestamp) -> Option<Option<Json>> {
        let known = self.texts.get(id);
        let fresh = known.filter(|(text, at)| is_fresh(*at, now, text.is_some()));
        fresh
            .map(|(text, _)| text.clone())
            .or_else(|| (known.is_none() && self.lists(now)).then_some(None))
    }

    /// Whether what is not in the list is known not to be there.
    fn lists(&self, now: Timestamp) -> bool {
        self.listed.is_some_and(|at| is_fresh(at, now, false))
    }

    /// Remembers what was said to these texts and ids, and beside them: that need not be asked for either.
    fn learn(&mut self, lookup: &Lookup, said: &Said, asked: (&[String], &[String]), now: Timestamp) {
        if !lookup.reads {
            let ids = said.ids.iter().filter(|(_, found)| matches!(found, Found::Id(_)));
            self.ids
                .extend(ids.map(|(text, found)| (text.clone(), (found.clone(), now))));
            return;
        }
        if lookup.next.is_some() {
            *self = Memory {
                listed: Some(now),
                ..Memory::default()
            };
        }
        for known in [self.ids.len(), self.texts.len()] {
            if known > REMEMBERED_MAX {
                *self = Memory::default();
            }
        }
        let (keys, ids) = asked;
        let unknown = keys.iter().filter(|key| !said.ids.contains_key(*key));
        self.ids
            .extend(unknown.map(|key| (key.clone(), (Found::Nothing, now))));
        let unknown = ids.iter().filter(|id| !said.texts.contains_key(*id));
        self.texts.extend(unknown.map(|id| (id.clone(), (None, now))));
        let found = said.ids.iter();
        self.ids
            .extend(found.map(|(text, found)| (text.clone(), (found.clone(), now))));
        let texts = said.texts.iter();
        self.texts
            .extend(texts.map(|(id, text)| (id.clone(), (Some(text.clone()), now))));
    }
}

impl Said {
    fn learn(&mut self, pair: &Json, reads: bool) {
        let (text, id) = (scalar(&pair["key"]), &pair["id"]);
        let shown = |id: &Json| scalar(id).unwrap_or_else(|| id.to_string());
        if reads && !id.is_null() {
            let text = text.clone().map_or(Json::Null, Json::String);
            self.texts.entry(shown(id)).or_insert(text);
        }
        let Some(text) = text.filter(|_| pair["former"] != true) else {
            return;
        };
        self.ids
            .entry(text)
            .and_modify(|before| match before {
                Found::Id(other) if other != id => {
                    *before = Found::Several(vec![shown(other), shown(id)]);
                }
                Found::Several(ids) if !ids.contains(&shown(id)) => ids.push(shown(id)),
                _ => {}
            })
            .or_insert_with(|| Found::Id(id.clone()));
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
        for (name, lookup) in &work.kind.lookups {
            let now = self.caller.clock.now();
            let mut keys = Vec::new();
            {
                let memories = self.memories();
                let memory = memories.get(&(work.object.to_owned(), name.clone()));
                for wanted in wanted.iter().filter(|(of, _)| of == name) {
                    match memory.and_then(|memory| memory.found(lookup, &wanted.1, now)) {
                        None => keys.push(wanted.1.clone()),
                        Some(found) => {
                            if lookup.reads {
                                texts.remembered.insert(wanted.clone());
                            }
                            texts.found.insert(wanted.clone(), found);
                        }
                    }
                }
            }
            if keys.is_empty() {
                continue;
            }
            let said = self
                .ask(work.object, name, (lookup, &work.names), (&keys, &[]))
                .await?;
            for key in keys {
                let found = match said.ids.get(&key).cloned() {
                    None => self.made(work, lookup, &key).await?,
                    Some(found) => found,
                };
                if let Found::Id(_) = &found {
                    let now = self.caller.clock.now();
                    let mut memories = self.memories();
                    let memory = memories
                        .entry((work.object.to_owned(), name.clone()))
                        .or_default();
                    memory.ids.insert(key.clone(), (found.clone(), now));
                }
                texts.found.insert((name.clone(), key), found);
            }
        }
        Ok(texts)
    }

    /// Forgets the ids of texts, so that they are asked for.
    pub(crate) fn forget(&self, object: &str, wanted: &[(String, String)]) {
        let mut memories = self.memories();
        for (name, text) in wanted {
            if let Some(memory) = memories.get_mut(&(object.to_owned(), name.clone())) {
                memory.ids.remove(text);
                memory.listed = None;
            }
        }
    }

    /// Puts the texts of the ids that objects hold into the fields whose lookups read. An id that the system does not know
    /// is told as what it is, so that nobody takes it for a text.
    pub(crate) async fn tell_texts(
        &self,
        object: &str,
        kind: &ObjectKind,
        names: &Names,
        objects: &mut [Object],
    ) -> Result<(), Failure> {
        for (field, flat) in &kind.flat {
            let of = flat.lookup.as_ref();
            let Some((name, lookup)) = of.and_then(|name| Some((name, kind.lookups.get(name)?))) else {
                continue;
            };
            if !lookup.reads {
                continue;
            }
            let now = self.caller.clock.now();
            let mut unknown: Vec<String> = Vec::new();
            {
                let memories = self.memories();
                let memory = memories.get(&(object.to_owned(), name.clone()));
                for one in &*objects {
                    if let Some(id) = held(one, &flat.read)
                        && memory.is_none_or(|memory| memory.text(&id, now).is_none())
                    {
                        unknown.push(id);
                    }
                }
            }
            unknown.sort_unstable();
            unknown.dedup();
            if !unknown.is_empty() {
                self.ask(object, name, (lookup, names), (&[], &unknown)).await?;
            }
            let memories = self.memories();
            let memory = memories.get(&(object.to_owned(), name.clone()));
            for one in &mut *objects {
                let text = match held(one, &flat.read) {
                    Some(id) => memory
                        .and_then(|memory| memory.text(&id, now)?)
                        .unwrap_or_else(|| Json::String(format!("{} {id}", lookup.what))),
                    None if one.body.get(&flat.read).is_some() => Json::Null,
                    None => continue,
                };
                if let Json::Object(body) = &mut one.body {
                    body.insert(field.clone(), text);
                }
            }
        }
        Ok(())
    }

    fn memories(&self) -> MutexGuard<'_, LookedUp> {
        self.looked_up.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for the ids of texts, or for the texts of ids, and remembers what was said.
    async fn ask(
        &self,
        object: &str,
        name: &str,
        (lookup, names): (&Lookup, &Names),
        (keys, ids): (&[String], &[String]),
    ) -> Result<Said, Failure> {
        let mut said = Said::default();
        if lookup.next.is_some() {
            self.page_through(lookup, names, (&[], &[]), &mut said).await?;
        } else {
            for keys in keys.chunks(lookup.batch) {
                self.page_through(lookup, names, (keys, &[]), &mut said).await?;
            }
            for ids in ids.chunks(lookup.batch) {
                self.page_through(lookup, names, (&[], ids), &mut said).await?;
            }
        }
        let now = self.caller.clock.now();
        let mut memories = self.memories();
        let memory = memories.entry((object.to_owned(), name.to_owned())).or_default();
        memory.learn(lookup, &said, (keys, ids), now);
        Ok(said)
    }

    async fn page_through(
        &self,
        lookup: &Lookup,
        names: &Names,
        (keys, ids): (&[String], &[String]),
        said: &mut Said,
    ) -> Result<(), Failure> {
        let mut after = Json::Null;
        for _ in 0..LIST_PAGES_MAX {
            let names = names
                .clone()
                .with("keys", keys.to_vec())
                .with("ids", ids.to_vec())
                .with("after", after);
            let reply = self
                .caller
                .call(&lookup.request, names.clone(), Repeat::Safe)
                .await?;
            let names = reply.names(names);
            let get = |name: &str| names.get(name);
            for pair in lookup.pairs.run(&reply.body, &get)? {
                said.learn(&pair, lookup.reads);
            }
            after = match &lookup.next {
                Some(next) => next.one(&reply.body, &get)?,
                None => Json::Null,
            };
            if after.is_null() {
                return Ok(());
            }
        }
        let what = &lookup.what;
        Err(Failure::protocol(format!(
            "the list of `{what}` has more than {LIST_PAGES_MAX} pages"
        )))
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
            Err(failure) if failure.class.concerns_records() && !failure.ambiguous => {
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

/// The id that an object holds in a field.
fn held(object: &Object, field: &str) -> Option<String> {
    object
        .body
        .get(field)
        .and_then(scalar)
        .filter(|id| !id.is_empty())
}
