//! The tool as its users run it: a process with arguments, two streams and an exit code.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::panic)] // plays user and file system

mod build;
mod checkpoint;
mod checkpoint_errors;
mod convert;
mod describe;
mod fail;
mod init;
mod look;
mod report;
mod tool;
