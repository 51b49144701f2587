//! `lowtide addon enable|disable|reload`: tells the daemon, and waits until it is clear what came of it.

use super::{OneArgs, path_of, show};
use crate::client::{self, ClientError};
use crate::commands::output::{complain, out, pretty};
use crate::commands::status::fail;
use crate::exit::Exit;
use lowtide_clock as clock;
use serde_json::Value;
use std::time::Duration;

/// How long an addon that is being loaded is waited for: compiling a large one takes seconds, and it goes on without us.
const PATIENCE: Duration = Duration::from_secs(30);

/// Time between two looks.
const LOOK: Duration = Duration::from_millis(200);

pub(super) fn run(args: &OneArgs, what: &str) -> Exit {
    match act(args, what) {
        Ok(addon) => report(args, what, &addon),
        Err(error) => fail(&error, args.client.json),
    }
}

fn act(args: &OneArgs, what: &str) -> Result<Value, ClientError> {
    let daemon = args.client.daemon();
    let mut addon = client::post(daemon, &path_of(&args.id, &format!("/{what}")))?;
    let end = clock::mono().plus(PATIENCE);
    while state(&addon) == "loading" && clock::mono() < end {
        std::thread::park_timeout(LOOK);
        addon = client::get(daemon, &path_of(&args.id, ""))?;
    }
    Ok(addon)
}

fn report(args: &OneArgs, what: &str, addon: &Value) -> Exit {
    out(&if args.client.json { pretty(addon) } else { show::headline(addon) });
    match state(addon) {
        "running" | "disabled" => Exit::Ok,
        "loading" => {
            complain(&format!(
                "it is still being loaded; see how it goes with `lowtide addon show {}`",
                args.id
            ));
            Exit::Ok
        }
        _ => {
            complain(&format!("the {what} was done, but the addon does not run; the lines above say why"));
            Exit::Findings
        }
    }
}

fn state(addon: &Value) -> &str {
    addon.get("state").and_then(Value::as_str).unwrap_or_default()
}
