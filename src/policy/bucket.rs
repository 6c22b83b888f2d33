//! [`Bucket`]: a value told by the range that it lies in.
//!
//! What stands in the place of a value is a text that names the range, so that nobody takes it for the value; what is
//! such a text already stays as it is. Blank stays blank. What has no range, a text among amounts, is left out.

use std::fmt;

use jiff::civil::Date;
use rust_decimal::Decimal;
use serde_json::Value as Json;

/// Bounds that a list of bands may have, at most.
pub const BOUNDS_MAX: usize = 20;

/// Ranges that values are told by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bucket {
    /// Numbers, between these bounds, ascending: `10000..50000` holds its lower bound and not its upper one.
    Bands(Vec<i64>),
    /// Days and moments, by calendar quarter: `2026-Q4`.
    Quarter,
    /// Days and moments, by month: `2026-11`.
    Month,
    /// Days and moments, by year: `2026`.
    Year,
    /// The stage of a deal, by how it ended: `open`, `won` or `lost`.
    Outcome,
}

impl Bucket {
    /// Those that have a word, in the configuration and in what is kept.
    pub const WORDS: [(&'static str, Bucket); 4] = [
        ("quarter", Bucket::Quarter),
        ("month", Bucket::Month),
        ("year", Bucket::Year),
        ("outcome", Bucket::Outcome),
    ];

    /// Bands between ascending bounds; nothing when there are none, too many, or they do not ascend.
    pub fn bands(bounds: Vec<i64>) -> Option<Bucket> {
        let ascend = bounds.windows(2).all(|pair| matches!(pair, [a, b] if a < b));
        let fits = !bounds.is_empty() && bounds.len() <= BOUNDS_MAX && ascend;
        fits.then_some(Bucket::Bands(bounds))
    }

    /// What is told of a value; nothing when it has no range.
    pub(crate) fn tell(&self, value: &Json) -> Option<Json> {
        let told = match (self, value) {
            (_, Json::Null) => return Some(Json::Null),
            (Bucket::Bands(bounds), Json::Number(number)) => band(bounds, &number.to_string())?,
            (Bucket::Bands(bounds), Json::String(text)) => labels(bounds)
                .find(|label| label == text)
                .or_else(|| band(bounds, text))?,
            (Bucket::Outcome, Json::String(stage)) => outcome(stage)?.to_owned(),
            (_, Json::String(text)) => self.span(text)?,
            _ => return None,
        };
        Some(Json::String(told))
    }

    /// The span of time that a day or a moment lies in.
    fn span(&self, text: &str) -> Option<String> {
        // A span that was told before reads as its first day.
        let day = text.get(..10).unwrap_or(text);
        let whole = |year: &str, month: i8| Date::new(year.parse().ok()?, month, 1).ok();
        let date = match (self, text.split_once('-')) {
            (Bucket::Year, None) if text.len() == 4 => whole(text, 1),
            (Bucket::Month, Some((year, month))) if text.len() == 7 => whole(year, month.parse().ok()?),
            (Bucket::Quarter, Some((year, quarter))) if text.len() == 7 => {
                let number: i8 = quarter.strip_prefix('Q')?.parse().ok()?;
                whole(year, (1..=4).contains(&number).then_some(number * 3)?)
            }
            _ => day.parse().ok(),
        }?;
        Some(match self {
            Bucket::Year => format!("{:04}", date.year()),
            Bucket::Month => format!("{:04}-{:02}", date.year(), date.month()),
            _ => format!("{:04}-Q{}", date.year(), (date.month() + 2) / 3),
        })
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bucket::Bands(bounds) => write!(f, "{bounds:?}"),
            word => {
                let named = Bucket::WORDS.iter().find(|(_, bucket)| bucket == word);
                f.write_str(named.map_or("", |(word, _)| word))
            }
        }
    }
}

/// How a stage of a deal ended; a deal is won from `committed` on.
fn outcome(stage: &str) -> Option<&'static str> {
    match stage {
        "prospect" | "qualified" | "technical_validation" | "business_validation" | "open" => Some("open"),
        "committed" | "launched" | "won" => Some("won"),
        "closed_lost" | "lost" => Some("lost"),
        _ => None,
    }
}

fn band(bounds: &[i64], number: &str) -> Option<String> {
    let number = Decimal::from_str_exact(number)
        .or_else(|_| Decimal::from_scientific(number))
        .ok()?;
    let below = bounds
        .iter()
        .filter(|bound| Decimal::from(**bound) <= number)
        .count();
    labels(bounds).nth(below)
}

/// The names of all bands, in order.
fn labels(bounds: &[i64]) -> impl Iterator<Item = String> {
    (0..=bounds.len()).map(move |number| {
        let text = |bound: Option<&i64>| bound.map(ToString::to_string).unwrap_or_default();
        let lower = number.checked_sub(1).and_then(|before| bounds.get(before));
        format!("{}..{}", text(lower), text(bounds.get(number)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_told_by_their_range_and_ranges_stay() {
        let bands = Bucket::bands(vec![0, 10_000, 50_000]).unwrap();
        for (bucket, value, told) in [
            (&bands, json!("9999.99"), Some("0..10000")),
            (&bands, json!(10_000), Some("10000..50000")),
            (&bands, json!(1.2e9), Some("50000..")),
            (&bands, json!("-1"), Some("..0")),
            (&bands, json!("much"), None),
            (&bands, json!(true), None),
            (&bands, json!("0..10000 and more"), None),
            (&Bucket::Quarter, json!("2026-11-23"), Some("2026-Q4")),
            (&Bucket::Quarter, json!("2026-01-01T00:00:00Z"), Some("2026-Q1")),
            (&Bucket::Quarter, json!("2026-Q5"), None),
            (&Bucket::Month, json!("2026-11-23"), Some("2026-11")),
            (&Bucket::Month, json!("2026-13-23"), None),
            (&Bucket::Year, json!("2026-11-23"), Some("2026")),
            (&Bucket::Year, json!("at 10"), None),
            (&Bucket::Year, json!("naïve tëxt"), None),
            (&Bucket::Outcome, json!("launched"), Some("won")),
            (&Bucket::Outcome, json!("qualified"), Some("open")),
            (&Bucket::Outcome, json!("closed_lost"), Some("lost")),
            (&Bucket::Outcome, json!("secretly"), None),
        ] {
            let found = bucket.tell(&value);
            assert_eq!(found, told.map(Json::from), "{bucket} of {value}");
            if let Some(found) = found {
                assert_eq!(bucket.tell(&found), Some(found.clone()), "{bucket} of {found}");
            }
        }
        assert_eq!(bands.tell(&Json::Null), Some(Json::Null));
        for bad in [vec![], vec![2, 1], vec![1, 1], (0..21).collect()] {
            assert_eq!(Bucket::bands(bad), None);
        }
    }

    #[test]
    fn every_stage_of_a_deal_has_an_outcome() {
        let stage = model::Kind::Deal.field("stage").unwrap();
        let model::FieldType::Choice(words) = stage.field_type else {
            panic!("a stage is one of its words")
        };
        for word in words {
            assert!(outcome(word).is_some(), "{word}");
        }
    }
}
