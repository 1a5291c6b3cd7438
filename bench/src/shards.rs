//! What puts and gets cost as shards become more: ours alone, for etcd has none.

use std::path::Path;

use granary_load::Kind;

use crate::{
    args::{Args, Part},
    error::{BenchError, Result},
    memory::Held,
    ours::Ours,
    page,
    report::{Report, Row},
    rounds::{Half, half},
    system::System,
};

/// Who ask at once.
pub const CLIENTS: u32 = 64;

/// A new cluster for each number of shards.
///
/// # Errors
/// One does not come up, or a request fails.
pub async fn shards(args: &Args, dir: &Path, report: &mut Report) -> Result<String> {
    let mut text = String::from(
        "| shards | put, 64 clients | p99 ms | get, 64 clients | p99 ms | MiB a node, resident: median (most) |\n\
         | ---: | ---: | ---: | ---: | ---: | ---: |\n",
    );
    for shards in &args.shard_counts {
        let ours = Ours::start(&args.granary, &dir.join(format!("shards-{shards}")), *shards).await?;
        let seen = asked(args, &ours).await;
        ours.end().await?;
        let (put, get, held) = seen?;
        let most = held.now.map_or(0.0, |spread| spread.most);
        text += &format!("| {shards} | {} | {} | {} |\n", shown(&put), shown(&get), page::of_nodes(held.now));
        for (kind, half) in [("put", put), ("get", get)] {
            rates(report, Part::Shards, &format!("shards_{shards}_{kind}"), &half);
        }
        report.add(Part::Shards, Row::alone(format!("shards_{shards}_memory"), 0, "MiB of the largest node", most));
    }
    Ok(text)
}

async fn asked(args: &Args, ours: &Ours) -> Result<(Half, Half, Held)> {
    let (targets, manner) = (ours.targets(args.connections).await?, args.manner());
    let first = targets.first().ok_or_else(|| BenchError("no client".into()))?;
    granary_load::fill(first, &manner.plan(Kind::Put, 1), |_| ()).await.map_err(BenchError)?;
    let put = half(ours, &targets, &manner.plan(Kind::Put, CLIENTS)).await?;
    let get = half(ours, &targets, &manner.plan(Kind::Get, CLIENTS)).await?;
    Ok((put, get, Held::of(ours)?))
}

/// Two columns: requests a second, and their 99th percentile.
pub fn shown(half: &Half) -> String {
    format!("{} op/s | {:.2}", page::grouped(half.outcome.per_second()), p99_ms(half))
}

/// Two rows, the same.
pub fn rates(report: &mut Report, part: Part, name: &str, half: &Half) {
    report.add(part, Row::alone(name, CLIENTS, "op/s", half.outcome.per_second()));
    report.add(part, Row::alone(format!("{name}_p99"), CLIENTS, "ms", p99_ms(half)));
}

fn p99_ms(half: &Half) -> f64 {
    half.outcome.quantile_us(0.99) as f64 / 1000.0
}
