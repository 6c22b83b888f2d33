//! Findings as SARIF 2.1.0, the form in which code-scanning services take them.

use std::path::Path;

use serde_json::{Value as Json, json};

use crate::report_path::relative;
use crate::{Finding, Report, Severity, explanation};

/// The version of the format, and where its schema is.
const VERSION: &str = "2.1.0";
const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

impl Report {
    /// One run with a result for each finding and a rule for each code; files are named from `root`.
    pub fn sarif(&self, root: &Path) -> Json {
        let mut codes: Vec<&str> = self.findings().iter().map(|finding| finding.code).collect();
        codes.sort_unstable();
        codes.dedup();
        let rules: Vec<Json> = codes.iter().map(|code| rule(code)).collect();
        let results: Vec<Json> = self
            .findings()
            .iter()
            .map(|finding| {
                let rule = codes.binary_search(&finding.code).unwrap_or_default();
                result(finding, rule, root)
            })
            .collect();
        json!({
            "$schema": SCHEMA,
            "version": VERSION,
            "runs": [{
                "tool": {"driver": {
                    "name": "interconnect", "semanticVersion": env!("CARGO_PKG_VERSION"), "rules": rules,
                }},
                // Columns are counted as editors do, see `Place`.
                "columnKind": "unicodeCodePoints",
                "results": results,
            }],
        })
    }
}

fn rule(code: &str) -> Json {
    let mut rule = json!({"id": code});
    if let Some(explanation) = explanation(code) {
        rule["shortDescription"] = json!({"text": explanation.title});
        rule["help"] = json!({"text": explanation.plain(), "markdown": explanation.text});
    }
    rule
}

fn result(finding: &Finding, rule: usize, root: &Path) -> Json {
    let level = match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let text = match &finding.hint {
        Some(hint) => format!("{}\n{hint}", finding.message),
        None => finding.message.clone(),
    };
    json!({
        "ruleId": finding.code,
        "ruleIndex": rule,
        "level": level,
        "message": {"text": text},
        "locations": [{"physicalLocation": {
            "artifactLocation": {"uri": uri(&relative(&finding.file, root))},
            "region": {
                "startLine": finding.line, "startColumn": finding.column,
                "endLine": finding.line, "endColumn": finding.column + finding.length,
            },
        }}],
    })
}

/// A path as a reference (RFC 3986): relative as it is, absolute with its scheme.
fn uri(path: &str) -> String {
    let kept = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    let mut uri = String::new();
    if path.starts_with('/') {
        uri.push_str("file://");
    }
    for byte in path.bytes() {
        if kept(byte) {
            uri.push(char::from(byte));
        } else {
            uri.push_str(&format!("%{byte:02X}"));
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Place, Source};

    #[test]
    fn a_finding_is_a_result_with_its_rule() {
        let source = Source::new("/ci/my map.yaml", "name: x\n");
        let place = Place {
            start: 0,
            end: 4,
            line: 1,
            column: 1,
        };
        let mut report = Report::new();
        report.error(
            "IC0005",
            &source,
            place,
            "`nmae` is not a key",
            "did you mean `name`?",
        );
        let mut sarif = report.sarif(Path::new("/ci"));
        assert!(
            sarif["runs"][0]["tool"]["driver"]["semanticVersion"]
                .take()
                .is_string()
        );
        let rule = &mut sarif["runs"][0]["tool"]["driver"]["rules"][0];
        assert!(rule["help"]["markdown"].take().is_string() && rule["help"]["text"].take().is_string());
        insta::assert_snapshot!(serde_json::to_string_pretty(&sarif).unwrap(), @r#"
        {
          "$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
          "runs": [
            {
              "columnKind": "unicodeCodePoints",
              "results": [
                {
                  "level": "error",
                  "locations": [
                    {
                      "physicalLocation": {
                        "artifactLocation": {
                          "uri": "my%20map.yaml"
                        },
                        "region": {
                          "endColumn": 5,
                          "endLine": 1,
                          "startColumn": 1,
                          "startLine": 1
                        }
                      }
                    }
                  ],
                  "message": {
                    "text": "`nmae` is not a key\ndid you mean `name`?"
                  },
                  "ruleId": "IC0005",
                  "ruleIndex": 0
                }
              ],
              "tool": {
                "driver": {
                  "name": "interconnect",
                  "rules": [
                    {
                      "help": {
                        "markdown": null,
                        "text": null
                      },
                      "id": "IC0005",
                      "shortDescription": {
                        "text": "a key that nobody reads"
                      }
                    }
                  ],
                  "semanticVersion": null
                }
              }
            }
          ],
          "version": "2.1.0"
        }
        "#);
    }

    #[test]
    fn paths_become_references() {
        assert_eq!(uri("a b/ü:1.yaml"), "a%20b/%C3%BC%3A1.yaml");
        assert_eq!(uri("/etc/x.yaml"), "file:///etc/x.yaml");
    }
}
