//! Hosts that fail: an image cut off, no space, no io_uring. The drive says so and lives on.

mod common;

use blkstay_drives::{Aio, End, ImageSpec, Operation, Overlay, Spec, open};
use common::{Asked, directory, file, kinds, one};
use std::fs::File;
use std::io;
use std::path::Path;

#[test]
fn an_image_that_is_truncated_ends_early_and_grows_again() {
    for kind in kinds(&vec![7; 1 << 20]) {
        if kind.name == "memory" {
            continue;
        }
        let disk = kind.open();
        File::options().write(true).open(kind.base()).unwrap().set_len(4096 + 512).unwrap();
        for range in [4096..12288, 8192..12288, 512 << 10..513 << 10] {
            let (result, _) = one(&disk, Asked::read(range.clone()));
            assert_eq!(result.unwrap_err().kind(), io::ErrorKind::UnexpectedEof, "{}: {range:?}", kind.name);
        }
        one(&disk, Asked::read(0..4096)).0.expect(kind.name);
        one(&disk, Asked::write(8192, &[9; 4096])).0.expect(kind.name);
        let (result, seen) = one(&disk, Asked::read(8192..12288));
        result.expect(kind.name);
        assert_eq!(seen.content(), [9; 4096], "{}", kind.name);
    }
}

/// Runs a test on a thread that has a small filesystem for itself, if this process may mount one.
fn with_small_filesystem(test: impl FnOnce(&Path) + Send + 'static) {
    let thread = std::thread::spawn(|| {
        use nix::mount::{MsFlags, mount};
        use nix::sched::{CloneFlags, unshare};
        let (none, directory) = (None::<&str>, directory());
        let mounted = unshare(CloneFlags::CLONE_NEWNS)
            .and_then(|()| mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none))
            .and_then(|()| mount(none, directory.path(), Some("tmpfs"), MsFlags::empty(), Some("size=256k")));
        match mounted {
            Ok(()) => test(directory.path()),
            Err(errno) => eprintln!("skipped: this process may not mount a filesystem: {errno}"),
        }
        let _ = nix::mount::umount(directory.path());
    });
    thread.join().unwrap();
}

fn assert_full(spec: &Spec) {
    let disk = open(spec).unwrap().drive;
    let chunk = vec![9; 64 << 10];
    let writes = (0..16).map(|at| Asked::write(at << 16, &chunk)).collect();
    let ended = common::carry_out(&disk, 0, writes);
    let failed: Vec<_> = ended.iter().filter_map(|ended| ended.result.as_ref().err()).collect();
    assert!((8..16).contains(&failed.len()), "{} of 16 failed", failed.len());
    assert!(failed.iter().all(|error| error.raw_os_error() == Some(libc::ENOSPC)), "{failed:?}");
    one(&disk, Asked::read(0..4096)).0.expect("it lives");
    one(&disk, Asked::new(Operation::Discard, 0..1 << 20)).0.unwrap();
    one(&disk, Asked::write(0, &[9; 4096])).0.expect("there is room again");
}

#[test]
fn a_full_filesystem_fails_requests_and_not_the_drive() {
    with_small_filesystem(|directory| {
        for aio in [Aio::Auto, Aio::Threads, Aio::Uring] {
            let path = directory.join("disk");
            File::create(&path).unwrap().set_len(1 << 20).unwrap();
            assert_full(&Spec { aio, ..Spec::new(ImageSpec::File(path.clone())) });
            std::fs::remove_file(path).unwrap();
        }
        let base = common::directory();
        let spec = file(&base.path().join("disk"), &vec![0; 1 << 20]);
        assert_full(&Spec { overlay: Some(Overlay::File(directory.to_owned())), ..spec });
        assert_eq!(directory.read_dir().unwrap().count(), 0, "an overlay has no name");
    });
}

/// A commit that fails can be tried again, for nothing of the overlay is lost.
#[test]
fn a_commit_that_found_no_room_can_be_repeated() {
    with_small_filesystem(|directory| {
        let (path, filler) = (directory.join("disk"), directory.join("filler"));
        File::create(&path).unwrap().set_len(1 << 20).unwrap();
        std::fs::write(&filler, vec![1; 200 << 10]).unwrap();
        let spec = Spec::new(ImageSpec::File(path.clone()));
        let disk = open(&Spec { overlay: Some(Overlay::Memory), end: End::Commit, ..spec }).unwrap().drive;
        one(&disk, Asked::write(4096, &[9; 100 << 10])).0.unwrap();
        assert_eq!(disk.end().unwrap_err().raw_os_error(), Some(libc::ENOSPC));
        std::fs::remove_file(filler).unwrap();
        disk.end().unwrap();
        assert_eq!(std::fs::read(path).unwrap()[4096..][..100 << 10], [9; 100 << 10]);
    });
}

#[test]
fn what_cannot_be_served_is_refused_with_advice() {
    let directory = directory();
    let path = directory.path().join("disk");
    let base = file(&path, &[0; 1536]);
    let refused = |change: &dyn Fn(&mut Spec)| {
        let mut spec = base.clone();
        change(&mut spec);
        format!("{:#}", open::<Asked>(&spec).err().expect("it was not refused"))
    };
    assert!(refused(&|spec| spec.block_bytes = 4096).contains("truncate -s %4096"));
    assert!(refused(&|spec| spec.block_bytes = 1024).contains("512 or of 4096"));
    assert!(refused(&|spec| spec.end = End::Commit).contains("only an overlay can be committed"));
    assert!(refused(&|spec| spec.image = ImageSpec::Memory(1000)).contains("make it 1024"));
    assert!(refused(&|spec| spec.image = ImageSpec::Null(0)).contains("at least one block"));
    assert!(refused(&|spec| spec.image = ImageSpec::Memory(1 << 62)).contains("ask for less"));
    let overlaid = |spec: &mut Spec| spec.overlay = Some(Overlay::File(path.clone()));
    assert!(refused(&overlaid).contains("where nothing is"));
    let memory =
        |spec: &mut Spec| (spec.image, spec.overlay) = (ImageSpec::Memory(4096), Some(Overlay::Memory));
    assert!(refused(&memory).contains("of no use"));
}

#[test]
fn a_base_is_locked_by_what_its_overlay_will_do_to_it() {
    let directory = directory();
    let base = file(&directory.path().join("disk"), &[0; 4096]);
    let overlaid = Spec { overlay: Some(Overlay::Memory), ..base.clone() };
    let one = open::<Asked>(&overlaid).unwrap();
    let other = open::<Asked>(&overlaid).expect("two overlays read one base");
    assert!(open::<Asked>(&base).is_err(), "somebody writes the base of an overlay");
    let commit = Spec { end: End::Commit, ..overlaid.clone() };
    assert!(open::<Asked>(&commit).is_err(), "a commit is for who is alone");
    drop((one, other));
    let _alone = open::<Asked>(&commit).unwrap();
    assert!(open::<Asked>(&overlaid).is_err(), "somebody reads what will be committed to");
}
