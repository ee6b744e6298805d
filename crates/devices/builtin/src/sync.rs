//! Threads of this crate. Every other module takes them from here, so that `bifolio-shuttle` can run the same sources under
//! a scheduler that decides which thread goes on.

pub(crate) mod thread {
    pub(crate) use std::thread::{ScopedJoinHandle, scope};
}
