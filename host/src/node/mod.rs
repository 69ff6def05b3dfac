//! What is true per node: its settings, its bridges and its routes to the peers' pods.

pub mod config;
