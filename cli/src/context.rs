//! What every command gets: the global options, and what follows from them.

use std::{path::Path, time::Duration};

use granary_client::{Client, Options};

use crate::{
    args::{Format, Global},
    endpoints,
    failure::Failure,
};

/// The global options, and what follows from them.
#[derive(Clone, Debug)]
pub struct Context {
    global: Global,
}

impl Context {
    /// From parsed options.
    pub fn new(global: Global) -> Self {
        Self { global }
    }

    /// How results are written.
    pub fn format(&self) -> Format {
        self.global.output
    }

    /// Whether results are written as JSON.
    pub fn json(&self) -> bool {
        self.global.output == Format::Json
    }

    /// Directory of the local cluster.
    pub fn dir(&self) -> &Path {
        &self.global.dir
    }

    /// Whether only the given addresses can be reached.
    pub fn forward(&self) -> bool {
        self.global.forward
    }

    /// Longest time for one request with its retries.
    pub fn timeout(&self) -> Duration {
        self.global.timeout
    }

    /// Addresses of the data API: as given, else those of the local cluster.
    pub fn endpoints(&self) -> Result<Vec<String>, Failure> {
        endpoints::find(&self.global.endpoints, &self.global.dir)
    }

    /// A client of the cluster.
    pub async fn client(&self) -> Result<Client, Failure> {
        let options = Options { timeout: self.timeout(), forward: self.forward(), ..Options::default() };
        Ok(Client::connect(self.endpoints()?, options).await?)
    }
}
