//! Mistakes in which requests are meant.

use super::assert_mistakes;

#[test]
fn keys_that_do_not_go_together() {
    assert_mistakes(
        r#"[point]
A = { op = "write", nth = 1, count = 2 }
B = { payload = "zero" }
C = { op = "read", flush-follows = true }
D = { op = ["flush", "get-id"], place = { sector = 1, length = 1 } }

[[rule]]
gate = "submit"
op = "write"
flush-follows = true
pass = true

[[rule]]
gate = "submit"
op = "read"
payload = "zero"
pass = true
"#,
        r#"
error: `nth` means one request, `count` several
 --> my.toml:2:27
  |
2 | A = { op = "write", nth = 1, count = 2 }
  |                           ^
  |
  = help: nth = n is the same as from = n, count = 1

error: what a read brings is not known before the drive has done it
 --> my.toml:3:17
  |
3 | B = { payload = "zero" }
  |                 ^^^^^^
  |
  = help: write op = "write"

error: `flush-follows` is of writes
 --> my.toml:4:36
  |
4 | C = { op = "read", flush-follows = true }
  |                                    ^^^^
  |
  = help: write op = "write"

error: `place` must be { offset, length }, { sector, sectors } or { block, blocks, block-size }
 --> my.toml:5:41
  |
5 | D = { op = ["flush", "get-id"], place = { sector = 1, length = 1 } }
  |                                         ^^^^^^^^^^^^^^^^^^^^^^^^^^

error: flush and get-id have no place: they address no bytes
 --> my.toml:5:41
  |
5 | D = { op = ["flush", "get-id"], place = { sector = 1, length = 1 } }
  |                                         ^^^^^^^^^^^^^^^^^^^^^^^^^^
  |
  = help: leave `place` out

error: whether a flush follows is not known before the drive has the write
  --> my.toml:10:17
   |
10 | flush-follows = true
   |                 ^^^^
   |
   = help: gate = "complete"

error: what a read brings is not known before the drive has done it
  --> my.toml:16:11
   |
16 | payload = "zero"
   |           ^^^^^^
   |
   = help: gate = "complete"
"#,
    );
}

#[test]
fn values_that_mean_nothing() {
    assert_mistakes(
        r#"[place]
p = { sector = 1, sectors = 0 }
q = {}
[point]
A = { op = [], length = {}, queue = 70000 }
B = { op = "write", payload = { offset = 0, bytes = "abc" } }
C = { op = "write", payload = { offset = 0, text = "" } }
D = { op = "write", payload = { bytes = "c0", text = "x" } }
E = { class = ["journal", "jornal-commit"], probability = 1.5 }
F = { every = 0, place = 5 }
"#,
        r#"
error: place `p` has no bytes on any disk
 --> my.toml:2:29
  |
2 | p = { sector = 1, sectors = 0 }
  |                             ^

error: place `q` must be { offset, length }, { sector, sectors } or { block, blocks, block-size }
 --> my.toml:3:5
  |
3 | q = {}
  |     ^^

error: expected a list of one operation or more
 --> my.toml:5:12
  |
5 | A = { op = [], length = {}, queue = 70000 }
  |            ^^

error: `length` has neither `min` nor `max`
 --> my.toml:5:25
  |
5 | A = { op = [], length = {}, queue = 70000 }
  |                         ^^
  |
  = help: write { min = "4k", max = "64k" }, or one of them

error: `queue` must be a whole number from 0 to 65535
 --> my.toml:5:37
  |
5 | A = { op = [], length = {}, queue = 70000 }
  |                                     ^^^^^

error: `abc` is not bytes in hexadecimal
 --> my.toml:6:53
  |
6 | B = { op = "write", payload = { offset = 0, bytes = "abc" } }
  |                                                     ^^^^^
  |
  = help: write two digits for each, "c0 3b 39 98" say

error: no bytes are found everywhere
 --> my.toml:7:52
  |
7 | C = { op = "write", payload = { offset = 0, text = "" } }
  |                                                    ^^

error: `payload` has no `offset`
 --> my.toml:8:31
  |
8 | D = { op = "write", payload = { bytes = "c0", text = "x" } }
  |                               ^^^^^^^^^^^^^^^^^^^^^^^^^^^^ `offset` is missing here

error: `payload` must be "zero", { offset, bytes } or { offset, text }
 --> my.toml:8:31
  |
8 | D = { op = "write", payload = { bytes = "c0", text = "x" } }
  |                               ^^^^^^^^^^^^^^^^^^^^^^^^^^^^

error: unknown class `jornal-commit`
 --> my.toml:9:27
  |
9 | E = { class = ["journal", "jornal-commit"], probability = 1.5 }
  |                           ^^^^^^^^^^^^^^^
  |
  = help: did you mean `journal-commit`?

error: nothing is more probable than 1
 --> my.toml:9:59
  |
9 | E = { class = ["journal", "jornal-commit"], probability = 1.5 }
  |                                                           ^^^

error: `every` must be a whole number, 1 or more
  --> my.toml:10:15
   |
10 | F = { every = 0, place = 5 }
   |               ^

error: `place` must be the name of a place or a range, not an integer
  --> my.toml:10:26
   |
10 | F = { every = 0, place = 5 }
   |                          ^
"#,
    );
}

#[test]
fn more_payloads_than_can_be_told_apart() {
    assert_mistakes(
        r#"[point]
P0 = { op = "write", payload = { offset = 0, text = "x" } }
P1 = { op = "write", payload = { offset = 1, text = "x" } }
P2 = { op = "write", payload = { offset = 2, text = "x" } }
P3 = { op = "write", payload = { offset = 3, text = "x" } }
P4 = { op = "write", payload = { offset = 4, text = "x" } }
P5 = { op = "write", payload = { offset = 5, text = "x" } }
P6 = { op = "write", payload = { offset = 6, text = "x" } }
P7 = { op = "write", payload = { offset = 7, text = "x" } }
P8 = { op = "write", payload = { offset = 8, text = "x" } }
P9 = { op = "write", payload = { offset = 9, text = "x" } }
P10 = { op = "write", payload = { offset = 10, text = "x" } }
P11 = { op = "write", payload = { offset = 11, text = "x" } }
P12 = { op = "write", payload = { offset = 12, text = "x" } }
P13 = { op = "write", payload = { offset = 13, text = "x" } }
P14 = { op = "write", payload = { offset = 14, text = "x" } }
P15 = { op = "write", payload = { offset = 15, text = "x" } }
P16 = { op = "write", payload = { offset = 16, text = "x" } }
P17 = { op = "write", payload = { offset = 17, text = "x" } }
P18 = { op = "write", payload = { offset = 18, text = "x" } }
P19 = { op = "write", payload = { offset = 19, text = "x" } }
P20 = { op = "write", payload = { offset = 20, text = "x" } }
P21 = { op = "write", payload = { offset = 21, text = "x" } }
P22 = { op = "write", payload = { offset = 22, text = "x" } }
P23 = { op = "write", payload = { offset = 23, text = "x" } }
P24 = { op = "write", payload = { offset = 24, text = "x" } }
P25 = { op = "write", payload = { offset = 25, text = "x" } }
P26 = { op = "write", payload = { offset = 26, text = "x" } }
P27 = { op = "write", payload = { offset = 27, text = "x" } }
P28 = { op = "write", payload = { offset = 28, text = "x" } }
P29 = { op = "write", payload = { offset = 29, text = "x" } }
P30 = { op = "write", payload = { offset = 30, text = "x" } }
P31 = { op = "write", payload = { offset = 31, text = "x" } }
P32 = { op = "write", payload = { offset = 32, text = "x" } }
P33 = { op = "write", payload = { offset = 33, text = "x" } }
P34 = { op = "write", payload = { offset = 34, text = "x" } }
P35 = { op = "write", payload = { offset = 35, text = "x" } }
P36 = { op = "write", payload = { offset = 36, text = "x" } }
P37 = { op = "write", payload = { offset = 37, text = "x" } }
P38 = { op = "write", payload = { offset = 38, text = "x" } }
P39 = { op = "write", payload = { offset = 39, text = "x" } }
P40 = { op = "write", payload = { offset = 40, text = "x" } }
P41 = { op = "write", payload = { offset = 41, text = "x" } }
P42 = { op = "write", payload = { offset = 42, text = "x" } }
P43 = { op = "write", payload = { offset = 43, text = "x" } }
P44 = { op = "write", payload = { offset = 44, text = "x" } }
P45 = { op = "write", payload = { offset = 45, text = "x" } }
P46 = { op = "write", payload = { offset = 46, text = "x" } }
P47 = { op = "write", payload = { offset = 47, text = "x" } }
P48 = { op = "write", payload = { offset = 48, text = "x" } }
P49 = { op = "write", payload = { offset = 49, text = "x" } }
P50 = { op = "write", payload = { offset = 50, text = "x" } }
P51 = { op = "write", payload = { offset = 51, text = "x" } }
P52 = { op = "write", payload = { offset = 52, text = "x" } }
P53 = { op = "write", payload = { offset = 53, text = "x" } }
P54 = { op = "write", payload = { offset = 54, text = "x" } }
P55 = { op = "write", payload = { offset = 55, text = "x" } }
P56 = { op = "write", payload = { offset = 56, text = "x" } }
P57 = { op = "write", payload = { offset = 57, text = "x" } }
P58 = { op = "write", payload = { offset = 58, text = "x" } }
P59 = { op = "write", payload = { offset = 59, text = "x" } }
P60 = { op = "write", payload = { offset = 60, text = "x" } }
P61 = { op = "write", payload = { offset = 61, text = "x" } }
P62 = { op = "write", payload = { offset = 62, text = "x" } }
P63 = { op = "write", payload = { offset = 63, text = "x" } }
P64 = { op = "write", payload = { offset = 64, text = "x" } }
"#,
        r#"
error: a policy can have 64 different payloads, this is one more
  --> my.toml:66:33
   |
66 | P64 = { op = "write", payload = { offset = 64, text = "x" } }
   |                                 ^^^^^^^^^^^^^^^^^^^^^^^^^^^
"#,
    );
}

#[test]
fn expressions() {
    assert_mistakes(
        r#"[point]
A = { when = "in-flight" }
B = { when = "A.arrived >= 0" }
C = { when = "A.arrived => 2" }
D = { when = "held < x" }
E = { when = "state.slow" }
F = { when = "policy.gone" }
G = { when = { nor = ["A.arrived"] } }
H = { when = { all = [] } }
I = { when = "state.slow >= 2" }
J = { when = 5 }
"#,
        r#"
error: `in-flight` is a number
 --> my.toml:2:14
  |
2 | A = { when = "in-flight" }
  |              ^^^^^^^^^^^
  |
  = help: compare it: `in-flight >= 8`

error: `A.arrived >= 0` is always true
 --> my.toml:3:14
  |
3 | B = { when = "A.arrived >= 0" }
  |              ^^^^^^^^^^^^^^^^
  |
  = help: a number of times is never less than 0; write `A.arrived >= 1`, say

error: unknown comparison `=>`
 --> my.toml:4:14
  |
4 | C = { when = "A.arrived => 2" }
  |              ^^^^^^^^^^^^^^^^
  |
  = help: it can be `>=`, `>`, `<`, `<=`, `==`

error: `x` in `held < x` is not a whole number
 --> my.toml:5:14
  |
5 | D = { when = "held < x" }
  |              ^^^^^^^^^^
  |
  = help: write `held >= 3`, say

error: unknown state `slow`
 --> my.toml:6:14
  |
6 | E = { when = "state.slow" }
  |              ^^^^^^^^^^^^
  |
  = help: declare it: `slow = false` in [state]

error: unknown policy event `gone`
 --> my.toml:7:14
  |
7 | F = { when = "policy.gone" }
  |              ^^^^^^^^^^^^^
  |
  = help: declare it: `gone = "policy"` in [event]

error: an expression has no `nor`
 --> my.toml:8:16
  |
8 | G = { when = { nor = ["A.arrived"] } }
  |                ^^^
  |
  = help: did you mean `not`?

error: expected a list of one expression or more
 --> my.toml:9:22
  |
9 | H = { when = { all = [] } }
  |                      ^^

error: `state.slow` is on or off, not a number
  --> my.toml:10:14
   |
10 | I = { when = "state.slow >= 2" }
   |              ^^^^^^^^^^^^^^^^^
   |
   = help: write `state.slow`, or { not = "state.slow" }

error: an expression is an event, a state, a comparison, { any = […] }, { all = […] } or { not = … }
  --> my.toml:11:14
   |
11 | J = { when = 5 }
   |              ^
"#,
    );
}
