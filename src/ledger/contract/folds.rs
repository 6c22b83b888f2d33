//! Folding: of several updates of a record that wait for an endpoint, the newest goes and stands for the others.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use async_trait::async_trait;
use model::DeliveryId;

use super::{Lease, LedgerError};

/// Deliveries that one may stand for; the numbers of more would not fit into a header that everybody takes.
pub const FOLDED_MAX: usize = 100;

/// Folding what waits.
#[async_trait]
pub trait Folds: Send + Sync {
    /// For each of these deliveries, which are the first of their line: it and those of the same type of event that wait in
    /// its line become [`crate::DeliveryState::Folded`] into the newest of them, which then stands for them; at most
    /// [`FOLDED_MAX`] into one, oldest first. Then the first that is left in the line is due. Answers how many were folded.
    ///
    /// All or nothing, under the endpoint's lease. Left as they are: those that are in flight, as the caller says, since
    /// their end is not written down yet; those that a person asked for, by hand or by a replay, and that were not tried
    /// since; those without a number.
    async fn fold(
        &self,
        lease: &Lease,
        first: &[DeliveryId],
        in_flight: &[DeliveryId],
    ) -> Result<u64, LedgerError>;
}

/// Numbers of a sequence: `3-7, 12` as text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Numbers(BTreeSet<u64>);

impl Numbers {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether a number is among them.
    pub fn contains(&self, number: u64) -> bool {
        self.0.contains(&number)
    }
}

impl FromIterator<u64> for Numbers {
    fn from_iter<I: IntoIterator<Item = u64>>(numbers: I) -> Numbers {
        Numbers(numbers.into_iter().collect())
    }
}

impl fmt::Display for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut numbers = self.0.iter().copied().peekable();
        let mut between = "";
        while let Some(first) = numbers.next() {
            let mut last = first;
            while let Some(next) = numbers.next_if(|next| *next == last + 1) {
                last = next;
            }
            match last == first {
                true => write!(f, "{between}{first}")?,
                false => write!(f, "{between}{first}-{last}")?,
            }
            between = ", ";
        }
        Ok(())
    }
}

/// Text that is no numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not numbers like `3-7, 12`")]
pub struct NoNumbers;

impl FromStr for Numbers {
    type Err = NoNumbers;

    fn from_str(text: &str) -> Result<Numbers, NoNumbers> {
        let mut numbers = BTreeSet::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let number = |text: &str| text.parse::<u64>().map_err(|_| NoNumbers);
            let (first, last) = (number(first)?, number(last)?);
            if last < first || last - first >= FOLDED_MAX as u64 {
                return Err(NoNumbers);
            }
            numbers.extend(first..=last);
        }
        Ok(Numbers(numbers))
    }
}

/// One of those that wait in a line and are of the same type.
pub(crate) struct Waiting {
    pub(crate) delivery: DeliveryId,
    pub(crate) number: u64,
    pub(crate) stands_for: Numbers,
    /// A person asked for it, and it was not tried since.
    pub(crate) asked: bool,
}

/// What becomes of those that wait.
pub(crate) struct Folded {
    pub(crate) into: DeliveryId,
    pub(crate) folded: Vec<DeliveryId>,
    pub(crate) stands_for: Numbers,
}

/// Folds what waits, oldest first, into the newest that may stand for all before it.
pub(crate) fn fold(waiting: &[Waiting]) -> Option<Folded> {
    let (mut numbers, mut best) = (BTreeSet::new(), None);
    for (place, one) in waiting.iter().enumerate() {
        let together = numbers.len() + one.stands_for.len();
        if place > 0 && together <= FOLDED_MAX {
            let stands_for = numbers.union(&one.stands_for.0).copied().collect();
            best = Some((place, stands_for));
        }
        if one.asked || together >= FOLDED_MAX {
            break;
        }
        numbers.extend(&one.stands_for.0);
        numbers.insert(one.number);
    }
    let (place, stands_for) = best?;
    Some(Folded {
        into: waiting[place].delivery,
        folded: waiting[..place].iter().map(|one| one.delivery).collect(),
        stands_for,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(text: &str) -> Numbers {
        text.parse().unwrap()
    }

    #[test]
    fn numbers_are_read_as_they_are_written() {
        for text in ["", "7", "3-7, 12", "1, 3, 5-6"] {
            assert_eq!(numbers(text).to_string(), text);
        }
        assert_eq!([3, 1, 2, 9].into_iter().collect::<Numbers>(), numbers("1-3, 9"));
        for bad in ["x", "3-", "7-3", "1-1000000000", "-"] {
            assert_eq!(bad.parse::<Numbers>(), Err(NoNumbers), "{bad}");
        }
    }

    fn waiting(number: u64, stands_for: &str, asked: bool) -> Waiting {
        Waiting {
            delivery: uuid::Uuid::from_u128(number.into()).into(),
            number,
            stands_for: numbers(stands_for),
            asked,
        }
    }

    /// Which of them the others are folded into, and what it stands for then.
    fn folded(all: &[Waiting]) -> Option<(u64, String)> {
        let folded = fold(all)?;
        let into = all.iter().position(|one| one.delivery == folded.into)?;
        assert_eq!(folded.folded.len(), into);
        Some((all[into].number, folded.stands_for.to_string()))
    }

    #[test]
    fn the_newest_stands_for_those_before_it_and_for_what_they_stood_for() {
        assert_eq!(folded(&[]), None);
        assert_eq!(folded(&[waiting(4, "", false)]), None);
        let three = [
            waiting(4, "1-2", false),
            waiting(6, "", false),
            waiting(9, "", true),
        ];
        assert_eq!(folded(&three), Some((9, "1-2, 4, 6".into())));
        // What a person asked for goes by itself.
        assert_eq!(folded(&[waiting(4, "", true), waiting(6, "", false)]), None);
        let asked = [waiting(4, "", false), waiting(6, "", true), waiting(9, "", false)];
        assert_eq!(folded(&asked), Some((6, "4".into())));
    }

    #[test]
    fn one_stands_for_no_more_than_it_may() {
        let many: Vec<Waiting> = (1..=250).map(|number| waiting(number, "", false)).collect();
        assert_eq!(folded(&many), Some((101, "1-100".into())));
        let full = [waiting(101, "1-100", false), waiting(102, "", false)];
        assert_eq!(folded(&full), None);
        let nearly = [
            waiting(100, "1-98", false),
            waiting(101, "", false),
            waiting(102, "", false),
        ];
        assert_eq!(folded(&nearly), Some((102, "1-98, 100-101".into())));
    }
}
