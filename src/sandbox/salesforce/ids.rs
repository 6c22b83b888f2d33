//! Salesforce ids: 15 case-sensitive characters, and 3 check characters that let them survive a change of case.

use crate::random::base62;

const CHECK: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ012345";
/// The characters between an object's prefix and its counter: the instance that made the id, and a reserved zero.
const INSTANCE: &str = "Sb0";

/// The 18-character form of a 15-character id.
fn with_check(id15: &str) -> Option<String> {
    let bytes = id15.as_bytes();
    if bytes.len() != 15 || !bytes.iter().all(u8::is_ascii_alphanumeric) {
        return None;
    }
    let mut id = id15.to_owned();
    for group in bytes.chunks(5) {
        let bits = (0..5)
            .filter(|at| group[*at].is_ascii_uppercase())
            .fold(0, |bits, at| bits | 1 << at);
        id.push(char::from(CHECK[bits]));
    }
    Some(id)
}

/// The id number `counter` of the objects with this prefix.
pub(crate) fn make(prefix: &str, counter: u64) -> String {
    with_check(&format!("{prefix}{INSTANCE}{}", base62(counter, 9)))
        .expect("a prefix is three letters or digits")
}

/// The 18-character form of an id given in either form; nothing when it is malformed.
pub(crate) fn normal(id: &str) -> Option<String> {
    match id.len() {
        15 => with_check(id),
        18 => with_check(id.get(..15)?).filter(|checked| checked == id),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Ids of real organisations, from recorded answers.
    const REAL: [&str; 8] = [
        "a00D0000008pQRAIA2",
        "003q000000KvQ1tAAF",
        "003q000000KwKFhAAN",
        "701E0000000JuFHIA0",
        "701E00000005ZqAIAU",
        "005xx000001Sv6AAAS",
        "00Dxx0000001gPFEAY",
        "001xx000003DGb2AAG",
    ];

    #[test]
    fn check_characters_are_those_of_real_ids() {
        for id in REAL {
            assert_eq!(normal(&id[..15]).as_deref(), Some(id));
            assert_eq!(normal(id).as_deref(), Some(id));
        }
        assert_eq!(normal("001xx000003DGb2AAH"), None, "a wrong check character");
        assert_eq!(normal("001"), None);
        assert_eq!(normal("001xx000003DG-2"), None);
    }

    proptest! {
        #[test]
        fn made_ids_are_well_formed_and_keep_their_order(one in 0..u64::from(u32::MAX), two in 0..u64::from(u32::MAX)) {
            let (first, second) = (make("006", one), make("006", two));
            prop_assert_eq!(normal(&first[..15]), Some(first.clone()));
            prop_assert_eq!(one.cmp(&two), first.cmp(&second));
        }
    }
}
