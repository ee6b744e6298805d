//! Memory of the program that joins a space, and is given back.

use std::ops::Range;

use bifolio_engine::Residence;
use bifolio_engine::blocks::{BLOCK_LEN, RegionError};
use bifolio_sys::{AddressRange, PAGE, USER_SPACE};

use crate::space::Space;
pub use crate::views::AdoptError;

/// The blocks that pages lie in.
fn blocks_of(span: AddressRange) -> Range<usize> {
    span.start() & !(BLOCK_LEN - 1)..span.end().next_multiple_of(BLOCK_LEN)
}

impl<D: ?Sized> Space<D> {
    /// Takes private anonymous memory of the program into the space, where it lies and with its bytes: from here on it is used,
    /// moved and freed for devices like what [`Space::allocate`] returned. The space must have been made with
    /// [`SpaceConfig::program`](crate::SpaceConfig::program), and needs addresses of its own for as many blocks of 2 MiB.
    ///
    /// Other threads may use the memory meanwhile; those that write wait. Until [`Space::release`] the program must not
    /// unmap, remap or advise it, and a forked child does not have it.
    ///
    /// # Errors
    /// See [`AdoptError`]; nothing changed.
    pub fn adopt(&self, span: AddressRange) -> Result<(), AdoptError> {
        let mut allocations = self.allocations();
        let view = self.engine.view();
        if !view.may_adopt() {
            return Err(AdoptError::NoRight);
        }
        let bytes = allocations.granule * PAGE;
        if !span.start().is_multiple_of(bytes) || !span.end().is_multiple_of(bytes) {
            return Err(AdoptError::Unaligned { span: span.start()..span.end(), bytes });
        }
        self.know_all_blocks().map_err(|why| AdoptError::Kernel { step: "blocks", why: Box::new(why) })?;
        let blocks = blocks_of(span);
        let backing = allocations.back(blocks.clone()).map_err(AdoptError::NoRoom)?;
        let offset = backing - self.addresses().start() + (span.start() - blocks.start);
        let joining = match view.join(span, offset) {
            Ok(joining) => joining,
            Err(why) => {
                allocations.end_backing(blocks, backing);
                return Err(why);
            }
        };
        let live = self.engine.adopt(span.start()..span.end(), |address| joining.has_bytes(address));
        live.expect("all blocks are known");
        view.open(span);
        Ok(())
    }

    /// Ends [`Space::adopt`] of the same memory: its bytes come home, and it is private memory of the program again.
    ///
    /// # Errors
    /// [`AdoptError::Unknown`] if it was not adopted in one call, [`AdoptError::InUse`] if pages cannot come home or are pinned,
    /// [`AdoptError::Kernel`]. It is in the space still.
    pub fn release(&self, span: AddressRange) -> Result<(), AdoptError> {
        let mut allocations = self.allocations();
        let view = self.engine.view();
        let offset = view.offset_of_adopted(span)?;
        let addresses = span.start()..span.end();
        let pinned = self.engine.pin(addresses.clone()).map_err(AdoptError::InUse)?;
        view.close(span)?;
        // No page can leave while the range is closed.
        drop(pinned);
        let forgotten = self.engine.unmap(addresses).map_err(AdoptError::InUse);
        if let Err(why) = forgotten.and_then(|()| view.leave(span)) {
            self.take_back(span);
            return Err(why);
        }
        let blocks = blocks_of(span);
        let backing = self.addresses().start() + offset - (span.start() - blocks.start);
        allocations.end_backing(blocks, backing);
        Ok(())
    }

    /// Undoes what was done to give a range back, whose bytes are in the file still.
    fn take_back(&self, span: AddressRange) {
        for address in (span.start()..span.end()).step_by(PAGE) {
            if self.engine.residence(address) == Residence::NotMapped {
                self.engine.adopt(address..address + PAGE, |_| true).expect("its block is known");
            }
        }
        self.engine.view().open(span);
    }

    /// Lets the engine know blocks everywhere, and not only those of the space.
    fn know_all_blocks(&self) -> Result<(), RegionError> {
        let (space, blocks) = (self.addresses(), self.engine.blocks());
        for around in [0..space.start(), space.end()..USER_SPACE] {
            if !blocks.covers(&around) {
                blocks.add_region(around)?;
            }
        }
        Ok(())
    }

    /// Gives back what can be, before the space ends; the rest stays mapped, with the bytes that are at home.
    pub(super) fn release_all(&self) {
        for span in self.engine.view().adopted_ranges() {
            let _: Result<(), AdoptError> = self.release(span);
        }
    }
}

#[cfg(test)]
mod tests;
