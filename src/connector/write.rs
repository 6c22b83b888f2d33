//! Writing: one outcome for each input, whatever happens in between.
//!
//! A creation that may have arrived although no answer came is not repeated, by our key neither: who edited the new object
//! since would find it overwritten. It is [`Outcome::Unknown`], and whoever writes it again looks for it first. Updates,
//! which hold only what differs, are repeated.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use serde_json::{Map, Value as Json, json};

use crate::call::{BACKOFF_BASE_MS, Repeat};
use crate::connection::{Connection, LeftOut, Outcome, Write};
use crate::failure::{Class, Failure, RecordClass};
use crate::flat;
use crate::flat::Instead;
use crate::lookup::Texts;
use crate::manifest::{Object as ObjectKind, Step, Strategy, Write as WriteKind};
use crate::names::{Names, scalar};
use crate::outcome::{Outcomes, refused, unchanged};
use crate::transition;
use crate::zone::Zone;

/// How often a record that was locked by somebody else is tried.
pub const LOCKED_TRIES_MAX: u32 = 4;
/// How many records one write singles out for the same reason; then the reason concerns all.
pub const SINGLED_OUT_MAX: usize = 8;

/// What a job does with objects that are known by their ids.
pub(crate) const UPDATE: &str = "update";
/// What a job does with objects that are known by our key.
pub(crate) const UPSERT: &str = "upsert";

/// One object to write: several inputs for the same object are one.
pub(crate) struct Item {
    pub(crate) id: Option<String>,
    pub(crate) key: String,
    pub(crate) values: Map<String, Json>,
    pub(crate) associations: BTreeMap<String, Vec<String>>,
    version: Option<String>,
    pub(crate) tried_at: Option<Timestamp>,
    /// The values in the system's form.
    pub(crate) wire: Map<String, Json>,
    /// The object as it is, where that matters.
    pub(crate) row: Option<Json>,
    /// The moves to make after the write, by their number.
    pub(crate) path: Vec<usize>,
    pub(crate) created: bool,
    /// What is not written, by the manifest.
    pub(crate) left_out: Vec<LeftOut>,
}

impl Connection {
    /// Writes objects: linked ones by their id, others by our key; one outcome for each input, in the order of the inputs.
    ///
    /// Fails as a whole only when nothing was decided about any input.
    pub async fn write(&self, object: &str, batch: &[Write]) -> Result<Vec<Outcome>, Failure> {
        let work = self.work(object)?;
        let (mut items, places) = merged(batch);
        let mut outcomes: Outcomes = items.iter().map(|_| None).collect();
        let result = self.write_all(&work, &mut items, &mut outcomes).await;
        decided(result, &mut outcomes)?;
        let of = |(write, at): (&Write, &usize)| match &outcomes[*at] {
            // Found by our key and gone a moment later: whoever writes it again creates it.
            Some(Outcome::Gone) if write.id.is_none() => Outcome::Unknown,
            outcome => outcome.clone().unwrap_or(Outcome::Unknown),
        };
        Ok(batch.iter().zip(&places).map(of).collect())
    }

    /// What writing an object needs to know.
    pub(crate) fn work<'w>(&'w self, object: &'w str) -> Result<Work<'w>, Failure> {
        let (kind, names) = self.object(object)?;
        let write = kind
            .write
            .as_ref()
            .ok_or_else(|| Failure::protocol(format!("the manifest does not say how to write `{object}`")))?;
        Ok(Work {
            object,
            kind,
            write,
            zone: self.zone(kind)?,
            names: names.with("key", write.key.clone()),
        })
    }

    async fn write_all(
        &self,
        work: &Work<'_>,
        items: &mut [Item],
        outcomes: &mut Outcomes,
    ) -> Result<(), Failure> {
        self.find_first(work, items).await.map_err(Failure::in_no_doubt)?;
        self.read_rows(work, items, outcomes)
            .await
            .map_err(Failure::in_no_doubt)?;
        let texts = self.translate(work, items, outcomes).await?;
        let (mut updates, mut creations) = (Vec::new(), Vec::new());
        for (at, item) in items.iter_mut().enumerate() {
            if outcomes[at].is_some() {
                continue;
            }
            match &item.id {
                None => {
                    item.created = true;
                    creations.push(at);
                }
                Some(id) if item.wire.is_empty() => outcomes[at] = Some(unchanged(id, item)),
                Some(_) => updates.push(at),
            }
        }
        let mut failed = self.send(work, (updates, creations), items, outcomes).await;
        if failed.is_ok() {
            failed = self.with_news(work, &texts, items, outcomes).await;
        }
        // What was written is finished even if the rest could not be sent.
        self.moves(work, items, outcomes).await?;
        self.associate(work, items, outcomes).await?;
        failed
    }

    /// Sends what is to be updated, and then what is to be created.
    async fn send(
        &self,
        work: &Work<'_>,
        (updates, creations): (Vec<usize>, Vec<usize>),
        items: &[Item],
        outcomes: &mut Outcomes,
    ) -> Result<(), Failure> {
        let update = &work.write.update;
        let (Strategy::Upsert(create) | Strategy::FindThenWrite(create)) = &work.write.strategy;
        let left = self.by_jobs(work, UPDATE, updates, items, outcomes).await?;
        self.steps(work, update, Repeat::Safe, left, items, outcomes)
            .await?;
        self.verify_gone(work, items, outcomes).await?;
        let left = self.by_jobs(work, UPSERT, creations, items, outcomes).await?;
        self.steps(work, create, Repeat::Unsafe, left, items, outcomes)
            .await
    }

    /// Finds objects by our keys, as they are at this moment: the ids of those that are there, by their keys. Nothing where
    /// the manifest does not say how.
    pub async fn ids_of(&self, object: &str, keys: &[String]) -> Result<HashMap<String, String>, Failure> {
        self.find(&self.work(object)?, keys).await
    }

    async fn find(&self, work: &Work<'_>, keys: &[String]) -> Result<HashMap<String, String>, Failure> {
        let mut found = HashMap::new();
        let Some(find) = &work.write.find else {
            return Ok(found);
        };
        for chunk in keys.chunks(find.batch) {
            let names = work.names.clone().with("keys", chunk.to_vec());
            let reply = self
                .caller
                .call(&find.request, names.clone(), Repeat::Safe)
                .await?;
            let names = reply.names(names);
            for pair in find.pairs.run(&reply.body, &|name| names.get(name))? {
                if let (Some(key), Some(id)) = (scalar(&pair["key"]), scalar(&pair["id"])) {
                    // The first wins: two objects with our key are somebody else's copy.
                    found.entry(key).or_insert(id);
                }
            }
        }
        Ok(found)
    }

    /// Finds what is to be written at systems that cannot upsert.
    async fn find_first(&self, work: &Work<'_>, items: &mut [Item]) -> Result<(), Failure> {
        let Strategy::FindThenWrite(_) = &work.write.strategy else {
            return Ok(());
        };
        let new = items.iter_mut().filter(|item| item.id.is_none());
        let new: Vec<&mut Item> = new.collect();
        let keys: Vec<String> = new.iter().map(|item| item.key.clone()).collect();
        let mut found = self.find(work, &keys).await?;
        for item in new {
            item.id = found.remove(&item.key);
        }
        Ok(())
    }

    /// Reads the objects whose present state decides how they are written.
    async fn read_rows(
        &self,
        work: &Work<'_>,
        items: &mut [Item],
        outcomes: &mut Outcomes,
    ) -> Result<(), Failure> {
        let transitions = work.write.transitions.as_ref();
        let moved = |item: &Item| transitions.is_some_and(|t| item.values.contains_key(&t.field));
        let mut fields: Vec<String> = Vec::new();
        let mut ids: Vec<String> = Vec::new();
        for item in items.iter() {
            let Some(id) = item.id.as_ref().filter(|id| !self.is_made_up(id)) else {
                continue;
            };
            let compared = work
                .write
                .row_for
                .iter()
                .any(|field| item.values.contains_key(field));
            if moved(item) || compared || flat::needs_rows(work.kind, &item.values) {
                ids.push(id.clone());
                fields.extend(
                    item.values
                        .keys()
                        .filter(|f| work.kind.flat.contains_key(*f))
                        .cloned(),
                );
            }
        }
        if ids.is_empty() {
            return Ok(());
        }
        if let Some(transitions) = transitions {
            fields.push(transitions.field.clone());
            fields.extend(transitions.keep.iter().cloned());
        }
        // Its id among them, for systems that tell only what they are asked for.
        fields.extend(work.kind.always.iter().cloned());
        let wire = flat::expanded(work.kind, &fields);
        let rows = self.rows(work.object, &wire, &ids).await?;
        let mut by_id: HashMap<String, Json> = HashMap::new();
        for row in rows {
            let id = work.kind.id.one(&row, &|name| work.names.get(name))?;
            by_id.extend(scalar(&id).map(|id| (id, row)));
        }
        for (at, item) in items.iter_mut().enumerate() {
            let Some(id) = item.id.as_ref().filter(|id| ids.contains(id)) else {
                continue;
            };
            item.row = by_id.remove(id);
            if item.row.is_none() {
                outcomes[at] = Some(Outcome::Gone);
            }
        }
        Ok(())
    }

    /// Brings the values into the system's form; what cannot be is refused here.
    async fn translate(
        &self,
        work: &Work<'_>,
        items: &mut [Item],
        outcomes: &mut Outcomes,
    ) -> Result<Texts, Failure> {
        let open = items
            .iter()
            .zip(&*outcomes)
            .filter(|(_, outcome)| outcome.is_none());
        let instead = self.instead(work)?;
        let none = Instead::new();
        // What is there keeps whom it has.
        let instead_in = |item: &Item| if item.id.is_none() { &instead } else { &none };
        let wanted = open.flat_map(|(item, _)| flat::wanted(work.kind, &item.values, instead_in(item)));
        let wanted = wanted.collect();
        let texts = self.look_up(work, wanted).await?;
        let rpc = self.caller.manifest().rpc.as_ref();
        let class_key = rpc.and_then(|rpc| rpc.class_key.as_deref());
        let found = |lookup: &str, text: &str| texts.get(lookup, text);
        let mut told: BTreeMap<LeftOut, usize> = BTreeMap::new();
        for (at, item) in items.iter_mut().enumerate() {
            if outcomes[at].is_some() {
                continue;
            }
            let mut values = item.values.clone();
            item.left_out.clear();
            if let Some(transitions) = &work.write.transitions
                && let Some(wanted) = values.remove(&transitions.field)
            {
                match transition::path(transitions, item.row.as_ref(), &wanted) {
                    Ok(path) => item.path = path,
                    Err(error) => {
                        outcomes[at] = Some(Outcome::Refused(error));
                        continue;
                    }
                }
            }
            if item.id.is_some() {
                item.left_out = without_create_only(work.write, &mut values);
            }
            if item.id.is_none() && matches!(work.write.strategy, Strategy::FindThenWrite { .. }) {
                values.insert(work.write.key.clone(), Json::String(item.key.clone()));
            }
            match flat::wired(
                work.kind,
                class_key,
                self.suffix(),
                &values,
                item.row.as_ref(),
                &found,
                instead_in(item),
            ) {
                Ok((wire, left_out)) => {
                    item.wire = wire;
                    for left_out in left_out {
                        *told.entry(left_out.clone()).or_default() += 1;
                        item.left_out.push(left_out);
                    }
                }
                Err(error) => outcomes[at] = Some(Outcome::Refused(error)),
            }
        }
        for (LeftOut { field, why, .. }, records) in told {
            let (connection, object) = (self.name(), work.object);
            tracing::warn!(connection, object, field, why, records, "a field is left out");
        }
        Ok(texts)
    }

    /// The texts of this connection for what a lookup leaves out of a new object.
    fn instead(&self, work: &Work<'_>) -> Result<Instead, Failure> {
        let mut texts = Instead::new();
        for (field, flat) in &work.kind.flat {
            if let Some(template) = &flat.instead {
                let text = self.caller.render(template, &work.names)?;
                if !text.is_empty() {
                    texts.insert(field.clone(), text);
                }
            }
        }
        Ok(texts)
    }

    /// Writes again, once, what was refused and has an id that was remembered, if another one is meant by now: the one whom
    /// it names may have left.
    async fn with_news(
        &self,
        work: &Work<'_>,
        texts: &Texts,
        items: &mut [Item],
        outcomes: &mut Outcomes,
    ) -> Result<(), Failure> {
        let instead = self.instead(work)?;
        let remembered = |item: &Item| -> Vec<(String, String)> {
            let wanted = flat::wanted(work.kind, &item.values, &instead).into_iter();
            wanted.filter(|wanted| texts.is_remembered(wanted)).collect()
        };
        let mut before = BTreeMap::new();
        let mut wanted = Vec::new();
        for (at, item) in items.iter().enumerate() {
            if let Some(Outcome::Refused(_)) = &outcomes[at] {
                let remembered = remembered(item);
                if !remembered.is_empty() {
                    wanted.extend(remembered);
                    before.insert(at, (outcomes[at].take(), item.wire.clone()));
                }
            }
        }
        if before.is_empty() {
            return Ok(());
        }
        let doubtful = before.iter().filter(|(_, (outcome, _))| is_doubtful(outcome));
        let doubtful: Vec<usize> = doubtful.map(|(at, _)| *at).collect();
        self.forget(work.object, &wanted);
        let translated = self.translate(work, items, outcomes).await;
        let mut ats = (Vec::new(), Vec::new());
        for (at, (outcome, wire)) in before {
            match translated.is_err() || items[at].wire == wire {
                true => outcomes[at] = outcome,
                false if outcomes[at].is_some() => {}
                false if items[at].id.is_none() => ats.1.push(at),
                false => ats.0.push(at),
            }
        }
        translated?;
        let sent = self.send(work, ats, items, outcomes).await;
        doubtful.into_iter().for_each(|at| doubt(&mut outcomes[at]));
        sent
    }

    /// Some systems say the same of an object that is gone and of a value that is wrong: reading tells which it is.
    pub(crate) async fn verify_gone(
        &self,
        work: &Work<'_>,
        items: &[Item],
        outcomes: &mut Outcomes,
    ) -> Result<(), Failure> {
        let doubtful =
            |at: &usize| matches!(&outcomes[*at], Some(Outcome::Refused(e)) if e.class == RecordClass::Gone);
        let ats: Vec<usize> = (0..items.len()).filter(doubtful).collect();
        let ids: Vec<String> = ats.iter().filter_map(|at| items[*at].id.clone()).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let wire = flat::expanded(work.kind, &work.kind.always);
        let mut found = Vec::new();
        for row in self.rows(work.object, &wire, &ids).await? {
            let id = work.kind.id.one(&row, &|name| work.names.get(name))?;
            found.extend(scalar(&id));
        }
        for at in ats {
            match &mut outcomes[at] {
                Some(Outcome::Refused(error))
                    if items[at].id.as_ref().is_some_and(|id| found.contains(id)) =>
                {
                    error.class = RecordClass::Validation;
                }
                gone => *gone = Some(Outcome::Gone),
            }
        }
        Ok(())
    }

    /// One step for many items, and again for those that somebody else had locked.
    pub(crate) async fn steps(
        &self,
        work: &Work<'_>,
        step: &Step,
        repeat: Repeat,
        mut ats: Vec<usize>,
        items: &[Item],
        outcomes: &mut Outcomes,
    ) -> Result<(), Failure> {
        for tries in 1..=LOCKED_TRIES_MAX {
            if ats.is_empty() {
                break;
            }
            if tries > 1 {
                self.caller.clock.sleep(BACKOFF_BASE_MS << tries).await;
            }
            let doubtful: Vec<usize> = ats
                .iter()
                .copied()
                .filter(|at| is_doubtful(&outcomes[*at]))
                .collect();
            let locked = self.step(work, step, repeat, &ats, items, outcomes).await;
            doubtful.into_iter().for_each(|at| doubt(&mut outcomes[at]));
            ats = locked?;
        }
        Ok(())
    }

    /// Sends items in the largest batches; gives those that are worth another try.
    pub(crate) async fn step(
        &self,
        work: &Work<'_>,
        step: &Step,
        repeat: Repeat,
        ats: &[usize],
        items: &[Item],
        outcomes: &mut Outcomes,
    ) -> Result<Vec<usize>, Failure> {
        let mut open: Vec<&[usize]> = ats.chunks(step.batch).rev().collect();
        open.retain(|chunk| {
            let rehearsed = self.rehearses(&step.request);
            if rehearsed {
                self.take_as_written(chunk, items, outcomes);
            }
            !rehearsed
        });
        let mut locked = Vec::new();
        let mut singled_out: HashMap<String, usize> = HashMap::new();
        while let Some(chunk) = open.pop() {
            let names = work.names.clone().with("batch", batch(work.write, chunk, items));
            match self.caller.call(&step.request, names.clone(), repeat).await {
                Ok(reply) => {
                    let may_have_acted = reply.ambiguous;
                    let names = reply.names(names);
                    let found = step.results.run(&reply.body, &|name| names.get(name));
                    self.assign(
                        work,
                        chunk,
                        items,
                        &found.unwrap_or_default(),
                        outcomes,
                        &mut locked,
                    );
                    if may_have_acted {
                        chunk.iter().for_each(|at| doubt(&mut outcomes[*at]));
                    }
                }
                Err(failure) if failure.is_unheard() => {
                    chunk.iter().for_each(|at| outcomes[*at] = Some(Outcome::Unknown));
                    return Err(failure);
                }
                Err(failure) if !failure.class.concerns_records() => return Err(failure),
                // What could not even be sent costs no calls to halve.
                Err(failure)
                    if chunk.len() > 1
                        && (work.write.bisect
                            || failure.class == Class::TooLarge
                            || failure.status.is_none()) =>
                {
                    let (left, right) = chunk.split_at(chunk.len() / 2);
                    open.extend([right, left]);
                }
                Err(failure) => {
                    let same = singled_out.entry(failure.detail.clone()).or_default();
                    *same += 1;
                    if *same > SINGLED_OUT_MAX {
                        return Err(failure);
                    }
                    chunk
                        .iter()
                        .for_each(|at| outcomes[*at] = Some(refused(&items[*at], &failure)));
                }
            }
        }
        Ok(locked)
    }
}

/// What was not decided because of a failure was not sent; a failure before which nothing was decided is one of all.
pub(crate) fn decided(result: Result<(), Failure>, outcomes: &mut Outcomes) -> Result<(), Failure> {
    let Err(failure) = result else {
        return Ok(());
    };
    if outcomes.iter().all(Option::is_none) {
        return Err(failure);
    }
    let unsent = failure.in_no_doubt();
    for outcome in outcomes.iter_mut().filter(|o| o.is_none()) {
        *outcome = Some(Outcome::NotSent(unsent.clone()));
    }
    Ok(())
}

/// Whether an item may have been carried out, as far as is known by now.
fn is_doubtful(outcome: &Option<Outcome>) -> bool {
    match outcome {
        Some(Outcome::Refused(error)) => error.ambiguous,
        Some(Outcome::NotSent(failure)) => failure.ambiguous,
        _ => false,
    }
}

/// Whatever became of it, an earlier try of the same may have been carried out.
fn doubt(outcome: &mut Option<Outcome>) {
    match outcome {
        Some(Outcome::Refused(error)) => error.ambiguous = true,
        Some(Outcome::NotSent(failure)) => failure.ambiguous = true,
        None => *outcome = Some(Outcome::Unknown),
        Some(_) => {}
    }
}

/// What one call to [`Connection::write`] is about.
pub(crate) struct Work<'w> {
    pub(crate) object: &'w str,
    pub(crate) kind: &'w ObjectKind,
    pub(crate) write: &'w WriteKind,
    pub(crate) zone: Option<Zone>,
    pub(crate) names: Names,
}

/// Takes out what can be written only when an object is created, and what goes with it.
fn without_create_only(write: &WriteKind, values: &mut Map<String, Json>) -> Vec<LeftOut> {
    let mut left_out: Vec<String> = Vec::new();
    for only in &write.create_only {
        // Only differences are written: where it is, the system holds another value.
        if values.remove(&only.field).is_some() {
            left_out.push(only.field.clone());
            left_out.extend(
                only.with
                    .iter()
                    .filter(|with| values.remove(*with).is_some())
                    .cloned(),
            );
        }
    }
    let why = "the system takes it only for a new object";
    let left_out = left_out.into_iter().map(|field| LeftOut {
        field,
        why: why.to_owned(),
        instead: None,
    });
    left_out.collect()
}

/// Joins the inputs for one object, the later value winning; and where each input went.
pub(crate) fn merged(batch: &[Write]) -> (Vec<Item>, Vec<usize>) {
    let mut items: Vec<Item> = Vec::with_capacity(batch.len());
    let mut known: HashMap<(bool, String), usize> = HashMap::new();
    let mut places = Vec::with_capacity(batch.len());
    for write in batch {
        let name = match &write.id {
            Some(id) => (true, id.clone()),
            None => (false, write.key.clone()),
        };
        let at = *known.entry(name).or_insert_with(|| {
            items.push(Item {
                id: write.id.clone(),
                key: write.key.clone(),
                values: Map::new(),
                associations: BTreeMap::new(),
                version: None,
                tried_at: write.tried_at,
                wire: Map::new(),
                row: None,
                path: Vec::new(),
                created: false,
                left_out: Vec::new(),
            });
            items.len() - 1
        });
        let item = &mut items[at];
        item.version = write.version.clone();
        for (name, value) in &write.values {
            match name.strip_prefix("associations.") {
                Some(name) => {
                    let ids = value.as_array().map_or(&[][..], Vec::as_slice);
                    let ids = ids.iter().filter_map(scalar).collect();
                    item.associations.insert(name.to_owned(), ids);
                }
                None => {
                    item.values.insert(name.clone(), value.clone());
                }
            }
        }
        places.push(at);
    }
    (items, places)
}

fn batch(write: &WriteKind, chunk: &[usize], items: &[Item]) -> Json {
    let entry = |(index, at): (usize, &usize)| {
        let item = &items[*at];
        let row = item.row.as_ref().filter(|_| !write.row_for.is_empty());
        json!({
            "index": index,
            "trace": index.to_string(),
            "id": item.id,
            "key": item.key,
            "values": item.wire,
            "version": item.version,
            "row": row,
        })
    };
    chunk.iter().enumerate().map(entry).collect()
}
