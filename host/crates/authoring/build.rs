//! Writes a list of the files that `lowtide addon new` unpacks, so that the program carries them: the SDK, the contract, the templates.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// The name of each list, its folder, and what of the folder belongs to it.
const LISTS: [(&str, &str, &[&str]); 3] = [
    ("SDK", "../../../guest-sdk", &["Cargo.toml", "README.md", "src", "wit"]),
    ("WIT", "../../../wit/v0.1", &[""]),
    ("TEMPLATES", "templates", &[""]),
];

fn main() -> io::Result<()> {
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("files.rs");
    let mut text = String::new();
    for (name, folder, parts) in LISTS {
        let folder = here.join(folder);
        let mut files = Vec::new();
        for part in parts {
            collect(&folder.join(part), &mut files)?;
        }
        files.sort();
        // Writing to a String cannot fail.
        let _ = writeln!(text, "pub(crate) const {name}: &[(&str, &str)] = &[");
        for file in files {
            let path = file.strip_prefix(&folder).unwrap_or(&file).to_string_lossy().into_owned();
            let _ = writeln!(text, "    ({path:?}, include_str!({:?})),", file.to_string_lossy());
        }
        text.push_str("];\n");
    }
    fs::write(out, text)
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    // A folder too: then files that come later are noticed.
    io::Write::write_all(
        &mut io::stdout(),
        format!("cargo::rerun-if-changed={}\n", path.display()).as_bytes(),
    )?;
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            collect(&entry?.path(), files)?;
        }
    } else {
        files.push(path.to_owned());
    }
    Ok(())
}
