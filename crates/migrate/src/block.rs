//! Where the 512 pages of one block are.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bifolio_folio::{MemoryKind, Pfn};

use crate::{AlignedRun, DevicePage, Folio, FolioId, Formed, NodeId, PageRun, PageSet, Rights};

/// A folio of device memory that holds part of a block.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Piece {
    /// The pages it holds; its order is the folio's.
    pub run: AlignedRun,
    /// The node whose memory it is.
    pub node: NodeId,
    /// How the CPU reaches the memory of that node.
    pub kind: MemoryKind,
    /// Device page of the first page.
    pub pfn: Pfn,
    /// Key of the folio.
    pub id: FolioId,
    /// What the device may do with it by its page table; empty if it is not there.
    pub rights: Rights,
}

impl Piece {
    /// The folio as the runner knows it.
    #[must_use]
    #[inline]
    pub fn folio(&self) -> Folio {
        Folio { node: self.node, pfn: self.pfn, order: self.run.order(), id: self.id }
    }

    /// Its first device page.
    #[must_use]
    #[inline]
    pub fn page(&self) -> DevicePage {
        DevicePage { node: self.node, pfn: self.pfn }
    }

    /// Tells whether the device's page table has it.
    #[must_use]
    #[inline]
    pub fn is_mapped(&self) -> bool {
        !self.rights.is_empty()
    }

    /// Tells whether the CPU reaches it where it is.
    #[must_use]
    #[inline]
    pub fn is_coherent(&self) -> bool {
        self.kind == MemoryKind::Coherent
    }
}

/// Pages on the device, or pinned, which cannot be released.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InUse;

/// Where the pages of one block are. Changed by transactions only.
///
/// Each live page is *empty* (never touched: reads as zero), in *ram*, or in exactly one piece on one device.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Block {
    live: PageSet,
    ram: PageSet,
    device: PageSet,
    pieces: Vec<Piece>,
    /// First pages of the pieces: how many come before a page says where in `pieces` it is.
    heads: PageSet,
    /// How often each pinned page is pinned: never zero.
    pins: BTreeMap<u16, u64>,
    /// What accesses to live pages may not do; mostly nothing is denied.
    denied: Option<Box<Denied>>,
}

/// Pages that may not be read, or not be written.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
struct Denied {
    read: PageSet,
    write: PageSet,
}

impl Block {
    /// Makes a block of no live pages.
    #[must_use]
    pub fn new() -> Block {
        Block::default()
    }

    /// Pages that belong to an allocation.
    #[must_use]
    #[inline]
    pub fn live(&self) -> &PageSet {
        &self.live
    }

    /// Pages whose bytes are in system memory.
    #[must_use]
    #[inline]
    pub fn ram(&self) -> &PageSet {
        &self.ram
    }

    /// Pages whose bytes are on a device.
    #[must_use]
    #[inline]
    pub fn device(&self) -> &PageSet {
        &self.device
    }

    /// Folios on devices, by their first page.
    #[must_use]
    #[inline]
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// Pages of `run` whose bytes are on a device where the CPU reaches them.
    #[must_use]
    pub fn coherent_in(&self, run: PageRun) -> PageSet {
        let mut pages = PageSet::EMPTY;
        for piece in self.pieces_in(run).filter(|piece| piece.is_coherent()) {
            run.intersection(piece.run).into_iter().for_each(|part| pages.insert(part));
        }
        pages
    }

    /// What accesses to `page` may do, on either side.
    #[must_use]
    pub fn rights_of(&self, page: u16) -> Rights {
        self.rights_in(PageRun::single(page))
    }

    /// What accesses may do with every page of `run`.
    #[must_use]
    pub fn rights_in(&self, run: impl Into<PageRun>) -> Rights {
        let (Some(denied), run) = (&self.denied, run.into()) else { return Rights::all() };
        let mut rights = Rights::all();
        rights.set(Rights::READ, !denied.read.intersects(run));
        rights.set(Rights::WRITE, !denied.write.intersects(run));
        rights
    }

    /// Whether accesses may do the same with every page of `run`.
    #[must_use]
    pub fn has_one_protection(&self, run: impl Into<PageRun>) -> bool {
        let (Some(denied), run) = (&self.denied, run.into()) else { return true };
        [&denied.read, &denied.write].iter().all(|set| !set.intersects(run) || set.contains_all(run))
    }

    /// The piece that holds `page`.
    #[must_use]
    #[inline]
    pub fn piece_of(&self, page: u16) -> Option<&Piece> {
        let after = self.heads_before(page + 1);
        self.pieces[..after].last().filter(|piece| piece.run.contains(page))
    }

    /// The first piece that holds any page of `run`.
    #[must_use]
    pub fn first_piece_in(&self, run: impl Into<PageRun>) -> Option<&Piece> {
        self.pieces_in(run).next()
    }

    /// Yields the pieces that hold any page of `run`, in order.
    pub fn pieces_in(&self, run: impl Into<PageRun>) -> impl Iterator<Item = &Piece> {
        let run = run.into();
        let at = self.pieces.partition_point(|piece| piece.run.end() <= run.first());
        self.pieces[at..].iter().take_while(move |piece| piece.run.first() < run.end())
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
        self.fill(run);
    }

    /// Takes live, empty pages for pages in system memory, where their bytes are already.
    ///
    /// # Panics
    /// If any of them is not live, or on a device.
    pub fn fill(&mut self, run: PageRun) {
        assert!(
            self.live.contains_all(run) && !self.device.intersects(run),
            "only empty pages can be filled"
        );
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
        self.commit_protected(run, Rights::all());
        Ok(())
    }

    /// Whether all pages of `run` are live and none was ever touched.
    #[must_use]
    #[inline]
    pub fn is_empty(&self, run: AlignedRun) -> bool {
        self.is_off_device(run) && !self.ram.intersects(run)
    }

    /// Whether all pages of `run` are live and none is on a device.
    #[must_use]
    #[inline]
    pub fn is_off_device(&self, run: AlignedRun) -> bool {
        self.live.contains_all(run) && !self.device.intersects(run)
    }

    /// Whether any page of `run` is pinned.
    #[must_use]
    #[inline]
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

    /// Makes `formed` the folio of `run`, which no page table has yet.
    pub(crate) fn commit_to_device(&mut self, run: AlignedRun, formed: Formed) {
        let Formed { folio: Folio { node, pfn, id, .. }, kind, .. } = formed;
        let piece = Piece { run, node, kind, pfn, id, rights: Rights::empty() };
        debug_assert!(!self.device.intersects(run), "two folios hold {run:?}");
        self.ram.remove(run);
        self.device.insert(run);
        self.pieces.insert(self.heads_before(run.first()), piece);
        self.heads.insert(PageRun::single(run.first()));
    }

    pub(crate) fn commit_to_ram(&mut self, run: AlignedRun) {
        self.remove_piece(run);
        self.ram.insert(run);
    }

    pub(crate) fn remove_piece(&mut self, run: AlignedRun) {
        let at = self.index_of(run);
        self.pieces.remove(at);
        self.heads.remove(PageRun::single(run.first()));
        self.device.remove(run);
    }

    pub(crate) fn commit_populated(&mut self, run: AlignedRun) {
        self.ram.insert(run);
    }

    pub(crate) fn commit_discarded(&mut self, run: PageRun) {
        self.ram.remove(run);
    }

    pub(crate) fn commit_protected(&mut self, run: PageRun, rights: Rights) {
        if self.denied.is_none() && rights == Rights::all() {
            return;
        }
        let mut denied = self.denied.take().unwrap_or_default();
        for (set, right) in [(&mut denied.read, Rights::READ), (&mut denied.write, Rights::WRITE)] {
            if rights.contains(right) { set.remove(run) } else { set.insert(run) }
        }
        self.denied = Some(denied).filter(|denied| !(denied.read.is_empty() && denied.write.is_empty()));
    }

    pub(crate) fn commit_unmapped(&mut self, run: PageRun) {
        debug_assert!(!self.device.intersects(run), "unmapped pages {run:?} are still on a device");
        self.live.remove(run);
        // An allocation that begins there may be read and written.
        self.commit_protected(run, Rights::all());
    }

    pub(crate) fn set_rights(&mut self, run: AlignedRun, rights: Rights) {
        let at = self.index_of(run);
        self.pieces[at].rights = rights;
    }

    /// Replaces a piece by its two halves after the folio was split.
    pub(crate) fn split_piece(&mut self, run: AlignedRun, upper_id: FolioId) {
        let at = self.index_of(run);
        let whole = self.pieces[at];
        let (lower, upper) = run.halves(run.first()).expect("only folios of order 1 and more are split");
        let upper_pfn = whole.page().plus(lower.pages()).pfn;
        self.pieces[at] = Piece { run: lower, ..whole };
        self.heads.insert(PageRun::single(upper.first()));
        self.pieces.insert(at + 1, Piece { run: upper, pfn: upper_pfn, id: upper_id, ..whole });
    }

    /// Replaces the two halves of `run` by one piece after their folios were collapsed.
    pub(crate) fn join_pieces(&mut self, run: AlignedRun) {
        let (lower, upper) = run.halves(run.first()).expect("only halves are joined");
        let (at, above) = (self.index_of(lower), self.index_of(upper));
        let upper = self.pieces.remove(above);
        self.heads.remove(PageRun::single(upper.run.first()));
        let lower = self.pieces[at];
        debug_assert_eq!(lower.rights, upper.rights, "halves of {run:?} with different rights");
        self.pieces[at] = Piece { run, ..lower };
    }

    fn index_of(&self, run: AlignedRun) -> usize {
        let at = self.heads_before(run.first());
        assert!(
            self.pieces.get(at).is_some_and(|piece| piece.run == run),
            "transactions only name pieces that are there"
        );
        at
    }

    /// How many pieces begin before a page.
    #[inline]
    fn heads_before(&self, page: u16) -> usize {
        usize::from(self.heads.count_before(page))
    }

    /// Walks everything and says what does not fit together, if anything.
    ///
    /// # Errors
    /// The first contradiction found, in words.
    pub fn check_consistency(&self) -> Result<(), &'static str> {
        let all = PageRun::BLOCK;
        let mut device = PageSet::EMPTY;
        for piece in &self.pieces {
            if device.intersects(piece.run) {
                return Err("two pieces hold one page");
            }
            if !piece.pfn.is_aligned(piece.run.order()) {
                return Err("a piece's folio is not aligned to its order");
            }
            device.insert(piece.run);
        }
        if self.heads.count() as usize != self.pieces.len()
            || self.pieces.iter().any(|piece| !self.heads.contains(piece.run.first()))
        {
            return Err("the first pages of the pieces are not those that are known");
        }
        if device != self.device {
            return Err("the pages on devices are not those of the pieces");
        }
        if self.ram.runs(all).chain(device.runs(all)).any(|run| !self.live.contains_all(run)) {
            return Err("a page that is not live has bytes");
        }
        if self.ram.runs(all).any(|run| device.intersects(run)) {
            return Err("a page is in system memory and on a device at once");
        }
        if self.pins.keys().any(|page| !self.ram.contains(*page)) {
            return Err("a pinned page is not in system memory");
        }
        Ok(())
    }
}
