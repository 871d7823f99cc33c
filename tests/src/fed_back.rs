//! Feeds journals back to the engine.

use crate::journal;
use blkstay_engine::replay;
use std::path::Path;

/// Fails unless the engine, fed with what came in, decides as the journal says.
#[track_caller]
pub fn assert_agrees(path: &Path) {
    if let Err(difference) = replay::refeed(journal::lines(path)) {
        panic!("the journal fed back: {difference}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use blkstay_engine::journal::chunk::Header;
    use blkstay_engine::journal::{Record, codec};
    use blkstay_engine::request::RequestId;

    #[test]
    #[should_panic(expected = "line 2: the journal has {\"t\":7,\"what\":\"submitted\",\"id\":1}")]
    fn a_decision_that_nothing_led_to_is_seen() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("journal");
        let header = Header { session: 0, offset: 0, lane: 0, number: 0, bytes: 4096 };
        let first = Record::Journal { version: 1, image: "disk".into(), image_bytes: 4096, monotonic_ns: 0 };
        let mut words = header.words().to_vec();
        for (t, record) in [(0, first), (7, Record::Submitted { id: RequestId(1) })] {
            codec::encode(t, &record, &mut words).expect("a frame");
        }
        words.resize(512, 0);
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        std::fs::write(&path, bytes).expect("the journal");
        assert_agrees(&path);
    }
}
