//! The properties every portal has, and the custom ones of this one.

use super::kind::Kind;
use super::property::Property;

/// One step of the sales pipeline.
pub(crate) struct Stage {
    pub(crate) id: &'static str,
    pub(crate) label: &'static str,
    pub(crate) probability: &'static str,
    pub(crate) closed: bool,
}

const fn stage(id: &'static str, label: &'static str, probability: &'static str, closed: bool) -> Stage {
    Stage {
        id,
        label,
        probability,
        closed,
    }
}

/// The id of the only pipeline.
pub(crate) const PIPELINE: &str = "default";

/// Its stages.
pub(crate) const STAGES: [Stage; 7] = [
    stage("appointmentscheduled", "Appointment Scheduled", "0.2", false),
    stage("qualifiedtobuy", "Qualified To Buy", "0.4", false),
    stage("presentationscheduled", "Presentation Scheduled", "0.6", false),
    stage("decisionmakerboughtin", "Decision Maker Bought-In", "0.8", false),
    stage("contractsent", "Contract Sent", "0.9", false),
    stage("closedwon", "Closed Won", "1.0", true),
    stage("closedlost", "Closed Lost", "0.0", true),
];

/// The stages of a contact's or company's life, in the order in which they may only move forward.
pub(crate) const LIFE_STAGES: [(&str, &str); 8] = [
    ("Subscriber", "subscriber"),
    ("Lead", "lead"),
    ("Marketing Qualified Lead", "marketingqualifiedlead"),
    ("Sales Qualified Lead", "salesqualifiedlead"),
    ("Opportunity", "opportunity"),
    ("Customer", "customer"),
    ("Evangelist", "evangelist"),
    ("Other", "other"),
];

/// The currencies of the account; the first is its own.
pub(crate) const CURRENCIES: [&str; 13] = [
    "USD", "EUR", "GBP", "CHF", "SEK", "NOK", "DKK", "PLN", "CAD", "AUD", "INR", "BRL", "JPY",
];

const LEAD_STATUSES: [(&str, &str); 8] = [
    ("New", "NEW"),
    ("Open", "OPEN"),
    ("In Progress", "IN_PROGRESS"),
    ("Open Deal", "OPEN_DEAL"),
    ("Unqualified", "UNQUALIFIED"),
    ("Attempted to Contact", "ATTEMPTED_TO_CONTACT"),
    ("Connected", "CONNECTED"),
    ("Bad Timing", "BAD_TIMING"),
];
const COMPANY_TYPES: [(&str, &str); 5] = [
    ("Prospect", "PROSPECT"),
    ("Partner", "PARTNER"),
    ("Reseller", "RESELLER"),
    ("Vendor", "VENDOR"),
    ("Other", "OTHER"),
];
const DEAL_TYPES: [(&str, &str); 2] = [
    ("New Business", "newbusiness"),
    ("Existing Business", "existingbusiness"),
];
const PARTNER_TYPES: [(&str, &str); 5] = [
    ("Sales", "sales"),
    ("Service", "service"),
    ("Technology", "technology"),
    ("Influence", "influence"),
    ("Strategic", "strategic"),
];
const INDUSTRIES: [&str; 30] = [
    "ACCOUNTING",
    "AUTOMOTIVE",
    "BANKING",
    "BIOTECHNOLOGY",
    "CHEMICALS",
    "COMPUTER_HARDWARE",
    "COMPUTER_NETWORK_SECURITY",
    "COMPUTER_SOFTWARE",
    "CONSTRUCTION",
    "CONSUMER_GOODS",
    "EDUCATION_MANAGEMENT",
    "ELECTRICAL_ELECTRONIC_MANUFACTURING",
    "FINANCIAL_SERVICES",
    "FOOD_BEVERAGES",
    "GOVERNMENT_ADMINISTRATION",
    "HOSPITAL_HEALTH_CARE",
    "HOSPITALITY",
    "INDUSTRIAL_AUTOMATION",
    "INFORMATION_TECHNOLOGY_AND_SERVICES",
    "INSURANCE",
    "INTERNET",
    "LOGISTICS_AND_SUPPLY_CHAIN",
    "MACHINERY",
    "MANAGEMENT_CONSULTING",
    "OIL_ENERGY",
    "PHARMACEUTICALS",
    "RETAIL",
    "TELECOMMUNICATIONS",
    "TRANSPORTATION_TRUCKING_RAILROAD",
    "UTILITIES",
];

/// The properties of a kind.
pub(crate) fn properties(kind: Kind) -> Vec<Property> {
    let mut properties = match kind {
        Kind::Contact => contact(),
        Kind::Company => company(),
        Kind::Deal => deal(),
    };
    properties.extend([
        Property::moment("createdate", "Create Date").read_only(),
        Property::moment(kind.modified(), "Last Modified Date").read_only(),
        Property::number("hs_object_id", "Record ID").read_only(),
        Property::text("hs_object_source", "Record source").read_only(),
        Property::text("hs_object_source_id", "Record source ID").read_only(),
        Property::text("hs_object_source_label", "Record source label").read_only(),
        Property::choice("hubspot_owner_id", "Owner", &[]).with_choices_elsewhere(),
        Property::text("interconnect_id", "Interconnect ID")
            .unique()
            .custom(),
    ]);
    for property in &mut properties {
        property.group = if property.native {
            format!("{}information", kind.singular())
        } else {
            "interconnect".to_owned()
        };
    }
    properties
}

fn address() -> [Property; 5] {
    [
        Property::text("address", "Street Address"),
        Property::text("city", "City"),
        Property::text("state", "State/Region"),
        Property::text("zip", "Postal Code"),
        Property::text("country", "Country/Region"),
    ]
}

fn contact() -> Vec<Property> {
    let mut properties = vec![
        Property::text("email", "Email").unique(),
        Property::text("firstname", "First Name"),
        Property::text("lastname", "Last Name"),
        Property::text("phone", "Phone Number"),
        Property::text("mobilephone", "Mobile Phone Number"),
        Property::text("company", "Company Name"),
        Property::text("jobtitle", "Job Title"),
        Property::text("salutation", "Salutation"),
        Property::text("website", "Website URL"),
        Property::text("industry", "Industry"),
        Property::text("hs_country_region_code", "Country/Region Code"),
        Property::number("annualrevenue", "Annual Revenue"),
        Property::text("numemployees", "Number of Employees"),
        Property::long_text("message", "Message"),
        Property::choice("lifecyclestage", "Lifecycle Stage", &LIFE_STAGES),
        Property::choice("hs_lead_status", "Lead Status", &LEAD_STATUSES),
        Property::text("hs_pipeline", "Pipeline").read_only(),
    ];
    properties.extend(address());
    properties
}

fn company() -> Vec<Property> {
    let industries: Vec<_> = INDUSTRIES.iter().map(|value| (*value, *value)).collect();
    let mut properties = vec![
        Property::text("name", "Company name"),
        Property::text("domain", "Company Domain Name"),
        Property::text("phone", "Phone Number"),
        Property::text("website", "Website URL"),
        Property::text("hs_country_code", "Country/Region Code"),
        Property::choice("industry", "Industry", &industries),
        Property::number("numberofemployees", "Number of Employees"),
        Property::number("annualrevenue", "Annual Revenue"),
        Property::long_text("description", "Description"),
        Property::choice("lifecyclestage", "Lifecycle Stage", &LIFE_STAGES),
        Property::choice("hs_lead_status", "Lead Status", &LEAD_STATUSES),
        Property::choice("type", "Type", &COMPANY_TYPES),
        Property::choice("partner_type", "Partner type", &PARTNER_TYPES).custom(),
    ];
    properties.extend(address());
    properties
}

fn deal() -> Vec<Property> {
    let stages: Vec<_> = STAGES.iter().map(|stage| (stage.label, stage.id)).collect();
    let currencies: Vec<_> = CURRENCIES.iter().map(|code| (*code, *code)).collect();
    vec![
        Property::text("dealname", "Deal Name"),
        Property::number("amount", "Amount"),
        Property::choice("pipeline", "Pipeline", &[("Sales Pipeline", PIPELINE)]),
        Property::choice("dealstage", "Deal Stage", &stages),
        Property::moment("closedate", "Close Date"),
        Property::choice("deal_currency_code", "Currency", &currencies),
        Property::choice("dealtype", "Deal Type", &DEAL_TYPES),
        Property::long_text("description", "Deal Description"),
        Property::text("hs_next_step", "Next step"),
        Property::text("closed_lost_reason", "Closed Lost Reason"),
        Property::flag("hs_is_closed", "Is Closed").read_only(),
        Property::flag("hs_is_closed_won", "Is Closed Won").read_only(),
        Property::number("hs_deal_stage_probability", "Deal probability").read_only(),
        Property::text("customer_name", "Customer name").custom(),
        Property::text("customer_domain", "Customer domain").custom(),
        Property::text("customer_country", "Customer country").custom(),
    ]
}
