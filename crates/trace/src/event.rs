//! The events of a trace.

use serde::{Deserialize, Serialize};

/// Something that happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Event {
    /// When, in nanoseconds since the recording began. What took time is told as it ends.
    pub time_ns: u64,
    /// On which thread; threads are numbered from 1 as they meet their first event.
    ///
    /// What a fault led to is told by the thread that answered it, between the fault's begin and its end.
    pub thread: u32,
    /// What.
    #[serde(rename = "event")]
    pub kind: Kind,
}

/// The kinds of events. Addresses are in bytes and those of pages, so that their last 12 bits are zero.
///
/// The order of the variants is part of the format: new ones go to the end.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Pages became part of an allocation.
    Mapped {
        /// First page.
        address: u64,
        /// Number of pages.
        pages: u32,
    },
    /// A fault of the CPU was answered.
    CpuFault {
        /// The page that was touched.
        address: u64,
        /// What came of it.
        answer: Answer,
        /// Order of the folio that holds the page now; zero if there is none.
        order: u8,
        /// Nanoseconds from the fault to its answer.
        wait_ns: u64,
    },
    /// A fault of a device was answered.
    DeviceFault {
        /// The page that was touched.
        address: u64,
        /// The device.
        node: u8,
        /// The unit of the device.
        unit: u32,
        /// Whether it was to be written.
        write: bool,
        /// What came of it.
        answer: Answer,
        /// What it took.
        served: Served,
        /// Nanoseconds from the fault to its answer.
        wait_ns: u64,
    },
    /// A folio went to a device.
    ToDevice {
        /// Why.
        trigger: Trigger,
        /// First page.
        address: u64,
        /// Order of the folio.
        order: u8,
        /// The device.
        node: u8,
        /// First page of device memory.
        pfn: u64,
    },
    /// A folio came to system memory.
    ToRam {
        /// Why.
        trigger: Trigger,
        /// First page.
        address: u64,
        /// Order.
        order: u8,
    },
    /// Zeros were put into system memory at a first touch.
    Populated {
        /// First page.
        address: u64,
        /// Order.
        order: u8,
    },
    /// Pages were unmapped.
    Unmapped {
        /// First page.
        address: u64,
        /// Number of pages.
        pages: u32,
    },
    /// Bytes of folios were copied.
    Copied {
        /// The device.
        node: u8,
        /// Whether to the device, or from it.
        to_device: bool,
        /// Number of bytes.
        bytes: u64,
        /// Nanoseconds.
        time_ns: u64,
    },
    /// What a device did with pages while they were mapped there: a run of pages that were all accessed in one way.
    Used {
        /// First page.
        address: u64,
        /// Number of pages.
        pages: u32,
        /// The device.
        node: u8,
        /// Whether they were written.
        written: bool,
    },
    /// A folio was evicted to make room on its device.
    Evicted {
        /// First page.
        address: u64,
        /// The device.
        node: u8,
    },
    /// Pages were moved to a device to make room in system memory.
    Reclaimed {
        /// First page.
        address: u64,
        /// Number of pages.
        pages: u32,
    },
    /// A folio on a device is of this order now, after a split or a collapse that was asked for. It did not move.
    Reshaped {
        /// First page.
        address: u64,
        /// Order of the folio.
        order: u8,
        /// The device.
        node: u8,
        /// First page of device memory.
        pfn: u64,
    },
    /// A page or a folio was in use, and a transaction left all as it was.
    Busy,
    /// Pages were taken beyond the limit of system memory.
    BeyondLimit {
        /// Number of pages.
        pages: u64,
    },
    /// A page was poisoned: a touch of it raises SIGBUS.
    Poisoned {
        /// The page.
        address: u64,
    },
    /// A buffer object was evicted to system memory.
    BufferEvicted {
        /// The device.
        node: u8,
    },
    /// A buffer object came back to its device.
    BufferReturned {
        /// The device.
        node: u8,
    },
    /// Bytes of a buffer object were copied.
    BufferCopied {
        /// The device.
        node: u8,
        /// Number of bytes.
        bytes: u64,
        /// Nanoseconds.
        time_ns: u64,
    },
    /// A device was killed: no folio is formed there any more.
    Killed {
        /// The device.
        node: u8,
    },
    /// A unit of a device accessed a page, if accesses are recorded. Accesses that one unit makes in a row to one page, in
    /// one way, are one event.
    Access {
        /// The page.
        address: u64,
        /// The unit, counted over all devices.
        unit: u32,
        /// Whether it was written.
        write: bool,
    },
    /// A device may use pages of system memory where they are, without a move.
    Remote {
        /// First page.
        address: u64,
        /// How many pages: a run of this order.
        order: u8,
        /// The device.
        node: u8,
        /// How many accesses each page is good for, before the next one is a fault.
        uses: u32,
    },
    /// A thread has read so many messages of the kernel at once, more than one: faults of the CPU, and seldom what the program
    /// did to its mappings. They are answered one by one.
    Batch {
        /// How many.
        messages: u32,
    },
    /// The program forks: the child gets a copy of these pages from the store, while nothing leaves it.
    Forked {
        /// How many pages.
        pages: u64,
    },
    /// Where the program was as it touched a page: told before the fault is answered, by the thread that answers it.
    FaultPc {
        /// The page.
        address: u64,
        /// Address of the instruction.
        pc: u64,
    },
    /// A caller on the stack of an allocation that is told next, the innermost first.
    Frame {
        /// An address within the call.
        pc: u64,
    },
    /// The program mapped memory, by the `frames` callers that were told just before by the same thread.
    Allocated {
        /// First page.
        address: u64,
        /// Number of pages.
        pages: u32,
        /// Number of callers.
        frames: u32,
    },
    /// A step of a story that breaks a rule, of `bifolio check`: which of all that could be done then.
    Step {
        /// Its place in the design's list.
        choice: u32,
    },
    /// The step before broke a rule.
    Broken {
        /// The number of the rule: 4 for I4.
        rule: u8,
    },
    /// Pages that have just been mapped hold bytes already, in system memory.
    Filled {
        /// First page.
        address: u64,
        /// Number of pages.
        pages: u32,
    },
}

/// What came of a fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// A folio was moved.
    Moved,
    /// Zeros were installed.
    Populated,
    /// The page was there already: another fault was answered first, or only a mapping was missing.
    AlreadyThere,
    /// It could not be answered.
    Failed,
}

/// What answering a device's fault took.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Served {
    /// Order of the folio that holds the page now.
    pub order: u8,
    /// Bytes that were copied to the device.
    pub bytes_in: u64,
    /// Bytes that were copied from it, to make room.
    pub bytes_out: u64,
    /// Folios that were evicted.
    pub evicted: u64,
}

/// Why a folio moved.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// A fault of the CPU.
    CpuFault,
    /// A fault of a device.
    DeviceFault,
    /// A prefetch.
    Prefetch,
    /// An unmapping.
    Unmap,
    /// A split or a collapse that was asked for, or a change of rights.
    Reshape,
    /// A pin.
    Pin,
    /// Making room on a device.
    Eviction,
    /// Making room in system memory.
    Reclaim,
    /// Taking a device away.
    Detach,
    /// A reason that this version does not know.
    Other,
    /// What a policy brings beside the page of a fault.
    Ahead,
}

impl Kind {
    /// The address that it is about, if it is about one.
    #[must_use]
    pub fn address(&self) -> Option<u64> {
        let mut copy = *self;
        copy.address_mut().copied()
    }

    /// The address of code that it tells, if it tells one.
    #[must_use]
    pub fn pc(&self) -> Option<u64> {
        match *self {
            Kind::FaultPc { pc, .. } | Kind::Frame { pc } => Some(pc),
            _ => None,
        }
    }

    /// The same event with its address counted from `base`, so that it does not depend on where memory lies.
    #[must_use]
    pub fn relative_to(mut self, base: u64) -> Kind {
        if let Some(address) = self.address_mut() {
            *address = address.wrapping_sub(base);
        }
        self
    }

    /// The event as it is in a trace, save that its address is whole.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        postcard::to_stdvec(self).expect("an event is plain data")
    }

    /// The same, to be changed.
    pub(crate) fn address_mut(&mut self) -> Option<&mut u64> {
        match self {
            Kind::Mapped { address, .. }
            | Kind::CpuFault { address, .. }
            | Kind::DeviceFault { address, .. }
            | Kind::ToDevice { address, .. }
            | Kind::ToRam { address, .. }
            | Kind::Populated { address, .. }
            | Kind::Unmapped { address, .. }
            | Kind::Used { address, .. }
            | Kind::Evicted { address, .. }
            | Kind::Reclaimed { address, .. }
            | Kind::Reshaped { address, .. }
            | Kind::Poisoned { address }
            | Kind::Access { address, .. }
            | Kind::Remote { address, .. }
            | Kind::FaultPc { address, .. }
            | Kind::Filled { address, .. }
            | Kind::Allocated { address, .. } => Some(address),
            Kind::Copied { .. }
            | Kind::Busy
            | Kind::BeyondLimit { .. }
            | Kind::BufferEvicted { .. }
            | Kind::BufferReturned { .. }
            | Kind::BufferCopied { .. }
            | Kind::Killed { .. }
            | Kind::Batch { .. }
            | Kind::Forked { .. }
            | Kind::Frame { .. }
            | Kind::Step { .. }
            | Kind::Broken { .. } => None,
        }
    }
}
