//! What is known of the device pages of one node.

use alloc::collections::BTreeMap;
use alloc::format;

use super::Sink;
use super::contents::Contents;
use super::ranges::Ranges;
use super::table::Table;
use crate::PageRange;
use crate::judge::{self, Teardown};

/// A node: what is known of its device pages.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) number: u8,
    pub(super) pagemap: PageRange,
    pub(super) teardown: Teardown,
    pub(super) ranges: Ranges,
    pub(super) contents: Contents,
    pub(super) table: Table,
    /// First pages of the folios that are being formed, and how far teardown was when that began.
    pub(super) forming: BTreeMap<u64, Teardown>,
}

impl Node {
    pub(super) fn new(number: u8, pagemap: PageRange) -> Node {
        Node {
            number,
            pagemap,
            teardown: Teardown::Alive,
            ranges: Ranges::default(),
            contents: Contents::new(pagemap),
            table: Table::default(),
            forming: BTreeMap::new(),
        }
    }
}

/// Judges an event of a node that there is none of (I25): it has no pagemap.
pub(super) fn unknown(number: u8, sink: &mut Sink<'_>) {
    sink.note(judge::i25_pagemap(PageRange::NONE, None), || format!("node {number} has no pagemap"));
}
