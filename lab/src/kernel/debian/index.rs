//! The kernel packages that Debian's suites hold, and the choice among them.

use super::image::{Flavour, ImageName};
use super::query::Query;
use super::version;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A package, as `apt-cache show` describes it.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Size of the package file, in bytes.
    pub size: u64,
    /// Size when unpacked, in KiB.
    pub installed_kib: u64,
    /// The packages it depends on in exactly one version, with that version.
    pub exact_depends: Vec<(String, String)>,
    /// Whether a suite of the archive itself holds it, rather than the security archive alone.
    pub released: bool,
}

impl Package {
    /// How apt and people write it.
    pub fn title(&self) -> String {
        format!("{} {}", self.name, self.version)
    }

    /// Leads to a kernel itself, rather than to the newest package of a series.
    fn is_image(&self) -> bool {
        const META_KIB_MAX: u64 = 1024;
        let split = self.exact_depends.iter().any(|(name, _)| name.starts_with("linux-binary-"));
        split || self.installed_kib > META_KIB_MAX
    }
}

/// All kernel packages known.
#[derive(Debug, Default, Deserialize, Serialize)]
pub struct Index {
    /// When the suites were asked, in seconds since 1970.
    pub asked: u64,
    /// Images and what they are split into.
    pub packages: Vec<Package>,
}

/// A kernel's packages.
#[derive(Debug, PartialEq)]
pub struct Build {
    /// The image package, which names the build.
    pub image: Package,
    /// The others that hold parts of it.
    pub parts: Vec<Package>,
    /// The version of a newer build that matches too, in the security archive.
    pub newer_in_security: Option<String>,
}

impl Build {
    /// The image package and its parts.
    pub fn packages(&self) -> Vec<&Package> {
        std::iter::once(&self.image).chain(&self.parts).collect()
    }
}

impl Index {
    /// Does a package of this name hold a part of a kernel?
    pub fn wants(name: &str) -> bool {
        const PARTS: [&str; 4] = [ImageName::PREFIX, "linux-binary-", "linux-modules-", "linux-base-"];
        let name_without_sign = name.strip_suffix("-unsigned").unwrap_or(name);
        PARTS.iter().any(|part| name.starts_with(part)) && name_without_sign.ends_with("-amd64")
    }

    /// Reads what `apt-cache show` prints, one paragraph for each version of each package, and
    /// `apt-cache madison`, one line for each suite that holds one.
    pub fn parse(paragraphs: &str, suites: &str, asked: u64) -> Index {
        let released: BTreeSet<(&str, &str)> = suites.lines().filter_map(released).collect();
        let mut packages: Vec<Package> = paragraphs.split("\n\n").filter_map(parse_paragraph).collect();
        for package in &mut packages {
            package.released = released.contains(&(package.name.as_str(), package.version.as_str()));
        }
        Index { asked, packages }
    }

    /// The newest build that matches, in the flavour asked for, else cloud before generic.
    pub fn choose(&self, query: &Query) -> Option<Build> {
        let flavours = match query.flavour {
            Some(flavour) => vec![flavour],
            None => vec![Flavour::Cloud, Flavour::Generic],
        };
        let (flavour, image) =
            flavours.into_iter().find_map(|flavour| Some((flavour, self.newest(query, flavour)?)))?;
        let newer_in_security = self.newer(query, flavour, image);
        Some(Build { image: image.clone(), parts: self.parts(image), newer_in_security })
    }

    /// Every build that can be had; of a signed and an unsigned package of one build, the signed one.
    pub fn offered(&self) -> Vec<Build> {
        let mut images: Vec<&Package> = self.images().map(|(_, package)| package).collect();
        let key = |package: &Package| {
            let name = package.name.strip_suffix("-unsigned").unwrap_or(&package.name);
            (name.to_owned(), package.version.clone(), package.name.len())
        };
        images.sort_by_key(|package| key(package));
        images.dedup_by(|later, kept| {
            let (later, kept) = (key(later), key(kept));
            (later.0, later.1) == (kept.0, kept.1)
        });
        let build = |image: &Package| Build {
            image: image.clone(),
            parts: self.parts(image),
            newer_in_security: None,
        };
        images.into_iter().map(build).collect()
    }

    fn matching(&self, query: &Query, flavour: Flavour) -> impl Iterator<Item = &Package> {
        let images = self.images();
        let matching =
            images.filter(move |(name, package)| name.flavour == flavour && matches(query, name, package));
        matching.map(|(_, package)| package)
    }

    fn newer(&self, query: &Query, flavour: Flavour, chosen: &Package) -> Option<String> {
        let newest = self.matching(query, flavour).max_by(|a, b| version::compare(&a.version, &b.version))?;
        let newer = version::compare(&newest.version, &chosen.version).is_gt();
        newer.then(|| version::upstream(&newest.version).to_owned())
    }

    /// A series, as in `6.12`, means what the archive itself holds: the security archive is another
    /// one that many mirrors do not carry, and the same words should mean the same kernel everywhere.
    /// Its builds are chosen by their version, or where the archive has none of the series.
    fn newest(&self, query: &Query, flavour: Flavour) -> Option<&Package> {
        let preferred = |package: &Package| !query.is_series() || package.released;
        // Of a signed and an unsigned package of one version, the signed one: its name is shorter.
        self.matching(query, flavour).max_by(|a, b| {
            preferred(a)
                .cmp(&preferred(b))
                .then_with(|| version::compare(&a.version, &b.version))
                .then_with(|| b.name.len().cmp(&a.name.len()))
        })
    }

    /// The images that come with all their parts: mirrors drop the modules of old builds before their images.
    fn images(&self) -> impl Iterator<Item = (ImageName<'_>, &Package)> {
        self.named_images().filter(|(_, package)| self.missing_parts(package).is_empty())
    }

    fn named_images(&self) -> impl Iterator<Item = (ImageName<'_>, &Package)> {
        self.packages
            .iter()
            .filter(|package| package.is_image())
            .filter_map(|package| Some((ImageName::parse(&package.name)?, package)))
    }

    /// `linux-base-…` may be missing: the lists in it are of use, but a guest boots without them.
    fn missing_parts<'a>(&self, image: &'a Package) -> Vec<&'a str> {
        let parts = image.exact_depends.iter().filter(|(name, _)| !name.starts_with("linux-base-"));
        let absent = parts.filter(|(name, version)| self.find(name, version).is_none());
        absent.map(|(name, _)| name.as_str()).collect()
    }

    fn find(&self, name: &str, version: &str) -> Option<&Package> {
        self.packages.iter().find(|package| package.name == name && package.version == version)
    }

    /// What the image package is split into, by its dependencies.
    fn parts(&self, image: &Package) -> Vec<Package> {
        let mut parts: Vec<Package> = Vec::new();
        let mut wanted = image.exact_depends.clone();
        while let Some((name, version)) = wanted.pop() {
            let known =
                self.packages.iter().find(|package| package.name == name && package.version == version);
            if let Some(part) = known.filter(|part| !parts.contains(part)) {
                wanted.extend(part.exact_depends.iter().cloned());
                parts.push(part.clone());
            }
        }
        parts
    }

    /// Says what there is instead of what `query` asks for.
    pub fn alternatives(&self, query: &Query) -> String {
        let of_flavour = |name: &ImageName<'_>| query.flavour.is_none_or(|flavour| flavour == name.flavour);
        let images = self.images().filter(|(name, _)| of_flavour(name));
        let held = held_by_series(images.map(|(_, package)| version::upstream(&package.version)));
        let matching = self.named_images().filter(|(name, package)| matches(query, name, package));
        let incomplete =
            matching.filter(|(name, package)| of_flavour(name) && !self.missing_parts(package).is_empty());
        let instead = match held.get(&series(&query.version)) {
            Some(builds) => format!("of this series Debian's suites hold {}", builds.join(", ")),
            None if held.is_empty() => "Debian's suites hold none at all".to_owned(),
            None => {
                let all: Vec<String> = held.keys().map(|(major, minor)| format!("{major}.{minor}")).collect();
                format!("Debian's suites hold {}", all.join(", "))
            }
        };
        match incomplete.max_by(|(_, a), (_, b)| version::compare(&a.version, &b.version)) {
            Some((_, image)) => {
                let parts = self.missing_parts(image).join(", ");
                format!("{} is there without {parts}; {instead}", image.title())
            }
            None => instead,
        }
    }
}

/// The versions by their first two numbers, each once, in order.
fn held_by_series<'a>(upstreams: impl Iterator<Item = &'a str>) -> BTreeMap<(u32, u32), Vec<&'a str>> {
    let mut upstreams: Vec<&str> = upstreams.collect();
    upstreams.sort_by(|a, b| version::compare(a, b));
    upstreams.dedup();
    let mut held: BTreeMap<(u32, u32), Vec<&str>> = BTreeMap::new();
    for upstream in upstreams {
        held.entry(series(upstream)).or_default().push(upstream);
    }
    held
}

/// The first two numbers of a version.
fn series(version: &str) -> (u32, u32) {
    let mut numbers = version.split(|c: char| !c.is_ascii_digit()).map(|digits| digits.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

fn matches(query: &Query, name: &ImageName<'_>, package: &Package) -> bool {
    let asked = query.version.as_str();
    let exact = [package.version.as_str(), package.name.as_str(), name.abi];
    exact.contains(&asked)
        || name.release() == asked
        || is_of_series(version::upstream(&package.version), asked)
}

/// `6.12.38` is of `6.12` and of `6.12.38`, `7.3~rc7` of `7.3`, but `6.12` is not of `6.1`.
fn is_of_series(upstream: &str, asked: &str) -> bool {
    upstream.strip_prefix(asked).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '~', '+']))
}

fn parse_paragraph(paragraph: &str) -> Option<Package> {
    let fields: BTreeMap<&str, &str> = paragraph.lines().filter_map(|line| line.split_once(": ")).collect();
    let name = fields.get("Package").filter(|name| Index::wants(name))?;
    // Only what the archive offers has a file name; what is merely installed has none.
    fields.get("Filename")?;
    let number = |field| fields.get(field).and_then(|value| value.parse().ok()).unwrap_or(0);
    Some(Package {
        name: (*name).to_owned(),
        version: (*fields.get("Version")?).to_owned(),
        size: number("Size"),
        installed_kib: number("Installed-Size"),
        exact_depends: exact_depends(fields.get("Depends").unwrap_or(&"")),
        released: false,
    })
}

/// Name and version out of a line `NAME | VERSION | URI SUITE/COMPONENT ARCHITECTURE Packages`,
/// unless the suite is one of the security archive.
fn released(line: &str) -> Option<(&str, &str)> {
    let mut columns = line.split(" | ").map(str::trim);
    let (name, version, source) = (columns.next()?, columns.next()?, columns.next()?);
    let (suite, _) = source.split_whitespace().nth(1)?.split_once('/')?;
    (!suite.ends_with("-security")).then_some((name, version))
}

/// The dependencies of the form `name (= version)` that hold parts of a kernel.
fn exact_depends(depends: &str) -> Vec<(String, String)> {
    let all = depends.split(',').filter(|dependency| !dependency.contains('|')).filter_map(|dependency| {
        let (name, relation) = dependency.trim().split_once(" (= ")?;
        Some((name.to_owned(), relation.strip_suffix(')')?.to_owned()))
    });
    all.filter(|(name, _)| Index::wants(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARAGRAPHS: &str = "\
Package: linux-image-6.12.38+deb13-cloud-amd64
Version: 6.12.38-1
Installed-Size: 34930
Depends: kmod, initramfs-tools (>= 0.120) | linux-initramfs-tool
Filename: pool/a.deb
Size: 34671208
Description: not: read

Package: linux-image-6.12.38+deb13-cloud-amd64-unsigned
Version: 6.12.38-1
Installed-Size: 34930
Filename: pool/b.deb

Package: linux-image-6.12.9+deb12-cloud-amd64
Version: 6.12.9-1~bpo12+1
Installed-Size: 34930
Filename: pool/c.deb

Package: linux-image-6.12-cloud-amd64
Version: 6.12.99-1
Installed-Size: 13
Depends: linux-image-6.12.38+deb13-cloud-amd64 (= 6.12.38-1)
Filename: pool/d.deb

Package: linux-image-6.1.0-47-amd64
Version: 6.1.170-3
Installed-Size: 400000
Depends: linux-base-6.1.0-47-amd64 (= 6.1.170-3)
Filename: pool/e.deb

Package: linux-image-7.3-cloud-amd64
Version: 7.3~rc7-1~exp1
Installed-Size: 15
Depends: dracut | initramfs-tools, linux-base-7.3-cloud-amd64 (= 7.3~rc7-1~exp1), linux-binary-7.3-cloud-amd64 (= 7.3~rc7-1~exp1), linux-modules-7.3-cloud-amd64 (= 7.3~rc7-1~exp1)
Filename: pool/f.deb

Package: linux-binary-7.3-cloud-amd64
Version: 7.3~rc7-1~exp1
Depends: linux-base-7.3-cloud-amd64 (= 7.3~rc7-1~exp1)
Filename: pool/g.deb

Package: linux-modules-7.3-cloud-amd64
Version: 7.3~rc7-1~exp1
Installed-Size: 22958
Depends: kmod, linux-base-7.3-cloud-amd64 (= 7.3~rc7-1~exp1)
Filename: pool/h.deb

Package: linux-base-7.3-cloud-amd64
Version: 7.3~rc7-1~exp1
Filename: pool/i.deb

Package: linux-image-6.19.14+deb13-cloud-amd64
Version: 6.19.14-1
Installed-Size: 16
Depends: linux-binary-6.19.14+deb13-cloud-amd64 (= 6.19.14-1), linux-modules-6.19.14+deb13-cloud-amd64 (= 6.19.14-1)
Filename: pool/j.deb

Package: linux-binary-6.19.14+deb13-cloud-amd64
Version: 6.19.14-1
Filename: pool/k.deb

Package: linux-image-6.5.0-1-amd64
Version: 6.5.3-1
Installed-Size: 400000
Status: install ok installed
";

    const SUITES: &str = "\
linux-image-6.12.38+deb13-cloud-amd64 |   6.12.38-1 | https://mirror.invalid/debian-security trixie-security/main amd64 Packages
linux-image-6.12.38+deb13-cloud-amd64 |   6.12.38-1 | https://mirror.invalid/debian trixie/main amd64 Packages
linux-image-6.1.0-47-amd64 |  6.1.170-3 | https://mirror.invalid/debian bookworm/main amd64 Packages
linux-image-7.3-cloud-amd64 | 7.3~rc7-1~exp1 | https://mirror.invalid/debian experimental/main amd64 Packages
";

    fn chosen(query: &str) -> Option<String> {
        let build = Index::parse(PARAGRAPHS, SUITES, 0).choose(&Query::parse(query).unwrap())?;
        Some(build.image.title())
    }

    #[test]
    fn the_newest_build_of_a_series_is_chosen() {
        let newest = Some("linux-image-6.12.38+deb13-cloud-amd64 6.12.38-1".to_owned());
        assert_eq!(chosen("6.12"), newest);
        assert_eq!(chosen("6.12.38"), newest);
        assert_eq!(chosen("6"), newest);
    }

    #[test]
    fn a_series_leaves_out_the_security_archive_and_tells_of_it() {
        let newer = "\nPackage: linux-image-6.12.40+deb13-cloud-amd64\nVersion: 6.12.40-1\nInstalled-Size: 34930\nFilename: pool/z.deb\n";
        let security = "linux-image-6.12.40+deb13-cloud-amd64 | 6.12.40-1 | https://mirror.invalid/debian-security trixie-security/main amd64 Packages\n";
        let index = Index::parse(&format!("{PARAGRAPHS}{newer}"), &format!("{SUITES}{security}"), 0);
        let build = |query: &str| index.choose(&Query::parse(query).unwrap()).unwrap();
        assert_eq!(build("6.12").image.version, "6.12.38-1");
        assert_eq!(build("6.12").newer_in_security.as_deref(), Some("6.12.40"));
        assert_eq!(build("6.12.40").image.version, "6.12.40-1");
        assert_eq!(build("7.3").newer_in_security, None);
    }

    #[test]
    fn a_build_can_be_named_exactly() {
        let older = Some("linux-image-6.12.9+deb12-cloud-amd64 6.12.9-1~bpo12+1".to_owned());
        for name in ["6.12.9", "6.12.9-1~bpo12+1", "6.12.9+deb12", "6.12.9+deb12-cloud-amd64"] {
            assert_eq!(chosen(name), older, "{name}");
        }
        assert_eq!(chosen("linux-image-6.12.9+deb12-cloud-amd64"), older);
        assert_eq!(chosen("6.1.0-47"), Some("linux-image-6.1.0-47-amd64 6.1.170-3".to_owned()));
    }

    #[test]
    fn generic_stands_in_for_cloud_unless_cloud_is_asked_for() {
        assert_eq!(chosen("6.1"), Some("linux-image-6.1.0-47-amd64 6.1.170-3".to_owned()));
        assert_eq!(chosen("6.1/cloud"), None);
        assert_eq!(chosen("6.12/generic"), None);
    }

    #[test]
    fn installed_packages_are_not_offered() {
        assert_eq!(chosen("6.5"), None);
    }

    #[test]
    fn a_split_image_brings_its_parts() {
        let build = Index::parse(PARAGRAPHS, SUITES, 0).choose(&Query::parse("7.3").unwrap()).unwrap();
        let mut parts: Vec<&str> = build.parts.iter().map(|part| part.name.as_str()).collect();
        parts.sort_unstable();
        assert_eq!(
            parts,
            ["linux-base-7.3-cloud-amd64", "linux-binary-7.3-cloud-amd64", "linux-modules-7.3-cloud-amd64"]
        );
    }

    #[test]
    fn an_image_without_its_modules_is_not_offered() {
        assert_eq!(chosen("6.19"), None);
        assert_eq!(
            Index::parse(PARAGRAPHS, SUITES, 0).alternatives(&Query::parse("6.19").unwrap()),
            "linux-image-6.19.14+deb13-cloud-amd64 6.19.14-1 is there without linux-modules-6.19.14+deb13-cloud-amd64; \
             Debian's suites hold 6.1, 6.12, 7.3"
        );
    }

    #[test]
    fn what_there_is_instead_is_said() {
        let index = Index::parse(PARAGRAPHS, SUITES, 0);
        let said = |query| index.alternatives(&Query::parse(query).unwrap());
        assert_eq!(said("6.13"), "Debian's suites hold 6.1, 6.12, 7.3");
        assert_eq!(said("6.12.40"), "of this series Debian's suites hold 6.12.9, 6.12.38");
        assert_eq!(said("6.12/generic"), "Debian's suites hold 6.1");
        assert_eq!(
            Index::default().alternatives(&Query::parse("6.1").unwrap()),
            "Debian's suites hold none at all"
        );
    }
}
