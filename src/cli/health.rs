//! `shardrive health`: asks a service whether it is alive or ready, and answers by the exit code.

use std::time::Duration;

use clap::Args;

use super::CliError;
use super::config::ConfigArgs;
use crate::config::Settings;
use crate::outbound::no_answer;

const EXAMPLES: &str = "\
Examples:
  shardrive health                            the service on this machine, at BIND_ADDR
  shardrive health --ready --url https://drive.example.org

Exit codes: 0 yes, 1 no or no answer, 2 wrong usage or settings.";

/// Ask a service whether it is alive, or ready
///
/// The service's certificate is not checked, as in the probes of Kubernetes: the request holds no secret, and the
/// answer is no proof of identity.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct HealthArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// The URL of the service. Without it: the address on this machine, from the service's settings.
    #[arg(long)]
    url: Option<String>,
    /// Ask whether the service is ready for requests, and not only alive.
    #[arg(long)]
    ready: bool,
    /// How many milliseconds to wait for the answer.
    #[arg(long, value_name = "MS", default_value_t = 2000, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    timeout: u64,
}

impl HealthArgs {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let base = match self.url {
            Some(url) => url,
            None => Settings::load_own_url(&self.config.into_flags())?,
        };
        let url = format!("{}/health/{}", base.trim_end_matches('/'), if self.ready { "ready" } else { "live" });
        let failed = |error: reqwest::Error| CliError::Failed(format!("{url}: {}", no_answer(error)));
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_millis(self.timeout))
            .redirect(reqwest::redirect::Policy::none())
            .tls_danger_accept_invalid_certs(true)
            .build()
            .map_err(failed)?;
        let status = client.get(&url).send().await.map_err(failed)?.status();
        if status == reqwest::StatusCode::OK { Ok(()) } else { Err(CliError::Failed(format!("{url}: {status}"))) }
    }
}
