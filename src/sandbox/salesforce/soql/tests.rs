//! The parser by its trees and complaints; the evaluator by queries over a few rows, and by laws.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::parser::{Comparison, Condition, Literal, Query, parse};
use super::plan::{Plan, show};
use crate::salesforce::rows::{By, Org};
use crate::salesforce::seed::{Users, furnish};

const NOW_MS: i64 = 1_795_000_000_000;

fn org() -> (Org, Users) {
    let mut org = Org::new(1);
    let users = furnish(&mut org, NOW_MS);
    (org, users)
}

fn add(org: &mut Org, users: &Users, object: &str, row: &Value) -> String {
    let table = org.schema.at(object);
    let by = By {
        user: &users.admin,
        now_ms: NOW_MS,
        origin: "",
        faults: None,
    };
    org.create(table, row.as_object().unwrap(), &by).unwrap()
}

/// Three deals of two accounts, one of them without an account and an amount.
fn deals() -> Org {
    let (mut org, users) = org();
    let acme = add(&mut org, &users, "Account", &json!({ "Name": "Acme GmbH" }));
    let zeta = add(&mut org, &users, "Account", &json!({ "Name": "zeta" }));
    for row in [
        json!({ "Name": "Big", "StageName": "Prospecting", "CloseDate": "2026-12-01", "Amount": 10, "AccountId": acme }),
        json!({ "Name": "bigger", "StageName": "Closed Won", "CloseDate": "2026-11-30", "Amount": 9.5, "AccountId": zeta }),
        json!({ "Name": "O'Neil 100%", "StageName": "Qualification", "CloseDate": "2027-01-01" }),
    ] {
        add(&mut org, &users, "Opportunity", &row);
    }
    org
}

fn run(org: &Org, text: &str) -> Result<Vec<Value>, String> {
    let plan = parse(text)
        .and_then(|query| Plan::new(&query, text))
        .map_err(|refusal| format!("{}: {}", refusal.code, refusal.message))?;
    let rows = plan.run(org, false);
    Ok(rows
        .into_iter()
        .map(|row| show(org, plan.table, row, &plan.items, "v68.0"))
        .collect())
}

fn names(text: &str) -> Vec<String> {
    let rows = run(&deals(), text).unwrap_or_else(|error| panic!("{text}: {error}"));
    rows.iter()
        .map(|row| row["Name"].as_str().unwrap().to_owned())
        .collect()
}

fn complaint(text: &str) -> String {
    run(&deals(), text).expect_err(text)
}

#[test]
fn conditions_choose_rows() {
    let chosen = |condition: &str| {
        names(&format!(
            "SELECT Name FROM Opportunity WHERE {condition} ORDER BY Name"
        ))
    };
    assert_eq!(chosen("Amount >= 9.50"), ["Big", "bigger"]);
    assert_eq!(chosen("Amount = null"), ["O'Neil 100%"]);
    assert_eq!(
        chosen("Amount != 10"),
        ["bigger", "O'Neil 100%"],
        "nothing is not ten"
    );
    assert_eq!(
        chosen("Amount > 9.6 OR StageName = 'closed won'"),
        ["Big", "bigger"],
        "texts have no case"
    );
    assert_eq!(
        chosen("NOT (Amount > 9.6 OR StageName = 'Closed Won')"),
        ["O'Neil 100%"]
    );
    assert_eq!(chosen("Name LIKE 'big%'"), ["Big", "bigger"]);
    assert_eq!(chosen("Name LIKE '%\\%'"), ["O'Neil 100%"]);
    assert_eq!(chosen("Name LIKE 'b_g'"), ["Big"]);
    assert_eq!(chosen("Name = 'O\\'Neil 100%'"), ["O'Neil 100%"]);
    assert_eq!(chosen("Name IN ('Big', 'nobody')"), ["Big"]);
    assert_eq!(chosen("Name NOT IN ('Big')"), ["bigger", "O'Neil 100%"]);
    assert_eq!(chosen("CloseDate < 2026-12-01"), ["bigger"]);
    assert_eq!(
        chosen("CreatedDate >= 2026-11-23T00:00:00.000000Z AND IsWon = true"),
        Vec::<String>::new()
    );
    assert_eq!(
        chosen("CreatedDate >= 2026-11-01T01:00:00+01:00 AND IsWon = true"),
        ["bigger"]
    );
    assert_eq!(chosen("Account.Name = 'acme gmbh'"), ["Big"]);
    assert_eq!(chosen("Account.Name = null"), ["O'Neil 100%"]);
    assert_eq!(
        chosen("Owner.Username = 'admin@sandbox.example' AND (IsClosed = true OR Amount = null)"),
        ["bigger", "O'Neil 100%"]
    );
}

#[test]
fn order_limit_and_offset() {
    assert_eq!(
        names("SELECT Name FROM Opportunity ORDER BY Amount"),
        ["O'Neil 100%", "bigger", "Big"]
    );
    assert_eq!(
        names("SELECT Name FROM Opportunity ORDER BY Amount NULLS LAST"),
        ["bigger", "Big", "O'Neil 100%"]
    );
    assert_eq!(
        names("SELECT Name FROM Opportunity ORDER BY Amount DESC NULLS LAST LIMIT 1"),
        ["Big"]
    );
    assert_eq!(
        names("select name from opportunity o order by o.account.name desc nulls last, Id limit 2 offset 1"),
        ["Big", "O'Neil 100%"]
    );
    assert_eq!(
        names("SELECT Name FROM Opportunity ORDER BY SystemModstamp DESC, Id"),
        ["O'Neil 100%", "bigger", "Big"]
    );
}

#[test]
fn an_answer_shows_fields_and_parents_as_recorded() {
    let rows = run(&deals(), "SELECT Id, Amount, Account.Name, Account.Owner.Name FROM Opportunity WHERE Name IN ('Big','O\\'Neil 100%')").unwrap();
    let big = &rows[0];
    assert_eq!(big["attributes"]["type"], "Opportunity");
    assert_eq!(
        big["attributes"]["url"],
        format!(
            "/services/data/v68.0/sobjects/Opportunity/{}",
            big["Id"].as_str().unwrap()
        )
    );
    assert_eq!(big["Amount"].to_string(), "10.0");
    assert_eq!(big["Account"]["Name"], "Acme GmbH");
    assert_eq!(big["Account"]["Owner"]["Name"], "Ada Admin");
    assert_eq!(big["Account"]["attributes"]["type"], "Account");
    assert_eq!(rows[1]["Account"], Value::Null);
    let keys: Vec<_> = big.as_object().unwrap().keys().collect();
    assert_eq!(keys.len(), 4, "{keys:?}");
}

#[test]
fn queries_that_salesforce_refuses_are_refused_in_its_words() {
    assert_eq!(
        complaint("SELECT AccountNumer FROM Account"),
        "INVALID_FIELD: No such column 'AccountNumer' on sobject of type Account"
    );
    insta::assert_snapshot!(complaint("SELECT Id,Name,BillingCity,IsDeleted FROM Accout"), @r"
    INVALID_TYPE: 
    Name,BillingCity,IsDeleted FROM Accout
                                    ^
    ERROR at Row:1:Column:43
    sObject type 'Accout' is not supported. If you are attempting to use a custom object, be sure to append the '__c' after the entity name. Please reference your WSDL or the describe call for the appropriate names.
    ");
    assert_eq!(
        complaint("SELECT Id FROM Lead WHERE SystemModstamp > '2026-01-01T00:00:00Z'"),
        "INVALID_FIELD: value of filter criterion for field 'SystemModstamp' must be of type dateTime and should not be enclosed in quotes"
    );
    assert_eq!(
        complaint("SELECT Id FROM Lead WHERE Company = 7"),
        "INVALID_FIELD: value of filter criterion for field 'Company' must be of type string and should be enclosed in quotes"
    );
    for (text, code) in [
        (
            "SELECT Id FROM Lead WHERE Company = 'a' AND Name = 'b' OR Name = 'c'",
            "MALFORMED_QUERY",
        ),
        ("SELECT Id FROM Lead WHERE Company = 'a", "MALFORMED_QUERY"),
        ("SELECT Id, Id FROM Lead", "MALFORMED_QUERY"),
        ("SELECT Id FROM Lead WHERE", "MALFORMED_QUERY"),
        ("SELECT Id FROM Lead LIMIT many", "MALFORMED_QUERY"),
        ("SELECT Id FROM Lead ORDER BY Name garbage", "MALFORMED_QUERY"),
        ("SELECT (SELECT Id FROM Contacts) FROM Account", "MALFORMED_QUERY"),
        (
            "SELECT StageName, COUNT(Id) FROM Opportunity GROUP BY StageName",
            "MALFORMED_QUERY",
        ),
        ("SELECT FIELDS(ALL) FROM Lead", "MALFORMED_QUERY"),
        ("DELETE FROM Lead", "MALFORMED_QUERY"),
        ("SELECT Id FROM Lead WHERE Description LIKE 'a%'", "INVALID_FIELD"),
        ("SELECT Id FROM Lead WHERE Partner.Name = 'a'", "INVALID_FIELD"),
        (
            "SELECT Id FROM Lead WHERE IsDeleted > true",
            "INVALID_QUERY_FILTER_OPERATOR",
        ),
        (
            "SELECT Id FROM Opportunity WHERE Amount LIKE '1%'",
            "INVALID_QUERY_FILTER_OPERATOR",
        ),
        ("SELECT Id FROM Lead OFFSET 2001", "NUMBER_OUTSIDE_VALID_RANGE"),
    ] {
        assert!(complaint(text).starts_with(code), "{text}: {}", complaint(text));
    }
    let deep = format!(
        "SELECT Id FROM Lead WHERE {}Name = 'a'{}",
        "(".repeat(500),
        ")".repeat(500)
    );
    assert!(complaint(&deep).starts_with("QUERY_TOO_COMPLICATED"));
}

#[test]
fn a_count_counts_and_all_fields_are_all() {
    let text = "SELECT COUNT() FROM Opportunity WHERE IsClosed = false";
    let plan = Plan::new(&parse(text).unwrap(), text).unwrap();
    assert!(plan.counts);
    assert_eq!(plan.run(&deals(), false).len(), 2);
    let rows = run(&deals(), "SELECT FIELDS(ALL) FROM Opportunity LIMIT 1").unwrap();
    assert!(rows[0].as_object().unwrap().len() > 30);
}

fn literal() -> impl Strategy<Value = Literal> {
    prop_oneof![
        "[ -~]{0,12}"
            .prop_filter("a backslash before a wildcard stays in the text", |text| !text
                .contains(['%', '_']))
            .prop_map(Literal::Text),
        any::<i32>().prop_map(|number| Literal::Plain(number.to_string())),
        any::<bool>().prop_map(Literal::Boolean),
        Just(Literal::Null),
    ]
}

fn condition() -> impl Strategy<Value = Condition> {
    let comparison = prop_oneof![
        Just(Comparison::Equal),
        Just(Comparison::Unequal),
        Just(Comparison::Less),
        Just(Comparison::AtLeast),
    ];
    let leaf = prop_oneof![
        ("f[a-z]{1,6}", comparison, literal())
            .prop_map(|(path, comparison, literal)| Condition::Compare(path, comparison, literal)),
        (
            "f[a-z]{1,6}",
            prop::collection::vec(literal(), 1..4),
            any::<bool>()
        )
            .prop_map(|(path, literals, negated)| Condition::In {
                path,
                literals,
                negated
            }),
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 2..4).prop_map(Condition::And),
            prop::collection::vec(inner.clone(), 2..4).prop_map(Condition::Or),
            inner.prop_map(|inner| Condition::Not(Box::new(inner))),
        ]
    })
}

fn written(condition: &Condition) -> String {
    let value = |literal: &Literal| match literal {
        Literal::Text(text) => format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'")),
        Literal::Plain(text) => text.clone(),
        Literal::Boolean(value) => value.to_string(),
        Literal::Null => "null".into(),
    };
    let joined = |parts: &[Condition], word: &str| {
        parts
            .iter()
            .map(|part| format!("({})", written(part)))
            .collect::<Vec<_>>()
            .join(word)
    };
    match condition {
        Condition::And(parts) => joined(parts, " AND "),
        Condition::Or(parts) => joined(parts, " or "),
        Condition::Not(inner) => format!("NOT ({})", written(inner)),
        Condition::Like(path, pattern) => format!("{path} LIKE '{pattern}'"),
        Condition::Compare(path, comparison, literal) => {
            let sign = match comparison {
                Comparison::Equal => "=",
                Comparison::Unequal => "<>",
                Comparison::Less => "<",
                Comparison::AtMost => "<=",
                Comparison::More => ">",
                Comparison::AtLeast => ">=",
            };
            format!("{path}{sign}{}", value(literal))
        }
        Condition::In {
            path,
            literals,
            negated,
        } => {
            let list = literals.iter().map(value).collect::<Vec<_>>().join(" , ");
            format!("{path} {}IN ({list})", if *negated { "NOT " } else { "" })
        }
    }
}

proptest! {
    /// Writing a condition down and reading it again gives the same condition.
    #[test]
    fn what_is_written_is_what_is_read(condition in condition()) {
        let text = format!("SELECT Id FROM Thing WHERE {} LIMIT 5", written(&condition));
        let query: Query = parse(&text).map_err(|refusal| TestCaseError::fail(format!("{text}: {}", refusal.message)))?;
        prop_assert_eq!(query.condition, Some(condition), "{}", text);
        prop_assert_eq!(query.limit, Some(5));
    }

    /// No text makes the parser panic.
    #[test]
    fn any_text_is_answered(text in "[ -~é\\n]{0,60}") {
        let _ = parse(&text);
        let _ = parse(&format!("SELECT {text}"));
        let _ = parse(&format!("SELECT Id FROM Account WHERE {text}"));
    }

    /// A row is found by a condition or by its negation, never by both or neither.
    #[test]
    fn a_condition_and_its_negation_share_the_rows(limit in -20i64..20, text in "[a-z]{0,2}") {
        let org = deals();
        for condition in [format!("Amount > {limit}"), format!("Name LIKE '{text}%'"), format!("Name IN ('{text}')")] {
            let found = run(&org, &format!("SELECT Id FROM Opportunity WHERE {condition}")).unwrap().len();
            let rest = run(&org, &format!("SELECT Id FROM Opportunity WHERE NOT ({condition})")).unwrap().len();
            prop_assert_eq!(found + rest, 3);
        }
    }
}
