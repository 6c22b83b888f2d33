//! A person's name, whole on one side and in two parts, given name and family name, on the other.
//!
//! Nobody can tell from `Ana María de Silva` where the family name begins. So what is written is never guessed: a whole
//! name is taken apart only where the parts that are there show how, or where there is but one way. What is read may be
//! guessed, where the file says so (`part`), and then what both sides last agreed on shows the way first.

use model::Invalid;

/// The whole name; blank where both parts are.
pub(crate) fn joined(first: &str, last: &str) -> String {
    let (first, last) = (first.trim(), last.trim());
    let between = if first.is_empty() || last.is_empty() {
        ""
    } else {
        " "
    };
    format!("{first}{between}{last}")
}

/// The parts of a whole name that is read; `known` are those that both sides last agreed on, blank where there are none.
/// Without a hint the last word is the family name.
pub(crate) fn parts<'n>(name: &'n str, known: (&str, &str)) -> (&'n str, &'n str) {
    let name = name.trim();
    let guess = || name.rsplit_once(char::is_whitespace).unwrap_or(("", name));
    let (first, last) = kept(name, known).unwrap_or_else(guess);
    (first.trim(), last.trim())
}

/// The parts that a whole name is written as; `held` are those that stand there.
pub(crate) fn apart<'n>(name: &'n str, held: (&str, &str)) -> Result<(&'n str, &'n str), Invalid> {
    let only = || match name.split_once(char::is_whitespace) {
        None => Some(("", name)),
        Some((first, last)) => (!last.contains(char::is_whitespace)).then_some((first, last)),
    };
    let found = [kept(name, held), only()].into_iter().flatten();
    let mut fitting = found.filter(|(first, last)| joined(first, last) == name);
    fitting.next().ok_or_else(|| {
        Invalid::new(
            name,
            "a name of two words, or one of which the given name or the family name stands there already: \
             where the family name begins is not known",
        )
    })
}

/// The parts of a name of which one is known already, the family name before the given name.
fn kept<'n>(name: &'n str, (first, last): (&str, &str)) -> Option<(&'n str, &'n str)> {
    let (first, last) = (first.trim(), last.trim());
    let at = |index: usize| name.split_at(index);
    let blank_before = |rest: &str| rest.is_empty() || rest.ends_with(char::is_whitespace);
    let blank_behind = |rest: &str| rest.is_empty() || rest.starts_with(char::is_whitespace);
    let by_last = || {
        let rest = name.strip_suffix(last).filter(|rest| blank_before(rest))?;
        Some(at(rest.len()))
    };
    let by_first = || {
        let rest = name.strip_prefix(first).filter(|rest| blank_behind(rest))?;
        Some(at(name.len() - rest.len()))
    };
    // Both together are the surest: `de Silva` is no `Silva` of somebody called `Ana de`.
    let both = Some(joined(first, last)).filter(|whole| whole == name);
    let (by_last, by_first) = (
        (!last.is_empty()).then(by_last).flatten(),
        (!first.is_empty()).then(by_first).flatten(),
    );
    let parts = match both {
        Some(_) if last.is_empty() => by_first,
        _ => by_last.or(by_first),
    }?;
    Some((parts.0.trim(), parts.1.trim()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_is_read_the_way_that_was_agreed_on() {
        for (name, known, parts) in [
            ("Ana de Silva", ("", ""), ("Ana de", "Silva")),
            ("Ana de Silva", ("Ana", "de Silva"), ("Ana", "de Silva")),
            ("Anna de Silva", ("Ana", "de Silva"), ("Anna", "de Silva")),
            ("Ana de Sousa", ("Ana", "de Silva"), ("Ana", "de Sousa")),
            ("Rosa Blake", ("Ana", "de Silva"), ("Rosa", "Blake")),
            ("Cher", ("Cher", ""), ("Cher", "")),
            ("Cher", ("", ""), ("", "Cher")),
            ("Annabel Silva", ("Anna", ""), ("Annabel", "Silva")),
            (" Ana  María Silva ", ("", ""), ("Ana  María", "Silva")),
        ] {
            assert_eq!(super::parts(name, known), parts, "{name} {known:?}");
        }
    }

    #[test]
    fn a_name_is_written_without_a_guess() {
        for (name, held, parts) in [
            ("Rosa Blake", ("", ""), Some(("Rosa", "Blake"))),
            ("Cher", ("", ""), Some(("", "Cher"))),
            ("Ana de Silva", ("", ""), None),
            ("Ana de Silva", ("Anna", "de Silva"), Some(("Ana", "de Silva"))),
            ("Ana de Silva", ("Ana", "Sousa"), Some(("Ana", "de Silva"))),
            ("Ana  Silva", ("", ""), None),
        ] {
            assert_eq!(apart(name, held).ok(), parts, "{name} {held:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_as_what_it_was(
            words in prop::collection::vec("[A-Za-zäß'-]{1,4}|\\PC{1,3}", 1..4),
            held in ("[a-z]{0,3}", "[a-z]{0,3}( [a-z]{1,2})?"),
            base in ("\\PC{0,4}", "\\PC{0,4}( [a-z]{1,2})?"),
        ) {
            let name = words.join(" ");
            let name = name.trim();
            if let Ok((first, last)) = apart(name, (&held.0, &held.1)) {
                prop_assert_eq!(joined(first, last), name);
            }
            // What both sides agreed on is read again from what it is written as.
            let (first, last) = (base.0.trim(), base.1.trim());
            let whole = joined(first, last);
            if !(first.is_empty() || last.is_empty()) {
                prop_assert_eq!(parts(&whole, (first, last)), (first, last));
            }
        }
    }
}
