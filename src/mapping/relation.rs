//! [`Relation`]: which words of a record are which values on the wire.
//!
//! A word may have several wire values: all are read as it, the first is written.
//! Several words may share a wire value: it is read as the first of them, unless the base is another of them.

use serde_json::Value as Json;

use crate::wire::scalar;

/// The words of a field that is true or false.
pub(crate) const TRUE: &str = "true";
/// See [`TRUE`].
pub(crate) const FALSE: &str = "false";

/// Words of a record and their values on the wire, in the order of the file.
#[derive(Debug)]
pub(crate) struct Relation(pub(crate) Vec<(&'static str, Vec<Json>)>);

impl Relation {
    /// Every word is written as itself.
    pub(crate) fn identity(words: &'static [&'static str]) -> Relation {
        Relation(
            words
                .iter()
                .map(|word| (*word, vec![Json::from(*word)]))
                .collect(),
        )
    }

    /// The word for the text of a wire value.
    pub(crate) fn word(&self, wire: &str) -> Option<&'static str> {
        self.0
            .iter()
            .find(|(_, values)| holds(values, wire))
            .map(|(word, _)| *word)
    }

    /// Whether a wire value is one of a word's.
    pub(crate) fn is(&self, word: &str, wire: &str) -> bool {
        self.0
            .iter()
            .any(|(known, values)| *known == word && holds(values, wire))
    }

    /// What a word is written as.
    pub(crate) fn wire(&self, word: &str) -> Option<&Json> {
        self.0
            .iter()
            .find(|(known, _)| *known == word)
            .and_then(|(_, values)| values.first())
    }

    /// All wire values, for a message.
    pub(crate) fn expected(&self) -> String {
        let values: Vec<&str> = self
            .0
            .iter()
            .flat_map(|(_, values)| values.iter().filter_map(scalar))
            .collect();
        format!("one of {}", values.join(", "))
    }

    /// All words that can be written, for a message.
    pub(crate) fn words(&self) -> String {
        let words: Vec<&str> = self.0.iter().map(|(word, _)| *word).collect();
        format!(
            "one of {}, which are the words that have a wire value",
            words.join(", ")
        )
    }
}

/// By text, so that a stage id matches whether the system sends it as number or text.
fn holds(values: &[Json], wire: &str) -> bool {
    values.iter().any(|value| scalar(value) == Some(wire))
}
