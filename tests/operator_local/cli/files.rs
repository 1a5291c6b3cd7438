//! load and verify.

use std::{fs, os::unix::fs::symlink};

use crate::fixture::{Fixture, says};

const MIB: usize = 1 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_is_loaded_and_verified_and_files_that_are_left_out_are_named_and_counted() {
    let cluster = Fixture::up(1, 1, 4).await;
    let files = cluster.scratch.path().join("files");
    fs::create_dir_all(files.join("deep/er")).unwrap();
    fs::write(files.join("deep/er/text"), "text").unwrap();
    fs::write(files.join("binary"), b"\xff\x00").unwrap();
    fs::write(files.join("empty"), b"").unwrap();
    fs::write(files.join("exact"), vec![1; 4 * MIB]).unwrap();
    fs::write(files.join("over"), vec![1; 4 * MIB + 1]).unwrap();
    symlink("/nowhere", files.join("link")).unwrap();
    let words = cluster.scratch.path().join("words");
    fs::write(&words, (0..2_000).map(|number| format!("word{number}\n")).collect::<String>()).unwrap();
    let (directory, words) = (files.to_str().unwrap(), words.to_str().unwrap());

    let loaded = cluster.done(&["load", directory, "--lines", words]).await;
    says(&loaded.text(), &["loaded 2,004 keys", "1 too large", "0 unreadable", "0 failed"]);
    says(&loaded.stderr, &["too large", "over", "4194305"]);
    let loaded = cluster.json(&["load", directory, "--lines", words, "--in-flight", "8"]).await;
    assert_eq!((loaded["keys"].as_u64(), loaded["too_large"].as_array().map(Vec::len)), (Some(2_004), Some(1)));
    assert_eq!(cluster.done(&["get", "deep/er/text"]).await.stdout, b"text");
    assert_eq!(cluster.done(&["get", "words/word7"]).await.stdout, b"word7");

    let verified = cluster.json(&["verify", directory, "--lines", words]).await;
    assert_eq!((verified["keys"].as_u64(), verified["wrong_count"].as_u64()), (Some(2_004), Some(0)));
    says(&cluster.done(&["verify", directory]).await.text(), &["verified 4 keys", "0 wrong", "1 too large"]);

    // What differs or is missing is named.
    cluster.put("binary", "other").await;
    cluster.done(&["delete", "deep/er/text"]).await;
    let wrong = cluster.granary(&["verify", directory]).await;
    assert_eq!(wrong.code, 1, "{}", wrong.text());
    says(&wrong.stderr, &["binary: has 5 bytes, expected 2", "deep/er/text: is not there", "2 keys are wrong"]);
    let wrong = cluster.granary(&["verify", directory, "-o", "json"]).await;
    assert_eq!((wrong.code, wrong.json().unwrap()["wrong_count"].as_u64()), (1, Some(2)));

    let missing = cluster.granary(&["load", "/nowhere/at/all"]).await;
    assert_eq!(missing.code, 1);
    says(&missing.stderr, &["cannot read /nowhere/at/all"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_read_is_named_and_the_others_are_stored() {
    let cluster = Fixture::up(1, 1, 4).await;
    let files = cluster.scratch.path().join("files");
    fs::create_dir_all(&files).unwrap();
    fs::write(files.join("good"), "good").unwrap();
    // Nobody, root neither, can read this one: it has a size, and each read of its beginning fails.
    let unreadable = std::path::Path::new("/proc/self/mem");
    assert!(fs::read(unreadable).is_err());
    let output = cluster.granary(&["load", files.to_str().unwrap(), "--lines", "/proc/self/mem"]).await;
    assert_eq!(output.code, 1);
    says(&output.stderr, &["cannot read /proc/self/mem"]);

    let output = cluster.granary(&["load", "/proc/self/task"]).await;
    assert_eq!(output.code, 1, "{}", output.text());
    says(&output.stderr, &["could not be read", "/mem: ", "run it again"]);
    says(&output.text(), &["unreadable"]);
}
