//! A data directory that is not whole, not this node's, or not this node's alone: refused by name, and nothing in it is
//! changed, so that the node runs again once it is put right.

use std::{
    fs,
    path::{Path, PathBuf},
};

use granary_tests::{
    cluster::{Cluster, Shape},
    node::copy_directory,
};

const ALONE: Shape = Shape { nodes: 1, factor: 1, shards: 4 };

/// A one-node cluster that holds a key, stopped.
async fn stopped() -> Cluster {
    let mut cluster = Cluster::found(ALONE).await.unwrap();
    cluster.client().await.unwrap().put("kept", "value").await.unwrap();
    cluster.nodes[0].kill();
    cluster
}

/// The node must not run, for a reason that names all of `words`.
async fn refused(cluster: &mut Cluster, words: &[&str]) {
    let (code, said) = cluster.nodes[0].start_refused().await.unwrap();
    assert_eq!(code, 1, "{said}");
    for word in words {
        assert!(said.contains(word), "{word:?} is not in: {said}");
    }
}

/// The node runs again, with its key.
async fn runs(mut cluster: Cluster) {
    cluster.nodes[0].start().unwrap();
    let value = cluster.client().await.unwrap().get("kept").await.unwrap().unwrap();
    assert_eq!(value.value, "value");
}

fn moved_away(path: &Path) -> PathBuf {
    let away = path.with_extension("away");
    fs::rename(path, &away).unwrap();
    away
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_on_one_directory_is_refused_and_the_first_goes_on() {
    let mut cluster = Cluster::found(ALONE).await.unwrap();
    let client = cluster.client().await.unwrap();
    client.put("kept", "value").await.unwrap();
    let second = cluster.add_blank().unwrap();
    cluster.nodes[second].kill();
    cluster.nodes[second].dir = cluster.nodes[0].dir.clone();
    let (code, said) = cluster.nodes[second].start_refused().await.unwrap();
    let holder = cluster.nodes[0].pid().unwrap().to_string();
    assert!(code == 1 && said.contains("in use by another process") && said.contains(&holder), "{said}");
    assert_eq!(client.get("kept").await.unwrap().unwrap().value, "value");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_part_of_the_directory_is_named_and_the_node_runs_when_it_is_back() {
    let mut cluster = stopped().await;
    for part in ["raft", "data", "identity", "incarnation", "blank-uuid"] {
        let path = cluster.nodes[0].dir.join(part);
        let away = moved_away(&path);
        refused(&mut cluster, &[part, "missing"]).await;
        fs::rename(away, path).unwrap();
    }
    runs(cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_or_edited_identity_is_named_and_never_guessed() {
    let mut cluster = stopped().await;
    let path = cluster.nodes[0].dir.join("identity");
    let whole = fs::read(&path).unwrap();
    let mut edited = whole.clone();
    let middle = edited.len() / 2;
    edited[middle] ^= 1;
    for (what, bytes) in [("torn", &whole[..middle]), ("edited", &edited[..]), ("empty", &[][..])] {
        fs::write(&path, bytes).unwrap();
        println!("{what} identity");
        refused(&mut cluster, &["identity", "torn or was edited"]).await;
    }
    fs::write(&path, whole).unwrap();
    runs(cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stores_that_are_swapped_or_of_another_cluster_are_refused() {
    let mut cluster = stopped().await;
    let other = stopped().await;
    let dir = cluster.nodes[0].dir.clone();
    let (raft, data) = (dir.join("raft"), dir.join("data"));

    let away = moved_away(&raft);
    fs::rename(&data, &raft).unwrap();
    fs::rename(&away, &data).unwrap();
    refused(&mut cluster, &["raft"]).await;
    let away = moved_away(&raft);
    fs::rename(&data, &raft).unwrap();
    fs::rename(&away, &data).unwrap();

    for part in ["raft", "data"] {
        let away = moved_away(&dir.join(part));
        copy_directory(&other.nodes[0].dir.join(part), &dir.join(part)).unwrap();
        let own = cluster.cluster_id.clone();
        refused(&mut cluster, &[part, &own, &other.cluster_id]).await;
        fs::remove_dir_all(dir.join(part)).unwrap();
        fs::rename(away, dir.join(part)).unwrap();
    }
    let away = moved_away(&dir.join("identity"));
    fs::copy(other.nodes[0].dir.join("identity"), dir.join("identity")).unwrap();
    refused(&mut cluster, &["uuid"]).await;
    fs::rename(away, dir.join("identity")).unwrap();
    runs(cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stores_of_an_older_copy_of_the_same_disk_do_not_pass_for_a_whole_directory() {
    let mut cluster = stopped().await;
    let dir = cluster.nodes[0].dir.clone();
    let copy = dir.with_extension("copy");
    copy_directory(&dir, &copy).unwrap();
    cluster.nodes[0].start().unwrap();
    cluster.whole().await.unwrap();
    let client = cluster.client().await.unwrap();
    for number in 0..200 {
        client.put(format!("later/{number}"), "value").await.unwrap();
    }
    cluster.nodes[0].kill();
    // An old raft/ has forgotten votes: it is refused.
    let away = moved_away(&dir.join("raft"));
    copy_directory(&copy.join("raft"), &dir.join("raft")).unwrap();
    refused(&mut cluster, &["raft/", "older copy"]).await;
    fs::remove_dir_all(dir.join("raft")).unwrap();
    fs::rename(away, dir.join("raft")).unwrap();
    // An old data/ beside the newer raft/ is behind its log, which still has all entries: they are applied again.
    let away = moved_away(&dir.join("data"));
    copy_directory(&copy.join("data"), &dir.join("data")).unwrap();
    cluster.nodes[0].start().unwrap();
    cluster.whole().await.unwrap();
    let client = cluster.client().await.unwrap();
    for number in 0..200 {
        assert!(client.get(format!("later/{number}")).await.unwrap().is_some(), "later/{number}");
    }
    fs::remove_dir_all(away).unwrap();
}
