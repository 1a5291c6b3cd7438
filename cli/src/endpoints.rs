//! Where the cluster is: the addresses given, else those that the local cluster wrote into its directory.

use std::{fs, io::ErrorKind, path::Path};

use serde::Deserialize;

use crate::failure::Failure;

/// File in the directory of a local cluster, written by its reconcile loop and replaced as a whole.
pub const STATUS_FILE: &str = "status.json";

/// The part of [`STATUS_FILE`] that clients need; other fields are left alone.
#[derive(Debug, Deserialize)]
struct Status {
    /// host:port of the data API of each node.
    kv_endpoints: Vec<String>,
}

/// The endpoints to use: `given` (from --endpoints or GRANARY_ENDPOINTS) when not empty, else those in `dir`.
pub fn find(given: &[String], dir: &Path) -> Result<Vec<String>, Failure> {
    let given: Vec<String> = given.iter().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()).collect();
    if !given.is_empty() {
        return given.into_iter().map(|text| checked(text).map_err(Failure::usage)).collect();
    }
    let path = dir.join(STATUS_FILE);
    let text = fs::read(&path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => Failure::failed(format!(
            "no cluster: {} is not there. Start one with `granary local up -f FILE`, name another --dir, or give \
             --endpoints HOST:PORT (or GRANARY_ENDPOINTS)",
            path.display()
        )),
        _ => Failure::failed(format!("cannot read {}: {error}", path.display())),
    })?;
    let status: Status = serde_json::from_slice(&text)
        .map_err(|error| Failure::failed(format!("{} is damaged: {error}", path.display())))?;
    if status.kv_endpoints.is_empty() {
        return Err(Failure::failed(format!(
            "{} names no node yet; is `granary local up` running? `granary local status` tells",
            path.display()
        )));
    }
    status.kv_endpoints.into_iter().map(|text| checked(text).map_err(Failure::failed)).collect()
}

fn checked(text: String) -> Result<String, String> {
    let valid = text
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && !host.contains('/') && port.parse().is_ok_and(|p: u16| p != 0));
    if valid { Ok(text) } else { Err(format!("endpoint {text:?} is not HOST:PORT, such as 127.0.0.1:7100")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Exit;

    #[test]
    fn given_endpoints_win_over_the_directory_and_are_checked() {
        let dir = Path::new("/nonexistent");
        let given = |text: &str| find(&[text.to_owned()], dir);
        assert_eq!(given(" 127.0.0.1:7100 ").unwrap(), ["127.0.0.1:7100"]);
        assert_eq!(given("[::1]:7100").unwrap(), ["[::1]:7100"]);
        for bad in ["localhost", "http://localhost:1", ":7100", "host:0", "host:65536"] {
            assert_eq!(given(bad).unwrap_err().exit, Exit::Usage, "{bad}");
        }
    }

    #[test]
    fn a_directory_without_a_cluster_is_named_with_what_to_do() {
        let failure = find(&[], Path::new("/nonexistent/granary")).unwrap_err();
        assert_eq!(failure.exit, Exit::Failed);
        assert!(failure.message.contains("/nonexistent/granary/status.json"), "{failure}");
        assert!(failure.message.contains("local up"), "{failure}");
    }
}
