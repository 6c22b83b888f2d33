//! The laws of normalisation, and what each kind of value looks like before and after.

use proptest::prelude::*;

use super::*;

const TEXT: FieldType = FieldType::Text { chars_max: 20 };
const WORDS: FieldType = FieldType::Choice(&["open", "won"]);

fn read(field_type: FieldType, raw: &str, country: Option<&str>) -> String {
    match normalise(field_type, raw, country) {
        Ok(value) => written(&value),
        Err(invalid) => invalid.to_string(),
    }
}

#[track_caller]
fn check(field_type: FieldType, cases: &[(&str, &str)]) {
    for (raw, expected) in cases {
        assert_eq!(read(field_type, raw, None), *expected, "{raw}");
    }
}

#[test]
fn blank_is_null_for_every_type() {
    for field_type in all_types() {
        assert_eq!(
            normalise(field_type, " \t\u{a0}\n", None),
            Ok(Value::Null),
            "{field_type:?}"
        );
    }
}

#[test]
fn texts() {
    check(
        TEXT,
        &[
            ("  Nordwind GmbH ", "Nordwind GmbH"),
            ("Hauptstr. 1\r\nHof\r2", "Hauptstr. 1\nHof\n2"),
            ("ÄÖÜäöüÄÖÜäöüÄÖÜäöüÄÖ", "ÄÖÜäöüÄÖÜäöüÄÖÜäöüÄÖ"),
            (
                "ÄÖÜäöüÄÖÜäöüÄÖÜäöüÄÖÜ",
                "`ÄÖÜäöüÄÖÜäöüÄÖÜäöüÄÖÜ` is not text of at most 20 characters",
            ),
            ("a\0b", "`a\0b` is not text without NUL characters"),
        ],
    );
}

#[test]
fn emails() {
    check(
        FieldType::Email,
        &[
            (" Ana.Silva+CRM@Example.COM ", "ana.silva+crm@example.com"),
            ("jo@münchen.example", "jo@xn--mnchen-3ya.example"),
            (
                "ana@localhost",
                "`ana@localhost` is not an e-mail address such as ana@example.com",
            ),
            (
                "Ana <ana@example.com>",
                "`Ana <ana@example.com>` is not an e-mail address such as ana@example.com",
            ),
            (
                "ana@[127.0.0.1]",
                "`ana@[127.0.0.1]` is not an e-mail address such as ana@example.com",
            ),
            (
                "ana example.com",
                "`ana example.com` is not an e-mail address such as ana@example.com",
            ),
            (
                "a@b@example.com",
                "`a@b@example.com` is not an e-mail address such as ana@example.com",
            ),
        ],
    );
}

#[test]
fn phones() {
    for (raw, country, expected) in [
        ("+49 (0)30 / 90 18-20", None, "+493090182 0"),
        ("030 901820", Some("DE"), "+4930901820"),
        ("tel:+49-30-901820", None, "+4930901820"),
        ("0049 30 901820", Some("DE"), "+4930901820"),
        ("(415) 555-2671", Some("US"), "+14155552671"),
        ("+1 415 555 2671 ext. 12", None, "+14155552671"),
        ("+44 20 7946\u{a0}0958", Some("DE"), "+442079460958"),
        ("06 12 34 56 78", Some("FR"), "+33612345678"),
        ("06 698 12345", Some("IT"), "+390669812345"),
    ] {
        assert_eq!(
            read(FieldType::Phone, raw, country),
            expected.replace(' ', ""),
            "{raw}"
        );
    }
    let refused = |raw, country| normalise(FieldType::Phone, raw, country).unwrap_err().to_string();
    assert_eq!(
        refused("030 901820", None),
        "`030 901820` is not a phone number with its country code, such as +49 30 901820, when no country is given"
    );
    assert_eq!(
        refused("12", Some("DE")),
        "`12` is not a phone number such as +49 30 901820"
    );
    assert_eq!(
        refused("1234", Some("US")),
        "`1234` is not a phone number that exists in US"
    );
    assert_eq!(
        refused("+999 123456", None),
        "`+999 123456` is not a phone number that exists, such as +49 30 901820"
    );
    assert_eq!(
        refused("none", Some("US")),
        "`none` is not a phone number such as +49 30 901820"
    );
    assert_eq!(
        refused("030;phone-context=+49", None),
        "`030;phone-context=+49` is not a phone number such as +49 30 901820"
    );
}

#[test]
fn domains_and_urls() {
    check(
        FieldType::Domain,
        &[
            ("Sales.Acme.co.uk", "acme.co.uk"),
            ("https://www.nordwind.example:8443/about?x=1", "nordwind.example"),
            ("ana@mail.acme.com", "acme.com"),
            ("www.bücher.example.", "xn--bcher-kva.example"),
            (
                "co.uk",
                "`co.uk` is not a domain that can be registered, such as example.com",
            ),
            (
                "127.0.0.1",
                "`127.0.0.1` is not a domain such as example.com, not a network address",
            ),
            (
                "not a domain",
                "`not a domain` is not a domain such as example.com",
            ),
        ],
    );
    check(
        FieldType::Url,
        &[
            ("www.Acme.com", "https://www.acme.com"),
            ("HTTP://Acme.com:80/Pfad?q=1#x", "http://acme.com/Pfad?q=1#x"),
            ("https://acme.com/", "https://acme.com"),
            ("acme.com:8443", "https://acme.com:8443"),
            (
                "javascript:alert(1)",
                "`javascript:alert(1)` is not a web address such as https://www.example.com",
            ),
            (
                "ftp://acme.com",
                "`ftp://acme.com` is not a web address that begins with https:// or http://",
            ),
            (
                "https://ana:secret@acme.com",
                "`…@…` is not a web address without user name and password",
            ),
            (
                "acme",
                "`acme` is not a web address such as https://www.example.com",
            ),
        ],
    );
}

#[test]
fn countries_and_subdivisions() {
    check(
        FieldType::Country,
        &[
            ("de", "DE"),
            ("DEU", "DE"),
            ("Germany", "DE"),
            ("united states", "US"),
            ("USA", "US"),
            ("UK", "GB"),
            ("United States of America", "US"),
            ("Cote d'Ivoire", "CI"),
            ("Türkiye", "TR"),
            (
                "Atlantis",
                "`Atlantis` is not a country as ISO 3166 code or English name, such as DE or Germany",
            ),
        ],
    );
    for (raw, country, expected) in [
        ("DE-BE", None, "DE-BE"),
        ("us-ca", Some("US"), "US-CA"),
        ("CA", Some("US"), "US-CA"),
        ("california", Some("US"), "US-CA"),
        ("BE", Some("DE"), "DE-BE"),
        ("Ile-de-France", Some("FR"), "FR-IDF"),
    ] {
        assert_eq!(read(FieldType::Subdivision, raw, country), expected, "{raw}");
    }
    let refused = |raw, country| {
        normalise(FieldType::Subdivision, raw, country)
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        refused("US-CA", Some("DE")),
        "`US-CA` is not a subdivision of DE, which US-CA is not"
    );
    assert_eq!(
        refused("Narnia", Some("US")),
        "`Narnia` is not a subdivision of US as ISO 3166-2 code or name"
    );
    assert_eq!(
        refused("CA", None),
        "`CA` is not a subdivision as ISO 3166-2 code such as DE-BE, when no country is given"
    );
}

#[test]
fn names_of_countries_read_back() {
    for country in rust_iso3166::ALL {
        let name = country_name(country.alpha2).unwrap();
        assert_eq!(read(FieldType::Country, name, None), country.alpha2);
        assert_eq!(read(FieldType::Country, country.name, None), country.alpha2);
    }
    assert_eq!(country_name("GB"), Some("United Kingdom"));
    assert_eq!(country_name("XX"), None);
}

#[test]
fn numbers_and_money() {
    check(
        FieldType::Decimal,
        &[
            ("0.250", "0.25"),
            ("1e2", "100"),
            ("1,5", "`1,5` is not a decimal number with at most 28 digits"),
        ],
    );
    check(
        FieldType::Integer,
        &[
            ("42", "42"),
            ("4.2", "`4.2` is not a whole number that fits 64 bits"),
        ],
    );
    check(
        FieldType::Bool,
        &[
            ("TRUE", "true"),
            ("0", "false"),
            ("yes", "`yes` is not true or false"),
        ],
    );
    check(
        FieldType::Money,
        &[
            ("1250.5 eur", "1250.50 EUR"),
            (
                "1250",
                "`1250` is not an amount and a currency such as `1250.50 EUR`",
            ),
            (
                "1250 EURO",
                "`EURO` is not a currency code of ISO 4217 such as EUR",
            ),
        ],
    );
    assert_eq!(money(" ", "EUR"), Ok(Value::Null));
    assert!(money("1", "").is_err());
}

#[test]
fn days_and_moments() {
    let day = "is not a day as YYYY-MM-DD, without time or zone";
    check(
        FieldType::Date,
        &[
            ("2028-02-29", "2028-02-29"),
            (
                "2027-02-29",
                "`2027-02-29` is not a day that exists, as YYYY-MM-DD",
            ),
            ("2027-02-01T00:00:00Z", &format!("`2027-02-01T00:00:00Z` {day}")),
            ("01.02.2027", &format!("`01.02.2027` {day}")),
            ("2027-2-1", &format!("`2027-2-1` {day}")),
            ("+027-02-01", &format!("`+027-02-01` {day}")),
        ],
    );
    let moment = "is not a moment with its offset, such as 2026-03-31T08:15:00Z";
    check(
        FieldType::Instant,
        &[
            ("2026-11-22T10:15:30.000+0000", "2026-11-22T10:15:30Z"),
            (
                "2026-11-22T10:15:30.123456789+02:00",
                "2026-11-22T08:15:30.123456789Z",
            ),
            ("2026-11-22T10:15:30Z", "2026-11-22T10:15:30Z"),
            ("2026-11-22", &format!("`2026-11-22` {moment}")),
            ("2026-11-22T10:15:30", &format!("`2026-11-22T10:15:30` {moment}")),
            (
                "2026-11-22 10:15:30Z",
                &format!("`2026-11-22 10:15:30Z` {moment}"),
            ),
            ("1795342530000", &format!("`1795342530000` {moment}")),
        ],
    );
}

#[test]
fn words_and_references() {
    check(WORDS, &[("won", "won"), ("Won", "`Won` is not one of open, won")]);
    check(
        FieldType::Choices(&["sales", "service"]),
        &[
            ("service; sales;service", "sales;service"),
            (" ; ", ""),
            ("sales;art", "`art` is not one of sales, service"),
        ],
    );
    check(FieldType::Set, &[("b; a;;b", "a;b")]);
    let id = RecordId::new(Kind::Deal, crate::uuid_from(Timestamp::UNIX_EPOCH, [3; 10])).to_string();
    assert_eq!(read(FieldType::Reference(Kind::Deal), &id, None), id);
    assert!(
        read(FieldType::Reference(Kind::Partner), &id, None).ends_with("is not the id of a partner, ptn_…")
    );
}

#[test]
fn too_much_text_is_refused_whatever_the_type() {
    let long = "9".repeat(RAW_BYTES_MAX + 1);
    for field_type in all_types() {
        let message = normalise(field_type, &long, Some("US")).unwrap_err().to_string();
        assert!(
            message.contains("at most 131072 bytes") && message.len() < 400,
            "{message}"
        );
    }
}

fn all_types() -> Vec<FieldType> {
    use FieldType::*;
    let mut types = vec![
        TEXT,
        Email,
        Phone,
        Domain,
        Url,
        Country,
        Subdivision,
        Money,
        Decimal,
        Integer,
        Bool,
    ];
    types.extend([
        Date,
        Instant,
        WORDS,
        Choices(&["open", "won"]),
        Set,
        Reference(Kind::Deal),
    ]);
    types
}

/// Texts that look like what the types expect, so that many of them are accepted.
fn likely() -> impl Strategy<Value = String> {
    prop_oneof![
        "\\PC{0,40}",
        "[ +0-9()./#x,-]{3,24}",
        "\\+[1-9][0-9]{5,14}",
        "0[0-9]{5,12}",
        "[a-zA-Zäöüß0-9.-]{1,12}(@|\\.|://)[a-zA-Zäöü0-9.-]{1,20}(\\.com|\\.co\\.uk|/[a-z?#%]{0,5}|:[0-9]{1,5})?",
        "[A-Z]{2}(-[A-Z0-9]{1,3})?",
        "-?[0-9]{1,20}(\\.[0-9]{1,9})?([eE]-?[0-9]{1,2})?( (EUR|JPY|BHD))?",
        "[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}:[0-9]{2}(\\.[0-9]{1,9})?(Z|\\+0[0-9]:?00))?",
        "(open|won|;| )(open|won|;| )",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    /// What was accepted once is accepted unchanged for ever, whatever country is around.
    #[test]
    fn normalising_twice_changes_nothing(raw in likely(), which in 0usize..17, country in prop::option::of("(DE|US|IT|FR|HU|BY|GB)")) {
        let field_type = all_types()[which];
        if let Ok(value) = normalise(field_type, &raw, country.as_deref()) {
            let text = written(&value);
            prop_assert_eq!(normalise(field_type, &text, None), Ok(value.clone()), "{} {}", raw, text);
            if field_type == FieldType::Phone {
                prop_assert_eq!(normalise(field_type, &text, Some("BR")), Ok(value));
            }
        }
    }
}
