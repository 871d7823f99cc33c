//! What a policy says that is probably not meant.

use super::{assert_warnings, checked};

#[test]
fn what_lies_beyond_the_end_of_the_disk() {
    assert_warnings(
        r#"[case]
about = "x"
guest = "x.sh"
[case.image]
size = "64M"
filesystem = "ext4"
[place]
far = { offset = "64M", length = "4k" }
edge = { offset = "60M", length = "5M" }
[point]
A = { place = "far" }
B = { place = "edge" }
C = { place = { block = 20000, blocks = 1 } }
"#,
        r#"
warning: place `far` lies beyond the end of the disk
 --> my.toml:8:7
  |
8 | far = { offset = "64M", length = "4k" }
  |       ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ this never matches
  |
  = help: the disk of the case has 67108864 bytes

warning: place `edge` reaches beyond the end of the disk
 --> my.toml:9:8
  |
9 | edge = { offset = "60M", length = "5M" }
  |        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  |
  = help: the disk of the case has 67108864 bytes

warning: the range lies beyond the end of the disk
  --> my.toml:13:15
   |
13 | C = { place = { block = 20000, blocks = 1 } }
   |               ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ this never matches
   |
   = help: the disk of the case has 67108864 bytes
"#,
    );
}

#[test]
fn what_no_request_is_like() {
    assert_warnings(
        r#"[case]
about = "x"
guest = "x.sh"
[case.image]
size = "64M"
filesystem = "ext4"
[point]
A = { length = 1000 }
B = { op = "flush", length = "4k", class = "journal" }
C = { op = "discard", payload = "zero" }
D = { op = "write", length = { min = "8k", max = "4k" } }
E = { after = "A.arrived", before = "A.arrived" }

[[rule]]
gate = "submit"
op = "read"
point = "D"
fail = "io-error"
"#,
        r#"
warning: point `A`: no request has that length
 --> my.toml:8:16
  |
8 | A = { length = 1000 }
  |                ^^^^ this never matches
  |
  = help: a request's length is a multiple of 512 bytes

warning: point `B` is of requests that have no length
 --> my.toml:9:30
  |
9 | B = { op = "flush", length = "4k", class = "journal" }
  |                              ^^^^ this never matches
  |
  = help: leave `length` out: a flush addresses no bytes

warning: point `B` is of requests that touch no block
 --> my.toml:9:44
  |
9 | B = { op = "flush", length = "4k", class = "journal" }
  |                                            ^^^^^^^^^ this never matches
  |
  = help: leave `class` out: a flush addresses no bytes

warning: point `C` is of requests that carry no data
  --> my.toml:10:33
   |
10 | C = { op = "discard", payload = "zero" }
   |                                 ^^^^^^ this never matches
   |
   = help: leave `payload` out, or write op = "write"

warning: point `D`: the least length is more than the most
  --> my.toml:11:30
   |
11 | D = { op = "write", length = { min = "8k", max = "4k" } }
   |                              ^^^^^^^^^^^^^^^^^^^^^^^^^^ this never matches
   |
   = help: let `min` be at most `max`

warning: point `E` comes after and before the same
  --> my.toml:12:37
   |
12 | E = { after = "A.arrived", before = "A.arrived" }
   |                                     ^^^^^^^^^^^ this never matches
   |
   = help: let it come before something that happens later

warning: rule `rule-1`: its point is another operation
  --> my.toml:16:6
   |
16 | op = "read"
   |      ^^^^^^ this never matches
   |
   = help: leave `op` out: point `D` says it
"#,
    );
}

#[test]
fn what_never_happens() {
    assert_warnings(
        r#"[case]
about = "x"
guest = "x.sh"
[case.image]
size = "64M"
filesystem = "ext4"
[event]
gone = "policy"
[state]
slow = false
[point]
A = { op = "write" }
B = { op = "read", when = { any = ["A.arrived >= 2", "policy.gone"] } }

[[rule]]
gate = "submit"
point = "A"
nth = 2
delay = "1ms"

[[rule]]
gate = "submit"
when = "state.slow"
delay = "1ms"
"#,
        r#"
warning: `A.arrived` happens only once
  --> my.toml:13:36
   |
13 | B = { op = "read", when = { any = ["A.arrived >= 2", "policy.gone"] } }
   |                                    ^^^^^^^^^^^^^^^^ never is
   |
   = help: give point `A` a larger `count`

warning: no rule emits `gone`
  --> my.toml:13:54
   |
13 | B = { op = "read", when = { any = ["A.arrived >= 2", "policy.gone"] } }
   |                                                      ^^^^^^^^^^^^^ never happens
   |
   = help: write emit = "gone" in the rule that is meant

warning: rule `rule-1` is for request 2 of point `A`, which comes only once
  --> my.toml:18:7
   |
18 | nth = 2
   |       ^ this never matches
   |
   = help: give the point a larger `count`, or leave this out

warning: no rule turns `state.slow` on
  --> my.toml:23:8
   |
23 | when = "state.slow"
   |        ^^^^^^^^^^^^ never is on
   |
   = help: write `set` in the rule that is meant, or let it be on from the start
"#,
    );
}

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
fn what_may_hold_every_slot_of_the_ring() {
    assert_warnings(
        r#"[case]
about = "x"
guest = "x.sh"
[case.image]
size = "64M"
filesystem = "ext4"
[case.device]
queue-size = 8
[point]
R = { op = "read" }
W = { op = "write", from = 1 }

[[hold]]
gate = "W.complete"
until = "R.arrived"

[[rule]]
gate = "submit"
op = "discard"
until = "R.arrived"

[[rule]]
gate = "submit"
op = "flush"
reorder = "random"
window = 16
"#,
        r#"
warning: the hold of `W.complete` may hold every slot of the ring: with queue size 8, when 8 requests are held no other can arrive, also not the one that this waits for
  --> my.toml:15:9
   |
15 | until = "R.arrived"
   |         ^^^^^^^^^^^ needs another request
   |
   = help: write count = 4, say, or give the disk a larger `queue-size`

warning: rule `rule-1` may hold every slot of the ring: with queue size 8, when 8 requests are held no other can arrive, also not the one that this waits for
  --> my.toml:20:9
   |
20 | until = "R.arrived"
   |         ^^^^^^^^^^^ needs another request
   |
   = help: write count = 4, say, or give the disk a larger `queue-size`

warning: rule `rule-2` never has 16 requests to reorder: with queue size 8 no more than that can be held
  --> my.toml:26:10
   |
26 | window = 16
   |          ^^ never full
   |
   = help: make `window` smaller, write `within`, or give the disk a larger `queue-size`
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

/// Asserts that rules beside a point `W`, one write, are not doubted.
fn assert_no_warning(rules: &str) {
    let text = format!("[event]\ng = \"guest\"\n[point]\nW = {{ op = \"write\", nth = 2 }}\n{rules}");
    let warnings = checked(&text).warnings;
    assert!(warnings.list.is_empty(), "{rules}\n{warnings}");
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
fn what_ends_without_another_request_may_hold_every_slot() {
    let rule = |until: &str| {
        format!(
            "[[rule]]\ngate = \"submit\"\npoint = \"W\"\npass = true\n[[rule]]\ngate = \"submit\"\nop = \"read\"\nuntil = {until}\n"
        )
    };
    assert_no_warning(&rule("\"guest.g\""));
    assert_no_warning(&rule("{ any = [\"W.arrived\", \"guest.g\"] }"));
    assert_no_warning(&rule("\"in-flight >= 128\""));
    assert!(
        !checked(&format!("[point]\nW = {{}}\n{}", rule("\"in-flight >= 129\""))).warnings.list.is_empty()
    );
}
