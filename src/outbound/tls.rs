//! [`Tls`]: what an address asks for beyond ordinary TLS: a certificate of ours, and authorities that only it knows.

use std::fmt;
use std::sync::Arc;

use hyper_rustls::HttpsConnectorBuilder;
use hyper_rustls::builderstates::WantsProtocols1;
use rustls::ClientConfig;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls_platform_verifier::Verifier;
use x509_cert::Certificate;
use x509_cert::der::Decode;

/// A certificate with those that stand between it and its authority, and its private key; both as PEM.
#[derive(Clone, Copy)]
pub struct Identity<'a> {
    /// The certificate first, then those that signed it.
    pub certificate: &'a str,
    /// PKCS #8, PKCS #1 or SEC 1.
    pub key: &'a str,
}

/// How TLS is spoken to an address. Cheap to clone; holds a private key, and shows nothing of it.
#[derive(Clone)]
pub struct Tls {
    config: Arc<ClientConfig>,
    expires_at_s: Option<i64>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("expires_at_s", &self.expires_at_s)
            .finish_non_exhaustive()
    }
}

/// Why TLS cannot be spoken so. No text repeats what was handed in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTls {
    /// No certificate in what should be one.
    #[error("no certificate stands there; it is PEM, between `BEGIN CERTIFICATE` and `END CERTIFICATE`")]
    NoCertificate,
    /// A certificate that cannot be read.
    #[error("a certificate cannot be read; is it whole?")]
    Unreadable,
    /// No private key in what should be one.
    #[error(
        "no private key stands there; it is PEM, between `BEGIN PRIVATE KEY` and `END PRIVATE KEY`, not encrypted"
    )]
    NoKey,
    /// The key is not the certificate's, or cannot be used.
    #[error("the key and the certificate do not go together: {0}")]
    NoPair(String),
    /// This machine has no TLS.
    #[error("TLS cannot be set up: {0}")]
    NoTls(String),
}

impl Tls {
    /// Who we are, if we are asked, and the PEM of authorities that are believed beside those of the operating system.
    pub fn new(identity: Option<Identity<'_>>, authorities: Option<&str>) -> Result<Tls, BadTls> {
        let provider = Arc::new(default_provider());
        let roots = authorities.map(certificates).transpose()?.unwrap_or_default();
        let no_tls = |error: rustls::Error| BadTls::NoTls(error.to_string());
        let verifier = Verifier::new_with_extra_roots(roots, provider.clone()).map_err(no_tls)?;
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(no_tls)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let Some(identity) = identity else {
            return Ok(Tls {
                config: Arc::new(config.with_no_client_auth()),
                expires_at_s: None,
            });
        };
        let chain = certificates(identity.certificate)?;
        let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).map_err(|_| BadTls::NoKey)?;
        let expires_at_s = chain.first().map(not_after).transpose()?;
        let config = config
            .with_client_auth_cert(chain, key)
            .map_err(|error| BadTls::NoPair(error.to_string()))?;
        Ok(Tls {
            config: Arc::new(config),
            expires_at_s,
        })
    }

    /// When our certificate ends, in seconds since 1970; nothing when there is none.
    pub fn expires_at_s(&self) -> Option<i64> {
        self.expires_at_s
    }

    pub(crate) fn secured(&self) -> HttpsConnectorBuilder<WantsProtocols1> {
        HttpsConnectorBuilder::new()
            .with_tls_config(ClientConfig::clone(&self.config))
            .https_only()
    }
}

fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, BadTls> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    let all = all.map_err(|_| BadTls::Unreadable)?;
    match all.is_empty() {
        true => Err(BadTls::NoCertificate),
        false => all
            .iter()
            .try_for_each(|one| not_after(one).map(drop))
            .map(|()| all),
    }
}

fn not_after(certificate: &CertificateDer<'_>) -> Result<i64, BadTls> {
    let read = Certificate::from_der(certificate).map_err(|_| BadTls::Unreadable)?;
    let end = read.tbs_certificate.validity.not_after.to_unix_duration();
    i64::try_from(end.as_secs()).map_err(|_| BadTls::Unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A certificate that ends in 2040, and its key.
    fn pair() -> (String, String) {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut parameters = rcgen::CertificateParams::new(vec!["hub.example".to_owned()]).unwrap();
        parameters.not_after = rcgen::date_time_ymd(2040, 1, 1);
        (parameters.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    #[test]
    fn a_certificate_and_its_key_are_read_and_what_is_neither_is_told() {
        let ((certificate, key), (_, other)) = (pair(), pair());
        let made = |certificate: &str, key: &str| Tls::new(Some(Identity { certificate, key }), None);
        let tls = made(&certificate, &key).unwrap();
        assert_eq!(tls.expires_at_s(), Some(2_208_988_800));
        let shown = format!("{tls:?}");
        assert!(
            !shown.contains("BEGIN") && shown.contains("2208988800"),
            "{shown}"
        );
        assert_eq!(made("", &key).unwrap_err(), BadTls::NoCertificate);
        assert_eq!(made(&key, &key).unwrap_err(), BadTls::NoCertificate);
        assert_eq!(made(&certificate, &certificate).unwrap_err(), BadTls::NoKey);
        let cut = certificate.replacen("\nMII", "\nMI", 1);
        assert_eq!(made(&cut, &key).unwrap_err(), BadTls::Unreadable);
        assert!(matches!(made(&certificate, &other), Err(BadTls::NoPair(_))));
        assert_eq!(Tls::new(None, Some("x")).unwrap_err(), BadTls::NoCertificate);
        assert_eq!(Tls::new(None, Some(&certificate)).unwrap().expires_at_s(), None);
    }
}
