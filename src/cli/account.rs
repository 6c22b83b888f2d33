//! [`Account`]: one connection of the configuration, opened for a command that asks its system something.

use std::str::FromStr;
use std::sync::Arc;

use connector::{Connection, FieldInfo};
use diagnostic::{Report, suggestion};
use mapping::Mapping;
use model::Kind;

use super::{Common, Exit, Out};
use crate::config::ConnectionConfig;
use crate::hub;

/// An opened connection, and the mappings of its system.
pub(crate) struct Account {
    pub(crate) connection: Connection,
    /// What the configuration says of it.
    pub(crate) config: ConnectionConfig,
    /// Every mapping of its system that is at hand, whether a sync uses it or not.
    pub(crate) mappings: Vec<Arc<Mapping>>,
}

/// An object at a connection, as commands take it: `crm.Opportunity`. Objects may have dots in their names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Of {
    pub(crate) connection: String,
    pub(crate) object: String,
}

impl FromStr for Of {
    type Err = String;

    fn from_str(text: &str) -> Result<Of, String> {
        match text.split_once('.') {
            Some((connection, object)) if !connection.is_empty() && !object.is_empty() => Ok(Of {
                connection: connection.to_owned(),
                object: object.to_owned(),
            }),
            _ => Err("write the connection, a dot and the object, for example crm.Opportunity".to_owned()),
        }
    }
}

/// A kind of record, as commands take it.
pub(crate) fn kind(name: &str) -> Result<Kind, String> {
    Kind::parse(name).ok_or_else(|| suggestion(name, Kind::ALL.iter().map(|kind| kind.name())))
}

impl Account {
    /// Opens a connection by its name; says what is wrong if it cannot. No call is made yet.
    pub(crate) async fn open(common: &Common, name: &str, out: &Out) -> Result<Account, Exit> {
        let usage = |error: &str| {
            out.fails(error);
            Exit::Usage
        };
        let (config, mut catalogue) = hub::load(&common.config, out)?;
        let Some(connection) = config.connections.get(name) else {
            let hint = suggestion(name, config.connections.keys().map(String::as_str));
            return Err(usage(&format!("there is no connection `{name}`; {hint}")));
        };
        // What is wrong with a mapping is told by `check`; here it is only missing.
        let mappings = catalogue.mappings_of(&connection.system, &mut Report::new());
        let open = hub::open_connection(&config, &catalogue, name, connection).await;
        Ok(Account {
            connection: open.map_err(|error| usage(&error.to_string()))?,
            config: connection.clone(),
            mappings,
        })
    }

    /// The fields of an object, as its system describes them now, in the order of their names.
    pub(crate) async fn fields(&self, object: &str, out: &Out) -> Result<Vec<FieldInfo>, Exit> {
        let connector = self.connection.connector();
        if !connector.objects().any(|known| known == object) {
            let hint = suggestion(object, connector.objects());
            out.fails(&format!("{} has no object `{object}`; {hint}", connector.title()));
            return Err(Exit::Usage);
        }
        let fields = self.connection.fields(object).await;
        let mut fields = fields.map_err(|failure| out.fail(&failure.text()))?;
        fields.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(fields)
    }

    /// The mappings of an object.
    pub(crate) fn mappings_of(&self, object: &str) -> impl Iterator<Item = &Arc<Mapping>> {
        self.mappings
            .iter()
            .filter(move |mapping| mapping.object() == object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_named_behind_its_connection() {
        let of: Of = "erp.sale.opportunity".parse().unwrap();
        assert_eq!(
            (of.connection.as_str(), of.object.as_str()),
            ("erp", "sale.opportunity")
        );
        for bad in ["crm", "crm.", ".deals", ""] {
            assert!(bad.parse::<Of>().is_err(), "{bad}");
        }
    }
}
