//! [`Forecast`]: what reading everything of an object will take, before it begins.

use crate::call::Repeat;
use crate::connection::Connection;
use crate::failure::Failure;
use crate::lane::Lane;
use crate::manifest::{Changes, Object as ObjectKind};
use crate::names::scalar;
use crate::read::{asked, associations};

/// What a job costs beside its results: it is made, asked about so often at least, and removed.
const JOB_CALLS: u64 = 4;

/// What reading everything of an object will take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forecast {
    /// Objects that there are.
    pub objects: u64,
    /// Calls that they take, references read beside them included.
    pub calls: u64,
    /// How long that takes at least, in milliseconds, by the limits on calls in a span of time.
    pub at_least_ms: u64,
    /// Calls that are left for it of the system's quota, as far as the last answer told; nothing where no answer does.
    pub calls_left: Option<u64>,
}

impl Connection {
    /// How many objects there are; nothing where the manifest does not say how to ask. Makes one call.
    pub async fn count(&self, object: &str) -> Result<Option<u64>, Failure> {
        let (kind, names) = self.object(object)?;
        let Some(count) = &kind.count else {
            return Ok(None);
        };
        let reply = self
            .caller
            .call(&count.request, names.clone(), Repeat::Safe)
            .await?;
        let names = reply.names(names);
        let found = count.value.one(&reply.body, &|name| names.get(name))?;
        let found = found.as_u64().or_else(|| scalar(&found)?.parse().ok());
        let unsaid = || Failure::protocol("the system does not say how many objects there are");
        found.map(Some).ok_or_else(unsaid)
    }

    /// What reading everything of an object with these fields will take; nothing where it cannot be counted. Makes one
    /// call.
    pub async fn forecast(&self, object: &str, fields: &[String]) -> Result<Option<Forecast>, Failure> {
        let Some(objects) = self.count(object).await? else {
            return Ok(None);
        };
        let (kind, _) = self.object(object)?;
        let mut calls = Vec::new();
        if let Some(changes) = &kind.changes {
            calls.push((changes.request().group.as_deref(), self.pages(changes, objects)?));
        }
        calls.extend(beside(kind, fields, objects));
        let limiter = &self.caller.limiter;
        Ok(Some(Forecast {
            objects,
            calls: calls.iter().map(|(_, calls)| calls).sum(),
            at_least_ms: limiter.at_least_ms(&calls, Lane::Backfill),
            calls_left: limiter.left(Lane::Backfill),
        }))
    }

    /// Calls that lead through all pages.
    fn pages(&self, changes: &Changes, objects: u64) -> Result<u64, Failure> {
        let pages = |size: u64| objects.div_ceil(size.max(1)).max(1);
        Ok(match changes {
            Changes::Pages(changes) => pages(changes.page),
            Changes::Windows(changes) => match &changes.bulk {
                Some(bulk) if objects > self.large_over(bulk)? => JOB_CALLS + pages(bulk.page),
                _ => pages(changes.page),
            },
        })
    }
}

/// Calls for what pages do not hold: references kept apart, and objects of which a page only brings ids.
fn beside<'k>(kind: &'k ObjectKind, fields: &[String], objects: u64) -> Vec<(Option<&'k str>, u64)> {
    let batches = |size: usize| objects.div_ceil(size.max(1) as u64);
    let mut calls = Vec::new();
    if let (Some(Changes::Windows(changes)), Some(by_ids)) = (&kind.changes, &kind.by_ids)
        && asked(kind, fields).len() > changes.fields_max
    {
        calls.push((by_ids.request.group.as_deref(), batches(by_ids.batch)));
    }
    for association in associations(fields).filter_map(|name| kind.associations.get(name)) {
        calls.push((association.request.group.as_deref(), batches(association.batch)));
    }
    calls
}
