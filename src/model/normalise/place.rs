//! Countries and subdivisions by ISO 3166.

use std::collections::HashMap;
use std::sync::LazyLock;

use rust_iso3166::iso3166_2::{self, Subdivision};

use crate::Invalid;

/// Names that people and systems use where ISO 3166's own short name is another one.
/// The first name of a country is also the one that is written, see [`country_name`].
const USUAL_NAMES: &[(&str, &str)] = &[
    ("BN", "Brunei"),
    ("BO", "Bolivia"),
    ("CD", "Democratic Republic of the Congo"),
    ("CD", "DR Congo"),
    ("CI", "Ivory Coast"),
    ("CV", "Cabo Verde"),
    ("CV", "Cape Verde"),
    ("CZ", "Czechia"),
    ("CZ", "Czech Republic"),
    ("FK", "Falkland Islands"),
    ("FM", "Micronesia"),
    ("GB", "United Kingdom"),
    ("GB", "UK"),
    ("GB", "Great Britain"),
    ("IR", "Iran"),
    ("KP", "North Korea"),
    ("KR", "South Korea"),
    ("KR", "Korea, Republic of"),
    ("LA", "Laos"),
    ("MD", "Moldova"),
    ("MK", "North Macedonia"),
    ("MK", "Macedonia"),
    ("NL", "Netherlands"),
    ("NL", "The Netherlands"),
    ("NL", "Holland"),
    ("PS", "Palestine"),
    ("RU", "Russia"),
    ("SY", "Syria"),
    ("SZ", "Eswatini"),
    ("SZ", "Swaziland"),
    ("TR", "Turkey"),
    ("TW", "Taiwan"),
    ("TZ", "Tanzania"),
    ("US", "United States"),
    ("US", "USA"),
    ("US", "U.S.A."),
    ("US", "U.S."),
    ("VA", "Vatican City"),
    ("VE", "Venezuela"),
    ("VG", "British Virgin Islands"),
    ("VI", "U.S. Virgin Islands"),
    ("VN", "Vietnam"),
];

/// The country of an alpha-2 code, an alpha-3 code or an English name, in any case.
pub(super) fn country(raw: &str) -> Result<&'static str, Invalid> {
    let code = || raw.to_ascii_uppercase();
    let found = match raw.len() {
        2 => rust_iso3166::from_alpha2(&code()).map(|country| country.alpha2),
        3 => rust_iso3166::from_alpha3(&code()).map(|country| country.alpha2),
        _ => None,
    };
    found.or_else(|| named(raw)).ok_or_else(|| {
        Invalid::new(
            raw,
            "a country as ISO 3166 code or English name, such as DE or Germany",
        )
    })
}

fn named(name: &str) -> Option<&'static str> {
    // Of one name the last one stays: a usual one, and the first of its list.
    static BY_NAME: LazyLock<HashMap<String, &'static str>> = LazyLock::new(|| {
        let own = rust_iso3166::ALL
            .iter()
            .rev()
            .map(|country| (country.name, country.alpha2));
        let usual = USUAL_NAMES.iter().rev().map(|(code, name)| (*name, *code));
        own.chain(usual)
            .map(|(name, code)| (name.chars().flat_map(bare).collect(), code))
            .collect()
    });
    let name: String = name.chars().flat_map(bare).collect();
    BY_NAME.get(&name).copied()
}

/// The English name that people use for a country of ISO 3166-1 alpha-2: `United Kingdom` for `GB`.
pub fn country_name(alpha2: &str) -> Option<&'static str> {
    let usual = USUAL_NAMES
        .iter()
        .find(|(code, _)| *code == alpha2)
        .map(|(_, name)| *name);
    usual.or_else(|| rust_iso3166::from_alpha2(alpha2).map(|country| country.name))
}

/// The alpha-3 code of a country of ISO 3166-1 alpha-2: `GBR` for `GB`.
pub fn country_alpha3(alpha2: &str) -> Option<&'static str> {
    rust_iso3166::from_alpha2(alpha2).map(|country| country.alpha3)
}

/// The name of a subdivision of ISO 3166-2: `California` for `US-CA`.
pub fn subdivision_name(code: &str) -> Option<&'static str> {
    iso3166_2::from_code(code).map(|subdivision| subdivision.name)
}

/// The subdivision of a full code (`DE-BE`), or of a bare code (`BE`) or name (`Berlin`) within a country.
pub(super) fn subdivision(raw: &str, country: Option<&str>) -> Result<&'static str, Invalid> {
    let code = raw.to_ascii_uppercase();
    let found = iso3166_2::from_code(&code).or_else(|| within(raw, &code, country?));
    match (found, country) {
        (Some(found), Some(country)) if found.country_code != country => Err(Invalid::new(
            raw,
            format!("a subdivision of {country}, which {} is not", found.code),
        )),
        (Some(found), _) => Ok(found.code),
        (None, Some(country)) => Err(Invalid::new(
            raw,
            format!("a subdivision of {country} as ISO 3166-2 code or name"),
        )),
        (None, None) => Err(Invalid::new(
            raw,
            "a subdivision as ISO 3166-2 code such as DE-BE, when no country is given",
        )),
    }
}

fn within(raw: &str, code: &str, country: &str) -> Option<Subdivision> {
    iso3166_2::from_code(&format!("{country}-{code}")).or_else(|| {
        let country = rust_iso3166::from_alpha2(country)?;
        country
            .subdivisions()?
            .iter()
            .copied()
            .find(|subdivision| same(subdivision.name, raw))
    })
}

/// Whether two names are the same but for case and Latin accents: `Ile-de-France` is `Île-de-France`.
fn same(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b)
        || (!(a.is_ascii() && b.is_ascii()) && a.chars().flat_map(bare).eq(b.chars().flat_map(bare)))
}

fn bare(c: char) -> impl Iterator<Item = char> {
    let c = match c {
        'À'..='Å' | 'à'..='å' | 'Ā' | 'ā' | 'Ă' | 'ă' | 'Ą' | 'ą' => 'a',
        'Ç' | 'ç' | 'Ć' | 'ć' | 'Č' | 'č' => 'c',
        'È'..='Ë' | 'è'..='ë' | 'Ē' | 'ē' | 'Ę' | 'ę' | 'Ě' | 'ě' => 'e',
        'Ì'..='Ï' | 'ì'..='ï' | 'Ī' | 'ī' | 'İ' => 'i',
        'Ñ' | 'ñ' | 'Ń' | 'ń' | 'Ņ' | 'ņ' | 'Ň' | 'ň' => 'n',
        'Ò'..='Ö' | 'ò'..='ö' | 'Ø' | 'ø' | 'Ō' | 'ō' | 'Ő' | 'ő' => 'o',
        'Ù'..='Ü' | 'ù'..='ü' | 'Ū' | 'ū' | 'Ű' | 'ű' | 'Ů' | 'ů' => 'u',
        'Ł' | 'ł' => 'l',
        'Ř' | 'ř' => 'r',
        'Ś' | 'ś' | 'Š' | 'š' | 'Ş' | 'ş' => 's',
        'Ý' | 'ý' => 'y',
        'Ź' | 'ź' | 'Ż' | 'ż' | 'Ž' | 'ž' => 'z',
        other => other,
    };
    c.to_lowercase()
}
