//! The service as its clients meet it: its edge, its descriptions, its dashboard, and requests that are sent twice.

mod bad_input;
mod dashboard;
mod dashboard_browser;
mod dashboard_drive;
mod edge;
mod examples;
mod idempotency;
mod large_numbers;
mod rolling;
mod service;
mod silent_clients;
mod tls;
