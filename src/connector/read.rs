//! Reading: what changed, what certain objects are, and the references kept apart from them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value as Json, json};

use crate::call::Repeat;
use crate::connection::{Connection, MergedInto, Object, Page};
use crate::failure::{Class, Failure};
use crate::flat;
use crate::manifest::{Association, Changes, IdOrder, Object as ObjectKind, WindowChanges};
use crate::names::{Names, scalar};
use crate::window::{Cursor, Next, Plan, Window};
use crate::zone::{Zone, moment};
use program::RunError;

/// How many empty windows one call walks over before it returns.
pub const WINDOWS_MAX: usize = 50;
/// How many pages of references one page of objects may have.
pub const ASSOCIATION_PAGES_MAX: usize = 200;
/// What marks a field as a reference that is kept apart.
const ASSOCIATIONS: &str = "associations.";

impl From<RunError> for Failure {
    fn from(error: RunError) -> Failure {
        Failure::protocol(error.to_string())
    }
}

impl Connection {
    /// The next page of changed objects.
    ///
    /// No cursor is the beginning of time. Store the page's cursor when its objects are durable; reading goes on from
    /// there after any interruption, in the middle of a window or a listing too.
    pub async fn changes(
        &self,
        object: &str,
        fields: &[String],
        cursor: Option<&Json>,
    ) -> Result<Page, Failure> {
        let (kind, _) = self.object(object)?;
        match &kind.changes {
            Some(Changes::Windows(changes)) => match &changes.bulk {
                Some(bulk) => self.next_of_job(object, changes, bulk, fields, cursor).await,
                None => self.next_window(object, changes, fields, cursor).await,
            },
            Some(Changes::Pages(changes)) => self.next_page(object, changes, fields, cursor).await,
            None => Err(Failure::protocol(format!(
                "the manifest does not say how to read changes of `{object}`"
            ))),
        }
    }

    pub(crate) async fn next_window(
        &self,
        object: &str,
        changes: &WindowChanges,
        fields: &[String],
        cursor: Option<&Json>,
    ) -> Result<Page, Failure> {
        let plan = self.plan(changes);
        let mut cursor = Cursor::read(cursor).map_err(|e| Failure::new(Class::Settings, e.to_string()))?;
        let mut windows = 0;
        loop {
            let Some(next) = plan.next(&mut cursor, self.caller.clock.now()) else {
                return Ok(page(Vec::new(), &cursor, false));
            };
            let rows = match self.page_of(object, changes, fields, &next).await {
                Ok(rows) => rows,
                Err(failure) if failure.class == Class::TooLarge && plan.halve(&mut cursor) => continue,
                Err(failure) => return Err(failure),
            };
            let ahead = rows
                .told_at
                .and_then(|told_at| Some((told_at, Plan::ahead_ms(&cursor, told_at)?)));
            match ahead {
                Some((told_at, ahead_ms)) => {
                    self.caller.calls.note_ahead(ahead_ms);
                    tracing::warn!(
                        connection = self.name(),
                        object,
                        %told_at,
                        ahead_ms,
                        "our clock is ahead of what the system's answers tell in `Date`: nothing later is read before \
                         that moment comes there; set right whichever of the two clocks is wrong"
                    );
                    plan.begin_again(&mut cursor, told_at);
                }
                None => plan.advance(&mut cursor, rows.last_id, rows.done),
            }
            windows += 1;
            let more = Plan::more(&cursor);
            if !rows.objects.is_empty() || !more || windows == WINDOWS_MAX {
                return Ok(page(rows.objects, &cursor, more));
            }
        }
    }

    /// The objects of these ids; what is not answered is gone.
    pub async fn by_ids(
        &self,
        object: &str,
        fields: &[String],
        ids: &[String],
    ) -> Result<Vec<Object>, Failure> {
        let (kind, _) = self.object(object)?;
        let rows = self.rows(object, &asked(kind, fields), ids).await?;
        self.objects(object, fields, rows).await
    }

    pub(crate) fn plan(&self, changes: &WindowChanges) -> Plan {
        let settings = &self.caller.settings;
        let mut passes = changes.passes.clone();
        if let Some(last) = passes.last_mut() {
            last.lag_ms = settings.authoritative_lag_ms.unwrap_or(last.lag_ms);
            last.every_ms = settings.authoritative_every_ms.unwrap_or(last.every_ms);
        }
        if let (Some(lag_ms), [best_effort, _]) = (settings.lag_ms, passes.as_mut_slice()) {
            best_effort.lag_ms = lag_ms;
        }
        Plan {
            passes,
            max_window_ms: changes.max_window_ms,
            precision_ms: changes.precision_ms,
        }
    }

    async fn page_of(
        &self,
        object: &str,
        changes: &WindowChanges,
        fields: &[String],
        next: &Next,
    ) -> Result<PageRows, Failure> {
        let (kind, names) = self.object(object)?;
        let wire = asked(kind, fields);
        let narrow = wire.len() > changes.fields_max;
        let asked = if narrow { kind.always.clone() } else { wire.clone() };
        let names = names
            .with("fields", asked)
            .with("window", self.window(&next.window, self.zone(kind)?.as_ref()))
            .with("last_id", next.last_id.clone())
            .with("limit", changes.page);
        let reply = self
            .caller
            .call(&changes.request, names.clone(), Repeat::Safe)
            .await?;
        let (told_at, names) = (reply.told_at(), reply.names(names));
        let get = |name: &str| names.get(name);
        let said_done = match &changes.done {
            Some(done) => Some(done.one(&reply.body, &get)? == Json::Bool(true)),
            None => None,
        };
        let rows = changes.records.take(reply.body, &get)?;
        let mut ids: Vec<String> = Vec::with_capacity(rows.len());
        for row in &rows {
            ids.push(id_of(kind, row, &get)?);
        }
        ordered(changes.id_order, next.last_id.as_ref(), &ids)?;
        let full = rows.len() as u64 >= changes.page;
        let done = said_done.unwrap_or(!full);
        // A page without rows cannot move the keyset on, whatever the system says about more.
        let done = done || rows.is_empty();
        let rows = if narrow {
            self.rows(object, &wire, &ids).await?
        } else {
            rows
        };
        Ok(PageRows {
            last_id: ids.pop(),
            done,
            told_at,
            objects: self.objects(object, fields, rows).await?,
        })
    }

    /// Where the system's clock hangs, for an object whose times do not say it.
    pub(crate) fn zone(&self, kind: &ObjectKind) -> Result<Option<Zone>, Failure> {
        let Some(template) = &kind.zone else {
            return Ok(None);
        };
        let name = self.caller.render(template, &self.caller.config_names())?;
        Zone::of(&name)
            .map(Some)
            .map_err(|e| Failure::new(Class::Settings, e))
    }

    fn window(&self, window: &Window, zone: Option<&Zone>) -> Json {
        let mut names = json!({
            "from": window.from.to_string(),
            "to": window.to.to_string(),
            "from_ms": window.from.as_millisecond(),
            "to_ms": window.to.as_millisecond(),
        });
        if let Some(zone) = zone {
            let (from, to) = zone.span(window);
            names["from_local"] = json!(from);
            names["to_local"] = json!(to);
        }
        let rpc = self.caller.manifest().rpc.as_ref();
        if let Some(key) = rpc.and_then(|rpc| rpc.class_key.as_deref()) {
            for (name, moment) in [("from_tagged", window.from), ("to_tagged", window.to)] {
                let text = json!(moment.to_string());
                names[name] = crate::codec::encode(&text, crate::codec::Type::Datetime, key).unwrap_or(text);
            }
        }
        names
    }

    /// Objects as they come, by their ids, in as few requests as the system allows.
    pub(crate) async fn rows(
        &self,
        object: &str,
        wire: &[String],
        ids: &[String],
    ) -> Result<Vec<Json>, Failure> {
        let (kind, names) = self.object(object)?;
        let by_ids = kind.by_ids.as_ref().ok_or_else(|| {
            Failure::protocol(format!("the manifest does not say how to read `{object}` by id"))
        })?;
        let mut rows = Vec::with_capacity(ids.len());
        for chunk in ids.chunks(by_ids.batch) {
            let names = names
                .clone()
                .with("fields", wire.to_vec())
                .with("ids", chunk.to_vec());
            let reply = self
                .caller
                .call(&by_ids.request, names.clone(), Repeat::Safe)
                .await;
            let reply = match reply {
                // An object that has an address of its own: there is nothing there.
                Err(failure) if by_ids.batch == 1 && failure.class == Class::NotFound => continue,
                reply => reply?,
            };
            let names = reply.names(names);
            rows.extend(by_ids.records.take(reply.body, &|name| names.get(name))?);
        }
        Ok(rows)
    }

    pub(crate) async fn objects(
        &self,
        object: &str,
        fields: &[String],
        rows: Vec<Json>,
    ) -> Result<Vec<Object>, Failure> {
        let (kind, names) = self.object(object)?;
        let (suffix, zone) = (self.suffix(), self.zone(kind)?);
        let mut objects = rows
            .into_iter()
            .map(|mut row| {
                flat::project(kind, suffix, &mut row);
                self.one(kind, zone.as_ref(), &names, row)
            })
            .collect::<Result<Vec<_>, _>>()?;
        self.tell_texts(object, kind, &names, &mut objects).await?;
        for name in associations(fields) {
            let association = kind.associations.get(name).ok_or_else(|| {
                let hint = diagnostic::suggestion(name, kind.associations.keys().map(String::as_str));
                Failure::new(
                    Class::Settings,
                    format!("`{object}` has no association `{name}`: {hint}"),
                )
            })?;
            let ids: Vec<String> = objects
                .iter()
                .filter(|o| !o.deleted)
                .map(|o| o.id.clone())
                .collect();
            let mut found = self.associated(association, &names, ids).await?;
            for object in &mut objects {
                inject(
                    &mut object.body,
                    name,
                    &found.remove(&object.id).unwrap_or_default(),
                );
            }
        }
        Ok(objects)
    }

    pub(crate) fn one(
        &self,
        kind: &ObjectKind,
        zone: Option<&Zone>,
        names: &Names,
        row: Json,
    ) -> Result<Object, Failure> {
        let get = |name: &str| names.get(name);
        let part = |program: Option<&program::Program>| match program {
            Some(program) => program.one(&row, &get).map_err(Failure::from),
            None => Ok(Json::Null),
        };
        let id = id_of(kind, &row, &get)?;
        let deleted = part(kind.deleted.as_ref())?;
        let mut merged = Vec::new();
        if let Some(program) = &kind.merged {
            for pair in program.run(&row, &get)? {
                let merge = merged_into(&pair);
                merged.push(merge.ok_or_else(|| Failure::protocol("a merge without `from` and `to`"))?);
            }
        }
        Ok(Object {
            merged,
            modified: moment(&part(kind.modified.as_ref())?, zone),
            version: scalar(&part(kind.version.as_ref())?),
            deleted: crate::codec::boolean(&deleted) == Some(Json::Bool(true)),
            origin: scalar(&part(kind.origin.as_ref())?),
            id,
            body: match &kind.values {
                Some(program) => program.take(row, &get)?.into_iter().next().unwrap_or(Json::Null),
                None => row,
            },
        })
    }

    /// All references of these ids, page by page until no id has more; the preferred ones first.
    pub(crate) async fn associated(
        &self,
        association: &Association,
        names: &Names,
        ids: Vec<String>,
    ) -> Result<BTreeMap<String, Vec<String>>, Failure> {
        let mut found: BTreeMap<String, Vec<(bool, String)>> = BTreeMap::new();
        for chunk in ids.chunks(association.batch) {
            let mut open: Vec<String> = chunk.to_vec();
            let mut after = Map::new();
            for round in 0.. {
                if round == ASSOCIATION_PAGES_MAX {
                    return Err(Failure::protocol("the references of one page do not end"));
                }
                let names = names.clone().with("ids", open).with("after", after);
                let reply = self
                    .caller
                    .call(&association.request, names.clone(), Repeat::Safe)
                    .await?;
                let names = reply.names(names);
                let get = |name: &str| names.get(name);
                for pair in association.pairs.run(&reply.body, &get)? {
                    if let (Some(from), Some(to)) = (scalar(&pair["from"]), scalar(&pair["to"])) {
                        let rest = !pair["preferred"].as_bool().unwrap_or(false);
                        found.entry(from).or_default().push((rest, to));
                    }
                }
                let more = match &association.more {
                    Some(more) => more.one(&reply.body, &get)?,
                    None => Json::Null,
                };
                match more {
                    Json::Object(next) if !next.is_empty() => {
                        open = next.keys().cloned().collect();
                        after = next;
                    }
                    _ => break,
                }
            }
        }
        Ok(found
            .into_iter()
            .map(|(from, mut to)| {
                // Stable: within the preferred and the rest, the system's own order stays.
                to.sort_by_key(|(rest, _)| *rest);
                let mut ids: Vec<String> = Vec::with_capacity(to.len());
                for (_, id) in to {
                    if !ids.contains(&id) {
                        ids.push(id);
                    }
                }
                (from, ids)
            })
            .collect())
    }

    pub(crate) fn suffix(&self) -> &str {
        let rpc = self.caller.manifest().rpc.as_ref();
        rpc.map_or("", |rpc| rpc.nested_suffix.as_str())
    }
}

struct PageRows {
    objects: Vec<Object>,
    last_id: Option<String>,
    done: bool,
    /// When, by the system's clock.
    told_at: Option<Timestamp>,
}

fn page(objects: Vec<Object>, cursor: &Cursor, more: bool) -> Page {
    Page {
        objects,
        cursor: cursor.write(),
        more,
    }
}

/// The names of the references that a caller asks for.
pub(crate) fn associations(fields: &[String]) -> impl Iterator<Item = &str> {
    fields.iter().filter_map(|field| field.strip_prefix(ASSOCIATIONS))
}

/// The fields on the wire for what a caller asks for.
pub(crate) fn asked(kind: &ObjectKind, fields: &[String]) -> Vec<String> {
    let own: Vec<String> = fields
        .iter()
        .filter(|f| !f.starts_with(ASSOCIATIONS))
        .chain(&kind.always)
        .cloned()
        .collect();
    flat::expanded(kind, &own)
}

/// A merge as the manifest's expression tells it.
pub(crate) fn merged_into(pair: &Json) -> Option<MergedInto> {
    Some(MergedInto {
        from: scalar(pair.get("from")?)?,
        to: scalar(pair.get("to")?)?,
    })
}

fn id_of<'v>(
    kind: &ObjectKind,
    row: &Json,
    get: &dyn Fn(&str) -> Option<&'v Json>,
) -> Result<String, Failure> {
    let id = kind.id.one(row, get)?;
    scalar(&id).ok_or_else(|| Failure::protocol("an object without an id"))
}

/// A keyset over pages in another order would lose objects in silence.
fn ordered(order: IdOrder, last: Option<&String>, ids: &[String]) -> Result<(), Failure> {
    let out = |a: &str, b: &str| {
        Failure::protocol(format!(
            "the ids of a page are not in order: `{b}` comes after `{a}`"
        ))
    };
    let mut before = last.map(String::as_str);
    for id in ids {
        if let Some(before) = before {
            let rising = match order {
                IdOrder::System => true,
                IdOrder::Text => before < id.as_str(),
                IdOrder::Number => {
                    let number = |text: &str| text.parse::<u64>().map_err(|_| out(before, id));
                    number(before)? < number(id)?
                }
            };
            if !rising {
                return Err(out(before, id));
            }
        }
        before = Some(id);
    }
    Ok(())
}

fn inject(body: &mut Json, name: &str, ids: &[String]) {
    if let Json::Object(map) = body {
        let associations = map.entry("associations").or_insert_with(|| json!({}));
        if !associations.is_object() {
            *associations = json!({});
        }
        associations[name] = json!(ids);
    }
}
