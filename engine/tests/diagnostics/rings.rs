//! What may hold every slot of a ring.

use super::{assert_good, assert_no_warning, assert_warnings, checked};

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

/// A case of rings that have four entries, with a point for flushes.
const SMALL: &str = r#"[case]
about = "x"
guest = "x.sh"
image = { size = "64M", filesystem = "ext4" }
device = { queue-size = 4, num-queues = 1 }
[event]
enough = "policy"
[point]
C = { op = "flush" }
"#;

#[test]
fn what_is_held_itself_ends_the_wait() {
    let hold = |count: u64, until: &str| {
        format!(
            "[point]\nA = {{ op = \"write\", from = 1 }}\n[[hold]]\ngate = \"A.complete\"\nuntil = \"A.{until} >= {count}\"\n"
        )
    };
    assert_good(&hold(8, "arrived"));
    assert_good(&hold(128, "done"));
    let emits = r#"[[rule]]
op = "write"
gate = "submit"
from = 8
emit = "enough"
[[rule]]
op = "write"
gate = "complete"
until = "policy.enough"
"#;
    assert_good(&format!("[event]\nenough = \"policy\"\n{emits}"));
    let other_ring = r#"[point]
F = { op = "flush", queue = 1 }
[[rule]]
op = "write"
gate = "complete"
queue = 0
until = "F.arrived"
"#;
    assert_good(other_ring);
    let by_itself = r#"[state]
s = false
[[rule]]
op = "write"
gate = "complete"
until = "state.s"
set = "s"
"#;
    assert_good(by_itself);
    let each_other = r#"A = { op = "write", count = 2 }
B = { op = "read", count = 2 }
[[hold]]
gate = "A.complete"
until = "B.arrived"
[[hold]]
gate = "B.complete"
until = "A.arrived >= 2"
"#;
    assert_good(&format!("{SMALL}{each_other}"));
}

#[test]
fn what_waits_for_more_of_its_own_than_the_ring_has() {
    assert_warnings(
        &format!(
            "{SMALL}{}",
            r#"A = { op = "write", from = 1 }
[[hold]]
gate = "A.complete"
until = "A.arrived >= 5"
"#
        ),
        r#"
warning: the hold of `A.complete` may hold every slot of the ring: with queue size 4, when 4 requests are held no other can arrive, also not the one that this waits for
  --> my.toml:13:9
   |
13 | until = "A.arrived >= 5"
   |         ^^^^^^^^^^^^^^^^ needs another request
   |
   = help: give the disk a `queue-size` of more than 5, or wait for fewer of them
"#,
    );
}

#[test]
fn what_holds_every_slot_together() {
    assert_warnings(
        &format!(
            "{SMALL}{}",
            r#"
[[rule]]
op = "write"
gate = "complete"
count = 2
until = "C.arrived"

[[rule]]
op = "read"
gate = "complete"
count = 2
until = "C.arrived"
"#
        ),
        r#"
warning: holds and rules up to this one may hold every slot of the ring: with queue size 4, when 4 requests are held no other can arrive, also not the one that this waits for
  --> my.toml:21:9
   |
21 | until = "C.arrived"
   |         ^^^^^^^^^^^ needs another request
   |
   = help: hold fewer requests, or give the disk a larger `queue-size`
"#,
    );
}

#[test]
fn a_pause_that_fills_the_ring() {
    assert_warnings(
        &format!(
            "{SMALL}{}",
            r#"
[[rule]]
op = "write"
gate = "complete"
nth = 2
pause = "disk"
until = "C.arrived"
"#
        ),
        r#"
warning: rule `rule-1` may hold every slot of the ring: with queue size 4, when 4 requests are held no other can arrive, also not the one that this waits for
  --> my.toml:16:9
   |
16 | until = "C.arrived"
   |         ^^^^^^^^^^^ needs another request
   |
   = help: wait for an event of the guest or of the control socket, or let a rule with a `count` hold fewer
"#,
    );
}
