//! What an organisation holds before anybody writes to it: itself, its users, stages, statuses and currencies.

use serde_json::{Value, json};

use super::rows::{By, Org};
use super::standard::{CURRENCIES, LEAD_STATUSES, STAGES};
use super::{REP_USERNAME, check};

/// The ids everything else refers to.
#[derive(Debug, Clone)]
pub(crate) struct Users {
    /// The organisation.
    pub(crate) org: String,
    /// The administrator, who made the seeds and works at the screen.
    pub(crate) admin: String,
    /// The user of the integration.
    pub(crate) integration: String,
    /// A sales representative.
    pub(crate) representative: String,
}

/// Fills a new organisation.
pub(crate) fn furnish(org: &mut Org, now_ms: i64) -> Users {
    let mut seeder = Seeder {
        org,
        now_ms,
        author: String::new(),
    };
    // The administrator is made first, as their own author.
    let admin = seeder.user("Ada", "Admin", "admin@sandbox.example");
    seeder.adopt(&admin);
    seeder.author.clone_from(&admin);
    let integration = seeder.user("Interconnect", "Integration", "interconnect@sandbox.example");
    let representative = seeder.user("Rita", "Representative", REP_USERNAME);
    let org_id = seeder.row("Organization", &json!({
        "Name": "Sandbox Corporation", "Country": "US", "City": "San Francisco", "DefaultLocaleSidKey": "en_US",
        "TimeZoneSidKey": "Europe/Berlin", "LanguageLocaleKey": "en_US", "OrganizationType": "Enterprise Edition",
        "InstanceName": "SBX1", "IsSandbox": true,
    }));
    for (order, stage) in STAGES.iter().enumerate() {
        seeder.row(
            "OpportunityStage",
            &json!({
                "MasterLabel": stage.name, "ApiName": stage.name, "IsActive": true, "SortOrder": order + 1,
                "IsClosed": stage.closed, "IsWon": stage.won, "ForecastCategory": stage.forecast,
                "ForecastCategoryName": stage.forecast, "DefaultProbability": f64::from(stage.percent),
            }),
        );
    }
    for (order, status) in LEAD_STATUSES.iter().enumerate() {
        seeder.row(
            "LeadStatus",
            &json!({
                "MasterLabel": status, "ApiName": status, "SortOrder": order + 1,
                "IsDefault": order == 0, "IsConverted": *status == "Closed - Converted",
            }),
        );
    }
    for (order, (code, decimals)) in CURRENCIES.iter().enumerate() {
        seeder.row("CurrencyType", &json!({
            "IsoCode": code, "ConversionRate": 1.0, "DecimalPlaces": decimals, "IsActive": true, "IsCorporate": order == 0,
        }));
    }
    Users {
        org: org_id,
        admin,
        integration,
        representative,
    }
}

struct Seeder<'a> {
    org: &'a mut Org,
    now_ms: i64,
    author: String,
}

impl Seeder<'_> {
    fn user(&mut self, first: &str, last: &str, username: &str) -> String {
        self.row("User", &json!({
            "Username": username, "FirstName": first, "LastName": last, "Email": username, "Alias": first.to_lowercase(),
            "IsActive": true, "UserType": "Standard", "TimeZoneSidKey": "Europe/Berlin", "LocaleSidKey": "en_US",
            "CompanyName": "Sandbox Corporation", "DefaultCurrencyIsoCode": CURRENCIES[0].0,
        }))
    }

    fn row(&mut self, object: &str, values: &Value) -> String {
        let table = self.org.schema.at(object);
        let object = &self.org.schema.objects[table];
        let mut row = check::blank(object);
        for (name, value) in values.as_object().into_iter().flatten() {
            row[object.at(name)] = value.clone();
        }
        let author = self.author.clone();
        self.org.push(
            table,
            row,
            &[],
            &By {
                user: &author,
                now_ms: self.now_ms,
                origin: "",
                faults: None,
            },
        )
    }

    /// Makes a user the author of their own row.
    fn adopt(&mut self, user: &str) {
        let table = self.org.schema.at("User");
        let object = &self.org.schema.objects[table];
        if let Some(row) = self.org.find(table, user) {
            for field in ["CreatedById", "LastModifiedById"] {
                self.org.tables[table].rows[row][object.at(field)] = Value::from(user);
            }
        }
    }
}
