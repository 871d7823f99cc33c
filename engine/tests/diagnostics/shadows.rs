//! What is never reached, because something before it always is.

use super::{assert_good, assert_no_warning, assert_warnings};

#[test]
fn a_rule_that_an_earlier_one_shadows() {
    assert_warnings(
        r#"[place]
p = "guest"
[point]
A = { op = "write", place = "p" }

[[rule]]
name = "slow-writes"
gate = "submit"
op = "write"
delay = "1ms"

[[rule]]
name = "bad-block"
gate = "submit"
op = "write"
place = { offset = "1M", length = "4k" }
fail = "io-error"

[[rule]]
gate = "submit"
point = "A"
fail = "io-error"
"#,
        r#"
warning: rule `bad-block` never decides: rule `slow-writes` does before it
  --> my.toml:13:8
   |
 7 | name = "slow-writes"
   |        ------------- decides about all of these requests
...
13 | name = "bad-block"
   |        ^^^^^^^^^^^ never reached
   |
   = help: put the narrower rule first, or let the earlier one mean fewer requests

warning: rule `rule-3` never decides: rule `slow-writes` does before it
  --> my.toml:19:1
   |
 7 | name = "slow-writes"
   |        ------------- decides about all of these requests
...
19 | [[rule]]
   | ^^^^^^^^ never reached
   |
   = help: put the narrower rule first, or let the earlier one mean fewer requests
"#,
    );
}

#[test]
fn rules_for_different_requests_do_not_shadow_each_other() {
    let used = "[[hold]]\ngate = \"W.complete\"\nuntil = \"guest.g\"\n";
    let rule = |keys: &str| format!("[[rule]]\ngate = \"submit\"\npass = true\n{keys}\n");
    let pairs = [
        ("op = \"read\"", "op = \"write\""),
        ("op = \"read\"\nprobability = 0.5", "op = \"read\""),
        ("op = \"read\"\nwhen = \"guest.g\"", "op = \"read\""),
        ("op = \"read\"\ncount = 5", "op = \"read\""),
        ("place = { block = 1, blocks = 1 }", "place = { block = 1, blocks = 2 }"),
        ("place = { block = 1, blocks = 1 }", "place = { block = 2, blocks = 1 }"),
        ("length = \"4k\"", "length = { min = \"4k\" }"),
        ("class = \"journal\"", "class = \"metadata\""),
        ("queue = 1", "queue = 2"),
        ("queue = 1", ""),
        ("point = \"W\"", "op = \"write\""),
        ("op = \"write\"\npayload = \"zero\"", "op = \"write\""),
    ];
    for (first, second) in pairs {
        assert_no_warning(&format!("{used}{}{}", rule(first), rule(second)));
    }
}

#[test]
fn a_rule_behind_the_hold_of_its_point() {
    assert_warnings(
        r#"[point]
A = { op = "write" }
W = { op = "flush", from = 1, count = 4 }
R = { op = "read", from = 1 }

[event]
go = "control"

[[hold]]
gate = "A.complete"
until = "control.go"

[[hold]]
gate = "R.submit"
until = "control.go"

[[rule]]
name = "slow"
gate = "complete"
point = "A"
delay = "1ms"

[[rule]]
gate = "submit"
op = "read"
length = "4k"
fail = "io-error"

[[rule]]
gate = "submit"
point = "W"
delay = "1ms"
"#,
        r#"
warning: rule `slow` never acts: the hold of `A.complete` decides there
  --> my.toml:18:8
   |
10 | gate = "A.complete"
   |        ------------ rules have no say about a point that has a hold at the gate
...
18 | name = "slow"
   |        ^^^^^^ never reached
   |
   = help: write the hold as a rule with `point` and `until`, or let the rule be for the other gate

warning: rule `rule-2` never acts: the hold of `R.submit` decides there
  --> my.toml:23:1
   |
14 | gate = "R.submit"
   |        ---------- rules have no say about a point that has a hold at the gate
...
23 | [[rule]]
   | ^^^^^^^^ never reached
   |
   = help: write the hold as a rule with `point` and `until`, or let the rule be for the other gate
"#,
    );
}

#[test]
fn a_point_that_an_earlier_one_takes() {
    assert_warnings(
        r#"[place]
p = "guest"

[point]
A = { op = "write" }
B = { op = "write", nth = 1 }
R = { op = "read", from = 1 }
S = { op = "read", place = "p" }

[[rule]]
gate = "submit"
op = "flush"
until = { any = ["A.done", "B.done", "R.done", "S.done"] }
count = 1
"#,
        r#"
warning: point `B` never is: point `A` takes its requests
 --> my.toml:6:1
  |
5 | A = { op = "write" }
  | - matches the same requests
6 | B = { op = "write", nth = 1 }
  | ^ always taken before
  |
  = help: tell them apart: `nth`, `place`, or after = "A.arrived" for what comes after it

warning: point `S` never is: point `R` takes its requests
 --> my.toml:8:1
  |
7 | R = { op = "read", from = 1 }
  | - matches the same requests
8 | S = { op = "read", place = "p" }
  | ^ always taken before
  |
  = help: a request is the first point in file order that it matches: put the narrower point first
"#,
    );
}

#[test]
fn rules_that_leave_nothing_together() {
    assert_warnings(
        r#"[point]
A = { op = "write" }

[[rule]]
name = "reads"
gate = "submit"
op = "read"
delay = "1ms"

[[rule]]
name = "small"
gate = "submit"
op = "write"
length = { max = "4k" }
delay = "1ms"

[[rule]]
name = "large"
gate = "submit"
op = "write"
length = { min = 4097 }
delay = "1ms"

[[rule]]
name = "both"
gate = "submit"
op = ["read", "write"]
fail = "io-error"

[[rule]]
name = "first-half"
gate = "complete"
place = { offset = 0, length = "1M" }
delay = "1ms"

[[rule]]
name = "second-half"
gate = "complete"
place = { offset = "1M", length = "1M" }
delay = "1ms"

[[rule]]
name = "all"
gate = "complete"
place = { offset = "512k", length = "1M" }
fail = "io-error"

[[rule]]
name = "after"
gate = "complete"
op = "flush"
after = "A.done"
probability = 1.0
pass = true

[[rule]]
name = "after-too"
gate = "complete"
op = "flush"
after = "A.done"
delay = "1ms"
"#,
        r#"
warning: rule `both` never decides: rules `reads`, `small` and `large` do before it
  --> my.toml:25:8
   |
 5 | name = "reads"
   |        ------- decides about some of these requests
...
11 | name = "small"
   |        ------- decides about some of these requests
...
18 | name = "large"
   |        ------- decides about some of these requests
...
25 | name = "both"
   |        ^^^^^^ never reached
   |
   = help: together they leave nothing to it: put it first, or let one of them mean fewer requests

warning: rule `all` never decides: rules `first-half` and `second-half` do before it
  --> my.toml:43:8
   |
31 | name = "first-half"
   |        ------------ decides about some of these requests
...
37 | name = "second-half"
   |        ------------- decides about some of these requests
...
43 | name = "all"
   |        ^^^^^ never reached
   |
   = help: together they leave nothing to it: put it first, or let one of them mean fewer requests

warning: rule `after-too` never decides: rule `after` does before it
  --> my.toml:57:8
   |
49 | name = "after"
   |        ------- decides about all of these requests
...
57 | name = "after-too"
   |        ^^^^^^^^^^^ never reached
   |
   = help: put the narrower rule first, or let the earlier one mean fewer requests
"#,
    );
}

#[test]
fn rules_whose_conditions_leave_nothing() {
    assert_warnings(
        r#"[event]
go = "control"
[state]
s = false

[[rule]]
name = "first"
gate = "submit"
op = "write"
from = 2
delay = "1ms"

[[rule]]
name = "again"
gate = "submit"
op = "write"
from = 2
delay = "1ms"

[[rule]]
name = "second"
gate = "submit"
op = "write"
nth = 2
delay = "1ms"

[[rule]]
name = "on"
gate = "complete"
op = "write"
when = "state.s"
delay = "1ms"

[[rule]]
name = "off"
gate = "complete"
op = "write"
when = { not = "state.s" }
delay = "1ms"

[[rule]]
name = "either"
gate = "complete"
op = "write"
delay = "1ms"

[[rule]]
name = "few"
gate = "complete"
op = "read"
when = "in-flight < 4"
set = "s"
delay = "1ms"

[[rule]]
name = "many"
gate = "complete"
op = "read"
when = "in-flight >= 3"
delay = "1ms"

[[rule]]
name = "any"
gate = "complete"
op = "read"
before = "control.go"
delay = "1ms"

[[rule]]
name = "classes"
gate = "submit"
class = ["metadata", "file-data", "unknown"]
delay = "1ms"

[[rule]]
name = "reads"
gate = "submit"
op = "read"
delay = "1ms"

[[rule]]
name = "always"
gate = "complete"
op = "flush"
when = "in-flight >= 1"
delay = "1ms"

[[rule]]
name = "flushes"
gate = "complete"
op = "flush"
delay = "1ms"
"#,
        r#"
warning: rule `again` never decides: rule `first` does before it
  --> my.toml:14:8
   |
 7 | name = "first"
   |        ------- decides about all of these requests but the first
...
14 | name = "again"
   |        ^^^^^^^ never reached
   |
   = help: turns of a rule are counted over what earlier ones leave to it: put it first

warning: rule `second` never decides: rule `first` does before it
  --> my.toml:21:8
   |
 7 | name = "first"
   |        ------- decides about all of these requests but the first
...
21 | name = "second"
   |        ^^^^^^^^ never reached
   |
   = help: turns of a rule are counted over what earlier ones leave to it: put it first

warning: rule `either` never decides: rules `on` and `off` do before it
  --> my.toml:42:8
   |
28 | name = "on"
   |        ---- decides about some of these requests
...
35 | name = "off"
   |        ----- decides about some of these requests
...
42 | name = "either"
   |        ^^^^^^^^ never reached
   |
   = help: together they leave nothing to it: put it first, or let one of them mean fewer requests

warning: rule `any` never decides: rules `few` and `many` do before it
  --> my.toml:63:8
   |
48 | name = "few"
   |        ----- decides about some of these requests
...
56 | name = "many"
   |        ------ decides about some of these requests
...
63 | name = "any"
   |        ^^^^^ never reached
   |
   = help: together they leave nothing to it: put it first, or let one of them mean fewer requests

warning: rule `reads` never decides: rule `classes` does before it
  --> my.toml:76:8
   |
70 | name = "classes"
   |        --------- decides about all of these requests
...
76 | name = "reads"
   |        ^^^^^^^ never reached
   |
   = help: put the narrower rule first, or let the earlier one mean fewer requests

warning: rule `flushes` never decides: rule `always` does before it
  --> my.toml:89:8
   |
82 | name = "always"
   |        -------- decides about all of these requests
...
89 | name = "flushes"
   |        ^^^^^^^^^ never reached
   |
   = help: put the narrower rule first, or let the earlier one mean fewer requests
"#,
    );
}

#[test]
fn a_state_that_is_turned_between_two_rules() {
    assert_good(
        r#"[state]
s = false

[[rule]]
gate = "submit"
op = "write"
when = "state.s"
delay = "1ms"

[[rule]]
gate = "submit"
op = "write"
from = 5
set = "s"

[[rule]]
gate = "submit"
op = "write"
when = { not = "state.s" }
delay = "1ms"

[[rule]]
gate = "submit"
op = "write"
delay = "1ms"
"#,
    );
}

#[test]
fn points_that_take_all_requests_together() {
    assert_warnings(
        r#"[event]
go = "control"
[point]
A = { op = "write", from = 1, length = { max = "4k" } }
B = { op = "write", from = 1, length = { min = 4608 } }
C = { op = "write", nth = 3 }

[[hold]]
gate = "A.complete"
until = { any = ["control.go", "B.arrived", "C.arrived"] }
"#,
        r#"
warning: point `C` never is: points `A` and `B` take its requests
 --> my.toml:6:1
  |
4 | A = { op = "write", from = 1, length = { max = "4k" } }
  | - matches some of these requests
5 | B = { op = "write", from = 1, length = { min = 4608 } }
  | - matches some of these requests
6 | C = { op = "write", nth = 3 }
  | ^ always taken before
  |
  = help: a request is the first point in file order that it matches: put the narrower point first
"#,
    );
}

#[test]
fn points_that_take_the_next_that_is_free() {
    let good = |points: &str, last: &str| {
        let until = "[event]\ngo = \"control\"\n";
        let holds = ["A", "B", last]
            .map(|point| format!("[[hold]]\ngate = \"{point}.complete\"\nuntil = \"control.go\"\n"));
        assert_good(&format!("{until}[point]\n{points}\n{}", holds.concat()));
    };
    good("A = { op = \"write\" }\nB = { op = \"write\" }", "B");
    good("A = { op = \"write\" }\nB = { op = \"write\", nth = 2 }\nC = { op = \"write\" }", "C");
    good("A = { op = \"write\", count = 3 }\nB = { op = \"write\", from = 1, count = 2 }", "B");
}

#[test]
fn what_is_failed_before_the_drive_has_it() {
    assert_warnings(
        r#"[event]
go = "control"
[point]
A = { op = "write" }

[[hold]]
gate = "A.complete"
until = "control.go"

[[rule]]
op = "write"
gate = "submit"
fail = "io-error"

[[rule]]
op = "write"
gate = "complete"
delay = "1ms"
"#,
        r#"
warning: the hold of `A.complete` is never reached: rule `rule-1` fails its requests before the drive has them
  --> my.toml:7:8
   |
 7 | gate = "A.complete"
   |        ^^^^^^^^^^^^ never reached
...
10 | [[rule]]
   | -------- what it fails never comes to the complete gate
   |
   = help: let that one fail them at gate = "complete", or leave this out

warning: rule `rule-2` never acts: rule `rule-1` fails its requests before the drive has them
  --> my.toml:15:1
   |
10 | [[rule]]
   | -------- what it fails never comes to the complete gate
...
15 | [[rule]]
   | ^^^^^^^^ never reached
   |
   = help: let that one fail them at gate = "complete", or leave this out
"#,
    );
}
