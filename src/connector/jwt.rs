//! Assertions: short-lived claims that a private key signs (JSON Web Tokens, RFC 7519 and RFC 7518).
//!
//! The private key is a PEM text: PKCS#8, or PKCS#1 for RSA. Nothing of it is ever shown.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding, RsaKeyPair,
};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use serde_json::{Value as Json, json};

/// How an assertion is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
}

impl Algorithm {
    /// The names that manifests use, which are those of RFC 7518.
    pub(crate) const NAMES: [(&'static str, Algorithm); 3] = [
        ("RS256", Algorithm::Rs256),
        ("PS256", Algorithm::Ps256),
        ("ES256", Algorithm::Es256),
    ];

    fn name(self) -> &'static str {
        let named = Algorithm::NAMES.iter().find(|(_, algorithm)| *algorithm == self);
        named.map_or("", |(name, _)| name)
    }
}

/// Signs claims; `key_id` names the key to whoever verifies.
///
/// An error says what is wrong with the key in words that hold nothing of it.
pub(crate) fn sign(
    algorithm: Algorithm,
    pem: &str,
    key_id: Option<&str>,
    claims: &Json,
) -> Result<String, String> {
    let mut header = json!({"alg": algorithm.name(), "typ": "JWT"});
    if let Some(key_id) = key_id {
        header["kid"] = json!(key_id);
    }
    let encode = |json: &Json| URL_SAFE_NO_PAD.encode(json.to_string());
    let signed = format!("{}.{}", encode(&header), encode(claims));
    let signature = signature(algorithm, pem, signed.as_bytes())?;
    Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

fn signature(algorithm: Algorithm, pem: &str, signed: &[u8]) -> Result<Vec<u8>, String> {
    let key = PrivateKeyDer::from_pem_slice(pem.as_bytes())
        .map_err(|_| "it is not a private key in PEM".to_owned())?;
    let random = SystemRandom::new();
    match algorithm {
        Algorithm::Rs256 => rsa(&key, &RSA_PKCS1_SHA256, signed, &random),
        Algorithm::Ps256 => rsa(&key, &RSA_PSS_SHA256, signed, &random),
        Algorithm::Es256 => {
            let PrivateKeyDer::Pkcs8(der) = &key else {
                return Err(
                    "ES256 needs a key in PKCS#8: convert it with `openssl pkcs8 -topk8 -nocrypt`".into(),
                );
            };
            let pair =
                EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der.secret_pkcs8_der(), &random);
            let pair = pair.map_err(|refused| format!("it is no key on the curve P-256: {refused}"))?;
            let signature = pair.sign(&random, signed);
            let signature = signature.map_err(|_| "the machine gives no random numbers".to_owned())?;
            Ok(signature.as_ref().to_vec())
        }
    }
}

fn rsa(
    key: &PrivateKeyDer<'_>,
    encoding: &'static dyn RsaEncoding,
    signed: &[u8],
    random: &SystemRandom,
) -> Result<Vec<u8>, String> {
    let pair = match key {
        PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()),
        PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
        _ => return Err("it is a key of another kind, RS256 and PS256 need an RSA key".into()),
    };
    let pair = pair.map_err(|refused| format!("it is no RSA key of 2048 to 4096 bits: {refused}"))?;
    let mut signature = vec![0; pair.public().modulus_len()];
    let done = pair.sign(encoding, random, signed, &mut signature);
    done.map_err(|_| "the machine gives no random numbers".to_owned())?;
    Ok(signature)
}

#[cfg(test)]
pub(crate) mod tests {
    use ring::signature::{
        ECDSA_P256_SHA256_FIXED, KeyPair, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256,
        UnparsedPublicKey, VerificationAlgorithm,
    };

    use super::*;

    /// The key that RFC 7515 publishes in appendix A.2, as PKCS#1.
    const PUBLISHED: &str = "MIIEowIBAAKCAQEAofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd/wWJcyQoTbji9k0l8W26mPddxHmfHQp+Vaw+4qPCJrcS2mJPMEz \
         P1Pt0Bm4d4QlL+yRT+SFd2lZS+pCgNMsD1W/YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb/7OMg0LOL+bSf63kpaSHSXndS5z5re \
         xMdbBYUsLA9e+KXBdQOS+UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6/I5IhlJH7aGhyxXFvUK+DWN \
         moudF8NAco9/h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQIDAQABAoIBABKucaRpzQorw35SbEUAVx8dYXUdZOlJ \
         cHtiWQ+dC6V8ljxAHj/PLyzTveyI5QO/xkObCyjIL303l2cfUhPu2MFaJdjVzqACXuOrLot/eSFvxjvqVidTtAZExqFRJ9mylUVA \
         oLvhowVWmC1On95fZCXxTUtxNEG1Xcc7m0rtzJKs45J+N/V9DP1edYH6USyPSWGp6wuA+KgHRnKKVf9GRx80JQY7nVNkL17eHoTW \
         Ewga+lwi0FEoW9Y7lDtWXYmKBWhUE+U8PGxlJf8f40493HDw1WRQ/aSLoS4QTp3rn7gYgeHEvfJdkkf0UMhlknlo53M09EFPdadQ \
         4TlUbjqKc50CgYEA4BzEEOtIpmVdVEZNCqS7baC4crd0pqnRH/5IB3jw3bcxGn6QLvnEtfdUdiYrqBdss1l58BQ3KhooKeQTa9AB \
         0Hw/Py5PJdTJNPY8cQn7ouZ2KKDcmnPGBY5t7yLc1QlQ5xHdwW1VhvKn+nXqhJTBgIPgtldC+KDV5z+y2XDwGUcCgYEAuQPEfgmV \
         tjL0Uyyx88GZFF1fOunH3+7cepKmtH4pxhtCoHqpWmT8YAmZxaewHgHAjLYsp1ZSe7zFYHj7C6ul7TjeLQeZD/YwD66t62wDmpe/ \
         HlB+TnBA+njbglfIsRLtXlnDzQkv5dTltRJ11BKBBypeeF6689rjcJIDEz9RWdcCgYAHAp9XcCSrn8wVkMVkKdb7DOX4IKjzdahm \
         +ctDAJN4O/y7OW5FKebvUjdAIt2GuoTZ71iTG+7F0F+lP88jtjP4U4qe7VHoewl4MKOfXZKTe+YCS1XbNvfgwJ3Ltyl1OH9hWvu2 \
         yza7q+d5PCsDzqtm27kxuvULVeya+TEdAB1ijQKBgQCH/3r6YrVH/uCWGy6bzV1nGNOdjKc9tmkfOJmN54dxdixdpozCQ6U4OxZr \
         sj3FcOhHBsqAHvX2uuYjagqvo3cOj1TRqNocX40omfCCMx3bD1yPPf/6TI2XECva/ggqEY2mYzmIiA5LVVmc5nrybr+lssFKneey \
         xN2Wq93S0iJMdQKBgCGHewxzoa1r8ZMD0LETNrToK423K377UCYqXfg5XMclbrjPbEC3YI1ZNqMtuhdBJqUnBi6tjKMF+34Xf0CU \
         N8ncuXGO2CAYvO8PdyCixHX52ybaDjy1FtCE6yUXjoKNXKvUm7MWGsAYH6f4IegOetN5NvmUMFStCSkh7ixZLkN1";

    fn pem(kind: &str, base64: &str) -> String {
        format!("-----BEGIN {kind}-----\n{base64}\n-----END {kind}-----\n")
    }

    fn rsa_key() -> String {
        pem("RSA PRIVATE KEY", PUBLISHED)
    }

    /// A key on P-256, made anew.
    pub(crate) fn p256_key() -> String {
        let pair = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
        pem(
            "PRIVATE KEY",
            &base64::prelude::BASE64_STANDARD.encode(pair.unwrap()),
        )
    }

    fn parts(token: &str) -> (Json, Json, Vec<u8>, String) {
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let (header, claims) = signed.split_once('.').unwrap();
        let json = |text: &str| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        (json(header), json(claims), signature, signed.to_owned())
    }

    fn public(pem: &str) -> Vec<u8> {
        match PrivateKeyDer::from_pem_slice(pem.as_bytes()).unwrap() {
            PrivateKeyDer::Pkcs1(der) => {
                let pair = RsaKeyPair::from_der(der.secret_pkcs1_der()).unwrap();
                pair.public().as_ref().to_vec()
            }
            PrivateKeyDer::Pkcs8(der) => {
                let (der, random) = (der.secret_pkcs8_der(), SystemRandom::new());
                let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der, &random).unwrap();
                pair.public_key().as_ref().to_vec()
            }
            _ => panic!("a test key in PKCS#1 or PKCS#8"),
        }
    }

    #[test]
    fn the_published_example_has_the_published_signature() {
        let signed = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
        let signature = signature(Algorithm::Rs256, &rsa_key(), signed.as_bytes()).unwrap();
        assert_eq!(
            URL_SAFE_NO_PAD.encode(signature),
            "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CU\
             Ar7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_d\
             O--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0ig\
             cN_IoypGlUPQGe77Rw"
        );
    }

    #[test]
    fn what_is_signed_can_be_verified_with_the_public_key_and_nothing_else() {
        let claims = json!({"iss": "client", "scope": ["rest_webservices"], "exp": 1_795_000_000});
        let cases: [(Algorithm, String, &dyn VerificationAlgorithm); 3] = [
            (Algorithm::Rs256, rsa_key(), &RSA_PKCS1_2048_8192_SHA256),
            (Algorithm::Ps256, rsa_key(), &RSA_PSS_2048_8192_SHA256),
            (Algorithm::Es256, p256_key(), &ECDSA_P256_SHA256_FIXED),
        ];
        for (algorithm, pem, verification) in cases {
            let token = sign(algorithm, &pem, Some("cert-1"), &claims).unwrap();
            let (header, said, signature, signed) = parts(&token);
            assert_eq!(
                header,
                json!({"alg": algorithm.name(), "typ": "JWT", "kid": "cert-1"})
            );
            assert_eq!(said, claims);
            let key = UnparsedPublicKey::new(verification, public(&pem));
            key.verify(signed.as_bytes(), &signature).unwrap();
            assert!(key.verify(format!("{signed}x").as_bytes(), &signature).is_err());
        }
        let token = sign(Algorithm::Rs256, &rsa_key(), None, &claims).unwrap();
        assert_eq!(parts(&token).0.get("kid"), None);
    }

    #[test]
    fn keys_that_do_not_fit_are_refused_without_being_shown() {
        let refused = |algorithm, pem: &str| sign(algorithm, pem, None, &json!({})).unwrap_err();
        insta::assert_snapshot!(refused(Algorithm::Rs256, "s3cret"), @"it is not a private key in PEM");
        insta::assert_snapshot!(refused(Algorithm::Ps256, &p256_key()), @"it is no RSA key of 2048 to 4096 bits: WrongAlgorithm");
        insta::assert_snapshot!(refused(Algorithm::Es256, &rsa_key()), @"ES256 needs a key in PKCS#8: convert it with `openssl pkcs8 -topk8 -nocrypt`");
    }
}
