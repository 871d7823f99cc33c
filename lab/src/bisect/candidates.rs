//! The kernels to search, oldest first.

use super::search::Side;
use crate::kernel::{self, Kernel, Listed};
use anyhow::{Context, Result, bail};
use std::collections::BTreeSet;

/// Kernels in order, of which the first and the last are the good one and the bad one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidates {
    /// Their specs.
    pub specs: Vec<String>,
    /// What the first is said to be.
    pub first: Side,
}

impl Candidates {
    /// Those of a list, from the good one to the bad one or the other way round.
    ///
    /// # Errors
    /// One of the two is not in it, or they are the same.
    pub fn of_list(list: &[String], good: &str, bad: &str) -> Result<Candidates> {
        let at = |spec: &str| {
            list.iter().position(|known| known == spec).with_context(|| {
                format!("`{spec}` is not among --kernels, which are to be in order, good and bad with them")
            })
        };
        Candidates::between(list, at(good)?, at(bad)?)
    }

    /// Those of Debian's builds that lie between two of them, of the same flavour.
    ///
    /// # Errors
    /// One of the two is none of Debian's, or they differ in flavour.
    pub fn of_debian(listed: &[Listed], good: &Kernel, bad: &Kernel) -> Result<Candidates> {
        let find = |kernel: &Kernel| {
            let package = kernel.package.as_deref().filter(|_| kernel.variant.is_none());
            let found = package.and_then(|package| {
                listed.iter().find(|one| format!("{} {}", one.package, one.version) == package)
            });
            found.with_context(|| {
                format!(
                    "`{}` is not in the list of Debian's kernels; give the kernels in order with --kernels",
                    kernel.spec
                )
            })
        };
        let (good, bad) = (find(good)?, find(bad)?);
        if good.flavour != bad.flavour {
            bail!(
                "{} and {} are of different flavours: write `/{}` behind both",
                good.spec,
                bad.spec,
                good.flavour
            );
        }
        let alike: Vec<&Listed> = listed.iter().filter(|one| one.flavour == good.flavour).collect();
        let at = |wanted: &Listed| alike.iter().position(|one| one.spec == wanted.spec).unwrap_or_default();
        let specs: Vec<String> = alike.iter().map(|one| one.spec.clone()).collect();
        Candidates::between(&specs, at(good), at(bad))
    }

    fn between(specs: &[String], good: usize, bad: usize) -> Result<Candidates> {
        match good.cmp(&bad) {
            std::cmp::Ordering::Less => {
                Ok(Candidates { specs: specs[good..=bad].to_vec(), first: Side::Good })
            }
            std::cmp::Ordering::Greater => {
                Ok(Candidates { specs: specs[bad..=good].to_vec(), first: Side::Bad })
            }
            std::cmp::Ordering::Equal => bail!("--good and --bad are the same kernel, {}", specs[good]),
        }
    }

    /// What is odd about the order, as far as the kernels themselves tell: an older one after a newer one.
    pub fn disorder(&self) -> Option<String> {
        let known: Vec<(&String, String)> =
            self.specs.iter().filter_map(|spec| Some((spec, kernel::release_of(spec)?))).collect();
        let wrong = known.windows(2).find(|pair| match pair {
            [(_, one), (_, next)] => older(next, one),
            _ => false,
        })?;
        let [(before, newer), (after, older)] = wrong else { return None };
        Some(format!(
            "--kernels are to be in order, oldest first, but {after} ({older}) comes after {before} ({newer}): \
             what is called the first kernel may be the last"
        ))
    }

    /// Series that Debian's builds among them are of, `6.12` say: each gets its fixes by itself.
    pub fn series(&self) -> BTreeSet<&str> {
        let number = |part: &'_ str| part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
        let series = |spec: &String| {
            let start = spec.strip_prefix("debian:").map(|version| spec.len() - version.len())?;
            let dot = start + spec.get(start..)?.find('.')?;
            Some(start..dot + 1 + number(spec.get(dot + 1..)?))
        };
        self.specs.iter().filter_map(|spec| spec.get(series(spec)?)).collect()
    }
}

/// Whether the first of two releases is the older one by its numbers; the third may be missing.
fn older(one: &str, other: &str) -> bool {
    let numbers = |release: &str| -> Vec<u64> {
        let end = release.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(release.len());
        release[..end].split('.').map_while(|part| part.parse().ok()).collect()
    };
    let (one, other) = (numbers(one), numbers(other));
    one.iter().zip(&other).find(|(one, other)| one != other).is_some_and(|(one, other)| one < other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(specs: &[&str]) -> Vec<String> {
        specs.iter().map(|spec| (*spec).to_owned()).collect()
    }

    #[test]
    fn what_lies_beyond_the_two_is_left_out_and_either_may_be_older() {
        let all = list(&["a", "b", "c", "d"]);
        let fixed = Candidates::of_list(&all, "d", "b").expect("candidates");
        assert_eq!(fixed, Candidates { specs: list(&["b", "c", "d"]), first: Side::Bad });
        let broken = Candidates::of_list(&all, "a", "b").expect("candidates");
        assert_eq!(broken, Candidates { specs: list(&["a", "b"]), first: Side::Good });
    }

    #[test]
    fn a_list_without_the_two_is_refused() {
        let error =
            |good, bad| Candidates::of_list(&list(&["a", "b"]), good, bad).expect_err("refused").to_string();
        assert!(error("x", "b").starts_with("`x` is not among --kernels"), "{}", error("x", "b"));
        assert_eq!(error("a", "a"), "--good and --bad are the same kernel, a");
    }

    #[test]
    fn an_order_that_the_kernels_contradict_is_told() {
        let of = |specs: &[&str]| Candidates { specs: list(specs), first: Side::Bad }.disorder();
        assert_eq!(of(&["debian:6.1", "debian:6.12.107/cloud", "no/such/image", "debian:6.12.111-1"]), None);
        assert_eq!(of(&["debian:6.12.107", "debian:6.12", "debian:6.12.0-2"]), None, "any of the series");
        let told = of(&["debian:7.3", "no/such/image", "debian:6.12.107/cloud"]).expect("a word");
        assert!(told.contains("but debian:6.12.107/cloud (6.12.107) comes after debian:7.3 (7.3)"), "{told}");
        assert!(older("6.9.2-custom", "6.12.0-rc1+") && !older("6.12-rc1", "6.12.0") && !older("x", "6.1"));
    }

    #[test]
    fn the_series_of_debians_builds_are_known() {
        let specs =
            list(&["debian:6.1.176-1/cloud", "debian:6.12.107-1/cloud", "debian:6.12.111-1/cloud", "linux"]);
        let candidates = Candidates { specs, first: Side::Bad };
        assert_eq!(candidates.series().into_iter().collect::<Vec<_>>(), ["6.1", "6.12"]);
    }
}
