//! Phone numbers to E.164, by the metadata of libphonenumber.

use std::sync::{LazyLock, PoisonError};

use phonenumber::metadata::{DATABASE, Database};
use phonenumber::{Mode, country};

use crate::Invalid;

/// Characters that a phone number may have as written; longer text is no phone number.
const PHONE_CHARS_MAX: usize = 48;
/// Compiled patterns that are kept, some 100 KiB each and a handful a country; phone numbers of the whole world need
/// fewer than these. With the crate's own 100 a sync of many countries compiles all day (measured: 3.5 ms a number
/// instead of 0.03 ms).
const PATTERNS_MAX: usize = 1024;

static METADATA: LazyLock<&Database> = LazyLock::new(|| {
    let cache = DATABASE.cache();
    // A thread that panicked while it held the lock leaves a cache behind that still only holds whole patterns.
    cache
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .set_capacity(PATTERNS_MAX);
    &DATABASE
});

/// The number as E.164; only numbers that can be dialled are accepted.
///
/// An extension is read over: E.164 has no place for it, and a mapping never writes a number back that reads the
/// same, so the system that holds the extension keeps it.
pub(super) fn phone(raw: &str, country: Option<&str>) -> Result<String, Invalid> {
    let cleaned = clean(raw).ok_or_else(|| Invalid::new(raw, "a phone number such as +49 30 901820"))?;
    let international = cleaned.starts_with('+');
    // With a region at hand the metadata would strip that region's prefix from a number of another country.
    let region = country
        .filter(|_| !international)
        .and_then(|code| code.parse::<country::Id>().ok());
    if !international && region.is_none() {
        return Err(Invalid::new(
            raw,
            "a phone number with its country code, such as +49 30 901820, when no country is given",
        ));
    }
    let number = e164(&cleaned, region).ok_or_else(|| match country {
        Some(code) if !international => Invalid::new(raw, format!("a phone number that exists in {code}")),
        _ => Invalid::new(raw, "a phone number that exists, such as +49 30 901820"),
    })?;
    // The metadata strips national prefixes, and for a few countries would do so again when it reads its own answer.
    // Such a number would change each time it is synced.
    let stable = number == cleaned || e164(&number, None).as_ref() == Some(&number);
    if stable {
        Ok(number)
    } else {
        Err(Invalid::new(
            raw,
            format!("a phone number without national prefix; try {number}"),
        ))
    }
}

fn e164(text: &str, region: Option<country::Id>) -> Option<String> {
    let number = phonenumber::parse_with(&METADATA, region, text).ok()?;
    phonenumber::is_valid_with(&METADATA, &number).then(|| number.format().mode(Mode::E164).to_string())
}

/// The ASCII form with plain blanks and hyphens; nothing when there is anything no phone number has.
fn clean(raw: &str) -> Option<String> {
    if raw.len() > PHONE_CHARS_MAX * 4 || raw.chars().count() > PHONE_CHARS_MAX {
        return None;
    }
    let mut digits = 0;
    let mut cleaned = String::with_capacity(raw.len());
    for c in raw.strip_prefix("tel:").unwrap_or(raw).chars() {
        match c {
            '0'..='9' => digits += 1,
            '+' | ' ' | '-' | '.' | '/' | '(' | ')' | '#' | ',' | 'a'..='z' | 'A'..='Z' => {}
            '\u{a0}' | '\u{2007}' | '\u{202f}' | '\u{200b}' | '\t' => {
                cleaned.push(' ');
                continue;
            }
            '\u{2010}'..='\u{2015}' | '\u{2212}' => {
                cleaned.push('-');
                continue;
            }
            // Bidirectional marks that copying from a web page brings along.
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' => continue,
            _ => return None,
        }
        cleaned.push(c);
    }
    (digits >= 3).then_some(cleaned)
}
