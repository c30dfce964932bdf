//! The commands of the program, as people and scripts call them.

mod commands;
mod demo;
mod dev;
mod drive;
mod import;
mod program;
mod shells;
