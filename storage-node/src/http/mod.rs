//! The third port: metrics for Prometheus, and probes for whoever runs the node. Plain HTTP, reads only.

mod live;
mod metrics;
mod readiness;

use std::{future::Future, io, sync::Arc};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::net::TcpListener;

pub use live::{Sample, ShardSample, StoreSample, sample};
pub use metrics::Metrics;
pub use readiness::{NotReady, Readiness};

/// Says whether all is well, or why not.
pub type Probe = Box<dyn Fn() -> Result<(), String> + Send + Sync>;

/// What the pages show.
pub struct Pages {
    /// For `/metrics`.
    pub metrics: Arc<Metrics>,
    /// For `/livez`: whether the process can still work; if not, it should be started anew.
    pub live: Probe,
    /// For `/readyz`: whether it has joined and caught up, and is not stopping.
    pub ready: Probe,
}

/// Serves until `stop` is ready.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: TcpListener,
    pages: Pages,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let router = Router::new()
        .route("/metrics", get(metrics_page))
        .route("/livez", get(|State(pages): State<Arc<Pages>>| async move { probe(&pages.live) }))
        .route("/readyz", get(|State(pages): State<Arc<Pages>>| async move { probe(&pages.ready) }))
        .with_state(Arc::new(pages));
    axum::serve(listener, router).with_graceful_shutdown(stop).await
}

fn probe(probe: &Probe) -> Response {
    match probe() {
        Ok(()) => (StatusCode::OK, "ok\n").into_response(),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
    }
}

async fn metrics_page(State(pages): State<Arc<Pages>>) -> Response {
    match pages.metrics.text() {
        Ok(text) => ([(header::CONTENT_TYPE, Metrics::CONTENT_TYPE)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpStream,
        sync::oneshot,
    };

    use super::*;

    async fn fetch(address: std::net::SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn probes_answer_200_or_503_with_the_reason_and_metrics_are_served() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let pages = Pages {
            metrics: Arc::new(Metrics::new(|| None)),
            live: Box::new(|| Ok(())),
            ready: Box::new(|| Err("shard 3 has not caught up".to_owned())),
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let server = tokio::spawn(serve(listener, pages, async {
            let _ = stopped.await;
        }));

        assert!(fetch(address, "/livez").await.starts_with("HTTP/1.1 200"));
        let ready = fetch(address, "/readyz").await;
        assert!(ready.starts_with("HTTP/1.1 503") && ready.contains("shard 3 has not caught up"), "{ready}");
        assert!(fetch(address, "/metrics").await.contains("# EOF"));
        assert!(fetch(address, "/other").await.starts_with("HTTP/1.1 404"));

        stop.send(()).unwrap();
        server.await.unwrap().unwrap();
    }
}
