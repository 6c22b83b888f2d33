//! [`ServerSettings`]: where to listen, and the bounds of everything that comes in.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::ops::RangeInclusive;

use crate::ApiKey;

/// Where to listen, and the bounds of everything that comes in.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// The address and port. Port 0 takes a free one.
    pub bind: SocketAddr,
    /// What the API's callers must show. Without one, the API is for this machine only.
    pub api_key: Option<ApiKey>,
    /// What whoever pulls from an endpoint must show, by the endpoint's name; the others are the admin's to read.
    pub pull_keys: HashMap<String, ApiKey>,
    /// A webhook's body.
    pub body_bytes_max: usize,
    /// The headers of a request.
    pub headers_max: usize,
    /// The request line and the headers together; at least 8192.
    pub headers_bytes_max: usize,
    /// Open connections; for one more, the one gives way on which nothing was asked for the longest, or it waits.
    pub connections_max: usize,
    /// Requests that are worked on at once; more are answered with 503.
    pub requests_max: usize,
    /// From the first byte of a request to the end of its headers; also how long a connection may idle.
    pub headers_timeout_ms: u64,
    /// From the end of the headers to the end of the body.
    pub body_timeout_ms: u64,
    /// From the end of the headers to the answer.
    pub request_timeout_ms: u64,
    /// How long nothing of an answer may be read by its caller before the connection is closed.
    pub write_timeout_ms: u64,
    /// When the server stops, how long requests that were begun may take.
    pub stop_timeout_ms: u64,
}

impl Default for ServerSettings {
    fn default() -> ServerSettings {
        ServerSettings {
            bind: SocketAddr::from(([127, 0, 0, 1], 8400)),
            api_key: None,
            pull_keys: HashMap::new(),
            body_bytes_max: 256 * 1024,
            headers_max: 64,
            headers_bytes_max: 16 * 1024,
            connections_max: 4096,
            requests_max: 2048,
            headers_timeout_ms: 30_000,
            body_timeout_ms: 10_000,
            request_timeout_ms: 30_000,
            write_timeout_ms: 30_000,
            stop_timeout_ms: 20_000,
        }
    }
}

/// What is wrong with a setting.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{field}`: {reason}")]
pub struct BadServerSetting {
    /// The field, as it is called in the configuration.
    pub field: &'static str,
    /// What is wrong, and what to write instead.
    pub reason: String,
}

impl ServerSettings {
    /// Checks the settings before a port is bound; every finding at once.
    pub fn check(&self) -> Result<(), Vec<BadServerSetting>> {
        let ranges: [(&str, u64, RangeInclusive<u64>); 10] = [
            (
                "body_bytes_max",
                self.body_bytes_max as u64,
                1024..=16 * 1024 * 1024,
            ),
            ("headers_max", self.headers_max as u64, 16..=1000),
            (
                "headers_bytes_max",
                self.headers_bytes_max as u64,
                8192..=1024 * 1024,
            ),
            ("connections_max", self.connections_max as u64, 1..=100_000),
            ("requests_max", self.requests_max as u64, 1..=100_000),
            ("headers_timeout_ms", self.headers_timeout_ms, 100..=600_000),
            ("body_timeout_ms", self.body_timeout_ms, 100..=600_000),
            ("request_timeout_ms", self.request_timeout_ms, 100..=600_000),
            ("write_timeout_ms", self.write_timeout_ms, 100..=600_000),
            ("stop_timeout_ms", self.stop_timeout_ms, 0..=600_000),
        ];
        let mut findings: Vec<BadServerSetting> = ranges
            .into_iter()
            .filter(|(_, value, range)| !range.contains(value))
            .map(|(field, value, range)| BadServerSetting {
                field,
                reason: format!("{value} is not between {} and {}", range.start(), range.end()),
            })
            .collect();
        if self.api_key.is_none() && !self.bind.ip().is_loopback() {
            findings.push(BadServerSetting {
                field: "admin_key",
                reason: format!(
                    "it is not set, and {} can be reached from other machines; set a key, or listen at 127.0.0.1",
                    self.bind
                ),
            });
        }
        if findings.is_empty() {
            Ok(())
        } else {
            Err(findings)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_fine_and_an_open_door_is_not() {
        assert_eq!(ServerSettings::default().check(), Ok(()));
        let open = ServerSettings {
            bind: "0.0.0.0:8400".parse().unwrap(),
            body_bytes_max: 0,
            ..ServerSettings::default()
        };
        let told: Vec<String> = open
            .check()
            .unwrap_err()
            .iter()
            .map(|finding| finding.to_string())
            .collect();
        insta::assert_snapshot!(told.join("\n"), @r"
        `body_bytes_max`: 0 is not between 1024 and 16777216
        `admin_key`: it is not set, and 0.0.0.0:8400 can be reached from other machines; set a key, or listen at 127.0.0.1
        ");
        let key = "0123456789abcdef0123456789abcdef".parse().unwrap();
        let closed = ServerSettings {
            bind: "0.0.0.0:8400".parse().unwrap(),
            api_key: Some(key),
            ..ServerSettings::default()
        };
        assert_eq!(closed.check(), Ok(()));
    }
}
