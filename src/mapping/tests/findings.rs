//! What is told about a file that is not right.

use insta::assert_snapshot;

use super::*;

#[test]
fn every_finding_at_once() {
    let text = r#"apiVersion: interconnect/v1
kind: Mapping
system: acme
object: Deal
record: deal
when: "state =="
fields:
  - { record: nmae, object: Name }
  - { record: stage, object: Stage, lens: [ enum: { prospct: New, committed: [Won, Won] } ] }
  - { record: amount, object: Amount, lens: [ date ] }
  - { record: expected_close_date, object: [Close, Day], lens: [ dat: {} ] }
  - { record: customer.name, object: Customer, lens: [ part: first ] }
  - { record: partner, object: Account }
  - { record: contact.phone, object: Phone, lens: [ phone: { country: customer.contry } ] }
  - { record: description, object: Text, direction: sideways, lense: [] }
"#;
    assert_snapshot!(findings(text), @r##"
    error[IC0310]: `when` is no expression: unexpected end of input, expected expression
     --> deal.yaml:6:7
      |
    6 | when: "state =="
      |       ^^^^^^^^^^
      |
      = help: write an expression over the object's fields, such as `state == 'lead'`

    error[IC0301]: `nmae` is not a field of a deal
     --> deal.yaml:8:15
      |
    8 |   - { record: nmae, object: Name }
      |               ^^^^
      |
      = help: did you mean `name`?

    error[IC0306]: `prospct` is not a value of `stage`
     --> deal.yaml:9:53
      |
    9 |   - { record: stage, object: Stage, lens: [ enum: { prospct: New, committed: [Won, Won] } ] }
      |                                                     ^^^^^^^
      |
      = help: did you mean `prospect`?

    error[IC0307]: `committed` stands for the same value twice
     --> deal.yaml:9:84
      |
    9 |   - { record: stage, object: Stage, lens: [ enum: { prospct: New, committed: [Won, Won] } ] }
      |                                                                                    ^^^
      |
      = help: remove one

    error[IC0305]: `date` does not fit `amount`, which holds an amount with its currency
      --> deal.yaml:10:47
       |
    10 |   - { record: amount, object: Amount, lens: [ date ] }
       |                                               ^^^^
       |
       = help: fitting are: money

    error[IC0304]: `dat` is not a step of a lens
      --> deal.yaml:11:66
       |
    11 |   - { record: expected_close_date, object: [Close, Day], lens: [ dat: {} ] }
       |                                                                  ^^^
       |
       = help: did you mean `date`?

    error[IC0320]: `expected_close_date` stands in one field of the object, found 2
      --> deal.yaml:11:44
       |
    11 |   - { record: expected_close_date, object: [Close, Day], lens: [ dat: {} ] }
       |                                            ^
       |
       = help: name one field

    error[IC0312]: `part` can only be read: half a name cannot be written to `Customer`
      --> deal.yaml:12:5
       |
    12 |   - { record: customer.name, object: Customer, lens: [ part: first ] }
       |     ^^
       |
       = help: add `direction: in`

    error[IC0304]: `partner` holds a reference to another record, and nothing says how the system writes it
      --> deal.yaml:13:5
       |
    13 |   - { record: partner, object: Account }
       |     ^^
       |
       = help: add `lens: [ reference: { object: <the partner's object> } ]`

    error[IC0004]: `sideways` is not a known value of `direction`
      --> deal.yaml:15:53
       |
    15 |   - { record: description, object: Text, direction: sideways, lense: [] }
       |                                                     ^^^^^^^^
       |
       = help: known are: both, in, out

    error[IC0005]: `lense` is not a key of a field
      --> deal.yaml:15:63
       |
    15 |   - { record: description, object: Text, direction: sideways, lense: [] }
       |                                                               ^^^^^
       |
       = help: did you mean `lens`?

    error[IC0313]: `customer.contry` is not a country that this mapping reads
      --> deal.yaml:14:71
       |
    14 |   - { record: contact.phone, object: Phone, lens: [ phone: { country: customer.contry } ] }
       |                                                                       ^^^^^^^^^^^^^^^
       |
       = help: remove it
    "##);
}

#[test]
fn what_only_shows_in_all_lines_together() {
    let text = format!(
        "{HEAD}  - {{ record: name, object: Name }}\n  - {{ record: name, object: Title }}\n  - {{ record: description, object: Name }}\nconstants: {{ Title: x }}\n"
    );
    assert_snapshot!(findings(&text), @r##"
    error[IC0302]: `name` is read from two fields of the object
     --> deal.yaml:8:15
      |
    8 |   - { record: name, object: Title }
      |               ^^^^
      |
      = help: remove one, or give one of them `direction: out`

    error[IC0303]: `Name` is written by two lines
     --> deal.yaml:9:15
      |
    9 |   - { record: description, object: Name }
      |               ^^^^^^^^^^^
      |
      = help: give one of them `direction: in`

    error[IC0303]: the constant `Title` is also written by a line
      --> deal.yaml:10:14
       |
    10 | constants: { Title: x }
       |              ^^^^^
       |
       = help: remove the constant, or give the line `direction: in`
    "##);
    let lacking = format!("{HEAD}  - {{ record: name, object: Name }}\n");
    assert_snapshot!(findings(&lacking), @r##"
    error[IC0309]: no line reads `stage`, without which there is no deal
     --> deal.yaml:6:1
      |
    6 | fields:
      | ^^^^^^
      |
      = help: add `- { record: stage, object: … }`
    "##);
}

#[test]
fn what_lint_finds() {
    let text = format!(
        "{HEAD}{NEEDED}  - {{ record: deal_type, object: Type, lens: [ enum: {{ net_new: New }} ] }}\n  - {{ record: next_steps, object: Next, lens: [ {{ truncate: 300 }} ] }}\nexamples:\n  - object: {{ Name: Pilot, Stage: prospect, Type: Old }}\n    record: {{ name: Plot, stage: prospect, customer: {{ domain: a.example }} }}\n    back: {{ Name: Plot, Next: x }}\n"
    );
    assert_snapshot!(findings(&text), @r##"
    warning[IC0308]: `deal_type` cannot be written when it is expansion or renewal
     --> deal.yaml:9:15
      |
    9 |   - { record: deal_type, object: Type, lens: [ enum: { net_new: New } ] }
      |               ^^^^^^^^^
      |
      = help: name a value for it, or give the line `direction: in`

    warning[IC0311]: `truncate: 300` never cuts: `next_steps` holds at most 255 characters
      --> deal.yaml:10:15
       |
    10 |   - { record: next_steps, object: Next, lens: [ { truncate: 300 } ] }
       |               ^^^^^^^^^^
       |
       = help: remove it

    error[IC0314]: `deal_type` and `Type`: `Old` is not one of New
      --> deal.yaml:13:13
       |
    13 |     record: { name: Plot, stage: prospect, customer: { domain: a.example } }
       |             ^^
       |
       = help: correct the object or the lens

    error[IC0314]: `name` reads as `Pilot`, the example says `Plot`
      --> deal.yaml:13:13
       |
    13 |     record: { name: Plot, stage: prospect, customer: { domain: a.example } }
       |             ^^
       |
       = help: correct the example or the lens

    error[IC0314]: `customer.domain` reads as nothing, the example says `a.example`
      --> deal.yaml:13:13
       |
    13 |     record: { name: Plot, stage: prospect, customer: { domain: a.example } }
       |             ^^
       |
       = help: correct the example or the lens

    error[IC0315]: `Next` is written as nothing, expected "x"
      --> deal.yaml:14:11
       |
    14 |     back: { Name: Plot, Next: x }
       |           ^^
       |
       = help: correct the lens, or say under `back:` what is written

    error[IC0315]: `Stage` is written as "prospect", expected nothing
      --> deal.yaml:14:11
       |
    14 |     back: { Name: Plot, Next: x }
       |           ^^
       |
       = help: correct the lens, or say under `back:` what is written
    "##);
}

#[test]
fn a_lens_that_breaks_a_law_is_shown_with_a_value() {
    // What stands for blank is a day that a deal may really have: written, it reads as blank.
    let text = format!(
        "{HEAD}{NEEDED}  - {{ record: expected_close_date, object: Close, blank: {{ write: \"2026-03-31\" }} }}\n"
    );
    assert_snapshot!(findings(&text), @r##"
    warning[IC0318]: the mapping has no example
     --> deal.yaml:6:1
      |
    6 | fields:
      | ^^^^^^
      |
      = help: add `examples:` with an object and the record it is

    error[IC0317]: CreateGet does not hold for `expected_close_date`: 2026-03-31 is written as `Close`: "2026-03-31" and read as blank
     --> deal.yaml:9:15
      |
    9 |   - { record: expected_close_date, object: Close, blank: { write: "2026-03-31" } }
      |               ^^^^^^^^^^^^^^^^^^^
      |
      = help: change the lens, or give the line `direction: in`
    "##);
}
