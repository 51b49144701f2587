//! Writes every generated file into the folder given as its argument. `cargo xtask gen` calls it; it is an example so that
//! the daemon does not carry it.

#![expect(clippy::indexing_slicing, reason = "indexing a JSON value gives null, not a panic")]

use lowtide::config;
use std::path::Path;
use std::{env, fs};

#[path = "generate/page.rs"]
mod page;

#[path = "generate/metrics.rs"]
mod metrics;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = env::args_os().nth(1).ok_or("usage: generate FOLDER")?;
    let folder = Path::new(&folder);
    fs::create_dir_all(folder)?;
    let openapi = lowtide_api::openapi();
    let files = [
        ("api.html", page::render(&serde_json::from_str(&openapi)?)),
        ("openapi.json", openapi),
        ("config.md", config::reference_markdown()),
        ("config.sample.toml", config::sample_toml()),
        ("config.schema.json", config::json_schema()),
        ("metrics.md", metrics::render()),
    ];
    for (name, text) in files {
        fs::write(folder.join(name), text)?;
    }
    Ok(())
}
