//! `granary bench`: measures throughput and latency with clients that each wait for their answer.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use granary_client::{Client, Write};
use hdrhistogram::Histogram;
use rand::RngExt as _;
use serde_json::json;

use crate::{context::Context, failure::Failure, output};

/// Highest latency that is told apart, in microseconds: ten minutes.
const HIGHEST_US: u64 = 600_000_000;
/// Writes of a batch while the keys are filled in.
const FILL: usize = 512;

/// Arguments of `granary bench`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  granary bench put
  granary bench get --clients 256 --value-size 1024 --keys 100000 --seconds 30
  granary bench mixed -o json
      {\"load\",\"clients\",\"value_size\",\"keys\",\"seconds\",\"operations\",\"per_second\",\"p50_us\",\"p90_us\",\"p99_us\",
       \"p999_us\",\"max_us\",\"errors\":{message: count}}

It writes keys bench/00000000 and up. Reads are linearizable; get and mixed first fill all keys in.")]
pub struct Args {
    /// What to measure
    #[arg(value_enum)]
    pub load: Load,
    /// Clients, each with one request in flight
    #[arg(long, default_value_t = 64, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub clients: u32,
    /// Bytes of a value
    #[arg(long, default_value_t = 256, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(0..=4_194_304))]
    pub value_size: u32,
    /// How long, in seconds
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub seconds: u64,
    /// Number of keys; each request takes one of them at random
    #[arg(long, default_value_t = 10_000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    pub keys: u32,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Load {
    /// Only puts.
    Put,
    /// Only gets.
    Get,
    /// Half puts, half gets.
    Mixed,
}

struct Measured {
    latencies: Histogram<u64>,
    errors: BTreeMap<String, u64>,
}

/// Does it.
pub async fn run(context: &Context, args: Args) -> Result<(), Failure> {
    let client = context.client().await?;
    let value = Bytes::from_owner((0..args.value_size).map(|_| rand::random()).collect::<Vec<u8>>());
    if args.load != Load::Put {
        fill(&client, &value, args.keys).await?;
    }
    let args = Arc::new(args);
    let started = Instant::now();
    let until = started + Duration::from_secs(args.seconds);
    let workers: Vec<_> =
        (0..args.clients).map(|_| tokio::spawn(work(client.clone(), args.clone(), value.clone(), until))).collect();
    let mut total = Measured::new()?;
    for worker in workers {
        let measured = worker.await.map_err(|error| Failure::failed(format!("a client stopped: {error}")))??;
        total.latencies.add(&measured.latencies).map_err(Failure::failed)?;
        for (message, count) in measured.errors {
            *total.errors.entry(message).or_default() += count;
        }
    }
    report(context, &args, &total, started.elapsed().as_secs_f64())
}

impl Measured {
    fn new() -> Result<Self, Failure> {
        let latencies = Histogram::new_with_bounds(1, HIGHEST_US, 3).map_err(Failure::failed)?;
        Ok(Self { latencies, errors: BTreeMap::new() })
    }
}

fn key(number: u32) -> String {
    format!("bench/{number:08}")
}

async fn fill(client: &Client, value: &Bytes, keys: u32) -> Result<(), Failure> {
    let numbers: Vec<u32> = (0..keys).collect();
    // A batch of large values is split by the client; this bounds what is in memory (values share theirs).
    for chunk in numbers.chunks(FILL) {
        let writes = chunk.iter().map(|&number| Write::put(key(number), value.clone())).collect();
        for part in client.batch(writes).await? {
            part.result?;
        }
    }
    Ok(())
}

async fn work(client: Client, args: Arc<Args>, value: Bytes, until: Instant) -> Result<Measured, Failure> {
    let mut measured = Measured::new()?;
    while Instant::now() < until {
        let (number, put) = {
            let mut random = rand::rng();
            let put = match args.load {
                Load::Put => true,
                Load::Get => false,
                Load::Mixed => random.random(),
            };
            (random.random_range(0..args.keys), put)
        };
        let started = Instant::now();
        let outcome = match put {
            true => client.put(key(number), value.clone()).await.map(drop),
            false => client.get(key(number)).await.map(drop),
        };
        match outcome {
            Ok(()) => {
                let us = u64::try_from(started.elapsed().as_micros()).unwrap_or(HIGHEST_US);
                measured.latencies.saturating_record(us.max(1));
            }
            Err(error) => *measured.errors.entry(error.to_string()).or_default() += 1,
        }
    }
    Ok(measured)
}

fn report(context: &Context, args: &Args, total: &Measured, seconds: f64) -> Result<(), Failure> {
    let latencies = &total.latencies;
    let rate = latencies.len() as f64 / seconds;
    let [p50, p90, p99, p999] = [0.5, 0.9, 0.99, 0.999].map(|quantile| latencies.value_at_quantile(quantile));
    let name = format!("{:?}", args.load).to_lowercase();
    if context.json() {
        output::json(&json!({
            "load": name, "clients": args.clients, "value_size": args.value_size, "keys": args.keys,
            "seconds": seconds, "operations": latencies.len(), "per_second": rate, "p50_us": p50, "p90_us": p90,
            "p99_us": p99, "p999_us": p999, "max_us": latencies.max(), "errors": total.errors,
        }))?;
    } else {
        let ms = |us: u64| us as f64 / 1000.0;
        output::line(&format!(
            "{name}: {} op/s ({} in {seconds:.1} s, {} clients, {} B values)\n\
             latency in ms: p50 {:.2}  p90 {:.2}  p99 {:.2}  p99.9 {:.2}  max {:.2}",
            output::grouped(rate as u64),
            output::grouped(latencies.len()),
            args.clients,
            args.value_size,
            ms(p50),
            ms(p90),
            ms(p99),
            ms(p999),
            ms(latencies.max()),
        ))?;
    }
    let errors: u64 = total.errors.values().sum();
    for (message, count) in &total.errors {
        eprintln!("error, {} times: {message}", output::grouped(*count));
    }
    match errors {
        0 => Ok(()),
        errors => Err(Failure::failed(format!("{} requests failed", output::grouped(errors)))),
    }
}
