//! Block devices: loop devices, where this process may make some.

mod common;

use blkstay_drives::{Aio, ImageSpec, Operation, Spec, open};
use common::{Asked, content, directory, one};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

struct Loop(String);

impl Loop {
    fn new(file: &Path, block: &str) -> Option<Loop> {
        let made =
            Command::new("losetup").args(["--find", "--show", "--sector-size", block]).arg(file).output();
        match made {
            Ok(made) if made.status.success() => {
                Some(Loop(String::from_utf8_lossy(&made.stdout).trim().to_owned()))
            }
            other => {
                eprintln!("skipped: no loop device: {other:?}");
                None
            }
        }
    }

    fn spec(&self) -> Spec {
        Spec::new(ImageSpec::File(self.0.clone().into()))
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["--detach", &self.0]).status();
    }
}

#[test]
fn a_device_is_read_written_and_cleared() {
    let directory = directory();
    let file = directory.path().join("device");
    for (aio, direct) in [(Aio::Auto, false), (Aio::Threads, false), (Aio::Auto, true), (Aio::Threads, true)]
    {
        std::fs::write(&file, vec![7; 1 << 20]).unwrap();
        let Some(device) = Loop::new(&file, "512") else { return };
        let opened = open(&Spec { aio, direct, ..device.spec() }).unwrap();
        assert_eq!(opened.bytes, 1 << 20);
        let disk = opened.drive;
        let mut model = vec![7; 1 << 20];
        one(&disk, Asked::write(512, &[9; 4096])).0.unwrap();
        model[512..4608].fill(9);
        for (unmap, start) in [(true, 64 << 10), (false, 128 << 10), (true, 256 << 10)] {
            let range = start + 512..start + (32 << 10);
            model[range.start as usize..range.end as usize].fill(0);
            one(&disk, Asked::new(Operation::WriteZeroes { unmap, durable: true }, range)).0.unwrap();
        }
        assert!(content(&disk) == model);
        one(&disk, Asked::new(Operation::Discard, 512 << 10..1 << 20)).0.unwrap();
        one(&disk, Asked::new(Operation::Flush, 0..0)).0.unwrap();
        let used = file.metadata().unwrap().blocks() * 512;
        assert!(used <= (512 << 10) + (64 << 10), "{used} bytes are still in use");
        assert_eq!(disk.resize(2 << 20).unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
        disk.resize(1 << 20).unwrap();
    }
}

#[test]
fn direct_access_in_large_blocks_is_for_disks_of_large_blocks() {
    let directory = directory();
    let file = directory.path().join("device");
    std::fs::write(&file, vec![7; 1 << 20]).unwrap();
    let Some(device) = Loop::new(&file, "4096") else { return };
    let small = open::<Asked>(&Spec { direct: true, ..device.spec() });
    assert!(
        format!("{:#}", small.err().unwrap()).contains("in blocks of 4096 bytes, more than the disk's 512")
    );
    let disk = open(&Spec { direct: true, block_bytes: 4096, ..device.spec() }).unwrap().drive;
    one(&disk, Asked::write(8192, &[9; 4096])).0.unwrap();
    let mut seen = [0; 100];
    disk.read_at(8190, &mut seen).unwrap();
    assert_eq!(seen[..4], [7, 7, 9, 9]);
}
