//! What exercises a disk in a guest: `exercise blocks FILE KEY=NUMBER…` or `exercise files FILE KEY=NUMBER…`; with
//! `exercise kexec KERNEL INITRAMFS` the guest boots that kernel.

use blkstay_tests::exercise::{blocks, files, kexec, settings};
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [what, path, settings @ ..] = &arguments[..] else {
        eprintln!("exercise blocks|files FILE KEY=NUMBER…");
        return ExitCode::from(2);
    };
    if let ("kexec", [initramfs]) = (what.as_str(), settings) {
        kexec::run(path.as_ref(), initramfs.as_ref());
    }
    let settings = settings::read(settings);
    match what.as_str() {
        "blocks" => blocks::run(path.as_ref(), &settings),
        _ => files::run(path.as_ref(), &settings),
    }
    ExitCode::SUCCESS
}
