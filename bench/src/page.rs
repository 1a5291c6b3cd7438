//! The generated part of docs/performance.md: tables of what was measured. Pure but for one file.

use std::{fmt::Write as _, fs, path::Path};

use clap::ValueEnum as _;
use indicatif::HumanCount;

use crate::{
    args::Part,
    error::{BenchError, Doing as _, Result},
    figures::Spread,
    rounds::{Compared, Half},
};

const BEGIN: &str = "<!-- What follows is written by `make bench`. -->";
const END: &str = "<!-- What precedes is written by `make bench`. -->";

/// Puts `head`, and the tables of each part that was done, where the page has what an earlier run measured of them.
///
/// # Errors
/// The page cannot be read or written, or has no place for them.
pub fn write(path: &Path, head: &str, done: &[(Part, String)]) -> Result<()> {
    let page = fs::read_to_string(path).doing(path.display())?;
    fs::write(path, replaced(&page, head, done)?).doing(path.display())
}

fn replaced(page: &str, head: &str, done: &[(Part, String)]) -> Result<String> {
    let parts = page.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?)));
    let (before, (old, behind)) =
        parts.ok_or_else(|| BenchError(format!("the page lacks the lines {BEGIN:?} and {END:?}")))?;
    let mut text = head.trim().to_owned();
    for part in Part::value_variants() {
        let new = done.iter().find(|(of, _)| of == part).map(|(_, tables)| tables.trim());
        if let Some(tables) = new.or_else(|| section(old, *part)) {
            let _ = write!(text, "\n\n{}\n\n{tables}", mark(*part));
        }
    }
    Ok(format!("{before}{BEGIN}\n\n{text}\n\n{END}{behind}"))
}

/// Stands before the tables of a part.
fn mark(part: Part) -> String {
    format!("<!-- {} -->", part.name())
}

fn section(old: &str, part: Part) -> Option<&str> {
    let (_, rest) = old.split_once(&mark(part))?;
    Some(rest.split("<!-- ").next().unwrap_or(rest).trim())
}

/// What clients saw.
pub fn loads(all: &[Compared]) -> String {
    let mut text = String::from(
        "| load | clients | ours | etcd | ours : etcd | p50 ms, ours : etcd | p99 ms, ours : etcd |\n\
         | --- | ---: | ---: | ---: | ---: | ---: | ---: |\n",
    );
    for compared in all {
        let (ours, etcd, ratio) = compared.rates();
        let latency = |quantile: f64| {
            let (ours, etcd, ratio) = compared.compare(|half| half.outcome.quantile_us(quantile) as f64 / 1000.0);
            format!("{} : {} = {}", short(ours), short(etcd), short(ratio))
        };
        let _ = writeln!(
            text,
            "| {} | {} | {} {} | {} | {} | {} | {} |",
            compared.load.name,
            compared.load.clients,
            range(ours),
            compared.unit(),
            range(etcd),
            fraction(ratio),
            latency(0.5),
            latency(0.99),
        );
    }
    text
}

/// What the members used for each request.
pub fn usage(all: &[Compared], members: f64) -> String {
    let mut text = String::from(
        "| load | clients | CPU µs a request, ours : etcd | syncs a request and member | bytes written a request |\n\
         | --- | ---: | ---: | ---: | ---: |\n",
    );
    for compared in all {
        let per = |figure: &dyn Fn(&Half) -> f64, digits: usize| {
            let (ours, etcd, _) = compared.compare(|half| figure(half) / half.done.max(1) as f64);
            let shown =
                |spread: Option<Spread>| spread.map_or("–".into(), |spread| format!("{:.digits$}", spread.median));
            format!("{} : {}", shown(ours), shown(etcd))
        };
        let cpu = per(&|half| half.used.cpu_seconds * 1e6, 0);
        let syncs = per(&|half| half.used.syncs / members, 3);
        let bytes = per(&|half| half.used.written_bytes, 0);
        let _ = writeln!(text, "| {} | {} | {cpu} | {syncs} | {bytes} |", compared.load.name, compared.load.clients);
    }
    text
}

/// Median, with least and most.
pub fn range(spread: Option<Spread>) -> String {
    spread.map_or("–".into(), |spread| {
        format!("{} ({} to {})", grouped(spread.median), grouped(spread.least), grouped(spread.most))
    })
}

fn fraction(spread: Option<Spread>) -> String {
    let shown = |spread: Spread| format!("**{:.2}** ({:.2} to {:.2})", spread.median, spread.least, spread.most);
    spread.map_or("–".into(), shown)
}

fn short(spread: Option<Spread>) -> String {
    spread.map_or("–".into(), |spread| format!("{:.2}", spread.median))
}

/// Of each node: the middle one, and the most.
pub fn of_nodes(spread: Option<Spread>) -> String {
    spread.map_or("–".into(), |spread| format!("{} ({})", grouped(spread.median), grouped(spread.most)))
}

/// A whole number with a comma at each thousand.
pub fn grouped(value: f64) -> String {
    HumanCount(value.round() as u64).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_marks_is_written_anew() {
        let page = format!("# Speed\n{BEGIN}\nold\n{END}\nbehind\n");
        let idle = [(Part::Idle, "new".to_owned())];
        let wanted = format!("# Speed\n{BEGIN}\n\nhead\n\n<!-- idle -->\n\nnew\n\n{END}\nbehind\n");
        assert_eq!(replaced(&page, "head", &idle).unwrap(), wanted);
        assert!(replaced("# Speed", "head", &idle).is_err());
    }

    #[test]
    fn parts_that_were_not_done_keep_their_tables() {
        let both = [(Part::Growth, "grown\n".to_owned()), (Part::Loads, "loaded\n".to_owned())];
        let page = replaced(&format!("{BEGIN}{END}"), "then", &both).unwrap();
        let page = replaced(&page, "now", &[(Part::Growth, "grown more".into())]).unwrap();
        let wanted = "now\n\n<!-- loads -->\n\nloaded\n\n<!-- growth -->\n\ngrown more";
        assert_eq!(page, format!("{BEGIN}\n\n{wanted}\n\n{END}"));
    }

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!([999.6, 1234.0, 12.0, 1e6].map(grouped), ["1,000", "1,234", "12", "1,000,000"]);
    }
}
