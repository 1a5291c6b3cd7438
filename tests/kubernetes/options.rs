//! What the program is told. It takes its own flags, and bears those that `cargo test` may hand to every test program.

use std::env;

/// Flags of Rust's own test programs that mean nothing here.
const OTHERS: [&str; 9] = [
    "--nocapture",
    "--no-capture",
    "--show-output",
    "--include-ignored",
    "--test",
    "--bench",
    "--quiet",
    "-q",
    "--exclude-should-panic",
];
/// The same, followed by a value.
const OTHERS_WITH_VALUE: [&str; 8] =
    ["--test-threads", "--format", "--color", "--logfile", "-Z", "--shuffle-seed", "--report-time", "--ensure-time"];
/// The Kubernetes of the tests is not that of a person (`make kubernetes-up` makes one named `granary`).
pub const INSTANCE: &str = "tests";
/// Two keep two cores busy; figures are better with one.
const LANES: usize = 2;

/// What the program is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Parts of names; none means all.
    pub filters: Vec<String>,
    pub skips: Vec<String>,
    /// A filter is a whole name.
    pub exact: bool,
    /// Only those that are ignored by default: there are none.
    pub ignored: bool,
    pub list: bool,
    pub keep: bool,
    pub attach: bool,
    /// Set by the program itself, see `outside`.
    pub inside: bool,
    /// Name of the testbed's instance; lanes beside the first have a number behind it.
    pub instance: String,
    /// How many Kubernetes the scenarios are spread over: 1 to 4. Most of a scenario is waiting.
    pub lanes: usize,
    /// Inside: which lane this is, from 1 on.
    pub lane: usize,
}

impl Options {
    pub fn read(given: impl Iterator<Item = String>) -> Result<Self, String> {
        let variable = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        let instance = variable("GRANARY_KUBERNETES_INSTANCE").unwrap_or_else(|| INSTANCE.into());
        let lanes = number(&variable("GRANARY_KUBERNETES_LANES").unwrap_or_else(|| LANES.to_string()))?;
        let mut options = Self { instance, lanes, lane: 1, ..Self::default() };
        let mut given = given;
        while let Some(argument) = given.next() {
            let (flag, attached) = match argument.split_once('=') {
                Some((flag, value)) if flag.starts_with("--") => (flag.to_owned(), Some(value.to_owned())),
                _ => (argument, None),
            };
            let mut value = || attached.clone().or_else(|| given.next()).ok_or(format!("{flag} needs a value"));
            match flag.as_str() {
                "--list" => options.list = true,
                "--keep" => options.keep = true,
                "--attach" => options.attach = true,
                "--inside" => options.inside = true,
                "--exact" => options.exact = true,
                "--ignored" => options.ignored = true,
                "--instance" => options.instance = value()?,
                "--lanes" => options.lanes = number(&value()?)?,
                "--lane" => options.lane = number(&value()?)?,
                "--skip" => options.skips.push(value()?),
                other if OTHERS.contains(&other) => {}
                other if OTHERS_WITH_VALUE.contains(&other) => drop(value()?),
                other if other.starts_with('-') => return Err(format!("unknown flag {other}")),
                filter => options.filters.push(filter.to_owned()),
            }
        }
        // A person looks at one.
        if options.attach || options.keep {
            options.lanes = 1;
        }
        Ok(options)
    }

    /// Whether a scenario of this name is to run.
    pub fn wants(&self, name: &str) -> bool {
        let fits = |filter: &String| if self.exact { name == filter } else { name.contains(filter.as_str()) };
        !self.ignored && (self.filters.is_empty() || self.filters.iter().any(fits)) && !self.skips.iter().any(fits)
    }
}

fn number(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|lanes| (1..=4).contains(lanes)).ok_or(format!("lanes are a number from 1 to 4: {text}"))
}
