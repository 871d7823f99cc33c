//! What the daemon prints: how to attach the disk.

use crate::cli::Cli;
use crate::guest_path;
use std::io::Write;
use std::path::Path;

/// Prints how to attach the disk, and that it is there.
pub fn announce(cli: &Cli) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    let devices = devices(cli);
    writeln!(out, "attach it to QEMU with these arguments (the memory's size is the guest's, -m):")?;
    writeln!(out, "  -m 1G -object memory-backend-memfd,id=blkstay-mem,size=1G,share=on \\")?;
    writeln!(out, "  -machine memory-backend=blkstay-mem \\\n  {}", devices.join(" \\\n  "))?;
    // Its own --numa is what makes the guest's memory shared there, whatever it mounts its root by.
    writeln!(out, "or to virtme-ng with these (docs/own-guests.md):")?;
    // Within the quotes around all of them those around a path would end them.
    let options = devices.join(" ").replace('\'', "'\\''");
    writeln!(out, "  --memory 1G --numa 1G --qemu-opts='{options}'")?;
    writeln!(out, "ready: serving {} at {}", cli.image, cli.socket.display())?;
    out.flush()
}

/// QEMU's arguments for the disk and the guest's port. Their names come from the socket's, so that those of several
/// daemons go together.
fn devices(cli: &Cli) -> Vec<String> {
    let stem = cli.socket.file_stem().unwrap_or_default().to_string_lossy();
    let id = stem.replace(|c: char| !c.is_ascii_alphanumeric() && !"-._".contains(c), "-");
    // QEMU before 9.2 has `reconnect=1` instead.
    let socket = |id: &str, path| format!("-chardev socket,id={id},path={},reconnect-ms=1000", quoted(path));
    let disk = format!("blkstay-{id}");
    let mut devices = vec![
        socket(&disk, &cli.socket),
        format!(
            "-device vhost-user-blk-pci,chardev={disk},num-queues={},queue-size={}",
            cli.queues_wanted(),
            cli.ring_wanted()
        ),
    ];
    if let Some(control) = &cli.control {
        devices.push(socket(&format!("{disk}-port"), &guest_path(control)));
        devices.push(format!(
            "-device virtio-serial-pci -device virtserialport,chardev=blkstay-{id}-port,name=blkstay"
        ));
    }
    devices
}

/// A path as a shell and QEMU's option parser take it: a comma is doubled, the rest single-quoted.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string().replace(',', ",,");
    let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-+,@%".contains(c));
    if plain { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}
