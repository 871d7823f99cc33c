//! Cases in real guests: QEMU, Debian's kernels, ext4. Kernels are fetched once into the cache.

use blkstay_tests::lab::{
    AFFECTED, FIXED, WATCHDOG, command, document, files, finish, policy, root, run, said, start,
};
use serde_json::Value;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

fn race() -> PathBuf {
    policy("ext4-dio-fallback")
}

/// A case of one's own: the race's policy and script, each changed by replacing text.
fn changed(directory: &Path, policy: &[[&str; 2]], script: &[[&str; 2]]) -> PathBuf {
    let change = |files: [(&str, &str); 2], changes: &[[&str; 2]]| {
        let texts = files.map(|(from, _)| std::fs::read_to_string(root().join(from)).expect("a file"));
        for [old, _] in changes {
            assert!(texts.iter().any(|text| text.contains(old)), "`{old}` is not there to be replaced");
        }
        for ((_, to), text) in files.into_iter().zip(texts) {
            let text = changes.iter().fold(text, |text, [old, new]| text.replace(old, new));
            std::fs::write(directory.join(to), text).expect("a temporary file");
        }
    };
    std::fs::create_dir_all(directory.join("parts")).expect("a directory");
    let part = "parts/ext4-dio.toml";
    change([("policies/ext4-dio-fallback.toml", "case.toml"), (&format!("policies/{part}"), part)], policy);
    let scripts = ["ext4-dio-fallback.sh", "ext4-dio.sh"];
    let [main, shared] = scripts.map(|name| format!("guest-scripts/{name}"));
    change([(&main, scripts[0]), (&shared, scripts[1])], script);
    directory.join("case.toml")
}

#[test]
fn the_race_is_open_on_an_affected_kernel_and_closed_on_a_fixed_one() {
    let document = document(&race(), &[AFFECTED, FIXED], "5");
    let [affected, fixed] = [&document["kernels"][0], &document["kernels"][1]];
    assert_eq!(document["case"], "ext4-dio-fallback");
    for kernel in [affected, fixed] {
        assert_eq!(kernel["control"]["reached"], 5, "{kernel:#}");
        assert_eq!(kernel["control"]["symptoms"], 0, "{kernel:#}");
        assert_eq!(kernel["forced"]["attempts"], 5, "{kernel:#}");
    }
    assert_eq!(
        (&affected["verdict"], &affected["forced"]["open"]),
        (&"open".into(), &5.into()),
        "{affected:#}"
    );
    for sign in ["kernel-log", "fsync-of-b", "fsync-earlier"] {
        assert_eq!(affected["forced"]["signs"][sign], 5, "{affected:#}");
    }
    assert_eq!((&fixed["verdict"], &fixed["forced"]["closed"]), (&"closed".into(), &5.into()), "{fixed:#}");
    let stands = fixed["forced"]["stuck"][0]["where"].as_str().unwrap_or_default();
    assert!(stands.contains("inode_dio_wait"), "the fix makes B wait for A: {fixed:#}");
}

/// The same race by another window: every forced attempt is open on an affected kernel, and closed on a fixed one,
/// where B stands in front of the fallback.
fn assert_settles(case: &Path) {
    let document = document(case, &[AFFECTED, FIXED], "5");
    let [affected, fixed] = [&document["kernels"][0], &document["kernels"][1]];
    for kernel in [affected, fixed] {
        assert_eq!(kernel["control"]["reached"], 5, "{kernel:#}");
        assert_eq!(kernel["control"]["symptoms"], 0, "{kernel:#}");
    }
    assert_eq!(affected["forced"]["open"], 5, "{affected:#}");
    assert_eq!(fixed["forced"]["closed"], 5, "{fixed:#}");
    let stands = fixed["forced"]["stuck"][0]["where"].as_str().unwrap_or_default();
    assert!(stands.contains("inode_dio_wait ext4_buffered_write_iter"), "{fixed:#}");
}

#[test]
fn a_read_modify_write_opens_the_same_window() {
    assert_settles(&policy("ext4-dio-rmw"));
}

#[test]
fn a_full_ring_opens_the_same_window() {
    assert_settles(&policy("ext4-dio-tags"));
}

#[test]
fn a_journal_commit_opens_the_same_window() {
    assert_settles(&policy("ext4-dio-commit"));
}

/// Which QEMU is found first is what a process is told; the other tests want the real one.
#[test]
fn a_qemu_that_aborts_is_started_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let (program, mark) = (directory.path().join("qemu-system-x86_64"), directory.path().join("aborted"));
    let script = format!(
        "#!/bin/sh\nPATH=\"${{PATH#*:}}\"\ncase \"$*\" in *vhost-user-blk*) [ -e {0} ] || {{ : >{0}; kill -ABRT $$; }};; esac\n\
         exec qemu-system-x86_64 \"$@\"\n",
        mark.display()
    );
    std::fs::write(&program, script).expect("a program");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&program, mode).expect("a program that can be run");
    let path = format!("{}:{}", directory.path().display(), std::env::var("PATH").expect("PATH"));
    let case = race();
    let arguments = [case.to_str().expect("a path"), "--kernel", AFFECTED, "--times", "1", "--json"];
    let output = finish(command(&arguments).env("PATH", path).spawn().expect("blkstay runs"));
    let document: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", said(&output)));
    assert!(mark.exists(), "QEMU was never started: {document:#}");
    assert_eq!(document["kernels"][0]["verdict"], "open", "{document:#}");
}

/// A case on the affected kernel, every forced attempt of which shows the same.
fn assert_all(case: &Path, more: &[&str], verdict: &str) -> Value {
    let mut arguments = vec![case.to_str().expect("a path"), "--kernel", AFFECTED, "--times", "3", "--json"];
    arguments.extend(more);
    let output = run(&arguments);
    let document: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", said(&output)));
    let kernel = document["kernels"][0].clone();
    assert_eq!(kernel["control"]["reached"], 3, "{kernel:#}");
    assert_eq!((&kernel["verdict"], &kernel["forced"][verdict]), (&verdict.into(), &3.into()), "{kernel:#}");
    kernel
}

#[test]
fn writes_that_share_a_page_and_no_byte_race_and_those_that_share_no_page_do_not() {
    assert_all(&policy("ext4-dio-beside"), &[], "open");
    assert_all(&policy("ext4-dio-beside"), &["--set", "block=4096"], "survived");
}

#[test]
fn the_same_is_true_of_another_window() {
    assert_all(&policy("ext4-dio-rmw"), &["--set", "a=0", "--set", "block=1024"], "open");
    assert_all(&policy("ext4-dio-rmw"), &["--set", "a=0"], "survived");
}

#[test]
fn an_unaligned_write_over_a_hole_waits_for_direct_writes_where_it_takes_the_lock_exclusively() {
    let kernel = assert_all(&policy("ext4-dio-unaligned"), &[], "closed");
    let why = kernel["forced"]["reasons"][0]["why"].as_str().unwrap_or_default();
    assert!(why.ends_with("B waits for A, in inode_dio_wait"), "{kernel:#}");
}

#[test]
fn a_large_folio_is_needed_where_nothing_else_is_shared() {
    assert_all(&policy("ext4-dio-large-folio"), &[], "survived");
}

#[test]
fn a_file_that_loses_its_extents_under_a_direct_write_opens_the_same_window() {
    assert_all(&policy("ext4-dio-migrated"), &[], "open");
}

#[test]
fn what_direct_writes_cost_is_counted_phase_by_phase() {
    let kernel = assert_all(&policy("ext4-dio-cost"), &[], "survived");
    for arm in ["control", "forced"] {
        let phases = kernel["traffic"][arm].as_array().expect("phases");
        let names: Vec<&str> = phases.iter().filter_map(|phase| phase["phase"].as_str()).collect();
        assert_eq!(names, ["extend", "overwrite", "fill", "extend-4", "overwrite-4", "fill-4", "mixed"]);
        let [overwrite, fill] = [&phases[1], &phases[2]];
        // 64 blocks each; overwriting needs no page, filling holes a page for each.
        for phase in [overwrite, fill] {
            assert!(
                phase["writes"].as_u64() >= Some(64) && phase["flushes"].as_u64() >= Some(1),
                "{phase:#}"
            );
            assert!(phase["written_bytes"].as_u64() >= Some(64 * 4096), "{phase:#}");
        }
        assert!(overwrite["dirtied_pages"].as_u64() < Some(8), "{overwrite:#}");
        assert!(fill["dirtied_pages"].as_u64() >= Some(64), "{fill:#}");
    }
}

#[test]
fn two_runs_force_the_same_order_in_every_attempt() {
    let orders = || document(&race(), &[AFFECTED], "4")["kernels"][0]["forced"]["orders"].take();
    let (first, second) = (orders(), orders());
    assert_eq!(first.as_array().map(Vec::len), Some(1), "one order: {first:#}");
    assert_eq!(first[0]["attempts"], 4);
    assert_eq!(first, second);
}

#[test]
fn an_order_that_is_forced_without_a_symptom_is_survived() {
    let directory = tempfile::tempdir().expect("a directory");
    let signs = [["error EIO", "error EDOM"], ["Page cache invalidation failure", "no such line"]];
    let case = changed(directory.path(), &signs, &[]);
    let document = document(&case, &[AFFECTED], "2");
    assert_eq!(document["kernels"][0]["verdict"], "survived", "{document:#}");
    assert_eq!(document["kernels"][0]["forced"]["survived"], 2);
}

#[test]
fn a_point_that_is_never_reached_is_missed() {
    let directory = tempfile::tempdir().expect("a directory");
    let policy = ["op = \"read\", place = \"indirect\"", "op = \"read\", nth = 100000, place = \"indirect\""];
    let case = changed(directory.path(), &[policy], &[]);
    let document = document(&case, &[AFFECTED], "1");
    assert_eq!(document["kernels"][0]["verdict"], "missed", "{document:#}");
    let notes = document["kernels"][0]["notes"].to_string();
    assert!(notes.contains("never reached: R"), "{notes}");
}

#[test]
fn a_guest_that_crashes_is_lost() {
    let directory = tempfile::tempdir().expect("a directory");
    let script = ["attempt() {", "attempt() {\n    echo c >/proc/sysrq-trigger"];
    let document = document(&changed(directory.path(), &[], &[script]), &[AFFECTED], "3");
    let kernel = &document["kernels"][0];
    assert_eq!((&kernel["verdict"], &kernel["forced"]["lost"]), (&"lost".into(), &3.into()), "{kernel:#}");
}

/// Under KVM each boots for itself.
#[test]
fn a_guest_that_crashes_leaves_those_alone_that_go_on_from_the_same_boot() {
    let directory = tempfile::tempdir().expect("a directory");
    let script = ["attempt() {", "attempt() {\n    [ \"$ATTEMPT\" != 2 ] || echo c >/proc/sysrq-trigger"];
    let crashes = changed(directory.path(), &[], &[script]);
    let [race, crashes] = [&race(), &crashes].map(|case| case.to_str().expect("a path").to_owned());
    let output = run(&[&crashes, &race, "--kernel", AFFECTED, "--times", "1", "--json"]);
    let document: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", said(&output)));
    let [crashed, open] = [&document["kernels"][0], &document["kernels"][1]];
    assert_eq!(
        (&crashed["verdict"], &crashed["control"]["reached"]),
        (&"lost".into(), &1.into()),
        "{crashed:#}"
    );
    assert_eq!((&open["verdict"], &open["forced"]["open"]), (&"open".into(), &1.into()), "{open:#}");
    for kernel in [crashed, open] {
        assert_eq!(kernel["shared_boot"], kernel["accel"] == "tcg", "{kernel:#}");
    }
}

#[test]
fn a_guest_that_falls_silent_is_lost() {
    let directory = tempfile::tempdir().expect("a directory");
    let policy = ["[case]", "[case]\nlimit = \"2s\""];
    let script = ["attempt() {", "attempt() {\n    stay await --any guest.a-reaped"];
    let document = document(&changed(directory.path(), &[policy], &[script]), &[AFFECTED], "2");
    let kernel = &document["kernels"][0];
    assert_eq!((&kernel["verdict"], &kernel["control"]["lost"]), (&"lost".into(), &2.into()), "{kernel:#}");
}

#[test]
fn a_script_that_fails_is_lost_and_says_with_what() {
    let directory = tempfile::tempdir().expect("a directory");
    let script = ["attempt() {", "attempt() {\n    return 7"];
    let document = document(&changed(directory.path(), &[], &[script]), &[AFFECTED], "1");
    let notes = document["kernels"][0]["notes"].to_string();
    assert_eq!(document["kernels"][0]["verdict"], "lost", "{document:#}");
    assert!(notes.contains("failed with status 7"), "{notes}");
}

#[test]
fn kernels_that_lack_a_driver_are_refused_by_the_option_that_is_missing() {
    let directory = tempfile::tempdir().expect("a directory");
    let without = |what: &str| {
        let copy = directory.path().join(what);
        let status =
            Command::new("cp").args(["-r", cached_kernel().to_str().expect("a path")]).arg(&copy).status();
        assert!(status.expect("cp runs").success());
        for path in files(&copy) {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.starts_with(&format!("{what}.ko")) {
                std::fs::remove_file(&path).expect("a file of ours");
            } else if name.starts_with("modules.builtin") || name.starts_with("config-") {
                let text =
                    String::from_utf8_lossy(&std::fs::read(&path).expect("a file of ours")).into_owned();
                let rest: Vec<&str> =
                    text.lines().filter(|line| !line.to_lowercase().contains(what)).collect();
                std::fs::write(&path, rest.join("\n")).expect("a file of ours");
            }
        }
        run(&[race().to_str().expect("a path"), "--kernel", copy.to_str().expect("a path")])
    };
    for (module, option) in [("virtio_blk", "CONFIG_VIRTIO_BLK"), ("ext4", "CONFIG_EXT4_FS")] {
        let output = without(module);
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        assert!(said(&output).contains(option), "{}", said(&output));
    }
}

#[test]
fn a_bare_bzimage_without_the_driver_says_so_from_inside_the_guest() {
    let directory = tempfile::tempdir().expect("a directory");
    let image = files(&cached_kernel())
        .into_iter()
        .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz")));
    let bare = directory.path().join("bzImage");
    std::fs::copy(image.expect("a kernel has an image"), &bare).expect("a copy");
    let output = run(&[race().to_str().expect("a path"), "--kernel", bare.to_str().expect("a path")]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("CONFIG_VIRTIO_BLK"), "{}", said(&output));
}

#[test]
fn an_interrupted_run_leaves_no_process_behind() {
    let directory = tempfile::tempdir().expect("a directory");
    let keep = directory.path().join("kept");
    let keep = keep.to_str().expect("a path");
    let child =
        start(&[race().to_str().expect("a path"), "--kernel", AFFECTED, "--times", "1000", "--keep", keep]);
    wait_until("QEMU and blkstayd to run", || processes_naming(keep).len() >= 3);
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).expect("a pid"));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).expect("blkstay is there");
    assert_eq!(finish(child).status.code(), Some(130));
    wait_until("all of them to be gone", || processes_naming(keep).is_empty());
}

#[test]
fn what_is_kept_is_what_happened() {
    let directory = tempfile::tempdir().expect("a directory");
    let keep = directory.path().join("kept");
    let keep = keep.to_str().expect("a path");
    let output =
        run(&[race().to_str().expect("a path"), "--kernel", AFFECTED, "--times", "1", "--keep", keep]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let kept = files(Path::new(keep));
    let path =
        |name: &str| kept.iter().find(|path| path.ends_with(name)).unwrap_or_else(|| panic!("no {name}"));
    let records = blkstay_tests::journal::read(path("journal"));
    let journal = serde_json::to_string(&records).expect("JSON");
    for what in [
        "\"verdict\"",
        "\"held\"",
        "\"released\"",
        "\"attempt-began\"",
        "\"bound\"",
        "\"log\"",
        "\"stopped\"",
    ] {
        assert!(journal.contains(what), "the journal has no {what}");
    }
    assert_eq!(std::fs::read_to_string(path("attempts.jsonl")).expect("the reports").lines().count(), 2);
    assert!(path("disk.img").exists() && path("console.log").exists());
    let again =
        run(&[race().to_str().expect("a path"), "--kernel", AFFECTED, "--times", "1", "--keep", keep]);
    assert!(said(&again).contains("an earlier run's file is there"), "{}", said(&again));
}

/// The affected kernel's directory in the cache.
fn cached_kernel() -> PathBuf {
    let output = run(&[race().to_str().expect("a path"), "--kernel", AFFECTED, "--times", "1", "--json"]);
    let document: Value = serde_json::from_slice(&output.stdout).expect("a document");
    let package = document["kernels"][0]["package"].as_str().expect("a package").replace(' ', "_");
    let home = std::env::var("HOME").unwrap_or_default();
    let cache = std::env::var("BLKSTAY_CACHE")
        .or_else(|_| std::env::var("XDG_CACHE_HOME").map(|cache| format!("{cache}/blkstay")))
        .unwrap_or(format!("{home}/.cache/blkstay"));
    Path::new(&cache).join("kernels").join(package)
}

/// Processes that have this text in their command line.
fn processes_naming(text: &str) -> Vec<String> {
    let entries = std::fs::read_dir("/proc").expect("/proc").flatten();
    let command_line = |entry: std::fs::DirEntry| {
        let mut bytes = Vec::new();
        std::fs::File::open(entry.path().join("cmdline")).ok()?.read_to_end(&mut bytes).ok()?;
        let words = String::from_utf8_lossy(&bytes).replace('\0', " ");
        words.contains(text).then_some(words)
    };
    entries.filter_map(command_line).collect()
}

fn wait_until(what: &str, happened: impl Fn() -> bool) {
    let started = Instant::now();
    while !happened() {
        assert!(started.elapsed() < WATCHDOG, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
