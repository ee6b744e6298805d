//! The allocators under comparison behind one trait.

use buddy_system_allocator::FrameAllocator;
use std::ops::Range;

/// An allocator of pages in units of `2^order`.
pub trait Rival {
    /// What names an allocation when it is freed.
    type Handle;
    /// An allocator of `pages` free pages, fit for at least `live` allocations.
    fn new(pages: u64, live: u32) -> Self;
    /// Allocates `2^order` pages.
    fn allocate(&mut self, order: u32) -> Option<Self::Handle>;
    /// Frees an allocation.
    fn free(&mut self, handle: Self::Handle, order: u32);
}

/// This project's allocator.
pub struct Ours(bifolio_buddy::Buddy);

impl Rival for Ours {
    type Handle = u64;
    fn new(pages: u64, _live: u32) -> Self {
        Self(bifolio_buddy::Buddy::new(pages).expect("valid size"))
    }
    fn allocate(&mut self, order: u32) -> Option<u64> {
        self.0.allocate(order).ok()
    }
    fn free(&mut self, page: u64, order: u32) {
        self.0.free(page, order).expect("allocated before");
    }
}

/// This project's allocator, merging at every free.
pub struct Eager(Ours);

impl Rival for Eager {
    type Handle = u64;
    fn new(pages: u64, live: u32) -> Self {
        let mut ours = Ours::new(pages, live);
        ours.0.set_merge_delay(0);
        Self(ours)
    }
    fn allocate(&mut self, order: u32) -> Option<u64> {
        self.0.allocate(order)
    }
    fn free(&mut self, page: u64, order: u32) {
        self.0.free(page, order);
    }
}

/// `offset-allocator`; it does not align.
pub type Offset = offset_allocator::Allocator;

impl Rival for Offset {
    type Handle = offset_allocator::Allocation;
    fn new(pages: u64, live: u32) -> Self {
        Self::with_max_allocs(u32::try_from(pages).expect("32-bit offsets"), live * 4)
    }
    fn allocate(&mut self, order: u32) -> Option<Self::Handle> {
        self.allocate(1 << order)
    }
    fn free(&mut self, handle: Self::Handle, _order: u32) {
        self.free(handle);
    }
}

/// `buddy_system_allocator`; it aligns, and trusts the caller on free.
pub type Frames = FrameAllocator<33>;

impl Rival for Frames {
    type Handle = usize;
    fn new(pages: u64, _live: u32) -> Self {
        let mut frames = Self::new();
        frames.add_frame(0, usize::try_from(pages).expect("64-bit machine"));
        frames
    }
    fn allocate(&mut self, order: u32) -> Option<usize> {
        self.alloc(1 << order)
    }
    fn free(&mut self, start: usize, order: u32) {
        self.dealloc(start, 1 << order);
    }
}

/// `range-alloc`, without alignment.
pub struct RangeAlloc(range_alloc::RangeAllocator<u32>);

impl Rival for RangeAlloc {
    type Handle = Range<u32>;
    fn new(pages: u64, _live: u32) -> Self {
        Self(range_alloc::RangeAllocator::new(0..u32::try_from(pages).expect("32-bit offsets")))
    }
    fn allocate(&mut self, order: u32) -> Option<Range<u32>> {
        self.0.allocate_range(1 << order).ok()
    }
    fn free(&mut self, range: Range<u32>, _order: u32) {
        self.0.free_range(range);
    }
}

#[cfg(feature = "vk-mem")]
pub use virtual_block::VirtualBlock;

#[cfg(feature = "vk-mem")]
mod virtual_block {
    use vk_mem::{VirtualAllocation, VirtualAllocationCreateFlags, VirtualAllocationCreateInfo};
    use vk_mem::{VirtualBlockCreateFlags, VirtualBlockCreateInfo};

    /// The `VirtualBlock` of the Vulkan Memory Allocator, aligned to the size.
    pub struct VirtualBlock(vk_mem::VirtualBlock);

    impl super::Rival for VirtualBlock {
        type Handle = VirtualAllocation;
        fn new(pages: u64, _live: u32) -> Self {
            let flags = VirtualBlockCreateFlags::empty();
            let info = VirtualBlockCreateInfo { size: pages, flags, allocation_callbacks: None };
            Self(vk_mem::VirtualBlock::new(info).expect("valid size"))
        }
        fn allocate(&mut self, order: u32) -> Option<VirtualAllocation> {
            let flags = VirtualAllocationCreateFlags::empty();
            let info =
                VirtualAllocationCreateInfo { size: 1 << order, alignment: 1 << order, user_data: 0, flags };
            // SAFETY: size and alignment are powers of two above 0.
            unsafe { self.0.allocate(info) }.ok().map(|(handle, _)| handle)
        }
        fn free(&mut self, mut handle: VirtualAllocation, _order: u32) {
            // SAFETY: the handle comes from this block and is given up here.
            unsafe { self.0.free(&mut handle) }
        }
    }

    impl Drop for VirtualBlock {
        fn drop(&mut self) {
            // SAFETY: no handle is used after this.
            unsafe { self.0.clear() }
        }
    }
}
