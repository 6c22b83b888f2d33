//! Typed ids: a prefix that says what it is, and a time-ordered UUID, 26 characters (TypeID specification 0.3).
//!
//! Nothing here draws time or randomness: [`uuid_from`] is handed both.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use type_safe_id::{DynamicType, StaticType, TypeSafeId};
use uuid::Uuid;

use crate::Kind;

/// A version 7 UUID of a moment and 10 random bytes (RFC 9562 §5.7); moments before 1970 count as 1970.
pub fn uuid_from(at: Timestamp, random: [u8; 10]) -> Uuid {
    let millis = u64::try_from(at.as_millisecond()).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
}

/// The random part of an id, for [`uuid_from`], that begins with the last 42 bits of a count: ids of one millisecond are of
/// the order of their counts (RFC 9562 §6.2, method 1).
pub fn counted(count: u64, random: [u8; 4]) -> [u8; 10] {
    // Version and variant stand before the 12 bits of the first two bytes, and before the 30 bits of the next four.
    let [.., a, b] = ((count >> 30) & 0x0fff).to_be_bytes();
    let [.., c, d, e, f] = (count & 0x3fff_ffff).to_be_bytes();
    let [g, h, i, j] = random;
    [a, b, c, d, e, f, g, h, i, j]
}

/// Reads a typed id; nothing when the text is none, whatever it is.
pub fn read_id<T: StaticType>(text: &str) -> Option<TypeSafeId<T>> {
    // The parser cuts at bytes, which is only safe in plain ASCII.
    text.is_ascii().then(|| text.parse().ok()).flatten()
}

macro_rules! typed_id {
    ($tag:ident, $prefix:literal, $name:ident, $doc:literal) => {
        /// The tag type behind an id; never made.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $tag;

        impl StaticType for $tag {
            const TYPE: &'static str = $prefix;
        }

        #[doc = $doc]
        pub type $name = TypeSafeId<$tag>;
    };
}

typed_id!(EventTag, "evt", EventId, "The id of an event, `evt_…`.");
typed_id!(DeliveryTag, "dlv", DeliveryId, "The id of a delivery, `dlv_…`.");
typed_id!(ConflictTag, "cfl", ConflictId, "The id of a conflict, `cfl_…`.");
typed_id!(ReplayTag, "rpl", ReplayId, "The id of a replay, `rpl_…`.");
typed_id!(RunTag, "run", RunId, "The id of a run, `run_…`.");
typed_id!(
    ActionTag,
    "act",
    ActionId,
    "The id of what a person did, `act_…`."
);

/// How many characters of what is no id an error repeats.
const SHOWN_CHARS_MAX: usize = 60;

/// The id of a record: `ptn_…`, `led_…` or `dea_…`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordId {
    /// What kind of record it names.
    pub kind: Kind,
    /// The part that is unique.
    pub uuid: Uuid,
}

impl RecordId {
    /// An id of a kind; see [`uuid_from`].
    pub fn new(kind: Kind, uuid: Uuid) -> RecordId {
        RecordId { kind, uuid }
    }
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = DynamicType::new(self.kind.prefix()).expect("prefixes are lower-case letters");
        TypeSafeId::from_type_and_uuid(prefix, self.uuid).fmt(f)
    }
}

impl fmt::Debug for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Text that is no record id.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a record id; they look like ptn_…, led_… or dea_… with 26 characters behind the underscore"
)]
pub struct NotARecordId(pub String);

impl FromStr for RecordId {
    type Err = NotARecordId;

    fn from_str(text: &str) -> Result<RecordId, NotARecordId> {
        // The parser cuts at bytes, which is only safe in plain ASCII.
        let id = text
            .is_ascii()
            .then(|| text.parse::<TypeSafeId<DynamicType>>().ok())
            .flatten();
        let id = id.ok_or_else(|| NotARecordId(text.chars().take(SHOWN_CHARS_MAX).collect()))?;
        let kind = Kind::ALL
            .into_iter()
            .find(|kind| kind.prefix() == id.type_prefix());
        Ok(RecordId {
            kind: kind.ok_or_else(|| NotARecordId(text.to_owned()))?,
            uuid: id.uuid(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn ids_read_back(kind in 0..3usize, millis in 0i64..4_102_444_800_000, random in any::<[u8; 10]>()) {
            let at = Timestamp::from_millisecond(millis).unwrap();
            let id = RecordId::new(Kind::ALL[kind], uuid_from(at, random));
            prop_assert_eq!(id.to_string().parse::<RecordId>(), Ok(id));
        }

        #[test]
        fn later_ids_sort_later(a in 0i64..4_102_444_800_000, more in 1i64..4_102_444_800_000, r in any::<[u8; 10]>()) {
            let b = a + more;
            let id = |ms| RecordId::new(Kind::Deal, uuid_from(Timestamp::from_millisecond(ms).unwrap(), r)).to_string();
            prop_assert!(id(a) < id(b));
        }

        #[test]
        fn ids_of_a_moment_sort_by_their_count(
            a in 0u64..1 << 41, more in prop_oneof![Just(1), 1u64..1 << 41], r in any::<[u8; 4]>(), s in any::<[u8; 4]>(),
        ) {
            let b = a + more;
            let id = |count, random| uuid_from(Timestamp::UNIX_EPOCH, counted(count, random));
            prop_assert!(id(a, r) < id(b, s));
            prop_assert_eq!(id(a, r).get_version_num(), 7);
            // What is beyond the last bits is left out, and randomness counts.
            prop_assert_eq!(id(a, r), id(a | 1 << 42, r));
            prop_assert_eq!(id(a, r) == id(a, s), r == s);
        }
    }

    #[test]
    fn refuses_other_prefixes() {
        let run = RunId::from_uuid(uuid_from(Timestamp::UNIX_EPOCH, [7; 10])).to_string();
        assert!(
            run.parse::<RecordId>()
                .unwrap_err()
                .to_string()
                .contains("is not a record id")
        );
    }
}
