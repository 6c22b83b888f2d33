//! [`EndpointTls`]: how TLS is spoken to an endpoint.

use diagnostic::{Fields, Report};
use outbound::{BadTls, Identity, Tls};

use super::secret::{self, Form, MissingSecret, SecretRef};

/// References to what an endpoint's TLS needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointTls {
    /// Our certificate, with those that signed it, and its key.
    pub identity: Option<(SecretRef, SecretRef)>,
    /// Authorities that are believed beside those of the operating system.
    pub authorities: Option<SecretRef>,
}

/// Why it cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum NotUsable {
    /// Something is not where it is said to be.
    #[error(transparent)]
    Missing(#[from] MissingSecret),
    /// It is not what it should be.
    #[error(transparent)]
    Bad(#[from] BadTls),
}

impl EndpointTls {
    /// Looks everything up and makes TLS of it.
    pub fn open(&self) -> Result<Tls, NotUsable> {
        let look_up =
            |(certificate, key): &(SecretRef, SecretRef)| Ok((certificate.look_up()?, key.look_up()?));
        let pair: Option<Result<(String, String), MissingSecret>> = self.identity.as_ref().map(look_up);
        let pair = pair.transpose()?;
        let authorities = self.authorities.as_ref().map(SecretRef::look_up).transpose()?;
        let identity = pair
            .as_ref()
            .map(|(certificate, key)| Identity { certificate, key });
        Ok(Tls::new(identity, authorities.as_deref())?)
    }
}

/// Reads `tls` of an endpoint at an address. What is there on this machine must fit.
pub(super) fn tls(fields: &mut Fields<'_>, url: Option<&str>, report: &mut Report) -> Option<EndpointTls> {
    let node = fields.optional("tls")?;
    let source = fields.source();
    let mut inner = Fields::open(node, "`tls` of an endpoint", source, report)?;
    let certificate = secret::optional(&mut inner, "certificate", Form::Any, report);
    let key = secret::optional(&mut inner, "key", Form::Any, report);
    let authorities = secret::optional(&mut inner, "authorities", Form::Any, report);
    inner.finish(report);
    let mut wrong = |what: String, hint: &str| report.error("IC0151", source, node.place, what, hint);
    if url.is_some_and(|url| !url.trim_start().to_ascii_lowercase().starts_with("https://")) {
        wrong(
            "`tls` is said of an address without TLS".to_owned(),
            "write `https://` in `url`, or take `tls` away",
        );
    }
    let identity = match (certificate, key) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        _ => {
            wrong(
                "`tls` has a certificate or a key, and not both".to_owned(),
                "add the other one: `tls: { certificate: ${file:…}, key: ${file:…} }`",
            );
            return None;
        }
    };
    let tls = EndpointTls {
        identity,
        authorities,
    };
    if let Err(NotUsable::Bad(bad)) = tls.open() {
        wrong(
            format!("the `tls` of the endpoint cannot be used: {bad}"),
            "`certificate` holds our certificate and those that signed it, `key` its private key, `authorities` whose \
             certificates are believed; all of them PEM",
        );
    }
    Some(tls)
}
