//! Where the 512 pages of one block are.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bifolio_folio::{MemoryKind, Pfn};

use crate::{AlignedRun, Folio, FolioId, PageRun, PageSet};

/// A folio of device memory that holds part of a block.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Piece {
    /// The pages it holds; its order is the folio's.
    pub span: AlignedRun,
    /// Device page of the first page.
    pub pfn: Pfn,
    /// Key of the folio.
    pub id: FolioId,
    /// Whether the device's page table has it.
    pub mapped: bool,
}

impl Piece {
    /// The folio as the runner knows it.
    #[must_use]
    pub fn folio(&self) -> Folio {
        Folio { pfn: self.pfn, order: self.span.order(), id: self.id }
    }
}

/// Pages on the device, or pinned, which cannot be released.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InUse;

/// Where the pages of one block are. Changed by transactions only.
///
/// Each live page is *empty* (never touched: reads as zero), in *ram*, or in exactly one piece on the device.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Block {
    kind: MemoryKind,
    live: PageSet,
    ram: PageSet,
    device: PageSet,
    pieces: Vec<Piece>,
    /// How often each pinned page is pinned: never zero.
    pins: BTreeMap<u16, u64>,
}

impl Block {
    /// Makes a block of no live pages. `kind` tells whether the CPU maps device memory directly.
    #[must_use]
    pub fn new(kind: MemoryKind) -> Block {
        let none = PageSet::EMPTY;
        Block { kind, live: none, ram: none, device: none, pieces: Vec::new(), pins: BTreeMap::new() }
    }

    /// Whether the CPU maps device memory directly.
    #[must_use]
    pub fn kind(&self) -> MemoryKind {
        self.kind
    }

    /// Pages that belong to an allocation.
    #[must_use]
    pub fn live(&self) -> &PageSet {
        &self.live
    }

    /// Pages whose bytes are in system memory.
    #[must_use]
    pub fn ram(&self) -> &PageSet {
        &self.ram
    }

    /// Pages whose bytes are on the device.
    #[must_use]
    pub fn device(&self) -> &PageSet {
        &self.device
    }

    /// Folios on the device, by their first page.
    #[must_use]
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// The piece that holds `page`.
    #[must_use]
    pub fn piece_of(&self, page: u16) -> Option<&Piece> {
        let after = self.pieces.partition_point(|piece| piece.span.first() <= page);
        self.pieces[..after].last().filter(|piece| piece.span.contains(page))
    }

    /// The first piece that holds any page of `run`.
    #[must_use]
    pub fn first_piece_in(&self, run: impl Into<PageRun>) -> Option<&Piece> {
        self.pieces_in(run).next()
    }

    /// Yields the pieces that hold any page of `run`, in order.
    pub fn pieces_in(&self, run: impl Into<PageRun>) -> impl Iterator<Item = &Piece> {
        let run = run.into();
        let at = self.pieces.partition_point(|piece| piece.span.end() <= run.first());
        self.pieces[at..].iter().take_while(move |piece| piece.span.first() < run.end())
    }

    /// Makes pages live and empty, as an allocation that begins.
    ///
    /// # Panics
    /// If any of them is live already.
    pub fn map(&mut self, run: PageRun) {
        assert!(!self.live.intersects(run), "pages {run:?} are mapped twice");
        self.live.insert(run);
    }

    /// Makes pages live whose bytes are in system memory already, as memory that is adopted.
    ///
    /// # Panics
    /// If any of them is live already.
    pub fn adopt(&mut self, run: PageRun) {
        self.map(run);
        self.ram.insert(run);
    }

    /// Makes pages no longer live, whose bytes stay where they are, as memory that is given back to the kernel.
    ///
    /// # Errors
    /// If any of them is on the device or pinned; nothing changes.
    pub fn release(&mut self, run: PageRun) -> Result<(), InUse> {
        if self.device.intersects(run) || self.is_pinned(run) {
            return Err(InUse);
        }
        self.ram.remove(run);
        self.live.remove(run);
        Ok(())
    }

    /// Whether all pages of `span` are live and none was ever touched.
    #[must_use]
    pub fn is_empty(&self, span: AlignedRun) -> bool {
        self.is_off_device(span) && !self.ram.intersects(span)
    }

    /// Whether all pages of `span` are live and none is on the device.
    #[must_use]
    pub fn is_off_device(&self, span: AlignedRun) -> bool {
        self.live.contains_all(span) && !self.device.intersects(span)
    }

    /// Whether any page of `run` is pinned.
    #[must_use]
    pub fn is_pinned(&self, run: impl Into<PageRun>) -> bool {
        let run = run.into();
        self.pins.range(run.first()..run.end()).next().is_some()
    }

    /// Pages in system memory that may go to the device.
    #[must_use]
    pub fn movable(&self) -> PageSet {
        let mut movable = self.ram;
        self.pins.keys().for_each(|page| movable.remove(PageRun::single(*page)));
        movable
    }

    /// Keeps pages in system memory until they are unpinned as often as they were pinned.
    ///
    /// # Panics
    /// If any of them is not in system memory.
    pub fn pin(&mut self, run: PageRun) {
        assert!(self.ram.contains_all(run), "pages {run:?} are pinned and not all in system memory");
        for page in run {
            *self.pins.entry(page).or_default() += 1;
        }
    }

    /// Takes back one [`Block::pin`] of each page.
    ///
    /// # Panics
    /// If any of them is not pinned.
    pub fn unpin(&mut self, run: PageRun) {
        for page in run {
            let pins = self.pins.get_mut(&page).expect("pages are unpinned as often as they were pinned");
            *pins -= 1;
            if *pins == 0 {
                self.pins.remove(&page);
            }
        }
    }

    pub(crate) fn commit_to_device(&mut self, piece: Piece) {
        let run = piece.span;
        debug_assert!(!self.device.intersects(run), "two folios hold {run:?}");
        self.ram.remove(run);
        self.device.insert(run);
        let at = self.pieces.partition_point(|other| other.span.first() < piece.span.first());
        self.pieces.insert(at, piece);
    }

    pub(crate) fn commit_to_ram(&mut self, span: AlignedRun) {
        self.remove_piece(span);
        self.ram.insert(span);
    }

    pub(crate) fn remove_piece(&mut self, span: AlignedRun) {
        let at = self.index_of(span);
        self.pieces.remove(at);
        self.device.remove(span);
    }

    pub(crate) fn commit_populated(&mut self, span: AlignedRun) {
        self.ram.insert(span);
    }

    pub(crate) fn commit_discarded(&mut self, run: PageRun) {
        self.ram.remove(run);
    }

    pub(crate) fn commit_unmapped(&mut self, run: PageRun) {
        debug_assert!(!self.device.intersects(run), "unmapped pages {run:?} are still on the device");
        self.live.remove(run);
    }

    pub(crate) fn set_mapped(&mut self, span: AlignedRun, mapped: bool) {
        let at = self.index_of(span);
        self.pieces[at].mapped = mapped;
    }

    /// Replaces a piece by its two halves after the folio was split.
    pub(crate) fn split_piece(&mut self, span: AlignedRun, upper_id: FolioId) {
        let at = self.index_of(span);
        let whole = self.pieces[at];
        let (lower, upper) = span.halves(span.first()).expect("only folios of order 1 and more are split");
        let upper_pfn = Pfn::new(whole.pfn.get() + u64::from(lower.pages()));
        self.pieces[at] = Piece { span: lower, ..whole };
        self.pieces.insert(at + 1, Piece { span: upper, pfn: upper_pfn, id: upper_id, ..whole });
    }

    /// Replaces the two halves of `span` by one piece after their folios were collapsed.
    pub(crate) fn join_pieces(&mut self, span: AlignedRun) {
        let (lower, upper) = span.halves(span.first()).expect("only halves are joined");
        let (at, above) = (self.index_of(lower), self.index_of(upper));
        let upper = self.pieces.remove(above);
        let lower = self.pieces[at];
        debug_assert_eq!(lower.mapped, upper.mapped, "halves of {span:?} of which one is mapped");
        self.pieces[at] = Piece { span, ..lower };
    }

    fn index_of(&self, span: AlignedRun) -> usize {
        self.pieces
            .binary_search_by_key(&span.first(), |piece| piece.span.first())
            .ok()
            .filter(|&at| self.pieces[at].span == span)
            .expect("transactions only name pieces that are there")
    }

    /// Walks everything and says what does not fit together, if anything.
    ///
    /// # Errors
    /// The first contradiction found, in words.
    pub fn check_consistency(&self) -> Result<(), &'static str> {
        let all = PageRun::BLOCK;
        let mut device = PageSet::EMPTY;
        for piece in &self.pieces {
            if device.intersects(piece.span) {
                return Err("two pieces hold one page");
            }
            if !piece.pfn.is_aligned(piece.span.order()) {
                return Err("a piece's folio is not aligned to its order");
            }
            device.insert(piece.span);
        }
        if device != self.device {
            return Err("the pages on the device are not those of the pieces");
        }
        if self.ram.runs(all).chain(device.runs(all)).any(|run| !self.live.contains_all(run)) {
            return Err("a page that is not live has bytes");
        }
        if self.ram.runs(all).any(|run| device.intersects(run)) {
            return Err("a page is in system memory and on the device at once");
        }
        if self.pins.keys().any(|page| !self.ram.contains(*page)) {
            return Err("a pinned page is not in system memory");
        }
        Ok(())
    }
}
