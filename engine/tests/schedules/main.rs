//! Thousands of policies and schedules: whatever happens in whatever order, requests are not lost, not completed
//! twice, not kept longer than their watchdog or shorter than their delay; the first rule that matches decides; and the
//! same input, the journal above all, gives the same decisions.

mod itself;
mod model;
mod never;
mod policies;
mod stands;
mod steps;
mod tally;
mod world;

use blkstay_engine::journal::Line;
use blkstay_engine::replay::{Difference, Refed, refeed};
use policies::{Language, policies};
use proptest::collection::vec;
use proptest::prelude::*;
use steps::step;
use world::World;

const WHOLE: Language = Language { unforeseeable: true };
const FORESEEABLE: Language = Language { unforeseeable: false };

/// Through JSON, as from a file.
fn refeed_written(journal: &[Line]) -> Result<Refed, Difference> {
    let written = journal.iter().map(|line| serde_json::to_string(line).expect("JSON"));
    refeed(written.map(|line| serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line}: {error}"))))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_request_ends_once_and_in_time(policy in policies(WHOLE), steps in vec(step(), 0..100)) {
        World::after(&policy, false, &steps);
    }

    #[test]
    fn the_first_match_in_file_order_decides(policy in policies(FORESEEABLE), steps in vec(step(), 0..100)) {
        World::after(&policy, true, &steps);
    }

    #[test]
    fn the_same_input_gives_the_same_output(policy in policies(WHOLE), steps in vec(step(), 0..50)) {
        prop_assert_eq!(World::after(&policy, false, &steps).said, World::after(&policy, false, &steps).said);
    }

    #[test]
    fn a_journal_fed_back_gives_the_same_decisions(policy in policies(WHOLE), steps in vec(step(), 0..50)) {
        let journal = World::after(&policy, false, &steps).journal();
        prop_assert_eq!(refeed_written(&journal), Ok(Refed { lines: journal.len() as u64, ..Refed::default() }));
    }

    #[test]
    fn what_is_said_never_to_be_never_is(policy in policies(WHOLE), steps in vec(step(), 0..100)) {
        never::assert_never(&policy, &World::after(&policy, false, &steps).journal());
    }

    #[test]
    fn a_journal_may_end_anywhere(policy in policies(WHOLE), steps in vec(step(), 0..50), end in any::<prop::sample::Index>()) {
        let mut journal = World::after(&policy, false, &steps).journal();
        journal.truncate(end.index(journal.len()));
        let refed = refeed_written(&journal);
        prop_assert!(refed.is_ok(), "{refed:?}");
    }
}
