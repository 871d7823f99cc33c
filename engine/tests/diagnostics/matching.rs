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
error: place `p` is a range of nothing
 --> my.toml:2:29
  |
2 | p = { sector = 1, sectors = 0 }
  |                             ^
  |
  = help: write how much there is of it, 1 or more

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
  |
  = help: write what the data has there, or leave `payload` out

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
  |
  = help: write 0.2 for one in five, say

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
    let point =
        |n: usize| format!("P{n} = {{ op = \"write\", payload = {{ offset = {n}, text = \"x\" }} }}\n");
    let used = (0..65).map(|n| format!("\"P{n}.done\"")).collect::<Vec<_>>().join(",");
    let points: String = (0..65).map(point).collect();
    assert_mistakes(
        &format!(
            "[point]\n{points}\n[[rule]]\ngate = \"submit\"\nop = \"read\"\nwhen = {{ any = [{used}] }}\npass = true\n"
        ),
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

error: an expression is a string or a table, not an integer
  --> my.toml:11:14
   |
11 | J = { when = 5 }
   |              ^
   |
   = help: write "A.arrived", { any = […] }, { all = […] } or { not = … }
"#,
    );
}
