//! [`Zone`]: systems that write the time of day of a place, without saying which.
//!
//! A manifest names the place (`zone: "{{ config.time_zone }}"`); times without an offset are read as times there, and
//! windows are asked for in times there.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::Value as Json;

use crate::window::Window;

/// Where a system's clock hangs.
#[derive(Clone, Debug)]
pub(crate) struct Zone(TimeZone);

impl Zone {
    /// The zone of an IANA name.
    pub(crate) fn of(name: &str) -> Result<Zone, String> {
        TimeZone::get(name)
            .map(Zone)
            .map_err(|_| format!("`{name}` is no time zone: write an IANA name such as Europe/Berlin or UTC"))
    }

    /// The moment that a text without offset means. Of the hour that comes twice in autumn it is the first.
    pub(crate) fn moment(&self, text: &str) -> Option<Timestamp> {
        let local: DateTime = text.replacen(' ', "T", 1).parse().ok()?;
        self.0.to_timestamp(local).ok()
    }

    /// The span of local times in which everything of a window lies: longer than the window when clocks are changed in
    /// it, so that nothing of the hour that comes twice is left out.
    pub(crate) fn span(&self, window: &Window) -> (String, String) {
        let (from, to) = (self.0.to_datetime(window.from), self.0.to_datetime(window.to));
        let offset = |moment: Timestamp| i64::from(self.0.to_offset(moment).seconds());
        let changed = jiff::SignedDuration::from_secs((offset(window.from) - offset(window.to)).abs());
        let text = |local: DateTime| local.strftime("%Y-%m-%dT%H:%M:%S.%3f").to_string();
        (
            text(from.min(to).saturating_sub(changed)),
            text(from.max(to).saturating_add(changed)),
        )
    }
}

/// A moment as systems write it: with `Z`, with `+0000`, as milliseconds since 1970, or, where the zone is known, as a
/// local time.
pub(crate) fn moment(value: &Json, zone: Option<&Zone>) -> Option<Timestamp> {
    match value {
        Json::String(text) => text
            .parse()
            .ok()
            .or_else(|| Timestamp::from_millisecond(text.parse().ok()?).ok())
            .or_else(|| zone?.moment(text)),
        Json::Number(number) => Timestamp::from_millisecond(number.as_i64()?).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(from: &str, to: &str) -> Window {
        Window {
            from: from.parse().unwrap(),
            to: to.parse().unwrap(),
        }
    }

    #[test]
    fn local_times_are_read_at_their_place() {
        let zone = Zone::of("Asia/Kolkata").unwrap();
        let read = |text: &str| moment(&Json::from(text), Some(&zone)).map(|moment| moment.to_string());
        let expected = Some("2026-11-23T03:39:36.123456Z".to_owned());
        assert_eq!(read("2026-11-23 09:09:36.123456"), expected);
        assert_eq!(read("2026-11-23T09:09:36.123456"), expected);
        assert_eq!(
            read("2026-11-23T09:09:36.123456+05:30"),
            expected,
            "an offset says more than the place"
        );
        assert_eq!(read("1795405176123"), Some("2026-11-23T03:39:36.123Z".to_owned()));
        assert_eq!(read("yesterday"), None);
        assert_eq!(
            moment(&Json::from("2026-11-23 09:09:36"), None),
            None,
            "a place is not guessed"
        );
        assert!(Zone::of("Mars/Olympus").unwrap_err().contains("Europe/Berlin"));
    }

    #[test]
    fn a_span_covers_its_window_when_clocks_are_changed() {
        let zone = Zone::of("Europe/Berlin").unwrap();
        let span = |from, to| zone.span(&window(from, to));
        let plain = (
            "2026-11-23T11:00:00.000".to_owned(),
            "2026-11-23T11:30:00.500".to_owned(),
        );
        assert_eq!(span("2026-11-23T10:00:00Z", "2026-11-23T10:30:00.5Z"), plain);
        // 02:30 summer time to 02:30 winter time: every local time from 02:00 to 03:00 comes in it.
        let autumn = (
            "2026-10-25T01:30:00.000".to_owned(),
            "2026-10-25T03:30:00.000".to_owned(),
        );
        assert_eq!(span("2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"), autumn);
    }
}
