//! [`guard`]: who may be called, and by which way, from the configuration.

use outbound::{Guard, Proxy, Rule};

use crate::config::Config;
use crate::hub::StartError;
use crate::partners::Lookup;

/// Who may be called, and by which way.
pub(crate) fn guard(config: &Config, lookup: Lookup) -> Result<Guard, StartError> {
    let rules = |rules: &[String]| -> Result<Vec<Rule>, StartError> {
        rules.iter().map(|rule| rule.parse().map_err(refused)).collect()
    };
    let guard = Guard::allowing(rules(&config.outbound.allow)?).only(rules(&config.outbound.only)?);
    let Some(by) = &config.outbound.proxy else {
        return Ok(guard);
    };
    let mut proxy = Proxy::at(&by.url).map_err(refused)?;
    if let Some((user, password)) = &by.shows {
        proxy = proxy.showing(user, &lookup.secret(password)?).map_err(refused)?;
    }
    Ok(guard.through(proxy.but_for(rules(&by.direct)?)))
}

fn refused(bad: impl std::fmt::Display) -> StartError {
    StartError::Setting(format!("`outbound`: {bad}"))
}
