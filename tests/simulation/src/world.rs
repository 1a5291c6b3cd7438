//! The world: time, what happens next, the network, all places, and the tasks that run on them. One thread; what happens
//! is a function of the seed.

use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    future::Future,
    rc::{Rc, Weak},
    time::{Duration, Instant},
};

use futures::{channel::oneshot, future::Either, pin_mut};

use crate::{
    checks::Checks,
    clients::Clients,
    network::Network,
    node::Process,
    operator::Substrate,
    place::Place,
    rng::Rng,
    tasks::{Owner, Task, Tasks},
};

/// One ms in ns.
pub const MS: u64 = 1_000_000;
/// One second in ns.
pub const SECOND: u64 = 1_000 * MS;

/// The world as tasks hold it.
pub type Shared = Rc<RefCell<World>>;

/// What a world is made of.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Places that may exist at most.
    pub places: usize,
    /// Data shards.
    pub shards: u32,
    /// Copies of each.
    pub factor: u32,
    /// Nodes at first.
    pub nodes: u32,
}

/// Something to be done in the world.
pub type Deed = Box<dyn FnOnce(&mut World)>;

/// Something that is going to happen.
pub struct Happening {
    what: &'static str,
    /// It happens in this process, and not when that has ended.
    of: Option<(usize, u64)>,
    deed: Deed,
}

/// See the module.
pub struct World {
    /// Of the run.
    pub seed: u64,
    /// What it is made of.
    pub shape: Shape,
    /// ns since the run began.
    pub now: u64,
    /// The source of chance.
    pub rng: Rng,
    /// What must hold.
    pub checks: Checks,
    /// The network.
    pub network: Network,
    /// Where nodes run, by index.
    pub places: Vec<Place>,
    /// What the operator's substrate keeps.
    pub substrate: Substrate,
    /// What clients did.
    pub clients: Clients,
    /// Faults and other things that happened, by kind.
    pub counts: BTreeMap<&'static str, u64>,
    /// Faults may happen.
    pub stormy: bool,
    /// Clients ask nothing more.
    pub over: bool,
    /// How often a step of a read is followed by a pause, in a million.
    pub pauses_in_reads: u64,
    trace: u64,
    happened: u64,
    base: Instant,
    queue: BTreeMap<(u64, u64), Happening>,
    next: u64,
    tasks: Tasks,
    ended: Vec<Task>,
    me: Weak<RefCell<World>>,
    /// The last things that happened, for a failure's report.
    log: VecDeque<String>,
    /// `GRANARY_SIMULATION_LOG` asks for all of them.
    loud: bool,
}

impl World {
    /// A world in which nothing runs yet.
    pub fn new(seed: u64, shape: Shape) -> Shared {
        let mut rng = Rng::new(seed);
        let places = (0..shape.places).map(|index| Place::new(index, &shape, &mut rng)).collect();
        Rc::new_cyclic(|me| {
            RefCell::new(Self {
                seed,
                now: 0,
                checks: Checks::default(),
                network: Network::default(),
                places,
                substrate: Substrate::default(),
                clients: Clients::default(),
                counts: BTreeMap::new(),
                stormy: false,
                over: false,
                pauses_in_reads: 0,
                trace: 0xcbf2_9ce4_8422_2325,
                happened: 0,
                base: Instant::now(),
                queue: BTreeMap::new(),
                next: 0,
                tasks: Tasks::default(),
                ended: Vec::new(),
                me: me.clone(),
                log: VecDeque::new(),
                loud: std::env::var_os("GRANARY_SIMULATION_LOG").is_some(),
                shape,
                rng,
            })
        })
    }

    /// The handle that tasks hold.
    pub fn shared(&self) -> Shared {
        self.me.upgrade().expect("the world outlives what happens in it")
    }

    /// The time as an `Instant`: only differences count.
    pub fn instant(&self) -> Instant {
        self.base + Duration::from_nanos(self.now)
    }

    /// Counts something.
    pub fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    /// Remembers a line for the report of a failure, and makes it part of the trace.
    pub fn note(&mut self, line: impl FnOnce() -> String) {
        let line = line();
        self.mix(line.as_bytes());
        if self.loud {
            eprintln!("{:>9.3} {line}", self.now as f64 / 1e9);
        }
        if self.log.len() == 40 {
            self.log.pop_front();
        }
        self.log.push_back(format!("{:>9.3} {line}", self.now as f64 / 1e9));
    }

    /// The last lines.
    pub fn last_lines(&self) -> String {
        self.log.iter().map(|line| format!("{line}\n")).collect()
    }

    fn mix(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.trace = (self.trace ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    /// The hash of everything that happened, in order, and how much that was.
    pub fn trace(&self) -> (u64, u64) {
        (self.trace, self.happened)
    }

    /// Lets something happen in `ns`.
    pub fn after(&mut self, ns: u64, what: &'static str, deed: impl FnOnce(&mut World) + 'static) {
        self.push(self.now + ns, Happening { what, of: None, deed: Box::new(deed) });
    }

    /// Lets something happen in `ns` in a process, if that lives then; later where it is paused.
    pub fn after_in(
        &mut self,
        (place, epoch): (usize, u64),
        ns: u64,
        what: &'static str,
        deed: impl FnOnce(&mut World) + 'static,
    ) {
        self.push(self.now + ns, Happening { what, of: Some((place, epoch)), deed: Box::new(deed) });
    }

    fn push(&mut self, at: u64, happening: Happening) {
        self.next += 1;
        self.queue.insert((at, self.next), happening);
    }

    /// A new task.
    pub fn spawn(&mut self, owner: Owner, task: impl Future<Output = ()> + 'static) {
        self.tasks.spawn(owner, task);
    }

    /// Ends all tasks of an owner.
    pub fn end_tasks(&mut self, owner: Owner) {
        let ended = self.tasks.end(owner);
        self.ended.extend(ended);
    }

    /// Whether what belongs to this owner may go on, now or later.
    fn lives(&self, owner: Owner) -> bool {
        match owner {
            Owner::Process { place, epoch } => self.process(place).is_some_and(|process| process.epoch == epoch),
            Owner::Operator(number) => self.substrate.operators.contains(&number),
            Owner::Outside => true,
        }
    }

    fn is_paused(&self, owner: Owner) -> bool {
        match owner {
            Owner::Process { place, .. } => self.now < self.places[place].paused_until,
            Owner::Operator(number) => self.substrate.paused.get(&number).is_some_and(|until| self.now < *until),
            Owner::Outside => false,
        }
    }

    /// The process at a place.
    pub fn process(&self, place: usize) -> Option<&Process> {
        self.places[place].process.as_ref()
    }

    /// The process at a place.
    pub fn process_mut(&mut self, place: usize) -> Option<&mut Process> {
        self.places[place].process.as_mut()
    }

    /// CLOCK_BOOTTIME of a place.
    pub fn boot_ns(&self, place: usize) -> u64 {
        self.places[place].clock.boot_ns(self.now)
    }

    /// The wall clock of a place.
    pub fn unix_ms(&self, place: usize) -> u64 {
        self.places[place].clock.unix_ms(self.now)
    }

    /// The process at a place does nothing for `ns`, as by SIGSTOP and SIGCONT.
    pub fn pause(&mut self, place: usize, ns: u64) {
        if self.places[place].process.is_some() {
            self.note(|| format!("place {place}: stands still for {} ms", ns / MS));
            self.places[place].paused_until = self.now + ns;
            self.resume_at(self.now + ns);
        }
    }

    /// Lets a task of an ended pause go on.
    pub fn resume_at(&mut self, until: u64) {
        self.push(until, Happening { what: "resume", of: None, deed: Box::new(World::resume) });
    }

    fn resume(&mut self) {
        for id in std::mem::take(&mut self.substrate.held_tasks) {
            self.tasks.wake(id);
        }
        for place in 0..self.places.len() {
            if self.now >= self.places[place].paused_until {
                for (at, happening) in std::mem::take(&mut self.places[place].held) {
                    self.queue.insert((self.now, at), happening);
                }
            }
        }
    }

    /// Polls what can go on; then lets the next thing happen. False: nothing will, or it is behind `until`.
    fn step(shared: &Shared, until: u64) -> bool {
        Self::poll_ready(shared);
        let mut world = shared.borrow_mut();
        let dropped = std::mem::take(&mut world.ended);
        let Some((&(at, number), _)) = world.queue.first_key_value() else { return false };
        if at > until {
            world.now = until;
            return false;
        }
        let happening = world.queue.remove(&(at, number)).expect("it was there");
        world.now = at;
        if let Some((place, epoch)) = happening.of {
            if !world.lives(Owner::Process { place, epoch }) {
                return true;
            }
            if world.is_paused(Owner::Process { place, epoch }) {
                world.places[place].held.push((number, happening));
                return true;
            }
        }
        world.happened += 1;
        world.mix(happening.what.as_bytes());
        world.mix(&at.to_le_bytes());
        (happening.deed)(&mut world);
        drop(world);
        drop(dropped);
        true
    }

    fn poll_ready(shared: &Shared) {
        loop {
            let (id, owner, mut task) = {
                let mut world = shared.borrow_mut();
                let Some((id, owner)) = world.tasks.next_ready() else { return };
                if world.is_paused(owner) {
                    world.substrate.held_tasks.insert(id);
                    continue;
                }
                let Some(task) = world.tasks.take(id) else { continue };
                (id, owner, task)
            };
            let place = if let Owner::Operator(_) = owner { Some(()) } else { None };
            if place.is_some() {
                let world = shared.borrow();
                granary_operator::clock::hold(Some((world.instant(), crate::place::EPOCH_MS + world.now / MS)));
            }
            let done = task.poll();
            let mut world = shared.borrow_mut();
            if !done && world.lives(owner) {
                world.tasks.put_back(id, task);
            } else {
                world.ended.push(task);
            }
            world.take_asks();
        }
    }

    /// Ends everything that goes on. Tasks and deeds hold the world, which would never be freed without this.
    pub fn end(shared: &Shared) {
        let Ok(mut world) = shared.try_borrow_mut() else { return };
        let parts =
            (std::mem::take(&mut world.tasks), std::mem::take(&mut world.queue), std::mem::take(&mut world.ended));
        let places = std::mem::take(&mut world.places);
        // What is dropped may look at the world.
        drop(world);
        drop((parts, places));
    }

    /// Runs for `ns`.
    pub fn run_for(shared: &Shared, ns: u64) {
        let until = shared.borrow().now + ns;
        while Self::step(shared, until) {}
    }

    /// Runs until `done`, looked at each 10 ms; the time it took, or `None` behind `limit_ns`.
    pub fn run_until(shared: &Shared, limit_ns: u64, mut done: impl FnMut(&mut World) -> bool) -> Option<u64> {
        let begin = shared.borrow().now;
        loop {
            if done(&mut shared.borrow_mut()) {
                return Some(shared.borrow().now - begin);
            }
            if shared.borrow().now >= begin + limit_ns {
                return None;
            }
            Self::run_for(shared, 10 * MS);
        }
    }
}

/// Waits.
pub async fn sleep(world: &Shared, ns: u64) {
    let (wake, woken) = oneshot::channel::<()>();
    world.borrow_mut().after(ns, "wake", move |_| drop(wake));
    // Both ways mean that the time is over.
    let _ = woken.await;
}

/// What comes of `future` within `ns`.
pub async fn within<T>(world: &Shared, ns: u64, future: impl Future<Output = T>) -> Option<T> {
    let late = sleep(world, ns);
    pin_mut!(future, late);
    match futures::future::select(future, late).await {
        Either::Left((value, _)) => Some(value),
        Either::Right(_) => None,
    }
}

/// Tells whoever waits that something changed.
#[derive(Default)]
pub struct Bell {
    waiting: Vec<oneshot::Sender<()>>,
    /// Rung since the last wait ended.
    rung: bool,
}

impl Bell {
    /// Rings.
    pub fn ring(&mut self) {
        self.waiting.retain(|waits| !waits.is_canceled());
        self.rung = self.waiting.is_empty();
        self.waiting.clear();
    }

    /// Completes at the next ring, or at once when it rang unheard.
    pub fn heard(&mut self) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        if !std::mem::take(&mut self.rung) {
            self.waiting.retain(|waits| !waits.is_canceled());
            self.waiting.push(sender);
        }
        receiver
    }
}
