//! Overlays: what they may add, and what they may not touch.

use k8s_openapi::api::core::v1::PodTemplateSpec;

use super::*;

fn merged(overlay: &str) -> Result<PodTemplateSpec, TemplateError> {
    let template = pod_template(&of(&minimal()), 3)?;
    merge(template, &serde_saphyr::from_str(overlay).expect("YAML"))
}

fn in_node(fields: &str) -> String {
    format!("{{spec: {{containers: [{{name: node, {fields}}}]}}}}")
}

#[test]
fn an_overlay_that_says_nothing_changes_nothing() {
    let template = pod_template(&of(&minimal()), 3);
    for overlay in ["{}", "{metadata: {}, spec: {}}", "{spec: {containers: [{name: node}]}}"] {
        assert_eq!(merged(overlay), template, "{overlay}");
    }
}

#[test]
fn an_overlay_adds_beside_what_is_there() {
    let overlay = "{metadata: {labels: {tier: data}}, spec: {hostNetwork: true, \
        volumes: [{name: scratch, emptyDir: {}}], initContainers: [{name: first, image: a:1}], \
        containers: [{name: helper, image: b:1}, {name: node, env: [{name: RUST_LOG, value: debug}], \
        resources: {limits: {memory: 1Gi}}, livenessProbe: {timeoutSeconds: 9}, \
        ports: [{containerPort: 9000}], volumeMounts: [{name: scratch, mountPath: /data2}]}]}}";
    let merged = merged(overlay).expect("allowed");
    let labels = merged.metadata.expect("metadata").labels.expect("labels");
    assert_eq!((labels["tier"].as_str(), labels[names::LABEL_CLUSTER].as_str()), ("data", "demo"));
    let spec = merged.spec.expect("a spec");
    assert_eq!(spec.volumes.map(|volumes| volumes.len()), Some(2));
    assert_eq!(spec.containers.len(), 2);
    let node = &spec.containers[0];
    assert_eq!(node.command.as_deref(), Some(&["granary-node".to_owned()][..]));
    assert_eq!(node.env.as_ref().and_then(|all| all.last()).map(|last| last.name.as_str()), Some("RUST_LOG"));
    let probe = node.liveness_probe.clone().expect("a probe");
    assert_eq!((probe.timeout_seconds, probe.period_seconds), (Some(9), Some(10)));
}

#[test]
fn an_overlay_may_not_change_what_the_operator_relies_on() {
    let node = |field: &str| format!("spec.podTemplate.spec.containers[node].{field}");
    let spec = |field: &str| format!("spec.podTemplate.spec.{field}");
    let table = [
        (
            "{metadata: {labels: {granary.io/cluster: x}}}".into(),
            "spec.podTemplate.metadata.labels[granary.io/cluster]".into(),
        ),
        ("{metadata: {labels: {granary.io/new: x}}}".into(), "spec.podTemplate.metadata.labels[granary.io/new]".into()),
        (
            "{metadata: {labels: {app.kubernetes.io/managed-by: x}}}".into(),
            "spec.podTemplate.metadata.labels[app.kubernetes.io/managed-by]".into(),
        ),
        (
            "{metadata: {annotations: {granary.io/template-hash: x}}}".into(),
            "spec.podTemplate.metadata.annotations[granary.io/template-hash]".into(),
        ),
        ("{spec: {terminationGracePeriodSeconds: 5}}".into(), spec("terminationGracePeriodSeconds")),
        ("{spec: {volumes: [{name: data, emptyDir: {}}]}}".into(), spec("volumes[data]")),
        ("{spec: {volumes: [{name: x, persistentVolumeClaim: {claimName: demo-node-3}}]}}".into(), spec("volumes[x]")),
        ("{spec: {volumes: [{name: x, persistentVolumeClaim: {claimName: demo-node-12}}]}}".into(), spec("volumes[x]")),
        (
            "{spec: {containers: [{name: x, volumeMounts: [{name: data, mountPath: /d}]}]}}".into(),
            spec("containers[x].volumeMounts[data]"),
        ),
        (
            "{spec: {initContainers: [{name: x, volumeMounts: [{name: data, mountPath: /d}]}]}}".into(),
            spec("initContainers[x].volumeMounts[data]"),
        ),
        (in_node("image: 'x:1'"), node("image")),
        (in_node("command: [sh]"), node("command")),
        (in_node("args: ['--data', /x]"), node("args")),
        (in_node("env: [{name: GRANARY_DATA, value: /x}]"), node("env[GRANARY_DATA]")),
        (in_node("env: [{name: GRANARY_MACHINE, value: x}]"), node("env[GRANARY_MACHINE]")),
        (in_node("ports: [{containerPort: 7001, name: x}]"), node("ports[7001]")),
        (in_node("readinessProbe: {httpGet: {path: /livez, port: metrics}}"), node("readinessProbe")),
        (in_node("livenessProbe: {exec: {command: ['true']}}"), node("livenessProbe")),
        (in_node("startupProbe: {tcpSocket: {port: 7001}}"), node("startupProbe")),
        (in_node("volumeMounts: [{name: x, mountPath: /data}]"), node("volumeMounts[/data]")),
        (in_node("volumeMounts: [{name: x, mountPath: /data/granary/raft}]"), node("volumeMounts[/data/granary/raft]")),
        (in_node("volumeMounts: [{name: x, mountPath: /}]"), node("volumeMounts[/]")),
        (in_node("volumeMounts: [{name: data, mountPath: /d}]"), node("volumeMounts[/d]")),
    ];
    for (overlay, expected) in table {
        let overlay: String = overlay;
        match merged(&overlay) {
            Err(TemplateError::Fixed { field, .. }) => assert_eq!(field, expected, "{overlay}"),
            other => panic!("{overlay} gave {other:?}"),
        }
    }
}

#[test]
fn an_overlay_that_is_no_pod_is_refused_by_name() {
    let unknown = |field: &str| TemplateError::Unknown { field: format!("spec.podTemplate.{field}") };
    assert_eq!(merged("{spec: {hostNetwrok: true}}"), Err(unknown("spec.hostNetwrok")));
    assert_eq!(merged(&in_node("$patch: delete")), Err(unknown("spec.containers[0].$patch")));
    assert_eq!(merged("{kind: Pod}"), Err(unknown("kind")));
    for wrong in ["{spec: {hostNetwork: 1}}", "{spec: {containers: {}}}", "{spec: {priority: null}}"] {
        let Err(TemplateError::Malformed { field, .. }) = merged(wrong) else { panic!("{wrong} was taken") };
        assert!(field.starts_with("spec.podTemplate"), "{field}");
    }
}
