//! `lowtide addon test`: an addon against machines that are made up.

use crate::commands::output::{complain, out};
use crate::exit::Exit;
use clap::Args;
use lowtide_authoring::AuthorError;
use lowtide_authoring::project::Project;
use lowtide_authoring::test::{cases, native, run as run_case};
use std::path::PathBuf;

/// What a case may have, for `--help`.
const HELP: &str = "A case is a file tests/NAME.toml. All of it is optional:

  calls = 1                      how often each export is called
  folders = [\"/var/spool\"]       folders that are there although empty
  listening = [\"127.0.0.1:445\"]  what accepts connections
  kv_unavailable = true          the store fails
  grants = { kv = true }         otherwise all that addon.toml asks for
  verdict = { score = 80, state = \"quiet\" }

  [settings]                     as in the configuration
  limit = 5

  [files]                        the machine's files; others are not there
  \"/proc/loadavg\" = \"0.1 0.1 0.1 1/99 7\\n\"

  [http.\"GET http://127.0.0.1:8096/Sessions\"]
  status = 200                   also headers = {}, or fault = \"timeout\", \"unreachable\", \"too-large\"
  body = '[]'

  [kv]                           what is in the store
  cursor = \"7\"

  [readings]                     what the host measured
  host_memory_available_bytes = 1e9

  [expect]                       what is not stated is not looked at, but a failure always fails
  no_others = true               no samples but these
  presence = { \"2 streams\" = 0.5 }
  stats = { sessions = 2 }       parts of the document
  health = \"ok\"
  log = [\"part of a line\"]
  events = [\"restarted\"]
  kv = { cursor = \"8\" }
  failure = \"part of what it says\"

  [expect.samples]
  'tasks{state=\"all\"}' = 99      without the prefix addon_<id>_

Files and servers are made up by the host itself: no path below / is read, no connection is made, a timeout costs no time. The clock
is the real one.";

/// `lowtide addon test`.
#[derive(Debug, Args)]
#[command(after_long_help = HELP)]
pub(crate) struct TestArgs {
    /// The project, built
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// Only the cases against the component, not `cargo test`
    #[arg(long)]
    only_cases: bool,
    /// The built addon, if it is not in dist/
    #[arg(long, value_name = "FOLDER")]
    built: Option<PathBuf>,
}

pub(crate) fn run(args: &TestArgs) -> Exit {
    match all(args) {
        Ok(true) => Exit::Ok,
        Ok(false) => Exit::Findings,
        Err(error) => {
            complain(&error.to_string());
            super::author::exit_of(&error)
        }
    }
}

fn all(args: &TestArgs) -> Result<bool, AuthorError> {
    let project = Project::open(&args.dir)?;
    if !args.only_cases {
        native(&project, &mut |line| complain(line))?;
    }
    let cases = cases(&project)?;
    let mut failed = 0;
    for case in &cases {
        let verdict = run_case(&project, args.built.as_deref(), case)?;
        let word = if verdict.problems.is_empty() { "ok  " } else { "FAIL" };
        out(&format!("{word} {} ({} ms)\n", verdict.name, verdict.took.as_millis()));
        for problem in &verdict.problems {
            out(&format!("       {problem}\n"));
        }
        failed += usize::from(!verdict.problems.is_empty());
    }
    out(&match (cases.len(), failed) {
        (0, _) => {
            "there are no cases: write tests/NAME.toml; lowtide addon test --help shows how\n".to_owned()
        }
        (all, 0) => format!("all {all} cases passed\n"),
        (all, failed) => format!("{failed} of {all} cases failed\n"),
    });
    Ok(failed == 0)
}
