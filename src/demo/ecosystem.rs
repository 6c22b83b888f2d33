//! A believable ecosystem: partners, leads and deals, some of them known to both systems before anything is connected.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sandbox::{Clock, PartnerSettings, Running, Secret, Settings};
use serde_json::json;

/// Name, domain, city, country, phone, type.
type Company = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
);

const COMPANIES: [Company; 12] = [
    (
        "Northwind Traders GmbH",
        "northwind.example",
        "Berlin",
        "Germany",
        "+493012345678",
        "sales",
    ),
    (
        "Globex Iberia SL",
        "globex.example",
        "Madrid",
        "Spain",
        "+34912345678",
        "sales",
    ),
    (
        "Fabrikam Consulting Ltd",
        "fabrikam.example",
        "London",
        "United Kingdom",
        "+442079460958",
        "service",
    ),
    (
        "Tailspin Integrations BV",
        "tailspin.example",
        "Utrecht",
        "Netherlands",
        "+31302345678",
        "technology",
    ),
    (
        "Wingtip Analytics SAS",
        "wingtip.example",
        "Lyon",
        "France",
        "+33472345678",
        "technology",
    ),
    (
        "Litware Cloud AB",
        "litware.example",
        "Göteborg",
        "Sweden",
        "+46312345678",
        "sales",
    ),
    (
        "Proseware Training SpA",
        "proseware.example",
        "Milano",
        "Italy",
        "+390212345678",
        "service",
    ),
    (
        "Adatum Advisory AG",
        "adatum.example",
        "Zürich",
        "Switzerland",
        "+41442345678",
        "influence",
    ),
    (
        "Contoso Managed Services Oy",
        "contoso.example",
        "Tampere",
        "Finland",
        "+358312345678",
        "service",
    ),
    (
        "Woodgrove Alliances Inc",
        "woodgrove.example",
        "Austin",
        "United States",
        "+15125550123",
        "strategic",
    ),
    (
        "Lucerne Media GmbH",
        "lucerne.example",
        "Wien",
        "Austria",
        "+4312345678",
        "influence",
    ),
    (
        "Trey Robotics KK",
        "trey.example",
        "Osaka",
        "Japan",
        "+81612345678",
        "technology",
    ),
];

/// Companies that both systems know from the start, under slightly different spellings.
const KNOWN_TO_BOTH: usize = 4;
/// Deals per company that the CRM has from the start.
const DEALS_EACH: usize = 3;

const STAGES: [&str; 4] = [
    "Prospecting",
    "Qualification",
    "Needs Analysis",
    "Proposal/Price Quote",
];
const WORK: [&str; 3] = ["Warehouse rollout", "Fleet tracking", "Support contract"];

/// How much was seeded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seeded {
    pub(crate) partners: usize,
    pub(crate) leads: usize,
    pub(crate) deals: usize,
}

/// The secrets of the partners are constants of the demo, and of no use anywhere else.
pub(crate) fn secret(partner: &str) -> Secret {
    let key = format!("{partner:*<32}");
    Secret::new(format!("whsec_{}", STANDARD.encode(&key.as_bytes()[..32])))
}

pub(crate) fn settings(clock: Arc<dyn Clock>) -> Settings {
    let partners = super::PARTNERS.map(|name| PartnerSettings::new(name, secret(name)));
    Settings {
        partners: partners.to_vec(),
        clock,
        ..Settings::default()
    }
}

/// The systems' clock: it stands at yesterday while they are filled, and is the machine's from then on.
///
/// What both systems know was there before they were connected; objects that are made in both within the same second
/// would be another story.
#[derive(Debug, Default)]
pub(crate) struct SinceYesterday {
    today: AtomicBool,
}

/// A day.
const DAY_MS: i64 = 86_400_000;

impl SinceYesterday {
    /// Goes over to the machine's clock.
    pub(crate) fn today(&self) {
        self.today.store(true, Ordering::SeqCst);
    }
}

impl Clock for SinceYesterday {
    fn now_ms(&self) -> i64 {
        let now = jiff::Timestamp::now().as_millisecond();
        if self.today.load(Ordering::SeqCst) {
            now
        } else {
            now - DAY_MS
        }
    }
}

/// Fills both systems.
pub(crate) fn seed(systems: &Running) -> Result<Seeded, String> {
    let mut seeded = Seeded {
        partners: COMPANIES.len(),
        leads: 0,
        deals: 0,
    };
    for (number, company) in COMPANIES.iter().enumerate() {
        if number < KNOWN_TO_BOTH || number % 2 == 0 {
            let account = account(systems, company)?;
            seeded.deals += opportunities(systems, number, company.0, &account)?;
        }
        if number < KNOWN_TO_BOTH || number % 2 == 1 {
            let id = hubspot_company(systems, number, company)?;
            seeded.deals += hubspot_deals(systems, number, company.0, &id)?;
        }
    }
    seeded.leads = leads(systems)?;
    Ok(seeded)
}

fn account(
    systems: &Running,
    (name, domain, city, country, phone, kind): &Company,
) -> Result<String, String> {
    let row = json!({
        "Name": name, "Website": format!("https://{domain}"), "Phone": phone, "BillingCity": city,
        "BillingCountry": country, "Partner_Type__c": kind, "CurrencyIsoCode": "EUR",
    });
    systems
        .salesforce
        .insert("Account", &row)
        .map_err(|error| error.to_string())
}

fn opportunities(systems: &Running, number: usize, partner: &str, account: &str) -> Result<usize, String> {
    for (deal, work) in WORK.iter().enumerate().take(DEALS_EACH) {
        let row = json!({
            "Name": format!("{work} for {partner}"), "AccountId": account,
            "StageName": STAGES[(number + deal) % STAGES.len()],
            "CloseDate": format!("2027-{:02}-{:02}", 1 + (number + deal) % 12, 1 + (number * 7 + deal) % 28),
            "Amount": amount(number, deal), "CurrencyIsoCode": "EUR",
            "Customer_Name__c": format!("Customer {}", number * DEALS_EACH + deal),
            "Customer_Country__c": "DE",
        });
        systems
            .salesforce
            .insert("Opportunity", &row)
            .map_err(|error| error.to_string())?;
    }
    Ok(DEALS_EACH)
}

/// An exact amount, as a JSON number with its two decimals.
fn amount(number: usize, deal: usize) -> serde_json::Value {
    let cents = 1_234_550 + number * 777_345 + deal * 91_005;
    let text = format!("{}.{:02}", cents / 100, cents % 100);
    serde_json::from_str(&text).expect("digits are a number")
}

fn hubspot_company(systems: &Running, number: usize, company: &Company) -> Result<String, String> {
    let (name, domain, city, country, phone, kind) = company;
    // Where both systems know a company, HubSpot has less and spells it its own way: they meet by domain.
    let properties = if number < KNOWN_TO_BOTH {
        json!({"name": name.to_uppercase(), "domain": domain})
    } else {
        json!({"name": name, "domain": domain, "website": format!("https://{domain}"), "city": city, "country": country, "phone": phone, "partner_type": kind})
    };
    systems
        .hubspot
        .insert("companies", &properties)
        .map_err(|error| error.to_string())
}

fn hubspot_deals(systems: &Running, number: usize, partner: &str, company: &str) -> Result<usize, String> {
    if number < KNOWN_TO_BOTH {
        return Ok(0);
    }
    let properties = json!({
        "dealname": format!("Campaign with {partner}"), "dealstage": "qualifiedtobuy", "pipeline": "default",
        "amount": format!("{}.95", 500 + number * 31), "deal_currency_code": "EUR",
        "closedate": format!("2027-{:02}-15T00:00:00Z", 1 + number % 12),
    });
    let deal = systems
        .hubspot
        .insert("deals", &properties)
        .map_err(|error| error.to_string())?;
    systems
        .hubspot
        .associate(("deals", &deal), ("companies", company))
        .map_err(|error| error.to_string())?;
    Ok(1)
}

fn leads(systems: &Running) -> Result<usize, String> {
    let people = [
        (
            "Amara",
            "Okafor",
            "amara.okafor@bluewater.example",
            "Bluewater Logistics",
            "+493055512340",
        ),
        (
            "Jonas",
            "Lindqvist",
            "jonas@nordlager.example",
            "Nordlager AB",
            "+46855512341",
        ),
        (
            "Chiara",
            "Moretti",
            "c.moretti@officina.example",
            "Officina Moretti",
            "+390255512342",
        ),
        (
            "Tomás",
            "Vega",
            "tomas.vega@riobravo.example",
            "Rio Bravo Foods",
            "+34915551234",
        ),
    ];
    for (number, (first, last, email, company, phone)) in people.iter().enumerate() {
        if number % 2 == 0 {
            let row = json!({"FirstName": first, "LastName": last, "Email": email, "Company": company, "Phone": phone,
                "Status": "Open - Not Contacted", "CurrencyIsoCode": "EUR"});
            systems
                .salesforce
                .insert("Lead", &row)
                .map_err(|error| error.to_string())?;
        } else {
            let properties = json!({"firstname": first, "lastname": last, "email": email, "company": company,
                "phone": phone, "lifecyclestage": "lead", "hs_lead_status": "NEW"});
            systems
                .hubspot
                .insert("contacts", &properties)
                .map_err(|error| error.to_string())?;
        }
    }
    Ok(people.len())
}
