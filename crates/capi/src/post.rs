//! The thread that answers posted faults where time is real.

use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use bifolio_host::device::DeviceRequest;

use crate::abi::{BF_E_MEMORY, BF_EV_FAULT, BF_OK, Sized32, bf_event, bf_fault};
use crate::device::DeviceState;
use crate::event::EventQueue;
use crate::status::Error;

/// A fault that was posted.
pub struct Posted {
    pub device: Arc<DeviceState>,
    pub queue: Arc<EventQueue>,
    pub request: DeviceRequest,
    pub fault: bf_fault,
}

impl Posted {
    /// Answers it, and makes the event of that.
    pub fn answer(&self) -> bf_event {
        let event = bf_event {
            kind: BF_EV_FAULT,
            tag: self.fault.tag,
            va: self.fault.va,
            bytes: self.fault.bytes,
            ..bf_event::ZERO
        };
        match self.device.resolve(&self.request) {
            Ok(served) => {
                let (moved_in, moved_out) = (served.moved_in, served.moved_out);
                bf_event { moved_in, moved_out, result: BF_OK, ..event }
            }
            Err(fault) => bf_event { result: Error::from(fault).code, ..event },
        }
    }
}

/// The thread, until dropped.
pub struct Poster {
    sender: Option<Sender<Posted>>,
    thread: Option<JoinHandle<()>>,
}

impl Poster {
    pub fn start() -> Result<Poster, Error> {
        let (sender, receiver) = channel::<Posted>();
        let work = move || {
            // Signals are for the program's own threads; if that is refused, they may come here, no more.
            let _: Result<(), _> = bifolio_sys::process::block_all_signals_in_this_thread();
            receiver.into_iter().for_each(|posted| posted.queue.push(posted.answer()));
        };
        let thread = std::thread::Builder::new().name("bifolio-posted".to_owned()).spawn(work);
        let thread = thread.map_err(|why| Error::of(BF_E_MEMORY, &why))?;
        Ok(Poster { sender: Some(sender), thread: Some(thread) })
    }

    pub fn post(&self, posted: Posted) {
        let sender = self.sender.as_ref().expect("there until dropped");
        sender.send(posted).expect("the thread lives as long as the sender");
    }
}

impl Drop for Poster {
    fn drop(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            // It ends when it has answered what was posted.
            let _: Result<(), _> = thread.join();
        }
    }
}
