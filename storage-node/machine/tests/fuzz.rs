//! Whatever bytes come in as a request, as an entry or as a row: they are refused, or they are what their encoder could
//! have made. What was validated can be applied; no command, valid or not, ends the process.
#![allow(missing_docs, clippy::expect_used)]

use std::slice;

use bytes::Bytes;
use granary_common::{ShardId, SlotRange, slot_of};
use granary_fuzz::{cases, damage, wire};
use granary_machine::{Overlay, kv, meta, rows, shard, testing::MemView};
use granary_proto::{
    admin::{AcquireOperatorRequest, BootstrapRequest, CreateShardsRequest, Founder, Placement},
    kv::{
        BatchRequest, CompareAndSetRequest, DeleteRangeRequest, DeleteRequest, GetRequest, PutRequest, Retry,
        ScanRequest, TxnRequest, Write, write::Change,
    },
    map,
    storage::{Command, MetaCommand, MetaState, meta_command::Operation},
};
use proptest::{collection::vec, prelude::*};
use prost::Message as _;

const SHARD: ShardId = ShardId(1);

fn key() -> impl Strategy<Value = Bytes> {
    let text = prop::sample::select(vec!["a", "b", "{t}x", "{t}y", "{}", "{", "k{t", ""]);
    let bytes = vec(any::<u8>(), 0..9).prop_map(Bytes::from);
    prop_oneof![4 => text.prop_map(|text| Bytes::from_static(text.as_bytes())), 1 => bytes]
}

fn retry() -> impl Strategy<Value = Option<Retry>> {
    let retry = (wire::number(), wire::number(), wire::number(), wire::number()).prop_map(
        |(client_id, sequence, answered_below, age_ms)| Retry { client_id, sequence, answered_below, age_ms },
    );
    prop::option::of(retry)
}

fn write() -> impl Strategy<Value = Write> {
    let change = prop_oneof![
        2 => key().prop_map(|value| Some(Change::Value(value))),
        1 => any::<bool>().prop_map(|delete| Some(Change::Delete(delete))),
        1 => Just(None),
    ];
    (key(), change).prop_map(|(key, change)| Write { key, change })
}

/// The commands that a node would make of these bytes, whatever request they are read as.
fn commands(bytes: &[u8]) -> Vec<Command> {
    let mut made = Vec::new();
    macro_rules! read {
        ($($request:ident by $command:ident),*) => {
            $(if let Ok(request) = $request::decode(bytes) {
                made.extend(kv::$command(request).ok());
            })*
        };
    }
    read!(
        PutRequest by put_command,
        DeleteRequest by delete_command,
        CompareAndSetRequest by compare_and_set_command,
        BatchRequest by batch_command,
        TxnRequest by txn_command,
        DeleteRangeRequest by delete_range_command
    );
    let _ = GetRequest::decode(bytes).map(|request| kv::validate_get(&request).is_ok());
    let _ = ScanRequest::decode(bytes).map(|request| kv::validate_scan(&request).is_ok());
    made
}

/// Applies them one after the other, and looks at what the shard is then.
fn apply(commands: &[Command], terms: &[u64]) -> Result<(), TestCaseError> {
    let mut stored = MemView::default();
    let mut state = shard::new(SHARD, SlotRange::of_shard(0, 2), map::Group::default());
    let mut term = state.applied_term;
    for (command, step) in commands.iter().zip(terms.iter().cycle()) {
        term += step % 2;
        let mut overlay = Overlay::new(&stored);
        let (index, before) = (state.applied_index + 1, state.revision);
        let answer = kv::apply(&mut overlay, &mut state, slice::from_ref(command), index, term);
        prop_assert!(matches!(answer, Ok(Some(_))), "{command:?}: {answer:?}");
        prop_assert!(state.revision >= before && state.applied_index == index);
        shard::save(&mut overlay, &state);
        stored.write(overlay.into_writes());
    }
    for (key, _) in stored.rows() {
        let kind = rows::Kind::of(key);
        prop_assert!(kind.is_ok());
        if kind == Ok(rows::Kind::Data) {
            let (slot, key) = rows::decode_data_key(key).expect("a key that was just written");
            prop_assert!(slot == slot_of(key) && SlotRange::of_shard(0, 2).contains(slot));
        }
    }
    Ok(())
}

fn meta_state() -> MetaState {
    let founder =
        |n: u64| Founder { node_id: n, uuid: format!("00000000-0000-4000-8000-{n:012}"), ..Founder::default() };
    let founders = (1..=3).map(founder).collect();
    let cluster_id = "00000000-0000-4000-8000-0000000000ff".into();
    let request = BootstrapRequest { cluster_id, founders, replication_factor: 3, shard_count: 2, feature_level: 1 };
    let mut state = meta::founded(&request).expect("a request that a cluster can be founded by");
    let acquire = AcquireOperatorRequest { installation: "i".into(), process: "p".into() };
    let placement = |shard_id| Placement { shard_id, node_ids: vec![1, 2, 3] };
    let create = CreateShardsRequest { operator_token: 1, shards: (1..=2).map(placement).collect() };
    for operation in [Operation::AcquireOperator(acquire), Operation::CreateShards(create)] {
        let command = MetaCommand { leader_time_ms: 1_000, operation: Some(operation) };
        meta::apply(&mut state, &command, 6).expect("a command of a known kind");
    }
    state
}

proptest! {
    #![proptest_config(cases(1_024))]

    #[test]
    fn what_is_validated_can_be_applied(
        requests in vec(wire::message(), 1..6),
        damages in damage::damages(),
        writes in vec(write(), 0..6),
        retry in retry(),
        terms in vec(any::<u64>(), 1..4),
    ) {
        let batch = BatchRequest { writes: writes.clone(), retry, routing: None };
        let txn = TxnRequest { guards: Vec::new(), writes, retry, routing: None };
        let mut bytes = requests;
        bytes.extend([batch.encode_to_vec(), damage::apply(&damages, &batch.encode_to_vec()), txn.encode_to_vec()]);
        let mut made: Vec<Command> = bytes.iter().flat_map(|bytes| commands(bytes)).collect();
        // Each once more, as a client does that heard no answer.
        made.extend(made.clone());
        apply(&made, &terms)?;
    }

    #[test]
    fn an_entry_of_any_bytes_is_applied_or_is_an_error(bytes in wire::message(), damages in damage::damages()) {
        for bytes in [bytes.clone(), damage::apply(&damages, &bytes)] {
            let Ok(command) = Command::decode(&*bytes) else { continue };
            let stored = MemView::default();
            let mut state = shard::new(SHARD, SlotRange::ALL, map::Group::default());
            let (index, term) = (state.applied_index + 1, state.applied_term);
            let _ = kv::apply(&mut Overlay::new(&stored), &mut state, slice::from_ref(&command), index, term);
        }
    }

    #[test]
    fn a_command_of_any_bytes_leaves_the_map_one_that_nodes_can_live_by(
        bytes in vec(wire::message(), 1..8),
        token in 0..3_u64,
    ) {
        let mut state = meta_state();
        for (bytes, index) in bytes.iter().zip(7..) {
            let Ok(mut command) = MetaCommand::decode(&**bytes) else { continue };
            if token == 1 {
                with_token(&mut command);
            }
            let (before, next) = (state.map.clone().unwrap_or_default(), state.next_replica_id);
            let _ = meta::apply(&mut state, &command, index);
            let map = state.map.clone().unwrap_or_default();
            prop_assert!(map.version >= before.version && state.next_replica_id >= next);
            prop_assert!(map.nodes.len() >= map.replication_factor as usize);
            for shard in &map.shards {
                let target = shard.target.clone().unwrap_or_default();
                prop_assert_eq!(target.replicas.len(), map.replication_factor as usize);
                let member = |node: u64| map.nodes.iter().any(|known| known.id == node);
                prop_assert!(target.replicas.iter().all(|replica| member(replica.node_id)), "{:?}", shard);
                prop_assert!(target.replicas.iter().all(|replica| replica.id < state.next_replica_id), "{:?}", shard);
            }
        }
    }

    #[test]
    fn keys_and_values_of_rows_decode_to_what_they_were_made_of(
        (shard, client, sequence) in (any::<u32>(), any::<u64>(), any::<u64>()),
        key in vec(any::<u8>(), 0..40),
        revision in any::<u64>(),
    ) {
        let row = rows::answer_key(ShardId(shard), client, sequence);
        prop_assert_eq!(rows::decode_answer_key(&row), Ok((client, sequence)));
        prop_assert_eq!(rows::decode_client_key(&rows::client_key(ShardId(shard), client)), Ok(client));
        prop_assert_eq!(rows::decode_shard_key(&rows::shard_key(ShardId(shard))), Ok(ShardId(shard)));
        let (data, value) = (rows::data_key(&key), rows::encode_data(revision, &key));
        prop_assert_eq!(rows::decode_data_key(&data), Ok((slot_of(&key), &*key)));
        prop_assert_eq!(rows::DataRow::decode_slice(&value), Ok((revision, &*key)));
        prop_assert!(rows::answers_range(ShardId(shard)).contains(&row));
        prop_assert!(!rows::clients_range(ShardId(shard)).contains(&row));
    }

    #[test]
    fn damaged_rows_are_refused_or_are_rows_that_could_have_been_written(
        bytes in vec(any::<u8>(), 0..40),
        (shard, client, sequence) in (any::<u32>(), any::<u64>(), any::<u64>()),
        damages in damage::damages(),
    ) {
        let good = [
            rows::answer_key(ShardId(shard), client, sequence),
            rows::client_key(ShardId(shard), client),
            rows::shard_key(ShardId(shard)),
            rows::data_key(&bytes),
            rows::encode_data(sequence, &bytes),
        ];
        for row in good.iter().map(|good| damage::apply(&damages, good)).chain([bytes]) {
            if let Ok((client, sequence)) = rows::decode_answer_key(&row) {
                prop_assert_eq!(row.len(), rows::answer_key(ShardId(0), client, sequence).len());
            }
            if let Ok((slot, key)) = rows::decode_data_key(&row) {
                prop_assert_eq!(&rows::data_key_in(slot, key)[..], &row[..]);
            }
            if let Ok((revision, value)) = rows::DataRow::decode_slice(&row) {
                prop_assert_eq!(&rows::encode_data(revision, value)[..], &row[..]);
            }
            if let (Ok(shard), Ok(rows::Kind::Shard)) = (rows::decode_shard_key(&row), rows::Kind::of(&row)) {
                prop_assert_eq!(&rows::shard_key(shard)[..], &row[..]);
            }
            let _ = rows::decode_client_key(&row);
        }
    }
}

/// As the operator in force would ask it.
fn with_token(command: &mut MetaCommand) {
    let Some(operation) = &mut command.operation else { return };
    match operation {
        Operation::AcquireOperator(_) | Operation::Reports(_) => {}
        Operation::Join(request) => request.operator_token = 1,
        Operation::CreateShards(request) => request.operator_token = 1,
        Operation::ReserveStop(request) => request.operator_token = 1,
        Operation::ReleaseStop(request) => request.operator_token = 1,
        Operation::Drain(request) => request.operator_token = 1,
        Operation::CancelDrain(request) => request.operator_token = 1,
        Operation::Reconfigure(request) => request.operator_token = 1,
        Operation::LeadersAway(request) => request.operator_token = 1,
        Operation::RemoveNode(request) => request.operator_token = 1,
    }
}
