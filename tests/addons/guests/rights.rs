//! Guests that use what they did not ask for, were not granted, or want more of than there is.

use super::expect::{Case, Expect, guest, refused, so};

pub(super) fn cases() -> Vec<Case> {
    vec![
        guest("kv-flood", Expect::Runs(|seen| seen.outcomes(5))).granted(r#"{"kv": true}"#),
        guest("kv-not-asked", refused("import_not_asked", &["lowtide:addon/kv", "kv = true under [asks]"]))
            .granted(r#"{"kv": true}"#),
        guest(
            "http-not-granted",
            refused(
                "not_granted",
                &["[addon.http-not-granted.grants]", "http = [\"GET http://127.0.0.1:1\"]"],
            ),
        ),
        guest("http-elsewhere", Expect::Runs(|seen| seen.outcomes(11)))
            .granted(r#"{"http": ["GET http://127.0.0.1:1"]}"#),
        guest("escapes", Expect::Runs(|seen| seen.outcomes(18))).granted(r#"{"host_data": ["/proc"]}"#),
        guest("looks-around", Expect::Runs(|seen| seen.outcomes(6))),
        // These hosts have no scheduler; the tests of `leases` have.
        guest("asks-for-leases", Expect::Runs(|seen| seen.outcomes(2)))
            .granted(r#"{"leases": {"max_units": 10}}"#),
        guest("snapshot-storm", Expect::Runs(|seen| seen.outcomes(2))),
        guest(
            "recovers",
            Expect::Settles(|seen| {
                let metered = &seen.view.metered;
                so(
                    metered.crashes == 2
                        && seen.view.state.name() == "running"
                        && seen.value("value") >= Some(2.0),
                    || format!("{metered:?}"),
                )
            }),
        )
        .granted(r#"{"kv": true}"#),
    ]
}
