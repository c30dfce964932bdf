//! The output of commands. A closed pipe (`| head`) ends no work; later output is dropped. After any
//! other fault, such as a full disk, the command fails at its end.

use std::fmt::{self, Arguments};
use std::io::{ErrorKind, IsTerminal, Write};
use std::sync::OnceLock;

use indicatif::HumanCount;

use crate::config::refuses_colours;

/// The first fault of the standard output.
static FAULT: OnceLock<ErrorKind> = OnceLock::new();

/// Prints a line on the standard output.
macro_rules! say {
    ($($text:tt)*) => { $crate::cli::output::print_line(format_args!($($text)*)) };
}

/// Prints a line on the standard error.
macro_rules! complain {
    ($($text:tt)*) => { $crate::cli::output::print_complaint(format_args!($($text)*)) };
}

pub(super) use {complain, say};

pub(super) fn print_line(line: Arguments<'_>) {
    print_text(format_args!("{line}\n"));
}

/// Prints a text without a line end.
pub(super) fn print_text(text: Arguments<'_>) {
    if FAULT.get().is_some() {
        return;
    }
    let mut out = std::io::stdout().lock();
    // One write for the whole message, so that a waiting reader gets all of it.
    if let Err(error) = out.write_all(text.to_string().as_bytes()).and_then(|()| out.flush()) {
        let _ = FAULT.set(error.kind());
    }
}

pub(super) fn print_complaint(line: Arguments<'_>) {
    // A failed write to standard error cannot be reported anywhere.
    let _ = std::io::stderr().lock().write_all(format!("{line}\n").as_bytes());
}

/// A number of things: `1 folder`, `2,000 folders`.
pub(super) struct Counted(pub(super) u64, pub(super) &'static str);

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = if self.0 == 1 { "" } else { "s" };
        write!(f, "{} {}{end}", HumanCount(self.0), self.1)
    }
}

/// True if the output may have colours: the reader is a terminal, whose user has not refused colours.
pub(super) fn is_coloured() -> bool {
    std::io::stdout().is_terminal() && !refuses_colours()
}

/// True once the output has failed.
pub(super) fn is_closed() -> bool {
    FAULT.get().is_some()
}

/// The fault of the output; a closed pipe is no fault.
pub(super) fn output_fault() -> Option<ErrorKind> {
    FAULT.get().copied().filter(|kind| *kind != ErrorKind::BrokenPipe)
}
