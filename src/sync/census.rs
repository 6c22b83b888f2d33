//! Census: all that is linked is asked for again by its id, now and then.
//!
//! Many systems keep no trace of what was deleted, and values that a system computes move no time of change. A *census*
//! goes through the links of an object in the order of their ids, a page at a time: what is not answered is gone, and what
//! is answered is absorbed like anything else that was read. Its place is kept beside the cursor, so that it goes on after
//! any interruption, and it lets those pass who have news.
//!
//! When much of a page is not answered, more likely somebody lost a right than deleted it all: then the census stops and
//! waits for a person.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use connector::{Class, Connection, Lane, Object};
use jiff::{SignedDuration, Timestamp};
use ledger::{Cursor, SyncCommit};
use serde_json::json;

use crate::absorb::{Batch, Place};
use crate::engine::SyncError;
use crate::rehearsal::Way;
use crate::review::MANY_GONE;
use crate::{Engine, Report};

/// Links of one page.
const PAGE: usize = 500;
/// Pages of one pull; the next one goes on.
const PAGES_MAX: usize = 20;
/// How long a census rests that its system did not let go on.
const REST: Duration = Duration::from_secs(600);
/// Objects of a page that may be gone whatever their part.
const GONE_FREE: usize = 10;
/// How much of a page may be gone before a person is asked, in percent.
pub const GONE_MAX_PERCENT: u8 = 20;
/// The code of what is parked when too much is gone, and behind the object's name in the name of the census's cursor.
pub(crate) const CENSUS: &str = "#census";

/// Where a census stands.
struct Standing {
    began: Timestamp,
    /// Links up to this id were asked for.
    after: Option<String>,
    asked: u64,
    gone: u64,
    /// When the last census began that came to its end: what was linked then, and did not go, was there.
    counted: Option<Timestamp>,
}

impl Standing {
    /// After another one, which came to an end or did not.
    fn begin(now: Timestamp, after: Option<&Cursor>) -> Standing {
        Standing {
            began: now,
            after: None,
            asked: 0,
            gone: 0,
            counted: after.and_then(counted),
        }
    }

    /// Nothing when the census has ended.
    fn read(cursor: &Cursor) -> Option<Standing> {
        let position = &cursor.position;
        Some(Standing {
            began: position["began"].as_str()?.parse().ok()?,
            after: position["after"].as_str().map(str::to_owned),
            asked: position["asked"].as_u64().unwrap_or(0),
            gone: position["gone"].as_u64().unwrap_or(0),
            counted: counted(cursor),
        })
    }

    fn write(&self, now: Timestamp) -> Cursor {
        let (began, counted) = (self.began.to_string(), self.counted.map(|at| at.to_string()));
        let position = json!({
            "began": began, "after": self.after, "asked": self.asked, "gone": self.gone, "counted": counted,
        });
        Cursor::at(position, now)
    }

    /// The census after its end: `stored_at` is when.
    fn ended(&self, now: Timestamp) -> Cursor {
        let counted = self.counted.map(|at| at.to_string());
        Cursor {
            complete_at: Some(now),
            ..Cursor::at(
                json!({"asked": self.asked, "gone": self.gone, "counted": counted}),
                now,
            )
        }
    }

    /// The same after everything was asked for.
    fn complete(&self, now: Timestamp) -> Cursor {
        let counted = match self.asked {
            0 => self.counted,
            _ => Some(self.began),
        };
        Standing {
            counted,
            after: None,
            ..*self
        }
        .ended(now)
    }
}

/// When the last census began that came to its end.
fn counted(cursor: &Cursor) -> Option<Timestamp> {
    cursor.position["counted"].as_str()?.parse().ok()
}

impl Engine {
    /// Asks for everything that is linked at an object, to the end, whenever the last census was.
    ///
    /// Stops before a page of which more than `gone_max_percent` (0 to 100) are not answered, if those are more than ten.
    pub async fn census(
        &self,
        connection: &str,
        object: &str,
        gone_max_percent: u8,
    ) -> Result<Report, SyncError> {
        let (run, started) = (self.new_run(), self.world.now());
        let mut report = Report::default();
        let result = self
            .census_counted(connection, object, gone_max_percent, run, &mut report)
            .await;
        let result = Self::ended_early(result, &mut report);
        let result = self.watched(connection, result).await;
        self.note(run, (connection, object, "census"), started, &report, &result)
            .await?;
        result.map(|()| report)
    }

    async fn census_counted(
        &self,
        connection: &str,
        object: &str,
        gone_max_percent: u8,
        run: model::RunId,
        report: &mut Report,
    ) -> Result<(), SyncError> {
        self.known(connection, object)?;
        self.may_go_on(connection, object, Way::In).await?;
        let system = Arc::new(self.ready(connection, object).await?.counted());
        let result = self
            .census_leased(&system, object, gone_max_percent, run, report)
            .await;
        self.called(&system, object, Way::In, report);
        result
    }

    async fn census_leased(
        &self,
        system: &Arc<Connection>,
        object: &str,
        gone_max_percent: u8,
        run: model::RunId,
        report: &mut Report,
    ) -> Result<(), SyncError> {
        let connection = system.name();
        let mut lease = self.turn("pull", connection, object).await?;
        let missing = self.missing(connection, object).await?;
        let trace = self.trace();
        let before = self.ledger.cursor(connection, &name(object)).await?;
        let mut standing = Some(Standing::begin(self.world.now(), before.as_ref()));
        let mut result = Ok(());
        while let (Some(at), Ok(())) = (standing.take(), &result) {
            if self.is_wanted_still(connection, object).await? {
                self.ledger.release(&lease).await?;
                lease = self.turn("pull", connection, object).await?;
            }
            let place = Place::new((connection, object), run, &lease, &missing, &trace);
            result = self
                .count_page(system, place, at, gone_max_percent, report)
                .await
                .map(|next| standing = next);
        }
        self.ledger.release(&lease).await?;
        result
    }

    /// Goes on with a census that is due or under way. Where the system does not let it, it rests for a while: news must
    /// not wait for it.
    pub(crate) async fn take_census(
        &self,
        system: &Arc<Connection>,
        place: Place<'_>,
        report: &mut Report,
    ) -> Result<(), SyncError> {
        let key = (place.connection.to_owned(), name(place.object));
        let now = self.world.now();
        if self.resting().get(&key).is_some_and(|until| *until > now) {
            return Ok(());
        }
        let failure = match self.go_on_with_census(system, place, report).await {
            Err(SyncError::System { failure, .. }) => failure,
            other => return other,
        };
        let error = SyncError::System {
            connection: place.connection.to_owned(),
            failure: failure.clone(),
        };
        match failure.class {
            // What concerns the pull itself, too.
            Class::AuthExpired | Class::AuthRevoked | Class::SchemaDrift { .. } => return Err(error),
            Class::RateLimited { .. } | Class::QuotaExhausted { .. } => {}
            _ => {
                let told = (place.connection, place.object, "census");
                let nothing = Report::default();
                self.note(self.new_run(), told, now, &nothing, &Err(error))
                    .await?;
            }
        }
        self.resting().insert(key, self.after(REST));
        Ok(())
    }

    fn resting(&self) -> MutexGuard<'_, BTreeMap<(String, String), Timestamp>> {
        self.resting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn go_on_with_census(
        &self,
        system: &Arc<Connection>,
        place: Place<'_>,
        report: &mut Report,
    ) -> Result<(), SyncError> {
        let Some(census) = system.census(place.object) else {
            return Ok(());
        };
        let now = self.world.now();
        let stored = self.ledger.cursor(place.connection, &name(place.object)).await?;
        let under_way = stored.as_ref().and_then(Standing::read);
        let begin = Standing::begin(now, stored.as_ref());
        let every = SignedDuration::from_millis(i64::try_from(census.every_ms).unwrap_or(i64::MAX));
        let due = stored
            .as_ref()
            .and_then(|ended| ended.stored_at.checked_add(every).ok());
        let mut standing = match (under_way, due) {
            (Some(standing), _) => standing,
            (None, Some(due)) if due > now => return Ok(()),
            // Everything was read completely a moment ago, or nothing computed is read.
            (None, None) => return self.end_census(place, &begin).await,
            (None, Some(_)) if census.only_volatile && !self.reads_volatile(system, place).await? => {
                return self.end_census(place, &begin).await;
            }
            (None, Some(_)) => begin,
        };
        for _ in 0..PAGES_MAX {
            if self.is_wanted_still(place.connection, place.object).await? {
                break;
            }
            match self
                .count_page(system, place, standing, GONE_MAX_PERCENT, report)
                .await?
            {
                Some(next) => standing = next,
                None => return Ok(()),
            }
        }
        report.look_again(now);
        Ok(())
    }

    /// Asks for one page of links; gives where it goes on.
    async fn count_page(
        &self,
        system: &Arc<Connection>,
        place: Place<'_>,
        mut standing: Standing,
        gone_max_percent: u8,
        report: &mut Report,
    ) -> Result<Option<Standing>, SyncError> {
        let after = standing.after.as_deref();
        let ids = self
            .ledger
            .linked_ids(place.connection, place.object, after, PAGE);
        let mut ids = ids.await?;
        self.keep_going(place, Way::In).await?;
        let Some(last) = ids.last().cloned() else {
            self.end_census(place, &standing).await?;
            return Ok(None);
        };
        let fields = self.fields_of(system, place);
        // What was only rehearsed to be there is not asked for.
        ids.retain(|id| !system.is_made_up(id));
        let as_of = self.as_known(place, &ids).await?;
        let objects = system
            .in_lane(Lane::Backfill)
            .by_ids(place.object, &fields, &ids)
            .await;
        let mut objects = objects.map_err(|failure| SyncError::System {
            connection: place.connection.to_owned(),
            failure,
        })?;
        objects.retain(|object| !object.deleted);
        let there: BTreeSet<&str> = objects.iter().map(|object| object.id.as_str()).collect();
        let gone = ids.iter().filter(|id| !there.contains(id.as_str()));
        let gone: Vec<Object> = gone.map(|id| Object::deleted(id)).collect();
        self.keep(place.lease).await?;
        if gone.len() > GONE_FREE && gone.len() * 100 > ids.len() * usize::from(gone_max_percent) {
            self.stop_census(place, &standing, gone.len(), ids.len()).await?;
            report.counts.parked += 1;
            return Ok(None);
        }
        standing.after = Some(last);
        standing.asked += ids.len() as u64;
        standing.gone += gone.len() as u64;
        objects.extend(gone);
        let batch = Batch {
            objects: &objects,
            adopt: &BTreeMap::new(),
            as_of,
            cursor: Some((&name(place.object), standing.write(self.world.now()))),
        };
        let place = Place {
            counted: standing.counted,
            ..place
        };
        self.absorb(system, place, batch, report).await?;
        Ok(Some(standing))
    }

    /// Whether a value is read that moves no time of change; asks the system.
    async fn reads_volatile(&self, system: &Connection, place: Place<'_>) -> Result<bool, SyncError> {
        let known = system.fields(place.object).await;
        let known = known.map_err(|failure| SyncError::System {
            connection: place.connection.to_owned(),
            failure,
        })?;
        let read = self.fields_of(system, place);
        Ok(known
            .iter()
            .any(|field| field.volatile && read.contains(&field.name)))
    }

    async fn end_census(&self, place: Place<'_>, standing: &Standing) -> Result<(), SyncError> {
        let (connection, object) = (place.connection.to_owned(), place.object.to_owned());
        let commit = SyncCommit {
            lease: Some(place.lease.clone()),
            cursor: Some((
                connection.clone(),
                name(place.object),
                standing.complete(self.world.now()),
            )),
            unparked: vec![(connection, object, CENSUS.to_owned(), true)],
            ..SyncCommit::default()
        };
        Ok(self.ledger.commit(commit).await?)
    }

    async fn stop_census(
        &self,
        place: Place<'_>,
        standing: &Standing,
        gone: usize,
        of: usize,
    ) -> Result<(), SyncError> {
        let (connection, object) = (place.connection, place.object);
        let reason = format!(
            "{gone} of {of} linked objects are not answered any more, and nothing was taken as gone: give the connection \
             its rights back, or say that they were deleted with `interconnect review decide {connection}/{object}/{CENSUS} \
             --accept`"
        );
        let commit = SyncCommit {
            lease: Some(place.lease.clone()),
            cursor: Some((
                connection.to_owned(),
                name(place.object),
                standing.ended(self.world.now()),
            )),
            parked: vec![self.parks(place, CENSUS, MANY_GONE, reason)],
            ..SyncCommit::default()
        };
        Ok(self.ledger.commit(commit).await?)
    }
}

/// Where the census of an object is kept among the cursors: no system has an object of such a name.
fn name(object: &str) -> String {
    format!("{object}{CENSUS}")
}
