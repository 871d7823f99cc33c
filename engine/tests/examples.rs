//! Every policy that the project shows a reader is a good one, and nothing about it is doubtful.

use blkstay_engine::policy::{Policy, Settings};
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository").to_owned()
}

fn files(directory: &str, ending: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root().join(directory)).expect("a directory").flatten();
    let paths = entries.map(|entry| entry.path());
    paths.filter(|path| path.extension().is_some_and(|found| found == ending)).collect()
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[track_caller]
fn assert_good(origin: &str, text: &str) {
    let mut include = |path: &str| Err(format!("{path} is not there"));
    let checked = Policy::read(origin, text, &Settings::default(), &mut include)
        .unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert!(checked.warnings.list.is_empty(), "{}", checked.warnings);
}

#[test]
fn policies_in_the_manuals_are_good() {
    let mut manuals = files("docs", "md");
    manuals.push(root().join("README.md"));
    let mut shown = 0;
    for manual in manuals {
        for block in text(&manual).split("```toml\n").skip(1) {
            let (policy, _) = block.split_once("```").expect("a block ends");
            assert_good(&manual.display().to_string(), policy);
            shown += 1;
        }
    }
    assert!(shown >= 8, "only {shown} policies are shown");
}

#[test]
fn policies_of_the_library_are_good() {
    let library = files("policies", "toml");
    assert!(library.len() >= 11, "only {} policies", library.len());
    for path in library {
        assert_good(&path.display().to_string(), &text(&path));
    }
}
