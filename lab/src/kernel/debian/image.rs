//! The names of Debian's kernel image packages.

use std::fmt;

/// The configuration a kernel was built with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Flavour {
    /// For virtual machines: virtio_pci, virtio_console and ext4 are built in.
    Cloud,
    /// For all machines.
    Generic,
}

impl fmt::Display for Flavour {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Flavour::Cloud => "cloud",
            Flavour::Generic => "generic",
        })
    }
}

/// `linux-image-ABI[-cloud]-amd64[-unsigned]`, taken apart.
#[derive(Debug, Eq, PartialEq)]
pub struct ImageName<'a> {
    /// `6.12.38+deb13`, `6.1.0-47`, `7.3-rc7`.
    pub abi: &'a str,
    /// How it is configured.
    pub flavour: Flavour,
}

impl<'a> ImageName<'a> {
    /// What the names of all image packages begin with.
    pub const PREFIX: &'static str = "linux-image-";

    /// Takes a package's name apart; none for other packages, other flavours, debugging symbols and the like.
    pub fn parse(package: &'a str) -> Option<ImageName<'a>> {
        let name = package.strip_prefix(Self::PREFIX)?;
        let name = name.strip_suffix("-unsigned").unwrap_or(name);
        let name = name.strip_suffix("-amd64")?;
        let (abi, flavour) = match name.strip_suffix("-cloud") {
            Some(abi) => (abi, Flavour::Cloud),
            None => (name, Flavour::Generic),
        };
        is_abi(abi).then_some(ImageName { abi, flavour })
    }

    /// What `uname -r` says.
    pub fn release(&self) -> String {
        match self.flavour {
            Flavour::Cloud => format!("{}-cloud-amd64", self.abi),
            Flavour::Generic => format!("{}-amd64", self.abi),
        }
    }
}

/// Begins with a number, and has no flavour (`-rt`, `-16k`) at its end.
fn is_abi(abi: &str) -> bool {
    let mut parts = abi.split('-');
    let begins = parts.next().is_some_and(|first| first.starts_with(|c: char| c.is_ascii_digit()));
    begins && parts.all(|part| part.trim_start_matches("rc").chars().all(|c| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(package: &str) -> Option<(&str, Flavour)> {
        ImageName::parse(package).map(|name| (name.abi, name.flavour))
    }

    #[test]
    fn image_packages_are_taken_apart() {
        assert_eq!(parts("linux-image-6.1.0-47-amd64"), Some(("6.1.0-47", Flavour::Generic)));
        assert_eq!(parts("linux-image-6.1.0-47-cloud-amd64-unsigned"), Some(("6.1.0-47", Flavour::Cloud)));
        assert_eq!(
            parts("linux-image-6.12.90+deb13.1-cloud-amd64"),
            Some(("6.12.90+deb13.1", Flavour::Cloud))
        );
        assert_eq!(parts("linux-image-7.3-rc7-amd64"), Some(("7.3-rc7", Flavour::Generic)));
    }

    #[test]
    fn everything_else_is_left_alone() {
        for package in [
            "linux-image-amd64",
            "linux-image-cloud-amd64",
            "linux-image-6.12.38+deb13-rt-amd64",
            "linux-image-6.12.38+deb13-amd64-dbg",
            "linux-image-6.12-amd64-signed-template",
            "linux-image-6.12.38+deb13-arm64",
            "linux-headers-6.12.38+deb13-amd64",
        ] {
            assert_eq!(parts(package), None, "{package}");
        }
    }

    #[test]
    fn the_release_is_what_uname_says() {
        let name = ImageName::parse("linux-image-6.12.38+deb13-cloud-amd64-unsigned").unwrap();
        assert_eq!(name.release(), "6.12.38+deb13-cloud-amd64");
    }
}
