//! `/v1/event-types` and `/v1/asyncapi.json`: what there is to hear and to say.

use std::sync::Arc;

use axum::Json;
use axum::extract::Path;
use event::TypeInfo;
use relay::Endpoint;
use serde::Serialize;
use serde_json::Value;

use crate::key::Admin;
use crate::query::Page;
use crate::{Hub, Problem};

/// A type of event.
#[derive(Serialize)]
pub(crate) struct TypeView {
    name: String,
    /// When it is said.
    doc: String,
    /// Oldest first.
    versions: Vec<u32>,
    /// The endpoints that hear of it, when it comes from whom and says what they ask for.
    endpoints: Vec<String>,
}

/// A type with all that a partner needs.
#[derive(Serialize)]
pub(crate) struct TypeDetail {
    #[serde(flatten)]
    about: TypeView,
    shapes: Vec<ShapeView>,
}

/// What an event of one version looks like.
#[derive(Serialize)]
struct ShapeView {
    version: u32,
    /// Of the whole event, JSON Schema 2020-12.
    schema: Value,
    /// The `data` of one.
    sample: Value,
}

fn view(hub: &Hub, info: &TypeInfo) -> TypeView {
    let event_type = model::EventType::parse(&info.name).ok();
    let hears = |endpoint: &&Arc<Endpoint>| {
        event_type
            .as_ref()
            .is_some_and(|event_type| endpoint.hears_of(event_type))
    };
    let subscribers = hub.relay.endpoints().filter(hears);
    TypeView {
        name: info.name.clone(),
        doc: info.doc.clone(),
        versions: info.versions.iter().map(|version| version.version).collect(),
        endpoints: subscribers.map(|endpoint| endpoint.name().to_owned()).collect(),
    }
}

/// All, by name.
pub(crate) async fn list(Admin(hub): Admin) -> Json<Page<TypeView>> {
    let all: Vec<&TypeInfo> = hub.relay.events().types().collect();
    let count = all.len();
    Json(Page::new(all, count, |_| String::new(), |info| view(&hub, info)))
}

/// One, with its schemas and samples.
pub(crate) async fn show(Admin(hub): Admin, Path(name): Path<String>) -> Result<Json<TypeDetail>, Problem> {
    let catalogue = hub.relay.events();
    let info = catalogue.get(&name);
    let info =
        info.ok_or_else(|| Problem::not_found("there is no such type of event; see /v1/event-types"))?;
    let shape = |version: &event::VersionInfo| {
        Some(ShapeView {
            version: version.version,
            schema: catalogue.schema(&info.name, version.version)?,
            sample: version.sample.clone(),
        })
    };
    Ok(Json(TypeDetail {
        about: view(&hub, info),
        shapes: info.versions.iter().filter_map(shape).collect(),
    }))
}

/// All of it as an AsyncAPI 3.0.0 document.
pub(crate) async fn asyncapi(Admin(hub): Admin) -> Json<Value> {
    Json(hub.relay.events().asyncapi(env!("CARGO_PKG_VERSION")))
}
