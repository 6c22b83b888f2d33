//! Reading page by page, at systems that lead from one page to the next themselves.
//!
//! A *round* walks all pages of one listing, each of which says where the next one is: a cursor, an address, an offset,
//! a number.
//! The next round asks for what changed since the one before began, if the system can be asked that, or goes on at the
//! *delta*, an address that the last page gave; otherwise it lists all again, and what has not changed is compared and
//! left alone.
//!
//! Promised: what the system lists is read at least once; the place is stored with every page, so that reading goes on
//! there after an interruption; pages that do not end are noticed.
//! Not promised, because no system of offsets or page numbers can: that a row is listed whose place moves to an earlier
//! page while a round is under way. The next round lists it.

use jiff::Timestamp;
use outbound::Url;
use outbound::header::{HeaderMap, LINK};
use serde_json::{Value as Json, json};

use crate::call::{Repeat, Reply};
use crate::clock::earlier;
use crate::connection::{Connection, Object, Page};
use crate::failure::{Class, Failure};
use crate::manifest::{PageChanges, PageStep};
use crate::names::{Names, scalar};

/// Pages that one round may have.
pub const PAGES_MAX: u64 = 1_000_000;

/// Where reading stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// The round before began then: what changed since is asked for.
    since: Option<Timestamp>,
    /// Where the next round begins, if the last page of the one before said so.
    delta: Option<String>,
    round: Option<Round>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Round {
    began: Timestamp,
    /// Where the next page is; nothing for the first.
    at: Option<String>,
    pages: u64,
}

impl Cursor {
    pub(crate) fn read(stored: Option<&Json>) -> Result<Cursor, crate::window::BadCursor> {
        let Some(stored) = stored.filter(|stored| !stored.is_null()) else {
            return Ok(Cursor::default());
        };
        let bad = || crate::window::BadCursor;
        let moment = |value: &Json| match value {
            Json::Null => Ok(None),
            value => value
                .as_str()
                .and_then(|text| text.parse().ok())
                .map(Some)
                .ok_or_else(bad),
        };
        let text = |value: &Json| value.as_str().map(str::to_owned);
        if stored["v"].as_u64() != Some(1) || !stored["pages"].is_boolean() {
            return Err(bad());
        }
        let round = match &stored["round"] {
            Json::Null => None,
            round => Some(Round {
                began: moment(&round["began"])?.ok_or_else(bad)?,
                at: text(&round["at"]),
                pages: round["pages"].as_u64().ok_or_else(bad)?,
            }),
        };
        Ok(Cursor {
            since: moment(&stored["since"])?,
            delta: text(&stored["delta"]),
            round,
        })
    }

    pub(crate) fn write(&self) -> Json {
        let text = |moment: Timestamp| moment.to_string();
        let round = self.round.as_ref();
        json!({
            "v": 1, "pages": true, "since": self.since.map(text), "delta": self.delta,
            "round": round.map(|round| json!({"began": text(round.began), "at": round.at, "pages": round.pages})),
        })
    }
}

impl Connection {
    /// The next page of a listing.
    pub(crate) async fn next_page(
        &self,
        object: &str,
        changes: &PageChanges,
        fields: &[String],
        stored: Option<&Json>,
    ) -> Result<Page, Failure> {
        let cursor = Cursor::read(stored).map_err(|e| Failure::new(Class::Settings, e.to_string()))?;
        let fresh = cursor == Cursor::default();
        match self.page_at(object, changes, fields, cursor).await {
            // The system has forgotten where we stood: all is read again.
            Err(failure) if failure.class == Class::CursorExpired && !fresh => {
                tracing::warn!(
                    connection = self.name(),
                    object,
                    "the system has forgotten where reading stood"
                );
                self.page_at(object, changes, fields, Cursor::default()).await
            }
            page => page,
        }
    }

    async fn page_at(
        &self,
        object: &str,
        changes: &PageChanges,
        fields: &[String],
        mut cursor: Cursor,
    ) -> Result<Page, Failure> {
        let (kind, names) = self.object(object)?;
        let now = self.caller.clock.now();
        let mut round = cursor.round.take().unwrap_or(Round {
            began: now,
            at: cursor.delta.clone(),
            pages: 0,
        });
        let names = names
            .with("fields", crate::read::asked(kind, fields))
            .with("limit", changes.page)
            .with("after", round.at.clone())
            .with("since", since(cursor.since));
        let step = self.way_onward(&changes.next, &names)?;
        let by_address = step.is_address() || (round.pages == 0 && cursor.delta.is_some());
        let to = round.at.as_deref().filter(|_| by_address);
        let reply = self
            .caller
            .call_at(&changes.request, names.clone(), Repeat::Safe, to)
            .await?;
        // Where our clock is ahead of the system's, theirs counts.
        round.began = reply
            .told_at()
            .map_or(round.began, |told_at| round.began.min(told_at));
        let names = reply.names(names);
        let get = |name: &str| names.get(name);
        let rows = changes.records.run(&reply.body, &get)?;
        let last = match &changes.done {
            Some(done) => done.one(&reply.body, &get)? == Json::Bool(true),
            None => false,
        };
        let next = if last {
            None
        } else {
            next_of(step, changes.page, &round, rows.len(), &reply, &names)?
        };
        let objects: Vec<Object> = self.objects(object, fields, rows).await?;
        let more = next.is_some();
        if more {
            if next == round.at {
                return Err(Failure::protocol("the next page is the same page again"));
            }
            round.pages += 1;
            if round.pages == PAGES_MAX {
                return Err(Failure::protocol(format!(
                    "the pages do not end: {PAGES_MAX} were read"
                )));
            }
            cursor.round = Some(Round { at: next, ..round });
        } else {
            cursor.since = changes.since.then(|| earlier(round.began, changes.overlap_ms));
            cursor.delta = match &changes.delta {
                Some(delta) => scalar(&delta.one(&reply.body, &get)?),
                None => None,
            };
        }
        Ok(Page {
            objects,
            cursor: cursor.write(),
            more,
        })
    }
}

impl Connection {
    /// The way to the next page that this connection goes.
    pub(crate) fn way_onward<'s>(&self, step: &'s PageStep, names: &Names) -> Result<&'s PageStep, Failure> {
        let PageStep::Chosen { choose, ways } = step else {
            return Ok(step);
        };
        let chosen = self.caller.render(choose, names)?;
        let way = ways.iter().find(|(name, _)| *name == chosen);
        way.map(|(_, step)| step).ok_or_else(|| {
            let known: Vec<&str> = ways.iter().map(|(name, _)| name.as_str()).collect();
            let detail = format!(
                "`{chosen}` is no way from page to page; known are {}",
                known.join(", ")
            );
            Failure::new(Class::Settings, detail)
        })
    }
}

fn since(moment: Option<Timestamp>) -> Json {
    match moment {
        Some(moment) => json!({"at": moment.to_string(), "ms": moment.as_millisecond()}),
        None => Json::Null,
    }
}

/// Where the page after this one is, if there is one.
fn next_of(
    step: &PageStep,
    page: u64,
    round: &Round,
    rows: usize,
    reply: &Reply,
    names: &Names,
) -> Result<Option<String>, Failure> {
    let full = rows as u64 >= page;
    let get = |name: &str| names.get(name);
    let told = |value: Json| scalar(&value).filter(|text| !text.is_empty());
    let number = |first: u64, step: u64| -> Result<Option<String>, Failure> {
        let at = match &round.at {
            Some(at) => at
                .parse::<u64>()
                .map_err(|_| Failure::protocol("the stored place is not a number"))?,
            None => first,
        };
        Ok(full.then(|| (at + step).to_string()))
    };
    match step {
        PageStep::Cursor(program) | PageStep::Address(program) => Ok(told(program.one(&reply.body, &get)?)),
        PageStep::Link => Ok(link(&reply.headers)),
        PageStep::Offset => number(0, rows as u64),
        PageStep::Number { first } => number(*first, 1),
        // `Connection::way_onward` has chosen.
        PageStep::Chosen { .. } => Ok(None),
    }
}

/// The address with `rel="next"` of a `Link` header (RFC 8288).
fn link(headers: &HeaderMap) -> Option<String> {
    let links = headers
        .get_all(LINK)
        .iter()
        .filter_map(|value| value.to_str().ok());
    for link in links.flat_map(|value| value.split(',')) {
        let (address, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
        let is_next = parameters.split(';').any(|parameter| {
            let relation = parameter.trim().strip_prefix("rel=");
            relation.is_some_and(|relation| relation.trim_matches('"').split(' ').any(|word| word == "next"))
        });
        if is_next {
            return Some(address.to_owned());
        }
    }
    None
}

/// The address of another page, as a system wrote it: it may be relative, and must be at the same place, because the
/// credentials go there.
pub(crate) fn beside(here: &Url, text: &str) -> Result<Url, Failure> {
    let there = here
        .join(text)
        .map_err(|_| Failure::protocol("the address of the next page cannot be read"))?;
    if there.origin() != here.origin() {
        return Err(Failure::protocol(format!(
            "the next page is at another place, {}: nothing is sent there",
            there.origin().ascii_serialization()
        )));
    }
    Ok(there)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_found_among_others() {
        let found = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(LINK, value.parse().unwrap());
            link(&headers)
        };
        let two = "<https://a.example/?p=1>; rel=\"prev\", <https://a.example/?p=3>; rel=\"next\"";
        assert_eq!(found(two).as_deref(), Some("https://a.example/?p=3"));
        assert_eq!(
            found("</things?p=2>; title=x; rel=next").as_deref(),
            Some("/things?p=2")
        );
        assert_eq!(found("<https://a.example/?p=1>; rel=\"nextish\""), None);
        assert_eq!(found("nonsense"), None);
    }

    #[test]
    fn credentials_do_not_follow_an_address_to_another_place() {
        let here = Url::parse("https://api.example/v1/things?x=1").unwrap();
        assert_eq!(
            beside(&here, "things?p=2").unwrap().as_str(),
            "https://api.example/v1/things?p=2"
        );
        assert_eq!(
            beside(&here, "https://API.example:443/y").unwrap().as_str(),
            "https://api.example/y"
        );
        for elsewhere in [
            "https://evil.example/",
            "http://api.example/",
            "//evil.example/v1",
            "https://api.example:8443/",
        ] {
            let failure = beside(&here, elsewhere).unwrap_err();
            assert!(failure.detail.contains("another place"), "{failure:?}");
        }
    }
}
