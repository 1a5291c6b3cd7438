//! `cluster.json`, damaged in every way: it is refused, or it is a record that could have been written. A damaged one
//! is never taken for a directory without a cluster.

use granary_fuzz::{cases, damage};
use proptest::{collection::vec, prelude::*};

use super::*;

fn record() -> impl Strategy<Value = Record> {
    let place = (any::<[u16; 3]>(), any::<bool>()).prop_map(|([kv_port, peer_port, metrics_port], retiring)| {
        PlaceRecord { kv_port, peer_port, metrics_port, retiring }
    });
    (vec((any::<u32>(), place), 0..6), prop::option::of("[a-f0-9-]{36}"), any::<bool>()).prop_map(
        |(places, cluster_id, founded)| Record {
            format: FORMAT,
            installation: "00000000-0000-4000-8000-000000000001".into(),
            cluster_id,
            founded,
            founding: None,
            places: places.into_iter().collect(),
        },
    )
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn a_damaged_record_is_refused_or_is_one_and_never_none(record in record(), damages in damage::damages()) {
        let directory = tempfile::tempdir().unwrap();
        let layout = Layout::create(directory.path()).unwrap();
        record.save(&layout).unwrap();
        prop_assert_eq!(Record::load(&layout).unwrap(), Some(record));
        let good = std::fs::read(layout.record()).unwrap();
        std::fs::write(layout.record(), damage::apply(&damages, &good)).unwrap();
        if let Ok(read) = Record::load(&layout) {
            let read = read.expect("a record that is damaged is not one that is not there");
            prop_assert_eq!(read.format, FORMAT);
            read.save(&layout).unwrap();
            prop_assert_eq!(Record::load(&layout).unwrap(), Some(read));
        }
    }
}
