//! Words of expressions that are nearly right.

use super::{assert_mistakes, assert_of_files};

#[test]
fn one_word_that_is_no_event() {
    assert_mistakes(
        r#"[event]
go = "control"
[state]
slow = false
[point]
A = { when = "inflight >= 3" }
B = { when = "in_flight >= 3" }
C = { after = "go" }
D = { when = "slow" }
E = { after = "A" }
F = { when = "Held < 2" }
G = { after = "gone" }
"#,
        r#"
error: `inflight` is not an event
 --> my.toml:6:14
  |
6 | A = { when = "inflight >= 3" }
  |              ^^^^^^^^^^^^^^^
  |
  = help: did you mean `in-flight`?

error: `in_flight` is not an event
 --> my.toml:7:14
  |
7 | B = { when = "in_flight >= 3" }
  |              ^^^^^^^^^^^^^^^^
  |
  = help: did you mean `in-flight`?

error: `go` is not an event
 --> my.toml:8:15
  |
8 | C = { after = "go" }
  |               ^^^^
  |
  = help: did you mean `control.go`?

error: `slow` is not an event
 --> my.toml:9:14
  |
9 | D = { when = "slow" }
  |              ^^^^^^
  |
  = help: did you mean `state.slow`?

error: `A` is not an event
  --> my.toml:10:15
   |
10 | E = { after = "A" }
   |               ^^^
   |
   = help: did you mean `A.arrived`?

error: `Held` is not an event
  --> my.toml:11:14
   |
11 | F = { when = "Held < 2" }
   |              ^^^^^^^^^^
   |
   = help: did you mean `held`?

error: `gone` is not an event
  --> my.toml:12:15
   |
12 | G = { after = "gone" }
   |               ^^^^^^
   |
   = help: an event is `POINT.arrived|submitted|done|completed`, `guest.NAME`, `control.NAME` or `policy.NAME`; a state is `state.NAME`; a number is `in-flight` or `held`
"#,
    );
}

#[test]
fn a_directory_that_is_included() {
    assert_of_files(
        &[("my.toml", "include = [\".\", \"a/..\"]")],
        &[],
        r#"
error: cannot read `.`: No such file or directory (os error 2)
 --> my.toml:1:12
  |
1 | include = [".", "a/.."]
  |            ^^^

error: cannot read `.`: No such file or directory (os error 2)
 --> my.toml:1:17
  |
1 | include = [".", "a/.."]
  |                 ^^^^^^
"#,
    );
}
