//! The house rules that neither the compiler nor clippy can hold, as tests.
//!
//! Each rule is data and one test; a test that fails lists every finding as `file:line: what; the fix`.
//! Promised: reading a text line by line, aware of comments, strings and `#[cfg(test)]`, finds what the rules name.
//! Not promised: understanding Rust; a rule that would need a parser belongs in a lint.
//! ARCHITECTURE.md says why the walls stand where they do.

#[path = "tidy/code.rs"]
mod code;
#[path = "tidy/documents.rs"]
mod documents;
#[path = "tidy/names.rs"]
mod names;
#[path = "tidy/text.rs"]
mod text;
#[path = "tidy/tree.rs"]
mod tree;
#[path = "tidy/walls.rs"]
mod walls;
