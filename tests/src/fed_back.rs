//! Feeds journals back to the engine.

use blkstay_engine::journal::{Line, Record};
use blkstay_engine::replay;
use std::path::Path;

/// Fails unless the engine, fed with what came in, decides as the journal says. Half a line is what a daemon that was
/// killed leaves.
#[track_caller]
pub fn assert_agrees(journal: &Path) {
    let text = std::fs::read(journal).expect("the journal");
    let lines = text.split(|byte| *byte == b'\n').map(|line| serde_json::from_slice(line).ok());
    let lines: Vec<Option<Line>> = lines.collect();
    let ends = |next: Option<&Option<Line>>| match next {
        Some(Some(line)) => matches!(line.record, Record::Journal { .. }),
        Some(None) => false,
        None => true,
    };
    for (index, line) in lines.iter().enumerate() {
        assert!(
            line.is_some() || ends(lines.get(index + 1)),
            "line {} of the journal is no record",
            index + 1
        );
    }
    if let Err(difference) = replay::refeed(lines.into_iter().flatten()) {
        panic!("the journal fed back: {difference}");
    }
}
