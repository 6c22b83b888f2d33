//! [`Condition`]: a `when` expression (minijinja), answered for one object.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use minijinja::{Environment, Expression, Value};
use serde_json::Value as Json;

use crate::wire::WireField;

/// Instructions that an expression may take.
const FUEL_MAX: u64 = 10_000;

static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    environment.set_fuel(Some(FUEL_MAX));
    environment
});

/// A compiled expression and the object's fields that it asks for.
pub(crate) struct Condition {
    expression: Expression<'static, 'static>,
    /// First parts of the names: what is handed to the expression.
    roots: Vec<String>,
    /// The names in full: what must be read from the system.
    names: Vec<String>,
}

impl Condition {
    /// Compiles an expression; the error is a message in words.
    pub(crate) fn compile(text: &str) -> Result<Condition, String> {
        let expression = ENVIRONMENT.compile_expression_owned(text.to_owned());
        let expression =
            expression.map_err(|error| error.detail().unwrap_or("it cannot be read").to_owned())?;
        let sorted = |nested| {
            let mut names: Vec<String> = expression.undeclared_variables(nested).into_iter().collect();
            names.sort();
            names
        };
        let (roots, names) = (sorted(false), sorted(true));
        Ok(Condition {
            expression,
            roots,
            names,
        })
    }

    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// Whether the expression is true for an object.
    pub(crate) fn holds(&self, object: &Json) -> bool {
        let found = self.roots.iter().filter_map(|root| {
            let wire = WireField::new(root).find(object)?;
            Some((root.clone(), value(wire)))
        });
        let scope: BTreeMap<String, Value> = found.collect();
        self.expression
            .eval(Value::from_object(scope))
            .is_ok_and(|answer| answer.is_true())
    }
}

/// Numbers become floats here, and only here: a condition compares them, it never passes them on.
fn value(json: &Json) -> Value {
    match json {
        Json::Null => Value::from(()),
        Json::Bool(value) => Value::from(*value),
        Json::Number(number) => match number.as_i64() {
            Some(whole) => Value::from(whole),
            None => number
                .as_f64()
                .map_or_else(|| Value::from(number.as_str()), Value::from),
        },
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(items) => items.iter().map(value).collect(),
        Json::Object(keys) => {
            let keys: BTreeMap<String, Value> = keys
                .iter()
                .map(|(key, json)| (key.clone(), value(json)))
                .collect();
            Value::from_object(keys)
        }
    }
}
