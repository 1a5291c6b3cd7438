//! Whole objects as the API server gets them, a file a spec. Refresh: `GRANARY_BLESS=1 cargo test -p granary-operator`.

use std::path::Path;

use serde::Serialize;

use super::*;

fn yaml(objects: &mut String, object: Option<impl Serialize>) {
    if let Some(object) = object {
        // Through a value, as the client sends it: sorted keys, and nothing that is unset.
        let value = serde_json::to_value(object).expect("JSON");
        objects.push_str("---\n");
        objects.push_str(&serde_saphyr::to_string(&value).expect("YAML"));
    }
}

fn all(of: &Of<'_>) -> String {
    let mut objects = String::new();
    yaml(&mut objects, Some(claim(of, 3)));
    yaml(&mut objects, Some(statefulset(of, 3).expect("a valid template")));
    yaml(&mut objects, Some(headless_service(of)));
    yaml(&mut objects, Some(client_service(of)));
    yaml(&mut objects, service_account(of));
    yaml(&mut objects, network_policy(of, "granary-system"));
    yaml(&mut objects, Some(budget(of, 2)));
    objects
}

#[test]
fn the_objects_are_as_committed() {
    for (name, spec) in SPECS {
        let spec = cluster(spec).spec;
        let text = all(&Of { restart: (name == "every-field").then_some("once"), ..of(&spec) });
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("src/substrate/kubernetes/objects/tests/golden")
            .join(format!("{name}.yaml"));
        if std::env::var_os("GRANARY_BLESS").is_some() {
            std::fs::write(&path, &text).expect("write");
        }
        assert_eq!(text, std::fs::read_to_string(&path).unwrap_or_default(), "{name}: see the top of this file");
    }
}
