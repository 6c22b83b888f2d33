//! One record through a mapping file, and through code that somebody wrote for exactly this object.
//!
//! Both give the same record, which is checked first, and both ask the same functions what a phone number or a country
//! is: what is compared is the way from an object to a record. The deal has every field that a deal can have.

use std::hint::black_box;
use std::time::Instant;

use jiff::Timestamp;
use jiff::civil::Date;
use mapping::{Context, Mapping};
use model::normalise::normalise;
use model::{Currency, FieldType, Fields, Kind, Money, RecordId, Value, uuid_from};
use serde_json::Value as Json;

/// Records that are converted each way.
const ROUNDS: u32 = 200_000;
/// Parts of them that take turns.
const TURNS: u32 = 10;

const MAPPING: &str = r#"
apiVersion: interconnect/v1
kind: Mapping
system: acme
object: Opportunity
record: deal
fields:
  - { record: name, object: Name, lens: [ { truncate: 120 } ], coarse: true }
  - record: stage
    object: StageName
    lens: [ enum: { prospect: Prospecting, qualified: Qualification, technical_validation: [Needs Analysis, Value Proposition], business_validation: [Proposal/Price Quote, Negotiation/Review], committed: Closed Won, launched: Live, closed_lost: Closed Lost } ]
  - { record: amount, object: [Amount, CurrencyIsoCode], lens: [ money: { scale: 2 } ] }
  - { record: expected_close_date, object: CloseDate }
  - { record: closed_at, object: Closed_At__c, lens: [ datetime: { digits: 3 } ] }
  - { record: probability, object: Probability, lens: [ decimal: { percent: true } ] }
  - { record: partner, object: AccountId, lens: [ reference: { object: Account } ] }
  - { record: customer.name, object: Customer_Name__c }
  - { record: customer.domain, object: Customer_Domain__c }
  - { record: customer.country, object: Customer_Country__c }
  - { record: customer.subdivision, object: Customer_State__c }
  - { record: customer.street, object: Customer_Street__c }
  - { record: customer.city, object: Customer_City__c }
  - { record: customer.postal_code, object: Customer_Zip__c }
  - { record: deal_type, object: Type, lens: [ enum: { net_new: New, expansion: Upgrade, renewal: Replacement } ] }
  - { record: origin, object: Origin__c }
  - { record: product_lines, object: Lines__c, lens: [ split: ";" ] }
  - { record: lost_reason, object: Lost_Reason__c }
  - { record: next_steps, object: NextStep }
  - { record: description, object: Description }
  - { record: owner_email, object: Owner.Email }
  - { record: contact.first_name, object: Contact_First__c }
  - { record: contact.last_name, object: Contact_Last__c }
  - { record: contact.email, object: Contact_Email__c }
  - { record: contact.phone, object: Contact_Phone__c }
  - { record: contact.job_title, object: Contact_Title__c }
"#;

const OBJECT: &str = r#"{
  "Id": "0065g00000AbCdEAAV", "IsDeleted": false, "Name": "Warehouse robots, phase 1", "StageName": "Negotiation/Review",
  "Amount": 184500.50, "CurrencyIsoCode": "EUR", "CloseDate": "2026-09-30", "Closed_At__c": "2026-09-30T10:15:30.000Z",
  "Probability": 90, "AccountId": "0015g00000AbCdEAAV", "Customer_Name__c": "Vaerksted A/S",
  "Customer_Domain__c": "vaerksted.example", "Customer_Country__c": "DK", "Customer_State__c": "DK-84",
  "Customer_Street__c": "Havnegade 4", "Customer_City__c": "Aarhus", "Customer_Zip__c": "8000", "Type": "New",
  "Origin__c": "partner", "Lines__c": "robots;software", "Lost_Reason__c": "Budget", "NextStep": "Send the revised offer",
  "Description": "14 robots in two halls, delivery before the season.", "Owner": { "Email": "ida.holm@hub.example" },
  "Contact_First__c": "Soren", "Contact_Last__c": "Krogh", "Contact_Email__c": "soren.krogh@vaerksted.example",
  "Contact_Phone__c": "+4530901820", "Contact_Title__c": "COO", "OwnerId": "0055g00000AbCdEAAV", "LeadSource": "Partner",
  "CreatedDate": "2026-01-12T08:00:00.000+0000", "ExpectedRevenue": 166050.45, "HasOpportunityLineItem": false
}"#;

/// Microseconds a record by mapping and by hand, and how many fields it has.
pub(crate) struct Measured {
    pub(crate) mapped_us: f64,
    pub(crate) by_hand_us: f64,
    pub(crate) fields: usize,
}

/// Measures both, in turns, so that what else the machine does falls on both.
pub(crate) fn measure() -> Measured {
    let mut report = diagnostic::Report::new();
    let mapping = Mapping::compile(&diagnostic::Source::new("deal.yaml", MAPPING), &mut report);
    let mapping = mapping.unwrap_or_else(|| panic!("{}", report.render(false)));
    let object: Json = serde_json::from_str(OBJECT).expect("the object above is JSON");
    let context = Context {
        currency: Currency::parse("EUR").ok(),
        country: Some("DE"),
        agreed: None,
    };
    let partner = RecordId::new(Kind::Partner, uuid_from(Timestamp::UNIX_EPOCH, [7; 10]));
    let resolve = |_: &str, _: &str| Some(partner);
    let mapped = || {
        mapping
            .forward(black_box(&object), None, context, &resolve)
            .fields
    };
    let written = || by_hand(black_box(&object), partner).expect("the object above is a deal");
    let (fields, expected) = (mapped(), written());
    for (path, value) in expected.iter() {
        assert_eq!(fields.get(path), Some(value), "{path}");
    }
    assert_eq!(fields, expected);
    let (mut mapped_s, mut by_hand_s) = (0.0, 0.0);
    for _ in 0..TURNS {
        mapped_s += seconds(&mapped);
        by_hand_s += seconds(&written);
    }
    Measured {
        mapped_us: mapped_s * 1e6 / f64::from(ROUNDS),
        by_hand_us: by_hand_s * 1e6 / f64::from(ROUNDS),
        fields: fields.len(),
    }
}

fn seconds(work: &dyn Fn() -> Fields) -> f64 {
    let start = Instant::now();
    for _ in 0..ROUNDS / TURNS {
        black_box(work());
    }
    start.elapsed().as_secs_f64()
}

const TEXT: FieldType = FieldType::Text { chars_max: 255 };
const LONG: FieldType = FieldType::Text { chars_max: 2000 };

/// What an engineer would write for this one object, with the same care for what a field may hold.
fn by_hand(object: &Json, partner: RecordId) -> Option<Fields> {
    let text = |name: &str| object.get(name)?.as_str().map(str::trim);
    let read = |field_type: FieldType, name: &str| normalise(field_type, text(name)?, None).ok();
    let name: String = text("Name")?.chars().take(120).collect();
    let stage = match text("StageName")? {
        "Prospecting" => "prospect",
        "Qualification" => "qualified",
        "Needs Analysis" | "Value Proposition" => "technical_validation",
        "Proposal/Price Quote" | "Negotiation/Review" => "business_validation",
        "Closed Won" => "committed",
        "Live" => "launched",
        "Closed Lost" => "closed_lost",
        _ => return None,
    };
    let deal_type = match text("Type")? {
        "New" => "net_new",
        "Upgrade" => "expansion",
        "Replacement" => "renewal",
        _ => return None,
    };
    let origin = text("Origin__c").filter(|word| ["partner", "vendor", "joint"].contains(word))?;
    let currency = Currency::parse(text("CurrencyIsoCode")?).ok()?;
    let amount = Money::parse(object.get("Amount")?.as_number()?.as_str(), currency).ok()?;
    let amount = Some(amount).filter(|money| money.amount.normalize().scale() <= 2)?;
    let percent: rust_decimal::Decimal = object.get("Probability")?.as_number()?.as_str().parse().ok()?;
    let lines = text("Lines__c")?
        .split(';')
        .map(str::trim)
        .filter(|line| !line.is_empty());
    let day: Date = text("CloseDate")?.parse().ok()?;
    let closed: Timestamp = text("Closed_At__c")?.parse().ok()?;
    let owner = object.get("Owner")?.get("Email")?.as_str()?;
    object.get("AccountId")?.as_str()?;
    let fields = [
        ("name", normalise(TEXT, &name, None).ok()?),
        ("stage", Value::text(stage)),
        ("amount", Value::Money(amount)),
        ("expected_close_date", Value::Date(day)),
        ("closed_at", Value::Instant(closed)),
        (
            "probability",
            Value::Decimal(percent / rust_decimal::Decimal::ONE_HUNDRED),
        ),
        ("partner", Value::Reference(partner)),
        ("customer.name", read(TEXT, "Customer_Name__c")?),
        ("customer.domain", read(FieldType::Domain, "Customer_Domain__c")?),
        (
            "customer.country",
            read(FieldType::Country, "Customer_Country__c")?,
        ),
        (
            "customer.subdivision",
            read(FieldType::Subdivision, "Customer_State__c")?,
        ),
        ("customer.street", read(TEXT, "Customer_Street__c")?),
        ("customer.city", read(TEXT, "Customer_City__c")?),
        ("customer.postal_code", read(TEXT, "Customer_Zip__c")?),
        ("deal_type", Value::text(deal_type)),
        ("origin", Value::text(origin)),
        ("product_lines", Value::Set(lines.map(str::to_owned).collect())),
        ("lost_reason", read(TEXT, "Lost_Reason__c")?),
        ("next_steps", read(TEXT, "NextStep")?),
        ("description", read(LONG, "Description")?),
        ("owner_email", normalise(FieldType::Email, owner, None).ok()?),
        ("contact.first_name", read(TEXT, "Contact_First__c")?),
        ("contact.last_name", read(TEXT, "Contact_Last__c")?),
        ("contact.email", read(FieldType::Email, "Contact_Email__c")?),
        ("contact.phone", read(FieldType::Phone, "Contact_Phone__c")?),
        ("contact.job_title", read(TEXT, "Contact_Title__c")?),
    ];
    Some(fields.into_iter().collect())
}
