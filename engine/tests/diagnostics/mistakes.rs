//! Many mistakes at once, and doubts beside them.

use super::assert_mistakes;

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

#[test]
fn what_is_not_toml_hides_nothing_else() {
    assert_mistakes(
        r#"seed = 07

[[rule]]
op = "wrte"
gate = "submmit"
delay = "1ms"

[point]
A = { op = "write", lenght = "4k" }
B = { op = read }

[[rule]]
op = write
gate = "submit"
gate = "complete"
dely = "1ms"

[[rule]
gate = "complet"
pass = true

[[hold]]
gate = "A.compleet"
until = "guest.x"

[[rule]]
name = "last"
gate = "submit"
delay = "5x"
"#,
        r#"
error: not TOML: unexpected leading zero, expected nothing
 --> my.toml:1:8
  |
1 | seed = 07
  |        ^

error: unknown operation `wrte`
 --> my.toml:4:6
  |
4 | op = "wrte"
  |      ^^^^^^
  |
  = help: did you mean `write`?

error: unknown gate `submmit`
 --> my.toml:5:8
  |
5 | gate = "submmit"
  |        ^^^^^^^^^
  |
  = help: did you mean `submit`?

error: point `A` has no key `lenght`
 --> my.toml:9:21
  |
9 | A = { op = "write", lenght = "4k" }
  |                     ^^^^^^ not known here
  |
  = help: did you mean `length`?

error: not TOML: string values must be quoted, expected literal string
  --> my.toml:10:12
   |
10 | B = { op = read }
   |            ^^^^

error: not TOML: string values must be quoted, expected literal string
  --> my.toml:13:6
   |
13 | op = write
   |      ^^^^^

error: not TOML: duplicate key
  --> my.toml:15:1
   |
15 | gate = "complete"
   | ^^^^

error: [[rule]] has no key `dely`
  --> my.toml:16:1
   |
16 | dely = "1ms"
   | ^^^^ not known here
   |
   = help: did you mean `delay`?

error: not TOML: unclosed array table, expected `]`
  --> my.toml:18:8
   |
18 | [[rule]
   |        ^

error: unknown gate `compleet`
  --> my.toml:23:8
   |
23 | gate = "A.compleet"
   |        ^^^^^^^^^^^^
   |
   = help: did you mean `complete`?

error: `5x` is not a duration: write 50us, 10ms or 2s
  --> my.toml:29:9
   |
29 | delay = "5x"
   |         ^^^^
"#,
    );
}

#[test]
fn what_is_left_of_what_is_not_toml_is_not_doubted() {
    assert_mistakes(
        r#"[parameter]
n = 01
[state]
s = false
[point]
A = { op = "write" }
[case]
about = x
guest = "x.sh"
[[hold]]
gate = "A.submit"
until = "guest.go
[[rule]]
gate = "submit"
delay = "$n"
"#,
        r#"
error: not TOML: unexpected leading zero, expected nothing
 --> my.toml:2:5
  |
2 | n = 01
  |     ^

error: not TOML: string values must be quoted, expected literal string
 --> my.toml:8:9
  |
8 | about = x
  |         ^

error: not TOML: invalid basic string, expected `"`
  --> my.toml:12:18
   |
12 | until = "guest.go
   |                  ^
"#,
    );
}

#[test]
fn names_that_something_with_a_mistake_uses() {
    assert_mistakes(
        r#"[point]
A = { op = "write", plcae = "victim" }
B = { op = "read" }
[event]
go = "control"
[state]
s = true
t = "x"
[[hold]]
gate = "A.complete"
until = { all = ["control.go", { any = ["state.s", "state.t"] }, "B.arrived"] }
[[rule]]
op = "flush"
gate = "submit"
until = "state.t"
count = 1
"#,
        r#"
error: point `A` has no key `plcae`
 --> my.toml:2:21
  |
2 | A = { op = "write", plcae = "victim" }
  |                     ^^^^^ not known here
  |
  = help: did you mean `place`?

error: state `t` must be `true` or `false`
 --> my.toml:8:5
  |
8 | t = "x"
  |     ^^^
  |
  = help: it says whether the state is on when an attempt begins
"#,
    );
}

#[test]
fn a_case_with_a_mistake_beside_its_events() {
    assert_mistakes(
        r#"[case]
about = "x"
phases = ["guest.x", "control.y"]
direct = { A = "control.go" }
image = { size = "100", filesystem = "ext4" }
[point]
A = { op = "write" }
"#,
        r#"
error: [case] has no `guest`
 --> my.toml:1:1
  |
1 | [case]
  | ^^^^^^ `guest` is missing here

error: unknown guest event `x`
 --> my.toml:3:11
  |
3 | phases = ["guest.x", "control.y"]
  |           ^^^^^^^^^
  |
  = help: declare it: `x = "guest"` in [event]

error: `control.y` is no event of the guest
 --> my.toml:3:22
  |
3 | phases = ["guest.x", "control.y"]
  |                      ^^^^^^^^^^^
  |
  = help: it is written `guest.NAME`

error: `control.go` is no event of the guest
 --> my.toml:4:16
  |
4 | direct = { A = "control.go" }
  |                ^^^^^^^^^^^^
  |
  = help: it is written `guest.NAME`

error: an image is 1M to 1T, a multiple of 4096 bytes
 --> my.toml:5:18
  |
5 | image = { size = "100", filesystem = "ext4" }
  |                  ^^^^^
"#,
    );
}

#[test]
fn values_of_the_wrong_kind() {
    assert_mistakes(
        r#"[point]
A = { op = "WRITE", place = "2048", flush-follows = false }

[[rule]]
gate = "Submit"
delay = "9999999999999999999s"

[[rule]]
gate = "complete"
delay = "1.5ms"

[[rule]]
gate = "complete"
delay = { table = [["1ms", 1e308], ["9ms", 1e308]] }

[[rule]]
gate = "complete"
limit = { bandwidth = "99999999999T" }

[[hold]]
gate = " A.submit "
until = "A.arrived"
"#,
        r#"
error: unknown operation `WRITE`
 --> my.toml:2:12
  |
2 | A = { op = "WRITE", place = "2048", flush-follows = false }
  |            ^^^^^^^
  |
  = help: did you mean `write`?

error: unknown place `2048`
 --> my.toml:2:29
  |
2 | A = { op = "WRITE", place = "2048", flush-follows = false }
  |                             ^^^^^^
  |
  = help: a name starts with a letter and has letters, digits, `-` and `_`

error: that no flush follows a write can never be known: one may still come
 --> my.toml:2:53
  |
2 | A = { op = "WRITE", place = "2048", flush-follows = false }
  |                                                     ^^^^^
  |
  = help: leave `flush-follows` out; an earlier rule with `flush-follows = true` takes those that one follows

error: unknown gate `Submit`
 --> my.toml:5:8
  |
5 | gate = "Submit"
  |        ^^^^^^^^
  |
  = help: did you mean `submit`?

error: `9999999999999999999s` is too long
 --> my.toml:6:9
  |
6 | delay = "9999999999999999999s"
  |         ^^^^^^^^^^^^^^^^^^^^^^

error: `1.5ms` is not a whole number: write it in a smaller unit
  --> my.toml:10:9
   |
10 | delay = "1.5ms"
   |         ^^^^^^^

error: the weights are too large to be added up
  --> my.toml:14:19
   |
14 | delay = { table = [["1ms", 1e308], ["9ms", 1e308]] }
   |                   ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^

error: `99999999999T` is too large
  --> my.toml:18:23
   |
18 | limit = { bandwidth = "99999999999T" }
   |                       ^^^^^^^^^^^^^^

error: unknown point ` A`
  --> my.toml:21:8
   |
21 | gate = " A.submit "
   |        ^^^^^^^^^^^^
   |
   = help: it can be `A`; or a name starts with a letter and has letters, digits, `-` and `_`

error: unknown gate `submit `
  --> my.toml:21:8
   |
21 | gate = " A.submit "
   |        ^^^^^^^^^^^^
   |
   = help: did you mean `submit`?
"#,
    );
}

#[test]
fn a_long_value_is_not_repeated_whole() {
    let text = format!("[[rule]]\ngate = \"submit\"\nop = \"{}\"\npass = true\n", "w".repeat(1 << 20));
    let mistakes = blkstay_engine::policy::Policy::parse("my.toml", &text).expect_err("a mistake");
    assert!(mistakes.render(false).len() < 10_000, "{}", mistakes.render(false).len());
}
