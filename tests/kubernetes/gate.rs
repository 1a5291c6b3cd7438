//! Whether the scenarios can run on this machine. Where they cannot, the words say why, and it is a skip; with CI=true or
//! GRANARY_REQUIRE_KUBERNETES set it is a failure.

use std::{env, path::PathBuf, process::ExitCode};

use tokio::process::Command;

use crate::helm::repository;

/// A few of what `scripts/setup kubernetes` installs; the testbed itself checks the rest.
const PROGRAMS: [&str; 8] = ["containerd", "runc", "etcd", "ip", "nsenter", "setpriv", "buildah", "mkfs.xfs"];

/// `Err` says why not. Builds what is missing in the cache on the way: the first time that takes about 15 minutes.
pub async fn look() -> Result<(), String> {
    if !cfg!(target_os = "linux") {
        return Err("they need Linux (namespaces, cgroups)".into());
    }
    if !rustix::process::geteuid().is_root() {
        return Err("they need root (namespaces, cgroups, mounts): run them with sudo or in a virtual machine".into());
    }
    let missing: Vec<_> = PROGRAMS.into_iter().filter(|program| !in_path(program)).collect();
    if !missing.is_empty() {
        return Err(format!("not installed: {}. Run: scripts/setup kubernetes", missing.join(" ")));
    }
    for (script, arguments) in [("build", &[][..]), ("images", &["base"])] {
        let path = repository(&format!("tests/kubernetes/testbed/{script}"));
        let ended = Command::new(&path).args(arguments).status().await;
        if !ended.is_ok_and(|status| status.success()) {
            return Err(format!(
                "the Kubernetes for tests could not be built (tests/kubernetes/testbed/{script}, above)"
            ));
        }
    }
    Ok(())
}

/// Says that the scenarios were skipped, and what that means here.
pub fn skipped(why: &str) -> ExitCode {
    let is_set = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
    let required = env::var("CI").is_ok_and(|value| value == "true") || is_set("GRANARY_REQUIRE_KUBERNETES");
    if required {
        eprintln!("FAILED: the scenarios on Kubernetes cannot run here: {why}");
        ExitCode::FAILURE
    } else {
        eprintln!("SKIPPED: the scenarios on Kubernetes: {why}");
        ExitCode::SUCCESS
    }
}

fn in_path(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(["/sbin", "/usr/sbin"].map(PathBuf::from));
    folders.into_iter().any(|folder| folder.join(program).is_file())
}
