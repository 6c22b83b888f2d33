//! Events that are about objects of connections: partner to system.
//!
//! An [`Inlet`] hears of events by subscriptions, as an endpoint does; what it is told goes nowhere, but becomes records of
//! the hub. So no policy is asked: nothing leaves.

use ledger::Inlet;

use crate::{RelaySettings, Said, Subscription};

impl RelaySettings {
    /// With inlets, each with what it hears of.
    pub fn with_inlets(mut self, inlets: Vec<(Inlet, Vec<Subscription>)>) -> RelaySettings {
        let named = inlets.into_iter();
        self.inlets = named.map(|(inlet, wants)| (inlet.to_string(), wants)).collect();
        self
    }

    /// The names of the inlets that an event is for, in the order of the configuration.
    pub(crate) fn inlets(&self, said: &Said<'_>) -> impl Iterator<Item = &str> {
        let wants = |(_, wants): &&(String, Vec<Subscription>)| wants.iter().any(|one| one.fits(said));
        self.inlets.iter().filter(wants).map(|(name, _)| name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use model::EventType;

    use super::*;
    use crate::{Endpoint, EndpointSettings, Partner, RelayLimits};

    fn whsec(byte: u8) -> String {
        use base64::Engine as _;
        let text = base64::engine::general_purpose::STANDARD.encode([byte; 32]);
        format!("whsec_{text}")
    }

    fn from(types: &str, from: &[&str]) -> Subscription {
        Subscription {
            from: from.iter().map(|name| (*name).to_owned()).collect(),
            ..types.into()
        }
    }

    fn settings(endpoints: &[(&str, &str, Subscription)]) -> RelaySettings {
        let endpoints = endpoints.iter().map(|(name, partner, wants)| {
            let settings = EndpointSettings {
                name: (*name).to_owned(),
                partner: (*partner).to_owned(),
                url: "https://partner.example/hooks".to_owned(),
                subscriptions: vec![wants.clone()],
                secrets: vec![whsec(1)],
                ..EndpointSettings::default()
            };
            Endpoint::new(&settings, &outbound::Guard::public_only()).unwrap()
        });
        let partners = [("acme", 2), ("borealis", 3)];
        let partners = partners.map(|(name, byte)| Partner::new(name, &[whsec(byte)]).unwrap());
        RelaySettings::new(partners.into(), endpoints.collect(), RelayLimits::default()).unwrap()
    }

    #[test]
    fn an_event_is_for_the_inlets_that_hear_of_it_from_who_said_it() {
        let inlets = vec![
            (
                Inlet::new("portal", "leads"),
                vec![from("lead.created", &["acme"]), from("lead.*", &["borealis"])],
            ),
            (Inlet::new("portal", "deals"), vec![from("deal.*", &["acme"])]),
        ];
        let settings = settings(&[]).with_inlets(inlets);
        let names = |event_type: &str, source: &str| {
            let event_type = EventType::parse(event_type).unwrap();
            let said = Said::new(&event_type, source, None, b"{}");
            settings.inlets(&said).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(names("lead.created", "acme"), ["portal/leads"]);
        assert!(names("lead.updated", "acme").is_empty());
        assert_eq!(names("lead.updated", "borealis"), ["portal/leads"]);
        assert_eq!(names("deal.won", "acme"), ["portal/deals"]);
        assert!(names("deal.won", "interconnect").is_empty());
    }

    #[test]
    fn what_is_said_because_of_a_post_is_not_for_those_through_whom_it_came() {
        let settings = settings(&[
            ("a", "acme", "lead.*".into()),
            ("a-by-name", "acme", from("lead.*", &["portal"])),
            ("b", "borealis", "lead.*".into()),
        ]);
        let event_type = EventType::parse("lead.updated").unwrap();
        let said = Said::new(&event_type, crate::SOURCE, Some("portal"), b"{}");
        let told = |hops: &str| {
            let told = settings.subscribers_beyond(&said, hops);
            told.iter()
                .map(|endpoint| endpoint.name().to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(told(""), ["a", "a-by-name", "b"], "nobody posted it");
        let by_acme = settings.hops_behind("acme", "");
        assert_eq!(told(&by_acme), ["a-by-name", "b"]);
        // Borealis passed on what acme had said.
        let by_both = settings.hops_behind("borealis", &by_acme);
        assert_eq!(by_both.split(' ').count(), 2);
        assert_eq!(told(&by_both), ["a-by-name"]);
        // Who speaks for the hub has no mark, and no number of hops becomes one that is refused.
        assert_eq!(settings.hops_behind(crate::SOURCE, &by_acme), by_acme);
        let many = [by_acme.as_str(); crate::hops::HOPS_MAX].join(" ");
        let behind = settings.hops_behind("borealis", &many);
        assert_eq!(behind.split(' ').count(), crate::hops::HOPS_MAX);
        assert!(behind.starts_with(by_both.split(' ').next().unwrap()));
    }
}
