//! [`Finding`], the one shape in which anything wrong with a file is told, and [`Report`], a list of them.

use std::hash::{Hash as _, Hasher as _};
use std::sync::Arc;

use serde::Serialize;

/// A file as it was read: its name as the user knows it, and its text.
#[derive(Clone)]
pub struct Source {
    /// The path as given by the user, for display and as the place that the paths in the file lead from.
    pub file: Arc<str>,
    /// The whole text.
    pub text: Arc<str>,
    /// A file that changes this one.
    pub(crate) overlay: Option<Arc<Source>>,
}

impl Source {
    /// A number that is another one when the text, or what changes it, is another one. It may be another one for the same text
    /// after this program was built by another compiler.
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = std::hash::DefaultHasher::new();
        let mut sources = vec![self];
        while let Some(source) = sources.pop() {
            source.text.hash(&mut hasher);
            sources.extend(source.overlay.as_deref());
        }
        hasher.finish()
    }

    /// Names a text.
    pub fn new(file: impl Into<Arc<str>>, text: impl Into<Arc<str>>) -> Source {
        Source {
            file: file.into(),
            text: text.into(),
            overlay: None,
        }
    }
}

/// Where something stands in a [`Source`]; counted in characters, as editors do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// Offset of the first character from the start of the text.
    pub start: usize,
    /// Offset just behind the last character.
    pub end: usize,
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The file cannot be used.
    Error,
    /// The file can be used, but something in it is probably not meant.
    Warning,
}

/// One thing that is wrong, where, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Stable code, for example `IC0102`; what `interconnect explain` takes.
    pub code: &'static str,
    /// Error or warning.
    pub severity: Severity,
    /// The file, as the user named it.
    pub file: Arc<str>,
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1, in characters.
    pub column: usize,
    /// Characters that the caret underlines; at least 1, all on the same line.
    pub length: usize,
    /// Offset of the first character from the start of the text.
    pub offset: usize,
    /// What is wrong: a lowercase fragment that names field and value.
    pub message: String,
    /// What to do: a concrete value or command.
    pub hint: Option<String>,
}

/// Findings of one or many files, and the sources to show them in.
#[derive(Clone, Default)]
pub struct Report {
    findings: Vec<Finding>,
    sources: Vec<Source>,
    hidden: Vec<(Arc<str>, Place)>,
}

impl Report {
    /// An empty report.
    pub fn new() -> Report {
        Report::default()
    }

    /// Makes a source known, so that its findings can be shown with their text.
    pub fn source(&mut self, source: &Source) {
        if !self.sources.iter().any(|s| s.file == source.file) {
            self.sources.push(source.clone());
        }
    }

    /// Notes an error at a place.
    pub fn error(
        &mut self,
        code: &'static str,
        source: &Source,
        place: Place,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.note(Severity::Error, code, source, place, message.into(), hint.into());
    }

    /// Notes a warning at a place.
    pub fn warning(
        &mut self,
        code: &'static str,
        source: &Source,
        place: Place,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.note(
            Severity::Warning,
            code,
            source,
            place,
            message.into(),
            hint.into(),
        );
    }

    fn note(
        &mut self,
        severity: Severity,
        code: &'static str,
        source: &Source,
        place: Place,
        message: String,
        hint: String,
    ) {
        let (source, place) = source.really(place);
        self.source(source);
        // A caret never runs over its line: a map's place spans many.
        let line = source.text.chars().skip(place.start).take_while(|c| *c != '\n');
        let length = line.take(place.end.saturating_sub(place.start)).count();
        self.findings.push(Finding {
            code,
            severity,
            file: source.file.clone(),
            line: place.line,
            column: place.column,
            length: length.max(1),
            offset: place.start,
            message,
            hint: (!hint.is_empty()).then_some(hint),
        });
    }

    /// Hides a place, because a secret stands there: whatever is found on its line, it is shown as stars.
    pub fn hide(&mut self, source: &Source, place: Place) {
        let (source, place) = source.really(place);
        self.hidden.push((source.file.clone(), place));
    }

    /// Takes over all findings and sources of another report.
    pub fn merge(&mut self, other: Report) {
        self.hidden.extend(other.hidden);
        for source in &other.sources {
            self.source(source);
        }
        self.findings.extend(other.findings);
    }

    /// The findings, in the order they were noted.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Whether any finding is an error.
    pub fn has_errors(&self) -> bool {
        self.errors() > 0
    }

    /// How many findings are errors.
    pub fn errors(&self) -> usize {
        self.findings
            .iter()
            .filter(|f| f.severity == Severity::Error)
            .count()
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.findings.is_empty()
    }

    /// The text of a source as it may be shown.
    pub(crate) fn shown_text(&self, file: &str) -> String {
        let Some(source) = self.sources.iter().find(|s| &*s.file == file) else {
            return String::new();
        };
        let hidden = |at: usize| {
            self.hidden
                .iter()
                .any(|(name, place)| &**name == file && (place.start..place.end).contains(&at))
        };
        let characters = source.text.chars().enumerate();
        characters
            .map(|(at, c)| if c != '\n' && hidden(at) { '*' } else { c })
            .collect()
    }
}
