//! # Packages through apt
//!
//! Which mirror and which keys is apt's configuration, read by apt. What a
//! package must hash to comes from signed package lists: the machine's own, or
//! where those have no such kernel, lists of Debian's other suites from the
//! same mirror, kept in the cache folder. Needs no root: nothing is installed.

use std::{
    cmp::Ordering,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use anyhow::Context as _;

use super::{Error, host, progress::Progress};

/// Debian's suites with the kernels of several years, and those of its security archive.
const SUITES: [&str; 7] = [
    "bullseye",
    "bookworm",
    "bookworm-backports",
    "trixie",
    "trixie-backports",
    "forky",
    "sid",
];
const SECURITY_SUITES: [&str; 3] = ["bullseye-security", "bookworm-security", "trixie-security"];

/// Packages with the names of built-in modules, the image, the modules.
const PARTS: [&str; 3] = ["linux-base-", "linux-binary-", "linux-modules-"];

/// Beside the lists, what apt said of those that it did not get.
const REFUSED: &str = "refused";

/// What signs them, on Debian.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// One package, as the package lists describe it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) bytes: u64,
    pub(crate) sha256: String,
}

/// Package lists, and how apt is told to use them.
#[derive(Clone, Debug)]
pub(crate) struct Lists {
    options: Vec<OsString>,
    /// What apt said of those that it did not get; else empty.
    pub(crate) refused: String,
}

impl Lists {
    /// Those of this machine.
    pub(crate) fn system() -> Self {
        Self {
            options: Vec::new(),
            refused: String::new(),
        }
    }

    /// Those of all suites, kept below the cache folder since the machine's own lists were as they are; `None` where
    /// there are none, or older ones.
    pub(crate) fn kept(cache: &Path) -> Option<Self> {
        let folder = Self::folder(cache);
        let refused = fs::read_to_string(folder.join(REFUSED)).ok()?;
        Some(Self::in_folder(&folder, refused))
    }

    fn folder(cache: &Path) -> PathBuf {
        let state = state_of_lists().unwrap_or_default();
        cache.join(format!("apt-{state}"))
    }

    fn in_folder(folder: &Path, refused: String) -> Self {
        let set = |name: &str, value: &Path| {
            let mut option = OsString::from(format!("-o{name}="));
            option.push(value);
            option
        };
        let mut options = vec![
            set("Dir::Etc::sourcelist", &folder.join("sources")),
            set("Dir::State::lists", &folder.join("lists")),
            set("Dir::Cache", &folder.join("cache")),
        ];
        // An index of ten suites on disk is larger than the lists, and its making no faster.
        for option in [
            "-oDir::Etc::sourceparts=-",
            "-oDir::Cache::pkgcache=",
            "-oDir::Cache::srcpkgcache=",
            "-oAcquire::Languages=none",
            "-oAcquire::IndexTargets::deb::DEP-11::DefaultEnabled=false",
            "-oAcquire::IndexTargets::deb::Contents-deb::DefaultEnabled=false",
            "-oAcquire::IndexTargets::deb::CNF::DefaultEnabled=false",
        ] {
            options.push(option.into());
        }
        Self { options, refused }
    }

    /// Gets those of all suites that the mirror serves.
    pub(crate) async fn fetch(cache: &Path, progress: &Progress) -> anyhow::Result<Self> {
        let sources = sources(&mirrors().await?).ok_or(Error::NoMirror)?;
        progress.say("reading the package lists of Debian's suites ...");
        // Lists that others may be reading are not written to.
        let room = tempfile::tempdir_in(cache)?;
        fs::create_dir_all(room.path().join("lists/partial"))?;
        fs::create_dir_all(room.path().join("cache/archives/partial"))?;
        fs::write(room.path().join("sources"), sources)?;
        let update = Self::in_folder(room.path(), String::new());
        let update = update.ask("apt-get", &["update", "-q"], cache).await;
        let refused = update
            .err()
            .map_or_else(String::new, |error| format!("{error:#}"));
        fs::write(room.path().join(REFUSED), &refused)?;

        let folder = Self::folder(cache);
        // Those of another state of the machine's lists are of no use any more.
        for old in fs::read_dir(cache)?.filter_map(Result::ok) {
            if old.file_name().to_string_lossy().starts_with("apt-") {
                fs::remove_dir_all(old.path()).or_else(gone)?;
            }
        }
        let room = room.keep();
        if let Err(error) = fs::rename(&room, &folder) {
            fs::remove_dir_all(&room)?;
            // Another run may have been faster.
            if !folder.join(REFUSED).exists() {
                return Err(error).context("cannot keep the package lists");
            }
        }
        Ok(Self::in_folder(&folder, refused))
    }

    async fn ask(&self, tool: &str, words: &[&str], dir: &Path) -> anyhow::Result<String> {
        let words = words.iter().map(OsString::from);
        let output = host::output(tool, self.options.iter().cloned().chain(words), dir).await?;
        Ok(String::from_utf8_lossy(&output).into_owned())
    }

    /// The packages that the newest kernel of a series such as `6.1` comes in: the image, and what it says it depends
    /// on for its files.
    pub(crate) async fn newest_kernel(&self, series: &str) -> anyhow::Result<Vec<Package>> {
        let here = Path::new("/");
        let prefix = format!("linux-image-{series}.");
        let names = self.ask("apt-cache", &["pkgnames", &prefix], here).await?;
        for name in kernel_packages(&names, &prefix) {
            // Names stay known after their packages are gone from the mirror.
            let Some(image) = self.show(name).await else {
                continue;
            };
            let mut packages: Vec<Package> = Package::parse(&image).into_iter().collect();
            for part in parts(&image) {
                packages.extend(self.show(part).await.and_then(|text| Package::parse(&text)));
            }
            if packages.len() == 1 + parts(&image).len() {
                return Ok(packages);
            }
        }
        Err(Error::NoKernel {
            series: series.to_owned(),
            why: format!(
                "the package lists have no {prefix}*-cloud-amd64; run `apt-get update`, \
                 and see that the suite with this kernel is served by apt's mirror"
            ),
        }
        .into())
    }

    async fn show(&self, name: &str) -> Option<String> {
        let words = ["show", "--no-all-versions", name];
        self.ask("apt-cache", &words, Path::new("/")).await.ok()
    }

    /// Downloads a package into `dir`, where it is the only `.deb`. What an interrupted download left there is gone on
    /// with.
    pub(crate) async fn download(&self, package: &Package, dir: &Path) -> anyhow::Result<()> {
        let what = format!("{}={}", package.name, package.version);
        self.ask("apt-get", &["-q", "download", &what], dir).await?;
        Ok(())
    }
}

fn gone(error: std::io::Error) -> std::io::Result<()> {
    match error.kind() {
        std::io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    }
}

/// Changes when the package lists do: apt puts new ones there by renaming.
pub(crate) fn state_of_lists() -> Option<String> {
    let changed = fs::metadata("/var/lib/apt/lists").ok()?.modified().ok()?;
    let since = changed.duration_since(UNIX_EPOCH).ok()?;
    Some(since.as_nanos().to_string())
}

/// Address and label of each of the machine's sources, a line each.
async fn mirrors() -> anyhow::Result<String> {
    let words = ["indextargets", "--format", "$(REPO_URI) $(LABEL)"];
    Lists::system().ask("apt-get", &words, Path::new("/")).await
}

/// Sources of all suites from the mirrors of the machine's own.
fn sources(mirrors: &str) -> Option<String> {
    let of = |label: &str| {
        mirrors
            .lines()
            .filter_map(|line| line.split_once(' '))
            .find_map(|(mirror, of)| (of == label).then_some(mirror))
    };
    let line =
        |mirror: &str, suite: &str| format!("deb [signed-by={KEYRING}] {mirror} {suite} main\n");
    let main = of("Debian")?;
    let suites = SUITES.map(|suite| line(main, suite)).concat();
    let security = of("Debian-Security");
    let security = security.map(|mirror| SECURITY_SUITES.map(|suite| line(mirror, suite)).concat());
    Some(suites + &security.unwrap_or_default())
}

/// Other packages that a kernel is made of: since 7.2 what is named linux-image holds nothing itself.
fn parts(image: &str) -> Vec<&str> {
    let depends = image
        .lines()
        .find_map(|line| line.strip_prefix("Depends: "));
    depends
        .into_iter()
        .flat_map(|list| list.split(", "))
        .filter_map(|package| package.split(' ').next())
        .filter(|name| PARTS.iter().any(|part| name.starts_with(part)))
        .collect()
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
    fn other_suites_are_of_the_same_mirror() {
        let sources = sources(
            "o:/x Other\nb:/x Debian Backports\nd:/y Debian\ns:/z Debian-Security\nd:/w Debian\n",
        )
        .unwrap();
        let lines: Vec<&str> = sources.lines().collect();
        assert_eq!(lines.len(), SUITES.len() + SECURITY_SUITES.len());
        assert!(lines[0].ends_with("] d:/y bullseye main"), "{}", lines[0]);
        assert!(
            lines[9].ends_with("] s:/z trixie-security main"),
            "{}",
            lines[9]
        );
        assert_eq!(super::sources("u:/ Ubuntu\n"), None);
    }

    #[test]
    fn an_image_in_parts_names_them() {
        let text = "Package: i\nDepends: dracut | other (>= 1), linux-base (>= 4.3~), linux-base-7.2 (= 1), linux-binary-7.2 (= 7.2-1), \
                    linux-modules-7.2 (= 7.2-1)\nRecommends: linux-modules-x\n";
        assert_eq!(
            parts(text),
            ["linux-base-7.2", "linux-binary-7.2", "linux-modules-7.2"]
        );
        assert!(parts("Package: i\nDepends: kmod, linux-base (>= 4.3~)\n").is_empty());
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
