//! Rules that may wait for what they hold, and those that only look like it.

use super::{assert_good, assert_warnings};

#[test]
fn a_pause_of_the_ring_of_what_it_waits_for() {
    let policy = |queue: u64| {
        format!(
            r#"[point]
A = {{ op = "write", queue = 0 }}
F = {{ op = "flush", queue = {queue} }}

[[rule]]
gate = "submit"
point = "A"
pause = "ring"
until = "F.completed"
"#
        )
    };
    assert_good(&policy(1));
    assert_good(&policy(1).replace("F.completed", "F.submitted"));
    let by_queue = policy(1).replace("point = \"A\"", "op = \"write\"\nqueue = 0\ncount = 1");
    assert_good(&by_queue.replace("A = { op = \"write\", queue = 0 }\n", ""));
    // Of which ring it is, nobody knows.
    assert_good(
        "[point]\nF = { op = \"flush\" }\n[[rule]]\ngate = \"submit\"\nop = \"write\"\npause = \"ring\"\nuntil = \"F.done\"\n",
    );
    assert_warnings(
        &policy(0),
        r#"
warning: rule `rule-1` may wait for itself: it can hold `F` before `F.completed`
 --> my.toml:9:9
  |
9 | until = "F.completed"
  |         ^^^^^^^^^^^^^ cannot come while it is held
  |
  = help: let the pause end by what still comes, such as `F.arrived` or an event of the guest
"#,
    );
}

/// A point `F` that is a write at place `b`, and a rule that holds writes until it is complete, behind something.
fn behind(first: &str) -> String {
    format!(
        r#"[event]
go = "control"
[place]
b = "guest"
[point]
F = {{ op = "write", place = "b" }}
{first}
[[rule]]
name = "late"
gate = "complete"
op = "write"
count = 8
until = "F.completed"
"#
    )
}

#[test]
fn what_goes_by_another_rule_does_not_wait_for_itself() {
    let rule = |does: &str| behind(&format!("[[rule]]\nop = \"write\"\nplace = \"b\"\n{does}\n"));
    assert_good(&rule("gate = \"complete\"\npass = true"));
    assert_good(&rule("gate = \"complete\"\ndelay = \"1ms\""));
    assert_good(&rule("gate = \"complete\"\ncount = 8\npass = true"));
    assert_good(&rule("gate = \"complete\"\nuntil = \"control.go\""));
    // What is failed at the submit gate never comes to the other.
    assert_good(&rule("gate = \"submit\"\nfail = \"io-error\""));
}

#[test]
fn what_has_a_hold_of_its_own_does_not_stand_by_a_rule() {
    assert_good(&behind("[[hold]]\ngate = \"F.complete\"\nuntil = \"control.go\"\n"));
}

#[test]
fn what_other_rules_do_not_decide_about_may_wait_for_itself() {
    let rule = |keys: &str| behind(&format!("[[rule]]\n{keys}\nop = \"write\"\npass = true\n"));
    let expected = |line: usize| {
        format!(
            r#"
warning: rule `late` may wait for itself: it can hold `F` before `F.completed`
  --> my.toml:{line}:9
   |
{line} | until = "F.completed"
   |         ^^^^^^^^^^^^^ cannot come while it is held
   |
   = help: let `F` go first: [[rule]] with gate = "complete", point = "F", pass = true
"#
        )
    };
    let doubted =
        |text: &str, line| assert_warnings(&text.replace("go = \"control\"\n", ""), &expected(line));
    doubted(&rule("gate = \"submit\""), 16);
    doubted(&rule("gate = \"complete\"\nafter = \"F.completed\""), 17);
    doubted(&rule("gate = \"complete\"\nlength = \"4k\""), 17);
}
