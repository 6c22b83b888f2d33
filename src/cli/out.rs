//! [`Out`]: where answers go.

use std::borrow::Cow;
use std::io::{IsTerminal, Write};
use std::sync::OnceLock;

use diagnostic::Report;
use serde::Serialize;
use serde_json::{Value as Json, json};

use super::Exit;

/// Standard output for data, standard error for the rest.
pub(crate) struct Out {
    /// Whether data is asked for as JSON.
    pub(crate) json: bool,
    /// Why output was lost.
    lost: OnceLock<std::io::Error>,
}

/// The version of the JSON that commands print; it grows when a key changes its meaning or goes away.
const SCHEMA: u32 = 1;

impl Out {
    pub(crate) fn new(json: bool) -> Out {
        Out {
            json,
            lost: OnceLock::new(),
        }
    }

    /// A line of data. A reader that has gone away ends the output, not the program's work; what cannot be written for
    /// another reason, such as a full disk, is told when the command ends ([`Out::ended`]).
    pub(crate) fn line(&self, text: &str) {
        if let Err(error) = writeln!(std::io::stdout().lock(), "{text}") {
            self.lose(error);
        }
    }

    fn lose(&self, error: std::io::Error) {
        if error.kind() != std::io::ErrorKind::BrokenPipe {
            let _told = self.lost.set(error);
        }
    }

    /// How a command ends: not well when some of its output is lost.
    pub(crate) fn ended(&self, exit: Exit) -> Exit {
        if let Err(error) = std::io::stdout().lock().flush() {
            self.lose(error);
        }
        match self.lost.get() {
            Some(error) => self.fail(&format!("the output could not be written: {error}")),
            None => exit,
        }
    }

    /// Data: the JSON when it is asked for, the text otherwise.
    pub(crate) fn data(&self, json: Json, text: impl FnOnce() -> String) {
        if self.json {
            self.json(json);
        } else {
            let text = text();
            if !text.is_empty() {
                self.line(shown(text.trim_end(), true).as_ref());
            }
        }
    }

    /// Data as JSON, whether it was asked for or not.
    pub(crate) fn json(&self, mut json: Json) {
        if let Json::Object(map) = &mut json {
            map.insert("schema".to_owned(), Json::from(SCHEMA));
        }
        self.line(&format!("{json:#}"));
    }

    /// A remark for the person who watches; a line of JSON where that is asked for.
    pub(crate) fn note(&self, text: &str) {
        self.aside("note", text, |text| shown(text, true).into_owned());
    }

    /// A line beside the data, on standard error, where whatever reads the data does not trip over it.
    pub(crate) fn aside<T: Serialize>(&self, key: &str, said: T, text: impl FnOnce(T) -> String) {
        let line = match self.json {
            true => json!({key: said, "schema": SCHEMA}).to_string(),
            false => text(said),
        };
        let _gone = writeln!(std::io::stderr().lock(), "{line}");
    }

    /// What went wrong; a line of JSON where that is asked for.
    pub(crate) fn fails(&self, text: &str) {
        self.aside("error", text, |text| format!("error: {}", shown(text, true)));
    }

    /// Findings that are not what the command was asked for; a line of JSON where that is asked for.
    pub(crate) fn findings(&self, report: &Report) {
        self.aside("findings", report.findings(), |_| report.render(Out::colours()));
    }

    /// Says what went wrong and how the command ends.
    pub(crate) fn fail(&self, text: &str) -> Exit {
        self.fails(text);
        Exit::Failed
    }

    /// Whether a person watches standard error.
    pub(crate) fn watched() -> bool {
        std::io::stderr().is_terminal() && std::env::var_os("CI").is_none()
    }

    /// Whether findings may be coloured.
    pub(crate) fn colours() -> bool {
        Out::watched() && std::env::var_os("NO_COLOR").is_none()
    }
}

/// Text as a terminal shows it: what it would take for orders, or what turns the direction of writing, is escaped, for names
/// and notes are written by anybody. Whether lines may end is the caller's to say.
pub(crate) fn shown(text: &str, has_lines: bool) -> Cow<'_, str> {
    let is_order = |c: char| {
        let turns = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}');
        (c.is_control() && !(has_lines && c == '\n')) || turns
    };
    if !text.contains(is_order) {
        return Cow::Borrowed(text);
    }
    let escaped = |c: char| match is_order(c) {
        true => c.escape_default().to_string(),
        false => c.to_string(),
    };
    Cow::Owned(text.chars().map(escaped).collect())
}

/// Rows as a table: columns as wide as their widest cell, two blanks between.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let cells = |row: &Vec<String>| row.iter().map(|cell| shown(cell, false).into_owned()).collect();
    let rows: &[Vec<String>] = &rows.iter().map(cells).collect::<Vec<_>>();
    let width = |column: usize| {
        let cells = rows
            .iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count());
        cells.chain([head[column].len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let padded = cells
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let mut lines = vec![line(head.to_vec())];
    lines.extend(
        rows.iter()
            .map(|row| line(row.iter().map(String::as_str).collect())),
    );
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_shown() {
        let name = "E\u{1b}[31mSC\u{1b}]0;pwn\u{7}\nnew\u{202e}line\tend é".to_owned();
        insta::assert_snapshot!(table(&["name"], &[vec![name.clone()]]), @r"
        name
        E\u{1b}[31mSC\u{1b}]0;pwn\u{7}\nnew\u{202e}line\tend é
        ");
        assert_eq!(shown("two\nlines", true), "two\nlines");
        assert_eq!(shown(&name, true).matches('\n').count(), 1);
    }

    #[test]
    fn tables_line_up() {
        let rows = vec![
            vec!["dlv_1".into(), "due".into()],
            vec!["dlv_22".into(), "delivered".into()],
        ];
        insta::assert_snapshot!(table(&["id", "state"], &rows), @r"
        id      state
        dlv_1   due
        dlv_22  delivered
        ");
    }
}
