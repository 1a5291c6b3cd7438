//! `granary-operator probe URL`: one GET over plain HTTP, for probes in images that have no other program.

use std::{
    io::{self, Read as _, Write as _},
    net::{TcpStream, ToSocketAddrs as _},
    time::Duration,
};

use thiserror::Error;

/// For the connection, and again for each part of the answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// Most bytes read of the answer: enough for a status line and a short reason.
const MOST: u64 = 4096;

/// Why a probe failed.
#[derive(Debug, Error)]
pub enum ProbeError {
    /// Not a URL that it can ask.
    #[error("{0:?} is not a URL such as http://127.0.0.1:8080/readyz")]
    Url(String),
    /// Nobody answers.
    #[error("{url} does not answer: {source}")]
    Io {
        /// What was asked.
        url: String,
        /// Why not.
        source: io::Error,
    },
    /// An answer that is not 200.
    #[error("{url} answers {answer}")]
    Answer {
        /// What was asked.
        url: String,
        /// Its first and its last line.
        answer: String,
    },
}

/// Asks the page.
///
/// # Errors
/// It does not answer 200.
pub fn probe(url: &str) -> Result<(), ProbeError> {
    let (host, path) = split(url).ok_or_else(|| ProbeError::Url(url.to_owned()))?;
    let answer = get(host, path).map_err(|source| ProbeError::Io { url: url.to_owned(), source })?;
    let status = answer.lines().next().unwrap_or_default();
    if status.split(' ').nth(1) == Some("200") {
        return Ok(());
    }
    let reason = answer.lines().last().unwrap_or_default();
    Err(ProbeError::Answer { url: url.to_owned(), answer: format!("{status}: {reason}") })
}

/// Host with port, and path.
fn split(url: &str) -> Option<(&str, &str)> {
    let rest = url.strip_prefix("http://")?;
    let at = rest.find('/').unwrap_or(rest.len());
    let (host, path) = rest.split_at(at);
    let (name, port) = host.rsplit_once(':')?;
    (!name.is_empty() && port.parse::<u16>().is_ok()).then_some((host, if path.is_empty() { "/" } else { path }))
}

fn get(host: &str, path: &str) -> io::Result<String> {
    let mut last = io::Error::other("the name has no address");
    for address in host.to_socket_addrs()? {
        let mut stream = match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => stream,
            Err(error) => {
                last = error;
                continue;
            }
        };
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes())?;
        let mut answer = Vec::new();
        stream.take(MOST).read_to_end(&mut answer)?;
        return Ok(String::from_utf8_lossy(&answer).into_owned());
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, thread};

    use super::*;

    fn answering(answer: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/readyz", listener.local_addr().unwrap());
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
        });
        url
    }

    #[test]
    fn only_200_succeeds_and_a_refusal_is_shown_with_its_reason() {
        assert!(probe(&answering("HTTP/1.1 200 OK\r\n\r\nok\n")).is_ok());
        let error = probe(&answering("HTTP/1.1 503 Service Unavailable\r\n\r\nstill listing\n")).unwrap_err();
        assert!(error.to_string().ends_with("503 Service Unavailable: still listing"), "{error}");
    }

    #[test]
    fn only_plain_http_with_a_port_is_asked() {
        assert_eq!(split("http://host:80/a/b"), Some(("host:80", "/a/b")));
        assert_eq!(split("http://[::1]:80"), Some(("[::1]:80", "/")));
        for bad in ["https://host:80/", "http://host/", "host:80", "http://:80/", "http://host:x/"] {
            assert!(matches!(probe(bad), Err(ProbeError::Url(_))), "{bad}");
        }
    }
}
