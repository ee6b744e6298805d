//! Errors, as codes and as text.

use std::cell::RefCell;
use std::error::Error as StdError;

use bifolio_host::device::DeviceFault;
use bifolio_host::space::FreeError;
use bifolio_host::{AdoptError, DetachError, Failure, SetupError};

use crate::abi::{
    BF_E_ARGUMENT, BF_E_BUSY, BF_E_DENIED, BF_E_DETACHED, BF_E_GRANT, BF_E_LOST, BF_E_MEMORY, BF_E_PINNED,
    BF_E_RANGE, bf_status,
};

/// A call that failed: nothing changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Error {
    pub code: bf_status,
    pub text: String,
}

impl Error {
    pub fn new(code: bf_status, text: impl Into<String>) -> Error {
        Error { code, text: text.into() }
    }

    pub fn argument(text: impl Into<String>) -> Error {
        Error::new(BF_E_ARGUMENT, text)
    }

    /// An error and its causes.
    pub fn of(code: bf_status, error: &dyn StdError) -> Error {
        let (mut text, mut cause) = (error.to_string(), error.source());
        while let Some(next) = cause {
            text += &format!(": {next}");
            cause = next.source();
        }
        Error { code, text }
    }
}

thread_local! {
    static LAST: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Keeps the text of an error for the calling thread.
pub fn keep(text: String) {
    // A thread that ends has no last error any more.
    let _: Result<(), _> = LAST.try_with(|last| last.replace(text)).map(drop);
}

/// Does `work` with the text of the calling thread's last error.
pub fn with_last<R>(work: impl FnOnce(&str) -> R) -> R {
    LAST.with(|last| work(&last.borrow()))
}

/// Why pages were not moved.
pub fn of_failure(why: Failure, place: &str) -> Error {
    let code = match why {
        Failure::NotMapped => BF_E_RANGE,
        Failure::Denied => BF_E_DENIED,
        Failure::Busy => BF_E_BUSY,
        Failure::Pinned => BF_E_PINNED,
        Failure::Detached => BF_E_DETACHED,
        Failure::CopyFailed => BF_E_LOST,
        _ => BF_E_MEMORY,
    };
    Error::new(code, format!("{place}: {why}"))
}

impl From<DeviceFault> for Error {
    fn from(fault: DeviceFault) -> Error {
        let code = match fault {
            DeviceFault::NotMapped { .. } => BF_E_RANGE,
            DeviceFault::Denied { .. } => BF_E_DENIED,
            DeviceFault::Detached { .. } => BF_E_DETACHED,
            DeviceFault::Unanswered { why, .. } => of_failure(why, "").code,
            _ => BF_E_ARGUMENT,
        };
        Error::of(code, &fault)
    }
}

impl From<FreeError> for Error {
    fn from(error: FreeError) -> Error {
        match error {
            FreeError::Unknown(_) => Error::of(BF_E_RANGE, &error),
            FreeError::InUse { why, address } => of_failure(why, &format!("{address:#x}")),
        }
    }
}

impl From<AdoptError> for Error {
    fn from(error: AdoptError) -> Error {
        let code = match &error {
            AdoptError::Unaligned { .. } | AdoptError::Kind(_) | AdoptError::NoRight => BF_E_ARGUMENT,
            AdoptError::Overlaps(_) => BF_E_BUSY,
            AdoptError::Unknown(_) => BF_E_RANGE,
            AdoptError::InUse(why) => of_failure(*why, "").code,
            _ => BF_E_MEMORY,
        };
        Error::of(code, &error)
    }
}

impl From<DetachError> for Error {
    fn from(error: DetachError) -> Error {
        let code = match &error {
            DetachError::Stuck(stuck) => of_failure(stuck.why, "").code,
            _ => BF_E_BUSY,
        };
        Error::of(code, &error)
    }
}

impl From<SetupError> for Error {
    fn from(error: SetupError) -> Error {
        let code = match &error {
            SetupError::TooSmall { .. } | SetupError::Granule { .. } => BF_E_ARGUMENT,
            SetupError::Uffd(_) | SetupError::Toucher(_) => BF_E_GRANT,
            SetupError::Node(_) => BF_E_BUSY,
            _ => BF_E_MEMORY,
        };
        Error::of(code, &error)
    }
}
