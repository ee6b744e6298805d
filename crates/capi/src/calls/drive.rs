//! Section 3: what drives a space.

use std::ffi::c_int;
use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::abi::{
    BF_E_THREAD, BF_EMPTY, BF_OK, BF_SPACE_NO_THREADS, BF_SPACE_VIRTUAL_TIME, bf_space, bf_status,
};
use crate::edge::{call, write_out};
use crate::space::{SPACES, SpaceState};
use crate::status::Error;

fn served_by_caller(state: &SpaceState) -> Result<(), Error> {
    if state.has(BF_SPACE_NO_THREADS) {
        return Ok(());
    }
    Err(Error::argument("the space answers faults by threads of its own: open it with BF_SPACE_NO_THREADS"))
}

#[unsafe(no_mangle)]
pub extern "C" fn bf_serve(space: bf_space, timeout_ns: u64, most: u32) -> bf_status {
    call(|| {
        let state = SPACES.get(space.id)?;
        served_by_caller(&state)?;
        let most = usize::try_from(most).expect("32 bits").max(1);
        let served = state.space.serve(Duration::from_nanos(timeout_ns), most);
        let answered = served.map_err(|why| Error::of(BF_E_THREAD, &why))?;
        Ok(if answered > 0 { BF_OK } else { BF_EMPTY })
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn bf_serve_fd(space: bf_space, out: *mut c_int) -> bf_status {
    call(|| {
        let state = SPACES.get(space.id)?;
        served_by_caller(&state)?;
        // SAFETY: the caller's, or null.
        unsafe { write_out(out, state.space.fault_fd().as_raw_fd()) }?;
        Ok(BF_OK)
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn bf_advance(space: bf_space, now_ps: u64) -> bf_status {
    call(|| {
        let state = SPACES.get(space.id)?;
        if !state.has(BF_SPACE_VIRTUAL_TIME) {
            return Err(Error::argument("the space has real time: open it with BF_SPACE_VIRTUAL_TIME"));
        }
        let before = state.now_ps.fetch_max(now_ps, Ordering::Relaxed);
        if before > now_ps {
            return Err(Error::argument(format!("model time goes on: it is {before} ps, not {now_ps}")));
        }
        Ok(BF_OK)
    })
}
