//! The generated part of docs/performance.md: tables of what was measured. Pure but for one file.

use std::{fmt::Write as _, fs, path::Path};

use indicatif::HumanCount;

use crate::{
    error::{BenchError, Doing as _, Result},
    figures::Spread,
    rounds::{Compared, Half},
};

const BEGIN: &str = "<!-- What follows is written by `make bench`. -->";
const END: &str = "<!-- What precedes is written by `make bench`. -->";

/// Puts `tables` where the page has what an earlier run measured.
///
/// # Errors
/// The page cannot be read or written, or has no place for them.
pub fn write(path: &Path, tables: &str) -> Result<()> {
    let page = fs::read_to_string(path).doing(path.display())?;
    fs::write(path, replaced(&page, tables)?).doing(path.display())
}

fn replaced(page: &str, tables: &str) -> Result<String> {
    let parts = page.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let (before, behind) =
        parts.ok_or_else(|| BenchError(format!("the page lacks the lines {BEGIN:?} and {END:?}")))?;
    Ok(format!("{before}{BEGIN}\n\n{}\n\n{END}{behind}", tables.trim()))
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
        assert_eq!(replaced(&page, "new").unwrap(), format!("# Speed\n{BEGIN}\n\nnew\n\n{END}\nbehind\n"));
        assert!(replaced("# Speed", "new").is_err());
    }

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!([999.6, 1234.0, 12.0, 1e6].map(grouped), ["1,000", "1,234", "12", "1,000,000"]);
    }
}
