//! `granary bench`: measures throughput and latency.

use std::time::{Duration, Instant};

use granary_load::{Distribution, Kind, Outcome, Plan};
use serde_json::json;

use crate::{
    args::duration,
    context::Context,
    failure::Failure,
    output::{self, grouped},
    progress::Steps,
};

/// Arguments of `granary bench`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  granary bench put
  granary bench get --clients 256 --connections 4 --keys 100000 --time 30s
  granary bench mixed --distribution zipf --rate 5000 --warm-up 5s
  granary bench batch --batch 64 --value-size 1024
  granary bench scan --rows 1000 -o json
      {\"load\",\"clients\",\"connections\",\"value_size\",\"keys\",\"distribution\",\"rate\",\"seconds\",\"operations\",
       \"per_second\",\"keys_per_second\",\"p50_us\",\"p90_us\",\"p99_us\",\"p999_us\",\"max_us\",\"unsent\",
       \"errors\":{message: count}}

It writes keys bench/00000000 and up. Reads are linearizable; all loads but put and batch first fill all keys in.
Without --rate each client asks again as soon as it has its answer. With it requests have their times, and latency
counts from there, so that a cluster that stands still is seen by all requests that were due (times are kept to 1 ms).")]
pub struct Args {
    /// What to measure
    #[arg(value_enum)]
    pub load: Load,
    /// Clients, each with one request in flight
    #[arg(long, default_value_t = 64, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub clients: u32,
    /// Connections to each node; clients share them
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    pub connections: u32,
    /// Bytes of a value
    #[arg(long, default_value_t = 256, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(0..=4_194_304))]
    pub value_size: u32,
    /// Number of keys
    #[arg(long, default_value_t = 10_000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    pub keys: u32,
    /// Which keys are asked for how often
    #[arg(long, value_enum, default_value_t = Spread::Uniform)]
    pub distribution: Spread,
    /// Keys of one batch
    #[arg(long, default_value_t = 64, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub batch: u32,
    /// Rows of one scan
    #[arg(long, default_value_t = 1_000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub rows: u32,
    /// Requests a second of all clients together
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub rate: Option<u32>,
    /// How long nothing is counted at first, such as 500ms, 10s or 2m
    #[arg(long, default_value = "1s", value_parser = duration, value_name = "TIME")]
    pub warm_up: Duration,
    /// How long is measured behind that
    #[arg(long, alias = "seconds", default_value = "10s", value_parser = duration, value_name = "TIME")]
    pub time: Duration,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Load {
    /// Puts of one key
    Put,
    /// Gets of one key
    Get,
    /// Half puts, half gets
    Mixed,
    /// Rows in the order of their keys
    Scan,
    /// Puts of many keys at once
    Batch,
}

/// Which keys are asked for how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Spread {
    /// All as often
    Uniform,
    /// A few very often: the nth in proportion to 1 / n^0.99
    Zipf,
}

/// Does it.
pub async fn run(context: &Context, args: Args) -> Result<(), Failure> {
    let plan = plan(&args);
    let mut targets = Vec::new();
    for _ in 0..args.connections {
        targets.push(context.client().await?);
    }
    if let Some(first) = targets.first()
        && !matches!(plan.kind, Kind::Put | Kind::Batch)
    {
        let clock = Steps::new("filling keys in", u64::from(plan.keys));
        granary_load::fill(first, &plan, |keys| clock.at(keys.into(), "")).await.map_err(Failure::failed)?;
        clock.finish();
    }
    let (clock, begun) = (Steps::new(name(args.load), (plan.warm_up + plan.time).as_secs()), Instant::now());
    let mut before = (Duration::ZERO, 0);
    let outcome = granary_load::run(&targets, &plan, |seen| {
        let past = (seen.elapsed - before.0).as_secs_f64();
        let rate = (seen.done - before.1) as f64 / past.max(0.001);
        before = (seen.elapsed, seen.done);
        let failed = if seen.failed > 0 { format!(", {} failed", grouped(seen.failed)) } else { String::new() };
        clock.at(begun.elapsed().as_secs(), &format!("{} op/s{failed}", grouped(rate as u64)));
    });
    let outcome = outcome.await.map_err(Failure::failed)?;
    clock.finish();
    report(context, &args, &outcome)
}

fn plan(args: &Args) -> Plan {
    Plan {
        kind: match args.load {
            Load::Put => Kind::Put,
            Load::Get => Kind::Get,
            Load::Mixed => Kind::Mixed,
            Load::Scan => Kind::Scan,
            Load::Batch => Kind::Batch,
        },
        clients: args.clients,
        value_size: args.value_size,
        keys: args.keys,
        distribution: match args.distribution {
            Spread::Uniform => Distribution::Uniform,
            Spread::Zipf => Distribution::Zipf,
        },
        batch: args.batch,
        rows: args.rows,
        rate: args.rate,
        warm_up: args.warm_up,
        time: args.time,
    }
}

fn name(load: Load) -> &'static str {
    match load {
        Load::Put => "put",
        Load::Get => "get",
        Load::Mixed => "mixed",
        Load::Scan => "scan",
        Load::Batch => "batch",
    }
}

fn report(context: &Context, args: &Args, outcome: &Outcome) -> Result<(), Failure> {
    let (name, latencies) = (name(args.load), &outcome.latencies);
    let [p50, p90, p99, p999] = [0.5, 0.9, 0.99, 0.999].map(|quantile| outcome.quantile_us(quantile));
    if context.json() {
        output::json(&json!({
            "load": name, "clients": args.clients, "connections": args.connections, "value_size": args.value_size,
            "keys": args.keys, "distribution": format!("{:?}", args.distribution).to_lowercase(), "rate": args.rate,
            "seconds": outcome.seconds, "operations": latencies.len(), "per_second": outcome.per_second(),
            "keys_per_second": outcome.keys_per_second(), "p50_us": p50, "p90_us": p90, "p99_us": p99, "p999_us": p999,
            "max_us": latencies.max(), "unsent": outcome.unsent, "errors": outcome.errors,
        }))?;
    } else {
        let ms = |us: u64| us as f64 / 1000.0;
        let keys = match args.load {
            Load::Scan | Load::Batch => format!(", {} keys/s", grouped(outcome.keys_per_second() as u64)),
            Load::Put | Load::Get | Load::Mixed => String::new(),
        };
        output::line(&format!(
            "{name}: {} op/s{keys} ({} in {:.1} s, {} clients, {} B values)\n\
             latency in ms: p50 {:.2}  p90 {:.2}  p99 {:.2}  p99.9 {:.2}  max {:.2}",
            grouped(outcome.per_second() as u64),
            grouped(latencies.len()),
            outcome.seconds,
            args.clients,
            args.value_size,
            ms(p50),
            ms(p90),
            ms(p99),
            ms(p999),
            ms(latencies.max()),
        ))?;
    }
    for (message, count) in &outcome.errors {
        eprintln!("error, {} times: {message}", grouped(*count));
    }
    if outcome.unsent > 0 {
        eprintln!(
            "{} requests were due and never sent: more --clients are needed for this --rate",
            grouped(outcome.unsent)
        );
    }
    match outcome.failed() {
        0 => Ok(()),
        failed => Err(Failure::failed(format!("{} requests failed", grouped(failed)))),
    }
}
