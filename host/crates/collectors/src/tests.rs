//! What holds for all collectors together: golden files over the fixture machines, the contract of the table, parsers fed with
//! garbage, and the portable collectors beside the direct ones. Each module says more.

mod contract;
mod garbage;
mod golden;
mod machine;
mod portable;
