//! The signatures HubSpot puts on webhooks, versions 1 and 3.

use crate::mac::{base64, hex, hmac_sha256, sha256};

/// Percent codes that are decoded in the address before version 3 signs it; no others are.
const DECODED: [(&str, &str); 12] = [
    ("%3A", ":"),
    ("%2F", "/"),
    ("%3F", "?"),
    ("%40", "@"),
    ("%21", "!"),
    ("%24", "$"),
    ("%27", "'"),
    ("%28", "("),
    ("%29", ")"),
    ("%2A", "*"),
    ("%2C", ","),
    ("%3B", ";"),
];

/// `X-HubSpot-Signature`, version 1: the hash of secret and body.
pub(crate) fn v1(secret: &str, body: &[u8]) -> String {
    hex(&sha256(&[secret.as_bytes(), body]))
}

/// `X-HubSpot-Signature-v3`: the code of method, address, body and timestamp.
pub(crate) fn v3(secret: &str, method: &str, uri: &str, body: &[u8], timestamp_ms: &str) -> String {
    let uri = DECODED
        .iter()
        .fold(uri.to_owned(), |uri, (code, letter)| uri.replace(code, letter));
    base64(&hmac_sha256(
        secret.as_bytes(),
        &[method.as_bytes(), uri.as_bytes(), body, timestamp_ms.as_bytes()],
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The secret of the documentation's samples.
    const SECRET: &str = "yyyyyyyy-yyyy-yyyy-yyyy-yyyyyyyyyyyy";

    #[test]
    fn version_1_is_that_of_the_documentation() {
        let body = br#"[{"eventId":1,"subscriptionId":12345,"portalId":62515,"occurredAt":1564113600000,"subscriptionType":"contact.creation","attemptNumber":0,"objectId":123,"changeSource":"CRM","changeFlag":"NEW","appId":54321}]"#;
        assert_eq!(
            v1(SECRET, body),
            "232db2615f3d666fe21a8ec971ac7b5402d33b9a925784df3ca654d05f4817de"
        );
    }

    #[test]
    fn version_3_is_that_of_the_official_client() {
        let signed = v3(
            SECRET,
            "POST",
            "https://www.example.com/webhook_uri",
            b"{'example_field':'example_value'}",
            "1693657560000",
        );
        assert_eq!(signed, "K36dawei4A+QBNolUOqo7s91KQDWQ5MXZ/QufNYuk/Y=");
    }

    #[test]
    fn version_3_decodes_some_percent_codes_and_leaves_others() {
        let kept = "https://hub.example.com/hooks/hubspot?tenant=a%20b&x=1";
        assert_eq!(
            v3(SECRET, "POST", kept, b"[{\"eventId\":1}]", "1732320000000"),
            "GZ7IQDKkzsyR5tNLBTrIfTQ/WEg4bnr2JXIc3sOpnTc="
        );
        let coded = "https://hub.example.com/hooks/hubspot?u=https%3A%2F%2Fa.example%2F%3Fq=%281%29";
        assert_eq!(
            v3(SECRET, "POST", coded, b"[]", "1732320000001"),
            "iri4TmbZvQ1lPpQb9v91n1V2GS/lBeA2ItHh4iw96n4="
        );
    }
}
