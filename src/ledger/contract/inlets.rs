//! Inlets: what is delivered to an object of a connection, inside the hub.

use std::fmt;

/// An object of a connection that is cut from what partners post. An event that is about one is delivered to the inlet, in the
/// transaction that takes the event in, and waits there as for an endpoint; whoever pulls the object settles it.
///
/// Among the names of endpoints an inlet is `connection/object`: an endpoint's own name has no slash.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Inlet {
    /// The connection.
    pub connection: String,
    /// The object, as the connector names it.
    pub object: String,
}

impl Inlet {
    /// The inlet of an object of a connection.
    pub fn new(connection: &str, object: &str) -> Inlet {
        Inlet {
            connection: connection.to_owned(),
            object: object.to_owned(),
        }
    }

    /// The inlet that a delivery is to; nothing when that is an endpoint.
    pub fn parse(endpoint: &str) -> Option<Inlet> {
        let (connection, object) = endpoint.split_once('/')?;
        Some(Inlet::new(connection, object))
    }
}

impl fmt::Display for Inlet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.connection, self.object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inlet_is_found_by_its_name_and_an_endpoint_is_none() {
        let inlet = Inlet::new("acme", "sale.order/draft");
        assert_eq!(Inlet::parse(&inlet.to_string()), Some(inlet));
        assert_eq!(Inlet::parse("northwind-crm"), None);
    }
}
