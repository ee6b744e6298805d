//! A heap in the style of a graphics interface: buffers and images of any size in bytes, with the alignment that their
//! kind demands, some of them in the part of the memory that the host can see.
//!
//! Run with `cargo run -p bifolio-buddy --example heap`.

#![expect(clippy::print_stdout, reason = "an example shows its results")]

use bifolio_buddy::{AllocateError, Buddy, FreeError, Request};
use std::error::Error;
use std::ops::Range;

const PAGE_BYTES: u64 = 4096;

/// Where a resource may lie.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// Read by the host: within the visible part.
    Visible,
    /// Used by the device alone: from the top, to leave the visible part free.
    Local,
    /// An image that the device reads in tiles of 64 KiB.
    Tiled,
}

/// Device memory of which the host can see the beginning.
struct Heap {
    buddy: Buddy,
    visible: Range<u64>,
}

/// A piece of the heap, in bytes.
#[derive(Debug)]
struct Resource {
    bytes: Range<u64>,
    cleared: bool,
}

impl Heap {
    fn new(bytes: u64, visible_bytes: u64) -> Result<Self, Box<dyn Error>> {
        Ok(Self { buddy: Buddy::new(bytes / PAGE_BYTES)?, visible: 0..visible_bytes / PAGE_BYTES })
    }

    fn allocate(&mut self, bytes: u64, kind: Kind) -> Result<Resource, AllocateError> {
        let request = Request::pages(bytes.div_ceil(PAGE_BYTES)).contiguous();
        let request = match kind {
            Kind::Visible => request.within(self.visible.clone()),
            Kind::Local => request.top_down(),
            Kind::Tiled => request.align_order(4),
        };
        let grants = self.buddy.allocate_with(&request)?;
        let cleared = grants.iter().all(|grant| grant.cleared);
        let pages = grants[0].block.page..grants[grants.len() - 1].block.end();
        Ok(Resource { bytes: pages.start * PAGE_BYTES..pages.end * PAGE_BYTES, cleared })
    }

    fn free(&mut self, resource: &Resource) -> Result<(), FreeError> {
        self.buddy.free_range(resource.bytes.start / PAGE_BYTES..resource.bytes.end / PAGE_BYTES)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut heap = Heap::new(256 << 20, 32 << 20)?;
    let mut resources = Vec::new();
    for (name, bytes, kind) in [
        ("uniforms", 300_000, Kind::Visible),
        ("staging", 20 << 20, Kind::Visible),
        ("vertices", 5_000_000, Kind::Local),
        ("colour", 3840 * 2160 * 4, Kind::Tiled),
        ("depth", 3840 * 2160 * 2, Kind::Tiled),
        ("readback", 16 << 20, Kind::Visible),
    ] {
        match heap.allocate(bytes, kind) {
            Ok(resource) => {
                println!("{name:9} {kind:?}: {:#x?}, cleared: {}", resource.bytes, resource.cleared);
                resources.push(resource);
            }
            Err(error) => println!("{name:9} {kind:?}: {error}"),
        }
    }
    println!("{}", heap.buddy.picture(64));
    resources.iter().try_for_each(|resource| heap.free(resource))?;
    println!("{}", heap.buddy.picture(64));
    Ok(())
}
