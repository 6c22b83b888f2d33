//! `retention`: how long events are kept.

use diagnostic::{Fields, Report};
use relay::{RETENTION_MS_MIN, RetentionSettings};

use super::span_ms;

/// What keeps events for ever.
const FOREVER: &str = "forever";

pub(super) fn retention(fields: &mut Fields<'_>, report: &mut Report) -> RetentionSettings {
    let mut retention = RetentionSettings::default();
    let Some(node) = fields.optional("retention") else {
        return retention;
    };
    let Some(mut inner) = Fields::open(node, "`retention`", fields.source(), report) else {
        return retention;
    };
    if let Some(kept) = kept(&mut inner, "arrived", report) {
        retention.arrived_ms = kept;
    }
    if let Some(kept) = kept(&mut inner, "dead", report) {
        retention.dead_ms = kept;
    }
    inner.finish(report);
    retention
}

/// A span, or for ever; nothing when nothing is said.
fn kept(fields: &mut Fields<'_>, key: &'static str, report: &mut Report) -> Option<Option<u64>> {
    let text = fields.optional_text(key, report)?;
    if text == FOREVER {
        return Some(None);
    }
    let ms = span_ms(text).filter(|ms| *ms >= RETENTION_MS_MIN);
    if ms.is_none() {
        let place = fields.optional(key).map_or(fields.place(), |node| node.place);
        report.error(
            "IC0130",
            fields.source(),
            place,
            format!("`{text}` is not how long events can be kept"),
            "write a span of a day or more, `30d`, or `forever`",
        );
    }
    ms.map(Some)
}

#[cfg(test)]
mod tests {
    use crate::config::Config;
    use diagnostic::{Report, Source};

    fn read(text: &str) -> (Option<Config>, Report) {
        let mut report = Report::new();
        let config = Config::read(&Source::new("interconnect.yaml", text), &mut report);
        (config, report)
    }

    #[test]
    fn events_are_kept_for_a_day_at_least_or_for_ever() {
        let (config, report) = read("retention: { arrived: 2d, dead: forever }\n");
        assert!(report.is_empty(), "{}", report.render(false));
        let retention = config.unwrap().retention;
        assert_eq!(
            (retention.arrived_ms, retention.dead_ms),
            (Some(2 * 86_400_000), None)
        );
        let (_, report) = read("retention: { arrived: 1h }\n");
        insta::assert_snapshot!(report.render(false), @r"
        error[IC0130]: `1h` is not how long events can be kept
         --> interconnect.yaml:1:23
          |
        1 | retention: { arrived: 1h }
          |                       ^^
          |
          = help: write a span of a day or more, `30d`, or `forever`
        ");
    }
}
