//! Tries every way out of the files that it was granted.

use fixture_common::outcome;
use fixture_common::sdk::host_data::{self, DataErrorKind};

fixture_common::collects!(|_| {
    let refused = |path: &str| {
        let kind = host_data::read(path).err().map(|error| error.kind);
        outcome(path, matches!(kind, Some(DataErrorKind::NotGranted(_) | DataErrorKind::Invalid(_))))
    };
    Ok(vec![
        refused("/etc/passwd"),
        refused("/proc/../etc/passwd"),
        refused("proc/stat"),
        refused("/proc/sta\0t"),
        refused("/proc/self/environ"),
        refused("/proc/thread-self/environ"),
        refused("/proc/1/environ"),
        refused("/proc/1/mem"),
        refused("/proc/1/cmdline"),
        refused("/proc/1/root/etc/passwd"),
        refused("/proc/kcore"),
        refused("/proc/escape"),
        refused("/proc/away/passwd"),
        refused("/processes"),
        outcome("list", host_data::list_directory("/etc").is_err()),
        outcome("stat", host_data::stat("/etc/passwd").is_err()),
        outcome("connect", host_data::tcp_accepts("127.0.0.1:22", None).is_err()),
        outcome(
            "what was granted",
            host_data::read_to_string("/proc/granted").is_ok_and(|text| text == "yes"),
        ),
    ])
});
