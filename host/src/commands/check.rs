//! `lowtide check`: the verdict as an exit code.

use super::output::{complain, out, pretty};
use super::status::fail;
use crate::cli::{AtMost, CheckArgs, Unreachable};
use crate::client::{self, ClientError};
use crate::exit::Exit;
use serde_json::{Value, json};

pub(crate) fn run(args: &CheckArgs) -> Exit {
    match client::get(args.client.daemon(), "/api/system-stats/quiet") {
        Ok(quiet) => answer(args, &quiet),
        Err(error @ ClientError::Unreachable { .. }) if args.on_unreachable == Unreachable::Pass => {
            complain(&format!("{error}; passing all the same, as --on-unreachable pass asks"));
            Exit::Ok
        }
        Err(error) => fail(&error, args.client.json),
    }
}

fn answer(args: &CheckArgs, quiet: &Value) -> Exit {
    if quiet.get("state").and_then(Value::as_str).is_none() {
        let why = "its answer has no state".to_owned();
        let error = ClientError::NotLowtide { url: args.client.daemon().url().to_owned(), why };
        return fail(&error, args.client.json);
    }
    let field = |name: &str| quiet.get(name).and_then(Value::as_str).unwrap_or("?");
    let passes = match field("state") {
        "QUIET" => true,
        "NORMAL" => args.at_most == AtMost::Normal,
        _ => false,
    };
    if args.client.json {
        let answer = json!({
            "passes": passes,
            "state": quiet.get("state"),
            "score": quiet.get("score"),
            "reasons": quiet.get("reasons"),
            "quiet_in_seconds": quiet.get("quiet_in_seconds"),
        });
        out(&pretty(&answer));
    } else if !args.quiet {
        let score = quiet.get("score").and_then(Value::as_u64).unwrap_or_default();
        out(&format!("{} {score}: {}\n", field("state"), field("summary")));
    }
    if passes { Exit::Ok } else { Exit::NotNow }
}
