//! Reading everything by a job: when an object that was never read is large, the system is asked once for all of it,
//! and its rows are fetched in large pages when they are ready. Then windows go on from where the job began.
//!
//! The cursor holds the job's id and the place in its results, and every call makes one step: so reading goes on after an
//! interruption between any two of them.
//! A job that failed, or that the system has forgotten, is given up, and windows read everything.
//!
//! Not promised: that a job is not left behind when the answer to its making was lost; the system removes it in time.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

use jiff::Timestamp;
use serde_json::{Value as Json, json};

use crate::call::Repeat;
use crate::connection::{Connection, Kinds, Page};
use crate::failure::{Class, Failure};
use crate::job::{POLLS_MAX, Stage, wait_ms};
use crate::manifest::{ReadJob, WindowChanges};
use crate::names::{Names, scalar};
use crate::read::asked;
use crate::table::typed;
use crate::window::{BadCursor, Cursor as WindowCursor};

/// Where reading by a job stands.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Cursor {
    job: String,
    /// Windows go on from here.
    began: Timestamp,
    /// What was asked for: with other fields, its rows are not what is wanted any more.
    fields: Vec<String>,
    at: At,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum At {
    /// Asked about so often.
    Polls(u64),
    /// The next page of results is there.
    Page(String),
    /// All was read; the job is to be removed.
    End,
}

impl Cursor {
    /// Nothing when the cursor is not of reading by a job.
    fn read(stored: &Json) -> Option<Result<Cursor, BadCursor>> {
        let job = stored.get("job")?;
        let text = |name: &str| job[name].as_str().map(str::to_owned);
        let at = match (&job["polls"], text("page")) {
            (Json::Number(polls), _) => At::Polls(polls.as_u64().unwrap_or(0)),
            (_, Some(page)) => At::Page(page),
            _ => At::End,
        };
        let cursor = || {
            Some(Cursor {
                job: text("id")?,
                began: text("began")?.parse().ok()?,
                fields: job["fields"].as_array()?.iter().filter_map(scalar).collect(),
                at,
            })
        };
        Some(cursor().ok_or(BadCursor))
    }

    fn write(&self) -> Json {
        let (polls, page) = match &self.at {
            At::Polls(polls) => (Some(polls), None),
            At::Page(page) => (None, Some(page)),
            At::End => (None, None),
        };
        json!({"v": 1, "job": {
            "id": self.job, "began": self.began.to_string(), "fields": self.fields, "polls": polls, "page": page,
        }})
    }
}

/// What one step came to.
enum Step {
    Read(Page),
    /// Windows go on from this cursor.
    Windows(Option<Json>),
}

impl Connection {
    /// The next step of a reading that may go by a job.
    pub(crate) async fn next_of_job(
        &self,
        object: &str,
        changes: &WindowChanges,
        bulk: &ReadJob,
        fields: &[String],
        stored: Option<&Json>,
    ) -> Result<Page, Failure> {
        let stored = stored.filter(|stored| !stored.is_null());
        let cursor = match stored.map(Cursor::read) {
            None => None,
            Some(None) => return self.next_window(object, changes, fields, stored).await,
            Some(Some(cursor)) => {
                let cursor = cursor.map_err(|e| Failure::new(Class::Settings, e.to_string()))?;
                (cursor.fields == fields).then_some(cursor)
            }
        };
        let step = match cursor {
            None => self.begin(object, bulk, fields).await,
            Some(cursor) => self.go_on(object, changes, bulk, fields, cursor).await,
        };
        let from = match step {
            Ok(Step::Read(page)) => return Ok(page),
            Ok(Step::Windows(from)) => from,
            Err(failure) if gives_up(&failure.class) => {
                tracing::warn!(connection = self.name(), object, %failure, "a job was given up: windows read all");
                Some(WindowCursor::default().write())
            }
            Err(failure) => return Err(failure),
        };
        self.next_window(object, changes, fields, from.as_ref()).await
    }

    /// Makes a job if the object is large.
    async fn begin(&self, object: &str, bulk: &ReadJob, fields: &[String]) -> Result<Step, Failure> {
        let (kind, names) = self.object(object)?;
        if !self.is_large(bulk, object).await? {
            return Ok(Step::Windows(None));
        }
        let now = self.caller.clock.now();
        let names = names.with("fields", asked(kind, fields));
        let made = self.make(&bulk.job, &names).await?;
        let cursor = Cursor {
            job: made.id,
            // Where our clock is ahead of the system's, theirs counts.
            began: made.told_at.map_or(now, |told_at| now.min(told_at)),
            fields: fields.to_vec(),
            at: At::Polls(0),
        };
        Ok(Step::Read(page(Vec::new(), &cursor)))
    }

    /// How many objects are too many to be read by windows.
    pub(crate) fn large_over(&self, bulk: &ReadJob) -> Result<u64, Failure> {
        let over = self.caller.render(&bulk.over, &self.caller.config_names())?;
        over.trim().parse().map_err(|_| {
            let message = format!("`over` of reading by a job is `{over}`: write a number of objects");
            Failure::new(Class::Settings, message)
        })
    }

    async fn is_large(&self, bulk: &ReadJob, object: &str) -> Result<bool, Failure> {
        let over = self.large_over(bulk)?;
        match self.count(object).await {
            // Without a way to count there is no such job.
            Ok(found) => Ok(found.is_some_and(|found| found > over)),
            // What cannot even be counted is large.
            Err(failure) if failure.class == Class::TooLarge => Ok(true),
            Err(failure) => Err(failure),
        }
    }

    async fn go_on(
        &self,
        object: &str,
        changes: &WindowChanges,
        bulk: &ReadJob,
        fields: &[String],
        cursor: Cursor,
    ) -> Result<Step, Failure> {
        let (_, names) = self.object(object)?;
        let names = names.with("job", cursor.job.clone());
        match &cursor.at {
            At::Polls(polls) => {
                if *polls == POLLS_MAX {
                    return Err(Failure::new(
                        Class::NotFound,
                        format!("job {} does not end", cursor.job),
                    ));
                }
                self.caller.clock.sleep(wait_ms(bulk.job.poll_ms, *polls)).await;
                match self.stage(&bulk.job, &names).await? {
                    Stage::Running => {
                        let at = At::Polls(polls + 1);
                        Ok(Step::Read(page(Vec::new(), &Cursor { at, ..cursor })))
                    }
                    Stage::Done => self.results(object, bulk, fields, names, cursor, None).await,
                    // The job is over either way; what it failed of, windows will meet if it matters.
                    Stage::Failed(failure) => Err(Failure {
                        class: Class::NotFound,
                        ..failure
                    }),
                }
            }
            At::Page(at) => {
                let at = at.clone();
                self.results(object, bulk, fields, names, cursor, Some(at)).await
            }
            At::End => {
                self.remove(&bulk.job, names).await;
                let plan = self.plan(changes);
                Ok(Step::Windows(Some(
                    WindowCursor::after(&plan, cursor.began).write(),
                )))
            }
        }
    }

    async fn results(
        &self,
        object: &str,
        bulk: &ReadJob,
        fields: &[String],
        names: Names,
        cursor: Cursor,
        at: Option<String>,
    ) -> Result<Step, Failure> {
        let names = names.with("limit", bulk.page).with("after", at.clone());
        let reply = self
            .caller
            .call(&bulk.results, names.clone(), Repeat::Safe)
            .await?;
        let names = reply.names(names);
        let get = |name: &str| names.get(name);
        let next = scalar(&bulk.next.one(&reply.body, &get)?).filter(|next| !next.is_empty());
        if next.is_some() && next == at {
            return Err(Failure::protocol("the next page is the same page again"));
        }
        let mut rows = bulk.records.take(reply.body, &get)?;
        let kinds = self.kinds_of(object).await?;
        rows.iter_mut()
            .for_each(|row| typed(row, &kinds, bulk.utc.as_deref()));
        let objects = self.objects(object, fields, rows).await?;
        let at = next.map_or(At::End, At::Page);
        Ok(Step::Read(page(objects, &Cursor { at, ..cursor })))
    }

    /// The kinds of an object's fields; asked for once.
    async fn kinds_of(&self, object: &str) -> Result<Kinds, Failure> {
        let known = self
            .kinds
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(object)
            .cloned();
        if let Some(kinds) = known {
            return Ok(kinds);
        }
        if self.caller.manifest().discovery.is_none() {
            return Ok(Arc::default());
        }
        let fields = self.fields(object).await?;
        let kinds: HashMap<String, String> =
            fields.into_iter().map(|field| (field.name, field.kind)).collect();
        let kinds: Kinds = Arc::new(kinds);
        let mut all = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(object.to_owned(), Arc::clone(&kinds));
        Ok(kinds)
    }
}

/// Whether a failure is about the job rather than about the connection or the fields: windows may do without it.
fn gives_up(class: &Class) -> bool {
    matches!(
        class,
        Class::NotFound | Class::Validation | Class::Permission | Class::TooLarge | Class::CursorExpired
    )
}

fn page(objects: Vec<crate::Object>, cursor: &Cursor) -> Page {
    Page {
        objects,
        cursor: cursor.write(),
        more: true,
    }
}
