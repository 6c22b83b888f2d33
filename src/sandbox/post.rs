//! A POST over plain HTTP/1.1, one connection each: all the sandbox needs to send a webhook to a hub beside it.
//!
//! It is not a client for the world: no TLS, no redirects, no reuse. Of the answer only the status is read.

use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// How much of an answer is read while looking for its status.
const STATUS_LINE_BYTES_MAX: usize = 4_096;

/// An `http://` address, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// Host and port to connect to.
    authority: String,
    /// Path and query.
    path: String,
}

impl Target {
    /// Takes an address apart.
    pub(crate) fn parse(url: &str) -> Result<Self, String> {
        let rest = url
            .strip_prefix("http://")
            .ok_or_else(|| format!("the target `{url}` must begin with http://"))?;
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (host, path) = rest.split_at(end);
        let plain = !host.is_empty()
            && !host.contains('@')
            && !url.contains(char::is_whitespace)
            && !url.contains('#');
        if !plain {
            return Err(format!(
                "the target `{url}` must look like http://127.0.0.1:8080/hooks/hubspot"
            ));
        }
        let has_port = host
            .rsplit_once(':')
            .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let authority = if has_port {
            host.to_owned()
        } else {
            format!("{host}:80")
        };
        let path = if path.starts_with('/') {
            path.to_owned()
        } else {
            format!("/{path}")
        };
        Ok(Self { authority, path })
    }
}

/// Sends `body` and gives the status of the answer. The caller sets the time limit.
pub(crate) async fn post(target: &Target, headers: &[(&str, String)], body: &[u8]) -> io::Result<u16> {
    let mut stream = TcpStream::connect(&target.authority).await?;
    let mut head = format!(
        "POST {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n",
        target.path, target.authority
    );
    for (name, value) in headers {
        head.push_str(name);
        head.push_str(": ");
        head.push_str(value);
        head.push_str("\r\n");
    }
    head.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body).await?;
    let mut read = Vec::new();
    let mut piece = [0u8; 512];
    while !read.contains(&b'\n') {
        let count = stream.read(&mut piece).await?;
        if count == 0 || read.len() > STATUS_LINE_BYTES_MAX {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        read.extend_from_slice(&piece[..count]);
    }
    let line = String::from_utf8_lossy(&read);
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
    status
        .filter(|_| line.starts_with("HTTP/1."))
        .ok_or_else(|| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart_or_refused_with_a_reason() {
        let target = Target::parse("http://127.0.0.1:8080/hooks?x=1").unwrap();
        assert_eq!(
            (target.authority.as_str(), target.path.as_str()),
            ("127.0.0.1:8080", "/hooks?x=1")
        );
        let target = Target::parse("http://hub").unwrap();
        assert_eq!((target.authority.as_str(), target.path.as_str()), ("hub:80", "/"));
        for url in [
            "https://hub/",
            "hub:80",
            "http:///x",
            "http://a@b/",
            "http://hub/a b",
        ] {
            let complaint = Target::parse(url).unwrap_err();
            assert!(complaint.contains(url), "{complaint}");
        }
    }
}
