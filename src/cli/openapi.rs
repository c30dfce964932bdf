//! `shardrive openapi`: the API's description, for tools.

use clap::Args;

use super::CliError;
use super::output::say;
use crate::http::openapi_json;

/// Print the API's OpenAPI 3.1 document
#[derive(Args)]
pub(super) struct OpenapiArgs {}

impl OpenapiArgs {
    pub(super) fn run(self) -> Result<(), CliError> {
        say!("{}", openapi_json());
        Ok(())
    }
}
