//! A cluster whose nodes have a disk each that can be cut, damaged, stalled and filled.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use granary_powercut::{CutReport, Damage, Glob, Handle, Options, PowerCutFs, Tear, damage_at_rest, durable_files};
use granary_tests::{
    cluster::{Cluster, Shape},
    node::{LIMIT, Node, copy_directory},
};
use tempfile::TempDir;

/// See the module.
pub struct Powered {
    pub cluster: Cluster,
    /// By place.
    disks: Vec<Handle>,
    dir: Option<TempDir>,
}

impl Powered {
    /// Mounted disks for all nodes of the shape and `spare` more, and nothing that runs.
    pub fn planned(shape: Shape, spare: usize, options: &Options, env: &[(&str, &str)]) -> Self {
        let dir = TempDir::with_prefix("granary-powercuts-").unwrap();
        let below = dir.path().to_owned();
        let disk = move |place: usize| below.join(format!("node-{place}"));
        let mount = |place| {
            let at: PathBuf = disk(place);
            PowerCutFs::mount(&at.with_extension("backing"), &at, options.clone()).unwrap()
        };
        let disks = (0..shape.nodes + spare).map(mount).collect();
        let mut cluster = Cluster::planned(shape, env).unwrap();
        // The node makes the chain of directories below the mount, and has to sync it.
        cluster.data_at(move |place| disk(place).join("var/lib/granary"));
        Self { cluster, disks, dir: Some(dir) }
    }

    /// A founded cluster.
    pub async fn founded(shape: Shape, spare: usize, options: &Options, env: &[(&str, &str)]) -> Self {
        let mut powered = Self::planned(shape, spare, options, env);
        powered.cluster.establish().await.unwrap();
        powered
    }

    pub fn disk(&self, place: usize) -> &Handle {
        &self.disks[place]
    }

    /// All places, also those where nothing runs yet.
    pub fn places(&self) -> Vec<usize> {
        (0..self.disks.len()).collect()
    }

    /// Cuts the power of these disks at one moment, and kills the nodes on them. Says what was lost, and when it was.
    pub fn cut(&mut self, places: &[usize], tear: Tear, seed: u64) -> (CutReport, Instant) {
        let disks: Vec<&Handle> = places.iter().map(|place| &self.disks[*place]).collect();
        let at = Instant::now();
        let reports = Handle::cut_all(&disks, tear, seed).unwrap();
        for place in places {
            if let Some(node) = self.cluster.nodes.get_mut(*place) {
                node.kill();
            }
        }
        let mut all = CutReport::default();
        reports.into_iter().for_each(|report| all += report);
        (all, at)
    }

    /// Flips a bit of a file of a disk that is cut, or takes its end away: of those that match, the one with the last name.
    pub fn damage_newest(&self, place: usize, files: &str, truncate: bool, seed: u64) -> Damage {
        let (backing, pattern) = (self.disks[place].backing(), Glob::new(files));
        let found = durable_files(backing).unwrap().into_iter();
        let newest = found.filter(|(path, length)| *length > 0 && pattern.matches(path)).map(|(path, _)| path).max();
        let newest = newest.unwrap_or_else(|| panic!("no file matches {files}"));
        damage_at_rest(backing, &Glob::new(&newest), truncate, seed).unwrap()
    }

    /// Copies a disk that is cut.
    pub fn keep(&self, place: usize) -> TempDir {
        let copy = TempDir::with_prefix("granary-kept-").unwrap();
        copy_directory(self.disks[place].backing(), &copy.path().join("disk")).unwrap();
        copy
    }

    /// Puts the copy in the place of a disk that is cut.
    pub fn put_back(&self, place: usize, copy: &TempDir) {
        let backing = self.disks[place].backing();
        std::fs::remove_dir_all(backing).unwrap();
        copy_directory(&copy.path().join("disk"), backing).unwrap();
    }

    /// Turns the power of these disks on again.
    fn power_on(&self, places: &[usize]) {
        places.iter().for_each(|place| self.disks[*place].remount().unwrap());
    }

    /// Turns the power on, and starts the nodes.
    pub fn start(&mut self, places: &[usize]) {
        self.power_on(places);
        for place in places {
            if let Some(node) = self.cluster.nodes.get_mut(*place) {
                node.start().unwrap();
            }
        }
    }

    /// Cuts the power of all, and starts all again; calls `dead` when all nodes are dead.
    pub fn cut_and_start_all_after(&mut self, tear: Tear, seed: u64, dead: impl FnOnce()) -> (CutReport, Instant) {
        let places = self.places();
        let cut = self.cut(&places, tear, seed);
        dead();
        self.start(&places);
        cut
    }

    /// Starts the nodes that have ended by themselves, as whoever supervises them does; says how many.
    pub fn revive(&mut self) -> usize {
        let mut ended: Vec<&mut Node> =
            self.cluster.nodes.iter_mut().filter_map(|node| node.has_ended().then_some(node)).collect();
        ended.iter_mut().for_each(|node| node.start().unwrap());
        ended.len()
    }

    /// Supervises the nodes until all are whole; says how many starts that took.
    pub async fn whole_again(&mut self) -> usize {
        let (began, mut starts) = (Instant::now(), 0);
        loop {
            starts += self.revive();
            let look = tokio::time::timeout(Duration::from_secs(1), self.cluster.whole()).await;
            if matches!(look, Ok(Ok(_))) {
                return starts;
            }
            let logs = || self.cluster.nodes.iter().map(Node::log).collect::<Vec<_>>().join("\n---\n");
            assert!(began.elapsed() < LIMIT, "not whole after {starts} starts: {look:?}\n{}", logs());
        }
    }

    /// Supervises the nodes until all replicas are equal at one index: what was not read since it was damaged is found then,
    /// and mended. Nothing may be written meanwhile. Gives the rows.
    pub async fn equal_again(&mut self) -> u64 {
        let began = Instant::now();
        loop {
            self.whole_again().await;
            let look = tokio::time::timeout(Duration::from_secs(5), self.cluster.replicas_are_equal()).await;
            match look {
                Ok(Ok(rows)) => return rows,
                Ok(Err(error)) => assert!(!error.to_string().contains("differ"), "{error}"),
                Err(_) => {}
            }
            assert!(began.elapsed() < LIMIT, "the replicas do not stand at one index");
        }
    }

    /// Founds the cluster, and cuts the power of all disks after `time`, whatever is under way then. Whether it was founded.
    pub async fn establish_until_cut(&mut self, time: Duration, tear: Tear, seed: u64) -> (bool, CutReport) {
        let disks: Vec<&Handle> = self.disks.iter().collect();
        let cut = async {
            tokio::time::sleep(time).await;
            Handle::cut_all(&disks, tear, seed).unwrap()
        };
        // The requests that are under way at the cut are not taken back.
        let (founded, reports) = tokio::select! {
            founded = self.cluster.establish() => (founded.is_ok(), Handle::cut_all(&disks, tear, seed).unwrap()),
            reports = cut => (false, reports),
        };
        self.cluster.nodes.iter_mut().for_each(Node::kill);
        let mut all = CutReport::default();
        reports.into_iter().for_each(|report| all += report);
        (founded, all)
    }

    /// Cuts the power of all, and starts all again.
    pub fn cut_and_start_all(&mut self, tear: Tear, seed: u64) -> (CutReport, Instant) {
        self.cut_and_start_all_after(tear, seed, || ())
    }
}

impl Drop for Powered {
    fn drop(&mut self) {
        // A node that waits for its disk cannot be killed: a cut lets all go.
        let disks: Vec<&Handle> = self.disks.iter().collect();
        let _ = Handle::cut_all(&disks, Tear::Drop, 0);
        self.cluster.nodes.clear();
        self.disks.clear();
        if std::thread::panicking()
            && let Some(dir) = self.dir.take()
        {
            eprintln!("the disks stay in {}", dir.keep().display());
        }
    }
}

/// Waits without holding a thread of the runtime.
pub async fn rest(milliseconds: u64) {
    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
}
