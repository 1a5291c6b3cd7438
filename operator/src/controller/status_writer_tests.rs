use axum::http::StatusCode;
use granary_crds::status::Phase;
use serde_json::{Value, json};

use super::{
    super::{
        fake_api::{FakeApi, object},
        status_diff::IDLE,
    },
    *,
};

fn wanted(phase: Phase) -> StorageClusterStatus {
    StorageClusterStatus { phase, ..StorageClusterStatus::default() }
}

fn answer(version: &str, phase: &str) -> Value {
    let mut object = serde_json::to_value(object("demo")).unwrap();
    object["metadata"]["resourceVersion"] = json!(version);
    object["status"] = json!({
        "phase": phase, "replicas": 0, "readyNodes": 0, "shards": 0, "shardsWithLeader": 0, "planSteps": 0,
        "claimsKept": 0,
    });
    object
}

#[tokio::test]
async fn a_status_is_patched_by_uid_and_not_again_while_the_watch_still_shows_the_old_one() {
    let fake = FakeApi::start(|_| (StatusCode::OK, answer("2", "Ready"))).await;
    let (mut writer, api) = (StatusWriter::default(), fake.clusters());
    let seen = object("demo");
    assert_eq!(writer.write(&api, &seen, &wanted(Phase::Ready)).await.unwrap(), Write::Done);
    assert_eq!(writer.write(&api, &seen, &wanted(Phase::Ready)).await.unwrap(), Write::NotDue);
    let requests = fake.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].path, "/apis/granary.io/v1alpha1/namespaces/default/storageclusters/demo/status");
    assert_eq!(requests[0].body["metadata"]["uid"], json!("uid-of-demo"));
    let status = &requests[0].body["status"];
    assert_eq!((&status["phase"], &status["replicas"]), (&json!("Ready"), &json!(0)), "the first one is all of it");
}

#[tokio::test]
async fn what_somebody_else_wrote_is_written_over() {
    let fake = FakeApi::start(|_| (StatusCode::OK, answer("2", "Ready"))).await;
    let (mut writer, api) = (StatusWriter::default(), fake.clusters());
    writer.write(&api, &object("demo"), &wanted(Phase::Ready)).await.unwrap();
    let mut edited = object("demo");
    edited.metadata.resource_version = Some("3".into());
    edited.status = Some(wanted(Phase::Degraded));
    // As if that write had been a while ago.
    writer.last.as_mut().unwrap().at -= LAG;
    assert_eq!(writer.write(&api, &edited, &wanted(Phase::Ready)).await.unwrap(), Write::Done);
}

#[tokio::test]
async fn a_field_that_an_older_definition_drops_is_sent_again_only_once_a_minute() {
    let fake = FakeApi::start(|_| (StatusCode::OK, answer("2", "Ready"))).await;
    let (mut writer, api) = (StatusWriter::default(), fake.clusters());
    let wanted = StorageClusterStatus { storage_size: Some("10Gi".into()), ..wanted(Phase::Ready) };
    writer.write(&api, &object("demo"), &wanted).await.unwrap();
    let kept: StorageCluster = serde_json::from_value(answer("2", "Ready")).unwrap();
    writer.last.as_mut().unwrap().at -= 2 * LAG;
    assert_eq!(writer.write(&api, &kept, &wanted).await.unwrap(), Write::NotDue);
    writer.last.as_mut().unwrap().at -= IDLE;
    assert_eq!(writer.write(&api, &kept, &wanted).await.unwrap(), Write::Done);
    assert_eq!(fake.requests()[1].body["status"]["storageSize"], json!("10Gi"));
}

#[tokio::test]
async fn an_object_that_is_gone_or_was_made_anew_is_no_error_and_others_are() {
    for (code, reason, gone) in
        [(404, "NotFound", true), (409, "Conflict", true), (403, "Forbidden", false), (422, "Invalid", false)]
    {
        let status = json!({
            "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code, "message": "no",
        });
        let fake = FakeApi::start(move |_| (StatusCode::from_u16(code).unwrap(), status.clone())).await;
        let outcome = StatusWriter::default().write(&fake.clusters(), &object("demo"), &wanted(Phase::Ready)).await;
        assert_eq!(matches!(outcome, Ok(Write::Gone)), gone, "{code}: {outcome:?}");
        assert_eq!(outcome.is_err(), !gone, "{code}");
    }
}
