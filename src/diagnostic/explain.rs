//! [`Explanation`]: the long help for a finding's code.
//!
//! The texts lie in `explain/`, one Markdown file for each hundred of codes, one section for each code. The tests run
//! their examples, so that none of them lies.

/// What a code means, why it matters, and a wrong and a right example.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The code: `IC0205`.
    pub code: &'static str,
    /// What is wrong, in a few words.
    pub title: &'static str,
    /// Everything else, as Markdown.
    pub text: &'static str,
}

/// A piece of a file that shows a finding, or how to do without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Example {
    /// What it is written in: `yaml`, `json` or `sh`.
    pub language: &'static str,
    /// The piece.
    pub text: &'static str,
}

const TEXTS: [&str; 5] = [
    include_str!("explain/files.md"),
    include_str!("explain/configuration.md"),
    include_str!("explain/connectors.md"),
    include_str!("explain/mappings.md"),
    include_str!("explain/events.md"),
];

/// How a section begins.
const SECTION: &str = "\n## ";
/// What begins and ends an example.
const FENCE: &str = "```";

impl Explanation {
    /// The wrong and the right example.
    pub fn examples(&self) -> (Option<Example>, Option<Example>) {
        (self.example("Wrong:"), self.example("Right:"))
    }

    fn example(&self, label: &str) -> Option<Example> {
        let (_, after) = self.text.split_once(&format!("\n{label}\n\n{FENCE}"))?;
        let (language, after) = after.split_once('\n')?;
        let (text, _) = after.split_once(FENCE)?;
        Some(Example { language, text })
    }

    /// The text for a terminal: examples are set in instead of fenced.
    pub fn plain(&self) -> String {
        let mut lines = vec![format!("{}: {}", self.code, self.title), String::new()];
        let mut inside = false;
        for line in self.text.lines() {
            if line.starts_with(FENCE) {
                inside = !inside;
            } else if inside {
                lines.push(format!("    {line}"));
            } else {
                lines.push(line.to_owned());
            }
        }
        lines.join("\n")
    }
}

/// All explanations, in the order of their codes.
pub fn explanations() -> impl Iterator<Item = Explanation> {
    TEXTS
        .iter()
        .flat_map(|text| text.split(SECTION).skip(1).filter_map(section))
}

/// The explanation of one code.
pub fn explanation(code: &str) -> Option<Explanation> {
    explanations().find(|explanation| explanation.code == code)
}

fn section(text: &'static str) -> Option<Explanation> {
    let (head, text) = text.split_once('\n')?;
    let (code, title) = head.split_once(": ")?;
    Some(Explanation {
        code,
        title,
        text: text.trim(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_section_is_an_explanation_with_a_wrong_and_a_right_example() {
        let sections: usize = TEXTS.iter().map(|text| text.matches(SECTION).count()).sum();
        let all: Vec<Explanation> = explanations().collect();
        assert_eq!(all.len(), sections);
        assert!(all.is_sorted_by(|a, b| a.code < b.code), "{all:?}");
        for explanation in all {
            let Explanation { code, title, text } = explanation;
            assert!(
                code.len() == 6 && code.starts_with("IC") && !title.is_empty(),
                "{code}"
            );
            assert!(
                !text.starts_with("Wrong"),
                "{code} says nothing before its examples"
            );
            let (wrong, right) = explanation.examples();
            assert!(wrong.is_some() && right.is_some(), "{code} lacks an example");
            assert_eq!(
                text.matches(FENCE).count(),
                4,
                "{code} has more than two examples"
            );
        }
    }

    #[test]
    fn a_terminal_shows_examples_set_in() {
        insta::assert_snapshot!(explanation("IC0101").unwrap().plain(), @r"
        IC0101: where the hub listens is no address and port

        An address of this machine and a port are needed; a name is not looked up, because it may mean several addresses.

        Wrong:

            listen: localhost

        Right:

            listen: 127.0.0.1:8080
        ");
    }
}
