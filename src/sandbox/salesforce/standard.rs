//! The standard objects, field by field, as an organisation with several currencies has them.
//!
//! Lengths, types and what is required follow the fact sheet on Salesforce, section 17.3.
//! `StageName` and `Status` are restricted here, which an organisation may choose:
//! a mapping that invents a stage should be told so.

use super::field::{Field, Kind};

/// An object as it is written down here.
pub(crate) struct Definition {
    pub(crate) name: &'static str,
    pub(crate) plural: &'static str,
    pub(crate) prefix: &'static str,
    pub(crate) writable: bool,
    pub(crate) fields: Vec<Field>,
}

/// One step of the sales process.
pub(crate) struct Stage {
    pub(crate) name: &'static str,
    pub(crate) percent: u32,
    pub(crate) closed: bool,
    pub(crate) won: bool,
    pub(crate) forecast: &'static str,
}

const fn stage(name: &'static str, percent: u32, forecast: &'static str) -> Stage {
    Stage {
        name,
        percent,
        closed: false,
        won: false,
        forecast,
    }
}

/// The default sales process.
pub(crate) const STAGES: [Stage; 10] = [
    stage("Prospecting", 10, "Pipeline"),
    stage("Qualification", 10, "Pipeline"),
    stage("Needs Analysis", 20, "Pipeline"),
    stage("Value Proposition", 50, "Pipeline"),
    stage("Id. Decision Makers", 60, "Pipeline"),
    stage("Perception Analysis", 70, "Pipeline"),
    stage("Proposal/Price Quote", 75, "Pipeline"),
    stage("Negotiation/Review", 90, "Pipeline"),
    Stage {
        name: "Closed Won",
        percent: 100,
        closed: true,
        won: true,
        forecast: "Closed",
    },
    Stage {
        name: "Closed Lost",
        percent: 0,
        closed: true,
        won: false,
        forecast: "Omitted",
    },
];

/// The default lead statuses: the first is the default, the third means "converted".
pub(crate) const LEAD_STATUSES: [&str; 4] = [
    "Open - Not Contacted",
    "Working - Contacted",
    "Closed - Converted",
    "Closed - Not Converted",
];

/// Active currencies and their decimals; the first is the organisation's own.
pub(crate) const CURRENCIES: [(&str, u32); 13] = [
    ("USD", 2),
    ("EUR", 2),
    ("GBP", 2),
    ("CHF", 2),
    ("SEK", 2),
    ("NOK", 2),
    ("DKK", 2),
    ("PLN", 2),
    ("CAD", 2),
    ("AUD", 2),
    ("INR", 2),
    ("BRL", 2),
    ("JPY", 0),
];

const INDUSTRIES: [&str; 32] = [
    "Agriculture",
    "Apparel",
    "Banking",
    "Biotechnology",
    "Chemicals",
    "Communications",
    "Construction",
    "Consulting",
    "Education",
    "Electronics",
    "Energy",
    "Engineering",
    "Entertainment",
    "Environmental",
    "Finance",
    "Food & Beverage",
    "Government",
    "Healthcare",
    "Hospitality",
    "Insurance",
    "Machinery",
    "Manufacturing",
    "Media",
    "Not For Profit",
    "Other",
    "Recreation",
    "Retail",
    "Shipping",
    "Technology",
    "Telecommunications",
    "Transportation",
    "Utilities",
];
const SALUTATIONS: [&str; 5] = ["Mr.", "Ms.", "Mrs.", "Dr.", "Prof."];
const RATINGS: [&str; 3] = ["Hot", "Warm", "Cold"];
const LEAD_SOURCES: [&str; 6] = [
    "Web",
    "Phone Inquiry",
    "Partner Referral",
    "Purchased List",
    "Partner",
    "Other",
];
const OWNERSHIPS: [&str; 4] = ["Public", "Private", "Subsidiary", "Other"];
const ACCOUNT_TYPES: [&str; 7] = [
    "Prospect",
    "Customer - Direct",
    "Customer - Channel",
    "Channel Partner / Reseller",
    "Installation Partner",
    "Technology Partner",
    "Other",
];
const DEAL_TYPES: [&str; 4] = [
    "Existing Customer - Upgrade",
    "Existing Customer - Replacement",
    "Existing Customer - Downgrade",
    "New Customer",
];
const PARTNER_TYPES: [&str; 5] = ["sales", "service", "technology", "influence", "strategic"];
const FORECASTS: [&str; 5] = ["Omitted", "Pipeline", "BestCase", "Forecast", "Closed"];
const FORECAST_NAMES: [&str; 5] = ["Omitted", "Pipeline", "Best Case", "Commit", "Closed"];

/// Every object, in the order describe lists them.
pub(crate) fn all() -> Vec<Definition> {
    vec![
        account(),
        contact(),
        currency_type(),
        group(),
        lead(),
        lead_status(),
        opportunity(),
        opportunity_stage(),
        organization(),
        user(),
    ]
}

fn writable(name: &'static str, plural: &'static str, prefix: &'static str, own: Vec<Field>) -> Definition {
    let mut fields = vec![
        Field::id(),
        Field::boolean("IsDeleted").labelled("Deleted").read_only(),
    ];
    fields.extend(own);
    // Queues own leads; everything else is a person's.
    fields.push(match name {
        "Lead" => Field::reference("OwnerId", "User", "Owner").or("Group"),
        _ => Field::reference("OwnerId", "User", "Owner"),
    });
    fields.push(
        Field::picklist("CurrencyIsoCode", &CURRENCIES.map(|(code, _)| code))
            .labelled("Currency ISO Code")
            .restricted()
            .or_else(CURRENCIES[0].0),
    );
    fields.extend(stamps());
    fields.push(Field::text("Interconnect_Id__c", 64).unique_external_id());
    Definition {
        name,
        plural,
        prefix,
        writable: true,
        fields,
    }
}

fn fixed(name: &'static str, plural: &'static str, prefix: &'static str, own: Vec<Field>) -> Definition {
    let mut fields = vec![Field::id()];
    fields.extend(own.into_iter().map(Field::read_only));
    fields.extend(stamps());
    Definition {
        name,
        plural,
        prefix,
        writable: false,
        fields,
    }
}

fn stamps() -> Vec<Field> {
    vec![
        Field::date_time("CreatedDate").read_only(),
        Field::reference("CreatedById", "User", "CreatedBy").read_only(),
        Field::date_time("LastModifiedDate").read_only(),
        Field::reference("LastModifiedById", "User", "LastModifiedBy").read_only(),
        Field::date_time("SystemModstamp").read_only(),
    ]
}

fn address(prefix: &str) -> Vec<Field> {
    vec![
        Field::text_area(format!("{prefix}Street"), 255),
        Field::text(format!("{prefix}City"), 40),
        Field::text(format!("{prefix}State"), 80).labelled(format!("{prefix} State/Province").trim_start()),
        Field::text(format!("{prefix}PostalCode"), 20)
            .labelled(format!("{prefix} Zip/Postal Code").trim_start()),
        Field::text(format!("{prefix}Country"), 80),
        Field::address(format!("{prefix}Address")),
    ]
}

fn person() -> Vec<Field> {
    vec![
        Field::text("LastName", 80).required(),
        Field::text("FirstName", 40),
        Field::picklist("Salutation", &SALUTATIONS),
        Field::text("Name", 121)
            .labelled("Full Name")
            .read_only()
            .naming(),
        Field::text("Title", 128),
        Field::phone("Phone"),
        Field::phone("MobilePhone").labelled("Mobile Phone"),
        Field::email("Email"),
    ]
}

fn account() -> Definition {
    let mut fields = vec![
        Field::reference("MasterRecordId", "Account", "MasterRecord").read_only(),
        Field::text("Name", 255)
            .labelled("Account Name")
            .required()
            .naming(),
        Field::picklist("Type", &ACCOUNT_TYPES).labelled("Account Type"),
        Field::reference("ParentId", "Account", "Parent").labelled("Parent Account ID"),
    ];
    fields.extend(address("Billing"));
    fields.extend(address("Shipping"));
    fields.extend([
        Field::phone("Phone").labelled("Account Phone"),
        Field::phone("Fax").labelled("Account Fax"),
        Field::text("AccountNumber", 40),
        Field::url("Website"),
        Field::picklist("Industry", &INDUSTRIES),
        Field::number("AnnualRevenue", Kind::Currency, 18, 0),
        Field::int("NumberOfEmployees", 8).labelled("Employees"),
        Field::text_area("Description", 32_000).labelled("Account Description"),
        Field::picklist("Rating", &RATINGS).labelled("Account Rating"),
        Field::text("Site", 80).labelled("Account Site"),
        Field::picklist("AccountSource", &LEAD_SOURCES),
        Field::text("Sic", 20).labelled("SIC Code"),
        Field::text("SicDesc", 80).labelled("SIC Description"),
        Field::text("NaicsCode", 8).labelled("NAICS Code"),
        Field::text("TickerSymbol", 20),
        Field::picklist("Ownership", &OWNERSHIPS),
        Field::picklist("Partner_Type__c", &PARTNER_TYPES).restricted(),
    ]);
    writable("Account", "Accounts", "001", fields)
}

fn contact() -> Definition {
    let mut fields = vec![
        Field::reference("MasterRecordId", "Contact", "MasterRecord").read_only(),
        Field::reference("AccountId", "Account", "Account"),
    ];
    fields.extend(person());
    fields.extend(address("Mailing"));
    fields.extend(address("Other"));
    fields.extend([
        Field::phone("Fax").labelled("Business Fax"),
        Field::reference("ReportsToId", "Contact", "ReportsTo"),
        Field::text("Department", 80),
        Field::picklist("LeadSource", &LEAD_SOURCES),
        Field::date("Birthdate"),
        Field::text_area("Description", 32_000).labelled("Contact Description"),
        Field::boolean("HasOptedOutOfEmail").labelled("Email Opt Out"),
    ]);
    writable("Contact", "Contacts", "003", fields)
}

fn lead() -> Definition {
    let mut fields = vec![Field::reference("MasterRecordId", "Lead", "MasterRecord").read_only()];
    fields.extend(person());
    fields.push(Field::text("Company", 255).required());
    fields.extend(address(""));
    fields.extend([
        Field::url("Website"),
        Field::text_area("Description", 32_000),
        Field::picklist("LeadSource", &LEAD_SOURCES),
        Field::picklist("Status", &LEAD_STATUSES)
            .labelled("Lead Status")
            .restricted()
            .or_else(LEAD_STATUSES[0]),
        Field::picklist("Industry", &INDUSTRIES),
        Field::picklist("Rating", &RATINGS),
        Field::number("AnnualRevenue", Kind::Currency, 18, 0),
        Field::int("NumberOfEmployees", 8).labelled("Employees"),
        Field::boolean("IsConverted").labelled("Converted").read_only(),
        Field::date("ConvertedDate").read_only(),
        Field::reference("ConvertedAccountId", "Account", "ConvertedAccount").read_only(),
        Field::reference("ConvertedContactId", "Contact", "ConvertedContact").read_only(),
        Field::reference("ConvertedOpportunityId", "Opportunity", "ConvertedOpportunity").read_only(),
    ]);
    writable("Lead", "Leads", "00Q", fields)
}

fn opportunity() -> Definition {
    let stages = STAGES.map(|stage| stage.name);
    let fields = vec![
        Field::reference("AccountId", "Account", "Account"),
        Field::text("Name", 120).required().naming(),
        Field::text_area("Description", 32_000),
        Field::picklist("StageName", &stages)
            .labelled("Stage")
            .restricted()
            .required(),
        Field::number("Amount", Kind::Currency, 18, 2),
        Field::number("Probability", Kind::Percent, 3, 0).labelled("Probability (%)"),
        Field::number("ExpectedRevenue", Kind::Currency, 18, 2)
            .labelled("Expected Amount")
            .read_only(),
        Field::date("CloseDate").required(),
        Field::picklist("Type", &DEAL_TYPES).labelled("Opportunity Type"),
        Field::text("NextStep", 255),
        Field::picklist("LeadSource", &LEAD_SOURCES),
        Field::boolean("IsClosed").labelled("Closed").read_only(),
        Field::boolean("IsWon").labelled("Won").read_only(),
        Field::picklist("ForecastCategory", &FORECASTS).read_only(),
        Field::picklist("ForecastCategoryName", &FORECAST_NAMES)
            .labelled("Forecast Category")
            .read_only(),
        Field::int("FiscalQuarter", 9).read_only(),
        Field::int("FiscalYear", 9).read_only(),
        Field::text("Fiscal", 6).labelled("Fiscal Period").read_only(),
        Field::text("Customer_Name__c", 255),
        Field::text("Customer_Domain__c", 255),
        Field::text("Customer_Country__c", 2),
    ];
    writable("Opportunity", "Opportunities", "006", fields)
}

fn opportunity_stage() -> Definition {
    fixed(
        "OpportunityStage",
        "Opportunity Stages",
        "01J",
        vec![
            Field::text("MasterLabel", 255).naming(),
            Field::text("ApiName", 255),
            Field::boolean("IsActive"),
            Field::int("SortOrder", 9),
            Field::boolean("IsClosed"),
            Field::boolean("IsWon"),
            Field::picklist("ForecastCategory", &FORECASTS),
            Field::picklist("ForecastCategoryName", &FORECAST_NAMES),
            Field::number("DefaultProbability", Kind::Percent, 3, 0),
            Field::text("Description", 255),
        ],
    )
}

fn lead_status() -> Definition {
    fixed(
        "LeadStatus",
        "Lead Status Values",
        "01Y",
        vec![
            Field::text("MasterLabel", 255).naming(),
            Field::text("ApiName", 255),
            Field::int("SortOrder", 9),
            Field::boolean("IsDefault"),
            Field::boolean("IsConverted"),
        ],
    )
}

fn currency_type() -> Definition {
    fixed(
        "CurrencyType",
        "Currency Types",
        "01L",
        vec![
            Field::text("IsoCode", 3).naming(),
            Field::number("ConversionRate", Kind::Double, 18, 6),
            Field::int("DecimalPlaces", 1),
            Field::boolean("IsActive"),
            Field::boolean("IsCorporate"),
        ],
    )
}

fn organization() -> Definition {
    let mut fields = vec![Field::text("Name", 80).naming()];
    fields.extend(address(""));
    fields.extend([
        Field::phone("Phone"),
        Field::text("DefaultLocaleSidKey", 40),
        Field::text("TimeZoneSidKey", 40),
        Field::text("LanguageLocaleKey", 40),
        Field::text("OrganizationType", 40),
        Field::text("InstanceName", 5),
        Field::boolean("IsSandbox"),
        Field::text("NamespacePrefix", 15),
    ]);
    fixed("Organization", "Organizations", "00D", fields)
}

/// People and queues are made and changed by administrators, and never deleted.
fn lasting(name: &'static str, plural: &'static str, prefix: &'static str, own: Vec<Field>) -> Definition {
    let mut fields = vec![Field::id()];
    fields.extend(own);
    fields.extend(stamps());
    Definition {
        name,
        plural,
        prefix,
        writable: true,
        fields,
    }
}

fn group() -> Definition {
    let fields = vec![
        Field::text("Name", 40).required().naming(),
        Field::text("DeveloperName", 80),
        Field::picklist("Type", &["Regular", "Queue"]).restricted(),
        Field::email("Email"),
    ];
    lasting("Group", "Groups", "00G", fields)
}

fn user() -> Definition {
    let mut fields = vec![Field::text("Username", 80)];
    fields.extend(person());
    fields.extend([
        Field::text("CompanyName", 80),
        Field::text("Alias", 8),
        Field::boolean("IsActive").or_else("true"),
        Field::picklist("UserType", &["Standard", "PowerPartner", "AutomatedProcess"]).read_only(),
        Field::text("TimeZoneSidKey", 40),
        Field::text("LocaleSidKey", 40),
        Field::text("DefaultCurrencyIsoCode", 3),
    ]);
    lasting("User", "Users", "005", fields)
}
