//! Text for machines that scrape. Pure functions of the published state.

pub mod prometheus;
