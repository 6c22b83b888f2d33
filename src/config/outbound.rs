//! `outbound`: who may be called, and by which way.

use diagnostic::{Fields, Node, Report};
use outbound::{Proxy, Rule};

use super::secret::{self, Form, SecretRef};

/// Who may be called, and by which way.
#[derive(Clone, Debug, Default)]
pub struct OutboundConfig {
    /// Networks and hosts that may be called although they are private.
    pub allow: Vec<String>,
    /// Networks and hosts that may be called at all; any when there are none.
    pub only: Vec<String>,
    /// The proxy that calls go through.
    pub proxy: Option<ProxyConfig>,
}

/// The proxy that calls go through.
#[derive(Clone, Debug)]
pub struct ProxyConfig {
    /// Its address, such as `http://proxy.internal:3128`.
    pub url: String,
    /// What it is shown: a user and a password.
    pub shows: Option<(String, SecretRef)>,
    /// Networks and hosts that are called without it.
    pub direct: Vec<String>,
}

pub(super) fn outbound(fields: &mut Fields<'_>, report: &mut Report) -> OutboundConfig {
    let Some(node) = fields.optional("outbound") else {
        return OutboundConfig::default();
    };
    let Some(mut inner) = Fields::open(node, "`outbound`", fields.source(), report) else {
        return OutboundConfig::default();
    };
    let allow = rules(&mut inner, "allow", report);
    let only = rules(&mut inner, "only", report);
    let proxy = inner.optional("proxy");
    let proxy = proxy.and_then(|node| proxied(node, &inner, report));
    inner.finish(report);
    OutboundConfig { allow, only, proxy }
}

fn proxied(node: &Node, fields: &Fields<'_>, report: &mut Report) -> Option<ProxyConfig> {
    let source = fields.source();
    let mut inner = Fields::open(node, "`proxy`", source, report)?;
    let url = inner.text("url", report).map(str::to_owned);
    let user = inner.optional_text("user", report).map(str::to_owned);
    let password = secret::optional(&mut inner, "password", Form::Any, report);
    let direct = rules(&mut inner, "direct", report);
    let url_place = inner.optional("url").map_or(node.place, |node| node.place);
    inner.finish(report);
    let url = url?;
    let fault = match (Proxy::at(&url), &user) {
        (Err(bad), _) => Some((url_place, bad)),
        (Ok(proxy), Some(user)) => proxy.showing(user, "").err().map(|bad| (node.place, bad)),
        (Ok(_), None) => None,
    };
    if let Some((place, bad)) = fault {
        // A password may stand in front of it, whether or not it can be read.
        if url.contains('@') {
            report.hide(source, url_place);
        }
        let what = format!("`proxy` cannot be called: {bad}");
        let fix = "write `proxy: { url: \"http://proxy.internal:3128\", user: hub, password: \"${env:PROXY_PASSWORD}\" }`, \
                   without user and password where it wants none";
        report.error("IC0166", source, place, what, fix);
    }
    let shows = match (user, password) {
        (Some(user), Some(password)) => Some((user, password)),
        (None, None) => None,
        _ => {
            report.error(
                "IC0166",
                source,
                node.place,
                "`proxy` has a `user` without a `password`, or the other way round",
                "write both, or neither where it wants none",
            );
            None
        }
    };
    Some(ProxyConfig { url, shows, direct })
}

/// Blocks of addresses, and names of hosts.
fn rules(fields: &mut Fields<'_>, key: &'static str, report: &mut Report) -> Vec<String> {
    let rules = fields.texts(key, report);
    let place = fields.optional(key).map_or(fields.place(), |node| node.place);
    for rule in rules.iter().filter(|rule| rule.parse::<Rule>().is_err()) {
        report.error(
            "IC0158",
            fields.source(),
            place,
            format!("`{rule}` names neither hosts nor addresses that may be called"),
            "write a block of addresses, 10.0.0.0/8 or fd00::/8, an address, or the name of a host; *.internal are all hosts \
             below that name",
        );
    }
    rules.into_iter().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use diagnostic::Source;
    use insta::assert_snapshot;

    use super::*;
    use crate::config::Config;

    fn read(text: &str) -> (OutboundConfig, Report) {
        let mut report = Report::new();
        let config = Config::read(&Source::new("interconnect.yaml", text), &mut report).unwrap();
        (config.outbound, report)
    }

    #[test]
    fn a_proxy_is_read_with_what_it_is_shown() {
        let (read, report) = read(
            "outbound: { proxy: { url: \"http://proxy.internal:3128\", user: hub, password: \"${env:PATH}\", direct: [erp.internal] } }",
        );
        assert!(report.is_empty(), "{}", report.render(false));
        let proxy = read.proxy.unwrap();
        assert_eq!(
            proxy.shows,
            Some(("hub".to_owned(), SecretRef::Env("PATH".to_owned())))
        );
        assert_eq!(
            (&proxy.url[..], &proxy.direct[..]),
            ("http://proxy.internal:3128", &["erp.internal".to_owned()][..])
        );
    }

    #[test]
    fn an_endpoint_that_is_not_listed_is_a_finding() {
        let endpoint = |url: &str| {
            format!(
                "outbound: {{ only: [\"*.partner.example\"] }}\npartners:\n  globex:\n    endpoints:\n      - {{ name: a, url: \"{url}\", \
                 secret: \"${{env:NOWHERE}}\", events: [deal.*], share: everything }}\n"
            )
        };
        assert!(!read(&endpoint("https://hooks.partner.example")).1.has_errors());
        let (_, report) = read(&endpoint("https://hooks.example"));
        let said = report.render(false);
        assert!(
            said.contains("`hooks.example` is not among those that may be called"),
            "{said}"
        );
        assert!(said.contains("add its host to `outbound.only`"), "{said}");
    }

    #[test]
    fn a_proxy_that_cannot_be_used_is_a_finding_that_tells_no_password() {
        for (proxy, told) in [
            (
                "url: \"https://proxy.internal\"",
                "it is not the address of a proxy",
            ),
            (
                "url: \"http://hub:geheim@proxy.internal:3128\"",
                "it carries a user name or password",
            ),
            (
                "url: \"http://proxy.internal:3128\", user: hub",
                "without a `password`",
            ),
            (
                "url: \"http://proxy.internal:3128\", password: \"${env:PATH}\"",
                "without a `password`, or the other way round",
            ),
            (
                "url: \"http://proxy.internal:3128\", user: \"a:b\", password: \"${env:PATH}\"",
                "has a colon",
            ),
            (
                "url: \"http://proxy.internal:3128\", direct: [10.0.0.0/99]",
                "`10.0.0.0/99` names neither",
            ),
            ("user: hub", "lacks `url`"),
        ] {
            let (_, report) = read(&format!("outbound:\n  proxy: {{ {proxy} }}\n"));
            let said = report.render(false);
            assert!(report.has_errors() && said.contains(told), "{proxy}: {said}");
            assert!(!said.contains("geheim"), "{said}");
        }
        let (_, report) = read("outbound:\n  proxy: { url: proxy.internal }\n");
        assert_snapshot!(report.render(false), @r#"
        error[IC0166]: `proxy` cannot be called: it is not the address of a proxy: `http://`, its name and its port, as in http://proxy.internal:3128
         --> interconnect.yaml:2:17
          |
        2 |   proxy: { url: proxy.internal }
          |                 ^^^^^^^^^^^^^^
          |
          = help: write `proxy: { url: "http://proxy.internal:3128", user: hub, password: "${env:PROXY_PASSWORD}" }`, without user and password where it wants none
        "#);
    }
}
