//! Sealed files, such as the identity, damaged in every way.

use granary_fuzz::{cases, damage, memory};
use granary_proto::storage::Identity;
use proptest::prelude::*;
use prost::Message as _;

use super::*;

proptest! {
    #![proptest_config(cases(48))]

    #[test]
    fn a_sealed_file_is_what_was_written_or_is_refused(
        node_id in any::<u64>(),
        cluster in "[a-z0-9-]{0,36}",
        damages in damage::damages(),
    ) {
        const SEAL: Seal = Seal { magic: *b"GRANIDEN", format: 1 };
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("identity");
        let identity = Identity { format: 1, node_id, cluster_id: cluster, ..Identity::default() };
        SEAL.write(&path, &identity.encode_to_vec()).unwrap();
        let good = fs::read(&path).unwrap();
        prop_assert_eq!(SEAL.read(&path).unwrap(), Some(identity.encode_to_vec()));
        for damaged in damage::single_flips(&good).step_by(7).chain([damage::apply(&damages, &good)]) {
            fs::write(&path, &damaged).unwrap();
            let read = memory::bounded(damaged.len(), 16, || SEAL.read(&path));
            prop_assert_eq!(read.is_ok(), damaged == good, "{:?}", read);
        }
    }
}
