//! # Packages through apt
//!
//! Which mirror, which suites and which keys is apt's configuration, read by
//! apt. What a package must hash to comes from its signed package lists.
//! Needs no root: nothing is installed.

use std::{cmp::Ordering, fs, path::Path, time::UNIX_EPOCH};

use super::{Error, host};

/// One package, as the package lists describe it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) bytes: u64,
    pub(crate) sha256: String,
}

/// The newest kernel package of a series such as `6.1`.
pub(crate) async fn newest_kernel(series: &str) -> anyhow::Result<Package> {
    let here = Path::new("/");
    let prefix = format!("linux-image-{series}.");
    let names = host::output("apt-cache", ["pkgnames", &prefix], here).await?;
    let names = String::from_utf8_lossy(&names);

    for name in kernel_packages(&names, &prefix) {
        // Names stay known after their packages are gone from the mirror.
        let shown = host::output("apt-cache", ["show", "--no-all-versions", name], here).await;
        if let Ok(text) = shown
            && let Some(package) = Package::parse(&String::from_utf8_lossy(&text))
        {
            return Ok(package);
        }
    }
    Err(Error::NoKernel {
        series: series.to_owned(),
        why: format!(
            "its package lists have no {prefix}*-cloud-amd64; run `apt-get update`, \
             and see that the suite with this kernel is among apt's sources"
        ),
    }
    .into())
}

/// Changes when the package lists do: apt puts new ones there by renaming.
pub(crate) fn state_of_lists() -> Option<String> {
    let changed = fs::metadata("/var/lib/apt/lists").ok()?.modified().ok()?;
    let since = changed.duration_since(UNIX_EPOCH).ok()?;
    Some(since.as_nanos().to_string())
}

/// Downloads a package into `dir`, where it is the only `.deb`.
pub(crate) async fn download(package: &Package, dir: &Path) -> anyhow::Result<()> {
    let what = format!("{}={}", package.name, package.version);
    host::output("apt-get", ["-q", "download", &what], dir).await?;
    Ok(())
}

/// The image packages for cloud machines among `names`, newest first.
fn kernel_packages<'a>(names: &'a str, prefix: &str) -> Vec<&'a str> {
    let mut found: Vec<&str> = names
        .lines()
        .filter(|name| {
            name.strip_prefix(prefix)
                .is_some_and(|rest| rest.ends_with("-cloud-amd64"))
        })
        .collect();
    found.sort_by(|a, b| by_number(b, a));
    found
}

/// Orders names by the numbers in them: 6.1.0-9 before 6.1.0-10.
fn by_number(a: &str, b: &str) -> Ordering {
    let numbers = |text: &str| -> Vec<u64> {
        text.split(|c: char| !c.is_ascii_digit())
            .filter_map(|digits| digits.parse().ok())
            .collect()
    };
    numbers(a).cmp(&numbers(b))
}

impl Package {
    /// What [`Package::parse`] reads.
    pub(crate) fn describe(&self) -> String {
        let Self {
            name,
            version,
            bytes,
            sha256,
        } = self;
        format!("Package: {name}\nVersion: {version}\nSize: {bytes}\nSHA256: {sha256}\n")
    }

    /// `None` where the description lacks what a checked download needs; an
    /// installed package that no list has any more is such a case.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let field = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
                .map(str::trim)
        };
        let sha256 = field("SHA256")?;
        let hex = sha256.len() == 64 && sha256.bytes().all(|b| b.is_ascii_hexdigit());
        hex.then_some(Self {
            name: field("Package")?.to_owned(),
            version: field("Version")?.to_owned(),
            bytes: field("Size")?.parse().ok()?,
            sha256: sha256.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_kernel_is_the_one_with_the_highest_numbers() {
        let names = "linux-image-6.1.0-9-cloud-amd64\n\
                     linux-image-6.1.0-10-cloud-amd64\n\
                     linux-image-6.1.0-10-cloud-amd64-dbg\n\
                     linux-image-6.1.0-11-cloud-amd64-unsigned\n\
                     linux-image-6.1.0-12-amd64\n\
                     linux-image-6.10.1-cloud-amd64\n";
        assert_eq!(
            kernel_packages(names, "linux-image-6.1."),
            [
                "linux-image-6.1.0-10-cloud-amd64",
                "linux-image-6.1.0-9-cloud-amd64"
            ]
        );
    }

    #[test]
    fn a_description_without_a_checksum_is_no_package() {
        let sum = "a".repeat(64);
        let text = format!("Package: p\nVersion: 1-2\nSize: 7\nSHA256: {sum}\n");
        let package = Package {
            name: "p".to_owned(),
            version: "1-2".to_owned(),
            bytes: 7,
            sha256: sum,
        };
        assert_eq!(package.describe(), text);
        assert_eq!(Package::parse(&text), Some(package));
        assert_eq!(Package::parse("Package: p\nVersion: 1-2\nSize: 7\n"), None);
        assert_eq!(
            Package::parse("Package: p\nVersion: 1\nSize: 7\nSHA256: aa\n"),
            None
        );
    }
}
