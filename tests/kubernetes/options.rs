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
    /// Name of the testbed's instance.
    pub instance: String,
}

impl Options {
    pub fn read(given: impl Iterator<Item = String>) -> Result<Self, String> {
        let instance = env::var("GRANARY_KUBERNETES_INSTANCE").ok().filter(|name| !name.is_empty());
        let mut options = Self { instance: instance.unwrap_or_else(|| INSTANCE.into()), ..Self::default() };
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
                "--skip" => options.skips.push(value()?),
                other if OTHERS.contains(&other) => {}
                other if OTHERS_WITH_VALUE.contains(&other) => drop(value()?),
                other if other.starts_with('-') => return Err(format!("unknown flag {other}")),
                filter => options.filters.push(filter.to_owned()),
            }
        }
        Ok(options)
    }

    /// Whether a scenario of this name is to run.
    pub fn wants(&self, name: &str) -> bool {
        let fits = |filter: &String| if self.exact { name == filter } else { name.contains(filter.as_str()) };
        !self.ignored && (self.filters.is_empty() || self.filters.iter().any(fits)) && !self.skips.iter().any(fits)
    }
}
