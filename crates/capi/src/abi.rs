//! The types of `bifolio.h`, as C lays them out.
#![allow(non_camel_case_types, missing_docs, reason = "named and described in bifolio.h")]

use std::ffi::{c_int, c_void};

pub const BF_ABI: u32 = 0;

macro_rules! handles {
    ($($name:ident),*) => {$(
        #[repr(C)]
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub struct $name {
            pub id: u64,
        }
    )*};
}

handles!(bf_space, bf_device, bf_port);

pub type bf_status = i32;

pub const BF_OK: bf_status = 0;
pub const BF_FAULT: bf_status = 1;
pub const BF_EMPTY: bf_status = 2;
pub const BF_E_HANDLE: bf_status = -1;
pub const BF_E_ARGUMENT: bf_status = -2;
pub const BF_E_RANGE: bf_status = -3;
pub const BF_E_MEMORY: bf_status = -4;
pub const BF_E_BUSY: bf_status = -5;
pub const BF_E_PINNED: bf_status = -6;
pub const BF_E_DENIED: bf_status = -7;
pub const BF_E_DETACHED: bf_status = -8;
pub const BF_E_LOST: bf_status = -9;
pub const BF_E_GRANT: bf_status = -10;
pub const BF_E_ABI: bf_status = -11;
pub const BF_E_THREAD: bf_status = -12;
pub const BF_E_INTERNAL: bf_status = -127;

pub const BF_READ: u32 = 1;
pub const BF_WRITE: u32 = 2;
pub const BF_ATOMIC: u32 = 4;

pub const BF_SPACE_NO_THREADS: u32 = 1;
pub const BF_SPACE_CHECKED: u32 = 2;
pub const BF_SPACE_VIRTUAL_TIME: u32 = 4;
pub const BF_SPACE_TOUCHER: u32 = 8;

pub const BF_ADVISE_PREFER: c_int = 0;
pub const BF_ADVISE_NORMAL: c_int = 4;
pub const BF_ADVISE_SEQUENTIAL: c_int = 5;
pub const BF_ADVISE_RANDOM: c_int = 6;

pub const BF_DEVICE_HOSTED: u32 = 0;
pub const BF_DEVICE_FOREIGN: u32 = 1;

pub const BF_PORT_CACHES: u32 = 1;

pub const BF_EV_FAULT: u32 = 0;
pub const BF_EV_INVALIDATE: u32 = 1;
pub const BF_EV_LOST: u32 = 2;
pub const BF_EV_DETACH: u32 = 3;

/// A structure that begins with its size.
///
/// # Safety
///
/// `repr(C)`, a `u32` size first, and every pattern of bits is a value.
pub unsafe trait Sized32: Copy {
    /// All zero.
    const ZERO: Self;
}

macro_rules! structs {
    ($($name:ident { $($field:ident: $type:ty),* $(,)? })*) => {$(
        #[repr(C)]
        #[derive(Clone, Copy, Debug)]
        pub struct $name {
            $(pub $field: $type),*
        }

        // SAFETY: integers, raw pointers and optional function pointers only; the size is first in each.
        unsafe impl Sized32 for $name {
            const ZERO: Self = $name { $($field: Zero::ZERO),* };
        }
    )*};
}

/// Fields of these structures.
trait Zero {
    const ZERO: Self;
}

macro_rules! zeros {
    ($($type:ty),*) => {$(
        impl Zero for $type {
            const ZERO: Self = 0;
        }
    )*};
}

zeros!(u32, u64, i32);

impl<T> Zero for *mut T {
    const ZERO: Self = std::ptr::null_mut();
}

impl<T> Zero for *const T {
    const ZERO: Self = std::ptr::null();
}

impl<T> Zero for Option<T> {
    const ZERO: Self = None;
}

structs! {
    bf_grants { size: u32, full_faults: u32, r#move: u32, thread_id: u32 }
    bf_space_config { size: u32, flags: u32, bytes: u64, ram_limit: u64 }
    bf_where { size: u32, order: u32, va: u64, bytes: u64, device: u64, dirty: u32, pins: u32 }
    bf_stats {
        size: u32, _0: u32, cpu_faults: u64, device_faults: u64, to_device_bytes: u64, to_ram_bytes: u64,
        evictions: u64, splits: u64, fallbacks: u64, busy: u64, failures: u64, violations: u64,
        invalidations: u64, late_acks: u64,
    }
    bf_device_ops {
        size: u32, _0: u32,
        copy_in: Option<unsafe extern "C" fn(*mut c_void, u64, *const c_void, usize) -> bf_status>,
        copy_out: Option<unsafe extern "C" fn(*mut c_void, u64, *mut c_void, usize) -> bf_status>,
        clear: Option<unsafe extern "C" fn(*mut c_void, u64, usize) -> bf_status>,
        update: Option<unsafe extern "C" fn(*mut c_void, *const bf_map, usize) -> bf_status>,
        used: Option<unsafe extern "C" fn(*mut c_void, u64, u32) -> u32>,
    }
    bf_device_config {
        size: u32, kind: u32, vram: u64, smallest_order: u32, access: u32,
        link_latency_ps: u64, link_ps_per_kib: u64, ack_limit_ns: u64,
        ops: *const bf_device_ops, user: *mut c_void,
    }
    bf_port_config { size: u32, flags: u32, unit: u32, queue: u32 }
    bf_translation {
        size: u32, access: u32, host: *mut c_void, va: u64, bytes: u64, pfn: u64, epoch: u64,
    }
    bf_fault { size: u32, access: u32, va: u64, bytes: u64, tag: u64, pasid: u64 }
    bf_event {
        size: u32, kind: u32, tag: u64, seq: u64, va: u64, bytes: u64, due_ps: u64, moved_in: u64,
        moved_out: u64, result: bf_status, forced: u32,
    }
}

/// One entry of a page table. Access 0: unmap.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct bf_map {
    pub va: u64,
    pub pfn: u64,
    pub order: u32,
    pub access: u32,
}
