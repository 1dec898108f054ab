//! # What this kernel is
//!
//! Looks at the running kernel and says what it has: types and their layouts, symbols, tracepoints, what may be probed,
//! what is forbidden, what is mounted where and on which device. It reads `/proc`, `/sys`, `/boot` and tracefs, writes
//! nothing, mounts nothing and needs no privilege: what an unprivileged user may not see is told as not seen.
//!
//! [`Kernel::survey`] gathers all of it and never fails as a whole. Each part is a [`Seen`]: the fact, or an [`Unseen`]
//! with the path and the reason in plain words, because "there is none" and "I could not look" lead to different verdicts.
//!
//! Everything is read through a [`Root`], so all of it is tested on the files of booted kernels (`testdata/kernel`).

mod ask;
pub(crate) mod block;
pub(crate) mod btf;
pub(crate) mod caps;
pub(crate) mod config;
pub(crate) mod dev;
pub(crate) mod filter_functions;
pub(crate) mod kallsyms;
pub(crate) mod kprobe;
pub(crate) mod lockdown;
pub(crate) mod mounts;
pub(crate) mod release;
pub(crate) mod root;
pub(crate) mod storage;
pub(crate) mod tracefs;
pub(crate) mod view;

pub(crate) use self::block::{Block, Cache, WriteCache};
pub(crate) use self::btf::Btf;
pub(crate) use self::caps::Privileges;
pub(crate) use self::config::Config;
pub(crate) use self::dev::Dev;
pub(crate) use self::filter_functions::{Blacklist, FilterFunctions};
pub(crate) use self::kallsyms::Symbols;
pub(crate) use self::kprobe::Kprobe;
pub(crate) use self::lockdown::Lockdown;
pub(crate) use self::mounts::Mounts;
pub(crate) use self::release::Release;
pub(crate) use self::root::{Root, Seen};
pub(crate) use self::storage::Storage;
pub(crate) use self::tracefs::Tracefs;

/// What was seen of a kernel, at one moment: modules that are loaded and filesystems that are mounted later are not in it.
#[derive(Debug)]
pub(crate) struct Kernel {
    root: Root,
    pub(crate) release: Seen<Release>,
    pub(crate) config: Seen<Config>,
    pub(crate) lockdown: Seen<Lockdown>,
    pub(crate) privileges: Seen<Privileges>,
    /// The types of the kernel itself, without those of its modules.
    pub(crate) btf: Seen<Btf>,
    pub(crate) symbols: Seen<Symbols>,
    pub(crate) mounts: Seen<Mounts>,
    pub(crate) tracefs: Seen<Tracefs>,
    pub(crate) filter_functions: Seen<FilterFunctions>,
    pub(crate) blacklist: Seen<Blacklist>,
    /// The perf event type of kprobes: that it is there is the live evidence that this kernel has them.
    pub(crate) kprobe_type: Seen<u32>,
}

impl Kernel {
    /// Looks at everything once. `symbols` are the functions that will be asked about, named as in the source.
    pub(crate) fn survey(root: &Root, symbols: &[&str]) -> Self {
        let release = Release::read(root);
        let name = release.as_ref().ok().map(|r| r.release.as_str());
        let config = Config::read(root, name, config::KEYS);
        let mounts = Mounts::read(root);
        let tracefs = Tracefs::find(root, &mounts);
        Self {
            config,
            release,
            lockdown: Lockdown::read(root, &mounts),
            privileges: Privileges::read(root),
            btf: Btf::load(root),
            symbols: Symbols::read(root, symbols),
            filter_functions: tracefs.clone().and_then(|tracefs| {
                let list = tracefs.file("available_filter_functions");
                FilterFunctions::read(root, &list, symbols)
            }),
            blacklist: tracefs::debugfs(&mounts)
                .and_then(|debugfs| Blacklist::read(root, &debugfs, symbols)),
            kprobe_type: kprobe::pmu_type(root),
            tracefs,
            mounts,
            root: root.clone(),
        }
    }

    /// Whether a kprobe may attach to a symbol of exactly this name, which may have a suffix.
    pub(crate) fn kprobe(&self, name: &str) -> Kprobe {
        self.evidence().weigh(name)
    }

    /// What [`Self::kprobe`] says of the symbol alone, whatever the kernel says of kprobes.
    pub(crate) fn traceable(&self, name: &str) -> Kprobe {
        self.evidence().weigh_symbol(name)
    }

    fn evidence(&self) -> kprobe::Evidence<'_> {
        kprobe::Evidence {
            pmu_type: &self.kprobe_type,
            lockdown: &self.lockdown,
            symbols: &self.symbols,
            blacklist: &self.blacklist,
            filter_functions: &self.filter_functions,
        }
    }

    /// Where this kernel's files are read from.
    pub(crate) fn root(&self) -> &Root {
        &self.root
    }
}

/// The files of a booted kernel.
#[cfg(test)]
pub(crate) fn canned(kernel: &str) -> Root {
    Root::at(format!(
        "{}/testdata/kernel/{kernel}",
        env!("CARGO_MANIFEST_DIR")
    ))
}

/// The symbols that the canned kallsyms were reduced to.
#[cfg(test)]
fn canned_symbols() -> Vec<String> {
    canned("")
        .text("/symbols.txt")
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn survey(root: &Root) -> Kernel {
        let symbols = canned_symbols();
        Kernel::survey(
            root,
            &symbols.iter().map(String::as_str).collect::<Vec<_>>(),
        )
    }

    #[test]
    fn a_booted_kernel_is_seen_whole() {
        for kernel in ["5.10", "6.1", "6.12", "7.2"] {
            let seen = survey(&canned(kernel));
            let release = seen.release.as_ref().unwrap();
            assert!(release.release.starts_with(kernel));
            assert_eq!(seen.lockdown, Ok(Lockdown::None));
            assert!(seen.privileges.as_ref().unwrap().may_trace());
            assert!(seen.btf.as_ref().unwrap().field("bio", "bi_opf").is_ok());
            assert!(seen.tracefs.is_ok() && seen.mounts.is_ok());
            assert!(seen.symbols.is_ok() && seen.filter_functions.is_ok());
            assert!(seen.blacklist.is_ok() && seen.kprobe_type.is_ok());
            assert_eq!(seen.kprobe("submit_bio"), Kprobe::Yes);
            let data = seen.mounts.as_ref().unwrap().of_fs("ext4").next().unwrap();
            let disk = Block::read(&canned(kernel), data.dev).unwrap();
            assert_eq!(disk.write_cache, Some(WriteCache::WriteBack), "{kernel}");
        }
    }

    #[test]
    fn an_empty_machine_gives_a_reason_for_each_part() {
        let dir = tempfile::tempdir().unwrap();
        let seen = survey(&Root::at(dir.path()));
        let reasons = [
            seen.release.as_ref().err(),
            seen.config.as_ref().err(),
            seen.lockdown.as_ref().err(),
            seen.privileges.as_ref().err(),
            seen.btf.as_ref().err(),
            seen.symbols.as_ref().err(),
            seen.mounts.as_ref().err(),
            seen.tracefs.as_ref().err(),
            seen.filter_functions.as_ref().err(),
            seen.blacklist.as_ref().err(),
            seen.kprobe_type.as_ref().err(),
        ];
        for reason in reasons {
            let reason = reason.expect("nothing is there to be seen");
            assert!(reason.to_string().contains("does not exist"), "{reason}");
        }
        assert!(matches!(seen.kprobe("submit_bio"), Kprobe::NoKprobes(_)));
    }

    #[test]
    fn this_machine_is_surveyed_whatever_it_is() {
        let seen = survey(&Root::system());
        // The test itself has been read from a filesystem that is mounted somewhere.
        assert!(seen.release.is_ok() && seen.mounts.unwrap().iter().count() > 0);
        assert!(seen.privileges.is_ok());
    }
}
