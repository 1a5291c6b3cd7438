//! The tables of what is refused and what is not: `tests/invalid` and `tests/valid`.
//!
//! A file of `tests/invalid` begins with what is said of it: `# message:` is the whole message, of Rust and of the API
//! server alike; where a schema refuses before any rule is looked at, each has words of its own, `# local:` and
//! `# kubernetes:` (parts of them). A file with two documents is a change: the first one is valid, the second one is
//! refused as what comes after it. The tests on a real Kubernetes run over the same files.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::{collections::BTreeMap, fs, path::Path};

use granary_crds::{FieldError, ParseError, StorageCluster, parse, validate_cluster};

/// Name and text of each file of a folder beside this file.
fn files(folder: &str) -> BTreeMap<String, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder);
    let text = |path: &Path| (path.display().to_string(), fs::read_to_string(path).unwrap());
    fs::read_dir(folder).unwrap().map(|entry| text(&entry.unwrap().path())).collect()
}

/// The word of a file about itself.
fn said<'a>(text: &'a str, what: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(&format!("# {what}: ")))
}

fn refused(text: &str, old: Option<&StorageCluster>) -> Vec<FieldError> {
    match parse(text) {
        Ok(cluster) => validate_cluster(&cluster, old),
        Err(ParseError::Fields(errors)) => errors,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn each_file_of_invalid_is_refused_with_its_message() {
    let files = files("invalid");
    assert!(files.len() >= 80, "{} files", files.len());
    for (name, text) in files {
        let (old, new) = text.split_once("---\n").map_or((None, &*text), |(old, new)| (Some(old), new));
        let old = old.map(|old| parse(old).unwrap_or_else(|error| panic!("{name}: {error}")));
        let errors = refused(new, old.as_ref());
        let found = match (said(&text, "message"), said(&text, "local")) {
            (Some(message), None) => errors.iter().any(|error| error.message == message),
            (None, Some(part)) => errors.iter().any(|error| error.message.contains(part)),
            _ => panic!("{name} must have either a message or local and kubernetes"),
        };
        assert!(found, "{name} gave {errors:?}");
        assert_eq!(said(&text, "local").is_some(), said(&text, "kubernetes").is_some(), "{name}");
    }
}

#[test]
fn each_file_of_valid_is_accepted_and_may_stay_as_it_is() {
    let examples = [include_str!("../../examples/cluster.yaml"), include_str!("../../examples/every-field.yaml")];
    for text in files("valid").into_values().chain(examples.map(str::to_owned)) {
        let cluster = parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        assert_eq!(validate_cluster(&cluster, Some(&cluster)), [], "{text}");
    }
}

#[test]
fn the_example_of_every_field_names_each_field_of_the_definition() {
    let example = include_str!("../../examples/every-field.yaml");
    let definition = granary_crds::definition();
    let root = definition.spec.versions[0].schema.clone().unwrap().open_api_v3_schema.unwrap();
    let spec = &root.properties.unwrap()["spec"];
    for (name, field) in spec.properties.as_ref().unwrap() {
        assert!(example.contains(&format!("{name}:")), "{name}");
        let parts = field.properties.iter().flatten().filter(|_| name != "podTemplate" && name != "affinity");
        for (part, _) in parts {
            assert!(example.contains(&format!("{part}:")), "{name}.{part}");
        }
    }
}

#[test]
fn ids_left_out_are_the_defaults_and_an_empty_object_sets_none() {
    let example = include_str!("../../examples/cluster.yaml");
    let ids = |text: &str| parse(text).unwrap().spec.pod_security_context;
    assert_eq!(ids(example), None);
    let given = ids(&format!("{example}  podSecurityContext: {{}}\n")).unwrap();
    assert_eq!((given.run_as_user, given.run_as_group, given.fs_group), (None, None, None));
    assert_eq!(ids(include_str!("../../examples/every-field.yaml")), Some(Default::default()));
}

#[test]
fn an_overlay_is_kept_as_it_was_written_with_its_nulls() {
    let text = files("valid").into_iter().find(|(name, _)| name.ends_with("overlay.yaml")).unwrap().1;
    let overlay = parse(&text).unwrap().spec.pod_template.unwrap();
    assert!(overlay["spec"]["dnsPolicy"].is_null() && overlay["spec"].get("dnsPolicy").is_some());
    assert_eq!(overlay["spec"]["hostAliases"][0]["ip"], "192.0.2.1");
}
