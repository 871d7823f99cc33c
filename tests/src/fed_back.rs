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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "line 2: the journal has {\"t\":7,\"what\":\"submitted\",\"id\":1}")]
    fn a_decision_that_nothing_led_to_is_seen() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("journal");
        let lines = [
            r#"{"t":0,"what":"journal","version":1,"image":"disk","image_bytes":4096}"#,
            r#"{"t":7,"what":"submitted","id":1}"#,
            r#"{"t":8,"wh"#,
        ];
        std::fs::write(&path, lines.join("\n")).expect("the journal");
        assert_agrees(&path);
    }
}
