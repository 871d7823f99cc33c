//! What has a name that nothing uses. Files that are included may offer more than is used.

use super::{Look, step, until};
use crate::event::Expr;
use crate::policy::Where;
use crate::policy::read::Read;
use crate::policy::tree::Entry;
use std::collections::BTreeSet;

impl Look<'_> {
    pub(super) fn unused(&mut self) {
        let policy = self.policy;
        let filters = || {
            let points = policy.points.iter().map(|point| &point.filter);
            points.chain(policy.rules.iter().map(|rule| &rule.filter))
        };
        // What has a mistake uses what it names as well.
        let untils = policy.holds.iter().map(|hold| &hold.until).chain(policy.rules.iter().filter_map(until));
        let whens = filters().filter_map(|filter| filter.when.as_ref());
        let leaves: Vec<&Expr> = untils.chain(whens).flat_map(Expr::leaves).collect();
        let states = leaves
            .iter()
            .filter_map(|leaf| if let Expr::State(state) = leaf { Some(state.get()) } else { None });
        let states = states.collect();
        let all = vec![Read::Well; self.parts.states.len()];
        self.tell("state", &self.parts.states, &all, &states, "no expression asks for it");
        let ranges = filters().filter_map(|filter| filter.range);
        let places =
            ranges.filter_map(|range| if let Where::Place(place) = range { Some(place) } else { None });
        let places = places.collect();
        self.tell("place", &self.parts.places, &self.sound.places, &places, "no point and no rule is for it");
        if self.parts.case.is_none() {
            self.points(&leaves);
        }
    }

    /// In a case every point has to be reached, and so is of use.
    fn points(&mut self, leaves: &[&Expr]) {
        let events = leaves
            .iter()
            .filter_map(|leaf| if let Expr::Event(event, _) = leaf { step(event) } else { None });
        let named = events.map(|(point, _)| point.get());
        let held = self.policy.holds.iter().map(|hold| hold.point.get());
        let ruled = self.policy.rules.iter().filter_map(|rule| rule.filter.point).map(|point| point.get());
        let used = named.chain(held).chain(ruled).collect();
        self.tell(
            "point",
            &self.parts.points,
            &self.sound.points,
            &used,
            "no hold, rule or expression names it",
        );
    }

    fn tell(&mut self, kind: &str, entries: &[&Entry], read: &[Read], used: &BTreeSet<usize>, why: &str) {
        let once = |name: &str| entries.iter().filter(|entry| entry.name == name).count() == 1;
        let unused = entries.iter().enumerate().filter(|(index, entry)| {
            let is_unused = !used.contains(index) && entry.at.file == 0 && read[*index] == Read::Well;
            is_unused && !self.sound.may_be_named(&entry.name) && once(&entry.name)
        });
        let unused: Vec<_> = unused.collect();
        for (_, entry) in unused {
            self.warn(
                entry.at.clone(),
                format!("{kind} `{}` is never used", entry.name),
                why,
                "leave it out",
            );
        }
    }
}
