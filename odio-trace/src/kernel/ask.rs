//! What the plan, the session and the matrix ask of a surveyed kernel, in one call each.

use std::{collections::BTreeSet, path::Path};

use anyhow::{Result, bail};
use odio_trace_common::{ABSENT, Offsets};

use super::{
    Dev, Kernel, Kprobe, Lockdown, Root, Seen, Storage, WriteCache,
    btf::{Absent, functions::Function},
};

/// Members that later kernels call by another name.
const RENAMED: &[(&str, &str, &str)] = &[
    // 7.2: the head of the page, or a mask that leads to it.
    ("page", "compound_head", "compound_info"),
];

impl Kernel {
    /// Surveys the running kernel. `functions` are those that will be asked about.
    pub(crate) fn of_this_machine(functions: &[&str]) -> Self {
        Self::survey(&Root::system(), functions)
    }

    /// Why this process cannot trace at all, with the way out.
    pub(crate) fn may_trace(&self) -> Result<()> {
        if let Err(unseen) = &self.btf {
            bail!(
                "this kernel does not describe its own types ({unseen}{}); a kernel built with CONFIG_DEBUG_INFO_BTF=y \
                 does, for one that of `odio-trace vm -- odio-trace ...`",
                self.configured_off("DEBUG_INFO_BTF")
            );
        }
        if let Ok(privileges) = &self.privileges
            && let Some(lack) = privileges.lack()
        {
            bail!(
                "tracing needs root, or the capabilities CAP_BPF and CAP_PERFMON, and this process {lack}; try \
                 `sudo odio-trace ...`, or without any privilege `odio-trace vm -- odio-trace ...`"
            );
        }
        if self.lockdown == Ok(Lockdown::Confidentiality) {
            bail!(
                "lockdown is at confidentiality, which keeps BPF from reading kernel memory; try \
                 `odio-trace vm -- odio-trace ...`"
            );
        }
        Ok(())
    }

    /// Whether kprobes can be had on this kernel, and if not, why.
    pub(crate) fn kprobes(&self) -> Result<(), String> {
        match self.kprobe("submit_bio") {
            no @ Kprobe::NoKprobes(_) => {
                Err(format!("{no}{}", self.configured_off("KPROBE_EVENTS")))
            }
            no @ Kprobe::LockedDown => Err(no.to_string()),
            _ => Ok(()),
        }
    }

    /// For a message: that the kernel was built without an option, where its configuration can be seen.
    fn configured_off(&self, option: &str) -> String {
        match &self.config {
            Ok(config) if !config.on(option) => {
                format!(
                    ", built without CONFIG_{option}, says {}",
                    config.source.display()
                )
            }
            _ => String::new(),
        }
    }

    /// Whether a kprobe at this function may be tried.
    pub(crate) fn may_kprobe(&self, function: &str) -> bool {
        matches!(self.kprobe(function), Kprobe::Yes | Kprobe::Perhaps(_))
    }

    /// Whether there is, or may be, a function of this name, whatever can be attached to it.
    pub(crate) fn is_there(&self, function: &str) -> bool {
        !matches!(
            self.traceable(function),
            Kprobe::NoSymbol { .. } | Kprobe::NotCode
        )
    }

    /// Whether fentry may attach to this function, and if not, why.
    ///
    /// Only functions of the kernel itself: aya (0.14) has no way to say in which module's types a function is.
    pub(crate) fn fentry(&self, function: &str) -> Result<(), String> {
        let btf = self.btf.as_ref().map_err(ToString::to_string)?;
        match self.traceable(function) {
            Kprobe::Yes | Kprobe::Perhaps(_) | Kprobe::Blacklisted => {}
            no => return Err(no.to_string()),
        }
        match btf.function(function) {
            Ok(_) => Ok(()),
            Err(Absent::NoSuch { .. }) => {
                Err("fentry needs its types, and those of modules are not looked at".into())
            }
            Err(absent) => Err(absent.to_string()),
        }
    }

    /// Whether a function of the kernel itself is a `read_iter` or `write_iter`, as its own types say.
    pub(crate) fn is_iter(&self, function: &str) -> bool {
        let arguments = ["struct kiocb *", "struct iov_iter *"];
        self.function(function)
            .is_some_and(|f| f.returns == "ssize_t")
            && self.takes(function, &arguments)
    }

    /// Whether a function of the kernel itself takes arguments of exactly these types.
    pub(crate) fn takes(&self, function: &str, arguments: &[&str]) -> bool {
        self.function(function).is_some_and(|f| {
            f.params
                .iter()
                .map(|(_, of)| of.as_str())
                .eq(arguments.iter().copied())
        })
    }

    fn function(&self, name: &str) -> Option<Function> {
        self.btf.as_ref().ok()?.function(name).ok()
    }

    /// Whether the kernel has the tracepoint.
    pub(crate) fn has_tracepoint(&self, name: &str) -> bool {
        self.btf.as_ref().is_ok_and(|btf| btf.has_tracepoint(name))
    }

    /// The types of a tracepoint's arguments; `None` where the kernel does not have it.
    pub(crate) fn tracepoint_arguments(&self, name: &str) -> Option<Vec<String>> {
        self.btf.as_ref().ok()?.tracepoint_args(name).ok()
    }

    /// Offset of a member in bytes; `None` where this kernel does not have it, under its name of today either.
    pub(crate) fn offset(&self, structure: &str, member: &str) -> Option<u32> {
        let btf = self.btf.as_ref().ok()?;
        let renamed = || {
            let now = RENAMED
                .iter()
                .find(|(of, was, _)| (*of, *was) == (structure, member))?;
            btf.field(structure, now.2).ok()
        };
        let field = btf.field(structure, member).ok().or_else(renamed)?;
        field.bits.is_none().then_some(field.offset_bytes)
    }

    /// Whether a structure has a member, be it a bitfield.
    pub(crate) fn has_member(&self, structure: &str, member: &str) -> bool {
        let btf = self.btf.as_ref();
        btf.is_ok_and(|btf| btf.field(structure, member).is_ok())
    }

    /// Members the programs would like to read and this kernel does not have.
    pub(crate) fn absent_members(&self) -> Vec<String> {
        Offsets::resolve(|structure, member| self.offset(structure, member))
            .named()
            .filter(|(_, _, offset)| *offset == ABSENT)
            .map(|(structure, member, _)| format!("{structure}.{member}"))
            .collect()
    }

    /// Number of a flag of bios, as the mask that `bi_opf` holds.
    pub(crate) fn bio_flag(&self, name: &str) -> Option<u32> {
        let bit = self
            .btf
            .as_ref()
            .ok()?
            .enum_value("req_flag_bits", name)
            .ok()?;
        1u32.checked_shl(u32::try_from(bit).ok()?)
    }

    /// Address of a function; `None` where it is missing, hidden, or one of several.
    pub(crate) fn address(&self, function: &str) -> Option<u64> {
        let mut found = self
            .symbols
            .as_ref()
            .ok()?
            .exact(function)?
            .filter(|symbol| symbol.is_code());
        let symbol = found.next()?;
        (found.next().is_none() && symbol.address != 0).then_some(symbol.address)
    }

    /// The filesystems that the kernel knows now: one whose module is loaded later has no probes in it.
    pub(crate) fn filesystems(&self) -> Option<BTreeSet<String>> {
        let text = self.root.text("/proc/filesystems").ok()?;
        let name = |line: &str| line.split('\t').next_back().map(str::to_owned);
        Some(text.lines().filter_map(name).collect())
    }

    /// What lay on what when the kernel was looked at.
    pub(crate) fn storage(&self) -> Storage<'_> {
        Storage::by(&self.root, self.mounts.as_ref().ok())
    }

    /// The filesystem's number as the kernel has it: what stat(2) says of a file on btrfs is another.
    pub(crate) fn dev_of(&self, dir: &Path) -> Option<Dev> {
        Some(self.mounts.as_ref().ok()?.of_path(dir)?.dev)
    }

    /// Type of the filesystem that a folder lies on.
    pub(crate) fn fs_of(&self, dir: &Path) -> Option<String> {
        Some(self.mounts.as_ref().ok()?.of_path(dir)?.fs.clone())
    }

    /// The device that a folder's filesystem lies on, for a person.
    pub(crate) fn device_of(&self, dir: &Path) -> String {
        let Some(mount) = self
            .mounts
            .as_ref()
            .ok()
            .and_then(|mounts| mounts.of_path(dir))
        else {
            return "an unknown device".into();
        };
        self.device_named(mount.dev)
    }

    /// A device, or those that a filesystem with this number lies on, for a person.
    pub(crate) fn device_named(&self, dev: Dev) -> String {
        let devices = self.storage().devices(dev);
        let told = devices.iter().map(|block| {
            let cache = match block.write_cache {
                Some(WriteCache::WriteBack) => "write-back cache",
                Some(WriteCache::WriteThrough) => "no volatile cache",
                None => "cache not known",
            };
            let fua = match block.fua {
                Some(true) => "FUA",
                Some(false) => "no FUA",
                None => "FUA not known",
            };
            format!("{} ({cache}, {fua})", block.name)
        });
        let told = told.collect::<Vec<_>>().join(", ");
        if told.is_empty() {
            format!("no block device ({dev})")
        } else {
            told
        }
    }

    /// `6.1.0-50-cloud-amd64`
    pub(crate) fn release_name(&self) -> String {
        self.release.as_ref().map_or_else(
            |unseen| unseen.to_string(),
            |release| release.release.clone(),
        )
    }

    /// What a person wants to know of the kernel first, as name and value.
    pub(crate) fn facts(&self) -> Vec<(&'static str, String)> {
        fn say<T>(seen: &Seen<T>, say: impl FnOnce(&T) -> String) -> String {
            seen.as_ref().map_or_else(
                |unseen| format!("not seen: {unseen}{}", unseen.way_out()),
                say,
            )
        }
        vec![
            ("kernel", self.release_name()),
            ("lockdown", say(&self.lockdown, ToString::to_string)),
            ("BTF", say(&self.btf, |btf| format!("{} types", btf.len()))),
            (
                "kprobes",
                self.kprobes()
                    .err()
                    .map_or_else(|| "yes".into(), |why| format!("no: {why}")),
            ),
            (
                "tracefs",
                say(&self.tracefs, |t| t.file("").display().to_string()),
            ),
            (
                "symbols",
                say(&self.symbols, |s| {
                    format!(
                        "{}{}",
                        s.total,
                        if s.addresses_hidden {
                            ", addresses hidden"
                        } else {
                            ""
                        }
                    )
                }),
            ),
            (
                "privileges",
                say(&self.privileges, |p| match p.lack() {
                    None => "enough to trace".into(),
                    Some(lack) => format!("not enough to trace: uid {}, {lack}", p.uid),
                }),
            ),
        ]
    }
}
