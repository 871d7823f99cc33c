//! Every policy that the project shows a reader is a good one.

use blkstay_engine::policy::Policy;

#[test]
fn policies_in_the_manuals_are_good() {
    let manuals = [include_str!("../../README.md"), include_str!("../../docs/policy.md")];
    let blocks: Vec<&str> = manuals.iter().flat_map(|text| text.split("```toml\n").skip(1)).collect();
    assert_eq!(blocks.len(), 2, "each manual has its example");
    for block in blocks {
        let (policy, _) = block.split_once("```").expect("a block ends");
        Policy::parse("example", policy).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    }
}

#[test]
fn policies_of_the_library_are_good() {
    let library = concat!(env!("CARGO_MANIFEST_DIR"), "/../policies");
    let policies = std::fs::read_dir(library).expect("policies/").flatten().map(|entry| entry.path());
    let policies: Vec<_> =
        policies.filter(|path| path.extension().is_some_and(|end| end == "toml")).collect();
    assert!(!policies.is_empty());
    for path in policies {
        let text = std::fs::read_to_string(&path).expect("a policy");
        let policy = Policy::parse(&path.display().to_string(), &text);
        policy.unwrap_or_else(|mistakes| panic!("{mistakes}"));
    }
}
