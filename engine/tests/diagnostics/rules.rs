//! Mistakes in what becomes of a request.

use super::assert_mistakes;
use blkstay_engine::policy::Policy;

#[test]
fn rules_that_say_nothing_or_too_much() {
    assert_mistakes(
        r#"[[rule]]
gate = "submit"

[[rule]]
gate = "submit"
delay = "1ms"
limit = { iops = 5 }

[[rule]]
gate = "submit"
stall = { every = "1s", for = "1ms" }
until = "attempt.finished"

[[rule]]
gate = "submit"
pass = true
fail = "io-error"

[[rule]]
gate = "submit"
window = 4
pass = true

[[rule]]
pass = true
"#,
        r#"
error: the rule does nothing
 --> my.toml:1:1
  |
1 | [[rule]]
  | ^^^^^^^^
  |
  = help: say what becomes of the request (`until`, `delay`, `fail`, `pass = true`, …) or what is noted of it (`set`, `clear`, `emit`)

error: a request waits for one thing, not for `delay` and `limit`
 --> my.toml:7:1
  |
6 | delay = "1ms"
  | -----
7 | limit = { iops = 5 }
  | ^^^^^
  |
  = help: leave one of them out, or make two rules with a gate each

error: a request waits for one thing, not for `stall` and `until`
  --> my.toml:12:1
   |
11 | stall = { every = "1s", for = "1ms" }
   | -----
12 | until = "attempt.finished"
   | ^^^^^
   |
   = help: leave one of them out, or make two rules with a gate each

error: `pass` lets the request go on at once, `fail` does not
  --> my.toml:16:1
   |
16 | pass = true
   | ^^^^
   |
   = help: leave one of them out

error: `window` is of `reorder`, which is not there
  --> my.toml:21:1
   |
21 | window = 4
   | ^^^^^^
   |
   = help: write reorder = "last-first", "random" or "by-sector"

error: [[rule]] has no `gate`
  --> my.toml:24:1
   |
24 | [[rule]]
   | ^^^^^^^^ `gate` is missing here
"#,
    );
}

#[test]
fn words_that_a_rule_does_not_have() {
    assert_mistakes(
        r#"[state]
slow = false

[[rule]]
gate = "A.complete"
fail = "ok"

[[rule]]
gate = "submit"
set = "slwo"
clear = ["slow"]
emit = "gone"

[[rule]]
gate = "submit"
set = "slow"
clear = "slow"

[[rule]]
gate = "complete"
pause = "queue"
tear = 512
dealy = "1ms"

[[rule]]
gate = "submit"
until = "attempt.stalled"
point = "A"
"#,
        r#"
error: `A.complete` is the gate of a hold
 --> my.toml:5:8
  |
5 | gate = "A.complete"
  |        ^^^^^^^^^^^^
  |
  = help: write gate = "complete", point = "A"

error: unknown status `ok`
 --> my.toml:6:8
  |
6 | fail = "ok"
  |        ^^^^
  |
  = help: it can be `io-error`, `unsupported`, `write-fault`, `unrecovered-read`, `guard-check`, `access-denied`, `capacity-exceeded`, `not-ready`, `reservation-conflict`, `internal`, `aborted`

error: unknown state `slwo`
  --> my.toml:10:7
   |
10 | set = "slwo"
   |       ^^^^^^
   |
   = help: did you mean `slow`?

error: unknown policy event `gone`
  --> my.toml:12:8
   |
12 | emit = "gone"
   |        ^^^^^^
   |
   = help: declare it: `gone = "policy"` in [event]

error: the rule turns a state on and off at once
  --> my.toml:17:9
   |
17 | clear = "slow"
   |         ^^^^^^

error: unknown pause `queue`
  --> my.toml:21:9
   |
21 | pause = "queue"
   |         ^^^^^^^
   |
   = help: it can be `disk`, `ring`

error: `tear`: effects on data are not there yet
  --> my.toml:22:1
   |
22 | tear = 512
   | ^^^^
   |
   = help: a rule can delay, reorder, hold and fail requests

error: [[rule]] has no key `dealy`
  --> my.toml:23:1
   |
23 | dealy = "1ms"
   | ^^^^^ not known here
   |
   = help: did you mean `delay`?

error: `attempt.stalled` cannot end a hold: it tells that one has stood for long
  --> my.toml:27:9
   |
27 | until = "attempt.stalled"
   |         ^^^^^^^^^^^^^^^^^
   |
   = help: a hold ends when something happened

error: unknown point `A`
  --> my.toml:28:9
   |
28 | point = "A"
   |         ^^^
   |
   = help: declare it: `A = { op = "write" }`, say, in [point]
"#,
    );
}

#[test]
fn names_that_are_there_twice() {
    assert_mistakes(
        r#"[[rule]]
name = "gc"
gate = "submit"
pass = true

[[rule]]
name = "gc"
gate = "complete"
pass = true

[[rule]]
name = "rule-4"
gate = "submit"
op = "read"
pass = true

[[rule]]
gate = "submit"
op = "write"
pass = true

[[rule]]
name = "a b"
gate = "submit"
op = "flush"
pass = true
"#,
        r#"
error: there are two rules called `gc`
 --> my.toml:7:8
  |
2 | name = "gc"
  |        ---- the first
...
7 | name = "gc"
  |        ^^^^ the second
  |
  = help: give one of them another name

warning: rule `rule-4` never decides: rule `gc` does before it
  --> my.toml:12:8
   |
 2 | name = "gc"
   |        ---- decides about all of these requests
...
12 | name = "rule-4"
   |        ^^^^^^^^ never reached
   |
   = help: put the narrower rule first, or let the earlier one mean fewer requests

error: there are two rules called `rule-4`
  --> my.toml:17:1
   |
12 | name = "rule-4"
   |        -------- the first
...
17 | [[rule]]
   | ^^^^^^^^ the second
   |
   = help: give one of them another name

warning: rule `rule-4` never decides: rule `gc` does before it
  --> my.toml:17:1
   |
 2 | name = "gc"
   |        ---- decides about all of these requests
...
17 | [[rule]]
   | ^^^^^^^^ never reached
   |
   = help: put the narrower rule first, or let the earlier one mean fewer requests

error: `a b` is not a name
  --> my.toml:23:8
   |
23 | name = "a b"
   |        ^^^^^
   |
   = help: a name starts with a letter and has letters, digits, `-` and `_`

warning: rule `a b` never decides: rule `gc` does before it
  --> my.toml:23:8
   |
 2 | name = "gc"
   |        ---- decides about all of these requests
...
23 | name = "a b"
   |        ^^^^^ never reached
   |
   = help: put the narrower rule first, or let the earlier one mean fewer requests
"#,
    );
}

#[test]
fn delays() {
    assert_mistakes(
        r#"[[rule]]
gate = "submit"
delay = "20s"

[[rule]]
gate = "submit"
delay = { uniform = ["1ms", "20s"] }

[[rule]]
gate = "submit"
delay = { uniform = ["2ms", "1ms"], min = "3ms", max = "1ms" }

[[rule]]
gate = "submit"
delay = { pareto = { least = "1ms", shape = 0 } }

[[rule]]
gate = "submit"
delay = { normal = { mean = "1ms" }, table = [] }

[[rule]]
gate = "submit"
delay = { table = [["1ms"], ["2ms", -1]] }

[[rule]]
gate = "submit"
delay = { lognormal = { median = "2ms", p99 = "1ms" } }
"#,
        r#"
error: the delay can be longer than its watchdog of 10 s, which would end it
 --> my.toml:3:9
  |
3 | delay = "20s"
  |         ^^^^^
  |
  = help: give the rule a longer `watchdog`

error: the delay can be longer than its watchdog of 10 s, which would end it
 --> my.toml:7:21
  |
7 | delay = { uniform = ["1ms", "20s"] }
  |                     ^^^^^^^^^^^^^^
  |
  = help: give the rule a longer `watchdog`

error: the least delay is longer than the longest
  --> my.toml:11:21
   |
11 | delay = { uniform = ["2ms", "1ms"], min = "3ms", max = "1ms" }
   |                     ^^^^^^^^^^^^^^

error: the least delay is longer than the longest
  --> my.toml:11:43
   |
11 | delay = { uniform = ["2ms", "1ms"], min = "3ms", max = "1ms" }
   |                                           ^^^^^

error: `shape` must be a number above 0
  --> my.toml:15:45
   |
15 | delay = { pareto = { least = "1ms", shape = 0 } }
   |                                             ^

error: `delay` must have one of `uniform`, `normal`, `lognormal`, `pareto` and `table`
  --> my.toml:19:9
   |
19 | delay = { normal = { mean = "1ms" }, table = [] }
   |         ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
   |
   = help: or be a time: delay = "5ms"

error: `normal` has no `deviation`
  --> my.toml:19:20
   |
19 | delay = { normal = { mean = "1ms" }, table = [] }
   |                    ^^^^^^^^^^^^^^^^ `deviation` is missing here

error: expected a list of one [DELAY, WEIGHT] or more
  --> my.toml:19:46
   |
19 | delay = { normal = { mean = "1ms" }, table = [] }
   |                                              ^^

error: a row must be [DELAY, WEIGHT]
  --> my.toml:23:20
   |
23 | delay = { table = [["1ms"], ["2ms", -1]] }
   |                    ^^^^^^^

error: `a weight` must be a number above 0
  --> my.toml:23:37
   |
23 | delay = { table = [["1ms"], ["2ms", -1]] }
   |                                     ^^

error: `p99` is less than `median`
  --> my.toml:27:23
   |
27 | delay = { lognormal = { median = "2ms", p99 = "1ms" } }
   |                       ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
"#,
    );
}

#[test]
fn reorders_limits_and_stalls() {
    assert_mistakes(
        r#"[[rule]]
gate = "submit"
reorder = [1, 3]

[[rule]]
gate = "submit"
reorder = [2, 2]

[[rule]]
gate = "submit"
reorder = [3, 1, 2]
window = 2

[[rule]]
gate = "submit"
reorder = "random"

[[rule]]
gate = "submit"
reorder = "random"
window = 4
until = "attempt.finished"

[[rule]]
gate = "submit"
limit = { burst = 4 }

[[rule]]
gate = "submit"
limit = { bandwidth = 0 }

[[rule]]
gate = "submit"
stall = { every = "1s", for = "2s" }
"#,
        r#"
error: `reorder` must be a whole number from 1 to 2
 --> my.toml:3:15
  |
3 | reorder = [1, 3]
  |               ^

error: a written order has each position from 1 to its length once, and at least two
 --> my.toml:7:11
  |
7 | reorder = [2, 2]
  |           ^^^^^^
  |
  = help: reorder = [3, 1, 2]: the third goes first, then the first two

error: the order has 3 positions, but 2 requests are collected
  --> my.toml:12:10
   |
12 | window = 2
   |          ^

error: how many requests are collected is not said
  --> my.toml:16:1
   |
16 | reorder = "random"
   | ^^^^^^^
   |
   = help: write window = 8, say, or until = …

error: requests are collected `until` something, or up to a `window`, not both
  --> my.toml:21:1
   |
21 | window = 4
   | ^^^^^^
   |
   = help: leave one of them out

error: `limit` must have `iops` or `bandwidth`
  --> my.toml:26:9
   |
26 | limit = { burst = 4 }
   |         ^^^^^^^^^^^^^
   |
   = help: write { iops = 500 } or { bandwidth = "10M" }, bytes a second

error: 0 bytes are none; write 4k, say
  --> my.toml:30:23
   |
30 | limit = { bandwidth = 0 }
   |                       ^

error: the stall is not over before the next begins
  --> my.toml:34:31
   |
34 | stall = { every = "1s", for = "2s" }
   |                               ^^^^
   |
   = help: make `for` shorter than `every`
"#,
    );
}

#[test]
fn the_evidence_of_a_case() {
    let text = r#"[case]
about = "A"
guest = "a.sh"
witness = 7
direct = { A = "guest.gone", B = "A.done" }
variables = { block = 1, "9" = "x", LIST = [1] }
phases = []
[case.image]
size = "1M"
filesystem = "ext4"
[event]
g = "guest"
[point]
A = { op = "write" }
"#;
    let mistakes = Policy::parse("my.toml", text).expect_err("mistakes");
    let said: Vec<&str> = mistakes.list.iter().map(|one| one.message.as_str()).collect();
    assert_eq!(
        said,
        [
            "`witness` must be `true`, `false` or a table of processes",
            "unknown guest event `gone`",
            "unknown point `B`",
            "`block` is no name of a variable: use A to Z, 0 to 9 and _",
            "`9` is no name of a variable: use A to Z, 0 to 9 and _",
            "variable `LIST` must be a line of text or a whole number",
            "expected a list of one guest event or more",
        ]
    );
}

#[test]
fn the_disk_of_a_case() {
    assert_mistakes(
        r#"[case]
about = "x"
guest = "x.sh"
[case.image]
size = "64M"
filesystem = "ext4"
[case.device]
queue-size = 100
num-queues = 17
"#,
        r#"
error: `queue-size` must be a power of 2
 --> my.toml:8:14
  |
8 | queue-size = 100
  |              ^^^
  |
  = help: 64 is one, and 128

error: `num-queues` must be a whole number from 1 to 16
 --> my.toml:9:14
  |
9 | num-queues = 17
  |              ^^
"#,
    );
}
