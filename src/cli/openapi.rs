//! `shardrive openapi`: the API's description, for tools.

use std::io::Write;

use clap::Args;

use super::CliError;
use crate::http::openapi_json;

/// Print the API's OpenAPI 3.1 document
#[derive(Args)]
pub(super) struct OpenapiArgs {}

impl OpenapiArgs {
    pub(super) fn run(self) -> Result<(), CliError> {
        writeln!(std::io::stdout(), "{}", openapi_json())?;
        Ok(())
    }
}
