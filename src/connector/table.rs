//! Tables of texts as CSV, to and from JSON: what jobs of many rows are made of.
//!
//! A table has only texts. An empty one is null here, and a column `A.b` is `b` inside `A`, so that a row looks like the
//! same object read in another way; what kinds its texts have is for [`typed`].

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Number, Value as Json};

use crate::connection::Kinds;

/// The rows of a table, each an object by the names of the columns.
pub(crate) fn rows(bytes: &[u8]) -> Result<Json, String> {
    let mut reader = csv::Reader::from_reader(bytes);
    let columns = reader.headers().map_err(|e| e.to_string())?.clone();
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|e| e.to_string())?;
        let mut row = Map::new();
        for (column, text) in columns.iter().zip(&record) {
            let value = if text.is_empty() {
                Json::Null
            } else {
                Json::from(text)
            };
            put(&mut row, column, value);
        }
        rows.push(Json::Object(row));
    }
    Ok(Json::Array(rows))
}

/// Rows as a table: its columns are those of any row, and what a row does not have is empty.
pub(crate) fn written<'r>(rows: impl Iterator<Item = &'r BTreeMap<String, String>> + Clone) -> String {
    let columns: BTreeSet<&String> = rows.clone().flat_map(BTreeMap::keys).collect();
    let mut writer = csv::WriterBuilder::new()
        .terminator(csv::Terminator::Any(b'\n'))
        .from_writer(Vec::new());
    let put = "memory takes every row, and all have the same columns";
    writer
        .write_record(columns.iter().map(|column| column.as_bytes()))
        .expect(put);
    for row in rows {
        let texts = columns
            .iter()
            .map(|column| row.get(*column).map_or("", String::as_str));
        writer.write_record(texts).expect(put);
    }
    let bytes = writer.into_inner().expect("memory is flushed without fail");
    String::from_utf8(bytes).expect("texts and separators are UTF-8")
}

fn put(row: &mut Map<String, Json>, column: &str, value: Json) {
    let Some((outer, inner)) = column.split_once('.') else {
        row.insert(column.to_owned(), value);
        return;
    };
    let entry = row.entry(outer).or_insert(Json::Null);
    if value.is_null() {
        // A reference to nothing has no fields.
        return;
    }
    if !entry.is_object() {
        *entry = Json::Object(Map::new());
    }
    if let Json::Object(below) = entry {
        put(below, inner, value);
    }
}

/// Gives the texts of a row the form that the kinds of its fields have elsewhere, digit by digit. Where the same moment
/// ends elsewhere with something else than `Z`, it is `utc`: in another form it would look like a change.
pub(crate) fn typed(row: &mut Json, kinds: &Kinds, utc: Option<&str>) {
    for (name, value) in row.as_object_mut().into_iter().flatten() {
        let (Json::String(text), Some(kind)) = (&*value, kinds.get(name)) else {
            continue;
        };
        let form = match (kind.as_str(), text.as_str()) {
            ("decimal" | "integer", text) => text.parse::<Number>().ok().map(Json::Number),
            ("boolean", "true") => Some(Json::Bool(true)),
            ("boolean", "false") => Some(Json::Bool(false)),
            ("datetime", text) => utc
                .zip(text.strip_suffix('Z'))
                .map(|(utc, moment)| Json::String(format!("{moment}{utc}"))),
            _ => None,
        };
        // A text that is not of its kind is left for the mapping to complain about.
        if let Some(form) = form {
            *value = form;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;

    use serde_json::json;

    use super::*;

    #[test]
    fn a_row_looks_as_if_it_was_read_in_another_way() {
        let csv = "\"Id\",\"Name\",\"Amount\",\"Open\",\"Since\",\"Owner.Name\",\"Owner.Role.Name\",\"Parent.Name\"\r\n\
                   \"1\",\"a \"\"b\"\",\nc\",\"1234567890123456.10\",\"true\",\"2026-11-22T10:15:30.000Z\",\"Rita\",\"Rep\",\"\"\r\n\
                   \"2\",\"#N/A\",\"\",\"false\",\"\",\"\",\"\",\"\"\r\n";
        let mut found = rows(csv.as_bytes()).unwrap();
        let kinds = [
            ("Amount", "decimal"),
            ("Open", "boolean"),
            ("Since", "datetime"),
            ("Id", "text"),
            ("Name", "integer"),
        ];
        let kinds = kinds.map(|(name, kind)| (name.to_owned(), kind.to_owned()));
        let kinds: Kinds = Arc::new(HashMap::from(kinds));
        found
            .as_array_mut()
            .unwrap()
            .iter_mut()
            .for_each(|row| typed(row, &kinds, Some("+0000")));
        assert_eq!(found[0]["Amount"].to_string(), "1234567890123456.10");
        assert_eq!(
            (&found[0]["Name"], &found[0]["Open"], &found[0]["Id"]),
            (&json!("a \"b\",\nc"), &json!(true), &json!("1"))
        );
        assert_eq!(found[0]["Since"], "2026-11-22T10:15:30.000+0000");
        assert_eq!(
            found[0]["Owner"],
            json!({"Name": "Rita", "Role": {"Name": "Rep"}})
        );
        assert_eq!(found[0]["Parent"], Json::Null);
        assert_eq!(
            found[1],
            json!({"Id": "2", "Name": "#N/A", "Amount": null, "Open": false, "Since": null, "Owner": null, "Parent": null})
        );
    }

    #[test]
    fn a_table_without_rows_is_an_empty_list_and_a_broken_one_is_told() {
        assert_eq!(rows(b"").unwrap(), json!([]));
        assert_eq!(rows(b"\"Id\"\n").unwrap(), json!([]));
        assert!(rows(b"Id,Name\n1\n").unwrap_err().contains("record"));
    }
}
