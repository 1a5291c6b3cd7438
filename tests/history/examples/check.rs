//! Checks a saved history: `cargo run --release -p granary-history --example check -- FILE [STEPS_PER_KEY]`.
//!
//! Ends with 0 when it is linearizable, 1 when not, 2 when that was not decided or the file is no history.

use std::{error::Error, process::ExitCode};

use granary_history::{Budget, History, Verdict, check, final_reads};

fn main() -> ExitCode {
    run().unwrap_or_else(|error| {
        eprintln!("{error}");
        ExitCode::from(2)
    })
}

fn run() -> Result<ExitCode, Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("usage: check FILE [STEPS_PER_KEY]")?;
    let steps_per_key = arguments.next().map_or(Ok(Budget::default().steps_per_key), |text| text.parse())?;
    let history = History::load(path)?;
    println!("seed {}, replay: {}", history.origin.seed, history.origin.replay);
    let report = check(&history, Budget { steps_per_key })?;
    print!("{report}");
    let finals = final_reads(&history)?;
    println!(
        "final reads: {} keys, {} lost, {} doubled, {} keys not read after their last write",
        finals.keys,
        finals.lost,
        finals.doubled,
        finals.unread.len()
    );
    for violation in &finals.violations {
        print!("{violation}");
    }
    Ok(match report.verdict() {
        Verdict::Violated => ExitCode::from(1),
        Verdict::Linearizable if finals.lost + finals.doubled > 0 => ExitCode::from(1),
        Verdict::Linearizable => ExitCode::SUCCESS,
        Verdict::Undecided => ExitCode::from(2),
    })
}
