//! Avro's binary encoding, read as far as somebody wants to know: a datum by its schema, field by field.
//!
//! Written out here because it is little: the well-kept library takes 17 crates along, most of them for writing files.
//! What is not promised: default values, aliases and the resolution of one schema against another. A datum is read by
//! the schema that it was written with.

use std::collections::HashMap;

use serde_json::{Map, Value as Json};

/// How deep a schema and a datum may be nested.
const DEPTH_MAX: usize = 16;
/// Values that are read of a datum, those inside others counted too: a schema may ask for many that take no bytes.
const VALUES_MAX: usize = 100_000;

/// A schema that cannot be used, or a datum that is not of its schema.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Unreadable(String);

fn unreadable<T>(what: impl Into<String>) -> Result<T, Unreadable> {
    Err(Unreadable(what.into()))
}

/// What a value is.
#[derive(Debug)]
enum Type {
    Null,
    Boolean,
    /// `int` and `long`, which are written alike.
    Long,
    Float,
    Double,
    Bytes,
    Text,
    Fixed(usize),
    Enum(Vec<String>),
    List(Box<Type>),
    Map(Box<Type>),
    Union(Vec<Type>),
    Record(Vec<Field>),
    /// A type that was named before.
    Named(String),
}

/// A field of a record.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) name: String,
    kind: Type,
}

/// The schema of a record.
#[derive(Debug)]
pub(crate) struct Schema {
    fields: Vec<Field>,
    named: HashMap<String, Type>,
}

impl Schema {
    /// Reads a schema from its JSON; it must be a record's.
    pub(crate) fn parse(json: &str) -> Result<Schema, Unreadable> {
        let json: Json = match serde_json::from_str(json) {
            Ok(json) => json,
            Err(error) => return unreadable(format!("the schema is not JSON: {error}")),
        };
        let mut named = HashMap::new();
        let root = parse(&json, &mut named, 0)?;
        let root = match root {
            Type::Named(name) => named.remove(&name),
            other => Some(other),
        };
        match root {
            Some(Type::Record(fields)) => Ok(Schema { fields, named }),
            _ => unreadable("the schema is not that of a record"),
        }
    }

    /// The fields of the record, in order.
    pub(crate) fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The fields of the record that a field holds, if it may hold one.
    pub(crate) fn inner<'s>(&'s self, field: &'s Field) -> Option<&'s [Field]> {
        self.record(&field.kind)
    }

    fn record<'s>(&'s self, kind: &'s Type) -> Option<&'s [Field]> {
        match kind {
            Type::Record(fields) => Some(fields),
            Type::Named(name) => match self.named.get(name)? {
                Type::Record(fields) => Some(fields),
                _ => None,
            },
            Type::Union(branches) => branches.iter().find_map(|branch| self.record(branch)),
            _ => None,
        }
    }

    /// The value of one field of a datum. What comes behind it is not looked at.
    pub(crate) fn read(&self, datum: &[u8], field: &str) -> Result<Json, Unreadable> {
        let mut reader = Reader {
            schema: self,
            left: datum,
            values: 0,
        };
        for known in &self.fields {
            let value = reader.value(&known.kind, 0)?;
            if known.name == field {
                return Ok(value);
            }
        }
        unreadable(format!("the schema has no field `{field}`"))
    }
}

/// A type that has a name of its own is kept under it, and `Named` stands in its place.
fn parse(json: &Json, named: &mut HashMap<String, Type>, depth: usize) -> Result<Type, Unreadable> {
    if depth > DEPTH_MAX {
        return unreadable(format!("the schema is nested more than {DEPTH_MAX} deep"));
    }
    match json {
        Json::String(name) => Ok(primitive(name).unwrap_or_else(|| Type::Named(short(name).to_owned()))),
        Json::Array(branches) => {
            let branches = branches.iter().map(|branch| parse(branch, named, depth + 1));
            Ok(Type::Union(branches.collect::<Result<_, _>>()?))
        }
        Json::Object(object) => match object.get("type") {
            Some(Json::String(kind)) => complex(kind, object, named, depth),
            // `{"type": {…}}` is what it holds.
            Some(inner) => parse(inner, named, depth + 1),
            None => unreadable("the schema has a type without `type`"),
        },
        _ => unreadable("the schema has a type that is neither a name, a list nor an object"),
    }
}

fn complex(
    kind: &str,
    object: &Map<String, Json>,
    named: &mut HashMap<String, Type>,
    depth: usize,
) -> Result<Type, Unreadable> {
    let part = |key: &str| object.get(key).unwrap_or(&Json::Null);
    let made = match kind {
        "array" => return Ok(Type::List(Box::new(parse(part("items"), named, depth + 1)?))),
        "map" => return Ok(Type::Map(Box::new(parse(part("values"), named, depth + 1)?))),
        "fixed" => {
            let size = part("size").as_u64().and_then(|size| usize::try_from(size).ok());
            Type::Fixed(size.ok_or_else(|| Unreadable("a fixed type has no `size`".to_owned()))?)
        }
        "enum" => {
            let symbols = part("symbols").as_array().map_or(&[][..], Vec::as_slice);
            let symbols = symbols
                .iter()
                .map(|symbol| symbol.as_str().unwrap_or_default().to_owned());
            Type::Enum(symbols.collect())
        }
        "record" | "error" => {
            let fields = part("fields").as_array().map_or(&[][..], Vec::as_slice);
            let field = |field: &Json| {
                Ok(Field {
                    name: field["name"].as_str().unwrap_or_default().to_owned(),
                    kind: parse(&field["type"], named, depth + 1)?,
                })
            };
            Type::Record(fields.iter().map(field).collect::<Result<_, Unreadable>>()?)
        }
        // A primitive with further properties: `{"type": "long", "logicalType": "timestamp-millis"}`.
        name => return Ok(primitive(name).unwrap_or_else(|| Type::Named(short(name).to_owned()))),
    };
    let Some(name) = part("name").as_str() else {
        return unreadable(format!("a type of kind `{kind}` has no name"));
    };
    let name = short(name).to_owned();
    named.insert(name.clone(), made);
    Ok(Type::Named(name))
}

/// Names are compared without their namespace: one schema does not use one name twice.
fn short(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

fn primitive(name: &str) -> Option<Type> {
    Some(match name {
        "null" => Type::Null,
        "boolean" => Type::Boolean,
        "int" | "long" => Type::Long,
        "float" => Type::Float,
        "double" => Type::Double,
        "bytes" => Type::Bytes,
        "string" => Type::Text,
        _ => return None,
    })
}

/// Goes through a datum from front to back.
struct Reader<'s, 'd> {
    schema: &'s Schema,
    left: &'d [u8],
    values: usize,
}

impl<'d> Reader<'_, 'd> {
    /// A value. Bytes have no form in JSON and are left out.
    fn value(&mut self, kind: &Type, depth: usize) -> Result<Json, Unreadable> {
        if depth > DEPTH_MAX {
            return unreadable(format!("the datum is nested more than {DEPTH_MAX} deep"));
        }
        self.values += 1;
        if self.values > VALUES_MAX {
            return unreadable(format!("the datum has more than {VALUES_MAX} values"));
        }
        Ok(match kind {
            Type::Null => Json::Null,
            Type::Boolean => Json::from(self.take(1)? == [1]),
            Type::Long => Json::from(self.long()?),
            Type::Float => {
                let bytes = <[u8; 4]>::try_from(self.take(4)?).unwrap_or_default();
                Json::from(f32::from_le_bytes(bytes))
            }
            Type::Double => {
                let bytes = <[u8; 8]>::try_from(self.take(8)?).unwrap_or_default();
                Json::from(f64::from_le_bytes(bytes))
            }
            Type::Bytes => {
                let length = self.length()?;
                self.take(length)?;
                Json::Null
            }
            Type::Fixed(length) => {
                self.take(*length)?;
                Json::Null
            }
            Type::Text => Json::from(self.text()?),
            Type::Enum(symbols) => match symbols.get(self.length()?) {
                Some(symbol) => Json::from(symbol.as_str()),
                None => return unreadable("a value is none of the symbols of its type"),
            },
            Type::Union(branches) => match branches.get(self.length()?) {
                Some(branch) => self.value(branch, depth + 1)?,
                None => return unreadable("a value is of none of the types it may be"),
            },
            Type::Named(name) => {
                let schema = self.schema;
                match schema.named.get(name) {
                    Some(kind) => self.value(kind, depth + 1)?,
                    None => return unreadable(format!("the schema does not say what `{name}` is")),
                }
            }
            Type::Record(fields) => {
                let mut record = Map::new();
                for field in fields {
                    record.insert(field.name.clone(), self.value(&field.kind, depth + 1)?);
                }
                Json::Object(record)
            }
            Type::List(items) => {
                let mut list = Vec::new();
                while let Some(count) = self.block()? {
                    for _ in 0..count {
                        list.push(self.value(items, depth + 1)?);
                    }
                }
                Json::Array(list)
            }
            Type::Map(values) => {
                let mut map = Map::new();
                while let Some(count) = self.block()? {
                    for _ in 0..count {
                        let key = self.text()?;
                        map.insert(key, self.value(values, depth + 1)?);
                    }
                }
                Json::Object(map)
            }
        })
    }

    /// How many entries the next block of a list or map has; nothing at its end.
    fn block(&mut self) -> Result<Option<usize>, Unreadable> {
        let count = self.long()?;
        if count < 0 {
            // Then the length of the block in bytes follows, for those who skip it.
            self.long()?;
        }
        let count = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
        Ok((count > 0).then_some(count))
    }

    fn take(&mut self, length: usize) -> Result<&'d [u8], Unreadable> {
        match self.left.split_at_checked(length) {
            Some((taken, left)) => {
                self.left = left;
                Ok(taken)
            }
            None => unreadable("the datum ends too early"),
        }
    }

    /// Zigzag, seven bits a byte, the lowest first.
    fn long(&mut self) -> Result<i64, Unreadable> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.take(1)? else {
                return unreadable("the datum ends too early");
            };
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
            }
        }
        unreadable("a number has more than 64 bits")
    }

    fn length(&mut self) -> Result<usize, Unreadable> {
        let length = usize::try_from(self.long()?);
        length.or_else(|_| unreadable("a length is negative"))
    }

    fn text(&mut self) -> Result<String, Unreadable> {
        let length = self.length()?;
        let text = std::str::from_utf8(self.take(length)?);
        text.map(str::to_owned)
            .or_else(|_| unreadable("a text is not UTF-8"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const SCHEMA: &str = r#"{"type": "record", "name": "R", "namespace": "a.b", "fields": [
        {"name": "n", "type": ["null", {"type": "long", "logicalType": "timestamp-millis"}]},
        {"name": "t", "type": {"type": "string", "avro.java.string": "String"}},
        {"name": "e", "type": {"type": "enum", "name": "E", "symbols": ["A", "B"]}},
        {"name": "l", "type": {"type": "array", "items": "a.b.E"}},
        {"name": "x", "type": ["null", {"type": "record", "name": "X", "fields": [{"name": "d", "type": "double"}]}]},
        {"name": "y", "type": ["null", "X"]},
        {"name": "last", "type": "boolean"}
    ]}"#;

    /// -64, "foo", B, [A, B] in two blocks of which one tells its length, X of 1.5, no X, true.
    const DATUM: &[u8] = &[
        2, 0x7f, 6, b'f', b'o', b'o', 2, 2, 0, 1, 2, 2, 0, 2, 0, 0, 0, 0, 0, 0, 0xf8, 0x3f, 0, 1,
    ];

    #[test]
    fn every_field_is_read_by_its_type() {
        let schema = Schema::parse(SCHEMA).unwrap();
        for (field, value) in [
            ("n", json!(-64)),
            ("t", json!("foo")),
            ("e", json!("B")),
            ("l", json!(["A", "B"])),
            ("x", json!({"d": 1.5})),
            ("y", Json::Null),
            ("last", json!(true)),
        ] {
            assert_eq!(schema.read(DATUM, field), Ok(value), "{field}");
        }
        assert!(schema.read(DATUM, "unknown").is_err());
        let inner = schema.inner(&schema.fields()[5]).unwrap();
        assert_eq!(inner[0].name, "d", "a record by its name, within a union");
    }

    #[test]
    fn a_datum_that_ends_too_early_is_refused_wherever_it_ends() {
        let schema = Schema::parse(SCHEMA).unwrap();
        for end in 0..DATUM.len() {
            schema.read(&DATUM[..end], "last").unwrap_err();
        }
    }

    #[test]
    fn a_datum_of_nothings_cannot_be_endless() {
        let schema = r#"{"type": "record", "name": "R", "fields": [{"name": "l", "type": {"type": "array", "items": "null"}}]}"#;
        let endless = [0xff, 0xff, 0xff, 0xff, 0xff, 0x0f];
        Schema::parse(schema).unwrap().read(&endless, "l").unwrap_err();

        // Each record holds the next one ten times.
        let nested = (0..6).fold(json!("null"), |inner, depth| {
            let fields = (0..10).map(|n| match n {
                0 => json!({"name": "f0", "type": inner}),
                n => json!({"name": format!("f{n}"), "type": inner["name"].as_str().unwrap_or("null")}),
            });
            json!({"type": "record", "name": format!("R{depth}"), "fields": fields.collect::<Vec<_>>()})
        });
        let schema = Schema::parse(&nested.to_string()).unwrap();
        let told = schema.read(&[], "f9").unwrap_err();
        assert!(told.to_string().contains("more than 100000 values"), "{told}");

        let itself = r#"{"type": "record", "name": "R", "fields": [{"name": "r", "type": "R"}]}"#;
        Schema::parse(itself).unwrap().read(&[], "r").unwrap_err();
        let deep = format!("{}\"null\"{}", "[".repeat(100), "]".repeat(100));
        assert!(parse(&serde_json::from_str(&deep).unwrap(), &mut HashMap::new(), 0).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let schema = Schema::parse(SCHEMA).unwrap();
            let _either = schema.read(&bytes, "last");
        }
    }
}
