//! What follows `debian:` in a kernel spec.

use super::image::{Flavour, ImageName};
use anyhow::{Result, bail};
use std::fmt;

/// The builds that would do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Query {
    /// A series, an upstream version, an ABI name, a release, a package version or an image package's name.
    pub version: String,
    /// The flavour asked for.
    pub flavour: Option<Flavour>,
}

impl Query {
    /// Reads `VERSION` or `VERSION/FLAVOUR`.
    pub fn parse(text: &str) -> Result<Query> {
        let (version, flavour) = match text.split_once('/') {
            Some((version, flavour)) => (version, Some(parse_flavour(text, flavour)?)),
            None => (text, None),
        };
        let number = version.strip_prefix(ImageName::PREFIX).unwrap_or(version);
        let plain = version.chars().all(|c| c.is_ascii_alphanumeric() || ".+~-:".contains(c));
        if !number.starts_with(|c: char| c.is_ascii_digit()) || !plain {
            bail!("kernel `debian:{text}`: `{version}` is no version; write it like `debian:6.12`");
        }
        Ok(Query { version: version.to_owned(), flavour })
    }

    /// The same in the generic flavour, in which filesystems are modules.
    ///
    /// # Errors
    /// Another flavour was asked for.
    pub fn generic(&self) -> Result<Query> {
        match self.flavour {
            Some(Flavour::Cloud) => bail!("filesystems are built into the cloud flavour: leave `/cloud` out"),
            _ => Ok(Query { flavour: Some(Flavour::Generic), ..self.clone() }),
        }
    }

    /// Whether it names a series, by one number or two, rather than a build.
    pub fn is_series(&self) -> bool {
        let numbers: Vec<&str> = self.version.split('.').collect();
        numbers.len() <= 2 && numbers.iter().all(|number| number.chars().all(|c| c.is_ascii_digit()))
    }
}

fn parse_flavour(query: &str, flavour: &str) -> Result<Flavour> {
    match flavour {
        "cloud" => Ok(Flavour::Cloud),
        "generic" => Ok(Flavour::Generic),
        _ => bail!("kernel `debian:{query}`: no flavour `{flavour}`; there are `cloud` and `generic`"),
    }
}

impl fmt::Display for Query {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.flavour {
            Some(flavour) => write!(out, "{}/{flavour}", self.version),
            None => write!(out, "{}", self.version),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flavour_is_optional() {
        assert_eq!(Query::parse("6.12").unwrap(), Query { version: "6.12".into(), flavour: None });
        let generic = Query::parse("6.1.0-56/generic").unwrap();
        assert_eq!(generic, Query { version: "6.1.0-56".into(), flavour: Some(Flavour::Generic) });
        assert_eq!(generic.to_string(), "6.1.0-56/generic");
    }

    #[test]
    fn mistakes_are_named() {
        let error = |text| Query::parse(text).unwrap_err().to_string();
        assert_eq!(
            error("6.12/rt"),
            "kernel `debian:6.12/rt`: no flavour `rt`; there are `cloud` and `generic`"
        );
        assert_eq!(error("sid"), "kernel `debian:sid`: `sid` is no version; write it like `debian:6.12`");
        assert_eq!(error(""), "kernel `debian:`: `` is no version; write it like `debian:6.12`");
        assert_eq!(error("6 12"), "kernel `debian:6 12`: `6 12` is no version; write it like `debian:6.12`");
    }
}
