//! `shardrive openapi`: the API's description, for tools.

use clap::Args;

use super::CliError;
use super::output::say;
use crate::http::openapi_json;

const EXAMPLES: &str = "\
Examples:
  shardrive openapi > openapi.json         a service gives the same at /openapi.json";

/// Print the API's OpenAPI 3.1 document
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct OpenapiArgs {}

impl OpenapiArgs {
    pub(super) fn run(self) -> Result<(), CliError> {
        say!("{}", openapi_json());
        Ok(())
    }
}
