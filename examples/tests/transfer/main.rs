//! The program `transfer` as its users have it: processes, signals, files and sentences.

mod going_on;
mod refusals;
mod support;
