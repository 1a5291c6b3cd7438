//! put, get, delete, cas, scan.

use granary_tests::cli::Output;
use serde_json::{Value, json};

use crate::fixture::{Fixture, says};

/// Bytes that are not UTF-8.
const BINARY: &[u8] = b"\xff\x00\xfe\n";

fn lines(output: &Output) -> Vec<Value> {
    output.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[track_caller]
fn ended_with(output: &Output, code: i32, parts: &[&str]) {
    assert_eq!(output.code, code, "{} {}", output.text(), output.stderr);
    says(&output.stderr, parts);
}

#[tokio::test(flavor = "multi_thread")]
async fn values_come_from_the_argument_a_file_or_standard_input_and_come_back_byte_for_byte() {
    let cluster = Fixture::up(1, 1, 4).await;
    let file = cluster.scratch.path().join("value");
    std::fs::write(&file, BINARY).unwrap();
    let path = file.to_str().unwrap();

    says(&cluster.done(&["put", "argument", "hello"]).await.text(), &["revision "]);
    cluster.done(&["put", "file", "--file", path]).await;
    assert_eq!(cluster.granary_with(&["put", "stdin"], BINARY).await.code, 0);
    assert_eq!(cluster.granary_with(&["put", "dash", "--file", "-"], BINARY).await.code, 0);
    assert_eq!(cluster.granary_with(&["put", "empty"], b"").await.code, 0);

    assert_eq!(cluster.done(&["get", "argument"]).await.stdout, b"hello");
    for key in ["file", "stdin", "dash"] {
        assert_eq!(cluster.done(&["get", key]).await.stdout, BINARY, "{key}");
    }
    assert_eq!(cluster.done(&["get", "empty"]).await.stdout, b"");
    let text = cluster.json(&["get", "argument"]).await;
    assert_eq!((&text["key"], &text["value"]), (&json!("argument"), &json!("hello")));
    assert!(text["revision"].as_u64() > Some(0), "{text}");
    assert_eq!(cluster.json(&["get", "file"]).await["value_base64"], "/wD+Cg==");
    assert_eq!(cluster.json(&["get", "argument", "--stale", "60000"]).await["value"], "hello");

    let again = cluster.json(&["put", "argument", "hi"]).await;
    assert!(again["revision"].as_u64() > text["revision"].as_u64(), "{again}");

    ended_with(&cluster.granary(&["get", "nowhere"]).await, 3, &["nowhere", "not there"]);
    ended_with(&cluster.granary(&["get", "nowhere", "-o", "json"]).await, 3, &["nowhere"]);
    ended_with(&cluster.granary(&["put", "", "value"]).await, 2, &["key", "1 to 4096"]);
    let long = "k".repeat(4097);
    ended_with(&cluster.granary(&["put", &long, "value"]).await, 2, &["key", "4097", "4096"]);
    let large = vec![7; (4 << 20) + 1];
    ended_with(&cluster.granary_with(&["put", "large"], &large).await, 2, &["value", "4194305", "4194304"]);
    let largest = cluster.granary_with(&["put", "large"], &large[1..]).await;
    assert_eq!(largest.code, 0, "{}", largest.stderr);
    assert_eq!(cluster.done(&["get", "large"]).await.stdout.len(), 4 << 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_changes_only_if_it_is_as_expected() {
    let cluster = Fixture::up(1, 1, 4).await;
    cluster.done(&["cas", "lock", "--expect-absent", "mine"]).await;
    ended_with(&cluster.granary(&["cas", "lock", "--expect-absent", "yours"]).await, 4, &["lock", "holds 4 bytes"]);
    let refused = cluster.granary(&["cas", "lock", "--expect-value", "x", "y", "-o", "json"]).await;
    ended_with(&refused, 4, &["not changed"]);
    let found = refused.json().unwrap();
    assert_eq!(
        (&found["succeeded"], &found["found"], &found["value"]),
        (&json!(false), &json!(true), &json!("mine")),
        "{found}"
    );
    let swapped = cluster.json(&["cas", "lock", "--expect-value", "mine", "yours"]).await;
    assert_eq!(swapped["succeeded"], true);
    let revision = swapped["revision"].to_string();
    let old = found["revision"].to_string();
    ended_with(&cluster.granary(&["cas", "lock", "--expect-revision", &old, "x"]).await, 4, &[&revision]);
    let done = cluster.granary_with(&["cas", "lock", "--expect-revision", &revision], BINARY).await;
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_eq!(cluster.done(&["get", "lock"]).await.stdout, BINARY);

    cluster.put("gone", "soon").await;
    cluster.done(&["cas", "gone", "--expect-value", "soon", "--delete"]).await;
    ended_with(&cluster.granary(&["get", "gone"]).await, 3, &["gone"]);
    let absent = cluster.granary(&["cas", "gone", "--expect-value", "soon", "x", "-o", "json"]).await;
    assert_eq!((absent.code, absent.json().unwrap()["found"].clone()), (4, json!(false)));
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_scanned_by_prefix_range_tag_order_and_limit_and_deleted_by_key_range_and_tag() {
    let cluster = Fixture::up(1, 1, 4).await;
    for number in 0..12 {
        cluster.put(&format!("log/{number:02}"), &format!("line {number}")).await;
    }
    cluster.put("{user7}/a", "1").await;
    cluster.put("{user7}/b", "2").await;
    assert_eq!(cluster.granary_with(&["put", "other"], BINARY).await.code, 0);

    let text = cluster.done(&["scan", "--prefix", "log/", "--order", "key", "--limit", "2"]).await.text();
    assert_eq!(text, "log/00\tline 0\nlog/01\tline 1\n");
    let keys = cluster.done(&["scan", "--prefix", "log/", "--order", "key", "--keys-only"]).await.text();
    assert_eq!(keys, (0..12).map(|number| format!("log/{number:02}\n")).collect::<String>());
    let by_slot = cluster.done(&["scan", "--prefix", "log/", "--keys-only"]).await.text();
    assert_eq!(by_slot.lines().count(), 12);
    let range = cluster.done(&["scan", "--start", "log/03", "--end", "log/05", "--order", "key", "-o", "json"]).await;
    let values: Vec<_> = lines(&range).iter().map(|row| row["value"].clone()).collect();
    assert_eq!(values, ["line 3", "line 4"]);
    let tagged = lines(&cluster.done(&["scan", "--tag", "user7", "--order", "key", "-o", "json"]).await);
    assert_eq!(tagged.len(), 2, "{tagged:?}");
    let binary = lines(&cluster.done(&["scan", "--prefix", "oth", "-o", "json"]).await);
    assert_eq!(binary[0]["value_base64"], "/wD+Cg==");
    assert_eq!(cluster.done(&["scan", "--prefix", "nothing"]).await.text(), "");

    says(&cluster.done(&["delete", "log/00"]).await.text(), &["deleted at revision"]);
    says(&cluster.done(&["delete", "log/00"]).await.text(), &["was not there"]);
    assert_eq!(cluster.json(&["delete", "log/00"]).await["existed"], false);
    let shards = cluster.json(&["delete", "--range", "log/", "log/10"]).await;
    assert_eq!(shards["shards"].as_array().map(Vec::len), Some(4), "{shards}");
    let left = cluster.done(&["scan", "--prefix", "log/", "--order", "key", "--keys-only"]).await.text();
    assert_eq!(left, "log/10\nlog/11\n");
    cluster.done(&["delete", "--tag", "user7"]).await;
    assert_eq!(cluster.done(&["scan", "--tag", "user7"]).await.text(), "");
    assert_eq!(cluster.done(&["get", "other"]).await.stdout, BINARY);
}
