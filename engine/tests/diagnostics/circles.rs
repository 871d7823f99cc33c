//! What waits for itself, by way of points, holds and rules.

use super::{assert_mistakes, assert_warnings};

#[test]
fn holds_that_wait_in_a_circle() {
    assert_mistakes(
        r#"[point]
A = { op = "write" }
R = { op = "read" }

[[hold]]
gate = "A.complete"
until = "R.completed"

[[hold]]
gate = "R.submit"
until = "A.completed"
"#,
        r#"
error: holds wait in a circle: A.complete waits for R.completed; R.submit waits for A.completed, which cannot come before A.complete is released
 --> my.toml:5:1
  |
5 | [[hold]]
  | ^^^^^^^^ this hold can never end but by its watchdog
  |
  = help: let one of them wait for something that comes before its own release, or for a guest event
"#,
    );
}

#[test]
fn a_hold_that_waits_for_its_own_release() {
    assert_mistakes(
        r#"[point]
A = { op = "write" }

[[hold]]
gate = "A.submit"
until = "A.done"
"#,
        r#"
error: holds wait in a circle: A.submit waits for A.done, which cannot come before A.submit is released
 --> my.toml:4:1
  |
4 | [[hold]]
  | ^^^^^^^^ this hold can never end but by its watchdog
  |
  = help: let one of them wait for something that comes before its own release, or for a guest event
"#,
    );
}

#[test]
fn a_point_that_comes_only_after_a_held_one() {
    assert_mistakes(
        r#"[point]
A = { op = "write" }
B = { op = "write", after = "A.completed" }

[[hold]]
gate = "A.complete"
until = "B.arrived"
"#,
        r#"
error: holds wait in a circle: A.complete waits for B.arrived, which cannot come before A.complete is released
 --> my.toml:5:1
  |
5 | [[hold]]
  | ^^^^^^^^ this hold can never end but by its watchdog
  |
  = help: let one of them wait for something that comes before its own release, or for a guest event
"#,
    );
}

#[test]
fn points_that_wait_for_each_other() {
    assert_mistakes(
        r#"[point]
X = { op = "write", after = "Y.arrived" }
Y = { op = "write", after = "X.arrived" }
"#,
        r#"
error: point `X` can never arrive: what it comes after waits for it
 --> my.toml:2:1
  |
2 | X = { op = "write", after = "Y.arrived" }
  | ^ in a circle
  |
  = help: let one of the points come after nothing, or after an event of the guest
"#,
    );
}

#[test]
fn a_circle_through_an_event_that_a_rule_emits() {
    assert_warnings(
        r#"[event]
seen = "policy"

[point]
A = { op = "write" }
B = { op = "read" }

[[hold]]
gate = "A.complete"
until = "policy.seen"

[[hold]]
gate = "B.submit"
until = "A.completed"

[[rule]]
name = "see"
gate = "complete"
point = "B"
emit = "seen"
"#,
        r#"
warning: the hold of `A.complete` ends only by its watchdog: `A.complete` waits for `policy.seen`; rule `see` emits that; it acts after `B.done`; `B.submit` waits for `A.completed`; and so it waits for itself
  --> my.toml:10:9
   |
10 | until = "policy.seen"
   |         ^^^^^^^^^^^^^ this can never be
   |
   = help: let one of them wait for what comes anyway, or for an event of the guest
"#,
    );
}

#[test]
fn a_state_that_only_a_held_request_turns_on() {
    assert_warnings(
        r#"[state]
ready = false

[[rule]]
name = "wait"
gate = "submit"
op = "write"
count = 3
until = "state.ready"

[[rule]]
name = "hold"
gate = "submit"
op = "read"
until = "state.ready"

[[rule]]
name = "turn"
gate = "complete"
op = "read"
set = "ready"
"#,
        r#"
warning: what rule `wait` holds goes on only by its watchdog: rule `wait` waits for `state.ready`; rule `turn` turns it on; its requests stand before; rule `hold` waits for `state.ready`; rule `turn` turns it on; its requests stand before; and so it waits for what waits for it
 --> my.toml:9:9
  |
9 | until = "state.ready"
  |         ^^^^^^^^^^^^^ this can never be
  |
  = help: let one of them wait for what comes anyway, or for an event of the guest

warning: what rule `hold` holds goes on only by its watchdog: rule `hold` waits for `state.ready`; rule `turn` turns it on; its requests stand before; and so it waits for itself
  --> my.toml:15:9
   |
15 | until = "state.ready"
   |         ^^^^^^^^^^^^^ this can never be
   |
   = help: let one of them wait for what comes anyway, or for an event of the guest
"#,
    );
}

#[test]
fn a_step_that_a_failed_request_never_takes() {
    assert_warnings(
        r#"[point]
A = { op = "write" }
B = { op = "read" }

[[hold]]
gate = "A.submit"
until = "B.done"

[[rule]]
gate = "submit"
point = "B"
fail = "io-error"
"#,
        r#"
warning: the hold of `A.submit` ends only by its watchdog: `A.submit` waits for `B.done`; a rule fails `B` before the drive has it
 --> my.toml:7:9
  |
7 | until = "B.done"
  |         ^^^^^^^^ this can never be
  |
  = help: let one of them wait for what comes anyway, or for an event of the guest
"#,
    );
}

#[test]
fn a_state_that_no_rule_turns_off() {
    assert_warnings(
        r#"[state]
busy = true

[point]
A = { op = "write" }

[[hold]]
gate = "A.submit"
until = { not = "state.busy" }

[[rule]]
gate = "submit"
op = "read"
delay = "1ms"
"#,
        r#"
warning: the hold of `A.submit` ends only by its watchdog: `A.submit` waits for `not(state.busy)`; no rule turns it off
 --> my.toml:9:9
  |
9 | until = { not = "state.busy" }
  |         ^^^^^^^^^^^^^^^^^^^^^^ this can never be
  |
  = help: let one of them wait for what comes anyway, or for an event of the guest
"#,
    );
}

#[test]
fn every_circle_is_told_in_one_pass() {
    assert_mistakes(
        r#"[point]
W = { op = "write" }
R = { op = "read" }
X = { op = "write", nth = 2 }
Y = { op = "read", nth = 2 }
E = { op = "flush", after = "E.arrived" }
G = { op = "discard", after = "H.arrived" }
H = { op = "discard", after = "G.arrived", nth = 2 }
Z = { op = "write", nth = 3, after = "H.arrived" }

[[hold]]
gate = "W.complete"
until = "R.completed"

[[hold]]
gate = "R.submit"
until = "W.completed"

[[hold]]
gate = "X.complete"
until = { all = ["Y.completed", "W.completed"] }

[[hold]]
gate = "Y.submit"
until = "X.completed"
"#,
        r#"
error: point `E` can never arrive: what it comes after waits for it
 --> my.toml:6:1
  |
6 | E = { op = "flush", after = "E.arrived" }
  | ^ in a circle
  |
  = help: let one of the points come after nothing, or after an event of the guest

error: point `G` can never arrive: what it comes after waits for it
 --> my.toml:7:1
  |
7 | G = { op = "discard", after = "H.arrived" }
  | ^ in a circle
  |
  = help: let one of the points come after nothing, or after an event of the guest

warning: point `Z` is never used
 --> my.toml:9:1
  |
9 | Z = { op = "write", nth = 3, after = "H.arrived" }
  | ^ no hold, rule or expression names it
  |
  = help: leave it out

error: holds wait in a circle: W.complete waits for R.completed; R.submit waits for W.completed, which cannot come before W.complete is released
  --> my.toml:11:1
   |
11 | [[hold]]
   | ^^^^^^^^ this hold can never end but by its watchdog
   |
   = help: let one of them wait for something that comes before its own release, or for a guest event

error: holds wait in a circle: X.complete waits for all(Y.completed, W.completed); Y.submit waits for X.completed, which cannot come before X.complete is released
  --> my.toml:19:1
   |
19 | [[hold]]
   | ^^^^^^^^ this hold can never end but by its watchdog
   |
   = help: let one of them wait for something that comes before its own release, or for a guest event
"#,
    );
}

#[test]
fn circles_that_share_a_hold() {
    assert_mistakes(
        r#"[point]
A = { op = "write" }
B = { op = "read" }
C = { op = "flush" }

[[hold]]
gate = "A.complete"
until = { all = ["B.completed", "C.completed"] }

[[hold]]
gate = "B.submit"
until = "A.completed"

[[hold]]
gate = "C.submit"
until = "C.done"
"#,
        r#"
error: holds wait in a circle: A.complete waits for all(B.completed, C.completed); B.submit waits for A.completed, which cannot come before A.complete is released
 --> my.toml:6:1
  |
6 | [[hold]]
  | ^^^^^^^^ this hold can never end but by its watchdog
  |
  = help: let one of them wait for something that comes before its own release, or for a guest event

error: holds wait in a circle: C.submit waits for C.done, which cannot come before C.submit is released
  --> my.toml:14:1
   |
14 | [[hold]]
   | ^^^^^^^^ this hold can never end but by its watchdog
   |
   = help: let one of them wait for something that comes before its own release, or for a guest event
"#,
    );
}

#[test]
fn a_pause_that_waits_for_what_comes_after_it() {
    assert_warnings(
        r#"[point]
A = { op = "write" }
F = { op = "flush", after = "A.completed" }

[[rule]]
point = "A"
gate = "complete"
pause = "disk"
until = "F.arrived"
"#,
        r#"
warning: what rule `rule-1` holds goes on only by its watchdog: `A.completed` has not happened by then, and what it asks for comes only after that
 --> my.toml:9:9
  |
9 | until = "F.arrived"
  |         ^^^^^^^^^^^ this can never be
  |
  = help: wait for what comes anyway, or for an event of the guest
"#,
    );
}

#[test]
fn a_rule_that_may_hold_what_comes_before_what_it_waits_for() {
    assert_warnings(
        r#"[point]
A = { op = "write" }
F = { op = "flush", after = "A.completed" }

[[rule]]
op = "write"
gate = "complete"
count = 3
until = "F.arrived"

[[rule]]
point = "F"
gate = "complete"
until = "F.completed"
"#,
        r#"
warning: rule `rule-1` may wait for itself: it can hold `A` before `A.completed`, after which comes what it waits for
 --> my.toml:9:9
  |
9 | until = "F.arrived"
  |         ^^^^^^^^^^^ cannot come while it is held
  |
  = help: let `A` go first: [[rule]] with gate = "complete", point = "A", pass = true

warning: what rule `rule-2` holds goes on only by its watchdog: `F.completed` has not happened by then
  --> my.toml:14:9
   |
14 | until = "F.completed"
   |         ^^^^^^^^^^^^^ this can never be
   |
   = help: wait for what comes anyway, or for an event of the guest
"#,
    );
}

#[test]
fn rules_that_match_only_after_each_other() {
    assert_warnings(
        r#"[event]
p = "policy"
q = "policy"
[state]
s = false

[[rule]]
op = "write"
gate = "complete"
after = "policy.p"
set = "s"

[[rule]]
op = "read"
gate = "complete"
when = "state.s"
emit = "p"

[[rule]]
op = "flush"
gate = "complete"
after = "policy.q"
emit = "q"
delay = "1ms"
"#,
        r#"
warning: rule `rule-1` never matches: rule `rule-1` asks for `policy.p`; rule `rule-2` emits that; it asks for `state.s`; rule `rule-1` turns it on; it asks for `policy.p`; and so it waits for itself
  --> my.toml:10:9
   |
10 | after = "policy.p"
   |         ^^^^^^^^^^ this never matches
   |
   = help: let it come after something that happens

warning: rule `rule-3` never matches: rule `rule-3` asks for `policy.q`; rule `rule-3` emits that; it asks for `policy.q`; and so it waits for itself
  --> my.toml:22:9
   |
22 | after = "policy.q"
   |         ^^^^^^^^^^ this never matches
   |
   = help: let it come after something that happens
"#,
    );
}

#[test]
fn a_circle_of_rules_is_told_beside_one_of_holds() {
    assert_mistakes(
        r#"[point]
W = { op = "write" }
A = { op = "write", nth = 2 }
F = { op = "flush", after = "A.completed" }

[[hold]]
gate = "W.submit"
until = "W.done"

[[rule]]
point = "A"
gate = "complete"
until = "F.arrived"
"#,
        r#"
error: holds wait in a circle: W.submit waits for W.done, which cannot come before W.submit is released
 --> my.toml:6:1
  |
6 | [[hold]]
  | ^^^^^^^^ this hold can never end but by its watchdog
  |
  = help: let one of them wait for something that comes before its own release, or for a guest event

warning: what rule `rule-1` holds goes on only by its watchdog: `A.completed` has not happened by then, and what it asks for comes only after that
  --> my.toml:13:9
   |
13 | until = "F.arrived"
   |         ^^^^^^^^^^^ this can never be
   |
   = help: wait for what comes anyway, or for an event of the guest
"#,
    );
}
