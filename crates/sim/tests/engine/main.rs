//! The engine on a simulated machine, without threads: each call of the view or of the device that may fail does so once,
//! for every kind of request. After each, all bytes are where they can be read and all counts balance.

mod audit;
mod failures;
mod machine;
mod remote;
mod repeat;
mod time;
mod walks;
