//! What a person sees who wrote a policy wrong: whole messages.

mod circles;
mod files;
mod filesystem;
mod itself;
mod matching;
mod mistakes;
mod most;
mod never;
mod points;
mod rings;
mod rules;
mod script;
mod shadows;
mod warnings;
mod words;

use blkstay_engine::policy::{Checked, Policy, Settings};

fn assert_same(seen: &str, expected: &str) {
    let trim = |text: &str| {
        text.trim().lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
    };
    let (seen, expected) = (trim(seen), trim(expected));
    assert!(seen == expected, "expected:\n{expected}\n\nseen:\n{seen}");
}

/// Asserts on the whole rendering of all mistakes in a policy called `my.toml`.
fn assert_mistakes(text: &str, expected: &str) {
    let mistakes = Policy::parse("my.toml", text).expect_err("the policy has mistakes");
    assert_same(&mistakes.render(false), expected);
}

/// The same for a policy of several files, with parameters.
fn assert_of_files(files: &[(&str, &str)], set: &[(&str, &str)], expected: &str) {
    let set = set.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let mut include = |path: &str| {
        let file = files.iter().find(|(known, _)| *known == path);
        file.map(|(_, text)| (*text).to_owned())
            .ok_or_else(|| "No such file or directory (os error 2)".into())
    };
    let settings = Settings { set, seed: None };
    let read = Policy::read("my.toml", files[0].1, &settings, &mut include);
    assert_same(&read.expect_err("the policy has mistakes").render(false), expected);
}

/// A policy that is good, and doubtful.
fn checked(text: &str) -> Checked {
    let mut none = |_: &str| Err("there is none".to_owned());
    let read = Policy::read("my.toml", text, &Settings::default(), &mut none);
    read.unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

/// Asserts on the whole rendering of all warnings about a policy called `my.toml`.
fn assert_warnings(text: &str, expected: &str) {
    assert_same(&checked(text).warnings.render(false), expected);
}

/// Asserts that rules beside a point `W`, one write, are not doubted.
fn assert_no_warning(rules: &str) {
    let text = format!("[event]\ng = \"guest\"\n[point]\nW = {{ op = \"write\", nth = 2 }}\n{rules}");
    assert_good(&text);
}

/// Asserts that nothing of a policy is doubted.
fn assert_good(text: &str) {
    let warnings = checked(text).warnings;
    assert!(warnings.list.is_empty(), "{text}\n{warnings}");
}

#[test]
fn not_toml() {
    assert_mistakes(
        "[point\nA = 1",
        r#"
error: not TOML: unclosed table, expected `]`
 --> my.toml:1:7
  |
1 | [point
  |       ^
"#,
    );
}

#[test]
fn every_mistake_is_told_in_one_pass() {
    assert_mistakes(
        r#"[place]
victim = "guest"

[point]
A = { op = "wirte", place = "victm" }
R = { op = "read", after = "A.arived" }

[[hold]]
gate = "A.compleet"
until = "B.arrived"

[[hold]]
gate = "R.complete"
until = "guest.reaped"
untill = 1
"#,
        r#"
error: unknown operation `wirte`
 --> my.toml:5:12
  |
5 | A = { op = "wirte", place = "victm" }
  |            ^^^^^^^
  |
  = help: did you mean `write`?

error: unknown place `victm`
 --> my.toml:5:29
  |
5 | A = { op = "wirte", place = "victm" }
  |                             ^^^^^^^
  |
  = help: did you mean `victim`?

error: unknown step of a point `arived`
 --> my.toml:6:28
  |
6 | R = { op = "read", after = "A.arived" }
  |                            ^^^^^^^^^^
  |
  = help: did you mean `arrived`?

error: unknown gate `compleet`
 --> my.toml:9:8
  |
9 | gate = "A.compleet"
  |        ^^^^^^^^^^^^
  |
  = help: did you mean `complete`?

error: unknown point `B`
  --> my.toml:10:9
   |
10 | until = "B.arrived"
   |         ^^^^^^^^^^^
   |
   = help: it can be `A`, `R`

error: unknown guest event `reaped`
  --> my.toml:14:9
   |
14 | until = "guest.reaped"
   |         ^^^^^^^^^^^^^^
   |
   = help: declare it: `reaped = "guest"` in [event]

error: [[hold]] has no key `untill`
  --> my.toml:15:1
   |
15 | untill = 1
   | ^^^^^^ not known here
   |
   = help: did you mean `until`?
"#,
    );
}

#[test]
fn what_would_never_match_or_always_end() {
    assert_mistakes(
        r#"watchdog = "0s"
[place]
p = { offset = "1x", length = 0 }
[point]
F = { op = "flush", place = "p" }
[sign]
log = { kernel-log = "" }
"#,
        r#"
error: a time limit of nothing ends everything at once; write 5s, say
 --> my.toml:1:12
  |
1 | watchdog = "0s"
  |            ^^^^

error: `1x` is not a size: write bytes, or 4k, 64M, 1G
 --> my.toml:3:16
  |
3 | p = { offset = "1x", length = 0 }
  |                ^^^^

error: place `p` is a range of nothing
 --> my.toml:3:31
  |
3 | p = { offset = "1x", length = 0 }
  |                               ^
  |
  = help: write how much there is of it, 1 or more

error: a flush has no place: it addresses no bytes
 --> my.toml:5:29
  |
5 | F = { op = "flush", place = "p" }
  |                             ^^^
  |
  = help: leave `place` out

error: sign `log` must be { kernel-log = … } or { report = …, is = … }
 --> my.toml:7:1
  |
7 | log = { kernel-log = "" }
  | ^^^
"#,
    );
}
