//! What the targets have in common: the files that ship, and a mapping tried both ways.
//!
//! An *input* is text, so that it can be read, written by hand and kept in `corpus/`; what a target is given beside the
//! body of something stands in its first lines.

use std::cell::RefCell;
use std::path::Path;

use diagnostic::Source;
use mapping::{Context, Mapping};
use model::RecordId;
use serde_json::Value;

/// Every file of a folder of the checkout, two folders deep, with its path: `hubspot/deal.yaml`.
pub fn shipped(folder: &str, ending: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder);
    let list = |path: &Path| {
        let entries = std::fs::read_dir(path).expect("the checkout can be read");
        let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        paths.sort();
        paths
    };
    let folders = list(&root).into_iter().filter(|path| path.is_dir());
    let files = folders.flat_map(|path| list(&path));
    let wanted = files.filter(|path| path.to_string_lossy().ends_with(ending));
    wanted
        .map(|path| {
            let text = std::fs::read_to_string(&path).expect("the checkout can be read");
            let name = path.strip_prefix(&root).expect("it lies there").to_string_lossy();
            Source::new(name, text)
        })
        .collect()
}

/// Splits an input into its first line and the rest.
pub fn headed(input: &str) -> Option<(&str, &str)> {
    input.split_once('\n')
}

/// Reads an object and writes it back, which is little: only lines that are never read have something to say. When it is
/// there, it reads as before, and nothing is left to be written.
pub fn both_ways(mapping: &Mapping, object: &Value) {
    let partner: RecordId = "ptn_01h2xcejqtf2nbrexx3vqjhp41".parse().expect("an id");
    let context = Context {
        currency: model::Currency::parse("EUR").ok(),
        country: Some("DE"),
        agreed: None,
    };
    // One record is known, by the first id that is asked for.
    let known = RefCell::new(None);
    let resolve = |object: &str, id: &str| {
        let asked = (object.to_owned(), id.to_owned());
        (*known.borrow_mut().get_or_insert_with(|| asked.clone()) == asked).then_some(partner)
    };
    let refer = |record: RecordId, object: &str| {
        let known = known.borrow();
        let (of, id) = known.as_ref()?;
        (record == partner && of == object).then(|| id.clone())
    };
    let read = mapping.forward(object, None, context, &resolve);
    let back = mapping.backward(&read.fields, Some(object), context, &refer);
    if let (true, Value::Object(held)) = (read.issues.is_empty(), object) {
        let mut written = held.clone();
        written.extend(back.values);
        let again = mapping.backward(&read.fields, Some(&Value::Object(written)), context, &refer);
        assert!(
            again.values.is_empty(),
            "{} of {object}",
            Value::Object(again.values)
        );
    }
    mapping.backward(&read.fields, None, context, &refer);
    mapping.admits(object);
}
