//! Runs the scenarios of one lane one after another, and cleans up after each.

use std::{
    panic::AssertUnwindSafe,
    process::ExitCode,
    time::{Duration, Instant},
};

use futures::FutureExt as _;

use crate::{
    evidence,
    failure::{Failure, Result, failed},
    figures::Figures,
    operator, queue,
    report::{LaneReport, Outcome},
    scenarios::Scenario,
    scene::Scene,
    tidy,
};

/// Longest time for one scenario: far more than any should take.
const LIMIT: Duration = Duration::from_secs(900);

pub async fn run(wanted: &[&Scenario], lane: usize) -> ExitCode {
    let started = Instant::now();
    let mut shared = Figures::new();
    let ready = prepare(&mut shared).await;
    let mut report = LaneReport::new(lane, &shared);
    let client = match ready {
        Ok(client) => client,
        Err(Failure(why)) => {
            eprintln!("the operator could not be installed: {why}");
            evidence::save("installation", &[], &why).await;
            return ExitCode::FAILURE;
        }
    };
    println!("prepared in {:.1} s", started.elapsed().as_secs_f64());
    let mut all_ok = true;
    for scenario in wanted {
        match queue::take(scenario.name) {
            Ok(true) => {}
            Ok(false) => continue,
            Err(error) => {
                eprintln!("{} cannot be taken from the queue: {error}", scenario.name);
                return ExitCode::FAILURE;
            }
        }
        let outcome = play(scenario, &client).await;
        match &outcome.result {
            Ok(figures) => {
                println!("test {} ... ok ({:.1} s) {}", outcome.name, outcome.time.as_secs_f64(), figures.line())
            }
            Err(why) => println!("test {} ... FAILED ({:.1} s): {why}", outcome.name, outcome.time.as_secs_f64()),
        }
        all_ok &= outcome.result.is_ok();
        report.add(&outcome);
    }
    let left = tidy::last().await;
    if let Err(Failure(why)) = &left {
        eprintln!("left behind: {why}");
    }
    if all_ok && left.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn prepare(shared: &mut Figures) -> Result<kube::Client> {
    let client = kube::Client::try_default().await?;
    tidy::all(&[]).await?;
    let started = Instant::now();
    operator::install().await?;
    shared.seconds("helm_install_s", started.elapsed());
    Ok(client)
}

async fn play(scenario: &Scenario, client: &kube::Client) -> Outcome {
    println!("\ntest {}: {}", scenario.name, scenario.says);
    let started = Instant::now();
    let scene = Scene::new(scenario.name, client.clone());
    let played = AssertUnwindSafe(tokio::time::timeout(LIMIT, (scenario.run)(&scene))).catch_unwind().await;
    let time = started.elapsed();
    let mut result = match played {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => failed(format!("took longer than {} s", LIMIT.as_secs())),
        Err(panic) => failed(words(&*panic)),
    };
    if let Err(Failure(why)) = &result {
        evidence::save(scenario.name, &scene.namespaces(), why).await;
    }
    if let Err(Failure(why)) = tidy::all(&scene.namespaces()).await
        && result.is_ok()
    {
        result = failed(format!("it passed, but could not be cleaned up: {why}"));
    }
    Outcome { name: scenario.name, time, result: result.map_err(|Failure(why)| why) }
}

fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_else(|| "panicked".into())
}
