//! What is told about a file that is not right: a good one, and what each small mistake in it is told as.

use std::collections::BTreeSet;
use std::path::Path;

use insta::assert_snapshot;

use super::*;

/// A mapping without a finding.
const GOOD: &str = r#"apiVersion: interconnect/v1
kind: Mapping
system: acme
object: Deal
record: deal
when: "Stage != 'Draft'"
fields:
  - { record: name, object: Name }
  - record: stage
    object: Stage
    lens:
      - enum: { prospect: New, qualified: Open, technical_validation: Trial, business_validation: Offer, committed: Won, launched: Live, closed_lost: Lost }
  - { record: amount, object: [Amount, Currency], lens: [ money: { scale: 2 } ] }
  - { record: expected_close_date, object: Close, lens: [ date: { wire: datetime_utc_midnight } ] }
  - { record: product_lines, object: Lines, lens: [ split: ";" ] }
  - { record: partner, object: Account, lens: [ reference: { object: Account } ] }
  - { record: customer.name, object: Customer }
  - { record: customer.country, object: Country }
  - { record: contact.phone, object: Phone, lens: [ phone: { country: customer.country } ] }
  - { record: contact.first_name, object: Contact, lens: [ part: first ], direction: in }
  - { record: contact.last_name, object: Contact, lens: [ part: last ], direction: in }
  - { record: lost_reason, object: Reason, lens: [ { truncate: 200 } ], coarse: true }
  - { record: next_steps, object: Next, blank: { write: none } }
constants: { Source: Partner }
examples:
  - object: { Name: Pilot, Stage: Won, Amount: 10.50, Currency: EUR, Close: "2026-03-31T00:00:00Z", Contact: Ada Lovelace }
    record: { name: Pilot, stage: committed, amount: { amount: 10.5, currency: EUR }, expected_close_date: 2026-03-31, contact: { first_name: Ada, last_name: Lovelace } }
    back: { Name: Pilot, Stage: Won, Amount: 10.50, Currency: EUR, Close: "2026-03-31T00:00:00Z", Next: none, Source: Partner }
"#;

/// The good file with one mistake.
fn mistaken(good: &str, bad: &str) -> Report {
    assert!(
        good.is_empty() || GOOD.matches(good).count() == 1,
        "`{good}` stands there once"
    );
    let text = if good.is_empty() {
        GOOD.to_owned()
    } else {
        GOOD.replace(good, bad)
    };
    report(&text)
}

#[test]
fn a_good_file_has_no_finding() {
    assert_eq!(mistaken("", "").render(false), "");
}

/// For each mistake a test: what stands there, what is written instead, and what is told.
macro_rules! mistakes {
    ($list:ident: $($what:ident: $good:literal => $bad:literal, $told:literal;)+) => {
        const $list: &[(&str, &str)] = &[$(($good, $bad)),+];

        $(#[test]
        fn $what() {
            assert_snapshot!(mistaken($good, $bad).render(false), @$told);
        })+
    };
}

mistakes! { SLIPS:
    a_list_without_its_end: r#"split: ";" ] }"# => r#"split: ";" }"#,
    r##"
    error[IC0001]: not valid YAML: "-" is only valid inside a block
      --> deal.yaml:16:3
       |
    16 |   - { record: partner, object: Account, lens: [ reference: { object: Account } ] }
       |   ^
       |
       = help: check the indentation and the quotes on this line and the one above it
    "##;
    a_kind_of_another_file: "kind: Mapping" => "kind: Connector",
    r##"
    error[IC0004]: `Connector` is not a known value of `kind`
     --> deal.yaml:2:7
      |
    2 | kind: Connector
      |       ^^^^^^^^^
      |
      = help: known are: Mapping
    "##;
    no_system: r#"system: acme
"# => "",
    r##"
    error[IC0003]: a mapping lacks `system`
     --> deal.yaml:1:1
      |
    1 | apiVersion: interconnect/v1
      | ^
      |
      = help: add `system: …`
    "##;
    examples_that_are_no_list: r#"examples:
  - object: { Name: Pilot"# => r#"examples:
    object: { Name: Pilot"#,
    r##"
    error[IC0004]: `examples` is a map, expected a list
      --> deal.yaml:26:5
       |
    26 |     object: { Name: Pilot, Stage: Won, Amount: 10.50, Currency: EUR, Close: "2026-03-31T00:00:00Z", Contact: Ada Lovelace }
       |     ^
       |
       = help: write a list
    "##;
    a_key_that_nobody_knows: "record: customer.name, object" => "record: customer.name, objct",
    r##"
    error[IC0003]: a field lacks `object`
      --> deal.yaml:17:5
       |
    17 |   - { record: customer.name, objct: Customer }
       |     ^^
       |
       = help: add `object: …`

    error[IC0005]: `objct` is not a key of a field
      --> deal.yaml:17:30
       |
    17 |   - { record: customer.name, objct: Customer }
       |                              ^^^^^
       |
       = help: did you mean `object`?
    "##;
    a_direction_that_there_is_not: "[ part: first ], direction: in" => "[ part: first ], direction: inn",
    r##"
    error[IC0004]: `inn` is not a known value of `direction`
      --> deal.yaml:20:86
       |
    20 |   - { record: contact.first_name, object: Contact, lens: [ part: first ], direction: inn }
       |                                                                                      ^^^
       |
       = help: did you mean `in`?
    "##;
    a_field_that_records_lack: "record: customer.name" => "record: custommer.name",
    r##"
    error[IC0301]: `custommer.name` is not a field of a deal
      --> deal.yaml:17:15
       |
    17 |   - { record: custommer.name, object: Customer }
       |               ^^^^^^^^^^^^^^
       |
       = help: did you mean `customer.name`?
    "##;
    a_value_read_from_two_fields: "record: customer.name" => "record: name",
    r##"
    error[IC0302]: `name` is read from two fields of the object
      --> deal.yaml:17:15
       |
    17 |   - { record: name, object: Customer }
       |               ^^^^
       |
       = help: remove one, or give one of them `direction: out`
    "##;
    a_field_written_by_two_lines: "object: Customer }" => "object: Name }",
    r##"
    error[IC0303]: `Name` is written by two lines
      --> deal.yaml:17:15
       |
    17 |   - { record: customer.name, object: Name }
       |               ^^^^^^^^^^^^^
       |
       = help: give one of them `direction: in`
    "##;
    a_constant_that_a_line_writes: r#"{ Source: Partner }
examples"# => r#"{ Source: Partner, Name: x }
examples"#,
    r##"
    error[IC0303]: the constant `Name` is also written by a line
      --> deal.yaml:24:31
       |
    24 | constants: { Source: Partner, Name: x }
       |                               ^^^^
       |
       = help: remove the constant, or give the line `direction: in`
    "##;
    a_step_that_there_is_not: r#"split: ";""# => r#"splitt: ";""#,
    r##"
    error[IC0304]: `splitt` is not a step of a lens
      --> deal.yaml:15:53
       |
    15 |   - { record: product_lines, object: Lines, lens: [ splitt: ";" ] }
       |                                                     ^^^^^^
       |
       = help: did you mean `split`?
    "##;
    a_list_without_its_separator: r#"split: ";""# => "split",
    r##"
    error[IC0304]: `split` lacks its separator
      --> deal.yaml:15:53
       |
    15 |   - { record: product_lines, object: Lines, lens: [ split ] }
       |                                                     ^^^^^
       |
       = help: write `split: ";"`
    "##;
    two_spellings_in_one_lens: "[ money: { scale: 2 } ]" => "[ money, money: { scale: 2 } ]",
    r##"
    error[IC0304]: a second spelling in one lens
      --> deal.yaml:13:66
       |
    13 |   - { record: amount, object: [Amount, Currency], lens: [ money, money: { scale: 2 } ] }
       |                                                                  ^^^^^
       |
       = help: keep one step that says how the value is spelled
    "##;
    a_currency_that_there_is_not: "object: [Amount, Currency], lens: [ money: { scale: 2 } ]" => "object: Amount, lens: [ money: { currency: EURO } ]",
    r##"
    error[IC0304]: `EURO` is not a currency code of ISO 4217 such as EUR
      --> deal.yaml:13:66
       |
    13 |   - { record: amount, object: Amount, lens: [ money: { currency: EURO } ] }
       |                                                                  ^^^^
       |
       = help: write `currency: "{connection}"` or a code
    "##;
    a_reference_to_nobody_knows_what: ", lens: [ reference: { object: Account } ]" => "",
    r##"
    error[IC0304]: `partner` holds a reference to another record, and nothing says how the system writes it
      --> deal.yaml:16:5
       |
    16 |   - { record: partner, object: Account }
       |     ^^
       |
       = help: add `lens: [ reference: { object: <the partner's object> } ]`
    "##;
    a_step_for_another_type: "[ date: { wire: datetime_utc_midnight } ]" => "[ datetime ]",
    r##"
    error[IC0305]: `datetime` does not fit `expected_close_date`, which holds a day
      --> deal.yaml:14:59
       |
    14 |   - { record: expected_close_date, object: Close, lens: [ datetime ] }
       |                                                           ^^^^^^^^
       |
       = help: fitting are: date
    "##;
    a_form_that_there_is_not: "datetime_utc_midnight }" => "datetime_midnight }",
    r##"
    error[IC0004]: `datetime_midnight` is not a known value of `wire`
      --> deal.yaml:14:73
       |
    14 |   - { record: expected_close_date, object: Close, lens: [ date: { wire: datetime_midnight } ] }
       |                                                                         ^^^^^^^^^^^^^^^^^
       |
       = help: did you mean `datetime_utc_midnight`?
    "##;
    a_word_that_is_misspelt: "{ prospect: New" => "{ prospct: New",
    r##"
    error[IC0306]: `prospct` is not a value of `stage`
      --> deal.yaml:12:17
       |
    12 |       - enum: { prospct: New, qualified: Open, technical_validation: Trial, business_validation: Offer, committed: Won, launched: Li...
       |                 ^^^^^^^
       |
       = help: did you mean `prospect`?
    "##;
    a_word_for_a_list: "prospect: New" => "prospect: [[New]]",
    r##"
    error[IC0307]: `prospect` stands for a list, expected text, a number or true/false
      --> deal.yaml:12:28
       |
    12 |       - enum: { prospect: [[New]], qualified: Open, technical_validation: Trial, business_validation: Offer, committed: Won, launche...
       |                            ^
       |
       = help: write the system's own value; blank is always blank
    "##;
    a_word_for_the_same_value_twice: "prospect: New" => "prospect: [New, New]",
    r##"
    error[IC0307]: `prospect` stands for the same value twice
      --> deal.yaml:12:33
       |
    12 |       - enum: { prospect: [New, New], qualified: Open, technical_validation: Trial, business_validation: Offer, committed: Won, laun...
       |                                 ^^^
       |
       = help: remove one
    "##;
    a_word_that_cannot_be_written: ", closed_lost: Lost" => "",
    r##"
    warning[IC0308]: `stage` cannot be written when it is closed_lost
     --> deal.yaml:9:13
      |
    9 |   - record: stage
      |             ^^^^^
      |
      = help: name a value for it, or give the line `direction: in`
    "##;
    a_record_that_can_never_be_whole: r#"  - { record: name, object: Name }
"# => "",
    r##"
    error[IC0309]: no line reads `name`, without which there is no deal
     --> deal.yaml:7:1
      |
    7 | fields:
      | ^^^^^^
      |
      = help: add `- { record: name, object: … }`
    "##;
    a_condition_that_does_not_parse: r#""Stage != 'Draft'""# => r#""Stage !=""#,
    r##"
    error[IC0310]: `when` is no expression: unexpected end of input, expected expression
     --> deal.yaml:6:7
      |
    6 | when: "Stage !="
      |       ^^^^^^^^^^
      |
      = help: write an expression over the object's fields, such as `state == 'lead'`
    "##;
    a_cut_that_never_cuts: "truncate: 200" => "truncate: 2000",
    r##"
    warning[IC0311]: `truncate: 2000` never cuts: `lost_reason` holds at most 255 characters
      --> deal.yaml:22:15
       |
    22 |   - { record: lost_reason, object: Reason, lens: [ { truncate: 2000 } ], coarse: true }
       |               ^^^^^^^^^^^
       |
       = help: remove it
    "##;
    a_country_that_nobody_reads: "phone: { country: customer.country }" => "phone: { country: customer.contry }",
    r##"
    error[IC0313]: `customer.contry` is not a country that this mapping reads
      --> deal.yaml:19:71
       |
    19 |   - { record: contact.phone, object: Phone, lens: [ phone: { country: customer.contry } ] }
       |                                                                       ^^^^^^^^^^^^^^^
       |
       = help: did you mean `customer.country`?
    "##;
    an_example_that_reads_otherwise: "record: { name: Pilot" => "record: { name: Plot",
    r##"
    error[IC0314]: `name` reads as `Pilot`, the example says `Plot`
      --> deal.yaml:27:21
       |
    27 |     record: { name: Plot, stage: committed, amount: { amount: 10.5, currency: EUR }, expected_close_date: 2026-03-31, contact: { fir...
       |                     ^^^^
       |
       = help: correct the example or the lens

    error[IC0315]: `Name` is written as "Plot", expected "Pilot"
      --> deal.yaml:28:11
       |
    28 |     back: { Name: Pilot, Stage: Won, Amount: 10.50, Currency: EUR, Close: "2026-03-31T00:00:00Z", Next: none, Source: Partner }
       |           ^^
       |
       = help: correct the lens, or say under `back:` what is written
    "##;
    an_example_that_is_written_otherwise: "Next: none, Source" => "Next: nothing, Source",
    r##"
    error[IC0315]: `Next` is written as "none", expected "nothing"
      --> deal.yaml:28:11
       |
    28 |     back: { Name: Pilot, Stage: Won, Amount: 10.50, Currency: EUR, Close: "2026-03-31T00:00:00Z", Next: nothing, Source: Partner }
       |           ^^
       |
       = help: correct the lens, or say under `back:` what is written
    "##;
    an_example_that_is_not_admitted: "Stage != 'Draft'" => "Stage == 'Draft'",
    r##"
    error[IC0316]: `when` does not admit this example's object
      --> deal.yaml:27:13
       |
    27 |     record: { name: Pilot, stage: committed, amount: { amount: 10.5, currency: EUR }, expected_close_date: 2026-03-31, contact: { fi...
       |             ^^
       |
       = help: change the example or the condition
    "##;
    an_example_with_a_misspelt_field: "record: { name: Pilot" => "record: { nmae: Pilot",
    r##"
    error[IC0319]: `nmae` is not a field of a deal
      --> deal.yaml:27:15
       |
    27 |     record: { nmae: Pilot, stage: committed, amount: { amount: 10.5, currency: EUR }, expected_close_date: 2026-03-31, contact: { fi...
       |               ^^^^
       |
       = help: did you mean `name`?
    "##;
    an_example_with_an_impossible_value: "expected_close_date: 2026-03-31, contact" => "expected_close_date: 2026-02-31, contact",
    r##"
    error[IC0319]: `expected_close_date`: `2026-02-31` is not a day that exists, as YYYY-MM-DD
      --> deal.yaml:27:108
       |
    27 |     record: { name: Pilot, stage: committed, amount: { amount: 10.5, currency: EUR }, expected_close_date: 2026-02-31, contact: { fi...
       |                                                                                                            ^^^^^^^^^^
       |
       = help: write it in the form that records hold
    "##;
    no_example: r#"examples:
  - object: { Name: Pilot, Stage: Won, Amount: 10.50, Currency: EUR, Close: "2026-03-31T00:00:00Z", Contact: Ada Lovelace }
    record: { name: Pilot, stage: committed, amount: { amount: 10.5, currency: EUR }, expected_close_date: 2026-03-31, contact: { first_name: Ada, last_name: Lovelace } }
    back: { Name: Pilot, Stage: Won, Amount: 10.50, Currency: EUR, Close: "2026-03-31T00:00:00Z", Next: none, Source: Partner }
"# => "",
    r##"
    warning[IC0318]: the mapping has no example
     --> deal.yaml:7:1
      |
    7 | fields:
      | ^^^^^^
      |
      = help: add `examples:` with an object and the record it is
    "##;
    two_fields_for_one_value: "object: Close" => "object: [Close, Day]",
    r##"
    error[IC0320]: `expected_close_date` stands in one field of the object, found 2
      --> deal.yaml:14:44
       |
    14 |   - { record: expected_close_date, object: [Close, Day], lens: [ date: { wire: datetime_utc_midnight } ] }
       |                                            ^
       |
       = help: name one field
    "##;
    an_amount_without_its_currency: "object: [Amount, Currency]" => "object: Amount",
    r##"
    error[IC0320]: `amount` needs the object's amount and its currency
      --> deal.yaml:13:31
       |
    13 |   - { record: amount, object: Amount, lens: [ money: { scale: 2 } ] }
       |                               ^^^^^^
       |
       = help: write `object: [Amount, Currency]`, or `money: { currency: "{connection}" }`
    "##;
    an_expression_both_ways: "object: Customer }" => "object: Customer, jq: .Customer }",
    r##"
    error[IC0322]: an expression goes one way: nothing shows how it is undone
      --> deal.yaml:17:52
       |
    17 |   - { record: customer.name, object: Customer, jq: .Customer }
       |                                                    ^^^^^^^^^
       |
       = help: add `direction: in`, `out` or `create`
    "##;
    an_expression_and_a_lens: "object: Customer }" => "object: Customer, jq: ascii_upcase, lens: [ case: upper ], direction: out }",
    r##"
    error[IC0322]: the expression says already how the value is written
      --> deal.yaml:17:72
       |
    17 |   - { record: customer.name, object: Customer, jq: ascii_upcase, lens: [ case: upper ], direction: out }
       |                                                                        ^^
       |
       = help: remove `lens`
    "##;
    an_expression_that_is_none: "object: Customer }" => "object: Customer, jq: '.Customer | lenght', direction: in }",
    r##"
    error[IC0323]: `lenght` is not available in an expression
      --> deal.yaml:17:65
       |
    17 |   - { record: customer.name, object: Customer, jq: '.Customer | lenght', direction: in }
       |                                                                 ^^^^^^
       |
       = help: did you mean `length`?
    "##;
    an_expression_that_may_not_end: "object: Customer }" => "object: Customer, jq: 'repeat(.)', direction: in }",
    r##"
    error[IC0323]: `repeat` is not available in an expression
      --> deal.yaml:17:53
       |
    17 |   - { record: customer.name, object: Customer, jq: 'repeat(.)', direction: in }
       |                                                     ^^^^^^
       |
       = help: a program must end on every input; connectors/README.md lists what is available
    "##;
    an_expression_for_something_else: "object: Customer }" => "object: Notes, jq: .Notes.text, direction: in }",
    r##"
    error[IC0324]: `customer.name` cannot be read from the sample samples/deals.json: `an object` is not what the line's `jq` is for: `.Notes.text` fails on this input: found text, expected an object
      --> deal.yaml:17:15
       |
    17 |   - { record: customer.name, object: Notes, jq: .Notes.text, direction: in }
       |               ^^^^^^^^^^^^^
       |
       = help: correct the expression, or the sample
    "##;
    an_expression_that_makes_many_values: "object: Customer }" => "object: Name, jq: '.Name | ., .', direction: in }",
    r##"
    error[IC0314]: `customer.name` and `Name`: `an object` is not what the line's `jq` is for: `.Name | ., .` makes 2 values of it, and a field has one
      --> deal.yaml:27:13
       |
    27 |     record: { name: Pilot, stage: committed, amount: { amount: 10.5, currency: EUR }, expected_close_date: 2026-03-31, contact: { fi...
       |             ^^
       |
       = help: correct the object or the lens

    error[IC0324]: `customer.name` cannot be read from the sample samples/deals.json: `an object` is not what the line's `jq` is for: `.Name | ., .` makes 2 values of it, and a field has one
      --> deal.yaml:17:15
       |
    17 |   - { record: customer.name, object: Name, jq: '.Name | ., .', direction: in }
       |               ^^^^^^^^^^^^^
       |
       = help: correct the expression, or the sample
    "##;
    an_expression_that_nobody_runs: "object: Customer }" => "object: Customer, jq: '.Customer | ascii_upcase', direction: in }",
    r##"
    warning[IC0325]: no example and no sample runs the expression of `customer.name`
      --> deal.yaml:17:15
       |
    17 |   - { record: customer.name, object: Customer, jq: '.Customer | ascii_upcase', direction: in }
       |               ^^^^^^^^^^^^^
       |
       = help: add an example whose object has the fields that it reads, or whose record has the value that it writes
    "##;
    a_computed_amount_without_its_currency: "object: [Amount, Currency], lens: [ money: { scale: 2 } ] }" => "object: [Amount, Currency], jq: .Amount, lens: [ money: { scale: 2 } ], direction: in }",
    r##"
    error[IC0320]: the expression makes the amount of `amount`, and nothing says its currency
      --> deal.yaml:13:31
       |
    13 |   - { record: amount, object: [Amount, Currency], jq: .Amount, lens: [ money: { scale: 2 } ], direction: in }
       |                               ^
       |
       = help: write `money: { currency: "{connection}" }`, or a code
    "##;
    two_fields_that_are_no_name: "record: customer.name, object" => "record: [customer.name, customer.city], direction: out, object",
    r##"
    error[IC0320]: two fields of the record are one of the object only where a whole name is written
      --> deal.yaml:17:5
       |
    17 |   - { record: [customer.name, customer.city], direction: out, object: Customer }
       |     ^^
       |
       = help: write `lens: [ whole_name ]` and `direction: out` or `create`, or name one field
    "##;
    a_whole_name_in_one_field: "object: Customer }" => "object: Customer, lens: [ whole_name ] }",
    r##"
    error[IC0320]: `customer.name` is a whole name, which the object has in two fields
      --> deal.yaml:17:38
       |
    17 |   - { record: customer.name, object: Customer, lens: [ whole_name ] }
       |                                      ^^^^^^^^
       |
       = help: write `object: [first_name, last_name]`, the given name first
    "##;
    a_whole_name_that_is_cut: "object: Customer }" => "object: [First, Last], lens: [ whole_name, truncate: 40 ] }",
    r##"
    error[IC0304]: a whole name stands in two fields: it can neither be cut nor be respelled
      --> deal.yaml:17:5
       |
    17 |   - { record: customer.name, object: [First, Last], lens: [ whole_name, truncate: 40 ] }
       |     ^^
       |
       = help: keep `whole_name` alone
    "##;
    a_stand_in_for_a_whole_name: "object: Customer }" => "object: [First, Last], lens: [ whole_name ], blank: { write: none } }",
    r##"
    error[IC0321]: `write` has no place in a name of two fields
      --> deal.yaml:17:5
       |
    17 |   - { record: customer.name, object: [First, Last], lens: [ whole_name ], blank: { write: none } }
       |     ^^
       |
       = help: remove `write`
    "##;
    the_smallest_unit_with_a_scale: "money: { scale: 2 }" => "money: { scale: 2, minor: true }",
    r##"
    error[IC0304]: an amount in the smallest unit of its currency has as many decimals as that
      --> deal.yaml:13:75
       |
    13 |   - { record: amount, object: [Amount, Currency], lens: [ money: { scale: 2, minor: true } ] }
       |                                                                           ^
       |
       = help: remove `scale`
    "##;
    a_stand_in_that_is_a_value: "record: expected_close_date, object: Close, lens" => r#"record: expected_close_date, object: Close, blank: { write: "2026-03-31T00:00:00Z" }, lens"#,
    r##"
    error[IC0314]: `expected_close_date` reads as blank, the example says `2026-03-31`
      --> deal.yaml:27:108
       |
    27 |     record: { name: Pilot, stage: committed, amount: { amount: 10.5, currency: EUR }, expected_close_date: 2026-03-31, contact: { fi...
       |                                                                                                            ^^^^^^^^^^
       |
       = help: correct the example or the lens

    error[IC0317]: CreateGet does not hold for `expected_close_date`: "2026-03-31" is written as `Close`: "2026-03-31T00:00:00Z" and read as null
      --> deal.yaml:14:15
       |
    14 |   - { record: expected_close_date, object: Close, blank: { write: "2026-03-31T00:00:00Z" }, lens: [ date: { wire: datetime_utc_midni...
       |               ^^^^^^^^^^^^^^^^^^^
       |
       = help: change the lens, or give the line `direction: in`
    "##;
    a_stand_in_for_what_may_be_blank: "blank: { write: none }" => "blank: { read: none }",
    r##"
    error[IC0321]: `next_steps` may be blank, so a blank cannot stand for a value of it
      --> deal.yaml:23:56
       |
    23 |   - { record: next_steps, object: Next, blank: { read: none } }
       |                                                        ^^^^
       |
       = help: use `read` for required fields only
    "##;
    a_blank_that_says_nothing_and_is_written: "blank: { write: none }" => "blank: { ignore: true }",
    r##"
    error[IC0321]: a blank that says nothing cannot be written
      --> deal.yaml:23:48
       |
    23 |   - { record: next_steps, object: Next, blank: { ignore: true } }
       |                                                ^^
       |
       = help: add `direction: in`, or remove `ignore`
    "##;
}

// Lenses that would lose something: each is refused with what it loses.
mistakes! { LOSSES:
    a_cut_that_nobody_stated: "{ truncate: 200 } ], coarse: true }" => "{ truncate: 200 } ] }",
    r##"
    error[IC0317]: Exact does not hold for `lost_reason`: "O'Hara O'Hara Müller & Söhne 🚀…& Söhne Café;Ba" (255 characters) is written as `Reason`: "O'Hara O'Hara Müller & Söhne 🚀…O'Hara x,y 🚀 Ca" (200 characters) and read as "O'Hara O'Hara Müller & Söhne 🚀…O'Hara x,y 🚀 Ca" (200 characters)
      --> deal.yaml:22:15
       |
    22 |   - { record: lost_reason, object: Reason, lens: [ { truncate: 200 } ] }
       |               ^^^^^^^^^^^
       |
       = help: change the lens, or add `coarse: true` if the system may hold less than the record
    "##;
    a_cut_without_a_length: "{ truncate: 200 }" => "truncate",
    r##"
    error[IC0304]: `truncate` needs a number of characters from 1 to 1000000
      --> deal.yaml:22:52
       |
    22 |   - { record: lost_reason, object: Reason, lens: [ truncate ], coarse: true }
       |                                                    ^^^^^^^^
       |
       = help: write `truncate: 120`
    "##;
    two_words_of_one_value_that_nobody_stated: "launched: Live" => "launched: Won",
    r##"
    error[IC0317]: Exact does not hold for `stage`: "launched" is written as `Stage`: "Won" and read as "committed"
     --> deal.yaml:9:13
      |
    9 |   - record: stage
      |             ^^^^^
      |
      = help: change the lens, or add `coarse: true` if the system may hold less than the record
    "##;
    a_float_for_an_amount: "object: { Name: Pilot, Stage: Won, Amount: 10.50" => "object: { Name: Pilot, Stage: Won, Amount: 10.500000000000002",
    r##"
    error[IC0314]: `amount` and `Amount`: `10.500000000000002` is not an amount with at most 2 decimals, which is what the system keeps
      --> deal.yaml:27:54
       |
    27 |     record: { name: Pilot, stage: committed, amount: { amount: 10.5, currency: EUR }, expected_close_date: 2026-03-31, contact: { fi...
       |                                                      ^^
       |
       = help: correct the object or the lens
    "##;
    a_day_in_the_zone_of_an_organisation: r#"Close: "2026-03-31T00:00:00Z", Contact"# => r#"Close: "2026-03-31T00:00:00+02:00", Contact"#,
    r##"
    error[IC0314]: `expected_close_date` and `Close`: `2026-03-31T00:00:00+02:00` is not a moment in UTC, which is where its day is meant
      --> deal.yaml:27:108
       |
    27 |     record: { name: Pilot, stage: committed, amount: { amount: 10.5, currency: EUR }, expected_close_date: 2026-03-31, contact: { fi...
       |                                                                                                            ^^^^^^^^^^
       |
       = help: correct the object or the lens
    "##;
    a_day_in_the_zone_of_an_organisation_sent_in_utc: r#"Close: "2026-03-31T00:00:00Z", Contact"# => r#"Close: "2026-03-30T22:00:00Z", Contact"#,
    r##"
    error[IC0314]: `expected_close_date` reads as `2026-03-30`, the example says `2026-03-31`
      --> deal.yaml:27:108
       |
    27 |     record: { name: Pilot, stage: committed, amount: { amount: 10.5, currency: EUR }, expected_close_date: 2026-03-31, contact: { fi...
       |                                                                                                            ^^^^^^^^^^
       |
       = help: correct the example or the lens
    "##;
    half_a_name_that_is_written: "[ part: last ], direction: in" => "[ part: last ]",
    r##"
    error[IC0312]: `part` can only be read: half a name cannot be written to `Contact`
      --> deal.yaml:21:5
       |
    21 |   - { record: contact.last_name, object: Contact, lens: [ part: last ] }
       |     ^^
       |
       = help: add `direction: in`
    "##;
    a_name_from_two_fields: "record: customer.name, object: Customer" => "record: customer.name, object: [First, Last]",
    r##"
    error[IC0320]: `customer.name` stands in one field of the object, found 2
      --> deal.yaml:17:38
       |
    17 |   - { record: customer.name, object: [First, Last] }
       |                                      ^
       |
       = help: name one field
    "##;
    a_name_of_one_word: "Contact: Ada Lovelace" => "Contact: Cher",
    r##"
    error[IC0314]: `contact.first_name` reads as blank, the example says `Ada`
      --> deal.yaml:27:143
       |
    27 | ...EUR }, expected_close_date: 2026-03-31, contact: { first_name: Ada, last_name: Lovelace } }
       |                                                                   ^^^
       |
       = help: correct the example or the lens

    error[IC0314]: `contact.last_name` reads as `Cher`, the example says `Lovelace`
      --> deal.yaml:27:159
       |
    27 | ...se_date: 2026-03-31, contact: { first_name: Ada, last_name: Lovelace } }
       |                                                                ^^^^^^^^
       |
       = help: correct the example or the lens
    "##;
    a_word_for_blank_text: "prospect: New" => r#"prospect: """#,
    r##"
    error[IC0307]: `prospect` stands for blank text, which no system tells from nothing
      --> deal.yaml:12:27
       |
    12 |       - enum: { prospect: "", qualified: Open, technical_validation: Trial, business_validation: Offer, committed: Won, launched: Li...
       |                           ^^
       |
       = help: write the system's own value; for fields that must not be blank there is `blank: { read: … }`
    "##;
    a_stand_in_that_is_blank: "blank: { write: none }" => r#"blank: { write: "" }"#,
    r##"
    error[IC0321]: `write` is blank itself, which no system tells from nothing
      --> deal.yaml:23:57
       |
    23 |   - { record: next_steps, object: Next, blank: { write: "" } }
       |                                                         ^^^
       |
       = help: write `write: "[not provided]"`
    "##;
}

#[test]
fn every_code_of_this_crate_has_a_mistake() {
    let mut told = BTreeSet::new();
    for (good, bad) in SLIPS.iter().chain(LOSSES) {
        told.extend(mistaken(good, bad).findings().iter().map(|finding| finding.code));
    }
    told.extend(
        super::live::differences()
            .findings()
            .iter()
            .map(|finding| finding.code),
    );
    let mut codes = BTreeSet::new();
    for file in Path::new(env!("CARGO_MANIFEST_DIR")).read_dir().unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "rs") {
            let text = std::fs::read_to_string(path).unwrap();
            let quoted = text
                .split('"')
                .skip(1)
                .filter(|word| word.len() == 6 && word.starts_with("IC"));
            codes.extend(quoted.map(str::to_owned));
        }
    }
    assert!(codes.len() > 15, "{codes:?}");
    let missing: Vec<&String> = codes
        .iter()
        .filter(|code| !told.contains(code.as_str()))
        .collect();
    assert!(missing.is_empty(), "add a line to `mistakes!` for {missing:?}");
    for code in told {
        assert!(diagnostic::explanation(code).is_some(), "{code}");
    }
}

#[test]
fn no_mistake_hides_another() {
    let mut text = GOOD.to_owned();
    for (good, bad) in [
        ("Stage != 'Draft'", "Stage !="),
        ("prospect: New", "prospct: New"),
        ("reference: { object: Account }", "refrence: { object: Account }"),
        ("record: customer.name", "record: custommer.name"),
        (
            "direction: in }\n  - { record: lost",
            "direction: inn }\n  - { record: lost",
        ),
        ("record: { name: Pilot", "record: { nmae: Pilot"),
    ] {
        assert!(text.contains(good), "{good}");
        text = text.replace(good, bad);
    }
    let report = report(&text);
    let codes: Vec<&str> = report.findings().iter().map(|finding| finding.code).collect();
    assert_eq!(
        codes,
        ["IC0310", "IC0306", "IC0304", "IC0301", "IC0004", "IC0319"]
    );
}
