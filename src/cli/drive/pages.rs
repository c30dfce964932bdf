//! The entries of a listing, read page by page: no more than one page is in memory.

use std::vec::IntoIter;

use serde_json::Value;

use super::entry::RemoteEntry;
use super::path::in_query;
use crate::cli::service::{CallFailure, RunningService, json_field};

/// The entries of a folder or of the trash, of which the next page is read when its turn comes.
pub(super) struct PagedEntries {
    /// The address of the first page, with a parameter.
    first: String,
    /// The address of the next page; `None` after the last page.
    next: Option<String>,
    page: IntoIter<Value>,
}

impl PagedEntries {
    /// The entries from this address on, which has a parameter already.
    pub(super) fn of(address: String) -> Self {
        Self { next: Some(address.clone()), first: address, page: Vec::new().into_iter() }
    }

    /// The next entry; `None` at the end.
    pub(super) async fn next(&mut self, service: &RunningService) -> Result<Option<RemoteEntry>, CallFailure> {
        loop {
            if let Some(entry) = self.page.next() {
                return Ok(Some(RemoteEntry::new(entry)));
            }
            let Some(address) = self.next.take() else { return Ok(None) };
            let mut answer = service.get(&address).await?;
            let cursor = json_field(&answer, "next_cursor").as_str();
            self.next = cursor.map(|cursor| format!("{}&cursor={}", self.first, in_query(cursor)));
            if let Some(Value::Array(entries)) = answer.get_mut("entries").map(Value::take) {
                self.page = entries.into_iter();
            }
        }
    }

    /// True if no entry follows.
    pub(super) fn is_at_end(&self) -> bool {
        self.page.len() == 0 && self.next.is_none()
    }
}
