//! The traits that an addon implements, and how they are called: one value of the addon's type lives as long as its instance.

use crate::bindings::{collector, custom_stats, health, job, presence};
use crate::{Description, Failure, Sample};
use std::time::Duration;

pub use crate::bindings::health::exports::lowtide::addon::health::Status;
pub use crate::bindings::imports::lowtide::addon::types::{Constraints, Priority};
pub use crate::bindings::job::exports::lowtide::addon::job::{Description as JobDescription, Outcome};
pub use crate::bindings::presence::exports::lowtide::addon::presence::Signal;

/// How the value that holds an addon's state is made: before the first call of a new instance. Types with a [`Default`] have
/// this by themselves.
///
/// Settings are best read in the first call that needs them: it can return a [`Failure`], this cannot.
pub trait Addon: Sized + 'static {
    /// A new value.
    fn new() -> Self;
}

impl<T: Default + 'static> Addon for T {
    fn new() -> Self {
        Self::default()
    }
}

/// Measures something at regular intervals.
pub trait Collector: Addon {
    /// What this collector is. Called once for each new instance, before the first [`collect`](Collector::collect). Must not
    /// depend on anything outside.
    fn describe() -> Description;

    /// Measures now. Returns every sample that there is at this moment; a series that is left out has no sample this time.
    ///
    /// A sample of an undeclared metric, with the wrong number of labels, or of a series that was already given is dropped,
    /// counted and shown; the others are kept.
    fn collect(&mut self) -> Result<Vec<Sample>, Failure>;
}

/// Tells of something that the numbers do not show: someone watches a film, a user is logged in, a print job runs. It can make
/// the host look busier, never quieter.
pub trait Presence: Addon {
    /// Returns all that is present now, at most 16 signals; an empty list means nothing is. Called every 5 s unless
    /// configured otherwise.
    ///
    /// After a failure what was told before counts on until its time is over, and then the addon's presence is unknown,
    /// which is never taken for quiet.
    fn assess(&mut self) -> Result<Vec<Signal>, Failure>;
}

/// A document of the addon's own, served as it is by `GET /api/addons/{id}/stats`: what does not fit into numbers.
pub trait CustomStats: Addon {
    /// Returns a JSON object as text, at most 64 KiB: from [`json::Object`](crate::json::Object) or `serde_json`. Called every
    /// 15 s unless configured otherwise, never by a request.
    fn stats(&mut self) -> Result<String, Failure>;
}

/// Says whether the addon can do its work.
pub trait Health: Addon {
    /// How it is. Called every 30 s unless configured otherwise.
    fn check(&mut self) -> Status;
}

/// Heavy work that runs under a lease, when the host is quiet.
///
/// Needs the grant `leases`. The host asks for a lease when a job is due, waits for it, and runs the job on an instance of its own, beside the
/// one that collects. Fields of `self` are therefore not shared with the other interfaces; [`kv`](crate::kv) is.
pub trait Job: Addon {
    /// The kinds of job that this addon can run. Called once for each new instance.
    fn describe() -> Vec<JobDescription>;

    /// Runs one job to its end. Its lease is [`leases::of_job`](crate::leases::of_job): report progress by it, and obey what its heartbeat
    /// answers. Who does not stop in the time that [`Directive::Revoke`](crate::leases::Directive::Revoke) gives is cut off.
    fn run(&mut self, name: &str) -> Result<Outcome, Failure>;
}

impl Signal {
    /// Something that is present now, in a few words for people, and how much it weighs, 0 to 1. At 1 the host is BUSY; below, the
    /// quiet score is held down in proportion.
    pub fn new(what: impl Into<String>, weight: f64) -> Self {
        Self { what: what.into(), weight, lasts: None }
    }

    /// How long it counts without being told again, at most 1 h. Without it: three intervals.
    #[must_use]
    pub fn lasting(mut self, time: Duration) -> Self {
        self.lasts = Some(time.as_secs_f64());
        self
    }
}

impl Status {
    /// [`Status::Warn`] with this text: it works, but someone should look.
    pub fn warn(text: impl Into<String>) -> Self {
        Self::Warn(text.into())
    }

    /// [`Status::Error`] with this text: it cannot do its work.
    pub fn error(text: impl Into<String>) -> Self {
        Self::Error(text.into())
    }
}

impl JobDescription {
    /// A kind of job, `[a-z][a-z0-9-]*`, that usually takes this long: one unit, of normal priority, only when asked for.
    pub fn new(name: impl Into<String>, help: impl Into<String>, expected_duration: Duration) -> Self {
        Self {
            name: name.into(),
            help: help.into(),
            cost_units: 1,
            priority: Priority::Normal,
            expected_duration: expected_duration.as_secs_f64(),
            constraints: Constraints::empty(),
            every: None,
            pausable: false,
        }
    }

    /// Units of the host's capacity that it takes, 1 to 100.
    #[must_use]
    pub fn cost_units(mut self, units: u32) -> Self {
        self.cost_units = units;
        self
    }

    /// How urgent it is.
    #[must_use]
    pub fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// Which resources it weighs on.
    #[must_use]
    pub fn constraints(mut self, constraints: Constraints) -> Self {
        self.constraints = constraints;
        self
    }

    /// Wished time between two runs.
    #[must_use]
    pub fn every(mut self, interval: Duration) -> Self {
        self.every = Some(interval.as_secs_f64());
        self
    }

    /// It can be held still in the middle for minutes.
    #[must_use]
    pub fn pausable(mut self) -> Self {
        self.pausable = true;
        self
    }
}

/// The one value of an addon's type in a component. Implemented by [`addon!`](crate::addon!).
#[doc(hidden)]
pub trait Component {
    /// The addon's type.
    type Addon: Addon;

    /// Calls with the value; makes it before the first call.
    fn with<R>(call: impl FnOnce(&mut Self::Addon) -> R) -> R;
}

impl<C: Component<Addon: Collector>> collector::exports::lowtide::addon::collector::Guest for C {
    fn describe() -> Description {
        C::Addon::describe()
    }

    fn collect() -> Result<Vec<Sample>, Failure> {
        C::with(C::Addon::collect)
    }
}

impl<C: Component<Addon: Presence>> presence::exports::lowtide::addon::presence::Guest for C {
    fn assess() -> Result<Vec<Signal>, Failure> {
        C::with(C::Addon::assess)
    }
}

impl<C: Component<Addon: CustomStats>> custom_stats::exports::lowtide::addon::custom_stats::Guest for C {
    fn stats() -> Result<String, Failure> {
        C::with(C::Addon::stats)
    }
}

impl<C: Component<Addon: Health>> health::exports::lowtide::addon::health::Guest for C {
    fn check() -> Status {
        C::with(C::Addon::check)
    }
}

impl<C: Component<Addon: Job>> job::exports::lowtide::addon::job::Guest for C {
    fn describe() -> Vec<JobDescription> {
        <C::Addon as Job>::describe()
    }

    fn run(name: String) -> Result<Outcome, Failure> {
        C::with(|addon| addon.run(&name))
    }
}

/// Makes a component of an addon: it exports exactly the interfaces that are named.
///
/// The first name is the addon's type, those after the colon are the traits that it implements: `Collector`, `Presence`,
/// `CustomStats`, `Health`, `Job`. Write it once in a crate of the type `cdylib`. In a native build it only checks that the traits
/// are implemented.
///
/// ```
/// use lowtide_sdk::{Failure, Health, Presence, Signal, Status};
///
/// #[derive(Default)]
/// struct Lamp;
///
/// impl Presence for Lamp {
///     fn assess(&mut self) -> Result<Vec<Signal>, Failure> {
///         Ok(vec![Signal::new("the lamp is on", 0.5)])
///     }
/// }
///
/// impl Health for Lamp {
///     fn check(&mut self) -> Status {
///         Status::Ok
///     }
/// }
///
/// lowtide_sdk::addon!(Lamp: Presence, Health);
/// ```
///
/// A trait that is named and not implemented does not compile:
///
/// ```compile_fail
/// #[derive(Default)]
/// struct Lamp;
/// lowtide_sdk::addon!(Lamp: Presence);
/// ```
///
/// Neither does a name that is not an interface:
///
/// ```compile_fail
/// #[derive(Default)]
/// struct Lamp;
/// lowtide_sdk::addon!(Lamp: Light);
/// ```
#[macro_export]
macro_rules! addon {
    ($addon:ident: $($interface:ident),+ $(,)?) => {
        const _: () = {
            const fn implements_collector<T: $crate::Collector>() {}
            const fn implements_presence<T: $crate::Presence>() {}
            const fn implements_custom_stats<T: $crate::CustomStats>() {}
            const fn implements_health<T: $crate::Health>() {}
            const fn implements_job<T: $crate::Job>() {}
            $($crate::__interface!(@check $interface, $addon);)+
        };

        #[cfg(target_family = "wasm")]
        const _: () = {
            struct LowtideComponent;

            ::std::thread_local! {
                static ADDON: ::std::cell::RefCell<::std::option::Option<$addon>> =
                    const { ::std::cell::RefCell::new(::std::option::Option::None) };
            }

            impl $crate::__private::Component for LowtideComponent {
                type Addon = $addon;

                fn with<R>(call: impl ::std::ops::FnOnce(&mut $addon) -> R) -> R {
                    ADDON.with_borrow_mut(|addon| {
                        call(addon.get_or_insert_with(<$addon as $crate::Addon>::new))
                    })
                }
            }

            $($crate::__interface!(@export $interface, LowtideComponent);)+
        };
    };
}

/// One interface of [`addon!`](crate::addon!).
#[doc(hidden)]
#[macro_export]
macro_rules! __interface {
    (@check Collector, $addon:ident) => { implements_collector::<$addon>() };
    (@check Presence, $addon:ident) => { implements_presence::<$addon>() };
    (@check CustomStats, $addon:ident) => { implements_custom_stats::<$addon>() };
    (@check Health, $addon:ident) => { implements_health::<$addon>() };
    (@check Job, $addon:ident) => { implements_job::<$addon>() };
    (@check $other:ident, $addon:ident) => {
        ::core::compile_error!(::core::concat!(
            "`", ::core::stringify!($other),
            "` is not an interface of an addon: Collector, Presence, CustomStats, Health, Job"
        ))
    };
    (@export Collector, $component:ident) => {
        $crate::__private::collector::export!($component with_types_in $crate::__private::collector);
    };
    (@export Presence, $component:ident) => {
        $crate::__private::presence::export!($component with_types_in $crate::__private::presence);
    };
    (@export CustomStats, $component:ident) => {
        $crate::__private::custom_stats::export!($component with_types_in $crate::__private::custom_stats);
    };
    (@export Health, $component:ident) => {
        $crate::__private::health::export!($component with_types_in $crate::__private::health);
    };
    (@export Job, $component:ident) => {
        $crate::__private::job::export!($component with_types_in $crate::__private::job);
    };
    (@export $other:ident, $component:ident) => {};
}
