//! Every way to see a hook that is known, whether or not it can be had here.

use odio_trace_common::Hook;

use super::{KPROBES, Kind, Probe, READ_ITERS, TRACEPOINTS, WRITE_ITERS};
use crate::kernel::{Kernel, Kprobe};

/// A probe that might show a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) hook: Hook,
    pub(crate) kind: Kind,
    pub(crate) target: String,
    /// Why it cannot be had here; `None` where it can, as far as is known without trying.
    pub(crate) why_not: Option<String>,
}

impl Candidate {
    pub(crate) fn is(&self, probe: &Probe) -> bool {
        (self.hook, self.kind, self.target.as_str())
            == (probe.hook, probe.kind, probe.target.as_str())
    }
}

/// In the order of the hooks, and in each hook's the better ones first. Probes of `plan` that no table names are there
/// too.
pub(crate) fn candidates(kernel: &Kernel, planned: &[Probe]) -> Vec<Candidate> {
    let no_kprobes = kernel.kprobes().err();
    let kprobe = |function: &str| match (&no_kprobes, kernel.kprobe(function)) {
        (Some(why), _) => Some(why.clone()),
        (None, Kprobe::Yes | Kprobe::Perhaps(_)) => None,
        (None, no) => Some(no.to_string()),
    };
    let mut all = Vec::new();
    for &(hook, _, functions) in KPROBES {
        all.extend(functions.iter().map(|function| Candidate {
            hook,
            kind: Kind::Kprobe,
            target: (*function).into(),
            why_not: kprobe(function),
        }));
    }
    for function in WRITE_ITERS.iter().chain(READ_ITERS) {
        let untyped = || {
            (!kernel.is_iter(function))
                .then(|| "the kernel's own types do not describe this function".to_owned())
        };
        all.push(Candidate {
            hook: Hook::OpReturn,
            kind: Kind::Fexit,
            target: (*function).into(),
            why_not: kprobe(function).or_else(untyped),
        });
        all.push(Candidate {
            hook: Hook::OpReturn,
            kind: Kind::Kretprobe,
            target: (*function).into(),
            why_not: kprobe(function),
        });
    }
    for &(hook, _, target) in TRACEPOINTS {
        all.push(Candidate {
            hook,
            kind: Kind::RawTracepoint,
            target: target.into(),
            why_not: (!kernel.has_tracepoint(target))
                .then(|| "this kernel has no such tracepoint".to_owned()),
        });
    }
    for probe in planned {
        if !all.iter().any(|candidate| candidate.is(probe)) {
            all.push(Candidate {
                hook: probe.hook,
                kind: probe.kind,
                target: probe.target.clone(),
                why_not: None,
            });
        }
    }
    all.sort_by_key(|candidate| candidate.hook);
    all
}
