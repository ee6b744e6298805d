//! Reasons why private memory of a program is not managed.

/// Why memory is not managed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
pub enum Outside {
    /// Stacks, and thread-local variables in them.
    Stacks,
    /// Variables of programs and libraries.
    Variables,
    /// Code that is made at run time, and memory that is read-only.
    Protected,
    /// Locked memory, or what the kernel refused to register.
    Refused,
    /// Memory that is shared with forked children.
    Forked,
}

impl Outside {
    /// All reasons.
    pub const ALL: [Outside; 5] =
        [Outside::Stacks, Outside::Variables, Outside::Protected, Outside::Refused, Outside::Forked];

    /// In one word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Outside::Stacks => "stacks",
            Outside::Variables => "variables",
            Outside::Protected => "protected",
            Outside::Refused => "refused",
            Outside::Forked => "forked",
        }
    }

    /// In words.
    #[must_use]
    pub fn describe(self) -> &'static str {
        match self {
            Outside::Stacks => "stacks",
            Outside::Variables => "variables of programs and libraries",
            Outside::Protected => "generated code and read-only memory",
            Outside::Refused => "locked, refused by the kernel, or used by threads that block SIGSYS",
            Outside::Forked => "shared with forked children",
        }
    }
}
