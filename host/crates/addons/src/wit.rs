//! The versions of the contract that this host speaks, one adapter each. An adapter holds the generated bindings, conversions and one-line
//! calls into `caps`, `recorder` and `guest`; what decides anything is not here. Generated types do not leave this folder.

pub(crate) mod v0_1;
