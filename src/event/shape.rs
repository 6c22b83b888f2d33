//! [`Shape`]: what a receiver gets an event as.
//!
//! A shape is given what a sharing policy let through, and so can show nothing else.

use std::fmt;
use std::sync::Arc;

use program::Program;
use serde_json::{Map, Value as Json, json};

use crate::cloudevents;

/// The media type of an event.
pub const JSON: &str = "application/json";

/// What a receiver gets an event as.
#[derive(Clone, Default)]
pub enum Shape {
    /// As it was said.
    #[default]
    Full,
    /// Without its `data`, but for the id of what it is about: whoever wants to know asks.
    Thin,
    /// As a CloudEvent 1.0, in structured mode.
    CloudEvent,
    /// What a program makes of it: one object.
    Program(Arc<Program>),
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())?;
        match self {
            Shape::Program(program) => write!(f, "({})", program.source()),
            _ => Ok(()),
        }
    }
}

/// Why an event has no such shape. What is in the event is not told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoShape {
    /// The program fails on it.
    #[error("the shape `{0}` fails on this event")]
    Failed(String),
    /// The program gives something else than one object.
    #[error(
        "the shape `{program}` gives {found} values on this event, or one that is no object; it must give one object"
    )]
    NotOneObject {
        /// The program, shortened.
        program: String,
        /// How many values it gave.
        found: usize,
    },
}

impl Shape {
    /// The shape's word in the configuration and in the API.
    pub fn word(&self) -> &'static str {
        match self {
            Shape::Full => "full",
            Shape::Thin => "thin",
            Shape::CloudEvent => "cloudevent",
            Shape::Program(_) => "program",
        }
    }

    /// Whether it leaves an event as it is.
    pub fn is_full(&self) -> bool {
        matches!(self, Shape::Full)
    }

    /// The media type of what it makes.
    pub fn media_type(&self) -> &'static str {
        match self {
            Shape::CloudEvent => cloudevents::MEDIA_TYPE,
            _ => JSON,
        }
    }

    /// Makes the shape of an event `{type, timestamp, data}` that may be shared. `id` is that of the event.
    pub fn make(&self, id: &str, event: Json) -> Result<Json, NoShape> {
        match self {
            Shape::Full => Ok(event),
            Shape::Thin => Ok(thin(event)),
            Shape::CloudEvent => Ok(cloudevents::write(id, event)),
            Shape::Program(program) => {
                let id = json!(id);
                let made = program.run(&event, &|name| (name == "id").then_some(&id));
                let mut made = made.map_err(|_| NoShape::Failed(program.name()))?;
                match made.pop() {
                    Some(object @ Json::Object(_)) if made.is_empty() => Ok(object),
                    last => Err(NoShape::NotOneObject {
                        program: program.name(),
                        found: made.len() + usize::from(last.is_some()),
                    }),
                }
            }
        }
    }
}

fn thin(mut event: Json) -> Json {
    if let Some(data) = event.get_mut("data") {
        let id = data.get("id").cloned();
        *data = Json::Object(
            id.map(|id| ("id".to_owned(), id))
                .into_iter()
                .collect::<Map<_, _>>(),
        );
    }
    event
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shaped(shape: &Shape) -> String {
        let event = json!({"type": "deal.won", "timestamp": "2026-11-26T09:00:00+01:00",
            "data": {"id": "D-1", "deal": {"name": "Solar park", "amount": {"amount": 12.50}}}});
        match shape.make("evt_1", event) {
            Ok(made) => made.to_string(),
            Err(no) => no.to_string(),
        }
    }

    fn program(text: &str) -> Shape {
        Shape::Program(Arc::new(Program::compile(text, &["id"]).unwrap()))
    }

    #[test]
    fn each_shape_of_an_event() {
        let told = [
            Shape::Full,
            Shape::Thin,
            Shape::CloudEvent,
            program("{ref: $id, deal: .data.deal.name, total: .data.deal.amount.amount}"),
            program(".data.deal.name"),
            program(".data.deal[]"),
            program("empty"),
            program(".data.id + 1"),
        ]
        .map(|shape| shaped(&shape));
        insta::assert_snapshot!(told.join("\n"), @r#"
        {"data":{"deal":{"amount":{"amount":12.5},"name":"Solar park"},"id":"D-1"},"timestamp":"2026-11-26T09:00:00+01:00","type":"deal.won"}
        {"data":{"id":"D-1"},"timestamp":"2026-11-26T09:00:00+01:00","type":"deal.won"}
        {"data":{"deal":{"amount":{"amount":12.5},"name":"Solar park"},"id":"D-1"},"datacontenttype":"application/json","id":"evt_1","source":"/interconnect","specversion":"1.0","subject":"D-1","time":"2026-11-26T09:00:00+01:00","type":"deal.won"}
        {"deal":"Solar park","ref":"evt_1","total":12.5}
        the shape `.data.deal.name` gives 1 values on this event, or one that is no object; it must give one object
        the shape `.data.deal[]` fails on this event
        the shape `empty` gives 0 values on this event, or one that is no object; it must give one object
        the shape `.data.id + 1` fails on this event
        "#);
        assert_eq!(thin(json!({"type": "x"})), json!({"type": "x"}));
    }
}
