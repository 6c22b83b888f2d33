//! Several requests in one: the `$batch` of OData, `multipart/mixed` over HTTP (OData 4.0 part 1, section 11.7; the same
//! in version 2).
//!
//! A *part* is a request inside the request. A part that changes something stands in a *change set* of its own, because a
//! change set is all or nothing, and some services refuse more than one part in it.
//! The answer has one part for each request, in their order; a change set that was refused is answered by one part.

use outbound::header::HeaderMap;
use serde_json::{Map, Value as Json, json};

/// Parts that one request or one answer may have.
pub const PARTS_MAX: usize = 1_000;
/// How deep an answer may nest: change sets in a batch.
const DEPTH_MAX: usize = 2;
/// What separates the parts of our requests. Bodies are JSON, in which a line cannot begin like this.
const BOUNDARY: &str = "batch_interconnect";

/// The content type of what [`encoded`] gives.
pub(crate) fn content_type() -> String {
    format!("multipart/mixed; boundary={BOUNDARY}")
}

/// Writes parts as one body: each has `method` and `path`, and may have `headers` and a `body`.
pub(crate) fn encoded(parts: &[Json]) -> Result<String, String> {
    if parts.len() > PARTS_MAX {
        return Err(format!(
            "{} parts, at most {PARTS_MAX} fit one request",
            parts.len()
        ));
    }
    let mut body = String::new();
    for (number, part) in parts.iter().enumerate() {
        let method = part["method"].as_str().ok_or("a part has no `method`")?;
        let path = part["path"].as_str().ok_or("a part has no `path`")?;
        if method.is_empty() || !method.bytes().all(|byte| byte.is_ascii_uppercase()) {
            return Err(format!(
                "the method of a part is not a word in capitals: {method:?}"
            ));
        }
        if path.chars().any(|c| c.is_control() || c == ' ') {
            return Err(format!(
                "the path of a part has a space or a control character: {path:?}"
            ));
        }
        let changes = !matches!(method, "GET" | "HEAD");
        let set = format!("changeset_{number}");
        body.push_str(&format!("--{BOUNDARY}\r\n"));
        if changes {
            body.push_str(&format!(
                "Content-Type: multipart/mixed; boundary={set}\r\n\r\n--{set}\r\n"
            ));
        }
        body.push_str("Content-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n");
        if changes {
            body.push_str(&format!("Content-ID: {}\r\n", number + 1));
        }
        body.push_str(&format!(
            "\r\n{method} {path} HTTP/1.1\r\nAccept: application/json\r\n"
        ));
        for (name, value) in part["headers"].as_object().into_iter().flatten() {
            let value = crate::names::scalar(value).unwrap_or_default();
            if format!("{name}{value}").chars().any(char::is_control) {
                return Err(format!("the header `{name}` of a part has a control character"));
            }
            body.push_str(&format!("{name}: {value}\r\n"));
        }
        match &part["body"] {
            Json::Null => body.push_str("\r\n\r\n"),
            value => {
                let text = value.to_string();
                let length = text.len();
                body.push_str(&format!(
                    "Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{text}\r\n"
                ));
            }
        }
        if changes {
            body.push_str(&format!("--{set}--\r\n"));
        }
    }
    body.push_str(&format!("--{BOUNDARY}--\r\n"));
    Ok(body)
}

/// Whether an answer is one of many parts.
pub(crate) fn is_multipart(headers: &HeaderMap) -> bool {
    kind(headers).is_some_and(|kind| kind.to_ascii_lowercase().starts_with("multipart/mixed"))
}

/// Reads an answer of many parts: a list of `{status, headers, body}`.
pub(crate) fn decoded(headers: &HeaderMap, body: &[u8]) -> Result<Json, String> {
    let text = std::str::from_utf8(body).map_err(|_| "the parts are not text")?;
    let mut parts = Vec::new();
    read(kind(headers).unwrap_or_default(), text, 0, &mut parts)?;
    Ok(Json::Array(parts))
}

fn kind(headers: &HeaderMap) -> Option<&str> {
    headers.get("content-type")?.to_str().ok()
}

fn read(kind: &str, text: &str, depth: usize, parts: &mut Vec<Json>) -> Result<(), String> {
    if depth == DEPTH_MAX {
        return Err("the parts are nested too deeply".into());
    }
    let boundary = boundary(kind).ok_or("the parts have no boundary")?;
    let delimiter = format!("\r\n--{boundary}");
    // The first delimiter may begin the text.
    let text = format!("\r\n{text}");
    let mut pieces = text.split(delimiter.as_str());
    pieces.next();
    for piece in pieces {
        if piece.starts_with("--") {
            return Ok(());
        }
        let piece = piece.split_once("\r\n").map_or("", |(_, piece)| piece);
        let (head, inner) = match piece.strip_prefix("\r\n") {
            Some(inner) => ("", inner),
            None => halves(piece),
        };
        let kind = fields(head).into_iter().find(|(name, _)| name == "content-type");
        let kind = kind.map(|(_, value)| value).unwrap_or_default();
        if kind.to_ascii_lowercase().starts_with("multipart/mixed") {
            read(&kind, inner, depth + 1, parts)?;
        } else {
            if parts.len() == PARTS_MAX {
                return Err(format!("the answer has more than {PARTS_MAX} parts"));
            }
            parts.push(answer(inner)?);
        }
    }
    Err("the parts do not end".into())
}

fn boundary(kind: &str) -> Option<&str> {
    let parameters = kind.split(';').skip(1).map(str::trim);
    let boundary = parameters
        .filter_map(|parameter| parameter.split_once('='))
        .find(|(name, _)| name.eq_ignore_ascii_case("boundary"));
    boundary
        .map(|(_, value)| value.trim_matches('"'))
        .filter(|value| !value.is_empty())
}

/// One HTTP answer.
fn answer(text: &str) -> Result<Json, String> {
    let text = text.trim_start_matches("\r\n");
    let (line, rest) = text.split_once("\r\n").ok_or("a part is no HTTP answer")?;
    let mut words = line.split(' ');
    let version = words.next().unwrap_or_default();
    let status = words.next().and_then(|status| status.parse::<u16>().ok());
    let (true, Some(status)) = (version.starts_with("HTTP/"), status) else {
        return Err(format!(
            "a part is no HTTP answer: {}",
            crate::failure::shortened(line.to_owned())
        ));
    };
    // An answer without headers has only the empty line behind its status.
    let (head, body) = match rest.strip_prefix("\r\n") {
        Some(body) => ("", body),
        None => halves(rest),
    };
    let headers: Map<String, Json> = fields(head)
        .into_iter()
        .map(|(name, value)| (name, Json::from(value)))
        .collect();
    let body = body.trim();
    let body = match (body.is_empty(), serde_json::from_str(body)) {
        (true, _) => Json::Null,
        (false, Ok(json)) => json,
        (false, Err(_)) => Json::from(body),
    };
    Ok(json!({"status": status, "headers": headers, "body": body}))
}

fn halves(text: &str) -> (&str, &str) {
    text.split_once("\r\n\r\n").unwrap_or((text, ""))
}

fn fields(head: &str) -> Vec<(String, String)> {
    let lines = head.split("\r\n").filter_map(|line| line.split_once(':'));
    lines
        .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn headers(kind: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", kind.parse().unwrap());
        headers
    }

    /// As a server of SAP's adapter was recorded to answer a read, a creation and a change set that it refused.
    const RECORDED: &str = "--batch_1\r\ncontent-type: application/http\r\ncontent-transfer-encoding: binary\r\n\r\n\
        HTTP/1.1 200 OK\r\ncontent-type: application/json; charset=utf-8\r\ncontent-length: 61\r\n\r\n\
        {\"d\":{\"results\":[{\"BusinessPartner\":\"1000001\"}]}}\r\n\
        --batch_1\r\ncontent-type: multipart/mixed;boundary=cs_1\r\n\r\n\
        --cs_1\r\ncontent-type: application/http\r\ncontent-transfer-encoding: binary\r\ncontent-id: 1\r\n\r\n\
        HTTP/1.1 201 Created\r\nlocation: http://x/A_BusinessPartner('1000007')\r\netag: W/\"2026-11-23T03:41:32.946Z\"\r\n\r\n\
        {\"d\":{\"BusinessPartner\":\"1000007\"}}\r\n--cs_1--\r\n\
        --batch_1\r\ncontent-type: application/http\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n\r\n\
        --batch_1\r\ncontent-type: application/http\r\n\r\nHTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\n\r\nno\r\n\
        --batch_1--\r\n";

    #[test]
    fn an_answer_is_read_part_by_part() {
        let parts = decoded(&headers("multipart/mixed;boundary=batch_1"), RECORDED.as_bytes()).unwrap();
        let told: Vec<(u64, &Json)> = parts
            .as_array()
            .unwrap()
            .iter()
            .map(|part| (part["status"].as_u64().unwrap(), &part["body"]))
            .collect();
        let first = json!({"d": {"results": [{"BusinessPartner": "1000001"}]}});
        let second = json!({"d": {"BusinessPartner": "1000007"}});
        assert_eq!(
            told,
            [
                (200, &first),
                (201, &second),
                (204, &Json::Null),
                (400, &json!("no"))
            ]
        );
        assert_eq!(parts[1]["headers"]["etag"], "W/\"2026-11-23T03:41:32.946Z\"");
    }

    #[test]
    fn a_request_is_written_as_the_recorded_one_was() {
        let parts = [
            json!({"method": "GET", "path": "A_BusinessPartner?$top=1"}),
            json!({"method": "POST", "path": "A_BusinessPartner", "headers": {"If-Match": "*"}, "body": {"Name": "Bätch"}}),
        ];
        let expected = "--batch_interconnect\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n\
            GET A_BusinessPartner?$top=1 HTTP/1.1\r\nAccept: application/json\r\n\r\n\r\n\
            --batch_interconnect\r\nContent-Type: multipart/mixed; boundary=changeset_1\r\n\r\n\
            --changeset_1\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\nContent-ID: 2\r\n\r\n\
            POST A_BusinessPartner HTTP/1.1\r\nAccept: application/json\r\nIf-Match: *\r\n\
            Content-Type: application/json\r\nContent-Length: 17\r\n\r\n{\"Name\":\"Bätch\"}\r\n--changeset_1--\r\n\
            --batch_interconnect--\r\n";
        assert_eq!(encoded(&parts).unwrap(), expected);
    }

    #[test]
    fn what_would_break_out_of_a_part_is_refused() {
        for part in [
            json!({"method": "GET", "path": "a b"}),
            json!({"method": "GET", "path": "a\r\nX: y"}),
            json!({"method": "GET", "path": "a", "headers": {"X": "y\r\nZ: w"}}),
            json!({"path": "a"}),
            json!({"method": "GET a HTTP/1.1\r\nX:", "path": "a"}),
        ] {
            assert!(encoded(std::slice::from_ref(&part)).is_err(), "{part}");
        }
        assert!(encoded(&vec![json!({"method": "GET", "path": "a"}); PARTS_MAX + 1]).is_err());
    }

    #[test]
    fn a_broken_answer_says_what_is_wrong() {
        let read = |kind: &str, text: &str| decoded(&headers(kind), text.as_bytes()).unwrap_err();
        assert_eq!(read("multipart/mixed", ""), "the parts have no boundary");
        assert_eq!(
            read(
                "multipart/mixed; boundary=b",
                "--b\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"
            ),
            "the parts do not end"
        );
        assert_eq!(
            read("multipart/mixed; boundary=b", "--b\r\n\r\nhello\r\n\r\n--b--"),
            "a part is no HTTP answer: hello"
        );
    }

    proptest! {
        #[test]
        fn any_text_is_answered(text in "(--b|\r\n|HTTP/1.1 2|00|:|a|--){0,40}") {
            let _answered = decoded(&headers("multipart/mixed; boundary=b"), text.as_bytes());
        }
    }
}
