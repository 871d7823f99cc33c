//! Classes that the filesystem of the case cannot have.

use super::{assert_good, assert_warnings};

/// A case with these options of `mkfs`, and rules for these classes.
fn policy(options: &str, classes: &[&str]) -> String {
    let rule = |class: &&str| format!("\n[[rule]]\nclass = {class}\ngate = \"submit\"\ndelay = \"1ms\"\n");
    let rules: String = classes.iter().map(rule).collect();
    format!(
        r#"[case]
about = "x"
guest = "x.sh"
image = {{ size = "64M", filesystem = "ext4", options = {options} }}
{rules}"#
    )
}

#[test]
fn classes_that_come_with_a_feature() {
    assert_warnings(
        &policy(
            r#"["-b", "4096", "-O", "^has_journal,^extents"]"#,
            &[r#""journal-commit""#, r#"["extent"]"#, r#"["extent", "indirect"]"#],
        ),
        r#"
warning: rule `rule-1` is of classes that the filesystem of the case does not have
 --> my.toml:7:9
  |
7 | class = "journal-commit"
  |         ^^^^^^^^^^^^^^^^ this never matches
  |
  = help: it is made with `^has_journal`: `options` in [case.image]

warning: rule `rule-2` is of classes that the filesystem of the case does not have
  --> my.toml:12:9
   |
12 | class = ["extent"]
   |         ^^^^^^^^^^ this never matches
   |
   = help: it is made with `^extents`: `options` in [case.image]
"#,
    );
}

#[test]
fn classes_of_a_feature_that_may_be_there() {
    let classes = [r#""journal-commit""#, r#""extent""#, r#""indirect""#];
    let good = |options: &str| assert_good(&policy(options, &classes));
    good("[]");
    good(r#"["-O", "has_journal"]"#);
    good(r#"["-O", "^has_journal,has_journal"]"#);
    good(r#"["-O", "^has_journal", "-O", "^metadata_csum"]"#);
    good(r#"["-O", "^has_journal", "-J", "size=4"]"#);
    good(r#"["-L", "^has_journal"]"#);
}
