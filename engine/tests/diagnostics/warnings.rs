//! What a policy says that is probably not meant.

use super::{assert_no_warning, assert_warnings};

#[test]
fn a_rule_that_waits_for_what_it_holds() {
    assert_warnings(
        r#"[point]
W = { op = "write", nth = 2 }

[[rule]]
gate = "complete"
op = "write"
count = 4
until = "W.completed"
"#,
        r#"
warning: rule `rule-1` may wait for itself: it can hold `W` before `W.completed`
 --> my.toml:8:9
  |
8 | until = "W.completed"
  |         ^^^^^^^^^^^^^ cannot come while it is held
  |
  = help: let `W` go first: [[rule]] with gate = "complete", point = "W", pass = true
"#,
    );
}

#[test]
fn a_pause_that_waits_for_what_it_stops() {
    assert_warnings(
        r#"[point]
W = { op = "write" }

[[rule]]
gate = "submit"
op = "read"
nth = 1
pause = "disk"
until = "W.done"
"#,
        r#"
warning: rule `rule-1` may wait for itself: it can hold `W` before `W.done`
 --> my.toml:9:9
  |
9 | until = "W.done"
  |         ^^^^^^^^ cannot come while it is held
  |
  = help: let the pause end by what still comes, such as `W.arrived` or an event of the guest
"#,
    );
}

#[test]
fn what_nothing_uses() {
    assert_warnings(
        r#"[parameter]
n = 1
[place]
p = "guest"
[state]
slow = false
[point]
A = { op = "write" }
"#,
        r#"
warning: parameter `n` is never used
 --> my.toml:2:1
  |
2 | n = 1
  | ^
  |
  = help: write "$n" where its value belongs, or leave it out

warning: place `p` is never used
 --> my.toml:4:1
  |
4 | p = "guest"
  | ^ no point and no rule is for it
  |
  = help: leave it out

warning: state `slow` is never used
 --> my.toml:6:1
  |
6 | slow = false
  | ^^^^ no expression asks for it
  |
  = help: leave it out

warning: point `A` is never used
 --> my.toml:8:1
  |
8 | A = { op = "write" }
  | ^ no hold, rule or expression names it
  |
  = help: leave it out
"#,
    );
}

#[test]
fn times_that_the_watchdog_ends() {
    assert_warnings(
        r#"watchdog = "1s"

[[rule]]
gate = "submit"
op = "read"
reorder = "random"
window = 4
within = "2s"

[[rule]]
gate = "submit"
op = "write"
stall = { every = "5s", for = "2s" }

[[rule]]
gate = "submit"
op = "flush"
pass = true
watchdog = "1s"
"#,
        r#"
warning: rule `rule-1` collects for longer than its watchdog lets it
 --> my.toml:8:10
  |
8 | within = "2s"
  |          ^^^^ the watchdog ends it before
  |
  = help: give the rule a longer `watchdog`

warning: rule `rule-2` stalls for longer than its watchdog lets it
  --> my.toml:13:9
   |
13 | stall = { every = "5s", for = "2s" }
   |         ^^^^^^^^^^^^^^^^^^^^^^^^^^^^ the watchdog ends it before
   |
   = help: give the rule a longer `watchdog`

warning: rule `rule-3` has a watchdog, but nothing to wait for
  --> my.toml:19:12
   |
19 | watchdog = "1s"
   |            ^^^^
   |
   = help: leave `watchdog` out
"#,
    );
}

#[test]
fn rules_that_let_the_awaited_request_go_do_not_wait_for_themselves() {
    let rule =
        |keys: &str| format!("[[rule]]\ngate = \"complete\"\nuntil = \"W.completed\"\ncount = 4\n{keys}\n");
    assert_no_warning(&rule("op = \"read\""));
    assert_no_warning(&rule("op = \"write\"\nbefore = \"W.arrived\""));
    assert_no_warning(&rule("op = \"write\"\nafter = \"W.completed\""));
    let pass = "[[rule]]\ngate = \"complete\"\npoint = \"W\"\npass = true\n";
    assert_no_warning(&format!("{pass}{}", rule("op = \"write\"")));
    let first = "[[rule]]\ngate = \"complete\"\nuntil = \"W.completed\"\nop = \"write\"\nnth = 1\n";
    assert_no_warning(first);
}

#[test]
fn a_pause_that_only_a_rule_could_end() {
    assert_warnings(
        r#"[event]
done = "policy"

[[rule]]
gate = "submit"
op = "read"
nth = 3
pause = "disk"
until = "policy.done"

[[rule]]
gate = "submit"
op = "write"
emit = "done"
"#,
        r#"
warning: rule `rule-1` may wait for itself: while it pauses the disk no rule acts that could end it
 --> my.toml:9:9
  |
9 | until = "policy.done"
  |         ^^^^^^^^^^^^^ comes from rules alone
  |
  = help: let the pause end by an event of the guest or of the control socket, or by `POINT.arrived`
"#,
    );
}
