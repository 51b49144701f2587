//! `lowtide addon build`: from sources to a folder that can be copied.

use super::check;
use crate::commands::output::{complain, out};
use crate::exit::Exit;
use clap::Args;
use lowtide_authoring::build::{Built, build};
use std::path::PathBuf;

/// `lowtide addon build`.
#[derive(Debug, Args)]
pub(crate) struct BuildArgs {
    /// The project, or a Cargo workspace of several
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// Where the addons are put; absent: `dist` in the project
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Only build: what `lowtide addon check` would say is not asked
    #[arg(long)]
    no_check: bool,
}

pub(crate) fn run(args: &BuildArgs) -> Exit {
    let built = match build(&args.dir, args.out.as_deref(), &mut |line| complain(line)) {
        Ok(built) => built,
        Err(error) => {
            complain(&error.to_string());
            return super::author::exit_of(&error);
        }
    };
    let mut exit = Exit::Ok;
    for addon in &built {
        if args.no_check {
            out(&format!("built {}\n", addon.folder.display()));
            continue;
        }
        complain(&format!("checking {} (a new component is compiled first)", addon.id));
        let checked = check::one(&addon.folder, false, false);
        if checked == Exit::Ok {
            out(&next_steps(addon));
        } else {
            exit = checked;
        }
    }
    exit
}

fn next_steps(addon: &Built) -> String {
    let folder = addon.folder.display();
    let mut text = format!(
        "\nbuilt {folder} ({:.0} KB). To install it, copy it into the addons folder (by default `addons` in the data folder):\n\n  cp -r \
         {folder} ADDONS_FOLDER/\n",
        addon.bytes as f64 / 1e3
    );
    if let Some(configuration) = addon.configuration() {
        let indented = configuration.lines().map(|line| format!("  {line}\n")).collect::<String>();
        text.push_str(&format!(
            "\nIt runs once the operator grants what it asks for, in the configuration:\n\n{indented}"
        ));
    }
    text
}
