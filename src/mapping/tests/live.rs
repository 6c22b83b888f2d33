//! A mapping against what a system really has.

use diagnostic::{Report, Source};
use insta::assert_snapshot;

use crate::{LiveField, Mapping};

const TEXT: &str = "\
apiVersion: interconnect/v1
kind: Mapping
system: crm
object: Deal
record: deal
fields:
  - { record: name, object: Title }
  - { record: next_steps, object: NextStp }
  - { record: description, object: Summary }
  - { record: partner, object: Account.Id, lens: [ reference: { object: Account } ] }
  - record: stage
    object: Stage
    lens: [ enum: { prospect: New, committed: [Won, Signd] } ]
constants: { Source: Partner }
";

fn field(name: &str, options: &[&str]) -> LiveField {
    LiveField {
        name: name.to_owned(),
        options: options.iter().map(|option| (*option).to_owned()).collect(),
        writable: true,
        required: false,
    }
}

fn required(name: &str) -> LiveField {
    LiveField {
        required: true,
        ..field(name, &[])
    }
}

/// Every difference that can be.
pub(super) fn differences() -> Report {
    let mut report = Report::new();
    let mapping = Mapping::compile(&Source::new("deal.yaml", TEXT), &mut report).unwrap();
    let summary = LiveField {
        writable: false,
        ..field("Summary", &[])
    };
    let fields = [
        required("title"),
        field("NextStep", &[]),
        summary,
        field("Stage", &["New", "Won", "Signed", "Lost"]),
        required("Source"),
        required("Region"),
    ];
    mapping.against(&fields)
}

#[test]
fn every_difference_is_told_with_its_place_and_its_fix() {
    assert_snapshot!(differences().render(false), @r"
    error[IC0331]: `Summary` cannot be written
     --> deal.yaml:9:15
      |
    9 |   - { record: description, object: Summary }
      |               ^^^^^^^^^^^
      |
      = help: add `direction: in`

    error[IC0330]: `Deal` has no field `NextStp`, or does not show it
     --> deal.yaml:8:15
      |
    8 |   - { record: next_steps, object: NextStp }
      |               ^^^^^^^^^^
      |
      = help: did you mean `NextStep`?

    error[IC0332]: `Signd` is not an option of `Stage`
      --> deal.yaml:11:13
       |
    11 |   - record: stage
       |             ^^^^^
       |
       = help: did you mean `Signed`?

    warning[IC0333]: options of `Stage` that no word is read from: Signed, Lost
      --> deal.yaml:11:13
       |
    11 |   - record: stage
       |             ^^^^^
       |
       = help: objects that have one are parked: add it to a word's list

    warning[IC0334]: `Deal` demands what nothing writes: Region
     --> deal.yaml:6:1
      |
    6 | fields:
      | ^^^^^^
      |
      = help: map it, give it a value in `constants`, or let the system fill it in
    ");
}
