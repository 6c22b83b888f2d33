//! YAML with positions, and findings a person can act on.
//!
//! A [`Source`] is a file's name and text.
//! [`Node::parse`] reads it into a tree in which every value and every key knows where it stands.
//! [`Fields`] reads a map of that tree the way a typed struct would be read, but notes *every* wrong, missing or
//! unknown key as a [`Finding`] instead of stopping at the first.
//! A [`Report`] gathers findings from many files and renders them: carets for people, JSON for programs, and the forms
//! that review and code-scanning services take.
//! A [`Grammar`] is what a reader asked for, as a JSON Schema for editors.
//! An [`Explanation`] is the long help for a finding's code.
//!
//! Promised: a finding names file, line, column and the fix; the same finding is shown by command line, API and
//! console; a report never holds file text, so that nothing secret travels with it.
//! Not here: what a manifest, a mapping or the configuration may say. Each owner reads its own nodes.

mod explain;
mod finding;
mod github;
mod grammar;
mod node;
mod overlay;
mod read;
mod render;
mod report_path;
mod sarif;

pub use explain::{Example, Explanation, explanation, explanations};
pub use finding::{Finding, Place, Report, Severity, Source};
pub use grammar::Grammar;
pub use node::{DEPTH_MAX, NODES_MAX, Node, Value};
pub use read::{Fields, suggestion};
