//! `blkstay report` on what a real run left: ext4-dio-fallback on a kernel that has the race and on one that has a fix,
//! in `report/`, with the journals as JSON lines.

use scraper::{Html, Selector};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

fn kept(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/report").join(name)
}

/// Runs `blkstay report`: its exit status, what it printed, and what it complained of.
fn report(arguments: &[&str], paths: &[&Path]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_blkstay"));
    let output = command.arg("report").args(arguments).args(paths).output().expect("blkstay runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn page(paths: &[&Path]) -> String {
    let (code, page, complaints) = report(&[], paths);
    assert_eq!((code, complaints.as_str()), (Some(0), ""));
    page
}

fn texts(page: &Html, selector: &str) -> Vec<String> {
    let selector = Selector::parse(selector).expect("a selector");
    page.select(&selector).map(|element| element.text().collect()).collect()
}

/// The kept directory of an open cell in which the guest's kernel says something else.
fn with_kernel_log(line: &str) -> TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    for name in ["journal", "attempts.jsonl", "result.json"] {
        let text = std::fs::read_to_string(kept("open").join(name)).expect("a kept file");
        let said = serde_json::to_string(line).expect("text");
        let text = text.replace("File: /mnt/victim", said.trim_matches('"'));
        std::fs::write(directory.path().join(name), text).expect("a file");
    }
    directory
}

#[test]
fn the_text_is_what_a_mail_is_to_say() {
    let (code, text, _) = report(&["--text"], &[&kept("open"), &kept("closed")]);
    assert_eq!(code, Some(0));
    let path = kept("expected.txt");
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        std::fs::write(&path, &text).expect("the expectation");
    }
    let expected = std::fs::read_to_string(&path).expect("the expectation");
    assert_eq!(text, expected, "if it is right so, run this with UPDATE_EXPECTED=1");
}

#[test]
fn the_page_is_good_html_and_needs_nothing_else() {
    let page = page(&[&kept("open"), &kept("closed")]);
    let parsed = Html::parse_document(&page);
    assert_eq!(parsed.errors, [] as [&str; 0]);
    let outside = Selector::parse("script, link, img, iframe, object, embed, use, image, [src], [href]");
    assert_eq!(parsed.select(&outside.expect("a selector")).count(), 0);
    for reference in ["http:", "https:", "//", "@import", "url("] {
        let found = page.matches(reference).count();
        // Shading refers to patterns of the page itself.
        let own = if reference == "url(" { page.matches("url(#").count() } else { 0 };
        assert_eq!(found, own, "{reference}");
    }
    assert!(page.len() < 60_000, "{} bytes", page.len());
}

#[test]
fn names_in_the_page_are_there_once_and_what_refers_to_them_finds_them() {
    let parsed = Html::parse_document(&page(&[&kept("open"), &kept("closed")]));
    let named = Selector::parse("[id]").expect("a selector");
    let mut names: Vec<&str> = parsed.select(&named).filter_map(|element| element.attr("id")).collect();
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all);
    let pictures = Selector::parse("svg[role=img]").expect("a selector");
    assert_eq!(parsed.select(&pictures).count(), 4, "two arms of two cells");
    for picture in parsed.select(&pictures) {
        let described = picture.attr("aria-labelledby").expect("a description").split(' ');
        described.for_each(|name| assert!(names.contains(&name), "{name}"));
    }
}

#[test]
fn what_the_kernel_says_is_text_and_nothing_else() {
    let line = "</pre></svg></style><script>alert(1)</script><img src=x onerror='alert(2)'>&lt;\"\u{1b}[31m";
    let directory = with_kernel_log(line);
    let page = page(&[directory.path()]);
    assert!(!page.contains("<script") && !page.contains("<img"));
    let parsed = Html::parse_document(&page);
    let log = texts(&parsed, "details.log pre").concat();
    assert!(log.contains("</pre></svg></style><script>alert(1)</script>"), "{log}");
    assert!(log.contains("&lt;\""), "{log}");
    assert!(!page.contains('\u{1b}'), "a control character is no text");
    let (_, text, _) = report(&["--text"], &[directory.path()]);
    assert!(!text.contains('\u{1b}'));
}

#[test]
fn the_eye_is_told_why_it_is_open_and_why_closed() {
    let parsed = Html::parse_document(&page(&[&kept("open"), &kept("closed")]));
    let verdicts = texts(&parsed, "h3 .verdict");
    assert_eq!(verdicts, ["open", "closed"]);
    let arrows = texts(&parsed, ".lanes .arrow title");
    assert_eq!(
        arrows,
        ["R.arrived lets A go on", "guest.a-reaped lets R go on"],
        "none where a watchdog ended it"
    );
    let [expired] = &texts(&parsed, ".lanes rect.expired")[..] else {
        panic!("one hold ends by its watchdog")
    };
    assert!(expired.contains("for R.arrived, ended by its watchdog"), "{expired}");
    let tasks = texts(&parsed, ".lanes rect.task");
    assert!(tasks.len() == 4 && tasks.iter().all(|task| task.starts_with("B runs for ")), "{tasks:?}");
    let [asleep] = &texts(&parsed, ".lanes .mark.stuck")[..] else { panic!("B is seen asleep once") };
    assert!(asleep.starts_with("inode_dio_wait ← ext4_buffered_write_iter"), "{asleep}");
    let stack = texts(&parsed, ".stack").concat();
    assert!(stack.contains("inode_dio_wait ← ext4_buffered_write_iter"), "{stack}");
    assert!(!texts(&parsed, ".lanes .broken").is_empty(), "the watchdog's time is not drawn at length");
}

/// The kept directory of the closed cell, as if its kernel had no direct writes.
fn bypassing() -> TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let why = "by-passed: no direct write to race with";
    for (name, changes) in [
        (
            "journal",
            [
                (
                    r#""outcome":"reached","why":"every point was reached""#,
                    r#""outcome":"closed","why":"WHY""#,
                ),
                ("R.arrived did not come while A.complete was held", "WHY"),
            ],
        ),
        (
            "result.json",
            [(r#""reached": 1,"#, r#""reached": 0,"#), (r#""bypassed": 0,"#, r#""bypassed": 1,"#)],
        ),
    ] {
        let mut text = std::fs::read_to_string(kept("closed").join(name)).expect("a kept file");
        for (from, to) in changes {
            assert!(text.contains(from), "{name} has no {from}");
            text = text.replace(from, &to.replace("WHY", why));
        }
        std::fs::write(directory.path().join(name), text).expect("a file");
    }
    directory
}

#[test]
fn a_kernel_that_by_passes_is_said_to_and_its_control_arm_was_made() {
    let directory = bypassing();
    let alone = directory.path().join("result.json");
    let bare = tempfile::tempdir().expect("a directory");
    std::fs::copy(directory.path().join("journal"), bare.path().join("journal")).expect("a journal");
    for path in [directory.path(), bare.path(), &alone] {
        let text = report(&["--text"], &[path]).1;
        assert!(text.contains("\n  closed (by-passed) 7.3.4"), "{text}");
        for arm in ["control", "forced"] {
            assert!(text.contains(&format!("{arm}: closed (by-passed) 1 of 1")), "{text}");
        }
        assert!(!text.contains("a fix is at work") && !text.contains("closed 1 of 1"), "{text}");
    }
    let page = page(&[directory.path()]);
    assert!(!page.contains("none made") && !page.contains("a fix is at work"));
    assert_eq!(texts(&Html::parse_document(&page), "h3 .verdict"), ["closed (by-passed)"]);
}

#[test]
fn a_case_that_is_about_costs_shows_them_and_no_drawing() {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::copy(kept("closed/journal"), directory.path().join("journal")).expect("a journal");
    let text = std::fs::read_to_string(kept("closed/result.json")).expect("a result");
    let mut result: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    result["kernels"][0]["traffic"] = serde_json::json!({"control": [{
        "phase": "extend", "attempts": 2, "ms": 18.5, "ms_range": [18.0, 19.0], "reads": 0, "read_bytes": 0,
        "writes": 66, "written_bytes": 290_816, "flushes": 2, "dirtied_pages": 5
    }]});
    std::fs::write(directory.path().join("result.json"), result.to_string()).expect("a file");
    let text = report(&["--text"], &[directory.path()]).1;
    assert!(
        text.contains("  extend      66          284        2      0              5  18.5   18.0 to 19.0"),
        "{text}"
    );
    assert!(!text.contains("A.arrived"), "{text}");
    let parsed = Html::parse_document(&page(&[directory.path()]));
    let figures = ["extend", "66", "284", "2", "0", "5", "18.5", "18.0 to 19.0"];
    assert_eq!(texts(&parsed, "table.costs td"), figures);
    assert_eq!(texts(&parsed, ".timeline"), [] as [&str; 0]);
}

#[test]
fn what_chance_brought_about_is_told_and_lanes_have_names_in_print() {
    let directory = tempfile::tempdir().expect("a directory");
    let text = std::fs::read_to_string(kept("closed/result.json")).expect("a result");
    let mut result: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    result["kernels"][0]["natural"] = serde_json::json!({"attempts": 4, "symptoms": 1, "lost": 1});
    let path = directory.path().join("result.json");
    std::fs::write(&path, result.to_string()).expect("a file");
    let said = "by chance: symptom in 1 of 3 (0.8–91 %)";
    let text = report(&["--text"], &[&path]).1;
    assert_eq!(text.matches(said).count(), 1, "{text}");
    assert!(page(&[&path]).contains(said));
    let page = page(&[&kept("open")]);
    let print = page.split_once("@media print").expect("rules for print").1;
    assert!(print.contains(".timeline .names") && !print.contains(".names { display: none"));
    assert!(page.contains("--names:112;--lanes:"), "both are scaled alike");
}

#[test]
fn cells_of_other_settings_are_other_rows() {
    let directory = tempfile::tempdir().expect("a directory");
    let text = std::fs::read_to_string(kept("closed/result.json")).expect("a result");
    let document: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let line = |made_of: &str, set: serde_json::Value, verdict: &str| {
        let mut cell = document["kernels"][0].clone();
        (cell["set"], cell["verdict"]) = (set, verdict.into());
        serde_json::json!({"key": {"made_of": made_of}, "cell": cell}).to_string()
    };
    let results = directory.path().join("results.jsonl");
    let set = serde_json::json!({"block": "4096"});
    let lines = [
        line("a", serde_json::json!({}), "lost"),
        line("a", serde_json::json!({}), "open"),
        line("b", set, "survived"),
    ];
    std::fs::write(&results, lines.join("\n")).expect("a file");
    let text = report(&["--text"], &[&results]).1;
    let rows: Vec<&str> =
        text.lines().filter(|line| line.contains("7.3.4+deb13") && line.starts_with("  ")).collect();
    let release = "7.3.4+deb13-cloud-amd64";
    assert_eq!(rows, [format!("  open      {release}"), format!("  survived  {release}, block=4096")]);
    assert!(text.contains("--set block=4096"), "{text}");
}

#[test]
fn results_complete_a_directory_or_make_a_row_of_their_own() {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::copy(kept("open/journal"), directory.path().join("journal")).expect("a journal");
    let bare = report(&["--text"], &[directory.path()]).1;
    assert!(bare.contains("open      6.12.107+deb13-cloud-amd64") && !bare.contains("package"), "{bare}");
    let alone = page(&[&kept("open/result.json")]);
    let alone = texts(&Html::parse_document(&alone), "td[data-label=signs]");
    assert!(alone.concat().contains("fsync-of-b 1"), "{alone:?}");
    let both = report(&["--text"], &[directory.path(), &kept("open/result.json")]).1;
    assert!(both.contains("package linux-image-6.12.107+deb13-cloud-amd64 6.12.107-1"), "{both}");
    let row = report(&["--text"], &[directory.path(), &kept("closed/result.json")]).1;
    assert!(row.contains("closed    7.3.4+deb13-cloud-amd64"), "{row}");
    assert!(row.contains("Its journal is not among what this report was made from."), "{row}");
}

/// A result of the open cell, changed.
fn changed(directory: &TempDir, change: impl FnOnce(&mut serde_json::Value)) -> PathBuf {
    let text = std::fs::read_to_string(kept("open/result.json")).expect("a result");
    let mut result: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    change(&mut result["kernels"][0]);
    let path = directory.path().join("changed.json");
    std::fs::write(&path, result.to_string()).expect("a file");
    path
}

#[test]
fn results_alone_tell_all_that_they_have_and_how_to_see_it_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = changed(&directory, |cell| {
        cell["forced"]["attempts"] = 10.into();
        cell["forced"]["open"] = 8.into();
        cell["forced"]["lost"] = 2.into();
        cell["natural"] = serde_json::json!({"attempts": 20, "symptoms": 2, "lost": 0});
        cell["spec"] = "variant:fix".into();
        cell["variant"] = serde_json::json!({"name": "fix", "about": "A fix", "change": "ab"});
        cell["cpus"] = 1.into();
    });
    let text = report(&["--text"], &[&path]).1;
    for words in [
        "forced: open 8 of 8 (63–100 %), lost 2 of 10 (3–56 %)",
        "control: reached 1 of 1 (2–100 %); symptom in 0 of 1 (0–98 %)",
        "by chance: symptom in 2 of 20 (1–32 %)",
        "signs when forced: fsync-earlier 1, fsync-of-b 1, kernel-log 1",
        "  blkstay run ext4-dio-fallback --kernel variant:fix@debian:6.12.107-1 \\\n      --times 10 --natural --cpus 1\n",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    let page = page(&[&path]);
    assert!(page.contains("by chance: symptom in 2 of 20"));
    assert!(page.contains("fsync-earlier 1"));
}

#[test]
fn a_mail_is_no_wider_than_mails_are() {
    let said = "Page cache invalidation failure on direct I/O. ".repeat(5);
    let directory = with_kernel_log(&said);
    let text = report(&["--text"], &[directory.path(), &kept("closed")]).1;
    let wide: Vec<&str> = text.lines().filter(|line| line.chars().count() > 76).collect();
    assert_eq!(wide, [] as [&str; 0]);
}

#[test]
fn what_is_wrong_with_a_journal_is_told() {
    let directory = tempfile::tempdir().expect("a directory");
    let journal = directory.path().join("journal");
    let text = std::fs::read_to_string(kept("open/journal")).expect("a journal");
    std::fs::write(&journal, &text[..text.len() - 100]).expect("a journal");
    let told = "its journal is damaged in 1 place";
    assert!(report(&["--text"], &[directory.path()]).1.contains(told));
    assert!(report(&[], &[directory.path()]).1.contains(told));
    std::fs::write(&journal, "").expect("a journal");
    let (code, _, complaints) = report(&[], &[directory.path()]);
    assert_eq!(code, Some(1));
    assert!(complaints.contains("it tells of no case; left out"), "{complaints}");
    let (code, text, _) = report(&["--text"], &[&kept("open"), &kept("closed")]);
    let both = tempfile::tempdir().expect("a directory");
    for (name, from) in [("a", journal), ("b", kept("open/journal")), ("c", kept("closed/journal"))] {
        std::fs::create_dir(both.path().join(name)).expect("a directory");
        std::fs::copy(from, both.path().join(name).join("journal")).expect("a journal");
    }
    let (among, others, _) = report(&["--text"], &[both.path()]);
    assert_eq!((code, among), (Some(0), Some(0)));
    let timelines = |text: &str| text.matches("A arrives").count();
    assert_eq!((timelines(&others), others.contains(" on ?")), (timelines(&text), false), "{others}");
}

#[test]
fn what_has_nothing_of_a_run_is_refused_with_advice() {
    let empty = tempfile::tempdir().expect("a directory");
    let (code, out, complaints) = report(&[], &[empty.path()]);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(complaints.contains("give it what `blkstay run --keep` was given"), "{complaints}");
    let other = empty.path().join("other.json");
    std::fs::write(&other, "{\"verdict\": \"open\"}").expect("a file");
    let (code, _, complaints) = report(&[], &[&other]);
    assert!(code == Some(1) && complaints.contains("no result of `blkstay run`"), "{complaints}");
}

#[test]
fn it_is_written_to_a_file_where_one_is_named() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("report.html");
    let (code, out, _) = report(&["-o", path.to_str().expect("text")], &[&kept("open")]);
    assert_eq!((code, out.as_str()), (Some(0), ""));
    assert_eq!(std::fs::read_to_string(&path).expect("the page"), page(&[&kept("open")]));
}
