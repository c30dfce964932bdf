//! `shardrive health`: asks a service whether it is alive or ready, and answers by the exit code.

use std::time::Duration;

use clap::Args;

use super::CliError;
use crate::config::Settings;
use crate::outbound::with_causes;

const EXAMPLES: &str = "\
Examples:
  shardrive health                            this machine's, where BIND_ADDR says
  shardrive health --ready --url https://drive.example.org

Exit codes: 0 it says yes, 1 it says no or nothing, 2 wrong usage or settings.";

/// Ask a service whether it is alive, or ready
///
/// The service's certificate is not checked, as by the probes of Kubernetes: nothing secret is sent, and a yes is no proof of who
/// says it.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct HealthArgs {
    /// Where the service is. Without it: on this machine, as the settings of the service say.
    #[arg(long)]
    url: Option<String>,
    /// Whether it is ready for requests, and not only alive.
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
            None => Settings::load_own_url()?,
        };
        let url = format!("{}/health/{}", base.trim_end_matches('/'), if self.ready { "ready" } else { "live" });
        let failed = |error: reqwest::Error| CliError::Failed(format!("{url}: {}", with_causes(&error.without_url())));
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
