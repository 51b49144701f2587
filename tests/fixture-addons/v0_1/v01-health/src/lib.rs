//! The frozen contract 0.1: `health`, with `host-data` and `http`.

use fixture_common::sdk::{Health, Status, host_data, http};

/// Well when it sees what it was granted.
#[derive(Default)]
struct Fixture;

impl Health for Fixture {
    fn check(&mut self) -> Status {
        let read = host_data::read_to_string("/proc/granted").is_ok();
        let listed = host_data::list_directory("/proc")
            .is_ok_and(|entries| entries.iter().any(|entry| entry.name == "granted"));
        let seen = host_data::stat("/proc/granted").is_ok_and(|found| found.size == 3);
        let deaf = matches!(host_data::tcp_accepts("127.0.0.1:1", None), Ok(false));
        let silent = http::get("http://127.0.0.1:1/").send().is_err()
            && http::post("http://127.0.0.1:1/").body("x").send().is_err();
        match (read, listed, seen, deaf, silent) {
            (true, true, true, true, true) => Status::Ok,
            other => Status::error(format!("{other:?}")),
        }
    }
}

fixture_common::sdk::addon!(Fixture: Health);
