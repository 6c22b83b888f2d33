//! Writing by a job: many objects are given to the system as one table, and it says afterwards what became of each.
//!
//! Every outcome is found by our key or the object's id, never by its place in a table.
//! A job that was handed over may go on without us: when the answer was lost, or the hub was killed, or the job takes
//! longer than one write may. So before another one is made, the system's own list is asked for jobs like it; one that
//! is still at work is waited for, and what one has done is taken as done where it wrote exactly what is to be written, and
//! had not ended when that was sent: what one wrote before may have been changed since, which is why it is written again.
//!
//! What a table cannot say (an empty text, the very text that clears a field, a list) is written without a job.
//! Not promised: that a job that was made and never handed over is removed; it holds nothing that could be lost.

use std::collections::{BTreeMap, HashMap};
use std::sync::PoisonError;

use serde_json::Value as Json;

use crate::call::Repeat;
use crate::clock::{between, later};
use crate::connection::{Connection, Outcome};
use crate::failure::{Class, Failure};
use crate::job::{Stage, wait_ms};
use crate::manifest::WriteJob;
use crate::names::{Names, scalar};
use crate::outcome::Outcomes;
use crate::table;
use crate::write::{Item, UPDATE, UPSERT, Work};
use crate::zone::moment;

/// How long one write waits for a job; then the job goes on alone, and is looked for later.
pub const JOB_WAIT_MS: u64 = 20_000;
/// How long ago a job may have ended whose work is taken as done. Short, because the objects may have been changed since;
/// what was changed in this time is still to be read, by the authoritative pass.
pub const JOB_AGE_MAX_MS: u64 = 600_000;
/// How large the table of one job may be.
pub const JOB_BYTES_MAX: usize = 50_000_000;

/// A row of a table, by its columns.
type Cells = BTreeMap<String, String>;

/// Objects that one job may write, and what is said to the system about them.
struct Rows<'w> {
    bulk: &'w WriteJob,
    operation: &'static str,
    /// By their number.
    cells: BTreeMap<usize, Cells>,
}

/// A job that the system's list names.
struct Found {
    id: String,
    stage: String,
    /// How long ago it last changed, by the system's clock; nothing where it does not say.
    age_ms: Option<u64>,
}

/// What is to be written by one row.
struct Wanted<'w> {
    cells: &'w Cells,
    /// How long ago just that was sent, by our clock.
    sent_ms: Option<u64>,
}

impl Connection {
    /// How many objects a write must have to go by a job, and how many one job takes; nothing when the object knows no
    /// such jobs.
    pub fn bulk(&self, object: &str) -> Result<Option<(usize, usize)>, Failure> {
        let object = self.caller.manifest().objects.get(object);
        let Some(bulk) = object.and_then(|o| o.write.as_ref()?.bulk.as_deref()) else {
            return Ok(None);
        };
        Ok(Some((self.over(bulk)?, bulk.batch)))
    }

    fn over(&self, bulk: &WriteJob) -> Result<usize, Failure> {
        let over = self.caller.render(&bulk.over, &self.caller.config_names())?;
        over.trim().parse().map_err(|_| {
            let message = format!("`over` of writing by a job is `{over}`: write a number of objects");
            Failure::new(Class::Settings, message)
        })
    }

    /// Writes by jobs what is much enough, and gives what is left to write in the other way.
    pub(crate) async fn by_jobs(
        &self,
        work: &Work<'_>,
        operation: &'static str,
        ats: Vec<usize>,
        items: &[Item],
        outcomes: &mut Outcomes,
    ) -> Result<Vec<usize>, Failure> {
        let Some(bulk) = work.write.bulk.as_deref() else {
            return Ok(ats);
        };
        let over = self.over(bulk)?;
        // One that was begun by another process is not known here, but that something was sent is.
        let tried = ats.iter().any(|at| items[*at].tried_at.is_some());
        let begun = tried || self.has_begun(work, operation);
        if ats.is_empty() || (ats.len() <= over && !begun) {
            return Ok(ats);
        }
        let mut rows = Rows {
            bulk,
            operation,
            cells: BTreeMap::new(),
        };
        let mut left = Vec::new();
        for at in ats {
            match cells(work, &rows, &items[at]) {
                Some(cells) => drop(rows.cells.insert(at, cells)),
                None => left.push(at),
            }
        }
        // What a rehearsal would write is no job's work.
        if !self.rehearses(&bulk.find.request) {
            self.take_up(work, &mut rows, items, outcomes, &mut left).await?;
        }
        if rows.cells.len() <= over {
            left.extend(rows.cells.into_keys());
            return Ok(left);
        }
        for chunk in chunks(&rows) {
            self.give(work, &rows, chunk, items, outcomes, &mut left).await?;
        }
        Ok(left)
    }

    /// Looks for jobs that were begun and not concluded, and takes up what they have done.
    async fn take_up(
        &self,
        work: &Work<'_>,
        rows: &mut Rows<'_>,
        items: &[Item],
        outcomes: &mut Outcomes,
        left: &mut Vec<usize>,
    ) -> Result<(), Failure> {
        for found in self.find_jobs(work, rows.bulk, rows.operation).await? {
            let names = said(work, rows.operation).with("job", found.id.clone());
            if found.stage == "running" && self.wait_for(rows.bulk, &names).await?.is_none() {
                return self.leave(work, rows, &found.id, outcomes, left);
            }
            let ats: Vec<usize> = rows.cells.keys().copied().collect();
            let mut results = self.results_of(rows.bulk, &names).await?;
            let now = self.caller.clock.now();
            let wanted = rows.cells.iter().map(|(at, cells)| {
                let item = &items[*at];
                let sent_ms = item.tried_at.map(|at| between(at, now));
                (name(item).to_owned(), Wanted { cells, sent_ms })
            });
            let wanted: HashMap<String, Wanted<'_>> = wanted.collect();
            // One that was waited for has ended just now.
            let age_ms = found.age_ms.filter(|_| found.stage != "running").unwrap_or(0);
            results.retain(|result| result["ok"] == true && is_what_we_want(&wanted, result, age_ms));
            if !results.is_empty() {
                let before = outcomes.clone();
                self.assign(work, &ats, items, &results, outcomes, left);
                // What that job did not do is still to be done.
                for at in ats {
                    match &outcomes[at] {
                        Some(Outcome::Written { .. }) => drop(rows.cells.remove(&at)),
                        _ => outcomes[at].clone_from(&before[at]),
                    }
                }
            }
            self.remove(&rows.bulk.job, names).await;
        }
        self.note(work, rows.operation, false);
        Ok(())
    }

    /// Whether a job that writes such objects is at work, whoever began it: what it was given may arrive for as long. Makes
    /// a call for each way of writing, and none where the object knows no such jobs.
    pub async fn is_at_work(&self, object: &str) -> Result<bool, Failure> {
        let work = self.work(object)?;
        let Some(bulk) = work.write.bulk.as_deref() else {
            return Ok(false);
        };
        for operation in [UPDATE, UPSERT] {
            let found = self.find_jobs(&work, bulk, operation).await?;
            if found.iter().any(|job| job.stage == "running") {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The jobs of the system's list that are like the one to be made, and that may have written our objects.
    async fn find_jobs(
        &self,
        work: &Work<'_>,
        bulk: &WriteJob,
        operation: &'static str,
    ) -> Result<Vec<Found>, Failure> {
        let find = &bulk.find;
        let names = said(work, operation);
        let reply = self
            .caller
            .call(&find.request, names.clone(), Repeat::Safe)
            .await?;
        let told_at = reply.told_at();
        let names = reply.names(names);
        let jobs = find.value.run(&reply.body, &|name| names.get(name))?;
        let present = told_at.unwrap_or_else(|| self.caller.clock.now());
        let found = jobs.iter().filter_map(|job| {
            Some(Found {
                id: scalar(&job["id"])?,
                stage: scalar(&job["state"])?,
                age_ms: moment(&job["changed"], None).map(|changed| between(changed, present)),
            })
        });
        Ok(found
            .filter(|job| match job.stage.as_str() {
                "running" => true,
                "done" => job.age_ms.is_some_and(|age_ms| age_ms <= JOB_AGE_MAX_MS),
                _ => false,
            })
            .collect())
    }

    /// Makes one job for some of the objects and waits for it.
    async fn give(
        &self,
        work: &Work<'_>,
        rows: &Rows<'_>,
        ats: Vec<usize>,
        items: &[Item],
        outcomes: &mut Outcomes,
        left: &mut Vec<usize>,
    ) -> Result<(), Failure> {
        let bulk = rows.bulk;
        if self.rehearses_job(bulk) {
            self.take_as_written(&ats, items, outcomes);
            return Ok(());
        }
        let csv = table::written(ats.iter().map(|at| &rows.cells[at]));
        let made = self.make(&bulk.job, &said(work, rows.operation)).await;
        let id = made.map_err(Failure::in_no_doubt)?.id;
        let names = said(work, rows.operation).with("job", id.clone());
        let upload = names.clone().with("rows", csv);
        // Until it is handed over, a job does nothing: whatever happens to this call, nothing is written.
        let uploaded = self.caller.call(&bulk.upload, upload, Repeat::Unsafe).await;
        uploaded.map_err(Failure::in_no_doubt)?;
        self.note(work, rows.operation, true);
        if let Err(failure) = self.caller.call(&bulk.start, names.clone(), Repeat::Unsafe).await
            && !failure.ambiguous
        {
            self.note(work, rows.operation, false);
            return Err(failure);
        }
        // Where the answer was lost, the job itself says whether it was handed over: then it is running, or has ended.
        let waited = self.wait_for(bulk, &names).await;
        let Some(failed) = waited.map_err(|failure| unheard_of(&ats, outcomes, failure))? else {
            let mut all = Rows {
                bulk,
                operation: rows.operation,
                cells: BTreeMap::new(),
            };
            all.cells.extend(ats.iter().map(|at| (*at, Cells::new())));
            return self.leave(work, &mut all, &id, outcomes, left);
        };
        if let Err(failure) = &failed
            && matches!(failure.class, Class::SchemaDrift { .. })
        {
            self.remove(&bulk.job, names).await;
            self.note(work, rows.operation, false);
            return Err(failure.clone());
        }
        let results = self.results_of(bulk, &names).await;
        let results = results.map_err(|failure| unheard_of(&ats, outcomes, failure))?;
        self.assign(work, &ats, items, &results, outcomes, left);
        if let Err(mut failure) = failed {
            // What a failed job does not mention, it did not get to, as far as anybody can tell.
            failure.ambiguous = true;
            for at in &ats {
                if outcomes[*at] == Some(Outcome::Unknown) {
                    outcomes[*at] = Some(Outcome::NotSent(failure.clone()));
                }
            }
        }
        self.remove(&bulk.job, names).await;
        self.note(work, rows.operation, false);
        Ok(())
    }

    /// Waits until a job has ended: well, or with a failure. Nothing when that takes too long.
    async fn wait_for(&self, bulk: &WriteJob, names: &Names) -> Result<Option<Result<(), Failure>>, Failure> {
        let end = later(self.caller.clock.now(), JOB_WAIT_MS);
        for polls in 0.. {
            let wait = wait_ms(bulk.job.poll_ms, polls);
            if later(self.caller.clock.now(), wait) > end {
                break;
            }
            self.caller.clock.sleep(wait).await;
            match self.stage(&bulk.job, names).await? {
                Stage::Running => {}
                Stage::Done => return Ok(Some(Ok(()))),
                Stage::Failed(failure) => return Ok(Some(Err(failure))),
            }
        }
        Ok(None)
    }

    /// Leaves a job to itself; nothing of its object is written until it has ended.
    fn leave(
        &self,
        work: &Work<'_>,
        rows: &mut Rows<'_>,
        id: &str,
        outcomes: &mut Outcomes,
        left: &mut Vec<usize>,
    ) -> Result<(), Failure> {
        self.note(work, rows.operation, true);
        let mut failure = Failure::new(Class::Transient, format!("the job {id} is still at work"));
        failure.ambiguous = true;
        for at in std::mem::take(&mut rows.cells).into_keys().chain(left.drain(..)) {
            outcomes[at] = Some(Outcome::NotSent(failure.clone()));
        }
        Ok(())
    }

    /// What became of each row, in no order.
    async fn results_of(&self, bulk: &WriteJob, names: &Names) -> Result<Vec<Json>, Failure> {
        let mut all = Vec::new();
        for part in &bulk.results {
            let reply = self
                .caller
                .call(&part.request, names.clone(), Repeat::Safe)
                .await?;
            let names = reply.names(names.clone());
            all.extend(part.value.run(&reply.body, &|name| names.get(name))?);
        }
        Ok(all)
    }

    fn has_begun(&self, work: &Work<'_>, operation: &'static str) -> bool {
        let begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        begun.contains(&(work.object.to_owned(), operation))
    }

    /// Notes whether a job may be at work that nobody waits for.
    fn note(&self, work: &Work<'_>, operation: &'static str, begun: bool) {
        let mut all = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        let name = (work.object.to_owned(), operation);
        if begun {
            all.insert(name);
        } else {
            all.remove(&name);
        }
    }
}

/// Of a job that was handed over nobody heard what became of its rows.
fn unheard_of(ats: &[usize], outcomes: &mut Outcomes, failure: Failure) -> Failure {
    ats.iter().for_each(|at| outcomes[*at] = Some(Outcome::Unknown));
    failure
}

/// What every request of a job may use.
fn said(work: &Work<'_>, operation: &'static str) -> Names {
    work.names.clone().with("operation", operation)
}

/// An object as a row; nothing when a table cannot say it.
fn cells(work: &Work<'_>, rows: &Rows<'_>, item: &Item) -> Option<Cells> {
    let mut cells = Cells::new();
    for (column, value) in &item.wire {
        cells.insert(column.clone(), cell(value, &rows.bulk.clear)?);
    }
    let column = match &item.id {
        Some(_) => &rows.bulk.id,
        None => &work.write.key,
    };
    cells.insert(column.clone(), name(item).to_owned());
    Some(cells)
}

/// What tells the row of an object from others: its id, or our key.
fn name(item: &Item) -> &str {
    item.id.as_deref().unwrap_or(&item.key)
}

fn cell(value: &Json, clear: &str) -> Option<String> {
    match value {
        Json::Null => Some(clear.to_owned()),
        Json::Bool(_) | Json::Number(_) => Some(value.to_string()),
        // An empty text would change nothing, and the one that clears would clear.
        Json::String(text) if text.trim().is_empty() || text == clear => None,
        Json::String(text) => Some(text.clone()),
        Json::Array(_) | Json::Object(_) => None,
    }
}

/// Whether a row that a job has written is, column by column, what is to be written now, and may be what was sent so; the
/// job ended so long ago.
fn is_what_we_want(wanted: &HashMap<String, Wanted<'_>>, result: &Json, age_ms: u64) -> bool {
    let name = scalar(&result["for_id"]).or_else(|| scalar(&result["key"]));
    let wanted = name.and_then(|name| wanted.get(&name));
    let (Some(Wanted { cells, sent_ms }), Some(row)) = (wanted, result["row"].as_object()) else {
        return false;
    };
    if sent_ms.is_none_or(|sent_ms| sent_ms < age_ms) {
        return false;
    }
    let text = |column: &str| row.get(column).and_then(scalar).unwrap_or_default();
    let same = cells.iter().all(|(column, cell)| text(column) == *cell);
    // What the job cleared or set besides is not what is wanted now; what the system adds to a row is its own.
    let own = result["own"].as_array().map_or(&[][..], Vec::as_slice);
    let more = |column: &String| !cells.contains_key(column) && !own.iter().any(|name| name == column);
    same && !row.keys().any(|column| more(column) && !text(column).is_empty())
}

/// The objects of each job: as many as one takes, and not too many bytes.
fn chunks(rows: &Rows<'_>) -> Vec<Vec<usize>> {
    let mut chunks: Vec<Vec<usize>> = Vec::new();
    let mut bytes = 0;
    for (at, cells) in &rows.cells {
        let size: usize = cells.values().map(|cell| cell.len() + 3).sum();
        bytes += size;
        match chunks.last_mut() {
            Some(chunk) if chunk.len() < rows.bulk.batch && bytes <= JOB_BYTES_MAX => chunk.push(*at),
            _ => {
                chunks.push(vec![*at]);
                bytes = size;
            }
        }
    }
    chunks
}
