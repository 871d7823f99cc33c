//! What a module of a Debian kernel is built from: headers, the tools in `linux-kbuild`, and source, unpacked and
//! never installed.

use super::super::cache::Cache;
use super::super::process;
use super::apt::Apt;
use super::image::{Flavour, ImageName};
use super::index::Package;
use super::unpack;
use super::version;
use anyhow::{Context, Result, bail};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Headers and source of one build, in the cache.
///
/// | in its directory | what |
/// |---|---|
/// | `usr/` | the header packages and `linux-kbuild`, with their paths made to fit |
/// | `runtime/` | the libraries of those tools, where this machine's are too old for them |
/// | `source/fs/ext4/` … | source of the modules asked for so far |
#[derive(Clone, Debug)]
pub struct Source {
    /// Release and version, for people and for paths: `6.12.38+deb13-amd64_6.12.38-1`.
    pub name: String,
    root: PathBuf,
    release: String,
    version: String,
    cache: Cache,
}

/// Finds the headers of the build with this image package, fetching them if the cache does not have them.
///
/// # Errors
/// Debian's suites do not have them (any more), or they cannot be fetched.
pub fn source(image: &str, version: &str, cache: &Cache, progress: &dyn Fn(&str)) -> Result<Source> {
    let source = Source::of(image, version, cache)?;
    if !source.root.is_dir() {
        let _lock = cache.lock("kernels", progress)?;
        if !source.root.is_dir() {
            source.fetch_headers(progress)?;
        }
    }
    Ok(source)
}

/// Asks whether there are headers of the build with this image package, without fetching them.
///
/// # Errors
/// There are none; the message says of which builds there are.
pub fn ask(image: &str, version: &str, cache: &Cache, apt: &Apt) -> Result<()> {
    Source::of(image, version, cache)?.header_packages(apt).map(drop)
}

impl Source {
    fn of(image: &str, version: &str, cache: &Cache) -> Result<Source> {
        let Some(parsed) = ImageName::parse(image).filter(|name| name.flavour == Flavour::Generic) else {
            bail!("{image} is not of the generic flavour, in which filesystems are modules");
        };
        let release = parsed.release();
        let name = format!("{release}_{}", version.replace(':', "%"));
        let root = cache.path(&format!("sources/{name}"));
        Ok(Source { name, root, release, version: version.to_owned(), cache: cache.clone() })
    }

    /// The directory that modules are built against.
    pub fn headers(&self) -> PathBuf {
        self.root.join(format!("usr/src/linux-headers-{}", self.release))
    }

    /// Source of a module, as the distribution has it, by its directory in the kernel's.
    ///
    /// # Errors
    /// There is no such directory, or the source cannot be fetched.
    pub fn module(&mut self, module: &str, progress: &dyn Fn(&str)) -> Result<PathBuf> {
        let target = self.root.join("source").join(module);
        if target.is_dir() {
            return Ok(target);
        }
        let _lock = self.cache.lock("kernels", progress)?;
        let apt = Apt::open(&self.cache.directory("apt")?)?;
        let package = Package {
            name: format!("linux-source-{}", series(&self.version)),
            version: self.version.clone(),
            ..Package::default()
        };
        let scratch = unpack::scratch(&self.cache.directory("sources")?)?;
        progress(&format!("fetching {} (160 MB)", package.title()));
        let debs = scratch.path().join("debs");
        fs::create_dir(&debs)?;
        apt.download(&[&package], &debs).with_context(|| format!("no source of {}", self.name))?;
        progress(&format!("unpacking {module} from {}", package.title()));
        let tree = scratch.path().join("tree");
        extract(&unpack::package_files(&debs)?, module, &tree)?;
        let found = tree.join(module);
        if !found.join("Makefile").is_file() {
            bail!("{module}: there is no such module in {}", package.title());
        }
        let parent = target.parent().unwrap_or(&self.root);
        fs::create_dir_all(parent)
            .and_then(|()| fs::rename(&found, &target))
            .with_context(|| format!("cannot make {}", target.display()))?;
        Ok(target)
    }

    fn fetch_headers(&self, progress: &dyn Fn(&str)) -> Result<()> {
        let apt = Apt::open(&self.cache.directory("apt")?)?;
        let sources = self.cache.directory("sources")?;
        unpack::remove_leftovers(&sources);
        let packages = self.header_packages(&apt)?;
        let scratch = unpack::scratch(&sources)?;
        let debs = scratch.path().join("debs");
        fs::create_dir(&debs)?;
        progress(&format!("fetching the headers of {}", self.name));
        apt.download(&packages.iter().collect::<Vec<_>>(), &debs)?;
        let tree = scratch.path().join("tree");
        fs::create_dir(&tree)?;
        for deb in unpack::package_files(&debs)? {
            unpack::unpack(&deb, &tree).with_context(|| format!("cannot unpack {}", deb.display()))?;
        }
        self.adopt_paths(&tree)?;
        if let Some(kbuild) = packages.iter().find(|package| package.name.starts_with("linux-kbuild-")) {
            self.supply_libraries(&apt, kbuild, &tree, scratch.path(), progress)?;
        }
        fs::rename(&tree, &self.root).with_context(|| format!("cannot make {}", self.root.display()))
    }

    /// The header package and those that it names, each in the version of the kernel.
    fn header_packages(&self, apt: &Apt) -> Result<Vec<Package>> {
        let package = |name: &str, version: &str| Package {
            name: name.to_owned(),
            version: version.to_owned(),
            ..Package::default()
        };
        let headers = format!("linux-headers-{}", self.release);
        let Some(depends) = apt.depends(&headers, &self.version)? else {
            bail!(
                "Debian's suites have no headers of {} (any more), so no variant can be made of it. They have headers of {}: take one of \
                 these (`@debian:VERSION`), or build a kernel with the change yourself and give its tree as `--kernel`",
                self.name,
                apt.with_headers()?.join(", ")
            );
        };
        let mut packages = vec![package(&headers, &self.version)];
        for name in depends {
            if name.starts_with("linux-headers-") {
                packages.push(package(&name, &self.version));
            } else if name.starts_with("linux-kbuild-") {
                // Builds of one series may share it, in its newest version.
                let versions = apt.versions(&name)?;
                let own = versions.iter().find(|version| **version == self.version).or(versions.first());
                let version = own.with_context(|| format!("no suite has {name} (any more)"))?;
                packages.push(package(&name, version));
            }
        }
        Ok(packages)
    }

    /// The packages expect to be installed in `/usr/src`.
    fn adopt_paths(&self, tree: &Path) -> Result<()> {
        let makefile = tree.join(format!("usr/src/linux-headers-{}/Makefile", self.release));
        let context = || format!("the headers of {} are of an unknown form", self.name);
        let text = fs::read_to_string(&makefile).with_context(context)?;
        let here = format!("{}/usr/src/", self.root.display());
        fs::write(&makefile, text.replace("/usr/src/", &here)).with_context(context)
    }

    /// Tools that are built for a newer C library than this machine's get that library, for themselves alone.
    fn supply_libraries(
        &self,
        apt: &Apt,
        kbuild: &Package,
        tree: &Path,
        scratch: &Path,
        progress: &dyn Fn(&str),
    ) -> Result<()> {
        let tools: Vec<PathBuf> =
            programs(&tree.join("usr/lib"))?.into_iter().filter(|tool| lacks(tool)).collect();
        if tools.is_empty() {
            return Ok(());
        }
        let libraries = apt.libraries(kbuild)?;
        progress(&format!("fetching libraries for {}", kbuild.title()));
        let debs = scratch.join("libraries");
        fs::create_dir(&debs)?;
        apt.download(&libraries.iter().collect::<Vec<_>>(), &debs)?;
        let runtime = tree.join("runtime");
        fs::create_dir(&runtime)?;
        for deb in unpack::package_files(&debs)? {
            unpack::unpack(&deb, &runtime).with_context(|| format!("cannot unpack {}", deb.display()))?;
        }
        let directories = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"];
        let loader = directories.iter().find(|at| runtime.join(at).join(LOADER).exists());
        let loader = loader.with_context(|| format!("the libraries of {} have no loader", kbuild.title()))?;
        let here = self.root.join("runtime");
        let path: Vec<String> = directories.iter().map(|at| here.join(at).display().to_string()).collect();
        let loader = here.join(loader).join(LOADER);
        for tool in tools {
            wrap(&tool, &loader, &path.join(":"))
                .with_context(|| format!("cannot wrap {}", tool.display()))?;
        }
        Ok(())
    }
}

/// The dynamic loader's file.
const LOADER: &str = "ld-linux-x86-64.so.2";

/// `6.12` of `6.12.38-1`, `7.3` of `7.3~rc7-1~exp1`.
fn series(package_version: &str) -> String {
    let upstream = version::upstream(package_version);
    let numbers: Vec<&str> = upstream.split(|c: char| !c.is_ascii_digit()).take(2).collect();
    numbers.join(".")
}

/// Takes one directory out of the archive in a `linux-source` package.
fn extract(debs: &[PathBuf], module: &str, target: &Path) -> Result<()> {
    let deb = debs.first().context("nothing was downloaded")?;
    fs::create_dir_all(target)?;
    let mut read = Command::new("dpkg-deb");
    let mut read =
        read.arg("--fsys-tarfile").arg(deb).stdout(Stdio::piped()).spawn().context("cannot run dpkg-deb")?;
    let mut inner = Command::new("tar");
    inner.args(["-xO", "--wildcards", "./usr/src/linux-source-*.tar.xz"]);
    inner.stdin(read.stdout.take().context("no output")?).stdout(Stdio::piped());
    let mut inner = inner.spawn().context("cannot run tar")?;
    let mut outer = Command::new("tar");
    outer.args(["-xJ", "--no-same-owner", "--strip-components=1", "--wildcards", "-C"]).arg(target);
    outer.arg(format!("*/{module}"));
    let unpacked = process::output(outer.stdin(inner.stdout.take().context("no output")?))?;
    let (read, inner) = (read.wait()?, inner.wait()?);
    if !unpacked.status.success() {
        bail!("cannot take {module} out of {}: {}", deb.display(), process::complaint(&unpacked));
    }
    if !inner.success() || !read.success() {
        bail!("{} is damaged, or has no source in it", deb.display());
    }
    Ok(())
}

/// All programs below a directory.
fn programs(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in
            fs::read_dir(&directory).with_context(|| format!("cannot read {}", directory.display()))?
        {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                directories.push(entry.path());
            } else if kind.is_file() && is_program(&entry.path()) {
                found.push(entry.path());
            }
        }
    }
    Ok(found)
}

fn is_program(path: &Path) -> bool {
    let mut magic = [0; 4];
    let read = fs::File::open(path).and_then(|mut file| std::io::Read::read_exact(&mut file, &mut magic));
    let executable = fs::metadata(path).is_ok_and(|data| data.permissions().mode() & 0o111 != 0);
    executable && read.is_ok() && magic == *b"\x7fELF"
}

/// Does this machine lack a library of the program, or have it too old?
fn lacks(program: &Path) -> bool {
    process::output(Command::new("ldd").arg(program).stdin(Stdio::null())).is_ok_and(|output| {
        let said = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&said).contains("not found")
    })
}

/// Puts a script in the program's place that runs it with libraries of its own.
fn wrap(program: &Path, loader: &Path, libraries: &str) -> Result<()> {
    let mut moved = program.as_os_str().to_owned();
    moved.push(".elf");
    fs::rename(program, &moved)?;
    let script =
        format!("#!/bin/sh\nexec '{}' --library-path '{libraries}' \"$0.elf\" \"$@\"\n", loader.display());
    fs::write(program, script)?;
    fs::set_permissions(program, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_source_package_is_named_by_the_series() {
        assert_eq!(series("6.12.38-1~bpo12+1"), "6.12");
        assert_eq!(series("7.3~rc7-1~exp1"), "7.3");
    }

    #[test]
    fn only_generic_kernels_have_modules_to_change() {
        let root = tempfile::tempdir().unwrap();
        let cache = Cache::at(root.path()).unwrap();
        let error =
            source("linux-image-6.12.38+deb13-cloud-amd64", "6.12.38-1", &cache, &|_| {}).unwrap_err();
        assert!(error.to_string().contains("not of the generic flavour"), "{error}");
    }

    #[test]
    fn a_wrapped_program_runs_with_its_arguments() {
        let root = tempfile::tempdir().unwrap();
        let (program, loader) = (root.path().join("tool"), root.path().join("loader"));
        fs::write(&program, "").unwrap();
        fs::write(&loader, "#!/bin/sh\necho \"$@\"\n").unwrap();
        fs::set_permissions(&loader, fs::Permissions::from_mode(0o755)).unwrap();
        wrap(&program, &loader, "/a:/b").unwrap();
        let said = process::stdout(Command::new(&program).args(["one", "two words"])).unwrap();
        assert_eq!(said, format!("--library-path /a:/b {}.elf one two words\n", program.display()));
    }

    #[test]
    fn programs_are_told_from_scripts_and_data() {
        let root = tempfile::tempdir().unwrap();
        fs::copy("/proc/self/exe", root.path().join("program")).unwrap();
        fs::write(root.path().join("data"), b"\x7fELF").unwrap();
        fs::write(root.path().join("script"), "#!/bin/sh\n").unwrap();
        assert_eq!(programs(root.path()).unwrap(), [root.path().join("program")]);
        assert!(!lacks(&root.path().join("program")));
    }
}
