//! What is asked for more often, or of more at once, than there can be.

use super::{assert_good, assert_warnings};

/// A case with one ring of four.
const SMALL: &str = r#"[case]
about = "x"
guest = "x.sh"
image = { size = "64M", filesystem = "ext4" }
device = { queue-size = 4, num-queues = 1 }
"#;

#[test]
fn as_many_as_there_can_be_is_not_doubted() {
    let single = |until: &str| {
        format!("[point]\nW = {{ op = \"write\" }}\n[[hold]]\ngate = \"W.complete\"\nuntil = {until}\n")
    };
    let several = |until: &str| single(until).replace("\"write\" }", "\"write\", count = 3 }");
    let rule = |until: &str| {
        format!(
            "[point]\nW = {{ op = \"write\", count = 8 }}\n[[rule]]\ngate = \"complete\"\nop = \"read\"\ncount = 8\nuntil = {until}\n"
        )
    };
    assert_good(&several("\"W.arrived == 3\""));
    assert_good(&several("\"W.arrived <= 3\""));
    assert_good(&several("{ not = \"W.arrived == 2\" }"));
    assert_good(&single("\"W.arrived == 1\""));
    assert_good(&rule("\"W.completed == 8\""));
    assert_good(&rule("{ any = [\"W.completed == 8\", { not = \"W.done < 8\" }] }"));
}

#[test]
fn more_of_a_point_than_it_is() {
    assert_warnings(
        r#"[point]
W = { op = "write", count = 3 }
R = { op = "read", before = "W.arrived <= 3" }

[[hold]]
gate = "W.complete"
until = { any = ["W.arrived < 1", "W.arrived == 4", "R.arrived"] }

[[hold]]
gate = "R.complete"
until = "W.done > 3"
"#,
        r#"
warning: point `R` never is: `W.arrived` has happened 3 times at most by then
 --> my.toml:3:29
  |
3 | R = { op = "read", before = "W.arrived <= 3" }
  |                             ^^^^^^^^^^^^^^^^ this never matches
  |
  = help: ask for what can have happened by then

warning: `W.arrived` happens 3 times at most
 --> my.toml:7:35
  |
7 | until = { any = ["W.arrived < 1", "W.arrived == 4", "R.arrived"] }
  |                                   ^^^^^^^^^^^^^^^^ never is
  |
  = help: give point `W` a larger `count`

warning: `W.done` happens 3 times at most
  --> my.toml:11:9
   |
11 | until = "W.done > 3"
   |         ^^^^^^^^^^^^ never is
   |
   = help: give point `W` a larger `count`
"#,
    );
}

#[test]
fn more_of_an_event_than_rules_emit() {
    let policy = |until: &str| {
        format!(
            r#"[event]
e = "policy"
[point]
A = {{ op = "write", count = 2 }}

[[hold]]
gate = "A.complete"
until = {until}

[[rule]]
gate = "submit"
op = "read"
count = 1
emit = "e"

[[rule]]
gate = "submit"
point = "A"
nth = 1
emit = "e"
"#
        )
    };
    assert_good(&policy("\"policy.e == 2\""));
    assert_good(&policy("\"policy.e >= 3\"").replace("count = 1\n", ""));
    assert_warnings(
        &policy("\"policy.e >= 3\""),
        r#"
warning: `policy.e` happens 2 times at most
 --> my.toml:8:9
  |
8 | until = "policy.e >= 3"
  |         ^^^^^^^^^^^^^^^ never is
  |
  = help: let more requests emit it, or wait for fewer
"#,
    );
}

#[test]
fn more_requests_at_once_than_the_rings_have() {
    let policy = |least: u64| {
        format!(
            r#"{SMALL}
[state]
s = false
[point]
A = {{ op = "write", when = "in-flight >= {least}" }}
B = {{ op = "flush" }}

[[hold]]
gate = "B.complete"
until = {{ any = ["in-flight >= {least}", "state.s"] }}

[[rule]]
gate = "complete"
op = "read"
when = {{ not = "held < {least}" }}
set = "s"

[[rule]]
gate = "complete"
op = "read"
delay = "1ms"
"#
        )
    };
    assert_good(&policy(4));
    assert_good(&policy(5).replace("num-queues = 1", "num-queues = 2"));
    assert_warnings(
        &policy(5),
        r#"
warning: `in-flight` is 4 at most
  --> my.toml:10:28
   |
10 | A = { op = "write", when = "in-flight >= 5" }
   |                            ^^^^^^^^^^^^^^^^ never is
   |
   = help: the disk of the case has one ring of 4: ask for fewer, or give [case.device] a larger `queue-size`

warning: `in-flight` is 4 at most
  --> my.toml:15:18
   |
15 | until = { any = ["in-flight >= 5", "state.s"] }
   |                  ^^^^^^^^^^^^^^^^ never is
   |
   = help: the disk of the case has one ring of 4: ask for fewer, or give [case.device] a larger `queue-size`

warning: rule `rule-1` never matches: `held` is 4 at most
  --> my.toml:20:8
   |
20 | when = { not = "held < 5" }
   |        ^^^^^^^^^^^^^^^^^^^^ this never matches
   |
   = help: the disk of the case has one ring of 4: ask for fewer, or give [case.device] a larger `queue-size`
"#,
    );
}

#[test]
fn more_held_than_holds_and_rules_hold() {
    let policy = |least: u64| {
        format!(
            r#"[point]
A = {{ op = "write" }}

[[hold]]
gate = "A.complete"
until = "held >= {least}"

[[rule]]
gate = "submit"
op = "read"
count = 2
until = "held >= {least}"
"#
        )
    };
    assert_good(&policy(3));
    let paused = "\n[[rule]]\ngate = \"submit\"\nop = \"flush\"\nnth = 1\npause = \"disk\"\n";
    assert_good(&format!("{}{paused}", policy(4)));
    assert_good("[event]\ne = \"policy\"\n[[rule]]\ngate = \"submit\"\nwhen = \"held >= 2\"\nemit = \"e\"\n");
    assert_warnings(
        &policy(4),
        r#"
warning: `held` is 3 at most
 --> my.toml:6:9
  |
6 | until = "held >= 4"
  |         ^^^^^^^^^^^ never is
  |
  = help: ask for fewer, or let holds and rules be of more requests

warning: `held` is 3 at most
  --> my.toml:12:9
   |
12 | until = "held >= 4"
   |         ^^^^^^^^^^^ never is
   |
   = help: ask for fewer, or let holds and rules be of more requests
"#,
    );
}
