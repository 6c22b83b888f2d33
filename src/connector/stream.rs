//! Streams: a system that tells changes by itself, over a connection that we keep open.
//!
//! What is told are [`Hint`]s, as of webhooks: what they speak of is read. So a stream needs no promise of its own:
//! what it does not tell is read with the next changes, only later.
//!
//! A stream goes on behind a *place*, an opaque value of the system's. It is stored when what was heard before it has
//! been handed over, and not earlier.

use serde_json::{Value as Json, json};

use crate::connection::Connection;
use crate::connector::Connector;
use crate::failure::{Class, Failure};
use crate::flat;
use crate::manifest::{Changes, Pass, Protocol, Stream};
use crate::names::Names;
use crate::pubsub;
use crate::secret::Secret;
use crate::webhook::Hint;

/// What a topic told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Objects to look at.
    pub hints: Vec<Hint>,
    /// Where to go on; store it when the rest is handed over. Nothing when that stands where it stood.
    pub place: Option<Json>,
}

/// A topic that is listened to.
pub struct Listening {
    connection: Connection,
    subscription: pubsub::Subscription,
    /// The session that it was opened with.
    generation: u64,
}

impl Connector {
    /// The topics that tell of changes: object and topic.
    pub fn topics(&self) -> impl Iterator<Item = (&str, &str)> {
        let stream = self.manifest.stream.iter();
        stream.flat_map(|stream| {
            stream
                .topics
                .iter()
                .map(|(object, topic)| (object.as_str(), topic.as_str()))
        })
    }
}

impl Connection {
    /// The topic that tells of changes of an object; nothing if there is none, or the settings name no address to
    /// listen at.
    pub fn topic(&self, object: &str) -> Result<Option<&str>, Failure> {
        let Some(stream) = &self.caller.manifest().stream else {
            return Ok(None);
        };
        let address = self.caller.render(&stream.address, &self.caller.config_names())?;
        let topic = stream.topics.get(object).filter(|_| !address.is_empty());
        Ok(topic.map(String::as_str))
    }

    /// After how long a change is to be read again because it may not have been visible before, in milliseconds.
    pub fn lag_ms(&self, object: &str) -> u64 {
        self.passes(object).first().map_or(0, |pass| pass.lag_ms)
    }

    /// For how long a listing may go on showing what is no more, in milliseconds.
    pub fn authoritative_lag_ms(&self, object: &str) -> u64 {
        self.passes(object).last().map_or(0, |pass| pass.lag_ms)
    }

    fn passes(&self, object: &str) -> Vec<Pass> {
        let object = self.caller.manifest().objects.get(object);
        match object.and_then(|object| object.changes.as_ref()) {
            Some(Changes::Windows(changes)) => self.plan(changes).passes,
            _ => Vec::new(),
        }
    }

    /// Listens to the topic of an object, from behind a place on, or from now on.
    ///
    /// `fields` are those that the object is read with: a change of others is not told. `account` is whose account this
    /// is ([`crate::Identity::tenant`]).
    ///
    /// [`Class::CursorExpired`] means that the system does not know the place any more: drop it, read what changed, and
    /// listen from now on. After [`Class::AuthExpired`] there is a new session already.
    pub async fn listen(
        &self,
        object: &str,
        fields: &[String],
        account: &str,
        after: Option<&Json>,
    ) -> Result<Listening, Failure> {
        let stream = self.caller.manifest().stream.as_ref();
        let topic = stream.and_then(|stream| Some((stream, stream.topics.get(object)?)));
        let (stream, topic) = topic
            .ok_or_else(|| Failure::new(Class::Settings, format!("`{object}` has no topic to listen to")))?;
        let session = self.caller.session(None).await?;
        let names = self
            .caller
            .config_names()
            .with("auth", json!({"reply": session.reply}))
            .with("account", account)
            .with("token", session.proof.token());
        let target = self.target(stream, &names)?;
        let wanted = pubsub::Wanted {
            topic: topic.clone(),
            object: object.to_owned(),
            fields: flat::expanded(self.object(object)?.0, fields),
            after: after.cloned(),
        };
        let subscription = match stream.protocol {
            Protocol::PubSub => {
                pubsub::Subscription::open(&self.caller.http, target, wanted, &*self.caller.clock).await
            }
        };
        match subscription {
            Ok(subscription) => Ok(Listening {
                connection: self.in_lane(self.caller.lane),
                subscription,
                generation: session.generation,
            }),
            Err(failure) => Err(self.renewed(failure, session.generation).await),
        }
    }

    fn target(&self, stream: &Stream, names: &Names) -> Result<pubsub::Target, Failure> {
        let address = self.caller.render(&stream.address, names)?;
        let headers = stream.headers.iter().map(|(name, value)| {
            let value = self.caller.render(value, names)?;
            Ok((name.to_lowercase(), Secret::new(value)))
        });
        Ok(pubsub::Target {
            address: crate::call::parsed(&address)?,
            headers: headers.collect::<Result<_, Failure>>()?,
        })
    }

    /// Renews the session that a failure says has ended; the failure that stands then.
    async fn renewed(&self, failure: Failure, generation: u64) -> Failure {
        if failure.class != Class::AuthExpired {
            return failure;
        }
        match self.caller.session(Some(generation)).await {
            Ok(_) => failure,
            Err(refused) => refused,
        }
    }
}

impl Listening {
    /// Waits for what the topic tells next. Asking for it says that what was heard before is handed over.
    ///
    /// What was heard and concerns no field that is read comes as a new place without hints.
    pub async fn next(&mut self) -> Result<Heard, Failure> {
        let heard = self.subscription.next(&*self.connection.caller.clock).await;
        match heard {
            Ok(heard) => Ok(heard),
            Err(failure) => Err(self.connection.renewed(failure, self.generation).await),
        }
    }
}
