//! # What is asked for

use std::{
    ffi::OsString,
    fmt,
    path::{Component, PathBuf},
    str::FromStr,
    time::Duration,
};

use clap::{ValueEnum, builder::PossibleValue};

use super::{Device, Error};

/// One run of `odio-trace vm`.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    /// Which kernel to boot.
    pub(crate) kernel: Kernel,
    /// The filesystem of the working directory.
    pub(crate) fs: Filesystem,
    /// The disk.
    pub(crate) device: Device,
    /// Memory of the guest in MiB.
    pub(crate) memory: u32,
    /// CPUs of the guest.
    pub(crate) cpus: u32,
    /// The longest that boot and command may take together.
    pub(crate) timeout: Duration,
    /// Files, programs and folders to carry in besides the command.
    pub(crate) add: Vec<PathBuf>,
    /// Kernel modules to load besides those that the VM needs.
    pub(crate) modules: Vec<Module>,
    /// Where the modules of a bzImage lie: a folder as /lib/modules/RELEASE.
    pub(crate) module_folder: Option<PathBuf>,
    /// Where on the host the files come back to that the command left in [`OUT_FOLDER`](super::OUT_FOLDER).
    pub(crate) out: Option<PathBuf>,
    /// Whether the command talks to the terminal of this process.
    pub(crate) shell: bool,
    /// Whether the guest's clock counts its instructions: one CPU, no KVM.
    pub(crate) icount: bool,
    /// The command and its arguments; never empty.
    pub(crate) command: Vec<OsString>,
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            kernel: Kernel::Series("6.1".to_owned()),
            fs: Filesystem::Ext4,
            device: Device::default(),
            memory: 1024,
            cpus: 2,
            timeout: Duration::from_secs(300),
            add: Vec::new(),
            modules: Vec::new(),
            module_folder: None,
            out: None,
            shell: false,
            icount: false,
            command: Vec::new(),
        }
    }
}

/// The series of Debian's suites from bullseye to forky.
const SERIES: [&str; 4] = ["5.10", "6.1", "6.12", "7.2"];

impl Spec {
    /// A name for a folder: kernel, filesystem and device, as they were asked for.
    pub(crate) fn folder(&self) -> String {
        let kernel = match &self.kernel {
            Kernel::Series(series) => series.clone(),
            // Images in two folders are often both called bzImage.
            Kernel::Image(path) => path
                .components()
                .filter_map(|part| match part {
                    Component::Normal(name) => Some(name.to_string_lossy()),
                    Component::ParentDir => Some("..".into()),
                    _ => None,
                })
                .collect::<Vec<_>>()
                .join("-"),
        };
        let word = |value: Option<PossibleValue>| {
            value.map_or_else(String::new, |value| value.get_name().to_owned())
        };
        let fs = word(self.fs.to_possible_value());
        let device = word(self.device.to_possible_value());
        format!("{kernel}-{fs}-{device}")
    }
}

/// A kernel as named on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kernel {
    /// Debian's newest cloud kernel of a series, such as `6.1`.
    Series(String),
    /// A bzImage.
    Image(PathBuf),
}

impl Kernel {
    /// The series that Debian's suites have.
    pub(crate) fn all() -> Vec<Self> {
        SERIES.map(|series| Self::Series(series.to_owned())).into()
    }

    /// As it was named.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Series(series) => series.clone(),
            Self::Image(path) => path.display().to_string(),
        }
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Series(series) => write!(f, "Linux {series}"),
            Self::Image(path) => write!(f, "{}", path.display()),
        }
    }
}

impl FromStr for Kernel {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        match text.split_once('.') {
            Some((major, minor)) if number(major) && number(minor) => {
                Ok(Self::Series(text.to_owned()))
            }
            _ if text.contains('/') => Ok(Self::Image(text.into())),
            _ => Err(Error::KernelName {
                name: text.to_owned(),
            }),
        }
    }
}

/// A kernel module as named on the command line: `null_blk nr_devices=1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Module {
    /// As the kernel names it, with `_` and not `-`.
    pub(crate) name: String,
    /// Each a `name=value`, or a name alone.
    pub(crate) parameters: Vec<String>,
}

impl FromStr for Module {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let refused = |why: &str| Error::ModuleName {
            name: text.to_owned(),
            why: why.to_owned(),
        };
        let mut words = text.split_whitespace();
        let name = words.next().unwrap_or_default().replace('-', "_");
        let known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if name.is_empty() || !name.bytes().all(known) {
            return Err(refused("a name has letters, digits, - and _"));
        }
        let parameters: Vec<String> = words.map(str::to_owned).collect();
        // A quote would change where a parameter ends, for insmod and for the kernel.
        if text.contains(['"', '\'', '\\']) {
            return Err(refused("a parameter has no quotes and no backslash"));
        }
        Ok(Self { name, parameters })
    }
}

/// What a VM can have as its working directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Filesystem {
    /// Blocks are mapped by extents, metadata goes through the journal.
    Ext4,
    /// File data goes through the journal.
    Ext4DataJournal,
    /// Blocks are mapped as ext2 and ext3 do.
    Ext4NoExtents,
    /// By the kernel's own ext2, where it has that apart from ext4.
    Ext2,
    /// Made as mkfs.xfs does.
    Xfs,
    /// The same; `matrix` shares the blocks of its files with a copy.
    XfsReflinked,
    /// Copy-on-write, with checksums.
    Btrfs,
    /// Data is overwritten in place, without checksums.
    BtrfsNodatacow,
    /// FAT32, without a journal.
    Vfat,
    /// In memory; the disk stays empty.
    Tmpfs,
    /// The disk itself, which is ODIO_VM_DISK; the working directory is a folder in memory.
    #[value(alias = "none")]
    Block,
}

impl Filesystem {
    /// Those that Debian's kernels have.
    pub(crate) fn all() -> Vec<Self> {
        let every = Self::value_variants().iter();
        every.copied().filter(|fs| *fs != Self::Ext2).collect()
    }

    /// Whether it leaves the disk alone.
    pub(crate) fn is_in_memory(self) -> bool {
        matches!(self, Self::Tmpfs)
    }

    /// The name that mount(8) knows; `none` is for the guest to understand.
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::Ext4 | Self::Ext4DataJournal | Self::Ext4NoExtents => "ext4",
            Self::Ext2 => "ext2",
            Self::Xfs | Self::XfsReflinked => "xfs",
            Self::Btrfs | Self::BtrfsNodatacow => "btrfs",
            Self::Vfat => "vfat",
            Self::Tmpfs => "tmpfs",
            Self::Block => "none",
        }
    }

    /// Options with which nothing but the command writes to the disk.
    pub(crate) fn mount_options(self) -> &'static str {
        match self {
            Self::Ext4 | Self::Ext4NoExtents => "noinit_itable",
            Self::Ext4DataJournal => "noinit_itable,data=journal",
            Self::BtrfsNodatacow => "nodatacow",
            _ => "rw",
        }
    }

    /// The command that makes it on a file, to which it appends the name.
    pub(crate) fn make(self) -> Option<Vec<&'static str>> {
        let ext4 = |features: &[&'static str]| {
            // Tables that are initialised later would be written by the kernel
            // while the command runs.
            let mut command = vec![
                "mke2fs",
                "-q",
                "-F",
                "-t",
                "ext4",
                "-b",
                "4096",
                "-E",
                "lazy_itable_init=0,lazy_journal_init=0,root_owner=0:0",
            ];
            command.extend(features);
            command
        };
        match self {
            Self::Ext4 | Self::Ext4DataJournal => Some(ext4(&[])),
            // Block numbers of 64 bits are for extents alone.
            Self::Ext4NoExtents => Some(ext4(&["-O", "^extent,^64bit"])),
            Self::Ext2 => Some(vec![
                "mke2fs",
                "-q",
                "-F",
                "-t",
                "ext2",
                "-b",
                "4096",
                "-E",
                "lazy_itable_init=0,root_owner=0:0",
            ]),
            Self::Xfs | Self::XfsReflinked => Some(vec!["mkfs.xfs", "-q", "-f", "-m", "reflink=1"]),
            Self::Btrfs | Self::BtrfsNodatacow => Some(vec!["mkfs.btrfs", "-q", "-f"]),
            Self::Vfat => Some(vec!["mkfs.vfat", "-F", "32"]),
            Self::Tmpfs | Self::Block => None,
        }
    }

    /// The modules for kernels that do not have it built in. Those that it
    /// asks for by an alias, and not by a dependency, come first.
    pub(crate) fn modules(self) -> &'static [&'static str] {
        match self.kind() {
            "ext4" => &["ext4"],
            "xfs" => &["xfs"],
            "btrfs" => &["btrfs"],
            "vfat" => &["nls_cp437", "nls_ascii", "nls_utf8", "vfat"],
            _ => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_is_two_numbers_and_a_path_has_a_slash() {
        let series = |s: &str| Kernel::Series(s.to_owned());
        assert_eq!("6.1".parse::<Kernel>().unwrap(), series("6.1"));
        assert_eq!("5.10".parse::<Kernel>().unwrap(), series("5.10"));
        assert_eq!(
            "./bzImage".parse::<Kernel>().unwrap(),
            Kernel::Image("./bzImage".into())
        );
        for bad in ["", "6", "6.", ".1", "6.1.5", "bzImage", "-6.1", "6.x"] {
            assert!(bad.parse::<Kernel>().is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn each_vm_of_a_call_has_a_folder_of_its_own() {
        let folder = |kernel: &str| {
            let kernel = kernel.parse().unwrap();
            let spec = Spec {
                kernel,
                ..Spec::default()
            };
            spec.folder()
        };
        assert_eq!(folder("6.1"), "6.1-ext4-nvme");
        assert_eq!(folder("./a/bzImage"), "a-bzImage-ext4-nvme");
        assert_eq!(folder("/b/bzImage"), "b-bzImage-ext4-nvme");
        assert_eq!(folder("../bzImage"), "..-bzImage-ext4-nvme");
    }

    #[test]
    fn a_module_is_a_name_and_parameters() {
        let module: Module = "dm-flakey".parse().unwrap();
        assert_eq!(
            (module.name.as_str(), module.parameters.len()),
            ("dm_flakey", 0)
        );
        let module: Module = " null_blk  nr_devices=1 irqmode=0".parse().unwrap();
        assert_eq!(module.name, "null_blk");
        assert_eq!(module.parameters, ["nr_devices=1", "irqmode=0"]);
        for bad in ["", " ", "a/b", "a=1", "a b='c d'", "../a"] {
            assert!(bad.parse::<Module>().is_err(), "{bad:?} was accepted");
        }
    }
}
