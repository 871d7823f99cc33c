//! Rules for a point that ask for what it is not.

use super::{assert_good, assert_warnings};

/// Rules for a point of 4k at one place, and what each of them asks for beside.
fn rules(keys: &[&str]) -> String {
    let rule =
        |keys: &&str| format!("\n[[rule]]\npoint = \"A\"\ngate = \"submit\"\n{keys}\ndelay = \"1ms\"\n");
    let rules: String = keys.iter().map(rule).collect();
    format!(
        r#"[place]
a = {{ block = 1, blocks = 1 }}
b = {{ block = 9, blocks = 1 }}
c = {{ block = 2, blocks = 1 }}
d = "guest"
[point]
A = {{ op = "write", place = "a", length = "4k", queue = 0 }}
N = {{ place = "b", op = "read", length = "1M" }}
O = {{ place = "c" }}
P = {{ place = "d" }}
{rules}
[[rule]]
gate = "complete"
op = "write"
count = 8
until = {{ any = ["N.arrived", "O.arrived", "P.arrived"] }}
"#
    )
}

#[test]
fn what_the_point_is_not() {
    assert_warnings(
        &rules(&["length = \"8k\"", "queue = 1", "place = \"b\"", "op = \"read\""]),
        r#"
warning: rule `rule-1`: its point has another length
  --> my.toml:15:10
   |
15 | length = "8k"
   |          ^^^^ this never matches
   |
   = help: leave `length` out: point `A` says it

warning: rule `rule-2`: its point is of another queue
  --> my.toml:21:9
   |
21 | queue = 1
   |         ^ this never matches
   |
   = help: leave `queue` out: point `A` says it

warning: rule `rule-3`: its point is at another place
  --> my.toml:27:9
   |
27 | place = "b"
   |         ^^^ this never matches
   |
   = help: leave `place` out: point `A` says it

warning: rule `rule-4`: its point is another operation
  --> my.toml:33:6
   |
33 | op = "read"
   |      ^^^^^^ this never matches
   |
   = help: leave `op` out: point `A` says it
"#,
    );
}

#[test]
fn what_the_point_may_be() {
    assert_good(&rules(&["length = { max = \"4k\" }"]));
    assert_good(&rules(&["queue = 0"]));
    // A request of both blocks touches either place.
    assert_good(&rules(&["place = \"c\""]));
    // Where the guest binds it, nobody knows.
    assert_good(&rules(&["place = \"d\""]));
    assert_good(&rules(&["op = [\"write\", \"read\"]"]));
}
