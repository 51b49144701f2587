//! The project's commands: `cargo xtask COMMAND`. This file only reads the command line; each command has a file of its
//! own. It must stay quick to build, since every command waits for it: std and anyhow, nothing more.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool talks to its terminal")]
#![allow(clippy::disallowed_methods, reason = "reads the clock only to print how long a step took")]

mod addons;
mod bench;
mod ci;
mod debian;
mod generate;
mod guests;
mod project;
mod run;
mod test;
mod tidy;
mod tools;

use anyhow::{Result, bail};
use project::Project;

const HELP: &str = "\
The project's commands. Needed: Rust, a C compiler, this clone.

  cargo xtask run [-- FLAGS]      build the daemon and start it on 127.0.0.1:4270 (FLAGS go to `lowtide serve`)
  cargo xtask test [-- ARGS]      install what the tests need and run them all (ARGS go to the test runner)
  cargo xtask ci                  everything that CI runs, cheap checks first, stops at the first failure

  cargo xtask gen [--check]       write docs/reference from the code; --check only compares
  cargo xtask tidy                the repository's own rules: headers, dependency direction, log texts, links, sizes
  cargo xtask deny                licences, sources and banned crates
  cargo xtask sbom                the bill of materials of the daemon, into target/sbom
  cargo xtask sim [--seed N]      simulations of the decisions, with one seed or the fixed list
  cargo xtask fuzz [--iterations N]   seeded mutation tests, N inputs each
  cargo xtask soak                the slow suite
  cargo xtask guest-tools         install what builds addons from source and say where it is (-- COMMAND: start it then)
  cargo xtask bench [NAMES]       benchmarks, all or those named
  cargo xtask bench tide [-- FLAGS]   the live experiment: what heavy work costs a service beside it; --help for the flags

Environment: LOWTIDE_LISTEN (address for run), LOWTIDE_TOOLS_DIR (where tools are kept; target/tools
otherwise), LOWTIDE_ADVISORY_DB (RustSec's database for deny: a tar.gz of it, or cargo-deny's own folder), CI (a missing tool then fails the tests
instead of skipping them).";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Err(error) = dispatch(&arguments) {
        eprintln!("xtask: {error:#}");
        std::process::exit(1);
    }
}

fn dispatch(arguments: &[String]) -> Result<()> {
    let project = Project::find()?;
    let (command, rest) = match arguments.split_first() {
        Some((command, rest)) => (command.as_str(), rest),
        None => ("help", arguments),
    };
    match command {
        "run" => run::run(&project, after_dashes(rest)),
        "test" => test::all(&project, after_dashes(rest)),
        "ci" => none_left(rest).and_then(|()| ci::run(&project)),
        "gen" => match rest {
            [] => generate::write(&project),
            [flag] if flag == "--check" => generate::check(&project),
            _ => bail!("gen takes only --check"),
        },
        "tidy" => none_left(rest).and_then(|()| tidy::run(&project)),
        "deny" => none_left(rest).and_then(|()| ci::deny(&project)),
        "sbom" => none_left(rest).and_then(|()| ci::sbom(&project)),
        "sim" => test::sim(&project, number(rest, "--seed")?),
        "fuzz" => test::fuzz(&project, number(rest, "--iterations")?),
        "soak" => test::soak(&project, after_dashes(rest)),
        "guest-tools" => guests::run(&project, after_dashes(rest)),
        "bench" => bench::run(&project, after_dashes(rest)),
        "help" | "--help" | "-h" => {
            println!("{HELP}");
            Ok(())
        }
        other => bail!("no command {other:?}; see `cargo xtask help`"),
    }
}

/// The arguments meant for another program, without the `--` that may stand before them.
fn after_dashes(rest: &[String]) -> &[String] {
    match rest.split_first() {
        Some((first, others)) if first == "--" => others,
        _ => rest,
    }
}

fn none_left(rest: &[String]) -> Result<()> {
    match rest.first() {
        Some(extra) => bail!("unexpected argument {extra:?}; see `cargo xtask help`"),
        None => Ok(()),
    }
}

fn number(rest: &[String], flag: &str) -> Result<Option<u64>> {
    match rest {
        [] => Ok(None),
        [name, value] if name == flag => match value.parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => bail!("{flag} takes a whole number, not {value:?}"),
        },
        _ => bail!("only {flag} NUMBER is taken here"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn dashes_before_passed_on_arguments_are_dropped_once() {
        assert_eq!(after_dashes(&words("-- --listen x")), words("--listen x"));
        assert_eq!(after_dashes(&words("name -- x")), words("name -- x"));
        assert!(after_dashes(&[]).is_empty());
    }

    #[test]
    fn a_number_needs_its_flag() {
        assert_eq!(number(&words("--seed 7"), "--seed").unwrap(), Some(7));
        assert_eq!(number(&[], "--seed").unwrap(), None);
        assert!(number(&words("--seed x"), "--seed").is_err());
        assert!(number(&words("7"), "--seed").is_err());
    }
}
