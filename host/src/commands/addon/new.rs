//! `lowtide addon new`: a project to begin with.

use crate::commands::output::{complain, out};
use crate::exit::Exit;
use clap::Args;
use lowtide_authoring::new::create;
use lowtide_authoring::project::Language;
use std::path::PathBuf;

/// `lowtide addon new`.
#[derive(Debug, Args)]
pub(crate) struct NewArgs {
    /// Id of the addon: lower-case letters, digits and hyphens
    name: String,
    /// Language to write it in
    #[arg(long, value_parser = ["rust", "python", "js", "c"], default_value = "rust")]
    lang: String,
    /// Folder to make; absent: one of the addon's name
    #[arg(long, value_name = "DIR")]
    path: Option<PathBuf>,
}

pub(crate) fn run(args: &NewArgs) -> Exit {
    let language =
        Language::ALL.iter().find(|(word, _)| *word == args.lang).map_or(Language::Rust, |(_, one)| *one);
    let folder = args.path.clone().unwrap_or_else(|| PathBuf::from(&args.name));
    match create(&args.name, language, &folder) {
        Ok(_) => {
            let folder = folder.display();
            out(&format!(
                "{folder} is an addon in {}; README.md says more. Next:\n\n  cd {folder}\n  lowtide addon build\n  lowtide addon run . \
                 --once --grant-all\n  lowtide addon test\n",
                args.lang
            ));
            Exit::Ok
        }
        Err(error) => {
            complain(&error.to_string());
            super::author::exit_of(&error)
        }
    }
}
