//! Do the systems agree? Looked at in their own rows, field by field, without any of the hub's mappings.

use std::collections::BTreeMap;
use std::str::FromStr;

use rust_decimal::Decimal;
use sandbox::Running;
use serde_json::{Value as Json, json};

/// One field of one record that two systems hold differently, or a record that one of them lacks.
pub(crate) fn disagreements(systems: &Running) -> Result<Vec<Json>, String> {
    let rows = |object: &str| systems.salesforce.rows(object).map_err(|error| error.to_string());
    let objects = |object: &str| systems.hubspot.rows(object).map_err(|error| error.to_string());
    let mut found = Vec::new();
    compare(
        "partner",
        &accounts(&rows("Account")?),
        &companies(&objects("companies")?),
        &mut found,
    );
    compare(
        "lead",
        &leads(&rows("Lead")?),
        &contacts(&objects("contacts")?),
        &mut found,
    );
    let names: BTreeMap<String, String> = rows("Account")?
        .iter()
        .map(|row| (text(row, "Id"), domain_of(&text(row, "Website"))))
        .collect();
    compare(
        "deal",
        &opportunities(&rows("Opportunity")?, &names),
        &deals(systems, &objects("deals")?)?,
        &mut found,
    );
    Ok(found)
}

/// Records by what names them, each with its comparable fields. The same name twice is told by a number behind it.
type Table = BTreeMap<String, BTreeMap<&'static str, String>>;

fn compare(kind: &str, left: &Table, right: &Table, found: &mut Vec<Json>) {
    for name in left
        .keys()
        .chain(right.keys().filter(|name| !left.contains_key(*name)))
    {
        match (left.get(name), right.get(name)) {
            (Some(left), Some(right)) => {
                for (field, value) in left
                    .iter()
                    .filter(|(field, value)| right.get(*field) != Some(value))
                {
                    found.push(json!({"kind": kind, "name": name, "field": field,
                        "salesforce": value, "hubspot": right.get(field)}));
                }
            }
            (left, _) => {
                let lacks = if left.is_some() { "hubspot" } else { "salesforce" };
                found.push(json!({"kind": kind, "name": name, "missing_in": lacks}));
            }
        }
    }
}

fn table<'r>(rows: impl Iterator<Item = (String, BTreeMap<&'static str, String>)> + 'r) -> Table {
    let mut table = Table::new();
    for (name, fields) in rows {
        let twins = (2..).map(|n| format!("{name} ({n})"));
        let free = std::iter::once(name.clone())
            .chain(twins)
            .find(|name| !table.contains_key(name));
        table.insert(free.unwrap_or(name), fields);
    }
    table
}

fn living(rows: &[Json]) -> impl Iterator<Item = &Json> {
    rows.iter()
        .filter(|row| row["IsDeleted"] != true && row["archived"] != true)
}

fn text(row: &Json, field: &str) -> String {
    let value = row
        .get(field)
        .or_else(|| row["properties"].get(field))
        .unwrap_or(&Json::Null);
    match value {
        Json::Null => String::new(),
        Json::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn number(text: &str) -> String {
    Decimal::from_str(text).map_or_else(|_| text.to_owned(), |number| number.normalize().to_string())
}

fn domain_of(website: &str) -> String {
    website
        .trim_start_matches("https://")
        .trim_start_matches("http://")
        .trim_end_matches('/')
        .to_owned()
}

fn accounts(rows: &[Json]) -> Table {
    table(living(rows).map(|row| {
        let fields = [
            ("name", text(row, "Name")),
            ("phone", text(row, "Phone")),
            ("city", text(row, "BillingCity")),
            ("type", text(row, "Partner_Type__c")),
        ];
        (domain_of(&text(row, "Website")), fields.into())
    }))
}

fn companies(rows: &[Json]) -> Table {
    table(living(rows).map(|row| {
        let fields = [
            ("name", text(row, "name")),
            ("phone", text(row, "phone")),
            ("city", text(row, "city")),
            ("type", text(row, "partner_type")),
        ];
        (text(row, "domain"), fields.into())
    }))
}

fn leads(rows: &[Json]) -> Table {
    table(living(rows).map(|row| {
        let fields = [
            ("first_name", text(row, "FirstName")),
            ("last_name", text(row, "LastName")),
            ("company", text(row, "Company")),
            ("phone", text(row, "Phone")),
        ];
        (text(row, "Email"), fields.into())
    }))
}

fn contacts(rows: &[Json]) -> Table {
    table(living(rows).map(|row| {
        let fields = [
            ("first_name", text(row, "firstname")),
            ("last_name", text(row, "lastname")),
            ("company", text(row, "company")),
            ("phone", text(row, "phone")),
        ];
        (text(row, "email"), fields.into())
    }))
}

/// Stages of the two systems that mean the same, by words of our own.
fn stage(word: &str) -> &str {
    match word {
        "Prospecting" | "appointmentscheduled" => "prospect",
        "Qualification" | "qualifiedtobuy" => "qualified",
        "Closed Won" | "closedwon" => "won",
        "Closed Lost" | "closedlost" => "lost",
        "Needs Analysis"
        | "Value Proposition"
        | "Id. Decision Makers"
        | "Perception Analysis"
        | "presentationscheduled" => "technical",
        "Proposal/Price Quote" | "Negotiation/Review" | "decisionmakerboughtin" | "contractsent" => {
            "business"
        }
        other => other,
    }
}

fn opportunities(rows: &[Json], partners: &BTreeMap<String, String>) -> Table {
    table(living(rows).map(|row| {
        let fields = [
            ("amount", number(&text(row, "Amount"))),
            ("currency", text(row, "CurrencyIsoCode")),
            ("close_date", text(row, "CloseDate")),
            ("stage", stage(&text(row, "StageName")).to_owned()),
            (
                "partner",
                partners.get(&text(row, "AccountId")).cloned().unwrap_or_default(),
            ),
        ];
        (text(row, "Name"), fields.into())
    }))
}

fn deals(systems: &Running, rows: &[Json]) -> Result<Table, String> {
    let mut partners = BTreeMap::new();
    for row in living(rows) {
        let id = text(row, "id");
        let companies = systems
            .hubspot
            .associated(("deals", &id), "companies")
            .map_err(|error| error.to_string())?;
        let company = companies.first().cloned().unwrap_or_default();
        partners.insert(id, company);
    }
    let companies = systems
        .hubspot
        .rows("companies")
        .map_err(|error| error.to_string())?;
    let domains: BTreeMap<String, String> = companies
        .iter()
        .map(|row| (text(row, "id"), text(row, "domain")))
        .collect();
    Ok(table(living(rows).map(|row| {
        let partner = partners
            .get(&text(row, "id"))
            .and_then(|company| domains.get(company));
        let fields = [
            ("amount", number(&text(row, "amount"))),
            ("currency", text(row, "deal_currency_code")),
            ("close_date", text(row, "closedate").chars().take(10).collect()),
            ("stage", stage(&text(row, "dealstage")).to_owned()),
            ("partner", partner.cloned().unwrap_or_default()),
        ];
        (text(row, "dealname"), fields.into())
    })))
}
