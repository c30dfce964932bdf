//! What the cache answers, and that it is never stale, whatever dies.

mod faults;
mod formats;
mod pages;
mod race;
mod rest;
