//! Which blocks files claim. Every claim carries who made it: one that has been taken over by another is not
//! given up with the first, and comes back to it when the other gives it up.

use crate::intervals::Intervals;
use blkstay_engine::class::Class;
use std::collections::BTreeSet;
use std::ops::Range;

/// How many are remembered that others took blocks from. In a sound filesystem they are those whose new content
/// is on its way.
const ROBBED_MAX: usize = 256;

/// What a block is to files, and who says so.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Claim {
    class: Class,
    by: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    claims: Intervals<Claim>,
    /// Those who may still say that blocks are theirs which another has taken since.
    robbed: BTreeSet<u64>,
    /// Whether blocks were given up since anything was given back.
    gave_up: bool,
}

impl Claims {
    /// What the parts of a range are. `None`: nobody claims it.
    pub fn over(&self, range: Range<u64>) -> impl Iterator<Item = (Range<u64>, Option<Class>)> + '_ {
        self.claims.over(range).map(|(range, claim)| (range, claim.map(|claim| claim.class)))
    }

    pub fn at(&self, block: u64) -> Option<Class> {
        self.claims.at(block).map(|claim| claim.class)
    }

    /// Takes blocks, from others too: what is not written in one transaction comes in any order, and who had
    /// them may say only later that it has them no more.
    pub fn take(&mut self, blocks: Range<u64>, class: Class, by: u64) {
        for (_, had) in self.claims.over(blocks.clone()) {
            if let Some(had) = had.filter(|had| had.by != by && self.robbed.len() < ROBBED_MAX) {
                self.robbed.insert(had.by);
            }
        }
        self.claims.set(blocks, Claim { class, by });
    }

    /// Gives up those of these blocks that it still has.
    pub fn give_up(&mut self, blocks: Range<u64>, by: u64) {
        self.gave_up = true;
        self.claims.clear(blocks, |claim| claim.by == by);
    }

    /// Gives what nobody claims any more back to those from whom it was taken, by what they say now.
    pub fn give_back(&mut self, says: impl Fn(u64) -> Vec<(Range<u64>, Class)>) {
        if !std::mem::take(&mut self.gave_up) {
            return;
        }
        let claims = &mut self.claims;
        self.robbed.retain(|by| {
            let mut robbed = false;
            for (blocks, class) in says(*by) {
                claims.fill(blocks.clone(), Claim { class, by: *by });
                robbed |= claims.over(blocks).any(|(_, claim)| claim.is_some_and(|claim| claim.by != *by));
            }
            robbed
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_robbed_gets_back_what_it_still_claims() {
        let mut claims = Claims::default();
        claims.take(10..20, Class::FileData, 1);
        claims.take(15..16, Class::Extent, 2);
        claims.give_up(10..20, 3);
        assert_eq!(claims.at(15), Some(Class::Extent), "who has nothing gives up nothing");
        claims.give_up(15..16, 2);
        claims.give_back(|by| if by == 1 { vec![(10..20, Class::FileData)] } else { Vec::new() });
        assert_eq!(claims.over(10..20).collect::<Vec<_>>(), [(10..20, Some(Class::FileData))]);
    }
}
