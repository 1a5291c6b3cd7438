//! Through one address alone, as `kubectl port-forward` gives it: the nodes' own addresses are not used.

use granary_tests::cli;

use crate::fixture::{Fixture, says};

#[tokio::test(flavor = "multi_thread")]
async fn every_command_that_needs_the_data_api_only_works_through_one_address() {
    let cluster = Fixture::up(3, 3, 4).await;
    let one = cluster.endpoints().unwrap().remove(0);
    let far = cluster.scratch.path().join("nothing-here");
    let granary = async |args: &[&str]| {
        let args: Vec<&str> = args.iter().copied().chain(["--forward", "--endpoints", &one]).collect();
        let output = cli::run(&far, &args).await.unwrap();
        assert_eq!(output.code, 0, "{args:?}: {}", output.stderr);
        output
    };
    for number in 0..20 {
        granary(&["put", &format!("key/{number}"), "value"]).await;
    }
    assert_eq!(granary(&["get", "key/7"]).await.text().trim_end(), "value");
    assert_eq!(granary(&["scan", "--prefix", "key/"]).await.text().lines().count(), 20);
    granary(&["bench", "mixed", "--time", "1s", "--clients", "4", "--keys", "100"]).await;
    let status = granary(&["status"]).await;
    says(&status.text(), &["node-1", "4 of 4 shards with a leader", "unknown"]);
    says(&status.stderr, &["only the cluster map is shown"]);
    says(&granary(&["shard", "list"]).await.text(), &["SHARD", "LEADER", "12288..16384"]);
    says(&granary(&["node", "list"]).await.text(), &["NODE", "node-2", "active"]);
    granary(&["delete", "--range", "key/", "key0"]).await;
    assert_eq!(granary(&["scan", "--prefix", "key/"]).await.text(), "");
}
