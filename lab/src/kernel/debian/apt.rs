//! apt with a state of its own: it reads how this machine reaches the network, and writes below one directory only.

use super::super::process;
use super::index::{Index, Package};
use super::sources::Sources;
use super::version;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const KEYRING_PACKAGE: &str = "debian-archive-keyring";
/// In that package and on a machine that has it installed; `.pgp` from Debian 13 on.
const KEYRINGS: [&str; 2] =
    ["usr/share/keyrings/debian-archive-keyring.pgp", "usr/share/keyrings/debian-archive-keyring.gpg"];

/// A private apt.
pub struct Apt {
    directory: PathBuf,
}

impl Apt {
    /// Prepares apt's state in `directory`.
    pub fn open(directory: &Path) -> Result<Apt> {
        let apt = Apt { directory: directory.to_owned() };
        apt.prepare().with_context(|| format!("cannot prepare apt's state in {}", directory.display()))?;
        Ok(apt)
    }

    fn prepare(&self) -> Result<()> {
        if self.directory.to_string_lossy().contains(|c: char| c.is_whitespace() || "\"\\,".contains(c)) {
            bail!("apt cannot work in a directory whose name has blanks, quotes, commas or backslashes");
        }
        for name in ["lists/partial", "archives/partial", "sources"] {
            fs::create_dir_all(self.directory.join(name))?;
        }
        let status = self.directory.join("status");
        // Written again, it would be newer than apt's cache of the lists, which takes seconds to make.
        if !status.exists() {
            fs::write(status, "")?;
        }
        fs::write(self.directory.join("apt.conf"), self.configuration(&machine_configuration()?))?;
        Ok(())
    }

    /// This machine's configuration, of which the hooks are dropped, then what makes the state private.
    ///
    /// apt reads the file named by `APT_CONFIG` first and is told here to read no other.
    fn configuration(&self, includes: &str) -> String {
        let path = |name: &str| self.directory.join(name).display().to_string();
        format!(
            r##"{includes}#clear APT::Update;
#clear APT::Architectures;
#clear DPkg;
APT::Architecture "amd64";
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
Acquire::Retries "1";
Acquire::http::Timeout "20";
Acquire::https::Timeout "20";
Dir::State "{state}/";
Dir::State::Lists "{state}/lists/";
Dir::State::status "{state}/status";
Dir::Cache "{state}/";
Dir::Cache::Archives "{state}/archives/";
Dir::Cache::pkgcache "{state}/pkgcache.bin";
Dir::Cache::srcpkgcache "";
Dir::Etc::main "/dev/null";
Dir::Etc::parts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "{sources}/";
"##,
            state = self.directory.display(),
            sources = path("sources"),
        )
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("APT_CONFIG", self.directory.join("apt.conf"));
        command
    }

    /// Fetches the package lists of all suites that the mirror has.
    ///
    /// # Errors
    ///
    /// When none could be had.
    pub fn update(&self, progress: &dyn Fn(&str)) -> Result<()> {
        let sources = Sources::of_this_machine()?;
        let mut output = self.update_from(&sources)?;
        if misses_a_key(&output) && self.renew_keyring()? {
            output = self.update_from(&sources)?;
        }
        if misses_a_key(&output) {
            progress("leaving out suites that are signed by a key unknown here");
        }
        if !reached_a_suite(&output) {
            bail!("cannot reach Debian's archive: {}", why_unreached(&output));
        }
        Ok(())
    }

    fn update_from(&self, sources: &Sources) -> Result<Output> {
        let file = self.directory.join("sources/debian.sources");
        fs::write(&file, sources.file(&self.keyring()?))
            .with_context(|| format!("cannot write {}", file.display()))?;
        process::output(self.command("apt-get").arg("update"))
    }

    /// The keys that suites may be signed by.
    fn keyring(&self) -> Result<PathBuf> {
        let renewed = self.directory.join("keyring.gpg");
        if renewed.is_file() { Ok(renewed) } else { keyring_of_this_machine() }
    }

    /// Takes newer keys from a suite whose own signature could be checked; says whether there were any.
    ///
    /// So a Debian release that is older than a suite still comes to trust its key without trusting anything else.
    fn renew_keyring(&self) -> Result<bool> {
        let paragraphs = self.show(&[KEYRING_PACKAGE])?;
        let versions = paragraphs.lines().filter_map(|line| line.strip_prefix("Version: "));
        let Some(newest) = versions.max_by(|a, b| version::compare(a, b)) else { return Ok(false) };
        let scratch = tempfile::tempdir_in(&self.directory)?;
        let package = Package { name: KEYRING_PACKAGE.into(), version: newest.into(), ..Package::default() };
        self.download(&[&package], scratch.path())?;
        let deb = only_file(scratch.path())?;
        let tree = scratch.path().join("tree");
        process::stdout(Command::new("dpkg-deb").arg("-x").arg(deb).arg(&tree))?;
        let Some(keys) = KEYRINGS.iter().find_map(|name| fs::read(tree.join(name)).ok()) else {
            return Ok(false);
        };
        let renewed = self.directory.join("keyring.gpg");
        if fs::read(self.keyring()?)? == keys {
            return Ok(false);
        }
        fs::write(&renewed, keys).with_context(|| format!("cannot write {}", renewed.display()))?;
        Ok(true)
    }

    /// Reads the kernel packages from the lists fetched.
    pub fn index(&self, now_s: u64) -> Result<Index> {
        let names = process::stdout(self.command("apt-cache").args(["pkgnames", "linux-"]))?;
        let names: Vec<&str> = names.lines().filter(|name| Index::wants(name)).collect();
        Ok(Index::parse(&self.show(&names)?, &self.suites(&names)?, now_s))
    }

    /// Says which suites hold these packages.
    fn suites(&self, names: &[&str]) -> Result<String> {
        process::stdout(self.command("apt-cache").arg("madison").args(names))
    }

    /// Describes all versions of these packages; names without a package are skipped.
    fn show(&self, names: &[&str]) -> Result<String> {
        let output = process::output(self.command("apt-cache").arg("show").args(names))?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// The names of the packages that this one depends on, first choices only; none if no suite has it in this version.
    pub fn depends(&self, name: &str, version: &str) -> Result<Option<Vec<String>>> {
        let shown = self.show(&[&format!("{name}={version}")])?;
        if !shown.lines().any(|line| line.strip_prefix("Package: ") == Some(name)) {
            return Ok(None);
        }
        let depends = shown.lines().find_map(|line| line.strip_prefix("Depends: ")).unwrap_or_default();
        let names = depends.split(',').filter_map(|word| word.split_whitespace().next());
        Ok(Some(names.map(str::to_owned).collect()))
    }

    /// The versions of a package that suites have, the newest first.
    pub fn versions(&self, name: &str) -> Result<Vec<String>> {
        let shown = self.show(&[name])?;
        let versions = shown.lines().filter_map(|line| line.strip_prefix("Version: "));
        let mut versions: Vec<String> = versions.map(str::to_owned).collect();
        versions.sort_by(|a, b| version::compare(b, a));
        versions.dedup();
        Ok(versions)
    }

    /// The generic kernels that suites have headers of, by their ABI names, sorted.
    pub fn with_headers(&self) -> Result<Vec<String>> {
        let names = process::stdout(self.command("apt-cache").args(["pkgnames", HEADERS]))?;
        let names: Vec<&str> = names.lines().filter(|name| abi_of_headers(name).is_some()).collect();
        let mut held: Vec<String> = Vec::new();
        for line in self.suites(&names)?.lines() {
            let name = line.split('|').next().unwrap_or_default().trim();
            held.extend(abi_of_headers(name).map(str::to_owned));
        }
        held.sort_by(|a, b| version::compare(a, b));
        held.dedup();
        Ok(held)
    }

    /// The libraries that a package needs, as apt would install them on an empty machine.
    pub fn libraries(&self, package: &Package) -> Result<Vec<Package>> {
        let mut command = self.command("apt-get");
        command.args(["-q", "--simulate", "--no-install-recommends", "-o", "Debug::NoLocking=1", "install"]);
        let plan = process::stdout(command.arg(format!("{}={}", package.name, package.version)))?;
        Ok(plan.lines().filter_map(planned_library).collect())
    }

    /// Downloads package files into a directory; apt checks them against the signed lists.
    pub fn download(&self, packages: &[&Package], directory: &Path) -> Result<()> {
        let names = packages.iter().map(|package| format!("{}={}", package.name, package.version));
        let mut command = self.command("apt-get");
        process::stdout(command.arg("-q").arg("download").args(names).current_dir(directory))?;
        Ok(())
    }
}

/// Debian's keys on this machine.
pub fn keyring_of_this_machine() -> Result<PathBuf> {
    match KEYRINGS.map(|name| Path::new("/").join(name)).into_iter().find(|path| path.is_file()) {
        Some(keyring) => Ok(keyring),
        None => bail!("Debian's keys are not here: install the package {KEYRING_PACKAGE}"),
    }
}

/// How this machine's apt reaches the network, for an apt that works on another root.
///
/// # Errors
///
/// When there is no apt.
pub fn apt_configuration() -> Result<String> {
    let known = process::stdout(Command::new("apt-config").args(["dump", "Acquire"]))?;
    let wanted = |line: &&str| {
        ["http", "ftp", "Check-"].iter().any(|name| line.starts_with(&format!("Acquire::{name}")))
    };
    Ok(known.lines().filter(wanted).map(|line| format!("{line}\n")).collect())
}

/// What the names of header packages begin with.
const HEADERS: &str = "linux-headers-";

/// `6.12.38+deb13` of `linux-headers-6.12.38+deb13-amd64`; none for other flavours.
fn abi_of_headers(name: &str) -> Option<&str> {
    let abi = name.strip_prefix(HEADERS)?.strip_suffix("-amd64")?;
    let generic =
        abi.starts_with(|c: char| c.is_ascii_digit()) && !abi.contains("cloud") && !abi.ends_with("-rt");
    generic.then_some(abi)
}

/// Name and version in a line like `Inst libc6 (2.41-12 Debian:13 [amd64])` of a simulated installation.
fn planned_library(line: &str) -> Option<Package> {
    let (name, rest) = line.strip_prefix("Inst ")?.split_once(" (")?;
    let version = rest.split_whitespace().next()?;
    let library = name.starts_with("lib") || name.starts_with("zlib");
    library.then(|| Package { name: name.to_owned(), version: version.to_owned(), ..Package::default() })
}

/// `#include` lines for the configuration that apt would read without `APT_CONFIG`, in its order.
fn machine_configuration() -> Result<String> {
    const PARTS: &str = "Dir::Etc::parts/d";
    const MAIN: &str = "Dir::Etc::main/f";
    let paths = process::stdout(Command::new("apt-config").args(["shell", "parts", PARTS, "main", MAIN]))?;
    let paths =
        paths.lines().filter_map(|line| line.split_once('\'')?.1.strip_suffix('\'')).map(str::to_owned);
    let own = std::env::var("APT_CONFIG").ok();
    let existing = own.into_iter().chain(paths).filter(|path| Path::new(path).exists());
    Ok(existing.map(|path| format!("#include \"{path}\";\n")).collect())
}

fn only_file(directory: &Path) -> Result<PathBuf> {
    let mut entries = fs::read_dir(directory)?;
    Ok(entries.next().context("nothing was downloaded")??.path())
}

fn misses_a_key(output: &Output) -> bool {
    let said = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
    // The second is what apt 3 reports through sqv.
    said.iter().any(|text| text.contains("NO_PUBKEY") || text.contains("Missing key"))
}

/// Does apt's output have a line for a suite that was fetched, or has not changed?
fn reached_a_suite(output: &Output) -> bool {
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines()
        .any(|line| line.contains("InRelease") && (line.starts_with("Get:") || line.starts_with("Hit:")))
}

/// apt's reason for the last suite it could not fetch: `W: Failed to fetch URI  reason`.
fn why_unreached(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let mut reasons =
        text.lines().filter_map(|line| line.strip_prefix("W: Failed to fetch ")?.split_once("  "));
    reasons.next_back().map_or_else(|| process::complaint(output), |(_, reason)| reason.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    fn said(stdout: &str, stderr: &str) -> Output {
        Output { status: ExitStatus::from_raw(0), stdout: stdout.into(), stderr: stderr.into() }
    }

    #[test]
    fn one_suite_in_reach_is_enough() {
        let missing =
            "E: The repository 'https://mirror.invalid/debian duke Release' does not have a Release file.";
        assert!(reached_a_suite(&said("Ign:1 x duke InRelease\nHit:2 x sid InRelease\n", missing)));
        assert!(!reached_a_suite(&said(
            "Ign:1 x sid InRelease\nErr:1 x sid InRelease\n  Could not resolve\n",
            ""
        )));
    }

    #[test]
    fn the_reason_is_apts_without_its_repetitions() {
        let failed = "W: Failed to fetch https://mirror.invalid/InRelease  Could not resolve 'mirror.invalid'\n\
                      W: Some index files failed to download. They have been ignored, or old ones used instead.\n";
        assert_eq!(why_unreached(&said("", failed)), "Could not resolve 'mirror.invalid'");
        assert_eq!(why_unreached(&said("", "E: Could not get lock\n")), "E: Could not get lock");
    }

    #[test]
    fn an_unknown_key_is_noticed() {
        assert!(misses_a_key(&said("", "W: GPG error: x: couldn't be verified: NO_PUBKEY 0E98404D386FA1D9")));
        assert!(!misses_a_key(&said("Hit:2 x sid InRelease", "")));
    }

    #[test]
    fn everything_written_is_below_the_directory() {
        let apt = Apt { directory: "/cache/apt".into() };
        let configuration = apt.configuration("#include \"/etc/apt/apt.conf.d\";\n");
        for line in configuration.lines().filter(|line| line.starts_with("Dir::")) {
            let path = line.split('"').nth(1).unwrap();
            assert!(path.is_empty() || path == "/dev/null" || path.starts_with("/cache/apt/"), "{line}");
        }
    }

    #[test]
    fn names_that_apt_would_misread_are_refused() {
        let root = tempfile::tempdir().unwrap();
        let error = Apt::open(&root.path().join("a b")).err().unwrap();
        assert!(format!("{error:#}").ends_with("has blanks, quotes, commas or backslashes"), "{error:#}");
    }

    #[test]
    fn of_a_plan_only_the_libraries_are_taken() {
        let names = |line: &str| planned_library(line).map(|package| package.title());
        assert_eq!(names("Inst libc6 (2.41-12 Debian:13 [amd64]) []").as_deref(), Some("libc6 2.41-12"));
        assert_eq!(names("Inst pahole (1.30-1 Debian:13 [amd64])"), None);
        assert_eq!(names("Conf libc6 (2.41-12 Debian:13 [amd64])"), None);
    }
}
