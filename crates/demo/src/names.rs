//! The names of a graph's nodes: one long text and the end of each name in it.
//!
//! A graph has up to millions of names of a few bytes; a `String` each would cost more than the names.

use std::collections::HashMap;

/// The names of nodes 0, 1, 2, ..., each a piece of UTF-8 text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    text: String,
    ends: Vec<usize>,
}

impl Names {
    /// Makes an empty list.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends the name of the next node.
    pub fn push(&mut self, name: &str) {
        self.text.push_str(name);
        self.ends.push(self.text.len());
    }

    /// Returns how many nodes have a name.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Says whether there are no names.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Returns the length of all names together, in bytes.
    pub fn text_bytes(&self) -> usize {
        self.text.len()
    }

    /// Returns the name of a node, or nothing if there is no such node.
    pub fn get(&self, node: u32) -> Option<&str> {
        let index = node as usize;
        let end = *self.ends.get(index)?;
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        Some(&self.text[start..end])
    }

    /// Visits the names in the order of their nodes.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, &end)| &self.text[start..end])
    }

    /// Finds the first node of this name, by looking at every name.
    pub fn find(&self, name: &str) -> Option<u32> {
        self.iter().position(|candidate| candidate == name).and_then(|index| u32::try_from(index).ok())
    }
}

impl<'a> FromIterator<&'a str> for Names {
    fn from_iter<I: IntoIterator<Item = &'a str>>(names: I) -> Self {
        let mut list = Self::new();
        for name in names {
            list.push(name);
        }
        list
    }
}

/// Names numbered in the order of their first appearance.
#[derive(Debug, Default)]
pub struct Numbering {
    numbers: HashMap<Box<str>, u32>,
    names: Names,
}

impl Numbering {
    /// Makes an empty numbering.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the number of a name, giving it the next one if it is new; nothing if numbers have run out.
    pub fn number(&mut self, name: &str) -> Option<u32> {
        if let Some(&known) = self.numbers.get(name) {
            return Some(known);
        }
        // The highest number stays unused: it means "unreached" where levels are 32 bits wide.
        let next = u32::try_from(self.names.len()).ok().filter(|&next| next < u32::MAX)?;
        self.numbers.insert(name.into(), next);
        self.names.push(name);
        Some(next)
    }

    /// Returns the names so far.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// Gives up the numbering and keeps the names.
    pub fn into_names(self) -> Names {
        self.names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back_by_node_and_in_order() {
        let names: Names = ["libc6", "", "zlib1g"].into_iter().collect();
        assert_eq!(names.get(0), Some("libc6"));
        assert_eq!(names.get(1), Some(""));
        assert_eq!(names.get(2), Some("zlib1g"));
        assert_eq!(names.get(3), None);
        assert_eq!(names.iter().collect::<Vec<_>>(), ["libc6", "", "zlib1g"]);
        assert_eq!(names.text_bytes(), 11);
    }

    #[test]
    fn find_gives_the_node_of_a_name() {
        let names: Names = ["a", "b"].into_iter().collect();
        assert_eq!(names.find("b"), Some(1));
        assert_eq!(names.find("ab"), None);
    }

    #[test]
    fn a_repeated_name_keeps_its_number() {
        let mut numbering = Numbering::new();
        assert_eq!(numbering.number("x"), Some(0));
        assert_eq!(numbering.number("y"), Some(1));
        assert_eq!(numbering.number("x"), Some(0));
        assert_eq!(numbering.into_names().len(), 2);
    }
}
