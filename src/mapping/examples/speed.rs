//! Microseconds of one thread for a record of 25 fields: forward, forward again with a base, and the check that
//! nothing must be written. `cargo run --release -p interconnect-mapping --example speed`

use std::hint::black_box;
use std::io::Write;
use std::time::Instant;

use diagnostic::{Report, Source};
use mapping::{Context, Mapping};
use model::{Currency, Kind, RecordId, uuid_from};
use serde_json::Value as Json;

const ROUNDS: u32 = 200_000;

const MAPPING: &str = r#"
apiVersion: interconnect/v1
kind: Mapping
system: salesforce
object: Opportunity
record: deal
fields:
  - { record: name, object: Name, lens: [ { truncate: 120 } ] }
  - record: stage
    object: StageName
    lens: [ enum: { prospect: Prospecting, qualified: Qualification, technical_validation: [Needs Analysis, Value Proposition], business_validation: [Proposal/Price Quote, Negotiation/Review], committed: Closed Won, launched: Closed Won, closed_lost: Closed Lost } ]
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
  - { record: deal_type, object: Type, lens: [ enum: { net_new: New Customer, expansion: Existing Customer - Upgrade, renewal: Existing Customer - Replacement } ] }
  - { record: origin, object: Origin__c }
  - { record: product_lines, object: Lines__c, lens: [ split: ";" ] }
  - { record: lost_reason, object: Lost_Reason__c }
  - { record: next_steps, object: NextStep }
  - { record: description, object: Description }
  - { record: owner_email, object: Owner.Email }
  - { record: contact.first_name, object: Contact_First__c }
  - { record: contact.last_name, object: Contact_Last__c }
  - { record: contact.email, object: Contact_Email__c }
  - { record: contact.job_title, object: Contact_Title__c }
"#;

const OBJECT: &str = r#"{
  "attributes": { "type": "Opportunity", "url": "/services/data/v62.0/sobjects/Opportunity/0065g00000AbCdE" },
  "Id": "0065g00000AbCdEAAV", "IsDeleted": false, "Name": "Warehouse robots, phase 1", "StageName": "Negotiation/Review",
  "Amount": 184500.50, "CurrencyIsoCode": "EUR", "CloseDate": "2026-09-30", "Closed_At__c": "2026-09-30T10:15:30.000+0000",
  "Probability": 90, "AccountId": "0015g00000AbCdEAAV", "Customer_Name__c": "Vaerksted A/S",
  "Customer_Domain__c": "vaerksted.example", "Customer_Country__c": "DK", "Customer_State__c": "DK-84",
  "Customer_Street__c": "Havnegade 4", "Customer_City__c": "Aarhus", "Customer_Zip__c": "8000", "Type": "New Customer",
  "Origin__c": "partner", "Lines__c": "robots;software", "Lost_Reason__c": null, "NextStep": "Send the revised offer",
  "Description": "14 robots in two halls, delivery before the season.", "Owner": { "Email": "ida.holm@hub.example" },
  "Contact_First__c": "Soren", "Contact_Last__c": "Krogh", "Contact_Email__c": "soren.krogh@vaerksted.example",
  "Contact_Title__c": "COO", "OwnerId": "0055g00000AbCdEAAV", "LeadSource": "Partner", "IsClosed": false, "IsWon": false,
  "ForecastCategory": "Forecast", "ForecastCategoryName": "Commit", "FiscalQuarter": 3, "FiscalYear": 2026,
  "Fiscal": "2026 3", "CreatedDate": "2026-01-12T08:00:00.000+0000", "CreatedById": "0055g00000AbCdEAAV",
  "LastModifiedDate": "2026-03-12T08:00:00.000+0000", "LastModifiedById": "0055g00000AbCdEAAV",
  "SystemModstamp": "2026-03-12T08:00:00.000+0000", "ExpectedRevenue": 166050.45, "HasOpportunityLineItem": false
}"#;

fn main() {
    let mut report = Report::new();
    let compiled = Mapping::compile(&Source::new("speed.yaml", MAPPING), &mut report);
    let mut out = std::io::stdout().lock();
    let Some(mapping) = compiled else {
        writeln!(out, "{}", report.render(false)).expect("standard output takes text");
        return;
    };
    let object: Json = serde_json::from_str(OBJECT).expect("the object above is JSON");
    let context = Context {
        currency: Currency::parse("EUR").ok(),
        country: Some("DE"),
        agreed: None,
    };
    let partner = RecordId::new(Kind::Partner, uuid_from(jiff::Timestamp::UNIX_EPOCH, [7; 10]));
    let resolve = |_: &str, _: &str| Some(partner);
    let refer = |_: RecordId, _: &str| Some("0015g00000AbCdEAAV".to_owned());
    let read = mapping.forward(&object, None, context, &resolve);
    assert!(read.issues.is_empty(), "{:?}", read.issues);
    let base = read.fields;
    assert!(mapping.agree(&base, &object, context, &refer));

    let mut measure = |what: &str, work: &dyn Fn()| {
        let start = Instant::now();
        for _ in 0..ROUNDS {
            work();
        }
        let micros = start.elapsed().as_secs_f64() * 1e6 / f64::from(ROUNDS);
        writeln!(
            out,
            "{what:<24} {micros:.2} us a record, {:.0} a second",
            1e6 / micros
        )
        .expect("standard output takes text");
    };
    measure("forward, 25 fields", &|| {
        black_box(mapping.forward(black_box(&object), None, context, &resolve));
    });
    measure("forward with base", &|| {
        black_box(mapping.forward(black_box(&object), Some(&base), context, &resolve));
    });
    measure("nothing to write", &|| {
        black_box(mapping.agree(&base, black_box(&object), context, &refer));
    });
    measure("write everything", &|| {
        black_box(mapping.backward(black_box(&base), None, context, &refer));
    });
}
