//! Every way to see a hook that is known, whether or not it can be had here.

use odio_trace_common::Hook;

use super::{ALWAYS, FUNCTIONS, Kind, Plan, Probe, RQ_ISSUE, TRACEPOINTS, iters};
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

/// In the order of the hooks, and of each hook in the order in which they are wanted. What `plan` has besides what the
/// tables name is there too.
pub(crate) fn candidates(kernel: &Kernel, plan: &Plan) -> Vec<Candidate> {
    let no_kprobes = kernel.kprobes().err();
    let kprobe = |function: &str| match (&no_kprobes, kernel.kprobe(function)) {
        (Some(why), _) => Some(why.clone()),
        (None, Kprobe::Yes | Kprobe::Perhaps(_)) => None,
        (None, no) => Some(no.to_string()),
    };
    // A kernel says nowhere whether fentry can be had: the plan has none where it was tried and refused.
    let any_fentry = plan
        .probes
        .iter()
        .any(|probe| matches!(probe.kind, Kind::Fentry | Kind::Fexit));
    let fentry = |function: &str| match kernel.fentry(function) {
        Ok(()) if !any_fentry => Some("it was refused, or is not to be used".to_owned()),
        Ok(()) => None,
        Err(why) => Some(why),
    };
    let fexit = |function: &str| {
        let untyped = (!kernel.is_iter(function))
            .then(|| "the kernel's own types do not describe this function".to_owned());
        untyped.or_else(|| fentry(function))
    };
    let tracepoint = |name: &str| {
        (!kernel.has_tracepoint(name)).then(|| "this kernel has no such tracepoint".to_owned())
    };

    let mut all = Vec::new();
    let mut add = |hook, kind, target: &str, why_not| {
        all.push(Candidate {
            hook,
            kind,
            target: target.into(),
            why_not,
        });
    };
    for &(hook, _, functions) in FUNCTIONS {
        for function in functions {
            add(hook, Kind::Fentry, function, fentry(function));
            add(hook, Kind::Kprobe, function, kprobe(function));
        }
    }
    for function in iters() {
        add(Hook::OpReturn, Kind::Fexit, function, fexit(function));
        add(Hook::OpReturn, Kind::Kretprobe, function, kprobe(function));
    }
    for &(hook, _, target) in TRACEPOINTS {
        add(hook, Kind::RawTracepoint, target, tracepoint(target));
    }
    for &(hook, _, target) in ALWAYS {
        add(hook, Kind::RawTracepoint, target, None);
    }
    for kind in [Kind::BtfTracepoint, Kind::RawTracepoint] {
        add(Hook::FuaIssue, kind, RQ_ISSUE, tracepoint(RQ_ISSUE));
    }
    for probe in &plan.probes {
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
