//! [`Connection`]: an authorised account, and what may be asked of it.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use outbound::header::{AUTHORIZATION, HeaderValue};
use serde_json::{Map, Value as Json};

use crate::call::{Caller, Repeat, header_value};
use crate::clock::Clock;
use crate::connector::Connector;
use crate::failure::{Class, Failure, RecordError};
use crate::lane::Lane;
use crate::limiter::Limiter;
use crate::lookup::Memory;
use crate::manifest::{Census, Object as ObjectKind};
use crate::names::{Names, scalar};
use crate::proof::Proof;
use crate::settings::Settings;

/// One authorised account at a system. Share it: limits and session belong to the account.
pub struct Connection {
    pub(crate) caller: Caller,
    /// What lookups have said.
    pub(crate) looked_up: Arc<Mutex<LookedUp>>,
    /// What kind each field of an object is, for answers that hold only texts.
    pub(crate) kinds: Arc<Mutex<HashMap<String, Kinds>>>,
    /// Objects, and what is done with them, that a job of ours may still be at work on.
    pub(crate) begun: Arc<Mutex<BTreeSet<(String, &'static str)>>>,
}

/// What lookups have said, by object and lookup.
pub(crate) type LookedUp = HashMap<(String, String), Memory>;

/// The kinds of an object's fields, by name: see [`FieldInfo::kind`].
pub(crate) type Kinds = Arc<HashMap<String, String>>;

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = &self.caller.settings.name;
        write!(f, "Connection({name} at {})", self.caller.connector.system())
    }
}

/// Who a connection is at its system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The system's id of the account: an organisation, a portal, a database.
    pub tenant: String,
}

/// One field of an object, as the system describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldInfo {
    /// The name on the wire.
    pub name: String,
    /// The name for people.
    pub label: String,
    /// `text`, `decimal`, `integer`, `boolean`, `date`, `datetime`, `enum` or `reference`.
    pub kind: String,
    /// Whether it holds several values.
    pub multiple: bool,
    /// The values an `enum` may have, with their labels.
    pub options: Vec<(String, String)>,
    /// Whether it can be written.
    pub writable: bool,
    /// Whether a new object must have it.
    pub required: bool,
    /// Whether no two objects may have the same value.
    pub unique: bool,
    /// Whether it may change without the object's time of change moving.
    pub volatile: bool,
}

/// One object as it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// The system's id.
    pub id: String,
    /// When it last changed, in the system's own precision.
    pub modified: Option<Timestamp>,
    /// The system's token for optimistic locking; opaque.
    pub version: Option<String>,
    /// Whether it is deleted or archived.
    pub deleted: bool,
    /// Who changed it last, as the system names it.
    pub origin: Option<String>,
    /// Objects that have become one, as this one says: the others that it replaces, or the one that replaces it.
    pub merged: Vec<MergedInto>,
    /// What mappings read; references kept apart are under `associations.<name>`, each a list of ids.
    pub body: Json,
}

/// Two objects that a person of the system has made one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MergedInto {
    /// The id of the one that is no more.
    pub from: String,
    /// The id of the one that stands for both now; some systems make a new one.
    pub to: String,
}

impl Object {
    /// An object of which nothing is known but that it is no more.
    pub fn deleted(id: &str) -> Object {
        Object {
            id: id.to_owned(),
            modified: None,
            version: None,
            deleted: true,
            origin: None,
            merged: Vec::new(),
            body: Json::Null,
        }
    }
}

/// A page of changed objects.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// The objects, in no promised order; an object may come again in a later page.
    pub objects: Vec<Object>,
    /// Where to go on; store it when the objects are durable.
    pub cursor: Json,
    /// Whether there is more to read now.
    pub more: bool,
}

/// What one object shall become.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    /// The system's id, if the record is linked.
    pub id: Option<String>,
    /// Our record id: what makes a repeated write find the same object.
    pub key: String,
    /// The fields that differ; `associations.<name>` takes a list of ids.
    pub values: Map<String, Json>,
    /// The version the values were compared with, for systems with optimistic locking.
    pub version: Option<String>,
    /// When just this was sent last, by our clock, if nobody heard what became of it: what a job has done since may be that.
    pub tried_at: Option<Timestamp>,
}

/// What became of one write.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Done.
    Written {
        /// The system's id.
        id: String,
        /// Whether the object is new.
        created: bool,
        /// The version after the write, if the system says it.
        version: Option<String>,
        /// The time of change after the write, if the system says it.
        modified: Option<Timestamp>,
        /// What was not written, because the manifest says so of what the system does not know or cannot take.
        left_out: Vec<LeftOut>,
    },
    /// The system, or the manifest, refused this one.
    Refused(RecordError),
    /// The object of this id does not exist any more.
    Gone,
    /// The request may or may not have been carried out: read the object before writing again.
    Unknown,
    /// Not done for a reason that concerns all. Unless the failure is [ambiguous](Failure::ambiguous), nothing of it was
    /// sent that the system may have carried out.
    NotSent(Failure),
}

/// A field that was not written although everything else was.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LeftOut {
    /// The field.
    pub field: String,
    /// Why, with what would help.
    pub why: String,
    /// The text that stands there instead, where the connection names one for such a case.
    pub instead: Option<String>,
}

impl Write {
    /// Takes out of the values what was left out of writing them, and puts in what was written instead.
    pub fn leave_out(&mut self, left_out: &[LeftOut]) {
        for left in left_out {
            match &left.instead {
                None => self.values.remove(&left.field),
                Some(text) => self.values.insert(left.field.clone(), Json::String(text.clone())),
            };
        }
    }
}

impl Connection {
    /// Opens an account. No call is made; wrong or missing settings are told at once.
    pub fn open(
        connector: Arc<Connector>,
        settings: Settings,
        http: outbound::Client,
        clock: Arc<dyn Clock>,
    ) -> Result<Connection, Failure> {
        let manifest = &connector.manifest;
        let wrong = |text: String| Failure::new(Class::Settings, text);
        let auth = match &settings.auth {
            None => 0,
            Some(name) => manifest
                .auth
                .iter()
                .position(|a| a.name == *name)
                .ok_or_else(|| {
                    let hint = diagnostic::suggestion(name, manifest.auth.iter().map(|a| a.name.as_str()));
                    wrong(format!(
                        "`{name}` is not a way to authorise at {}: {hint}",
                        manifest.system
                    ))
                })?,
        };
        if let Some(name) = settings.config.keys().find(|k| !manifest.config.contains_key(*k)) {
            let hint = diagnostic::suggestion(name, manifest.config.keys().map(String::as_str));
            return Err(wrong(format!(
                "`{name}` is not a setting of {}: {hint}",
                manifest.system
            )));
        }
        let mut config = settings.config.clone();
        for (name, known) in &manifest.config {
            if let (false, Some(default)) = (config.contains_key(name), &known.default) {
                config.insert(name.clone(), default.clone());
            }
            if !config.contains_key(name) {
                return Err(wrong(format!("the setting `{name}` is missing: {}", known.help)));
            }
            let value = config.get(name).and_then(Json::as_str).unwrap_or_default();
            if !known.options.is_empty() && !known.options.iter().any(|option| option == value) {
                let options = known.options.join(", ");
                return Err(wrong(format!(
                    "the setting `{name}` is `{value}`, expected one of {options}"
                )));
            }
        }
        let needs = manifest
            .auth
            .get(auth)
            .map_or(&[][..], |auth| auth.needs.as_slice());
        if let Some(name) = needs.iter().find(|n| settings.secrets.get(n).is_none()) {
            let help = manifest.secrets.get(name).map_or("", String::as_str);
            return Err(wrong(format!("the secret `{name}` is missing: {help}")));
        }
        let limiter = Arc::new(Limiter::new(&manifest.limits));
        Ok(Connection {
            caller: Caller {
                connector,
                settings,
                config,
                http,
                clock,
                limiter,
                lane: Lane::Live,
                held: Arc::default(),
                auth,
                calls: Arc::default(),
                all_calls: Arc::default(),
                rehearsal: None,
            },
            looked_up: Arc::default(),
            kinds: Arc::default(),
            begun: Arc::default(),
        })
    }

    /// The same account, with all that is asked of it in a lane; without this it is [`Lane::Live`].
    pub fn in_lane(&self, lane: Lane) -> Connection {
        let mut connection = Connection {
            caller: self.caller.clone(),
            looked_up: Arc::clone(&self.looked_up),
            kinds: Arc::clone(&self.kinds),
            begun: Arc::clone(&self.begun),
        };
        connection.caller.lane = lane;
        connection
    }

    /// Signs in, unless there is a session already.
    pub async fn sign_in(&self) -> Result<(), Failure> {
        self.caller.session(None).await.map(drop)
    }

    /// What `Authorization` is to say in a request that somebody else sends, with the number of the session that it is from.
    /// `refused` is the number of one that was not believed, and is renewed then.
    pub async fn authorization(&self, refused: Option<u64>) -> Result<(u64, HeaderValue), Failure> {
        let session = self.caller.session(refused).await?;
        match &session.proof {
            Proof::Header(name, value) if *name == AUTHORIZATION => {
                Ok((session.generation, header_value(value.expose(), true)?))
            }
            _ => Err(Failure::new(
                Class::Settings,
                "this way to sign in shows nothing in `Authorization`",
            )),
        }
    }

    /// Makes the cheapest call that shows that the account may read; says whether the manifest has one.
    pub async fn try_out(&self) -> Result<bool, Failure> {
        let Some(check) = &self.caller.manifest().check else {
            return Ok(false);
        };
        self.caller.call(check, Names::default(), Repeat::Safe).await?;
        Ok(true)
    }

    /// Asks whose account this is. A posted connection has none, and is its own.
    pub async fn identity(&self) -> Result<Identity, Failure> {
        let Some(identity) = &self.caller.manifest().identity else {
            let tenant = self.name().to_owned();
            return Ok(Identity { tenant });
        };
        let reply = self
            .caller
            .call(&identity.request, Names::default(), Repeat::Safe)
            .await?;
        let names = reply.names(self.caller.config_names());
        let tenant = identity.tenant.one(&reply.body, &|name| names.get(name));
        let tenant = tenant.map_err(|e| Failure::protocol(e.to_string()))?;
        match scalar(&tenant) {
            Some(tenant) => Ok(Identity { tenant }),
            None => Err(Failure::protocol("the system does not say whose account this is")),
        }
    }

    /// Proves that the credentials work, and says whose they are.
    pub async fn check(&self) -> Result<Identity, Failure> {
        self.try_out().await?;
        self.identity().await
    }

    /// The fields of an object, as the system describes them now.
    pub async fn fields(&self, object: &str) -> Result<Vec<FieldInfo>, Failure> {
        let (kind, names) = self.object(object)?;
        let discovery = self.caller.manifest().discovery.as_ref();
        let discovery =
            discovery.ok_or_else(|| Failure::protocol("the manifest does not say how to list fields"))?;
        let reply = self
            .caller
            .call(&discovery.request, names.clone(), Repeat::Safe)
            .await?;
        let names = reply.names(names);
        let items = discovery.items.run(&reply.body, &|name| names.get(name));
        let items = items.map_err(|e| Failure::protocol(e.to_string()))?;
        let mut fields: Vec<FieldInfo> = items.iter().filter_map(field_info).collect();
        for (name, flat) in &kind.flat {
            fields.push(FieldInfo {
                name: name.clone(),
                label: name.clone(),
                kind: "text".to_owned(),
                multiple: false,
                options: Vec::new(),
                writable: true,
                required: flat.required && flat.child.is_some(),
                unique: false,
                volatile: false,
            });
        }
        Ok(fields)
    }

    /// Whether objects of a kind can be read by their ids.
    pub fn reads_by_id(&self, object: &str) -> bool {
        let object = self.caller.manifest().objects.get(object);
        object.is_some_and(|object| object.by_ids.is_some())
    }

    /// How often all that is linked at an object is to be asked for again; nothing where changes tell everything.
    pub fn census(&self, object: &str) -> Option<Census> {
        self.caller.manifest().objects.get(object)?.census
    }

    /// How many objects one request writes at most; what is more is split by [`Connection::write`] itself.
    pub fn batch_max(&self, object: &str) -> usize {
        let object = self.caller.manifest().objects.get(object);
        object
            .and_then(|o| o.write.as_ref())
            .map_or(0, crate::manifest::Write::batch_max)
    }

    /// The connector this account belongs to.
    pub fn connector(&self) -> &Arc<Connector> {
        &self.caller.connector
    }

    /// The name of the connection.
    pub fn name(&self) -> &str {
        &self.caller.settings.name
    }

    /// An object of the manifest, and the names every expression about it may use.
    pub(crate) fn object(&self, name: &str) -> Result<(&ObjectKind, Names), Failure> {
        let objects = &self.caller.manifest().objects;
        let kind = objects.get(name).ok_or_else(|| {
            let hint = diagnostic::suggestion(name, objects.keys().map(String::as_str));
            Failure::new(
                Class::Settings,
                format!(
                    "{} has no object `{name}`: {hint}",
                    self.caller.connector.system()
                ),
            )
        })?;
        let names = Names::default()
            .with("config", self.caller.config.clone())
            .with("object", name)
            .with("vars", kind.vars.clone());
        Ok((kind, names))
    }
}

pub(crate) fn field_info(item: &Json) -> Option<FieldInfo> {
    let flag = |name: &str| item[name].as_bool().unwrap_or(false);
    let options = item["options"].as_array().map_or(&[][..], Vec::as_slice);
    Some(FieldInfo {
        name: scalar(&item["name"])?,
        label: scalar(&item["label"]).unwrap_or_default(),
        kind: scalar(&item["type"]).unwrap_or_else(|| "text".to_owned()),
        multiple: flag("multi"),
        options: options
            .iter()
            .filter_map(|o| {
                let value = scalar(&o["value"])?;
                let label = scalar(&o["label"]).unwrap_or_else(|| value.clone());
                Some((value, label))
            })
            .collect(),
        writable: item["writable"].as_bool().unwrap_or(true),
        required: flag("required"),
        unique: flag("unique"),
        volatile: flag("volatile"),
    })
}
