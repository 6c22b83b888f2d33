//! [`Whom`]: which endpoints an event may be for, found by its type without asking all of them.

use std::collections::HashMap;
use std::sync::Arc;

use model::EventType;

use crate::Endpoint;

/// The places of endpoints by the patterns of their subscriptions, as they are written.
#[derive(Clone, Debug, Default)]
pub(crate) struct Whom(HashMap<String, Vec<usize>>);

impl Whom {
    pub(crate) fn new(endpoints: &[Arc<Endpoint>]) -> Whom {
        let mut places: HashMap<String, Vec<usize>> = HashMap::new();
        for (place, endpoint) in endpoints.iter().enumerate() {
            for pattern in endpoint.patterns() {
                places.entry(pattern.to_owned()).or_default().push(place);
            }
        }
        Whom(places)
    }

    /// The places of all whose patterns may mean a type, each once and in order: by its name, by each of the groups that it
    /// is in, and by `*`. Whether they want the event is not asked here.
    pub(crate) fn may_want(&self, event_type: &EventType) -> Vec<usize> {
        let name = event_type.name();
        let groups = name
            .match_indices('.')
            .map(|(dot, _)| format!("{}.*", &name[..dot]));
        let patterns = groups.chain([name.to_owned(), "*".to_owned()]);
        let found = patterns.filter_map(|pattern| self.0.get(&pattern));
        let mut places: Vec<usize> = found.flatten().copied().collect();
        places.sort_unstable();
        places.dedup();
        places
    }
}
