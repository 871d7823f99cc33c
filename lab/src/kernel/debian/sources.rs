//! Where Debian's archive is, by this machine's own apt configuration, and which of its suites to ask.

use super::super::process;
use anyhow::{Result, bail};
use std::path::Path;
use std::process::Command;

/// Releases that may hold kernels of interest. One that the mirror does not have is skipped.
const CODENAMES: [&str; 4] = ["bookworm", "trixie", "forky", "duke"];
const POCKETS: [&str; 3] = ["", "-updates", "-backports"];
const ROLLING: [&str; 2] = ["sid", "experimental"];
/// Other names under which a machine's sources may know a release.
const ALIASES: [&str; 5] = ["oldoldstable", "oldstable", "stable", "testing", "unstable"];

/// The two parts of Debian's archive.
#[derive(Debug, PartialEq)]
pub struct Sources {
    archive: String,
    security: Option<String>,
}

impl Sources {
    /// Asks apt where this machine gets Debian from.
    ///
    /// # Errors
    ///
    /// When apt is missing, or none of its sources is Debian's archive.
    pub fn of_this_machine() -> Result<Sources> {
        // `Release` files name the origin, but only once apt has fetched them; else the suites' names must do.
        let by_origin = targets(&["--format", "$(ORIGIN)/$(LABEL) $(REPO_URI)"])?;
        let by_suite = targets(&["--no-release-info", "--format", "$(RELEASE) $(REPO_URI)"])?;
        match Sources::from_origins(&by_origin).or_else(|| Sources::from_suites(&by_suite)) {
            Some(sources) => Ok(sources),
            None => bail!(
                "`debian:` kernels need Debian's archive, which is not among this machine's apt sources"
            ),
        }
    }

    fn from_origins(lines: &str) -> Option<Sources> {
        let uri = |origin: &str| first_uri(lines, |word| word == origin);
        Some(Sources { archive: uri("Debian/Debian")?, security: uri("Debian/Debian-Security") })
    }

    /// A wrong guess is harmless: only Debian's signatures are accepted.
    fn from_suites(lines: &str) -> Option<Sources> {
        let is_release =
            |name: &str| CODENAMES.contains(&name) || ROLLING.contains(&name) || ALIASES.contains(&name);
        let archive = first_uri(lines, is_release)?;
        let security = first_uri(lines, |word| word.strip_suffix("-security").is_some_and(is_release));
        Some(Sources { archive, security })
    }

    /// The contents of a `.sources` file that names every suite and accepts signatures by the keyring only.
    pub fn file(&self, keyring: &Path) -> String {
        let pockets = CODENAMES.iter().flat_map(|name| POCKETS.map(|pocket| format!("{name}{pocket}")));
        let suites: Vec<String> = pockets.chain(ROLLING.map(str::to_owned)).collect();
        let mut file = paragraph(&self.archive, &suites, keyring);
        if let Some(security) = &self.security {
            file += "\n";
            file += &paragraph(security, &CODENAMES.map(|name| format!("{name}-security")), keyring);
        }
        file
    }

    /// The same of one release, without its backports.
    pub fn of_release(&self, codename: &str, keyring: &Path) -> String {
        let suites = [codename.to_owned(), format!("{codename}-updates")];
        let security = self.security.as_deref();
        let security = security.map(|uri| paragraph(uri, &[format!("{codename}-security")], keyring));
        [Some(paragraph(&self.archive, &suites, keyring)), security]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join("\n")
    }
}

fn targets(arguments: &[&str]) -> Result<String> {
    let mut command = Command::new("apt-get");
    process::stdout(command.arg("indextargets").args(arguments).arg("Created-By: Packages"))
}

/// The URI in the first line whose first word will do.
fn first_uri(lines: &str, will_do: impl Fn(&str) -> bool) -> Option<String> {
    lines.lines().find_map(|line| {
        let (word, uri) = line.split_once(' ')?;
        (will_do(word) && !uri.starts_with("cdrom:")).then(|| uri.to_owned())
    })
}

fn paragraph(uri: &str, suites: &[String], keyring: &Path) -> String {
    format!(
        "Types: deb\nURIs: {uri}\nSuites: {}\nComponents: main\nArchitectures: amd64\nSigned-By: {}\n",
        suites.join(" "),
        keyring.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(archive: &str, security: Option<&str>) -> Option<Sources> {
        Some(Sources { archive: archive.into(), security: security.map(str::to_owned) })
    }

    #[test]
    fn debians_archive_is_known_by_its_origin() {
        let lines = "nodesource/nodesource https://other.invalid/\n\
                     Debian/Debian-Security https://mirror.invalid/debian-security/\n\
                     Debian/Debian https://mirror.invalid/debian/\n";
        assert_eq!(
            Sources::from_origins(lines),
            sources("https://mirror.invalid/debian/", Some("https://mirror.invalid/debian-security/"))
        );
        assert_eq!(Sources::from_origins("Ubuntu/Ubuntu https://mirror.invalid/ubuntu/\n"), None);
    }

    #[test]
    fn before_the_first_update_it_is_known_by_its_suites() {
        let lines = "nodistro https://other.invalid/\ncdrom cdrom:[Debian]/\n\
                     trixie-security https://mirror.invalid/debian-security/\n\
                     stable https://mirror.invalid/debian/\n";
        assert_eq!(
            Sources::from_suites(lines),
            sources("https://mirror.invalid/debian/", Some("https://mirror.invalid/debian-security/"))
        );
    }

    #[test]
    fn every_suite_is_asked_and_only_one_keyring_trusted() {
        let file = sources("https://mirror.invalid/debian/", None).unwrap().file(Path::new("/keys.gpg"));
        assert_eq!(
            file,
            "Types: deb\nURIs: https://mirror.invalid/debian/\n\
             Suites: bookworm bookworm-updates bookworm-backports trixie trixie-updates trixie-backports \
             forky forky-updates forky-backports duke duke-updates duke-backports sid experimental\n\
             Components: main\nArchitectures: amd64\nSigned-By: /keys.gpg\n"
        );
    }
}
