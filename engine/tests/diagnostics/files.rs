//! Mistakes in files that are included and in parameters.

use super::assert_of_files;

#[test]
fn an_included_file_has_no_case_and_no_name_twice() {
    assert_of_files(
        &[
            (
                "my.toml",
                r#"include = ["lib/drive.toml"]
[place]
victim = "guest"
"#,
            ),
            (
                "lib/drive.toml",
                r#"seed = 4
[case]
about = "x"
[place]
victim = { offset = 0, length = 512 }
"#,
            ),
        ],
        &[],
        r#"
warning: the seed of an included file is ignored
 --> lib/drive.toml:1:1
  |
1 | seed = 4
  | ^^^^
  |
  = help: the seed is that of the file that is run, or of `--seed`

error: only the file that is run has a case
 --> lib/drive.toml:2:2
  |
2 | [case]
  |  ^^^^
  |
  = help: leave [case] out of files that others include

error: there are two places called `victim`
 --> lib/drive.toml:5:1
  |
5 | victim = { offset = 0, length = 512 }
  | ^^^^^^ the second
  |
 ::: my.toml:3:1
  |
3 | victim = "guest"
  | ------ the first
  |
  = help: give one of them another name
"#,
    );
}

#[test]
fn a_file_that_cannot_be_read_is_told_where_it_is_wanted() {
    assert_of_files(
        &[
            (
                "my.toml",
                r#"include = ["a.toml", 5]
"#,
            ),
            (
                "a.toml",
                r#"include = [{ path = "lib/gone.toml" }]
"#,
            ),
        ],
        &[],
        r#"
error: the path of an included file must be a string, not an integer
 --> my.toml:1:22
  |
1 | include = ["a.toml", 5]
  |                      ^

error: cannot read `lib/gone.toml`: No such file or directory (os error 2)
 --> a.toml:1:21
  |
1 | include = [{ path = "lib/gone.toml" }]
  |                     ^^^^^^^^^^^^^^^
"#,
    );
}

#[test]
fn files_that_include_each_other() {
    assert_of_files(
        &[
            (
                "my.toml",
                r#"include = ["lib/a.toml"]
"#,
            ),
            (
                "lib/a.toml",
                r#"include = ["b.toml"]
"#,
            ),
            (
                "lib/b.toml",
                r#"include = ["./../my.toml"]
"#,
            ),
        ],
        &[],
        r#"
error: files include each other in a circle: my.toml → lib/a.toml → lib/b.toml → my.toml
 --> lib/b.toml:1:12
  |
1 | include = ["./../my.toml"]
  |            ^^^^^^^^^^^^^^
"#,
    );
}

#[test]
fn a_file_that_is_included_twice_with_other_parameters() {
    assert_of_files(
        &[
            (
                "my.toml",
                r#"include = [
    { path = "a.toml", set = { n = 1 } },
    { path = "a.toml", set = { n = 2 } },
]
"#,
            ),
            (
                "a.toml",
                r#"[parameter]
n = 0
[point]
A = { queue = "$n" }
"#,
            ),
        ],
        &[],
        r#"
error: `a.toml` is included twice, with other parameters
 --> my.toml:3:14
  |
2 |     { path = "a.toml", set = { n = 1 } },
  |              -------- the first time
3 |     { path = "a.toml", set = { n = 2 } },
  |              ^^^^^^^^
  |
  = help: a file counts once; write a file of its own for the other
"#,
    );
}

#[test]
fn mistakes_of_an_included_file_are_shown_there() {
    assert_of_files(
        &[
            (
                "my.toml",
                r#"include = ["a.toml"]
[[rule]]
gate = "submit"
point = "A"
fail = "io-eror"
"#,
            ),
            (
                "a.toml",
                r#"[point]
A = { op = "wirte" }
"#,
            ),
        ],
        &[],
        r#"
error: unknown status `io-eror`
 --> my.toml:5:8
  |
5 | fail = "io-eror"
  |        ^^^^^^^^^
  |
  = help: did you mean `io-error`?

error: unknown operation `wirte`
 --> a.toml:2:12
  |
2 | A = { op = "wirte" }
  |            ^^^^^^^
  |
  = help: did you mean `write`?
"#,
    );
}

#[test]
fn parameters_that_are_not_there() {
    assert_of_files(
        &[
            (
                "my.toml",
                r#"include = [{ path = "a.toml", set = { tme = "3ms" } }]
[parameter]
gate = "submit"
must = { about = "a status" }
list = []
[[rule]]
gate = "$gat"
name = "x-$gate"
fail = "$must"
"#,
            ),
            (
                "a.toml",
                r#"[parameter]
time = "5ms"
[[rule]]
gate = "submit"
delay = "$time"
"#,
            ),
        ],
        &[],
        r#"
error: unknown parameter `tme`
 --> my.toml:1:39
  |
1 | include = [{ path = "a.toml", set = { tme = "3ms" } }]
  |                                       ^^^
  |
  = help: did you mean `time`?

error: parameter `must` has no value
 --> my.toml:4:1
  |
4 | must = { about = "a status" }
  | ^^^^
  |
  = help: give it one, with `--set must=…` say, or a default here

error: a parameter is a string, a number or a boolean, not an array
 --> my.toml:5:8
  |
5 | list = []
  |        ^^

error: unknown parameter `gat`
 --> my.toml:7:8
  |
7 | gate = "$gat"
  |        ^^^^^^
  |
  = help: did you mean `gate`?

error: a `$` that names no parameter
 --> my.toml:8:8
  |
8 | name = "x-$gate"
  |        ^^^^^^^^^
  |
  = help: write `${NAME}` for a parameter, `$$` for a plain `$`
"#,
    );
}

#[test]
fn values_from_the_command_line() {
    assert_of_files(
        &[(
            "my.toml",
            r#"[parameter]
n = 3
op = "write"
[point]
A = { nth = "$n", op = "$op" }
"#,
        )],
        &[("n", "abc"), ("oop", "read")],
        r#"
warning: point `A` is never used
 --> my.toml:5:1
  |
5 | A = { nth = "$n", op = "$op" }
  | ^ no hold, rule or expression names it
  |
  = help: leave it out

error: parameter `n` is an integer, `abc` is not
 --> --set:1:3
  |
1 | n=abc
  |   ^^^
  |
 ::: my.toml:2:1
  |
2 | n = 3
  | - declared here

error: unknown parameter `oop`
 --> --set:1:1
  |
1 | oop=read
  | ^^^
  |
  = help: it can be `n`, `op`
"#,
    );
}

#[test]
fn a_value_that_is_wrong_is_told_where_it_is_used() {
    assert_of_files(
        &[(
            "my.toml",
            r#"[parameter]
op = "write"
[point]
A = { op = "$op" }
"#,
        )],
        &[("op", "wirte")],
        r#"
error: unknown operation `wirte`
 --> my.toml:4:12
  |
4 | A = { op = "$op" }
  |            ^^^^^
  |
  = help: did you mean `write`?
"#,
    );
}
