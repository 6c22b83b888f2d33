//! How much waits, for those who watch.

/// How much waits in places that were asked for, each number counted up to a limit, so that counting costs no more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// By object, in the order of asking.
    pub objects: Vec<ObjectBacklog>,
    /// By endpoint, in the order of asking.
    pub endpoints: Vec<EndpointBacklog>,
    /// Conflicts that wait for a person.
    pub open_conflicts: u64,
}

/// How much waits at an object of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ObjectBacklog {
    /// Pushes that are owed, due or not.
    pub owed: u64,
    /// What is parked on its way in.
    pub parked_in: u64,
    /// What is parked on its way out.
    pub parked_out: u64,
}

/// How much waits for an endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EndpointBacklog {
    /// Deliveries that are to be sent: due, later, or held until the one before them has arrived.
    pub waiting: u64,
    /// Deliveries that were given up.
    pub dead: u64,
}
