//! Findings as text with carets, in the form that rustc made familiar.

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

use crate::{Finding, Report, Severity};

impl Report {
    /// All findings as text, each with its line and caret; with colours for a terminal.
    pub fn render(&self, colours: bool) -> String {
        let renderer = if colours {
            Renderer::styled()
        } else {
            Renderer::plain()
        };
        let shown: Vec<String> = self.findings().iter().map(|f| self.show(&renderer, f)).collect();
        shown.join("\n\n")
    }

    fn show(&self, renderer: &Renderer, finding: &Finding) -> String {
        let level = match finding.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let title = level.primary_title(&finding.message).id(finding.code);
        let text = self.shown_text(&finding.file);
        let text = text.as_str();
        let start = byte_of(text, finding.offset);
        let rest = text.get(start..).unwrap_or_default();
        let end = start + byte_of(rest, finding.length);
        let snippet = Snippet::source(text)
            .path(&*finding.file)
            .annotation(AnnotationKind::Primary.span(start..end.max(start)));
        let mut group = title.element(snippet);
        if let Some(hint) = &finding.hint {
            group = group.element(Level::HELP.message(hint));
        }
        renderer.render(&[group])
    }
}

fn byte_of(text: &str, characters: usize) -> usize {
    text.char_indices()
        .nth(characters)
        .map_or(text.len(), |(byte, _)| byte)
}
