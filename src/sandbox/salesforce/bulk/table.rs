//! [`Table`]: rows of texts under the names of their columns, read from and written as CSV.

use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse as _, Response};

use crate::salesforce::refusal::Refusal;

/// The separators that may be asked for.
const DELIMITERS: [(&str, u8); 6] = [
    ("COMMA", b','),
    ("TAB", b'\t'),
    ("PIPE", b'|'),
    ("SEMICOLON", b';'),
    ("CARET", b'^'),
    ("BACKQUOTE", b'`'),
];

/// How a client wants its CSV.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Form {
    delimiter: u8,
    crlf: bool,
}

impl Form {
    pub(crate) fn named(delimiter: Option<&str>, line_ending: Option<&str>) -> Result<Self, Refusal> {
        let name = delimiter.unwrap_or("COMMA");
        let (_, delimiter) = *DELIMITERS
            .iter()
            .find(|(known, _)| *known == name)
            .ok_or_else(|| unknown("columnDelimiter", name))?;
        let crlf = match line_ending.unwrap_or("LF") {
            "LF" => false,
            "CRLF" => true,
            other => return Err(unknown("lineEnding", other)),
        };
        Ok(Self { delimiter, crlf })
    }

    pub(crate) fn line_ending(self) -> &'static str {
        if self.crlf { "CRLF" } else { "LF" }
    }

    pub(crate) fn delimiter_name(self) -> &'static str {
        let named = DELIMITERS.iter().find(|(_, byte)| *byte == self.delimiter);
        named.map_or("COMMA", |(name, _)| *name)
    }
}

fn unknown(field: &str, value: &str) -> Refusal {
    Refusal::unreadable(format!("{value} is not a value of {field}"))
}

/// Rows under the names of their columns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<Vec<String>>,
}

impl Table {
    /// Reads rows that a client sent; the reason is worded as a failed job tells it.
    pub(crate) fn read(text: &str, form: Form) -> Result<Self, String> {
        // The first line says which line ends were used: a header has no line breaks inside.
        let first = text.split_inclusive('\n').next().unwrap_or_default();
        if first.ends_with('\n') && first.ends_with("\r\n") != form.crlf {
            return Err(format!(
                "ClientInputError : LineEnding is invalid on user data. Current LineEnding setting is {}",
                form.line_ending()
            ));
        }
        let mut reader = csv::ReaderBuilder::new()
            .delimiter(form.delimiter)
            .from_reader(text.as_bytes());
        let broken = |error: csv::Error| format!("InvalidBatch : Failed to parse CSV: {error}");
        let texts = |record: &csv::StringRecord| record.iter().map(str::to_owned).collect::<Vec<_>>();
        let columns = texts(reader.headers().map_err(broken)?);
        let mut rows = Vec::new();
        for record in reader.records() {
            rows.push(texts(&record.map_err(broken)?));
        }
        Ok(Self { columns, rows })
    }

    /// The columns of a result of these rows: two of its own before those that were given.
    pub(crate) fn results(&self, own: &[&str]) -> Self {
        let columns = own.iter().map(|name| (*name).to_owned());
        Self {
            columns: columns.chain(self.columns.iter().cloned()).collect(),
            rows: Vec::new(),
        }
    }

    /// Brings the rows into an order that nobody can mistake for the one they came in.
    pub(crate) fn shuffle(&mut self) {
        let rows = std::mem::take(&mut self.rows);
        let (even, odd): (Vec<_>, Vec<_>) = rows.into_iter().enumerate().partition(|(at, _)| at % 2 == 0);
        self.rows = odd
            .into_iter()
            .chain(even.into_iter().rev())
            .map(|(_, row)| row)
            .collect();
    }

    /// The answer that shows some of the rows, every value in quotes.
    pub(crate) fn answer(
        &self,
        range: std::ops::Range<usize>,
        form: Form,
        headers: &[(&'static str, String)],
    ) -> Response {
        let terminator = if form.crlf {
            csv::Terminator::CRLF
        } else {
            csv::Terminator::Any(b'\n')
        };
        let mut writer = csv::WriterBuilder::new()
            .delimiter(form.delimiter)
            .terminator(terminator)
            .quote_style(csv::QuoteStyle::Always)
            .from_writer(Vec::new());
        let rows = self.rows.get(range).unwrap_or_default();
        for row in std::iter::once(&self.columns).chain(rows) {
            writer
                .write_record(row)
                .expect("memory takes every row, and all have the same columns");
        }
        let body = writer.into_inner().expect("memory is flushed without fail");
        let mut response = (StatusCode::OK, [(CONTENT_TYPE, "text/csv")], body).into_response();
        for (name, value) in headers {
            if let Ok(value) = value.parse() {
                response
                    .headers_mut()
                    .insert(HeaderName::from_static(name), value);
            }
        }
        response
    }
}
