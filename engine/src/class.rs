//! What a block is to the filesystem on the disk.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What a block is to the filesystem on the disk; ext4's words, as in the kernel's
/// `Documentation/filesystems/ext4` and `Documentation/filesystems/journalling.rst`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Class {
    /// The superblock or one of its copies.
    Superblock,
    /// A block of group descriptors, a copy of one, or one kept free for more of them.
    GroupDescriptor,
    /// Says which blocks of a group are in use.
    BlockBitmap,
    /// Says which inodes of a group are in use.
    InodeBitmap,
    /// Holds inodes.
    InodeTable,
    /// The journal's first block.
    JournalSuperblock,
    /// Begins (a part of) a transaction in the journal: says where the blocks after it belong.
    JournalDescriptor,
    /// A copy of a block in the journal.
    JournalBlock,
    /// Tells which blocks are not to be replayed.
    JournalRevoke,
    /// Ends a transaction.
    JournalCommit,
    /// Maps blocks of a file without extents.
    Indirect,
    /// Maps extents of a file.
    Extent,
    /// Holds names.
    Directory,
    /// Holds extended attributes.
    Xattr,
    /// Holds what a file contains.
    FileData,
    /// Nobody knows: there is no filesystem, or nothing that it says tells.
    Unknown,
}

impl Class {
    /// Every class, in the order in which help texts list them.
    pub const ALL: [Class; 16] = [
        Class::Superblock,
        Class::GroupDescriptor,
        Class::BlockBitmap,
        Class::InodeBitmap,
        Class::InodeTable,
        Class::JournalSuperblock,
        Class::JournalDescriptor,
        Class::JournalBlock,
        Class::JournalRevoke,
        Class::JournalCommit,
        Class::Indirect,
        Class::Extent,
        Class::Directory,
        Class::Xattr,
        Class::FileData,
        Class::Unknown,
    ];

    /// The name used in policies and journals.
    pub fn name(self) -> &'static str {
        match self {
            Class::Superblock => "superblock",
            Class::GroupDescriptor => "group-descriptor",
            Class::BlockBitmap => "block-bitmap",
            Class::InodeBitmap => "inode-bitmap",
            Class::InodeTable => "inode-table",
            Class::JournalSuperblock => "journal-superblock",
            Class::JournalDescriptor => "journal-descriptor",
            Class::JournalBlock => "journal-block",
            Class::JournalRevoke => "journal-revoke",
            Class::JournalCommit => "journal-commit",
            Class::Indirect => "indirect",
            Class::Extent => "extent",
            Class::Directory => "directory",
            Class::Xattr => "xattr",
            Class::FileData => "file-data",
            Class::Unknown => "unknown",
        }
    }
}

/// Some classes: a request touches blocks of each, or a rule is for any of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct ClassSet(u16);

impl ClassSet {
    /// No class: of a request that addresses no data, or when nobody has looked.
    pub const NONE: ClassSet = ClassSet(0);

    /// Words for several classes at once.
    pub const GROUPS: [(&'static str, &'static [Class]); 4] = [
        ("bitmap", &[Class::BlockBitmap, Class::InodeBitmap]),
        (
            "journal",
            &[
                Class::JournalSuperblock,
                Class::JournalDescriptor,
                Class::JournalBlock,
                Class::JournalRevoke,
                Class::JournalCommit,
            ],
        ),
        ("mapping", &[Class::Indirect, Class::Extent]),
        ("metadata", Class::ALL.split_at(14).0),
    ];

    /// Those.
    pub fn of(classes: &[Class]) -> ClassSet {
        ClassSet(classes.iter().fold(0, |bits, class| bits | 1 << *class as u8))
    }

    /// The class or group of that name.
    pub fn from_name(name: &str) -> Option<ClassSet> {
        let class = Class::ALL.iter().find(|class| class.name() == name).map(|class| ClassSet::of(&[*class]));
        class.or_else(|| {
            let group = ClassSet::GROUPS.iter().find(|(group, _)| *group == name);
            group.map(|(_, classes)| ClassSet::of(classes))
        })
    }

    /// Every name that [`ClassSet::from_name`] knows.
    pub fn names() -> impl Iterator<Item = &'static str> {
        Class::ALL.iter().map(|class| class.name()).chain(ClassSet::GROUPS.iter().map(|(name, _)| *name))
    }

    /// Those of both.
    pub fn union(self, other: ClassSet) -> ClassSet {
        ClassSet(self.0 | other.0)
    }

    /// Adds one.
    pub fn insert(&mut self, class: Class) {
        *self = self.union(ClassSet::of(&[class]));
    }

    /// Whether they have one in common.
    pub fn meets(self, other: ClassSet) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether each of `other` is among them.
    pub fn contains(self, other: ClassSet) -> bool {
        self.0 & other.0 == other.0
    }

    /// A bit for each, in the order of [`Class::ALL`].
    pub(crate) fn bits(self) -> u16 {
        self.0
    }

    /// Those whose bits are set.
    pub(crate) fn from_bits(bits: u16) -> ClassSet {
        ClassSet(bits)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0 == 0
    }

    /// Each of them, in the order of [`Class::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Class> {
        Class::ALL.into_iter().filter(move |class| self.0 & 1 << *class as u8 != 0)
    }
}

impl fmt::Display for ClassSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.iter().map(Class::name).collect();
        f.write_str(&names.join("+"))
    }
}

impl From<ClassSet> for Vec<String> {
    fn from(set: ClassSet) -> Self {
        set.iter().map(|class| class.name().to_owned()).collect()
    }
}

impl TryFrom<Vec<String>> for ClassSet {
    type Error = String;

    fn try_from(names: Vec<String>) -> Result<Self, String> {
        names.iter().try_fold(ClassSet::NONE, |set, name| {
            let one = ClassSet::from_name(name).ok_or_else(|| format!("unknown class `{name}`"))?;
            Ok(set.union(one))
        })
    }
}
