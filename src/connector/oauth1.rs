//! Signing requests as OAuth 1.0 does (RFC 5849) with HMAC-SHA256: a signature of its own for every request, from a
//! nonce, the moment, the method, the address and its query. The body is not signed unless it is a form, which we do
//! not send this way.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use outbound::{Method, Url};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use ring::hmac;

use crate::secret::Secret;

/// What stays as it is, RFC 5849 section 3.6: letters, digits, `-`, `.`, `_` and `~`.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The keys of an account.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    /// The account, in the spelling that the system expects; not part of what is signed.
    pub(crate) realm: String,
    pub(crate) consumer_key: Secret,
    pub(crate) consumer_secret: Secret,
    pub(crate) token: Secret,
    pub(crate) token_secret: Secret,
}

/// The value of the `Authorization` header of one request.
pub(crate) fn header(keys: &Keys, method: &Method, url: &Url, nonce: &str, seconds: i64) -> String {
    let seconds = seconds.to_string();
    let own = [
        ("oauth_consumer_key", keys.consumer_key.expose()),
        ("oauth_nonce", nonce),
        ("oauth_signature_method", "HMAC-SHA256"),
        ("oauth_timestamp", &seconds),
        ("oauth_token", keys.token.expose()),
        ("oauth_version", "1.0"),
    ];
    let key = format!(
        "{}&{}",
        encoded(keys.consumer_secret.expose()),
        encoded(keys.token_secret.expose())
    );
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes());
    let signature = STANDARD.encode(hmac::sign(&key, base(method, url, &own).as_bytes()));
    let mut header = format!("OAuth realm=\"{}\"", encoded(&keys.realm));
    for (name, value) in own.into_iter().chain([("oauth_signature", signature.as_str())]) {
        header.push_str(&format!(", {name}=\"{}\"", encoded(value)));
    }
    header
}

/// What is signed: the method, the address without its query, and all parameters in the order of their encoded names.
fn base(method: &Method, url: &Url, own: &[(&str, &str)]) -> String {
    let query = url
        .query_pairs()
        .map(|(name, value)| (encoded(&name), encoded(&value)));
    let own = own.iter().map(|(name, value)| (encoded(name), encoded(value)));
    let mut parameters: Vec<(String, String)> = query.chain(own).collect();
    parameters.sort_unstable();
    let parameters: Vec<String> = parameters
        .into_iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    // `Url` has written scheme and host in lower case and left out the scheme's own port, as section 3.4.1.2 asks.
    let address = format!("{}{}", url.origin().ascii_serialization(), url.path());
    format!(
        "{method}&{}&{}",
        encoded(&address),
        encoded(&parameters.join("&"))
    )
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The credentials of Oracle's published example ("The Signature for Web Services and RESTlets").
    fn keys(realm: &str) -> Keys {
        let secret = |text: &str| Secret::new(text);
        Keys {
            realm: realm.to_owned(),
            consumer_key: secret("ef40afdd8abaac111b13825dd5e5e2ddddb44f86d5a0dd6dcf38c20aae6b67e4"),
            consumer_secret: secret("d26ad321a4b2f23b0741c8d38392ce01c3e23e109df6c96eac6d099e9ab9e8b5"),
            token: secret("2b0ce516420110bcbd36b69e99196d1b7f6de3c6234c5afb799b73d87569f5cc"),
            token_secret: secret("c29a677df7d5439a458c063654187e3d678d73aca8e3c9d8bea1478a3eb0d295"),
        }
    }

    #[test]
    fn the_published_requests_have_the_published_signatures() {
        let cases = [
            (
                "POST",
                "https://123456.restlets.api.netsuite.com/app/site/hosting/restlet.nl?script=6&deploy=1&customParam=someValue&testParam=someOtherValue",
                "%2BKK4SKNgz4ZiILGLwOMtfYlgcXSy1eis8ldE9X90azQ%3D",
            ),
            (
                "GET",
                "https://123456.suitetalk.api.netsuite.com/services/rest/record/v1/employee/40",
                "B5OIWznZ2YP0OB7VrJrGkYsTh%2B8H%2B5T9Hag%2Bo92q0zY%3D",
            ),
            (
                "POST",
                "https://123456.suitetalk.api.netsuite.com/services/rest/query/v1/suiteql?limit=5&offset=10",
                "k2RKnq5epqLpuJJyOzO5DVjRwi69iuW6ayPP9THNwAI%3D",
            ),
            (
                "PUT",
                "https://123456-sb1.suitetalk.api.netsuite.com/services/rest/record/v1/customer/eid:IC-P-1",
                "kiWBF8IqMfOjkPusmDNzEsU4CvbCkViljP3nClPcQ68%3D",
            ),
        ];
        for (method, url, signature) in cases {
            let (method, url) = (method.parse().unwrap(), Url::parse(url).unwrap());
            let header = header(
                &keys("123456_SB1"),
                &method,
                &url,
                "fjaLirsIcCGVZWzBX0pg",
                1_508_242_306,
            );
            assert!(
                header.ends_with(&format!("oauth_signature=\"{signature}\"")),
                "{header}"
            );
            assert!(header.starts_with("OAuth realm=\"123456_SB1\", oauth_consumer_key=\"ef40"));
        }
    }

    #[test]
    fn what_must_be_encoded_twice_is() {
        let url = Url::parse("https://Example.com:443/r%20v?b5=%3D%253D&a3=a&c%40=&a2=r%20b&a3=2+q").unwrap();
        // The parameters of the example in RFC 5849, section 3.4.1.3.
        assert_eq!(
            base(&Method::GET, &url, &[]),
            "GET&https%3A%2F%2Fexample.com%2Fr%2520v&a2%3Dr%2520b%26a3%3D2%2520q%26a3%3Da%26b5%3D%253D%25253D%26c%2540%3D"
        );
    }
}
