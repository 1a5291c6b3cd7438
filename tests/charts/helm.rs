//! Finds and runs `helm`: the one that GRANARY_HELM names, the testbed's, which was built from source and lies in its
//! cache, or one in PATH.

use std::{
    env, fs,
    path::PathBuf,
    process::{Command, Output},
};

use serde_json::Value;

use crate::repository;

/// Runs `f` with helm, or says on stderr that the test was skipped. With CI=true a skip is a failure.
pub fn with_helm(f: impl FnOnce(&Helm)) {
    match found() {
        Some(path) => f(&Helm(path)),
        None if env::var("CI").is_ok_and(|value| value == "true") => {
            panic!("no helm: build it with `make kubernetes-up`, or put one into PATH")
        }
        None => eprintln!("SKIPPED: no helm in the testbed's cache (`make kubernetes-up` builds it) and none in PATH"),
    }
}

fn found() -> Option<PathBuf> {
    if let Some(given) = env::var_os("GRANARY_HELM").filter(|value| !value.is_empty()) {
        return Some(given.into());
    }
    let in_path = env::var_os("PATH").into_iter().flat_map(|path| env::split_paths(&path).collect::<Vec<_>>());
    let folders = built().into_iter().chain(in_path);
    folders.map(|folder| folder.join("helm")).find(|file| file.is_file())
}

/// Folders of the testbed's cache that may hold a helm.
fn built() -> Vec<PathBuf> {
    let given = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = given("GRANARY_CACHE")
        .or_else(|| given("XDG_CACHE_HOME").map(|base| base.join("granary")))
        .or_else(|| given("HOME").map(|home| home.join(".cache/granary")));
    let entries = cache.and_then(|cache| fs::read_dir(cache.join("kubernetes")).ok()).into_iter().flatten();
    entries.flatten().flat_map(|entry| [entry.path(), entry.path().join("bin")]).collect()
}

pub struct Helm(PathBuf);

impl Helm {
    /// `helm ARGUMENTS`, inside the repository, knowing no Kubernetes.
    pub fn run(&self, arguments: &[&str]) -> Output {
        Command::new(&self.0)
            .args(arguments)
            .current_dir(repository("."))
            .env("KUBECONFIG", "/dev/null")
            .output()
            .expect("helm starts")
    }

    /// What a chart renders for a release of that name in namespace `granary-system`.
    pub fn rendered(&self, release: &str, chart: &str, values: &[&str]) -> String {
        let output = self.template(release, chart, values);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Why a chart refuses these values.
    pub fn refusal(&self, chart: &str, values: &[&str]) -> String {
        let output = self.template("demo", chart, values);
        assert!(!output.status.success(), "{chart} with {values:?} should be refused");
        String::from_utf8(output.stderr).unwrap()
    }

    fn template(&self, release: &str, chart: &str, values: &[&str]) -> Output {
        let fixed = ["template", release, chart, "--namespace", "granary-system", "--kube-version", "1.33.0"];
        self.run(&[&fixed, values].concat())
    }
}

/// The documents of a rendered chart, with their texts.
pub fn documents(rendered: &str) -> Vec<(String, Value)> {
    let parts = rendered.split("\n---\n").flat_map(|part| part.strip_prefix("---\n").or(Some(part)));
    let parsed = parts.map(|text| (text.to_owned(), serde_saphyr::from_str::<Value>(text).expect("YAML")));
    parsed.filter(|(_, value)| !value.is_null()).collect()
}
