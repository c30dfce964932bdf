//! Sign-in: which tokens count, and what their holders may do.

mod provider;
mod sign_in;
mod tokens;
