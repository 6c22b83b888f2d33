//! Findings as GitHub's workflow commands: each becomes a note beside its line in the review.

use std::path::Path;

use crate::report_path::relative;
use crate::{Finding, Report, Severity};

impl Report {
    /// One line for each finding, as GitHub's runners read them; files are named from `root`.
    pub fn github(&self, root: &Path) -> String {
        let lines: Vec<String> = self.findings().iter().map(|f| command(f, root)).collect();
        lines.join("\n")
    }
}

fn command(finding: &Finding, root: &Path) -> String {
    let level = match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let hint = finding
        .hint
        .as_ref()
        .map(|hint| format!(" — {hint}"))
        .unwrap_or_default();
    format!(
        "::{level} file={},line={},endLine={},col={},endColumn={},title={}::{}{}",
        property(&relative(&finding.file, root)),
        finding.line,
        finding.line,
        finding.column,
        finding.column + finding.length,
        property(finding.code),
        data(&finding.message),
        data(&hint),
    )
}

/// What stands behind the second `::`.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// What stands between `=` and the next comma.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Place, Source};

    #[test]
    fn whatever_could_end_a_command_is_escaped() {
        let source = Source::new("/ci/a,b: 100%/x.yaml", "name: x\n");
        let place = Place {
            start: 0,
            end: 4,
            line: 1,
            column: 1,
        };
        let mut report = Report::new();
        report.error("IC0005", &source, place, "two\nlines, 100%: a::b", "do\r\nthis");
        report.warning("IC0106", &source, place, "no hint", "");
        insta::assert_snapshot!(report.github(Path::new("/ci")), @r"
        ::error file=a%2Cb%3A 100%25/x.yaml,line=1,endLine=1,col=1,endColumn=5,title=IC0005::two%0Alines, 100%25: a::b — do%0D%0Athis
        ::warning file=a%2Cb%3A 100%25/x.yaml,line=1,endLine=1,col=1,endColumn=5,title=IC0106::no hint
        ");
    }
}
