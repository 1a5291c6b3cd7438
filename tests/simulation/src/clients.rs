//! Clients: they put, get, delete, compare and set, follow hints, and send a write again under its number until it is
//! answered or their patience ends. What they saw is the history. As the real client does it.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use bytes::Bytes;
use granary_common::{ShardId, slot_of};
use granary_duties::map::shard_of_slot;
use granary_history::{Action, Answer, Change, Expected, Held, Operation, Outcome, UNREADABLE};
use granary_proto::{
    kv::{
        CompareAndSetRequest, DeleteRequest, Error, GetResponse, Guard, PutRequest, Reason, Retry,
        compare_and_set_request, guard::Condition,
    },
    map::ClusterMap,
};

use crate::{
    network::{CLIENTS, Host},
    node::{Call, Failed, KvReply, KvRequest, Reply, call},
    rng::Rng,
    tasks::Owner,
    world::{MS, SECOND, Shared, World, sleep},
};

/// Longest time for one operation, all tries together.
pub const PATIENCE: u64 = 8 * SECOND;
/// Longest wait for one answer, of hasty and of patient clients.
const TRIES: [u64; 2] = [1_500 * MS, 5 * SECOND];

/// What all clients share.
#[derive(Default)]
pub struct Clients {
    /// What they did.
    pub history: Vec<Operation>,
    /// Operations under way.
    pub under_way: u64,
    /// When an operation was answered last.
    pub answered_at: u64,
    /// Keys.
    pub keys: u64,
    /// Clients so far.
    pub number: usize,
    next_value: u64,
    /// Writes that were sent more than once.
    pub retried: u64,
}

/// One client: a connection pool, a map, and the numbers of its writes. Several operations are in flight at once.
struct Client {
    id: u64,
    host: Host,
    /// Longest wait for one answer, in ns.
    waits: u64,
    rng: Rng,
    map: Rc<ClusterMap>,
    /// Where a shard is led, as it was told last.
    leaders: BTreeMap<ShardId, usize>,
    next_sequence: u64,
    unanswered: BTreeMap<ShardId, BTreeSet<u64>>,
}

enum Tried {
    Done(KvReply),
    Again { sent: bool },
}

impl World {
    /// Starts `clients` clients with `workers` operations in flight each, over `keys` keys.
    pub fn start_clients(&mut self, clients: u64, workers: u64, keys: u64) {
        self.clients.keys = keys;
        for number in 1..=clients {
            let client = self.client();
            for worker in 0..workers {
                let (shared, client) = (self.shared(), client.clone());
                let number = (number * 100 + worker) as u32;
                self.spawn(Owner::Outside, work(shared, client, number));
            }
        }
    }
}

impl World {
    fn client(&mut self) -> Rc<RefCell<Client>> {
        self.clients.number += 1;
        Rc::new(RefCell::new(Client {
            id: self.rng.draw() | 1,
            host: CLIENTS + self.clients.number - 1,
            waits: *self.rng.pick(&TRIES),
            rng: self.rng.fork(),
            map: Rc::default(),
            leaders: BTreeMap::new(),
            next_sequence: 1,
            unanswered: BTreeMap::new(),
        }))
    }

    /// Reads every key once more, when nothing else goes on.
    pub fn start_last_reads(&mut self) {
        let (shared, client, keys) = (self.shared(), self.client(), self.clients.keys);
        self.clients.under_way += 1;
        self.spawn(Owner::Outside, async move {
            for number in 0..keys {
                record(&shared, &client, 1, format!("key-{number}"), Action::Read).await;
            }
            shared.borrow_mut().clients.under_way -= 1;
        });
    }

    /// A client with a wrong map: writes to a shard what is not its own. Only the shard itself can tell.
    pub fn start_stray_writes(&mut self) {
        let (shared, client) = (self.shared(), self.client());
        self.spawn(Owner::Outside, async move {
            while !shared.borrow().over {
                let wait = client.borrow_mut().rng.between(50 * MS, 500 * MS);
                sleep(&shared, wait).await;
                refresh(&shared, &client).await;
                let (shards, keys) = (shared.borrow().shape.shards, shared.borrow().clients.keys);
                let key = format!("key-{}", client.borrow_mut().rng.between(0, keys));
                let shard = ShardId(client.borrow_mut().rng.between(1, u64::from(shards) + 1) as u32);
                let map = client.borrow().map.clone();
                let right = shard_of_slot(&map, slot_of(key.as_bytes())).map(|shard| shard.id);
                if right.is_none_or(|right| right == shard.0) {
                    continue;
                }
                let put = PutRequest { key: key.into(), value: "stray".into(), retry: None, routing: None };
                let _ = attempt(&shared, &client, shard, KvRequest::Stray(shard, put)).await;
            }
        });
    }
}

async fn record(world: &Shared, client: &Rc<RefCell<Client>>, number: u32, key: String, action: Action) -> Outcome {
    let called = {
        let mut world = world.borrow_mut();
        world.clients.under_way += 1;
        world.now
    };
    let outcome = execute(world, client, &key, action).await;
    let mut world = world.borrow_mut();
    world.clients.under_way -= 1;
    let returned = world.now;
    if matches!(outcome, Outcome::Ok(_)) {
        world.clients.answered_at = returned;
    }
    let operation = Operation { client: number, key, called, returned, action, outcome: outcome.clone() };
    world.note(|| format!("{operation} of {}", operation.key));
    world.clients.history.push(operation);
    outcome
}

async fn work(world: Shared, client: Rc<RefCell<Client>>, number: u32) {
    let mut last: Option<(String, Held)> = None;
    while !world.borrow().over {
        let (key, action) = choose(&world, &client, &last);
        let outcome = record(&world, &client, number, key.clone(), action).await;
        if let Outcome::Ok(Answer::Held(Some(held)) | Answer::NotSwapped(Some(held))) = &outcome {
            last = Some((key, *held));
        }
        let think = client.borrow_mut().rng.between(MS, 60 * MS);
        sleep(&world, think).await;
    }
}

fn choose(world: &Shared, client: &Rc<RefCell<Client>>, last: &Option<(String, Held)>) -> (String, Action) {
    let mut world = world.borrow_mut();
    let rng = &mut client.borrow_mut().rng;
    let mut key = format!("key-{}", rng.between(0, world.clients.keys));
    world.clients.next_value += 1;
    let value = world.clients.next_value;
    let action = match rng.between(0, 100) {
        0..40 => Action::Read,
        40..70 => Action::Put { value },
        70..76 => Action::Delete,
        _ => {
            let expected = match last {
                Some((known, held)) if rng.hits(800_000) => {
                    key.clone_from(known);
                    match held.revision {
                        Some(revision) if rng.hits(500_000) => Expected::Revision(revision),
                        _ => Expected::Value(held.value),
                    }
                }
                _ if rng.hits(500_000) => Expected::Absent,
                _ => Expected::Present,
            };
            let change = if rng.hits(150_000) { Change::Delete } else { Change::Put(value) };
            Action::CompareAndSet { expected, change }
        }
    };
    (key, action)
}

async fn execute(world: &Shared, client: &Rc<RefCell<Client>>, key: &str, action: Action) -> Outcome {
    let begin = world.borrow().now;
    let slot = slot_of(key.as_bytes());
    let (mut sent, mut tries, mut number) = (false, 0, None);
    let outcome = loop {
        let age = world.borrow().now - begin;
        if age >= PATIENCE {
            break if sent && !action.is_read() { Outcome::Unknown } else { Outcome::Failed };
        }
        let shard = {
            let client = client.borrow();
            shard_of_slot(&client.map, slot).map(|shard| ShardId(shard.id))
        };
        let Some(shard) = shard else {
            refresh(world, client).await;
            continue;
        };
        if !action.is_read() && number.is_none() {
            let mut client = client.borrow_mut();
            let sequence = client.next_sequence;
            client.next_sequence += 1;
            client.unanswered.entry(shard).or_default().insert(sequence);
            number = Some((shard, sequence));
        }
        let request = request(client, key, action, number, age);
        tries += 1;
        if tries == 2 && sent && !action.is_read() {
            world.borrow_mut().clients.retried += 1;
        }
        match attempt(world, client, shard, request).await {
            Tried::Done(reply) => break outcome(reply),
            Tried::Again { sent: this } => sent |= this,
        }
    };
    if let Some((shard, sequence)) = number {
        client.borrow_mut().unanswered.entry(shard).or_default().remove(&sequence);
    }
    outcome
}

fn request(
    client: &Rc<RefCell<Client>>,
    key: &str,
    action: Action,
    number: Option<(ShardId, u64)>,
    age: u64,
) -> KvRequest {
    let client = client.borrow();
    let retry = number.map(|(shard, sequence)| {
        let first = client.unanswered.get(&shard).and_then(|window| window.first()).copied();
        Retry { client_id: client.id, sequence, answered_below: first.unwrap_or(sequence), age_ms: age / MS }
    });
    let key = Bytes::copy_from_slice(key.as_bytes());
    let value = |value: u64| Bytes::from(value.to_string());
    match action {
        Action::Put { value: written } => {
            KvRequest::Put(PutRequest { key, value: value(written), retry, routing: None })
        }
        Action::Delete => KvRequest::Delete(DeleteRequest { key, retry, routing: None }),
        Action::CompareAndSet { expected, change } => {
            let condition = match expected {
                Expected::Absent => Condition::Absent(true),
                Expected::Present => Condition::Present(true),
                Expected::Value(held) => Condition::Value(value(held)),
                Expected::Revision(revision) => Condition::Revision(revision),
            };
            let change = match change {
                Change::Put(written) => compare_and_set_request::Change::Value(value(written)),
                Change::Delete => compare_and_set_request::Change::Delete(true),
            };
            let expected = Some(Guard { key, condition: Some(condition) });
            KvRequest::CompareAndSet(CompareAndSetRequest { expected, change: Some(change), retry, routing: None })
        }
        _ => KvRequest::Get(key),
    }
}

/// One try: at the leader that is believed in, else at any holder.
async fn attempt(world: &Shared, client: &Rc<RefCell<Client>>, shard: ShardId, request: KvRequest) -> Tried {
    let to = {
        let client = &mut *client.borrow_mut();
        let known = client.leaders.get(&shard).copied();
        let any = any_place(&client.map, shard, &mut client.rng);
        if client.rng.hits(30_000) { any.or(known) } else { known.or(any) }
    };
    let Some(to) = to else {
        refresh(world, client).await;
        return Tried::Again { sent: false };
    };
    let (host, waits) = {
        let client = client.borrow();
        (client.host, client.waits)
    };
    let failed = match call(world, (host, to), Call::Kv(request), waits).await {
        Ok(Reply::Kv(KvReply::Error(error))) => return judge(world, client, shard, error).await,
        Ok(Reply::Kv(reply)) => {
            client.borrow_mut().leaders.insert(shard, to);
            return Tried::Done(reply);
        }
        Ok(_) | Err(Failed::Refused(_) | Failed::NotSent) => false,
        Err(Failed::Lost) => true,
    };
    client.borrow_mut().leaders.remove(&shard);
    let wait = client.borrow_mut().rng.between(MS, 40 * MS);
    sleep(world, wait).await;
    if wait.is_multiple_of(4) {
        refresh(world, client).await;
    }
    Tried::Again { sent: failed }
}

async fn judge(world: &Shared, client: &Rc<RefCell<Client>>, shard: ShardId, error: Error) -> Tried {
    let sent = error.reason() == Reason::OutcomeUnknown;
    let hint = error.hint.as_ref().map_or(0, |hint| hint.leader_node_id);
    match error.reason() {
        Reason::NotLeader if hint != 0 => {
            let place = {
                let client = client.borrow();
                let node = client.map.nodes.iter().find(|node| node.id == hint);
                let address = node.and_then(|node| node.addresses.as_ref()).map(|addresses| addresses.kv.clone());
                address.and_then(|address| crate::operator::place_of_address(&address))
            };
            match place {
                Some(place) => drop(client.borrow_mut().leaders.insert(shard, place)),
                None => refresh(world, client).await,
            }
        }
        Reason::WrongRange => refresh(world, client).await,
        Reason::Invalid | Reason::TooOld | Reason::Internal | Reason::Unspecified => {
            panic!("an answer that no client of these can get: {error:?}")
        }
        _ => drop(client.borrow_mut().leaders.remove(&shard)),
    }
    let wait = client.borrow_mut().rng.between(MS, 50 * MS);
    sleep(world, wait).await;
    Tried::Again { sent }
}

fn any_place(map: &ClusterMap, shard: ShardId, rng: &mut Rng) -> Option<usize> {
    let group = map.shards.iter().find(|known| known.id == shard.0)?.group.as_ref()?;
    let holders: Vec<u64> = group.replicas.iter().map(|replica| replica.node_id).collect();
    let nodes = map.nodes.iter().filter(|node| holders.contains(&node.id) || rng.hits(100_000));
    let places: Vec<usize> =
        nodes.filter_map(|node| crate::operator::place_of_address(&node.addresses.as_ref()?.kv)).collect();
    if places.is_empty() { None } else { Some(*rng.pick(&places)) }
}

/// Asks any node for its map.
async fn refresh(world: &Shared, client: &Rc<RefCell<Client>>) {
    let to = {
        let world = world.borrow();
        let places: Vec<usize> = world.places.iter().filter(|place| place.exists).map(|place| place.index).collect();
        if places.is_empty() { None } else { Some(*client.borrow_mut().rng.pick(&places)) }
    };
    let host = client.borrow().host;
    if let Some(to) = to
        && let Ok(Reply::Map(map)) = call(world, (host, to), Call::Map, 500 * MS).await
        && map.version > client.borrow().map.version
    {
        client.borrow_mut().map = map;
    }
    let wait = client.borrow_mut().rng.between(MS, 20 * MS);
    sleep(world, wait).await;
}

fn outcome(reply: KvReply) -> Outcome {
    let held = |found: bool, value: &[u8], revision: u64| {
        let number = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()).unwrap_or(UNREADABLE);
        found.then_some(Held { value: number, revision: Some(revision) })
    };
    Outcome::Ok(match reply {
        KvReply::Get(GetResponse { found, value, revision }) => Answer::Held(held(found, &value, revision)),
        KvReply::Put(done) => Answer::Written(Some(done.revision)),
        KvReply::Delete(done) => Answer::Deleted { existed: Some(done.existed), revision: Some(done.revision) },
        KvReply::CompareAndSet(done) if done.succeeded => Answer::Written(Some(done.revision)),
        KvReply::CompareAndSet(done) => {
            let current = done.current.unwrap_or_default();
            Answer::NotSwapped(held(current.found, &current.value, current.revision))
        }
        KvReply::Error(_) => return Outcome::Unknown,
    })
}
