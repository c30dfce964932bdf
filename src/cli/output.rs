//! What commands print. A reader who has gone away (`| head`) ends no work: what is left is not printed. Any other fault, such
//! as a full disk, makes the command fail at its end.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write};
use std::sync::OnceLock;

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

/// Prints a text as it is.
pub(super) fn print_text(text: Arguments<'_>) {
    if FAULT.get().is_some() {
        return;
    }
    let mut out = std::io::stdout().lock();
    // A message of one piece: a reader that waits for it gets it whole.
    if let Err(error) = out.write_all(text.to_string().as_bytes()).and_then(|()| out.flush()) {
        let _ = FAULT.set(error.kind());
    }
}

pub(super) fn print_complaint(line: Arguments<'_>) {
    // Where nobody reads complaints there is nobody to complain to.
    let _ = std::io::stderr().lock().write_all(format!("{line}\n").as_bytes());
}

/// True once nothing that is printed arrives anywhere.
pub(super) fn is_closed() -> bool {
    FAULT.get().is_some()
}

/// Why the output is not whole, unless its reader wanted no more of it.
pub(super) fn fault() -> Option<ErrorKind> {
    FAULT.get().copied().filter(|kind| *kind != ErrorKind::BrokenPipe)
}
