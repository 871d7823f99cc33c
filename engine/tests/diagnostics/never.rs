//! What never matches and what never is.

use super::assert_warnings;

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

warning: point `E` never is: `A.arrived` would have to have happened and not to have happened at once
  --> my.toml:12:37
   |
12 | E = { after = "A.arrived", before = "A.arrived" }
   |                                     ^^^^^^^^^^^ this never matches
   |
   = help: leave one of them out, or write { any = […] } if one is enough

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
warning: the hold of `W.submit` ends only by its watchdog: `in-flight` is 3 or more then
 --> my.toml:6:9
  |
6 | until = { all = ["W.arrived >= 3", "in-flight < 3"] }
  |         ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ this can never be
  |
  = help: write `in-flight < 4`: no other one is; or ask for an event

warning: what rule `drain` holds goes on only by its watchdog: `in-flight` is 1 or more then
  --> my.toml:13:9
   |
13 | until = "in-flight == 0"
   |         ^^^^^^^^^^^^^^^^ this can never be
   |
   = help: write `in-flight < 2`: no other one is; or ask for an event

warning: rule `rule-2` never matches: `in-flight` is 1 or more then
  --> my.toml:18:8
   |
18 | when = "in-flight < 1"
   |        ^^^^^^^^^^^^^^^ this never matches
   |
   = help: write `in-flight < 2`: no other one is; or ask for an event
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
fn what_has_happened_does_not_un_happen() {
    assert_warnings(
        r#"[point]
A = { op = "write" }
B = { op = "read", count = 3 }

[[hold]]
gate = "A.complete"
until = { not = "A.arrived" }

[[hold]]
gate = "A.submit"
until = { any = ["A.arrived < 1", { all = ["B.completed", "B.completed == 0"] }] }

[[rule]]
point = "B"
before = "B.arrived"
gate = "complete"
delay = "1ms"

[[rule]]
op = "flush"
gate = "complete"
after = "B.arrived"
until = { not = "B.arrived" }
"#,
        r#"
warning: the hold of `A.complete` ends only by its watchdog: `A.arrived` has happened by then
 --> my.toml:7:9
  |
7 | until = { not = "A.arrived" }
  |         ^^^^^^^^^^^^^^^^^^^^^ this can never be
  |
  = help: events do not un-happen: wait for what still comes

warning: the hold of `A.submit` ends only by its watchdog: `A.arrived` has happened by then
  --> my.toml:11:9
   |
11 | until = { any = ["A.arrived < 1", { all = ["B.completed", "B.completed == 0"] }] }
   |         ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ this can never be
   |
   = help: events do not un-happen: wait for what still comes

warning: rule `rule-1` never matches: `B.arrived` has happened by then
  --> my.toml:15:10
   |
15 | before = "B.arrived"
   |          ^^^^^^^^^^^ this never matches
   |
   = help: events do not un-happen: ask for what has not happened

warning: what rule `rule-2` holds goes on only by its watchdog: `B.arrived` has happened by then
  --> my.toml:23:9
   |
23 | until = { not = "B.arrived" }
   |         ^^^^^^^^^^^^^^^^^^^^^ this can never be
   |
   = help: events do not un-happen: wait for what still comes
"#,
    );
}

#[test]
fn what_is_never_so_at_once() {
    assert_warnings(
        r#"[state]
s = false
[point]
A = { op = "write" }
B = { op = "read", after = "A.completed", before = "A.arrived" }
C = { op = "read", after = "A.done", before = "A.submitted" }
D = { op = "read", when = "in-flight == 0" }
E = { op = "flush", after = "A.arrived" }
F = { op = "flush", nth = 2, after = "E.arrived", before = "A.arrived" }

[[hold]]
gate = "E.complete"
until = { any = ["B.arrived", "C.arrived", "D.arrived", "F.arrived"] }

[[rule]]
when = { all = ["in-flight >= 5", "in-flight < 3"] }
gate = "complete"
delay = "1ms"

[[rule]]
when = { all = ["in-flight == 5", "in-flight == 3"] }
op = "read"
gate = "complete"
delay = "1ms"

[[rule]]
when = { all = ["held >= 3", "in-flight <= 2", { any = ["state.s", "A.done"] }] }
op = "write"
gate = "complete"
set = "s"

[[rule]]
when = { all = ["state.s", { not = "state.s" }] }
op = "flush"
gate = "complete"
delay = "1ms"
"#,
        r#"
warning: point `B` never is: `A.arrived` would have to have happened and not to have happened at once
 --> my.toml:5:52
  |
5 | B = { op = "read", after = "A.completed", before = "A.arrived" }
  |                                                    ^^^^^^^^^^^ this never matches
  |
  = help: leave one of them out, or write { any = […] } if one is enough

warning: point `C` never is: `A.submitted` would have to have happened and not to have happened at once
 --> my.toml:6:47
  |
6 | C = { op = "read", after = "A.done", before = "A.submitted" }
  |                                               ^^^^^^^^^^^^^ this never matches
  |
  = help: leave one of them out, or write { any = […] } if one is enough

warning: point `D` never is: `in-flight` is 1 or more then
 --> my.toml:7:27
  |
7 | D = { op = "read", when = "in-flight == 0" }
  |                           ^^^^^^^^^^^^^^^^ this never matches
  |
  = help: write `in-flight < 2`: no other one is; or ask for an event

warning: point `F` never is: `A.arrived` would have to have happened and not to have happened at once
 --> my.toml:9:60
  |
9 | F = { op = "flush", nth = 2, after = "E.arrived", before = "A.arrived" }
  |                                                            ^^^^^^^^^^^ this never matches
  |
  = help: leave one of them out, or write { any = […] } if one is enough

warning: rule `rule-1` never matches: `in-flight` would have to be 5 or more and at most 2 at once
  --> my.toml:16:8
   |
16 | when = { all = ["in-flight >= 5", "in-flight < 3"] }
   |        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ this never matches
   |
   = help: leave one of them out, or write { any = […] } if one is enough

warning: rule `rule-2` never matches: `in-flight` would have to be 5 or more and at most 3 at once
  --> my.toml:21:8
   |
21 | when = { all = ["in-flight == 5", "in-flight == 3"] }
   |        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ this never matches
   |
   = help: leave one of them out, or write { any = […] } if one is enough

warning: rule `rule-3` never matches: `in-flight` would have to be 3 or more and at most 2 at once
  --> my.toml:27:8
   |
27 | when = { all = ["held >= 3", "in-flight <= 2", { any = ["state.s", "A.done"] }] }
   |        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ this never matches
   |
   = help: leave one of them out, or write { any = […] } if one is enough

warning: rule `rule-4` never matches: `state.s` would have to be on and off at once
  --> my.toml:33:8
   |
33 | when = { all = ["state.s", { not = "state.s" }] }
   |        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ this never matches
   |
   = help: leave one of them out, or write { any = […] } if one is enough
"#,
    );
}

#[test]
fn what_the_disk_of_the_case_does_not_have() {
    assert_warnings(
        r#"[case]
about = "x"
guest = "x.sh"
image = { size = "64M", filesystem = "xfs" }
device = { num-queues = 2 }

[[rule]]
queue = 2
gate = "submit"
delay = "1ms"

[[rule]]
class = "journal"
gate = "submit"
delay = "1ms"

[[rule]]
length = "100M"
gate = "submit"
delay = "1ms"
"#,
        r#"
warning: rule `rule-1` is of requests of queue 2, which the case does not have
 --> my.toml:8:9
  |
8 | queue = 2
  |         ^ this never matches
  |
  = help: its disk has queues 0 to 1: `num-queues` in [case.device]

warning: rule `rule-2` is of classes that no block of xfs has
  --> my.toml:13:9
   |
13 | class = "journal"
   |         ^^^^^^^^^ this never matches
   |
   = help: classes are learned of ext2, ext3 and ext4: of xfs, all is `unknown`

warning: rule `rule-3` is of requests that are longer than the disk
  --> my.toml:18:10
   |
18 | length = "100M"
   |          ^^^^^^ this never matches
   |
   = help: the disk of the case has 67108864 bytes
"#,
    );
}

#[test]
fn what_is_asked_twice_is_doubted_once() {
    assert_warnings(
        r#"[point]
A = { op = "write", count = 3 }
D = { op = "read", when = "A.arrived == 5" }
[[rule]]
point = "D"
gate = "submit"
delay = "1ms"
"#,
        r#"
warning: `A.arrived` happens 3 times at most
 --> my.toml:3:27
  |
3 | D = { op = "read", when = "A.arrived == 5" }
  |                           ^^^^^^^^^^^^^^^^ never is
  |
  = help: give point `A` a larger `count`
"#,
    );
}
