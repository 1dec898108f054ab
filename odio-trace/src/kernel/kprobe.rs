//! # Whether a kprobe may attach to a function
//!
//! Weighs what the other files of this room have seen, live evidence first. A yes is still only the kernel's word that
//! it would accept the probe: whether the probe sees anything is for calibration to tell.

use std::fmt;

use super::filter_functions::{Blacklist, FilterFunctions};
use super::kallsyms::Symbols;
use super::lockdown::Lockdown;
use super::root::{Root, Seen, Unseen, Why};

/// The perf event source of kprobes. It exists exactly when kprobes can be made through perf_event_open.
const PMU: &str = "/sys/bus/event_source/devices/kprobe/type";

/// The perf event type of kprobes.
pub(crate) fn pmu_type(root: &Root) -> Seen<u32> {
    root.value(PMU)
}

/// May a kprobe attach?
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kprobe {
    /// Everything that could speak against it was looked at.
    Yes,
    /// Nothing speaks against it, but this could not be looked at.
    Perhaps(Unseen),
    /// The kernel has no kprobes for perf.
    NoKprobes(Unseen),
    /// Lockdown refuses kprobes.
    LockedDown,
    /// There is no such symbol; these variants of it there are.
    NoSymbol { variants: Vec<String> },
    /// The symbol is not a function.
    NotCode,
    /// So many functions have this name that the kernel would refuse, or take the first.
    Ambiguous(usize),
    /// The kernel keeps kprobes out of it.
    Blacklisted,
    /// It is marked not to be traced.
    NotTraceable,
}

/// What there is to weigh.
pub(crate) struct Evidence<'a> {
    pub(crate) pmu_type: &'a Seen<u32>,
    pub(crate) lockdown: &'a Seen<Lockdown>,
    pub(crate) symbols: &'a Seen<Symbols>,
    pub(crate) blacklist: &'a Seen<Blacklist>,
    pub(crate) filter_functions: &'a Seen<FilterFunctions>,
}

impl Evidence<'_> {
    /// For a symbol of exactly this name, which may have a suffix.
    pub(crate) fn weigh(&self, name: &str) -> Kprobe {
        match self.pmu_type {
            Err(
                unseen @ Unseen {
                    why: Why::Absent, ..
                },
            ) => return Kprobe::NoKprobes(unseen.clone()),
            Err(unseen) => return Kprobe::Perhaps(unseen.clone()),
            Ok(_) => {}
        }
        if *self.lockdown == Ok(Lockdown::Confidentiality) {
            return Kprobe::LockedDown;
        }
        self.weigh_symbol(name)
    }

    /// The same without what the kernel says of kprobes as a whole.
    pub(crate) fn weigh_symbol(&self, name: &str) -> Kprobe {
        let not_asked = || Kprobe::Perhaps(Unseen::new(name, Why::Garbled("not surveyed".into())));
        let symbols = match self.symbols {
            Ok(symbols) => symbols,
            Err(unseen) => return Kprobe::Perhaps(unseen.clone()),
        };
        let Some(found) = symbols.exact(name) else {
            return not_asked();
        };
        let found: Vec<_> = found.collect();
        if found.is_empty() {
            return Kprobe::NoSymbol {
                variants: symbols
                    .variants(name)
                    .into_iter()
                    .flatten()
                    .map(|symbol| symbol.name.clone())
                    .collect(),
            };
        }
        match found.iter().filter(|symbol| symbol.is_code()).count() {
            0 => return Kprobe::NotCode,
            1 => {}
            more => return Kprobe::Ambiguous(more),
        }
        if let Ok(list) = self.blacklist
            && list.has(name) == Some(true)
        {
            return Kprobe::Blacklisted;
        }
        match self.filter_functions {
            Ok(list) => match list.has(name) {
                Some(true) => {}
                Some(false) => return Kprobe::NotTraceable,
                None => return not_asked(),
            },
            Err(unseen) => return Kprobe::Perhaps(unseen.clone()),
        }
        // Where ftrace lists the function, the blacklist has little left to add: it need not have been readable.
        Kprobe::Yes
    }
}

impl Kprobe {
    /// The one variant that the compiler left with the function's body but not its arguments (`.isra.0`).
    pub(crate) fn with_other_arguments(&self) -> Option<&str> {
        let Self::NoSymbol { variants } = self else {
            return None;
        };
        let mut whole = variants.iter().filter(|name| name.contains(".isra."));
        let only = whole.next()?;
        (whole.next().is_none() && !only.contains(".cold")).then_some(only)
    }
}

/// Yes, or the reason why not.
impl fmt::Display for Kprobe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Yes => f.write_str("yes"),
            Self::Perhaps(unseen) => write!(f, "perhaps: {unseen}"),
            Self::NoKprobes(unseen) => write!(f, "this kernel has no kprobes ({unseen})"),
            Self::LockedDown => f.write_str("lockdown is at confidentiality"),
            Self::NoSymbol { variants } if variants.is_empty() => f.write_str(
                "there is no such symbol (inlined, renamed, or its module is not loaded)",
            ),
            Self::NoSymbol { variants } => {
                write!(f, "the compiler left only {}", variants.join(", "))
            }
            Self::NotCode => f.write_str("it is not a function"),
            Self::Ambiguous(count) => write!(f, "{count} functions have this name"),
            Self::Blacklisted => f.write_str("it is on the kernel's kprobe blacklist"),
            Self::NotTraceable => f.write_str("it is marked not to be traced"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::root::Root;
    use super::super::{Kernel, canned, canned_symbols};
    use super::*;

    fn survey(root: &Root) -> Kernel {
        let symbols = canned_symbols();
        Kernel::survey(
            root,
            &symbols.iter().map(String::as_str).collect::<Vec<_>>(),
        )
    }

    #[test]
    fn the_answers_of_booted_kernels() {
        let five = survey(&canned("5.10"));
        assert_eq!(five.kprobe("submit_bio"), Kprobe::Yes);
        assert_eq!(five.kprobe("do_blockdev_direct_IO"), Kprobe::NotTraceable);
        assert_eq!(five.kprobe("io_queue_async_work"), Kprobe::Yes);
        assert_eq!(five.kprobe("asm_exc_divide_error"), Kprobe::Blacklisted);
        let six = survey(&canned("6.1"));
        assert_eq!(
            six.kprobe("dio_await_completion"),
            Kprobe::NoSymbol { variants: vec![] }
        );
        assert_eq!(six.kprobe("blkdev_direct_IO.part.0"), Kprobe::Yes);
        assert!(matches!(six.kprobe("never_surveyed"), Kprobe::Perhaps(_)));
    }

    /// A canned kernel with some files replaced (or, with `None`, removed).
    fn changed(files: &[(&str, Option<&str>)]) -> Kernel {
        fn copy(from: &std::path::Path, to: &std::path::Path) {
            fs::create_dir_all(to).unwrap();
            for entry in fs::read_dir(from).unwrap() {
                let entry = entry.unwrap();
                let to = to.join(entry.file_name());
                let kind = entry.file_type().unwrap();
                if kind.is_dir() {
                    copy(&entry.path(), &to);
                } else if kind.is_symlink() {
                    let link = fs::read_link(entry.path()).unwrap();
                    std::os::unix::fs::symlink(link, to).unwrap();
                } else {
                    fs::copy(entry.path(), &to).unwrap();
                }
            }
        }
        let dir = tempfile::tempdir().unwrap();
        copy(&canned("6.1").path("/"), dir.path());
        for (path, text) in files {
            let path = Root::at(dir.path()).path(path);
            match text {
                Some(text) => fs::write(path, text).unwrap(),
                None => fs::remove_file(path).unwrap(),
            }
        }
        survey(&Root::at(dir.path()))
    }

    #[test]
    fn each_thing_that_speaks_against_it() {
        const KALLSYMS: &str = "/proc/kallsyms";
        const LIST: &str = "/sys/kernel/tracing/available_filter_functions";
        let of = |files: &[(&str, Option<&str>)]| changed(files).kprobe("submit_bio");
        assert_eq!(of(&[]), Kprobe::Yes);
        assert!(matches!(of(&[(PMU, None)]), Kprobe::NoKprobes(_)));
        assert!(matches!(of(&[(PMU, Some("x"))]), Kprobe::Perhaps(_)));
        assert!(matches!(of(&[(LIST, None)]), Kprobe::Perhaps(_)));
        assert!(matches!(of(&[(KALLSYMS, None)]), Kprobe::Perhaps(_)));
        assert_eq!(
            of(&[(
                "/sys/kernel/security/lockdown",
                Some("none integrity [confidentiality]")
            )]),
            Kprobe::LockedDown
        );
        assert_eq!(
            of(&[(KALLSYMS, Some("01 t submit_bio.isra.0\n"))]),
            Kprobe::NoSymbol {
                variants: vec!["submit_bio.isra.0".into()]
            }
        );
        assert_eq!(
            of(&[(KALLSYMS, Some("01 t submit_bio\n02 t submit_bio\t[m]\n"))]),
            Kprobe::Ambiguous(2)
        );
        assert_eq!(
            of(&[(KALLSYMS, Some("01 d submit_bio\n"))]),
            Kprobe::NotCode
        );
        // A variable of the same name is no rival.
        assert_eq!(
            of(&[(KALLSYMS, Some("01 d submit_bio\n02 T submit_bio\n"))]),
            Kprobe::Yes
        );
    }
}
