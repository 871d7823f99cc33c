//! Variants of stock kernels, in real guests. Source and headers are fetched once into the cache.

use blkstay_tests::binary;
use blkstay_tests::lab::{AFFECTED, document, policy, root, run, said};
use serde_json::Value;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Once;

/// Whether variants can be built here; says so loudly where they cannot.
fn can_build() -> bool {
    static TOLD: Once = Once::new();
    let has = |program: &str| {
        let paths = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&paths).any(|directory| directory.join(program).is_file())
    };
    let missing: Vec<&str> = ["make", "gcc", "spatch"].into_iter().filter(|program| !has(program)).collect();
    if !missing.is_empty() {
        TOLD.call_once(|| {
            // Not `eprintln!`: what that says in a test that passes is not shown.
            let _ = writeln!(
                std::io::stderr(),
                "\nSKIPPED: no variant was built: {missing:?} missing; `make setup-variants`\n"
            );
        });
    }
    missing.is_empty()
}

/// The block in docs/kernels.md that comes after the name of its file.
fn block(file: &str) -> String {
    let text = std::fs::read_to_string(root().join("docs/kernels.md")).expect("the documentation");
    let (_, rest) = text.split_once(&format!("\n`{file}`\n```")).expect("the file is shown");
    let (_, rest) = rest.split_once('\n').expect("a line with the language");
    rest.split_once("\n```").expect("an end of the block").0.to_owned() + "\n"
}

/// `blkstay kernel …` in the repository: its status, and what it says.
fn kernel(arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(binary::path("blkstay"));
    command.arg("kernel").args(arguments).current_dir(root()).stdin(Stdio::null());
    let output = command.output().expect("blkstay runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn write_fix(directory: &Path) -> String {
    for name in ["my-fix.diff", "my-fix.toml"] {
        std::fs::write(directory.join(name), block(name)).expect("a file");
    }
    directory.join("my-fix.toml").display().to_string()
}

#[test]
fn the_documented_fix_closes_the_race_and_the_result_says_what_was_run() {
    if !can_build() {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let fix = write_fix(directory.path());
    let document = document(&policy("ext4-dio-fallback"), &[&format!("{AFFECTED}/generic"), &fix], "3");
    let [stock, fixed] = [&document["kernels"][0], &document["kernels"][1]];
    assert_eq!((&stock["forced"]["open"], &stock["variant"]), (&3.into(), &Value::Null), "{stock:#}");
    assert_eq!((&fixed["verdict"], &fixed["forced"]["closed"]), (&"closed".into(), &3.into()), "{fixed:#}");
    let stands = fixed["forced"]["stuck"][0]["where"].as_str().unwrap_or_default();
    assert!(stands.contains("inode_dio_wait ext4_buffered_write_iter"), "{fixed:#}");
    assert_eq!(fixed["package"], stock["package"]);
    assert_eq!(
        (&fixed["variant"]["name"], &fixed["variant"]["module"]),
        (&"my-fix".into(), &"fs/ext4".into())
    );
    assert_eq!(fixed["variant"]["change"].as_str().map(str::len), Some(64), "{fixed:#}");

    let diff = block("my-fix.diff").replace("ext4_write_checks", "ext4_other_checks");
    std::fs::write(directory.path().join("my-fix.diff"), diff).expect("a file");
    let (code, _, said) = kernel(&["build", &fix]);
    assert_eq!(code, Some(1));
    assert!(said.contains("this hunk does not apply to 6.12."), "{said}");
    assert!(said.contains("my-fix.diff:3:1") && said.contains("fs/ext4/file.c (6.12."), "{said}");
}

/// A variant of the library, as a kernel wherever the program runs.
fn library(name: &str) -> String {
    root().join("variants").join(format!("{name}.toml")).display().to_string()
}

/// A case of the race on a variant: every forced attempt is closed, and why.
fn closed(case: &str, variant: &str, more: &[&str]) -> (Value, String) {
    let case = policy(case);
    let spec = library(variant);
    let mut arguments = vec![case.to_str().expect("a path"), "--json", "--times", "3", "--kernel", &spec];
    arguments.extend(more);
    let output = run(&arguments);
    let document: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", said(&output)));
    let kernel = document["kernels"][0].clone();
    assert_eq!(
        (&kernel["verdict"], &kernel["forced"]["closed"]),
        (&"closed".into(), &3.into()),
        "{kernel:#}"
    );
    let why = kernel["forced"]["reasons"][0]["why"].as_str().unwrap_or_default().to_owned();
    (kernel, why)
}

#[test]
fn a_fix_that_makes_the_submission_itself_wait_gets_a_verdict_from_a_script_that_waits_for_it() {
    if !can_build() {
        return;
    }
    let (kernel, why) = closed("ext4-dio-fallback", "dio-exclusive-no-extents", &["--set", "submit=async"]);
    assert_eq!(kernel["control"]["reached"], 3, "{kernel:#}");
    assert!(why.contains("A's own submission waits until A is complete, in __iomap_dio_rw"), "{why}");
}

#[test]
fn a_fix_that_removes_the_direct_write_is_told_from_one_that_makes_it_wait() {
    if !can_build() {
        return;
    }
    let (kernel, why) = closed("ext4-dio-fallback", "no-dio-without-extents", &[]);
    assert_eq!(
        (&kernel["control"]["reached"], &kernel["control"]["bypassed"]),
        (&0.into(), &3.into()),
        "{kernel:#}"
    );
    assert!(
        why.starts_with("by-passed: no direct write to race with; A went through the page cache"),
        "{why}"
    );
    assert!(why.contains("dirty 1") && why.ends_with("after guest.b-begins"), "{why}");
}

#[test]
fn both_are_true_where_a_gets_in_while_b_is_under_way() {
    if !can_build() {
        return;
    }
    let (kernel, why) = closed("ext4-dio-rmw", "dio-exclusive-no-extents", &[]);
    assert_eq!(kernel["control"]["reached"], 3, "{kernel:#}");
    assert!(why.contains("B waits for A, in ext4_buffered_write_iter"), "{why}");
    let (kernel, why) = closed("ext4-dio-rmw", "no-dio-without-extents", &[]);
    assert_eq!(kernel["control"]["bypassed"], 3, "{kernel:#}");
    assert!(why.starts_with("by-passed: no direct write to race with"), "{why}");
}

#[test]
fn a_shared_lock_for_more_unaligned_writes_opens_what_an_exclusive_one_closes() {
    if !can_build() {
        return;
    }
    let document = document(&policy("ext4-dio-unaligned"), &[&library("dio-lock-by-zeroing")], "3");
    assert_eq!(document["kernels"][0]["forced"]["open"], 3, "{document:#}");
}

#[test]
fn a_semantic_patch_for_other_kernels_says_so() {
    if !can_build() {
        return;
    }
    let (code, _, said) = kernel(&["build", "fallback-does-not-drain", "--kernel", "debian:6.12.107"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("this matches nowhere in fs/ext4 of 6.12.107+deb13-amd64"), "{said}");
    assert!(said.contains("ext4_buffered_write_iter"), "{said}");
}

#[test]
fn every_variant_of_the_library_is_listed() {
    let (code, text, said) = kernel(&["list", "--json"]);
    assert_eq!(code, Some(0), "{said}");
    let lists: Value = serde_json::from_str(&text).expect("a document");
    let listed: Vec<&str> = lists["variants"]
        .as_array()
        .expect("variants")
        .iter()
        .filter_map(|one| one["spec"].as_str())
        .collect();
    let files = std::fs::read_dir(root().join("variants")).expect("the variants").flatten();
    let mut names: Vec<String> = files
        .filter_map(|file| Some(format!("variant:{}", file.file_name().to_str()?.strip_suffix(".toml")?)))
        .collect();
    names.sort();
    assert_eq!(listed, names);
    let kernels = lists["kernels"].as_array().expect("kernels");
    assert!(kernels.iter().any(|kernel| kernel["release"].as_str().unwrap_or_default().starts_with("6.12.")));
    let (code, text, _) = kernel(&["list"]);
    assert!(code == Some(0) && text.contains("variant:fallback-drains-dio"), "{text}");
}

#[test]
fn a_variant_that_is_not_there_is_answered_with_those_that_are() {
    let (code, _, said) = kernel(&["build", "no-such"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("no variant `no-such`; variants/ has `dio-exclusive-no-extents`, "), "{said}");
}
