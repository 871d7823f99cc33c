//! `blkstay check`: files and what they include, parameters, warnings, documents.

use serde_json::{Value, json};
use std::process::Command;
use tempfile::TempDir;

/// What a command left.
struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
}

/// Policy files in a directory that goes away.
struct Files(TempDir);

impl Files {
    fn new(files: &[(&str, &str)]) -> Files {
        let directory = tempfile::tempdir().expect("a directory");
        for (name, text) in files {
            let path = directory.path().join(name);
            std::fs::create_dir_all(path.parent().expect("its directory")).expect("its directory");
            std::fs::write(path, text).expect("a file");
        }
        Files(directory)
    }

    /// Runs `blkstay` there.
    fn blkstay(&self, arguments: &[&str]) -> Ended {
        let mut command = Command::new(env!("CARGO_BIN_EXE_blkstay"));
        let output = command.args(arguments).current_dir(self.0.path()).output().expect("blkstay runs");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        Ended { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let ended = self.blkstay(arguments);
        assert_eq!(ended.err, "");
        serde_json::from_str(&ended.out).unwrap_or_else(|error| panic!("{error}: {}", ended.out))
    }
}

const SLOW: &str = r#"
[parameter]
slow = "5ms"
[[rule]]
gate = "complete"
delay = "$slow"
"#;

#[test]
fn files_are_included_from_beside_the_file_that_includes_them() {
    let files = Files::new(&[
        ("a/my.toml", "include = [\"../b/drive.toml\"]\n"),
        ("b/drive.toml", "include = [\"slow.toml\"]\n"),
        ("b/slow.toml", SLOW),
    ]);
    let ended = files.blkstay(&["check", "a/my.toml"]);
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
    assert_eq!(ended.out, "a/my.toml: good; 0 points, 0 holds, 1 rule, 0 signs\n");
}

#[test]
fn mistakes_of_included_files_are_shown_where_they_are() {
    let files = Files::new(&[
        ("my.toml", "include = [\"sub/drive.toml\", \"gone.toml\"]\n"),
        ("sub/drive.toml", "[[rule]]\ngate = \"complete\"\ndelay = \"5\"\n"),
    ]);
    let ended = files.blkstay(&["check", "my.toml"]);
    assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""));
    assert!(ended.err.contains("cannot read `gone.toml`: No such file"), "{}", ended.err);
    assert!(ended.err.contains("--> my.toml:1:"), "{}", ended.err);
}

#[test]
fn a_file_that_is_not_utf_8_is_shown_where_it_is_not() {
    let files = Files::new(&[]);
    std::fs::write(files.0.path().join("my.toml"), b"[[rule]]\n# gr\xfc\xdfe\n").expect("a file");
    let ended = files.blkstay(&["check", "my.toml"]);
    assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""));
    for part in [
        "error: the file is not UTF-8",
        "--> my.toml:2:5",
        "# gr\u{fffd}",
        "^ byte 0xfc",
        "help: save it as UTF-8",
    ] {
        assert!(ended.err.contains(part), "{part}: {}", ended.err);
    }
}

#[test]
fn parameters_are_set_from_the_command_line() {
    let files = Files::new(&[("my.toml", SLOW)]);
    let explain =
        |arguments: &[&str]| files.blkstay(&[&["check", "my.toml", "--explain"], arguments].concat());
    assert!(explain(&[]).out.contains("each request is delayed by 5 ms"));
    let set = explain(&["--set", "slow=1ms", "--set", "slow=7ms"]);
    assert!(set.out.contains("each request is delayed by 7 ms"), "{}", set.out);
    let unknown = explain(&["--set", "slwo=7ms"]);
    assert_eq!((unknown.code, unknown.out.as_str()), (Some(1), ""));
    assert!(unknown.err.contains("unknown parameter `slwo`"), "{}", unknown.err);
    assert!(unknown.err.contains("did you mean `slow`?"), "{}", unknown.err);
    assert_eq!(explain(&["--set", "slow"]).code, Some(2));
}

#[test]
fn the_seed_can_be_another_one() {
    let policy = "seed = 1\nrule = [{ gate = \"submit\", probability = 0.5, fail = \"io-error\" }]";
    let files = Files::new(&[("my.toml", policy)]);
    let explained =
        |arguments: &[&str]| files.blkstay(&[&["check", "--explain", "my.toml"], arguments].concat()).out;
    assert!(explained(&[]).contains("from the seed 1:"));
    assert!(explained(&["--seed", "9"]).contains("from the seed 9:"));
}

const UNUSED: &str = "[parameter]\nslow = \"5ms\"\n[[rule]]\ngate = \"submit\"\nfail = \"io-error\"\n";

#[test]
fn warnings_are_shown_and_fail_only_if_they_are_denied() {
    let files = Files::new(&[("my.toml", UNUSED)]);
    let warned = files.blkstay(&["check", "my.toml"]);
    assert_eq!(warned.code, Some(0));
    assert_eq!(warned.out, "my.toml: good; 0 points, 0 holds, 1 rule, 0 signs; 1 warning\n");
    assert!(warned.err.starts_with("warning: parameter `slow` is never used\n"), "{}", warned.err);
    for strict in ["--deny-warnings", "--strict"] {
        let denied = files.blkstay(&["check", "my.toml", strict]);
        assert_eq!((denied.code, &denied.err), (Some(1), &warned.err));
        assert_eq!(denied.out, "my.toml: not good; 0 points, 0 holds, 1 rule, 0 signs; 1 warning\n");
    }
}

const CASE: &str = r#"
[case]
about = "A case"
guest = "my.sh"
image = { size = "64M", filesystem = "ext4" }
[event]
go = "guest"
[point]
A = { op = "write" }
[[hold]]
gate = "A.complete"
until = "guest.go"
"#;

#[test]
fn an_event_that_the_script_never_names_is_warned_of() {
    let warnings = |script: &str| {
        let files = Files::new(&[("policies/my.toml", CASE), ("guest-scripts/my.sh", script)]);
        files.blkstay(&["check", "policies/my.toml"]).err
    };
    assert_eq!(warnings("attempt() {\n    stay emit go\n}\n"), "");
    let warned = warnings("attempt() {\n    stay emit gone\n}\n");
    assert!(warned.starts_with("warning: guest event `go` is never emitted"), "{warned}");
    assert!(warned.contains("--> policies/my.toml:7:1"), "{warned}");
}

#[test]
fn a_script_that_is_not_there_is_warned_of() {
    let warned = Files::new(&[("my.toml", CASE)]).blkstay(&["check", "my.toml"]);
    assert_eq!(warned.code, Some(0));
    assert!(
        warned.err.starts_with("warning: the guest script `my.sh` is neither ./my.sh nor"),
        "{}",
        warned.err
    );
    assert!(warned.err.contains("--> my.toml:4:9"), "{}", warned.err);
}

#[test]
fn the_document_has_every_file() {
    let files = Files::new(&[("good.toml", UNUSED), ("bad.toml", "# µs\n[point]\nA = { op = \"wirte\" }\n")]);
    let document = files.json(&["check", "--json", "good.toml", "bad.toml", "gone.toml"]);
    let place = |file: &str, line, from, to| json!({ "file": file, "line": line, "column": from, "end_line": line, "end_column": to });
    let told = |place: Value, rest: Value| {
        let mut told = place;
        told.as_object_mut().expect("an object").extend(rest.as_object().expect("an object").clone());
        told
    };
    let unused = told(
        place("good.toml", 2, 1, 5),
        json!({
            "severity": "warning", "label": null, "message": "parameter `slow` is never used",
            "help": "write \"$slow\" where its value belongs, or leave it out"
        }),
    );
    let unknown = told(
        place("bad.toml", 3, 12, 19),
        json!({
            "severity": "error", "label": null, "message": "unknown operation `wirte`",
            "help": "did you mean `write`?"
        }),
    );
    let gone = json!({
        "file": "gone.toml", "line": null, "column": null, "end_line": null, "end_column": null,
        "severity": "error", "label": null, "help": null,
        "message": "gone.toml: cannot read it: No such file or directory (os error 2)"
    });
    let counts = json!({ "points": 0, "holds": 0, "rules": 1, "signs": 0 });
    let expected = json!({
        "good": false,
        "files": [
            { "policy": "good.toml", "good": true, "counts": counts, "diagnostics": [unused] },
            { "policy": "bad.toml", "good": false, "counts": null, "diagnostics": [unknown] },
            { "policy": "gone.toml", "good": false, "counts": null, "diagnostics": [gone] },
        ],
    });
    assert_eq!(document, expected);
}

#[test]
fn a_document_can_have_explanations() {
    let files = Files::new(&[("my.toml", SLOW)]);
    let document = files.json(&["check", "--json", "--explain", "my.toml"]);
    let text = files.blkstay(&["check", "--explain", "my.toml"]).out;
    let explanation = document["files"][0]["explanation"].as_str().expect("an explanation");
    assert_eq!(text, format!("my.toml: good; 0 points, 0 holds, 1 rule, 0 signs\n\n{explanation}\n"));
}

#[test]
fn nothing_has_colours_but_a_terminal() {
    let ended = Files::new(&[("bad.toml", "pont = 1")]).blkstay(&["check", "bad.toml"]);
    assert!(!ended.err.contains('\u{1b}'), "{:?}", ended.err);
}

#[test]
fn one_policy_at_a_time_is_tried_on_a_journal() {
    let files = Files::new(&[("a.toml", ""), ("b.toml", ""), ("journal", "")]);
    let ended = files.blkstay(&["check", "a.toml", "b.toml", "--against", "journal"]);
    assert_eq!((ended.code, ended.out.as_str()), (Some(2), ""));
    assert_eq!(ended.err, "blkstay: `--against` is for one policy at a time\n");
}

#[test]
fn completions_and_manual_pages_know_every_command() {
    let files = Files::new(&[]);
    let commands = ["check", "run", "log", "control", "schema", "completions", "man"];
    for shell in ["bash", "zsh", "fish"] {
        let completions = files.blkstay(&["completions", shell]);
        assert_eq!(completions.code, Some(0));
        assert!(commands.iter().all(|command| completions.out.contains(command)), "{shell}");
    }
    assert!(files.blkstay(&["man"]).out.contains(".TH blkstay 1"));
    assert_eq!(files.blkstay(&["man", "pages"]).code, Some(0));
    let page = |command: &str| files.0.path().join(format!("pages/blkstay-{command}.1"));
    for command in commands {
        assert!(page(command).is_file(), "{command}");
    }
    assert!(std::fs::read_to_string(page("check")).expect("a page").contains("deny\\-warnings"));
}

#[test]
fn the_schema_is_printed() {
    let printed = Files::new(&[]).json(&["schema"]);
    assert_eq!(printed, blkstay_lab::schema::schema().expect("a schema"));
}
