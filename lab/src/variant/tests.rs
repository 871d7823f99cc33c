//! Changes that apply, and what is said of those that do not; keys of the cache.

use super::file::{Change, Kind, Variant};
use super::*;
use std::io::Write;

const FILE_C: &str = "\
static int lock(struct inode *inode)
{
	inode_lock(inode);
	return 0;
}

static int write(struct inode *inode)
{
	inode_lock(inode);
	dirty(inode);
	return 0;
}
";

const DIFF: &str = "\
--- a/fs/ext4/file.c
+++ b/fs/ext4/file.c
@@ -9,2 +9,3 @@
 	inode_lock(inode);
+	wait(inode);
 	dirty(inode);
";

fn change(kind: Kind, text: &str) -> Change {
    let origin = match kind {
        Kind::Diff => "my.diff",
        Kind::Semantic => "my.cocci",
    };
    Change { kind, origin: origin.into(), text: text.into(), places: 1 }
}

fn tree_of(file: &str) -> Tree {
    Tree([("file.c".to_owned(), file.to_owned())].into())
}

/// Applies changes to [`FILE_C`]; the text they make of it, or what is said.
fn applied(changes: &[Change]) -> Result<String, String> {
    applied_to(FILE_C, changes)
}

/// The same to another text of the file.
fn applied_to(file: &str, changes: &[Change]) -> Result<String, String> {
    let mut tree = tree_of(file);
    let of = apply::Source { module: "fs/ext4", kernel: "6.12" };
    apply::apply(changes, &mut tree, &of).map_err(|error| format!("{error:#}"))?;
    Ok(tree.0["file.c"].clone())
}

#[test]
fn a_diff_is_applied() {
    let text = applied(&[change(Kind::Diff, DIFF)]).unwrap();
    assert_eq!(text, FILE_C.replace("\tdirty(", "\twait(inode);\n\tdirty("));
}

#[test]
fn a_diff_that_the_kernel_has_already_says_where() {
    let fixed = FILE_C.replace("\tdirty(", "\twait(inode);\n\tdirty(");
    let said = applied_to(&fixed, &[change(Kind::Diff, DIFF)]).unwrap_err();
    assert!(said.contains("error: 6.12 has this hunk already"), "{said}");
    assert!(said.contains("fs/ext4/file.c (6.12):9:2"), "{said}");
}

#[test]
fn a_diff_that_the_variant_has_already_says_so_and_where() {
    assert_eq!(
        applied(&[change(Kind::Diff, DIFF), change(Kind::Diff, DIFF)]).unwrap_err(),
        "the change does not apply
error: a change of this variant before this one has this hunk already
 --> my.diff:3:1
  |
3 | @@ -9,2 +9,3 @@
  | ^^^^^^^^^^^^^^^
  |
 ::: fs/ext4/file.c (6.12, with the changes before this one):9:2
  |
9 |     inode_lock(inode);
  |     ------------------ its new lines are here"
    );
}

#[test]
fn a_diff_without_context_is_not_put_where_its_number_points() {
    let bare = "--- a/fs/ext4/file.c\n+++ b/fs/ext4/file.c\n@@ -9,0 +10 @@\n+\twait(inode);\n";
    let said = applied(&[change(Kind::Diff, bare)]).unwrap_err();
    assert!(said.contains("this hunk has no lines by which its place could be known"), "{said}");
    assert!(said.contains("my.diff:3:1") && said.contains("fs/ext4/file.c (6.12):10:2"), "{said}");
}

#[test]
fn a_diff_that_does_not_apply_says_where_the_source_differs() {
    let other = DIFF.replace("dirty(inode)", "dirty(page)");
    let said = applied(&[change(Kind::Diff, &other)]).unwrap_err();
    assert!(said.contains("this hunk does not apply to 6.12"), "{said}");
    assert!(
        said.contains("fs/ext4/file.c (6.12):10:2") && said.contains("here the source goes on"),
        "{said}"
    );
}

#[test]
fn a_diff_that_fits_in_two_places_is_not_put_into_either() {
    let twice = "--- a/fs/ext4/file.c\n+++ b/fs/ext4/file.c\n@@ -70,2 +70,3 @@\n {\n+\twait(inode);\n \tinode_lock(inode);\n";
    let said = applied(&[change(Kind::Diff, twice)]).unwrap_err();
    assert!(said.contains("this hunk fits 2 places, none of them its own"), "{said}");
    assert!(said.contains("it fits here"), "{said}");
}

#[test]
fn a_diff_stays_in_its_module() {
    for (name, wanted) in [
        ("include/linux/fs.h", "this file is not in fs/ext4"),
        ("fs/ext4/../jbd2/commit.c", "this file is not in fs/ext4"),
        ("fs/ext4/none.c", "6.12 has no fs/ext4/none.c"),
    ] {
        let said = applied(&[change(Kind::Diff, &DIFF.replace("fs/ext4/file.c", name))]).unwrap_err();
        assert!(said.contains(wanted) && said.contains("my.diff:1:1"), "{said}");
    }
    assert!(applied(&[change(Kind::Diff, "hello")]).unwrap_err().contains("not a unified diff"));
}

/// Tests with spatch say loudly that they did nothing where it is not installed.
fn has_spatch() -> bool {
    let has = toolchain::check(true).is_ok();
    if !has {
        // Not `eprintln!`: what that says in a test that passes is not shown.
        let _ = writeln!(std::io::stderr(), "SKIPPED: no spatch here; `make setup-variants` installs it");
    }
    has
}

const SEMANTIC: &str = "\
@@
identifier inode;
@@
 write(...)
 {
 ... when != wait(inode)
 inode_lock(inode);
+wait(inode);
 ... when != wait(inode)
 }
";

#[test]
fn a_semantic_patch_is_applied() {
    if has_spatch() {
        let text = applied(&[change(Kind::Semantic, SEMANTIC)]).unwrap();
        assert_eq!(text, FILE_C.replace("\tdirty(", "\twait(inode);\n\tdirty("));
    }
}

#[test]
fn a_semantic_patch_that_matches_nowhere_shows_what_it_is_about() {
    if has_spatch() {
        let twice = [change(Kind::Semantic, SEMANTIC), change(Kind::Semantic, SEMANTIC)];
        let said = applied(&twice).unwrap_err();
        assert!(said.contains("this matches nowhere in fs/ext4 of 6.12"), "{said}");
        assert!(
            said.contains("my.cocci:4:2")
                && said.contains("fs/ext4/file.c (6.12, with the changes before this one):7:1"),
            "{said}"
        );
    }
}

#[test]
fn a_semantic_patch_that_matches_more_than_it_says_shows_each_place() {
    if has_spatch() {
        let all = "@@\nexpression inode;\n@@\n-inode_lock(inode);\n+lock_it(inode);\n";
        let said = applied(&[change(Kind::Semantic, all)]).unwrap_err();
        assert!(said.contains("this changes 2 places in fs/ext4, not 1"), "{said}");
        assert!(said.contains("write `places = 2`"), "{said}");
        let both = Change { places: 2, ..change(Kind::Semantic, all) };
        assert!(applied(&[both]).is_ok());
    }
}

#[test]
fn a_semantic_patch_that_would_apply_to_its_own_work_is_refused() {
    if has_spatch() {
        let blind = SEMANTIC.replace(" when != wait(inode)", "");
        let said = applied(&[change(Kind::Semantic, &blind)]).unwrap_err();
        assert!(said.contains("this would apply a second time to what it has made"), "{said}");
    }
}

#[test]
fn a_semantic_patch_that_is_none_is_explained_by_spatch() {
    if has_spatch() {
        let said = applied(&[change(Kind::Semantic, "@@\nexpression x\n@@\n- f(x\n")]).unwrap_err();
        assert!(said.starts_with("my.cocci: spatch cannot use it: "), "{said}");
    }
}

/// 6.12 has a pointer there, 7.2 takes an address.
#[test]
fn the_milder_lock_of_the_thread_fits_either_form_of_its_question() {
    let text = include_str!("../../../variants/dio-waits-over-holes.cocci");
    for unwritten in ["unwritten", "&unwritten"] {
        if !has_spatch() {
            return;
        }
        let source = format!(
            "static int ext4_dio_write_checks(struct inode *inode, bool *ilock_shared, bool *extend)\n{{\n\
             \tbool overwrite = false;\n\n\
             \toverwrite = ext4_overwrite_io(inode, offset, count, {unwritten});\n\
             \tif (!*ilock_shared && (unaligned || *extend))\n\t\twait(inode);\n\treturn 0;\n}}\n"
        );
        let mut tree = Tree([("file.c".to_owned(), source)].into());
        let of = apply::Source { module: "fs/ext4", kernel: "7.2" };
        apply::apply(&[change(Kind::Semantic, text)], &mut tree, &of)
            .unwrap_or_else(|error| panic!("{error:#}"));
        let made = &tree.0["file.c"];
        assert!(made.contains("!overwrite && !ext4_test_inode_flag(inode, EXT4_INODE_EXTENTS)"), "{made}");
    }
}

fn variant(changes: Vec<Change>) -> Variant {
    let (about, module) = ("a fix".to_owned(), "fs/ext4".to_owned());
    Variant { name: "mine".into(), about, kernel: "debian:6.12".into(), module, changes }
}

#[test]
fn the_key_is_of_everything_that_the_module_is_made_of_and_of_nothing_else() {
    let record = |variant: &Variant, compiler: &str| Record {
        name: variant.name.clone(),
        about: variant.about.clone(),
        module: variant.module.clone(),
        change: change_hash(variant),
        compiler: compiler.to_owned(),
    };
    let mine = variant(vec![change(Kind::Diff, DIFF)]);
    let own = key("6.12", &record(&mine, "gcc 12"), "spatch 1");
    let renamed = Variant { name: "other".into(), about: "words".into(), ..mine.clone() };
    assert_eq!(own, key("6.12", &record(&renamed, "gcc 12"), "spatch 1"));
    let changed = variant(vec![change(Kind::Diff, &DIFF.replace("wait", "drain"))]);
    let elsewhere = Variant { module: "fs/jbd2".into(), ..mine.clone() };
    let others = [
        key("6.12.1", &record(&mine, "gcc 12"), "spatch 1"),
        key("6.12", &record(&mine, "gcc 14"), "spatch 1"),
        key("6.12", &record(&mine, "gcc 12"), "spatch 2"),
        key("6.12", &record(&changed, "gcc 12"), "spatch 1"),
        key("6.12", &record(&elsewhere, "gcc 12"), "spatch 1"),
    ];
    assert!(others.iter().all(|other| *other != own));
}

#[test]
fn where_one_change_ends_and_the_next_begins_counts() {
    let split = |a: &str, b: &str| change_hash(&variant(vec![change(Kind::Diff, a), change(Kind::Diff, b)]));
    assert_ne!(split("ab", "c"), split("a", "bc"));
}
