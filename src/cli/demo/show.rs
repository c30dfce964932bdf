//! The demonstration's output: text for people, coloured on a terminal, or JSON for programs.

use indicatif::HumanCount;
use serde_json::Value;

use crate::cli::output::{is_coloured, say};

/// The width of a full bar.
const WIDTH: u64 = 40;

pub(super) struct DemoOutput {
    json: bool,
    colour: bool,
}

impl DemoOutput {
    pub(super) fn new(json: bool) -> Self {
        Self { json, colour: is_coloured() }
    }

    fn print_text(&self, text: &str) {
        if !self.json {
            say!("{text}");
        }
    }

    fn coloured(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    pub(super) fn print_title(&self, text: &str) {
        self.print_text(&format!("\n{}", self.coloured("1", text)));
    }

    pub(super) fn print_line(&self, text: &str) {
        self.print_text(&format!("  {text}"));
    }

    /// Prints a result that was checked and found right.
    pub(super) fn print_success(&self, text: &str) {
        self.print_line(&self.coloured("32", text));
    }

    pub(super) fn format_number(&self, number: u64) -> String {
        HumanCount(number).to_string()
    }

    /// Prints a shard's share; `files` is `None` if the shard did not answer.
    pub(super) fn print_bar(&self, shard: u64, files: Option<u64>, total: u64, slots: Option<u64>) {
        let Some(files) = files else { return self.print_line(&format!("shard {shard}  no answer")) };
        let share = |whole: u64| files.saturating_mul(whole) / total.max(1);
        let length = usize::try_from(share(WIDTH)).unwrap_or(0);
        let bar = self.coloured("36", &"█".repeat(length));
        let rest = "·".repeat(usize::try_from(WIDTH).unwrap_or(0).saturating_sub(length));
        let slots = slots.unwrap_or(0);
        self.print_line(&format!(
            "shard {shard}  {bar}{rest}  {:>3} %  {} files, {slots} slots",
            share(100),
            HumanCount(files)
        ));
    }

    pub(super) fn print_end(&self, report: &Value, dashboard: &str) {
        if self.json {
            say!("{report}");
        } else {
            self.print_text(&format!("\nThe dashboard shows the same: {dashboard}"));
        }
    }
}
