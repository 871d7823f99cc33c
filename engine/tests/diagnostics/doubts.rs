//! Doubts about what waits, decides and is never reached; and mistakes and doubts side by side.

use super::{assert_mistakes, assert_same, assert_warnings};
use blkstay_engine::policy::{Policy, Settings};

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
fn a_wait_for_what_the_waiting_keep_above_it() {
    assert_warnings(
        r#"[point]
W = { op = "write", count = 4 }

[[hold]]
gate = "W.submit"
until = { all = ["W.arrived >= 3", "in-flight < 3"] }

[[rule]]
name = "drain"
gate = "complete"
op = "read"
count = 3
until = "in-flight == 0"

[[rule]]
gate = "complete"
op = "flush"
when = "in-flight < 1"
delay = "1ms"
"#,
        r#"
warning: the hold of `W.submit` waits for itself: what it holds is in flight
 --> my.toml:6:9
  |
6 | until = { all = ["W.arrived >= 3", "in-flight < 3"] }
  |         ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ cannot be while it is held
  |
  = help: `in-flight` is 3 or more while it stands, and so never below 3: write `in-flight < 4`, or wait for an event

warning: rule `drain` waits for itself: what it holds is in flight
  --> my.toml:13:9
   |
13 | until = "in-flight == 0"
   |         ^^^^^^^^^^^^^^^^ cannot be while it is held
   |
   = help: `in-flight` is 1 or more while it stands, and so never below 1: write `in-flight < 2`, or wait for an event

warning: rule `rule-2` is for requests while none is in flight, but each is so itself
  --> my.toml:18:8
   |
18 | when = "in-flight < 1"
   |        ^^^^^^^^^^^^^^^ this never matches
   |
   = help: write `in-flight < 2`: no other one is
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

warning: rule `hold` may hold every slot of the ring: with queue size 128, when 128 requests are held no other can arrive, also not the one that this waits for
  --> my.toml:15:9
   |
15 | until = "state.ready"
   |         ^^^^^^^^^^^^^ needs another request
   |
   = help: write count = 64, say, or give the disk a larger `queue-size`

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

#[test]
fn a_point_that_an_earlier_one_takes() {
    assert_warnings(
        r#"[place]
p = "guest"

[point]
A = { op = "write" }
B = { op = "write" }
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
6 | B = { op = "write" }
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
fn a_payload_beyond_the_end_of_its_request() {
    assert_warnings(
        r#"[[rule]]
gate = "submit"
op = "write"
length = { max = "4k" }
payload = { offset = "4k", text = "x" }
fail = "io-error"
"#,
        r#"
warning: rule `rule-1` tests data up to byte 4097 of requests that have 4096 at most
 --> my.toml:5:11
  |
5 | payload = { offset = "4k", text = "x" }
  |           ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ this never matches
  |
  = help: `offset` counts from the beginning of the request's data
"#,
    );
}

#[test]
fn warnings_are_told_beside_mistakes() {
    assert_mistakes(
        r#"[place]
victim = "guest"
spare = "guest"

[state]
slow = false

[point]
A = { op = "write", place = "victm" }
B = { op = "read" }

[[hold]]
gate = "A.submit"
until = "B.arived"

[[rule]]
name = "all"
gate = "submit"
delay = "1ms"

[[rule]]
gate = "submit"
op = "discard"
fail = "io-eror"

[[rule]]
name = "flushes"
gate = "submit"
op = "flush"
delay = "1ms"
"#,
        r#"
warning: place `spare` is never used
 --> my.toml:3:1
  |
3 | spare = "guest"
  | ^^^^^ no point and no rule is for it
  |
  = help: leave it out

warning: state `slow` is never used
 --> my.toml:6:1
  |
6 | slow = false
  | ^^^^ no expression asks for it
  |
  = help: leave it out

error: unknown place `victm`
 --> my.toml:9:29
  |
9 | A = { op = "write", place = "victm" }
  |                             ^^^^^^^
  |
  = help: did you mean `victim`?

error: unknown step of a point `arived`
  --> my.toml:14:9
   |
14 | until = "B.arived"
   |         ^^^^^^^^^^
   |
   = help: did you mean `arrived`?

error: unknown status `io-eror`
  --> my.toml:24:8
   |
24 | fail = "io-eror"
   |        ^^^^^^^^^
   |
   = help: did you mean `io-error`?

warning: rule `flushes` never decides: rule `all` does before it
  --> my.toml:27:8
   |
17 | name = "all"
   |        ----- decides about all of these requests
...
27 | name = "flushes"
   |        ^^^^^^^^^ never reached
   |
   = help: put the narrower rule first, or let the earlier one mean fewer requests
"#,
    );
}

#[test]
fn every_mistake_of_one_table() {
    assert_mistakes(
        r#"[place]
p = { offset = "1x", length = "2x" }
q = { block = 1, blocks = 0, block-size = "3" }
1st = { offset = 0, length = "4x" }

[event]
go = "gest"

[[rule]]
gate = "submit"
delay = { pareto = { least = "0s", shape = 0 }, min = "5ms", max = "2ms" }
limit = { iops = 0, burst = 0 }
until = "guest.go"

[sign]
s = { report = 1, is = "x" }

[case]
guest = "x.sh"
image = { size = "5", options = [1, 2] }
"#,
        r#"
error: `1x` is not a size: write bytes, or 4k, 64M, 1G
 --> my.toml:2:16
  |
2 | p = { offset = "1x", length = "2x" }
  |                ^^^^

error: `2x` is not a size: write bytes, or 4k, 64M, 1G
 --> my.toml:2:31
  |
2 | p = { offset = "1x", length = "2x" }
  |                               ^^^^

error: place `q` is a range of nothing
 --> my.toml:3:27
  |
3 | q = { block = 1, blocks = 0, block-size = "3" }
  |                           ^
  |
  = help: write how much there is of it, 1 or more

error: a block has 512 bytes or a power of 2 more, not 3; write 1k or 4k, say
 --> my.toml:3:43
  |
3 | q = { block = 1, blocks = 0, block-size = "3" }
  |                                           ^^^

error: `1st` is not a name
 --> my.toml:4:1
  |
4 | 1st = { offset = 0, length = "4x" }
  | ^^^
  |
  = help: a name starts with a letter and has letters, digits, `-` and `_`

error: `4x` is not a size: write bytes, or 4k, 64M, 1G
 --> my.toml:4:30
  |
4 | 1st = { offset = 0, length = "4x" }
  |                              ^^^^

error: unknown source of an event `gest`
 --> my.toml:7:6
  |
7 | go = "gest"
  |      ^^^^^^
  |
  = help: did you mean `guest`?

error: it must be more than no time; write 50us, say
  --> my.toml:11:30
   |
11 | delay = { pareto = { least = "0s", shape = 0 }, min = "5ms", max = "2ms" }
   |                              ^^^^

error: `shape` must be a number above 0
  --> my.toml:11:44
   |
11 | delay = { pareto = { least = "0s", shape = 0 }, min = "5ms", max = "2ms" }
   |                                            ^

error: the least delay is longer than the longest
  --> my.toml:11:55
   |
11 | delay = { pareto = { least = "0s", shape = 0 }, min = "5ms", max = "2ms" }
   |                                                       ^^^^^

error: a request waits for one thing, not for `delay` and `limit`
  --> my.toml:12:1
   |
11 | delay = { pareto = { least = "0s", shape = 0 }, min = "5ms", max = "2ms" }
   | -----
12 | limit = { iops = 0, burst = 0 }
   | ^^^^^
   |
   = help: leave one of them out, or make two rules with a gate each

error: `iops` must be a whole number, 1 or more
  --> my.toml:12:18
   |
12 | limit = { iops = 0, burst = 0 }
   |                  ^

error: `burst` must be a whole number, 1 or more
  --> my.toml:12:29
   |
12 | limit = { iops = 0, burst = 0 }
   |                             ^

error: `report` must be a string, not an integer
  --> my.toml:16:16
   |
16 | s = { report = 1, is = "x" }
   |                ^

error: [case] has no `about`
  --> my.toml:18:1
   |
18 | [case]
   | ^^^^^^ `about` is missing here

error: [case.image] has no `filesystem`
  --> my.toml:20:9
   |
20 | image = { size = "5", options = [1, 2] }
   |         ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ `filesystem` is missing here

error: an image is 1M to 1T, a multiple of 4096 bytes
  --> my.toml:20:18
   |
20 | image = { size = "5", options = [1, 2] }
   |                  ^^^

error: each of `options` must be a string, not an integer
  --> my.toml:20:34
   |
20 | image = { size = "5", options = [1, 2] }
   |                                  ^

error: each of `options` must be a string, not an integer
  --> my.toml:20:37
   |
20 | image = { size = "5", options = [1, 2] }
   |                                     ^
"#,
    );
}

#[test]
fn expressions_as_in_other_languages() {
    assert_mistakes(
        r#"[point]
A = { op = "write", when = "!A.done" }
B = { op = "write", when = "A.done and B.done" }
C = { op = "write", when = "A.done || not(B.done)" }
D = { op = "write", when = ["A.done", "B.done"] }
E = { op = "write", when = "A.done != 3" }
F = { op = "write", when = { any = ["A.done"], all = ["B.done"] } }
[event]
go = "control"
stop = "guest"
[[rule]]
gate = "submit"
op = "read"
until = "guest.go"
"#,
        r#"
error: `!A.done` is not one event, state or comparison
 --> my.toml:2:28
  |
2 | A = { op = "write", when = "!A.done" }
  |                            ^^^^^^^^^
  |
  = help: write { not = "A.done" }

error: `A.done and B.done` is not one event, state or comparison
 --> my.toml:3:28
  |
3 | B = { op = "write", when = "A.done and B.done" }
  |                            ^^^^^^^^^^^^^^^^^^^
  |
  = help: write { all = ["A.done", "B.done"] }

error: `A.done || not(B.done)` is not one event, state or comparison
 --> my.toml:4:28
  |
4 | C = { op = "write", when = "A.done || not(B.done)" }
  |                            ^^^^^^^^^^^^^^^^^^^^^^^
  |
  = help: write { any = ["A.done", { not = "B.done" }] }

error: an expression is a string or a table, not an array
 --> my.toml:5:28
  |
5 | D = { op = "write", when = ["A.done", "B.done"] }
  |                            ^^^^^^^^^^^^^^^^^^^^
  |
  = help: write { any = […] } if one of them is enough, { all = […] } if each is needed

error: unknown comparison `!=`
 --> my.toml:6:28
  |
6 | E = { op = "write", when = "A.done != 3" }
  |                            ^^^^^^^^^^^^^
  |
  = help: write { not = "A.done == 3" }

error: an expression that is a table has one of `any`, `all` and `not`
 --> my.toml:7:28
  |
7 | F = { op = "write", when = { any = ["A.done"], all = ["B.done"] } }
  |                            ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  |
  = help: put one into the other: { all = ["A.done", { any = […] }] }

error: unknown guest event `go`
  --> my.toml:14:9
   |
14 | until = "guest.go"
   |         ^^^^^^^^^^
   |
   = help: `go` is declared as an event of "control" in [event]
"#,
    );
}

/// Asserts on all warnings about a case whose guest script is that.
fn assert_of_script(script: &str, expected: &str) {
    let text = r#"[case]
about = "x"
guest = "x.sh"
image = { size = "64M", filesystem = "ext4" }
[event]
go-1 = "guest"
reaped = "guest"
ready = "guest"
later = "control"
[place]
victim = "guest"
[point]
A = { op = "write", place = "victim" }
[sign]
lost = { report = "fsync", is = "ok" }
"#;
    let mut none = |_: &str| Err("there is none".to_owned());
    let mut script = |name: &str| (name == "x.sh").then(|| Ok(script.to_owned()));
    let checked = Policy::check("my.toml", text, &Settings::default(), &mut none, &mut script);
    assert_same(&checked.expect("a policy").warnings.render(false), expected);
}

#[test]
fn what_the_script_does_not_say() {
    assert_of_script(
        "# stay emit reaped; stay place victim; stay report fsync\nstay await guest.reaped && stay emit go-1\n",
        r#"
warning: guest event `reaped` is never emitted: `x.sh` does not name it
 --> my.toml:7:1
  |
7 | reaped = "guest"
  | ^^^^^^
  |
  = help: write `stay emit reaped` where it happens

warning: place `victim` is never bound: `x.sh` does not name it
  --> my.toml:11:1
   |
11 | victim = "guest"
   | ^^^^^^
   |
   = help: write `stay place victim FILE OFFSET LEN` before the attempt's first request

warning: report `fsync` never comes: `x.sh` does not name it
  --> my.toml:15:19
   |
15 | lost = { report = "fsync", is = "ok" }
   |                   ^^^^^^^
   |
   = help: write `stay report fsync VALUE` where it is seen
"#,
    );
}

#[test]
fn what_the_script_may_say() {
    assert_of_script(
        "stay emit \"go-$1\"; stay write --emit reaped f 0 4k\nstay place victim f 0 4k && stay report a \"$(x \"b c\")\" fsync \"$b\"",
        "",
    );
    assert_of_script("for e in 1; do stay emit \"$e\"; stay place $p f 0 1; stay report \"$e\" x; done", "");
    assert_of_script(". /lib.sh\n", "");
    assert_of_script("say() { stay \"$@\"; }\n", "");
}
