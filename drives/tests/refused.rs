//! Systems that refuse io_uring, from the start or later: every request gets through all the same.

mod common;

use blkstay_drives::{Aio, Operation, Spec, open};
use common::{Asked, Disk, directory, file, one, sleep};

/// Lets a system call fail on the calling thread, as containers do.
fn refuse(call: i64, errno: i32) {
    let step = |code: u32, k, jt, jf| libc::sock_filter { code: code as u16, jt, jf, k };
    let mut program = [
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, call as u32, 0, 1),
        step(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ERRNO | errno as u32, 0, 0),
        step(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW, 0, 0),
    ];
    let filter = libc::sock_fprog { len: 4, filter: program.as_mut_ptr() };
    // SAFETY: the program is four steps that end; it concerns this thread.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &filter), 0);
    }
}

/// Runs a test on a thread that is refused a call from the middle on.
fn on_a_refused_thread(test: impl FnOnce() + Send) {
    std::thread::scope(|scope| drop(scope.spawn(test)));
}

/// A disk by io_uring; `None` where there is none.
fn by_io_uring(spec: &Spec) -> Option<Disk> {
    match open(&Spec { aio: Aio::Uring, ..spec.clone() }) {
        Ok(opened) => Some(opened.drive),
        Err(error) => {
            eprintln!("skipped: {error:#}");
            None
        }
    }
}

#[test]
fn where_io_uring_is_refused_threads_serve_and_it_is_said() {
    let directory = directory();
    let spec = file(&directory.path().join("disk"), &[7; 4096]);
    on_a_refused_thread(|| {
        refuse(libc::SYS_io_uring_setup, libc::EPERM);
        let demanded = open::<Asked>(&Spec { aio: Aio::Uring, ..spec.clone() });
        assert!(format!("{:#}", demanded.err().unwrap()).contains("serve the image by threads"));
        let opened = open(&spec).unwrap();
        assert!(opened.note.unwrap().starts_with("io_uring is refused here (Operation not permitted"));
        one(&opened.drive, Asked::write(512, &[9; 512])).0.unwrap();
        assert_eq!(one(&opened.drive, Asked::read(512..1024)).1.content(), [9; 512]);
    });
}

#[test]
fn a_ring_that_is_refused_later_leaves_its_requests_to_threads() {
    let directory = directory();
    let spec = file(&directory.path().join("disk"), &[7; 1 << 20]);
    let Some(disk) = by_io_uring(&spec) else { return };
    on_a_refused_thread(|| {
        one(&disk, Asked::write(0, &[1; 512])).0.unwrap();
        refuse(libc::SYS_io_uring_enter, libc::EBADF);
        for round in 0..3 {
            let requests = (0..600).map(|at| Asked::write(at * 512, &[round; 512])).collect();
            let ended = common::carry_out(&disk, 0, requests);
            assert!(ended.iter().all(|ended| ended.result.is_ok()));
            one(&disk, Asked::new(Operation::Flush, 0..0)).0.unwrap();
        }
    });
    let (result, seen) = one(&disk, Asked::read(0..600 * 512));
    result.unwrap();
    assert!(seen.content() == [2; 600 * 512]);
}

/// A kernel without memory takes what was submitted when it has some: here, when another thread asks.
#[test]
fn what_the_kernel_has_no_means_for_is_submitted_again() {
    let directory = directory();
    let spec = file(&directory.path().join("disk"), &[7; 1 << 20]);
    let Some(disk) = by_io_uring(&spec) else { return };
    let mut ended = Vec::new();
    on_a_refused_thread(|| {
        refuse(libc::SYS_io_uring_enter, libc::EAGAIN);
        let mut requests = (0..600).map(|at| Asked::read(at * 512..at * 512 + 512)).collect();
        disk.submit(0, &mut requests, &mut ended);
        assert!(ended.is_empty(), "nothing can have ended");
    });
    while ended.len() < 600 {
        sleep(&disk, 0);
        disk.reap(0, &mut ended);
    }
    assert!(ended.iter().all(|ended| ended.result.is_ok() && ended.request.content() == [7; 512]));
}

/// What the kernel was never told of is no reason to wait.
#[test]
fn a_drive_can_be_dropped_while_it_is_refused() {
    let directory = directory();
    let spec = file(&directory.path().join("disk"), &[7; 1 << 20]);
    let Some(disk) = by_io_uring(&spec) else { return };
    on_a_refused_thread(|| {
        refuse(libc::SYS_io_uring_enter, libc::EAGAIN);
        disk.submit(0, &mut vec![Asked::read(0..512)], &mut Vec::new());
        drop(disk);
    });
}
