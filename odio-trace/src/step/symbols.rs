//! Addresses to names, for stacks: the whole of `/proc/kallsyms`.

use std::io::BufRead;

use crate::kernel::{Kernel, kallsyms};

/// Further behind the last symbol before it an address is in no function.
const LONGEST_FUNCTION: u64 = 1 << 20;

/// The helper by which the programs take a stack (Linux 5.11).
const HELPER: &str = "bpf_get_current_task_btf";

/// All functions, by address.
#[derive(Debug)]
pub(crate) struct Symbols(Vec<(u64, String)>);

impl Symbols {
    /// Reads them all; the error is why stacks cannot be had.
    pub(crate) fn of(kernel: &Kernel) -> Result<Self, String> {
        let lines = kernel
            .root()
            .open(kallsyms::PATH)
            .map_err(|unseen| unseen.to_string())?;
        Self::scan(lines).map_err(|why| match why {
            Why::Hidden => {
                let restrict = kernel
                    .root()
                    .value::<u32>("/proc/sys/kernel/kptr_restrict")
                    .map_or_else(|_| "unknown".to_owned(), |value| value.to_string());
                format!(
                    "{} hides the addresses (kernel.kptr_restrict is {restrict}; CAP_SYSLOG shows them up to 1)",
                    kallsyms::PATH
                )
            }
            Why::Said(why) => why,
        })
    }

    pub(crate) fn scan(mut lines: impl BufRead) -> Result<Self, Why> {
        let mut functions = Vec::new();
        let (mut helper, mut hidden) = (false, true);
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = lines
                .read_until(b'\n', &mut line)
                .map_err(|error| Why::Said(format!("{}: {error}", kallsyms::PATH)))?;
            if read == 0 {
                break;
            }
            let Some((address, kind, name, module)) = kallsyms::parse(&line) else {
                continue;
            };
            let address = std::str::from_utf8(address)
                .ok()
                .and_then(|hex| u64::from_str_radix(hex, 16).ok())
                .unwrap_or(0);
            hidden &= address == 0;
            if !matches!(kind, 't' | 'T' | 'w' | 'W') {
                continue;
            }
            helper |= name == HELPER;
            functions.push((
                address,
                module.map_or_else(|| name.to_owned(), |module| format!("{name} [{module}]")),
            ));
        }
        if hidden {
            return Err(Why::Hidden);
        }
        if !helper {
            return Err(Why::Said(format!("this kernel has no {HELPER}")));
        }
        // Of several names at one place the first stays first.
        functions.sort_by_key(|(address, _)| *address);
        functions.dedup_by_key(|(address, _)| *address);
        Ok(Self(functions))
    }

    /// The calls of a stack by name, the innermost first, from the probed `function` on.
    pub(crate) fn calls(&self, stack: &[u64], function: Option<&str>) -> Vec<String> {
        let names: Vec<Option<(&str, u64)>> =
            stack.iter().map(|&address| self.name(address)).collect();
        let is =
            |call: &Option<(&str, u64)>| call.is_some_and(|(name, _)| Some(bare(name)) == function);
        // A tracepoint is no function: its own are left out.
        let first = names.iter().position(is).unwrap_or_else(|| {
            let own =
                |call: &Option<(&str, u64)>| call.is_none_or(|(name, _)| is_tracing(bare(name)));
            names.iter().take_while(|call| own(call)).count()
        });
        names[first..]
            .iter()
            .map(|call| match call {
                Some((name, offset)) => match name.split_once(' ') {
                    Some((name, module)) => format!("{name}+{offset:#x} {module}"),
                    None => format!("{name}+{offset:#x}"),
                },
                // An address is never shown.
                None => "?".to_owned(),
            })
            .collect()
    }

    /// The function that an address is in, and how far.
    fn name(&self, address: u64) -> Option<(&str, u64)> {
        let after = self.0.partition_point(|(start, _)| *start <= address);
        let (start, name) = self.0.get(after.checked_sub(1)?)?;
        let offset = address - start;
        (offset < LONGEST_FUNCTION).then_some((name.as_str(), offset))
    }
}

pub(crate) enum Why {
    Hidden,
    Said(String),
}

/// Without its module.
fn bare(name: &str) -> &str {
    name.split(' ').next().unwrap_or(name)
}

/// Whether it is part of how a program is called at a tracepoint or function.
fn is_tracing(name: &str) -> bool {
    const BEGINNINGS: [&str; 13] = [
        "bpf_",
        "__bpf_",
        "__traceiter_",
        "__probestub_",
        "stack_trace_",
        "arch_stack_walk",
        "get_callchain",
        "kprobe_",
        "kretprobe_",
        "rethook_",
        "arch_rethook_",
        "trace_call_bpf",
        "ftrace_",
    ];
    BEGINNINGS.iter().any(|begin| name.starts_with(begin))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "ffffffff81000000 T submit_bio\n\
        ffffffff81000000 T submit_bio_alias\n\
        ffffffff81000100 t iomap_dio_submit_bio\n\
        ffffffff81000200 D data\n\
        ffffffff81000300 T bpf_get_current_task_btf\n\
        ffffffff81000400 t bpf_trace_run1\n\
        ffffffff81000500 t __traceiter_block_bio_queue\n\
        ffffffff81000600 t kretprobe_dispatcher\n\
        ffffffff81000700 t arch_rethook_trampoline\n\
        ffffffffc0000000 t ext4_file_write_iter\t[ext4]\n";

    fn symbols(table: &str) -> Result<Symbols, &'static str> {
        Symbols::scan(table.as_bytes()).map_err(|why| match why {
            Why::Hidden => "hidden",
            Why::Said(_) => "said",
        })
    }

    #[test]
    fn calls_have_names_and_never_addresses() {
        let symbols = symbols(TABLE).unwrap();
        let stack = [
            0xffff_ffff_8100_0410,
            0xffff_ffff_8100_0610,
            0xffff_ffff_8100_0710,
            0xffff_ffff_8100_0005,
            0xffff_ffff_8100_0123,
            0xffff_ffff_c000_0040,
            0xffff_ffff_c900_0000,
            0x10,
        ];
        let inner = [
            "submit_bio+0x5",
            "iomap_dio_submit_bio+0x23",
            "ext4_file_write_iter+0x40 [ext4]",
            "?",
            "?",
        ];
        assert_eq!(symbols.calls(&stack, Some("submit_bio")), inner);
        // A tracepoint, or a function that is not told: what calls the program is left out.
        assert_eq!(symbols.calls(&stack, Some("block_bio_queue")), inner);
        assert_eq!(symbols.calls(&stack, None), inner);
        assert!(symbols.calls(&[], None).is_empty());
    }

    #[test]
    fn what_is_hidden_or_too_old_is_said() {
        let hidden = TABLE
            .replace("ffffffff81000", "0000000000000")
            .replace("ffffffffc0000", "0000000000000");
        let zero: String = hidden
            .lines()
            .map(|line| format!("0000000000000000{}\n", &line[16..]))
            .collect();
        assert_eq!(symbols(&zero).unwrap_err(), "hidden");
        assert_eq!(symbols("").unwrap_err(), "hidden");
        let old = TABLE.replace("bpf_get_current_task_btf", "x");
        assert_eq!(symbols(&old).unwrap_err(), "said");
    }
}
