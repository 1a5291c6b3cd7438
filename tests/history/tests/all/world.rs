//! A made-up cluster that does everything right, and many clients of it: histories of any size from a seed.

use granary_history::{Action, Answer, Change, Expected, Held, History, Operation, Origin, Outcome};

/// How a history is made.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub seed: u64,
    pub operations: u64,
    pub keys: u64,
    pub clients: u32,
    /// Of a thousand writes, how many have an unknown outcome.
    pub unknown: u64,
    /// Whether writes and reads tell revisions.
    pub revisions: bool,
    /// Which kinds of keys there are: key number modulo the length.
    pub kinds: &'static [Kind],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Register,
    /// Puts and reads only.
    Plain,
    List,
    Counter,
}

/// xorshift64*, Vigna 2016: enough for tests, and no dependency.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32) % bound
    }
}

#[derive(Clone, Default)]
struct Key {
    value: Option<u64>,
    revision: u64,
    list: Vec<u64>,
    sum: u64,
}

/// All clients are always busy: each operation takes effect at some time between its call and its return. At the end,
/// when all is quiet, every key is read.
pub fn make(shape: Shape) -> History {
    let mut random = Random::new(shape.seed);
    let mut keys = vec![Key::default(); shape.keys as usize];
    let mut free_at = vec![0u64; shape.clients as usize];
    let mut operations = Vec::new();
    // Each client calls as soon as it is free, and its operation takes effect later. Effects in order of time.
    let mut pending: Vec<(u64, u32, u64)> = Vec::new();
    for number in 1..=shape.operations {
        let client = (0..shape.clients).min_by_key(|client| free_at[*client as usize]).unwrap();
        let called = free_at[client as usize];
        let effect = called + 1 + random.below(1000);
        free_at[client as usize] = effect + 1 + random.below(1000);
        pending.push((effect, client, number));
        operations.push((called, free_at[client as usize]));
    }
    pending.sort_unstable();
    let made = pending.into_iter().map(|(_, client, number)| {
        let (called, returned) = operations[number as usize - 1];
        let index = random.below(shape.keys) as usize;
        let kind = shape.kinds[index % shape.kinds.len()];
        let key = &mut keys[index];
        let action = action(kind, key, number, &mut random);
        let unknown = !action.is_read() && random.below(1000) < shape.unknown;
        let outcome = if unknown && random.below(2) == 0 {
            Outcome::Unknown
        } else {
            let answer = key.apply(action, shape.revisions);
            if unknown { Outcome::Unknown } else { Outcome::Ok(answer) }
        };
        Operation { client, key: format!("key/{index}"), called, returned, action, outcome }
    });
    let mut made: Vec<Operation> = made.collect();
    let end = free_at.iter().max().unwrap() + 1;
    for index in 0..shape.keys as usize {
        let action = match shape.kinds[index % shape.kinds.len()] {
            Kind::Register | Kind::Plain => Action::Read,
            Kind::List => Action::ReadList,
            Kind::Counter => Action::ReadCounter,
        };
        let outcome = Outcome::Ok(keys[index].apply(action, shape.revisions));
        made.push(Operation {
            client: 0,
            key: format!("key/{index}"),
            called: end,
            returned: end + 1,
            action,
            outcome,
        });
    }
    History { origin: Origin { seed: shape.seed, replay: format!("{shape:?}") }, operations: made }
}

fn action(kind: Kind, key: &Key, number: u64, random: &mut Random) -> Action {
    match (kind, random.below(10)) {
        (Kind::Register | Kind::Plain, 0..5) => Action::Read,
        (Kind::Register, 5) => Action::Delete,
        (Kind::Register, 6) => {
            let expected = key.value.map_or(Expected::Absent, Expected::Value);
            Action::CompareAndSet { expected, change: Change::Put(number) }
        }
        (Kind::Register, 7) => Action::CompareAndSet {
            expected: Expected::Revision(key.revision + random.below(2)),
            change: Change::Put(number),
        },
        (Kind::Register | Kind::Plain, _) => Action::Put { value: number },
        (Kind::List, 0..5) => Action::ReadList,
        (Kind::List, _) => Action::Append { element: number },
        (Kind::Counter, 0..5) => Action::ReadCounter,
        (Kind::Counter, _) => Action::Add { amount: 1 },
    }
}

impl Key {
    fn held(&self, told: bool) -> Option<Held> {
        self.value.map(|value| Held { value, revision: told.then_some(self.revision) })
    }

    fn write(&mut self, value: Option<u64>, told: bool) -> Option<u64> {
        self.revision += 1;
        self.value = value;
        told.then_some(self.revision)
    }

    fn apply(&mut self, action: Action, told: bool) -> Answer {
        match action {
            Action::Read => Answer::Held(self.held(told)),
            Action::Put { value } => Answer::Written(self.write(Some(value), told)),
            Action::Delete => {
                let existed = Some(self.value.is_some());
                Answer::Deleted { existed, revision: self.write(None, told) }
            }
            Action::CompareAndSet { expected, change } => {
                let holds = match expected {
                    Expected::Absent => self.value.is_none(),
                    Expected::Present => self.value.is_some(),
                    Expected::Value(value) => self.value == Some(value),
                    Expected::Revision(revision) => self.value.is_some() && self.revision == revision,
                };
                let Change::Put(value) = change else { unreachable!("only puts are made") };
                if holds {
                    Answer::Written(self.write(Some(value), told))
                } else {
                    Answer::NotSwapped(self.held(told || matches!(expected, Expected::Revision(_))))
                }
            }
            Action::Append { element } => {
                self.list.push(element);
                Answer::Written(None)
            }
            Action::ReadList => Answer::List(self.list.clone()),
            Action::Add { amount } => {
                self.sum += amount;
                Answer::Written(None)
            }
            Action::ReadCounter => Answer::Count(self.sum),
        }
    }
}
