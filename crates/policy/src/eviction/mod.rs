//! Which object leaves a memory next: [`Eviction`], and seven implementations.
//!
//! | name | the next victim |
//! |---|---|
//! | [`lru`] | the object that was used longest ago |
//! | [`fifo`] | the object that came first |
//! | [`clock`] | as `fifo`, but a used object goes round once more |
//! | [`refault`] | as `fifo`, but pages that came back soon after they had left stay for a time |
//! | [`sieve`] | as `clock`, but used objects stay where they are and the hand passes over them |
//! | [`s3fifo`] | new objects pass a small queue first; only what is used there again enters the large one |
//! | [`clockpro`] | the object whose uses are furthest apart, as far as bits tell |
//!
//! An order of use never sees single accesses. It hears of what the engine does ([`Eviction::insert`],
//! [`Eviction::touch`], [`Eviction::remove`]), and asks whether an object was used when that object's turn comes, since a
//! device remembers no more than one bit for a page.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use bifolio_folio::PageSet;

pub mod clock;
pub mod clockpro;
pub mod fifo;
mod ghost;
pub mod lru;
mod name;
mod queue;
pub mod refault;
pub mod s3fifo;
pub mod sieve;

pub use name::{EvictionName, UnknownEviction};

/// Number of an object in its memory. Numbers are small, and used again after the object has left.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ObjectId(pub u32);

impl ObjectId {
    fn index(self) -> usize {
        self.0 as usize
    }
}

/// What an order of use knows of an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Object {
    /// What it holds, for policies that remember what they evicted: an object that comes back has the same name. The
    /// engine uses the number of the first page of the address space that it holds.
    pub name: u64,
    /// Its size, in pages.
    pub pages: u32,
}

/// Why an object leaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Removal {
    /// To make room.
    Evicted,
    /// For another reason: its memory was freed, or the other side touched it.
    Left,
}

/// Chooses the victims of one memory. Every call is short: it is made under the lock of the memory's order of use.
pub trait Eviction: Send + fmt::Debug {
    /// An object came.
    ///
    /// # Panics
    /// May panic if there is an object of this number already.
    fn insert(&mut self, id: ObjectId, object: Object);

    /// An object was used.
    ///
    /// # Panics
    /// May panic if there is no such object.
    fn touch(&mut self, id: ObjectId);

    /// An object leaves.
    ///
    /// # Panics
    /// May panic if there is no such object.
    fn remove(&mut self, id: ObjectId, why: Removal);

    /// What was inserted so far was there before, and another order said so far what leaves: first what was inserted first.
    fn take_over(&mut self) {}

    /// Adds the next `count` victims to `victims`, the first one first, or fewer if there are not so many objects. They
    /// stay where they are until they are removed.
    ///
    /// `was_used` tells whether an object was used since this was last asked for it, and forgets it. An object that was
    /// used counts as touched. The caller makes sure that it does not answer `true` for ever.
    fn victims(
        &mut self,
        count: usize,
        was_used: &mut dyn FnMut(ObjectId) -> bool,
        victims: &mut Vec<ObjectId>,
    );

    /// Pages came, counted from address 0, because of a touch of one of them or beside them; without one they were brought ahead of a
    /// walk, or advice asked for them. Only told where objects are memory of which parts come and leave, as under `bifolio run`.
    fn pages_came(&mut self, first: u64, count: u32, touched: Option<u64>) {
        let _ = (first, count, touched);
    }

    /// Pages left, counted from the page `first`, all within one block, to make room. Told where [`Eviction::pages_came`] is.
    fn pages_left(&mut self, first: u64, pages: &PageSet) {
        let _ = (first, pages);
    }

    /// The pages that stay of an object, whose turn to leave it is, of those that are `there`, counted from the page `first`, all within
    /// one block. If any do, the object is inserted again. Asked where [`Eviction::pages_came`] is told. If it is asked often enough for
    /// every object, it answers that something leaves.
    fn stay(&mut self, first: u64, there: &PageSet) -> PageSet {
        let _ = (first, there);
        PageSet::EMPTY
    }
}

impl Eviction for Box<dyn Eviction> {
    fn insert(&mut self, id: ObjectId, object: Object) {
        (**self).insert(id, object);
    }

    fn touch(&mut self, id: ObjectId) {
        (**self).touch(id);
    }

    fn remove(&mut self, id: ObjectId, why: Removal) {
        (**self).remove(id, why);
    }

    fn take_over(&mut self) {
        (**self).take_over();
    }

    fn victims(
        &mut self,
        count: usize,
        was_used: &mut dyn FnMut(ObjectId) -> bool,
        victims: &mut Vec<ObjectId>,
    ) {
        (**self).victims(count, was_used, victims);
    }

    fn pages_came(&mut self, first: u64, count: u32, touched: Option<u64>) {
        (**self).pages_came(first, count, touched);
    }

    fn pages_left(&mut self, first: u64, pages: &PageSet) {
        (**self).pages_left(first, pages);
    }

    fn stay(&mut self, first: u64, there: &PageSet) -> PageSet {
        (**self).stay(first, there)
    }
}
