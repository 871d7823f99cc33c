//! What files have mapped: the trees of mapping blocks as last seen, and the blocks that they claim.
//!
//! A mapping block is kept as what it said, so nothing has to be read again when another block of the same
//! file changes, and a block that is newer in the journal than on the disk is not forgotten.

use crate::claims::Claims;
use crate::inode::{Branch, Inode};
use crate::mapping::{Child, Content, Run};
use crate::source::Source;
use blkstay_engine::class::Class;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// How many things are kept at most: mapped ranges, mapping blocks and inodes that map blocks. At under 200 bytes
/// each that is less than 800 MiB; an ordinary root filesystem has some hundred thousand. What comes
/// after stays unknown.
const WEIGHT_MAX: usize = 1 << 22;

/// Who claims a block: a mapping block by its number, an inode by its number and this bit …
const INODE: u64 = 1 << 63;
/// … or all inodes that share a block of extended attributes.
const ATTRIBUTES: u64 = 1 << 62;

/// An inode or a mapping block.
#[derive(Clone, Debug)]
struct Node {
    branch: Branch,
    /// Its own number, and where in the tree it is. Of an inode, meaningless.
    place: Child,
    parent: u64,
    /// The change in which `parent` took it.
    taken: u64,
    content: Content,
}

impl Node {
    /// All blocks that it claims, and what they are.
    fn says(&self) -> impl Iterator<Item = (Range<u64>, Class)> + '_ {
        let Branch { class, shape, .. } = self.branch;
        let runs = self.content.runs.iter().map(move |run| (run.blocks(), class));
        let below = self.content.children.iter();
        runs.chain(below.map(move |child| (child.block..child.block + 1, shape.class())))
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Files {
    blocks: u64,
    block_size: u64,
    claims: Claims,
    nodes: BTreeMap<u64, Node>,
    /// The block of extended attributes of each inode that has one, and how many inodes share each.
    attributes: BTreeMap<u32, u64>,
    sharers: BTreeMap<u64, u32>,
    weight: usize,
    weight_max: usize,
    /// Counts changes.
    change: u64,
    /// Mapping blocks that were let go in this change, and by whom. Another may take them.
    loose: Vec<(u64, u64)>,
    journal_moved: bool,
}

impl Files {
    pub fn new(blocks: u64, block_size: u64) -> Files {
        Files {
            blocks,
            block_size,
            claims: Claims::default(),
            nodes: BTreeMap::new(),
            attributes: BTreeMap::new(),
            sharers: BTreeMap::new(),
            weight: 0,
            weight_max: WEIGHT_MAX,
            change: 1,
            loose: Vec::new(),
            journal_moved: false,
        }
    }

    /// The filesystem has grown.
    pub fn grow(&mut self, blocks: u64) {
        self.blocks = blocks;
    }

    /// What files have in a range.
    pub fn over(&self, range: Range<u64>) -> impl Iterator<Item = (Range<u64>, Option<Class>)> + '_ {
        self.claims.over(range)
    }

    pub fn at(&self, block: u64) -> Option<Class> {
        self.claims.at(block)
    }

    /// Whether no more is kept.
    pub fn are_full(&self) -> bool {
        self.weight >= self.weight_max
    }

    /// Takes an inode as it is now.
    pub fn set_inode(&mut self, number: u32, inode: Inode, source: &mut dyn Source) {
        self.set_attributes(number, inode.attributes);
        let id = INODE | u64::from(number);
        match inode.map {
            None => self.drop_node(id),
            Some((branch, content)) => {
                let place = Child { block: 0, logical: 0, height: 0 };
                let node = Node { branch, place, parent: id, taken: self.change, content };
                self.put(id, node, source);
            }
        }
    }

    /// Forgets inodes.
    pub fn drop_inodes(&mut self, numbers: Range<u32>) {
        let (start, end) = (INODE | u64::from(numbers.start), INODE | u64::from(numbers.end));
        let ids: Vec<u64> = self.nodes.range(start..end).map(|(id, _)| *id).collect();
        ids.into_iter().for_each(|id| self.drop_node(id));
        let with: Vec<u32> = self.attributes.range(numbers).map(|(number, _)| *number).collect();
        with.into_iter().for_each(|number| self.set_attributes(number, 0));
    }

    /// Whether a block is known to map blocks.
    pub fn maps(&self, block: u64) -> bool {
        self.nodes.contains_key(&block)
    }

    /// Takes a mapping block as it is now. Nothing happens if it is not known as one.
    pub fn set_block(&mut self, block: u64, source: &mut dyn Source) {
        let Some(node) = self.nodes.get(&block) else { return };
        let (branch, place, parent, taken) = (node.branch, node.place, node.parent, node.taken);
        let Some(content) = self.read(branch, place, source) else { return };
        self.put(block, Node { branch, place, parent, taken, content }, source);
    }

    /// Ends a change: what was let go and not taken by another is forgotten. Says whether the journal's
    /// inode now maps other blocks.
    pub fn settle(&mut self) -> bool {
        while let Some((block, former)) = self.loose.pop() {
            let kept = |node: &Node| {
                node.parent != former || node.taken == self.change && self.nodes.contains_key(&former)
            };
            if !self.nodes.get(&block).is_none_or(kept) {
                self.drop_node(block);
            }
        }
        self.give_back();
        self.change += 1;
        std::mem::take(&mut self.journal_moved)
    }

    /// All that an inode maps.
    pub fn runs(&self, inode: u32) -> Vec<Run> {
        let mut todo = vec![INODE | u64::from(inode)];
        let (mut runs, mut seen) = (Vec::new(), BTreeSet::new());
        while let Some(id) = todo.pop() {
            let Some(node) = self.nodes.get(&id).filter(|_| seen.insert(id)) else { continue };
            runs.extend_from_slice(&node.content.runs);
            let own = |child: &&Child| self.nodes.get(&child.block).is_some_and(|node| node.parent == id);
            todo.extend(node.content.children.iter().filter(own).map(|child| child.block));
        }
        runs
    }

    fn read(&self, branch: Branch, place: Child, source: &mut dyn Source) -> Option<Content> {
        let bytes = source.block(place.block, self.block_size)?;
        Some(Content::of_block(&bytes, branch.shape, place, self.blocks))
    }

    /// Puts a node in the place of what it was, and takes the mapping blocks below it.
    fn put(&mut self, id: u64, node: Node, source: &mut dyn Source) {
        let mut todo = Vec::new();
        self.put_one(id, node, &mut todo);
        while let Some((child, branch, parent)) = todo.pop() {
            self.take(child, branch, parent, &mut todo, source);
        }
    }

    /// A node takes a mapping block, with what is known of it if that is of the same tree. In one change a
    /// block is taken only once, so that a tree in a circle has an end.
    fn take(
        &mut self,
        child: Child,
        branch: Branch,
        parent: u64,
        todo: &mut Vec<(Child, Branch, u64)>,
        source: &mut dyn Source,
    ) {
        let change = self.change;
        if self.nodes.get(&child.block).is_some_and(|node| node.taken == change) {
            return;
        }
        self.claims.take(child.block..child.block + 1, branch.shape.class(), parent);
        let known = self.nodes.get_mut(&child.block);
        if let Some(node) = known.filter(|node| node.branch == branch && node.place == child) {
            (node.parent, node.taken) = (parent, change);
            return;
        }
        let content = self.read(branch, child, source).unwrap_or_default();
        self.put_one(child.block, Node { branch, place: child, parent, taken: change, content }, todo);
    }

    fn put_one(&mut self, id: u64, node: Node, todo: &mut Vec<(Child, Branch, u64)>) {
        let old = self.nodes.get(&id);
        let weight = self.weight - old.map_or(0, |old| old.content.weight()) + node.content.weight();
        if old.is_some_and(|old| old.branch != node.branch) || weight > self.weight_max {
            self.drop_node(id);
        }
        if weight > self.weight_max {
            return;
        }
        let old = self.nodes.remove(&id).map(|old| old.content).unwrap_or_default();
        let (branch, new) = (node.branch, &node.content);
        let (old_runs, new_runs) = differing(&old.runs, &new.runs);
        let (old_children, new_children) = differing(&old.children, &new.children);
        self.give_up(id, old_runs, old_children);
        for run in new_runs {
            self.claims.take(run.blocks(), branch.class, id);
        }
        todo.extend(new_children.iter().map(|child| (*child, branch, id)));
        self.weight = weight;
        self.journal_moved |= branch.class == Class::JournalBlock && old != *new;
        self.nodes.insert(id, node);
    }

    /// Gives blocks that were taken from nodes and then given up back to them.
    fn give_back(&mut self) {
        let shared = || self.sharers.keys().map(|block| (*block..*block + 1, Class::Xattr)).collect();
        let nodes = &self.nodes;
        self.claims.give_back(|by| match by {
            ATTRIBUTES => shared(),
            id => nodes.get(&id).map(|node| node.says().collect()).unwrap_or_default(),
        });
    }

    /// Gives up what a node has claimed.
    fn give_up(&mut self, id: u64, runs: &[Run], children: &[Child]) {
        for run in runs {
            self.claims.give_up(run.blocks(), id);
        }
        for child in children {
            self.claims.give_up(child.block..child.block + 1, id);
            self.loose.push((child.block, id));
        }
    }

    fn drop_node(&mut self, id: u64) {
        let Some(node) = self.nodes.remove(&id) else { return };
        self.weight -= node.content.weight();
        self.journal_moved |= node.branch.class == Class::JournalBlock;
        self.give_up(id, &node.content.runs, &node.content.children);
    }

    fn set_attributes(&mut self, number: u32, block: u64) {
        let old = self.attributes.get(&number).copied().unwrap_or(0);
        if old == block {
            return;
        }
        if let Some(sharers) = self.sharers.get_mut(&old) {
            *sharers -= 1;
            if *sharers == 0 {
                self.sharers.remove(&old);
                self.claims.give_up(old..old + 1, ATTRIBUTES);
            }
            self.attributes.remove(&number);
            self.weight -= 1;
        }
        if block != 0 && !self.are_full() {
            *self.sharers.entry(block).or_default() += 1;
            self.attributes.insert(number, block);
            self.claims.take(block..block + 1, Class::Xattr, ATTRIBUTES);
            self.weight += 1;
        }
    }
}

/// Without what both begin with and what both end with.
fn differing<'a, T: PartialEq>(old: &'a [T], new: &'a [T]) -> (&'a [T], &'a [T]) {
    let begin = old.iter().zip(new).take_while(|(old, new)| old == new).count();
    let (old, new) = (&old[begin..], &new[begin..]);
    let end = old.iter().rev().zip(new.iter().rev()).take_while(|(old, new)| old == new).count();
    (&old[..old.len() - end], &new[..new.len() - end])
}

#[cfg(test)]
mod tests;
