//! `granary-operator run`: waits for the Lease, looks after all clusters while it holds it, and gives it back at the end.

use std::{
    io,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use kube::Client;
use thiserror::Error;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::{Semaphore, mpsc},
    time::timeout,
};

use super::{
    clusters::Clusters,
    context::{Context, ROUNDS},
    http::{self, Pages},
    lease::{Candidate, Held, LeaseError},
    options::RunOptions,
};
use crate::{
    node_admin::AdminError,
    substrate::kubernetes::{Caches, Installation, Watches},
};

/// Between two tries to reach the API server at the start.
const RETRY: Duration = Duration::from_secs(2);
/// For giving the Lease back at the end.
const RELEASE: Duration = Duration::from_secs(3);

/// Why the program ended by itself.
#[derive(Debug, Error)]
pub enum RunError {
    /// No way to the API server is configured.
    #[error("there is no way to an API server: {0}")]
    Client(Box<kube::Error>),
    /// The port, or the signals.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done.
        doing: String,
        /// Why it failed.
        source: io::Error,
    },
    /// The Lease.
    #[error(transparent)]
    Lease(#[from] LeaseError),
    /// Another process works on one of the clusters.
    #[error(transparent)]
    TakenOver(AdminError),
}

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// The process cannot go on; whoever runs it starts it anew.
pub async fn run(options: RunOptions) -> Result<(), RunError> {
    let io = |doing: &str| {
        let doing = doing.to_owned();
        move |source| RunError::Io { doing, source }
    };
    let mut terminate = signal(SignalKind::terminate()).map_err(io("wait for SIGTERM"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(io("wait for SIGINT"))?;
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("asked to stop");
    };
    let pages = Arc::<Pages>::default();
    let listener = TcpListener::bind(options.listen).await.map_err(io(&format!("listen on {}", options.listen)))?;
    tokio::spawn(http::serve(listener, pages.clone()));
    let client = Client::try_default().await.map_err(|error| RunError::Client(Box::new(error)))?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), namespaces = ?options.namespaces(), "started");
    tokio::pin!(stop);
    lead(client, &options, pages, &mut stop).await
}

/// Up to and through the time of holding the Lease.
async fn lead(
    client: Client,
    options: &RunOptions,
    pages: Arc<Pages>,
    mut stop: impl Future<Output = ()> + Unpin,
) -> Result<(), RunError> {
    let namespaces = options.namespaces();
    let candidate = Candidate::new(client.clone(), &options.namespace, &options.lease_name, &options.pod_name);
    let wait = async {
        let watches = watches(&client, &namespaces).await;
        watches.caches.ready().await;
        pages.ready.store(true, Ordering::Release);
        tracing::info!("ready; waiting for the Lease");
        (watches, candidate.acquire().await)
    };
    let (mut watches, mut held) = tokio::select! {
        both = wait => both,
        () = &mut stop => return Ok(()),
    };
    let (end, mut ends) = mpsc::channel(1);
    let context = Arc::new(Context {
        client,
        caches: watches.caches.clone(),
        installation: installation(&held, options),
        pod: options.pod_name.clone(),
        pages: pages.clone(),
        turns: Semaphore::new(ROUNDS),
        end,
    });
    pages.metrics.lead(true);
    let outcome = tokio::select! {
        // Dropped by the other arms, and with it the loops of all clusters: nothing is done without the Lease.
        () = Clusters::new(context).run(&namespaces, &mut watches.triggers) => Ok(()),
        lost = held.keep() => Err(RunError::Lease(lost)),
        Some(error) = ends.recv() => Err(RunError::TakenOver(error)),
        () = &mut stop => Ok(()),
    };
    pages.metrics.lead(false);
    if !matches!(outcome, Err(RunError::Lease(_))) {
        let _ = timeout(RELEASE, held.release()).await;
    }
    outcome
}

fn installation(held: &Held, options: &RunOptions) -> Installation {
    Installation {
        // A Lease that the API server gave back has a uid.
        id: held.installation().unwrap_or_else(|| format!("{}/{}", options.namespace, options.lease_name)),
        namespace: options.namespace.clone(),
        cluster_domain: options.cluster_domain.clone(),
    }
}

/// Tried until the API server answers.
async fn watches(client: &Client, namespaces: &[String]) -> Watches {
    loop {
        match Caches::start(client, namespaces).await {
            Ok(watches) => return watches,
            Err(error) => tracing::warn!(%error, "tried again"),
        }
        tokio::time::sleep(RETRY).await;
    }
}
