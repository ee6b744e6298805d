//! The allocators under comparison behind one trait.

use bifolio_buddy::Buddy;
use bifolio_buddy_cases::Allocator;
use buddy_system_allocator::FrameAllocator;
use std::ops::Range;

/// This project's allocator, merging at every free.
pub struct Eager(Buddy);

impl Allocator for Eager {
    type Handle = u64;
    fn with_pages(pages: u64, live: u32) -> Self {
        let mut buddy = Buddy::with_pages(pages, live);
        buddy.set_merge_delay(0);
        Self(buddy)
    }
    fn allocate(&mut self, order: u32) -> Option<u64> {
        Allocator::allocate(&mut self.0, order)
    }
    fn free(&mut self, page: u64, order: u32) {
        Allocator::free(&mut self.0, page, order);
    }
}

/// `offset-allocator`; it does not align.
pub struct Offset(offset_allocator::Allocator);

impl Allocator for Offset {
    type Handle = offset_allocator::Allocation;
    fn with_pages(pages: u64, live: u32) -> Self {
        let pages = u32::try_from(pages).expect("32-bit offsets");
        Self(offset_allocator::Allocator::with_max_allocs(pages, live * 4))
    }
    fn allocate(&mut self, order: u32) -> Option<Self::Handle> {
        self.0.allocate(1 << order)
    }
    fn free(&mut self, handle: Self::Handle, _order: u32) {
        self.0.free(handle);
    }
}

/// `buddy_system_allocator`; it aligns, and trusts the caller on free.
pub struct Frames(FrameAllocator<33>);

impl Allocator for Frames {
    type Handle = usize;
    fn with_pages(pages: u64, _live: u32) -> Self {
        let mut frames = FrameAllocator::new();
        frames.add_frame(0, usize::try_from(pages).expect("64-bit machine"));
        Self(frames)
    }
    fn allocate(&mut self, order: u32) -> Option<usize> {
        self.0.alloc(1 << order)
    }
    fn free(&mut self, start: usize, order: u32) {
        self.0.dealloc(start, 1 << order);
    }
}

/// `range-alloc`, without alignment.
pub struct RangeAlloc(range_alloc::RangeAllocator<u32>);

impl Allocator for RangeAlloc {
    type Handle = Range<u32>;
    fn with_pages(pages: u64, _live: u32) -> Self {
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

    impl super::Allocator for VirtualBlock {
        type Handle = VirtualAllocation;
        fn with_pages(pages: u64, _live: u32) -> Self {
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
