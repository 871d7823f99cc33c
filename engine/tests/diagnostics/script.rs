//! What the script of a case does not do.

use super::assert_same;
use blkstay_engine::policy::{Policy, Settings};

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
