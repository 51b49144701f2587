//! What wit-bindgen makes of the contract. Everything else in this crate goes through here; users do not name it.
//!
//! Every export interface has a world of its own, so that a component exports exactly what `addon!` names. Each of these worlds
//! also lists all imports: the section that describes them then lies in the user's own object file, which the linker never leaves
//! out. What is not called is not imported in the end: wit-component drops it.
//!
//! Errors are written by hand in the modules that return them, because wit-bindgen's own `Display` is the debug form.

/// Types that several interfaces share, and the imports that take owned or plain values.
pub mod imports {
    wit_bindgen::generate!({
        path: "wit/v0.1",
        inline: "
            package lowtide:sdk-imports;
            world sdk-imports {
                import lowtide:addon/types@0.1.0;
                import lowtide:addon/leases@0.1.0;
                import lowtide:addon/log@0.1.0;
                import lowtide:addon/config@0.1.0;
                import lowtide:addon/kv@0.1.0;
                import lowtide:addon/http@0.1.0;
                import lowtide:addon/host-data@0.1.0;
            }
        ",
        pub_export_macro: true,
        generate_all,
        generate_unused_types: true,
        additional_derives: [PartialEq],
        with: {
            "lowtide:addon/types@0.1.0/failure": crate::Failure,
            "lowtide:addon/leases@0.1.0/lease-error": crate::leases::LeaseError,
            "lowtide:addon/kv@0.1.0/kv-error": crate::kv::KvError,
            "lowtide:addon/http@0.1.0/http-error": crate::http::HttpErrorKind,
            "lowtide:addon/host-data@0.1.0/data-error": crate::host_data::DataErrorKind,
        },
    });
}

/// Imports that take lists of texts, by reference: recording a value allocates nothing.
pub mod borrowed {
    wit_bindgen::generate!({
        path: "wit/v0.1",
        inline: "
            package lowtide:sdk-borrowed;
            world sdk-borrowed {
                import lowtide:addon/metrics@0.1.0;
                import lowtide:addon/system@0.1.0;
            }
        ",
        pub_export_macro: true,
        generate_all,
        ownership: Borrowing { duplicate_if_necessary: false },
        additional_derives: [PartialEq],
        with: {
            "lowtide:addon/types@0.1.0": crate::bindings::imports::lowtide::addon::types,
            "lowtide:addon/metrics@0.1.0/metric-error": crate::metrics::MetricError,
            "lowtide:addon/system@0.1.0/system-error": crate::system::SystemError,
        },
    });
}

/// The world of one export interface, as a module, with the `export!` macro that `addon!` calls.
macro_rules! export_world {
    ($(#[$doc:meta])* $module:ident, $inline:literal) => {
        $(#[$doc])*
        pub mod $module {
            wit_bindgen::generate!({
                path: "wit/v0.1",
                inline: $inline,
                pub_export_macro: true,
                additional_derives: [PartialEq],
                with: {
                    "lowtide:addon/types@0.1.0": crate::bindings::imports::lowtide::addon::types,
                    "lowtide:addon/types@0.1.0/failure": crate::Failure,
                    "lowtide:addon/metrics@0.1.0": crate::bindings::borrowed::lowtide::addon::metrics,
                    "lowtide:addon/leases@0.1.0": crate::bindings::imports::lowtide::addon::leases,
                    "lowtide:addon/system@0.1.0": crate::bindings::borrowed::lowtide::addon::system,
                    "lowtide:addon/log@0.1.0": crate::bindings::imports::lowtide::addon::log,
                    "lowtide:addon/config@0.1.0": crate::bindings::imports::lowtide::addon::config,
                    "lowtide:addon/kv@0.1.0": crate::bindings::imports::lowtide::addon::kv,
                    "lowtide:addon/http@0.1.0": crate::bindings::imports::lowtide::addon::http,
                    "lowtide:addon/host-data@0.1.0": crate::bindings::imports::lowtide::addon::host_data,
                },
            });
        }
    };
}

export_world!(
    /// `collector`.
    collector,
    "package lowtide:sdk-collector;
     world sdk-collector { include lowtide:addon/imports@0.1.0; export lowtide:addon/collector@0.1.0; }"
);
export_world!(
    /// `presence`.
    presence,
    "package lowtide:sdk-presence;
     world sdk-presence { include lowtide:addon/imports@0.1.0; export lowtide:addon/presence@0.1.0; }"
);
export_world!(
    /// `custom-stats`.
    custom_stats,
    "package lowtide:sdk-custom-stats;
     world sdk-custom-stats { include lowtide:addon/imports@0.1.0; export lowtide:addon/custom-stats@0.1.0; }"
);
export_world!(
    /// `health`.
    health,
    "package lowtide:sdk-health;
     world sdk-health { include lowtide:addon/imports@0.1.0; export lowtide:addon/health@0.1.0; }"
);
export_world!(
    /// `job`.
    job,
    "package lowtide:sdk-job;
     world sdk-job { include lowtide:addon/imports@0.1.0; export lowtide:addon/job@0.1.0; }"
);
