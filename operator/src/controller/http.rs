//! The operator's port: metrics for Prometheus and probes for Kubernetes. Plain HTTP, reads only.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::get,
};
use tokio::net::TcpListener;

use super::metrics::Metrics;

/// What the pages show.
#[derive(Default)]
pub struct Pages {
    /// For `/metrics`.
    pub metrics: Metrics,
    /// For `/readyz`: everything has been listed once. One that waits for the Lease is ready too.
    pub ready: AtomicBool,
}

/// Serves for as long as the process lives.
///
/// # Errors
/// When the listener fails.
pub async fn serve(listener: TcpListener, pages: Arc<Pages>) -> io::Result<()> {
    let router = Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(pages);
    axum::serve(listener, router).await
}

async fn ready(State(pages): State<Arc<Pages>>) -> Response {
    if pages.ready.load(Ordering::Acquire) {
        return "ok\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, "the API server has not been listed yet\n").into_response()
}

async fn metrics(State(pages): State<Arc<Pages>>) -> Response {
    match pages.metrics.text() {
        Ok(text) => ([(header::CONTENT_TYPE, Metrics::CONTENT_TYPE)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::probe::probe, *};

    #[tokio::test]
    async fn it_is_alive_at_once_and_ready_when_all_was_listed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let pages = Arc::<Pages>::default();
        tokio::spawn(serve(listener, pages.clone()));
        let ask = async |page: &str| {
            let url = format!("{base}{page}");
            tokio::task::spawn_blocking(move || probe(&url)).await.unwrap()
        };
        assert!(ask("/livez").await.is_ok());
        assert!(ask("/metrics").await.is_ok());
        assert!(ask("/readyz").await.unwrap_err().to_string().contains("has not been listed"));
        pages.ready.store(true, Ordering::Release);
        assert!(ask("/readyz").await.is_ok());
    }
}
