//! What is to be run, as guests are told it.

use super::{image, root};
use crate::cli::Fstests;
use crate::kernel;
use crate::policy::usable;
use crate::run::Lab;
use crate::run::temporary::Temporary;
use anyhow::{Context, Result, bail};
use blkstay_engine::journal::Arm;
use blkstay_engine::policy::Policy;
use std::fmt::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where tests mount their disks.
const TEST_DIR: &str = "/mnt/test";
const SCRATCH_MNT: &str = "/mnt/scratch";

/// A disk of the guest's that blkstay serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disk {
    /// TEST_DEV; the guest's port is at its daemon.
    Test,
    /// SCRATCH_DEV.
    Scratch,
}

impl Disk {
    /// Both, in the order of [`Plan::policies`].
    pub const BOTH: [Disk; 2] = [Disk::Test, Disk::Scratch];
}

impl fmt::Display for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Disk::Test => "test",
            Disk::Scratch => "scratch",
        })
    }
}

/// A policy, and the disks that obey it: all of them if none is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyOf {
    disk: Option<Disk>,
    path: PathBuf,
}

impl PolicyOf {
    /// Reads `PATH`, `test=PATH` or `scratch=PATH`.
    pub fn parse(text: &str) -> PolicyOf {
        let named = Disk::BOTH
            .into_iter()
            .find_map(|disk| Some((disk, text.strip_prefix(&disk.to_string())?.strip_prefix('=')?)));
        match named {
            Some((disk, path)) => PolicyOf { disk: Some(disk), path: path.into() },
            None => PolicyOf { disk: None, path: text.into() },
        }
    }
}

/// What all guests of a run have in common.
pub struct Plan {
    /// Image of the root file system.
    pub root: PathBuf,
    /// Image of the checkout.
    pub tree: PathBuf,
    /// For what is gone with the run.
    pub scratch: PathBuf,
    /// What becomes of guests' files that are to be kept: a directory for each kernel in this one.
    pub keep: Option<PathBuf>,
    /// Assignments that the guest's script reads.
    pub settings: String,
    /// What fstests reads as its local.config, but for the disks.
    pub local_config: String,
    /// Tests that are left out, as fstests reads them.
    pub excluded: String,
    /// In which arms each test is run, in this order.
    pub arms: Vec<Arm>,
    /// How often in each.
    pub times: u64,
    /// How long a test may take.
    pub limit: Duration,
    /// Size of each disk.
    pub disk_bytes: u64,
    /// Memory of a guest.
    pub memory_mb: u64,
    /// What the disks obey, in the order of [`Disk::BOTH`].
    pub policies: [Option<Policy>; 2],
    _scratch: Temporary,
}

impl Plan {
    /// Looks at everything that can be wrong before a guest is booted, and packs the checkout.
    ///
    /// # Errors
    /// A spec, a policy or an argument is no good, or there is no root image.
    pub async fn new(args: &Fstests, lab: &Lab) -> Result<Plan> {
        args.kernels.iter().try_for_each(|spec| kernel::check_spec(spec))?;
        check_options(&args.options)?;
        let policies = read_policies(args)?;
        let excluded = match &args.exclude_file {
            Some(path) => std::fs::read_to_string(path)
                .with_context(|| format!("{}: cannot read it", path.display()))?,
            None => String::new(),
        };
        let root = root::image(args.root.as_deref(), lab).await?;
        let scratch = Temporary::new()?;
        let image = scratch.path().join("tree.img");
        lab.progress.say("packing the checkout");
        image::make(Some(&args.tree), &image, 256 << 20).context("the checkout could not be packed")?;
        let forced = policies.iter().any(Option::is_some);
        let natural = (args.natural || !forced).then_some(Arm::Natural);
        let arms: Vec<Arm> = natural.into_iter().chain(forced.then_some(Arm::Forced)).collect();
        Ok(Plan {
            root,
            tree: image,
            scratch: scratch.path().to_owned(),
            keep: args.keep.clone(),
            settings: settings(args, &arms),
            local_config: local_config(args),
            excluded,
            arms,
            times: args.times,
            limit: args.limit,
            disk_bytes: args.size,
            memory_mb: args.memory >> 20,
            policies,
            _scratch: scratch,
        })
    }

    /// Arm and round of a pass through all tests, counted from nought.
    pub fn pass(&self, pass: u64) -> (Arm, u64) {
        let arms = self.arms.len() as u64;
        let arm = usize::try_from(pass % arms).ok().and_then(|index| self.arms.get(index));
        (*arm.unwrap_or(&Arm::Natural), pass / arms + 1)
    }

    /// How often each test is run in all.
    pub fn passes(&self) -> u64 {
        self.times * self.arms.len() as u64
    }
}

/// What would make `check` do something else than one test at a time.
fn check_options(options: &[String]) -> Result<()> {
    for option in options {
        match option.as_str() {
            "-g" => bail!("`-g` after `--`: groups are named with --group"),
            "-n" | "-i" | "-I" | "-L" => {
                bail!("`{option}` after `--`: `check` runs one test at a time here; --times repeats it")
            }
            "-s" | "-S" => bail!("`{option}` after `--`: no sections here; --env sets what a section would"),
            "-E" => bail!("`-E` after `--`: the guest does not see your files; --exclude-file takes one"),
            _ => {}
        }
    }
    Ok(())
}

fn read_policies(args: &Fstests) -> Result<[Option<Policy>; 2]> {
    let settings = args.with.settings();
    let mut policies = [None, None];
    for given in &args.policies {
        let policy = usable(&given.path, &settings)?;
        for (slot, disk) in policies.iter_mut().zip(Disk::BOTH) {
            if given.disk.is_none_or(|of| of == disk) && slot.replace(policy.clone()).is_some() {
                bail!("--policy: the {disk} disk is given two");
            }
        }
    }
    Ok(policies)
}

fn settings(args: &Fstests, arms: &[Arm]) -> String {
    let mut selection: Vec<String> = args.options.clone();
    let excluding = args.exclude_file.as_ref().map(|_| ["-E".to_owned(), "/run/blkstay/excluded".to_owned()]);
    selection.extend(excluding.into_iter().flatten());
    let with = |option: &str, words: &[String]| {
        words.iter().flat_map(|word| [option.to_owned(), word.clone()]).collect::<Vec<_>>()
    };
    selection.extend(with("-x", &args.exclude));
    selection.extend(with("-g", &args.groups));
    selection.extend(args.tests.iter().cloned());
    let arms: Vec<String> = arms.iter().map(ToString::to_string).collect();
    format!(
        "FSTYP={}\nTEST_DIR={TEST_DIR}\nSCRATCH_MNT={SCRATCH_MNT}\nLIMIT_S={}\nARMS=({})\nselection=({})\noptions=({})\n",
        quoted(&args.fs),
        args.limit.as_secs().max(1),
        list(&arms),
        list(&selection),
        list(&args.options),
    )
}

fn local_config(args: &Fstests) -> String {
    let own = [("FSTYP", args.fs.as_str()), ("TEST_DIR", TEST_DIR), ("SCRATCH_MNT", SCRATCH_MNT)];
    let mkfs = args.mkfs.as_deref().map(|options| ("MKFS_OPTIONS", options));
    let more = args.env.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let mut text = String::new();
    for (name, value) in own.into_iter().chain(mkfs).chain(more) {
        let _ = writeln!(text, "export {name}={}", quoted(value));
    }
    text
}

fn list(words: &[String]) -> String {
    words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
}

/// A word as a shell reads it.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Reads `NAME=VALUE` for a shell's variable.
///
/// # Errors
/// It is none.
pub fn parse_env(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    let is_name = !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if is_name {
        Ok((name.to_owned(), value.to_owned()))
    } else {
        Err(format!("`{name}` is no variable's name"))
    }
}

/// The name of a directory for what is kept of a kernel.
pub fn keep_for(keep: &Path, name: &str) -> PathBuf {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._+-".contains(c) { c } else { '_' };
    keep.join(name.chars().map(plain).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_of_both_disks_or_of_the_one_that_is_named() {
        let of = |text: &str| (PolicyOf::parse(text).disk, PolicyOf::parse(text).path);
        assert_eq!(of("p.toml"), (None, "p.toml".into()));
        assert_eq!(of("scratch=p=q.toml"), (Some(Disk::Scratch), "p=q.toml".into()));
        assert_eq!(of("test=p"), (Some(Disk::Test), "p".into()));
        assert_eq!(of("tests=p"), (None, "tests=p".into()));
    }

    #[test]
    fn what_would_run_several_tests_at_once_is_refused() {
        let refused = |option: &str| check_options(&[option.to_owned()]).is_err();
        assert!(["-g", "-n", "-i", "-s", "-E"].into_iter().all(refused));
        assert!(!["-T", "-R", "xunit"].into_iter().any(refused));
    }

    #[test]
    fn a_variables_name_is_one_that_a_shell_takes() {
        assert_eq!(parse_env("A_1=-o x='y'"), Ok(("A_1".to_owned(), "-o x='y'".to_owned())));
        assert!(["=1", "1A=1", "A B=1", "A"].into_iter().all(|text| parse_env(text).is_err()));
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}
