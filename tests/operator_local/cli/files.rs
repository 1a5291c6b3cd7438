//! load and verify.

use std::{
    fs::{self, Permissions},
    os::unix::{
        fs::{PermissionsExt as _, symlink},
        process::CommandExt as _,
    },
    process::Command,
};

use granary_tests::programs;

use crate::fixture::{Fixture, says};

const MIB: usize = 1 << 20;
/// A user without rights.
const NOBODY: u32 = 65_534;

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

    // A special file without an end is refused, not read into memory.
    let endless = cluster.granary(&["load", directory, "--lines", "/dev/zero"]).await;
    assert_eq!(endless.code, 1);
    says(&endless.stderr, &["/dev/zero", "not a regular file"]);
    let missing = cluster.granary(&["load", "/nowhere/at/all"]).await;
    assert_eq!(missing.code, 1);
    says(&missing.stderr, &["cannot read /nowhere/at/all"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_read_is_named_and_the_others_are_stored() {
    let cluster = Fixture::up(1, 1, 4).await;
    let (files, program) = (cluster.scratch.path().join("files"), cluster.scratch.path().join("granary"));
    fs::create_dir_all(files.join("locked")).unwrap();
    fs::write(files.join("good"), "good").unwrap();
    fs::write(files.join("secret"), "secret").unwrap();
    fs::set_permissions(files.join("secret"), Permissions::from_mode(0o000)).unwrap();
    fs::set_permissions(files.join("locked"), Permissions::from_mode(0o000)).unwrap();
    // Nothing is secret for root, so that the command has to run as somebody else.
    fs::copy(programs::path("granary").unwrap(), &program).unwrap();
    fs::set_permissions(cluster.scratch.path(), Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new(&program);
    command.args(["load", files.to_str().unwrap(), "--endpoints", &cluster.endpoints().unwrap().join(",")]);
    if fs::read(files.join("secret")).is_ok() {
        command.uid(NOBODY);
    }
    let output = command.output().unwrap();
    let (text, errors) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(output.status.code(), Some(1), "{text} {errors}");
    says(&errors, &["could not be read", "files/secret: Permission denied", "files/locked: Permission denied"]);
    says(&errors, &["2 keys were not stored", "run it again"]);
    says(&text, &["loaded 1 keys", "2 unreadable"]);
    cluster.holds("good", "good").await;
}
