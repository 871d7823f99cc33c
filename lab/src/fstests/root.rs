//! The root file system of guests: Debian's of this machine's own release, so that what was built here runs there.

use crate::digest;
use crate::kernel::{self, process};
use crate::run::{Lab, find_program};
use anyhow::{Context, Result, bail};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What fstests calls for, beside what every Debian has.
const PACKAGES: &[&str] = &[
    "acl",
    "attr",
    "bc",
    "bsdextrautils",
    "btrfs-progs",
    "dbench",
    "dmsetup",
    "dump",
    "e2fsprogs",
    "exfatprogs",
    "f2fs-tools",
    "file",
    "fio",
    "gawk",
    "iproute2",
    "keyutils",
    "kmod",
    "libcap2-bin",
    "lvm2",
    "mount",
    "openssl",
    "passwd",
    "perl",
    "procps",
    "psmisc",
    "python3-minimal",
    "quota",
    "sqlite3",
    "uuid-runtime",
    "xfsdump",
    "xfsprogs",
    "xz-utils",
];

/// Libraries that its programs are linked to, by the names that they have from Debian 13 on, and had before.
const LIBRARIES: &[&str] = &["libaio1t64", "libgdbm-compat4t64", "liburing2"];
const LIBRARIES_OF_BOOKWORM: &[&str] = &["libaio1", "libgdbm-compat4", "liburing2"];

/// Size of the image in bytes; it is sparse, and what a guest writes does not go there.
const BYTES: u64 = 4 << 30;

/// The image of the root file system: the one given, or the one in the cache, which is made if it is not there.
///
/// # Errors
/// It is not there, or cannot be made.
pub async fn image(given: Option<&Path>, lab: &Lab) -> Result<PathBuf> {
    if let Some(given) = given {
        given.metadata().with_context(|| format!("--root {}", given.display()))?;
        return Ok(given.to_owned());
    }
    let (cache, told) = (lab.cache.clone(), lab.progress.clone());
    let find = move || -> Result<PathBuf> {
        let codename = codename()?;
        let name = digest::of(packages(&codename).map(str::to_owned).chain([codename.clone()]));
        let kept = cache.directory("fstests")?.join(format!("root-{codename}-{:.12}.img", name));
        let _lock = cache.lock("fstests-root", &|message| told.say(message))?;
        if !kept.is_file() {
            told.say(&format!("making a root file system of Debian {codename}, once (a minute or two)"));
            make(&codename, &kept)
                .context("the root file system for fstests; `--root IMAGE` takes one of yours")?;
        }
        Ok(kept)
    };
    tokio::task::spawn_blocking(find).await.context("making the root file system was cut short")?
}

/// What is installed of a release.
fn packages(codename: &str) -> impl Iterator<Item = &'static str> + use<> {
    let libraries = if codename == "bookworm" { LIBRARIES_OF_BOOKWORM } else { LIBRARIES };
    PACKAGES.iter().chain(libraries).copied()
}

/// The Debian that this machine runs.
fn codename() -> Result<String> {
    let text = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.map(|value| value.trim_matches('"').to_owned())
    };
    match (value("ID").as_deref(), value("VERSION_CODENAME")) {
        (Some("debian"), Some(codename)) => Ok(codename),
        _ => {
            bail!("not a Debian machine: give a root file system of its own distribution with `--root IMAGE`")
        }
    }
}

/// Everybody may write the image while it is made: without root, mmdebstrap is somebody else.
fn make(codename: &str, kept: &Path) -> Result<()> {
    let program = find_program("mmdebstrap")?;
    let scratch =
        tempfile::Builder::new().prefix("blkstay-root-").tempdir().context("no temporary directory")?;
    fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o755))?;
    let (image, sources, apt) = (
        scratch.path().join("root.img"),
        scratch.path().join("debian.sources"),
        scratch.path().join("apt.conf"),
    );
    fs::File::create(&image)?.set_len(BYTES)?;
    fs::set_permissions(&image, fs::Permissions::from_mode(0o666))?;
    fs::write(&sources, kernel::debian_sources(codename)?)?;
    fs::write(&apt, kernel::apt_configuration()?)?;
    let mke2fs = find_program("mke2fs")?;
    // Seen through a mount of its own, the root has no /proc in it.
    let pack = format!(
        "bare=$(mktemp -d) && mount --bind \"$1\" \"$bare\" && {} -q -F -t ext4 -O ^has_journal -m 0 -d \"$bare\" {}; \
         status=$?; umount \"$bare\" && rmdir \"$bare\" && exit $status",
        mke2fs.display(),
        image.display()
    );
    let mut command = Command::new(program);
    command.args(["--quiet", "--variant=essential", "--format=null", "--architectures=amd64"]);
    command.arg(format!("--include={}", packages(codename).collect::<Vec<_>>().join(",")));
    command.arg("--aptopt").arg(&apt).arg(format!("--customize-hook={pack}"));
    process::stdout(command.arg(codename).arg("/dev/null").arg(&sources))?;
    let part = kept.with_extension("part");
    process::stdout(Command::new("cp").arg("--sparse=always").arg(&image).arg(&part))?;
    fs::rename(&part, kept).with_context(|| format!("{}: cannot write it", kept.display()))
}
