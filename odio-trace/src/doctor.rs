//! # `odio-trace doctor`: what can be proven on this kernel
//!
//! Without the privilege to trace it says what was planned, and why it was not tried.

use std::{collections::BTreeMap, path::Path};

use anyhow::Result;
use odio_trace_common::Hook;
use odio_trace_common::ScopeConfig;
use serde_json::{Value, json};

use crate::{
    calibrate::{self, Calibration},
    clauses::{Answer, CLAUSES, Clause, Provable, Reach},
    cli,
    kernel::{Kernel, Seen, caps::Cap},
    output::{
        json,
        summary::{Unseen, unseen},
        text,
    },
    plan::{self, Candidate, Missing, Plan, Probe, Watched},
    session::{self, Session},
};

/// What became of the plan when it was tried.
struct Trial {
    attached: Vec<Probe>,
    missing: Vec<Missing>,
    /// Why it was not tried.
    untried: Option<String>,
    /// What known requests in the current folder showed of the probes; `None` where none were made.
    calibration: Option<Calibration>,
}

/// All that the doctor says; both forms are made from it.
struct Findings<'a> {
    kernel: &'a Kernel,
    trial: Trial,
    candidates: Vec<Candidate>,
    answers: Vec<(&'static Clause, Answer)>,
}

/// Looks at the kernel, plans, tries to attach, and says all of it. Status 0: that nothing can be traced here is an
/// answer too.
pub(crate) fn run(arguments: &cli::Doctor, kernel: &Kernel) -> Result<u8> {
    let plan = session::plan(kernel, &arguments.choice);
    let trial = try_out(kernel, &plan);
    let findings = Findings::of(kernel, &plan, trial);
    if arguments.json {
        json::line(&findings.json())?;
    } else {
        text::line(findings.text())?;
    }
    Ok(0)
}

fn try_out(kernel: &Kernel, plan: &Plan) -> Trial {
    let planned = |untried| Trial {
        attached: plan.probes.clone(),
        missing: plan.missing.clone(),
        untried: Some(untried),
        calibration: None,
    };
    if let Err(error) = kernel.may_trace() {
        return planned(format!("{error:#}"));
    }
    // The ring buffer wants a reactor, though nothing is read here.
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    else {
        return planned("no event loop can be had".into());
    };
    let _inside = runtime.enter();
    match Session::start(kernel, plan, ScopeConfig::default()) {
        Ok(mut session) => {
            let calibration = calibrate::run(&mut session, kernel, Path::new("."));
            let (attached, mut missing) = session.stop(|_| ());
            missing.extend(calibration.distrusted());
            Trial {
                attached,
                missing,
                untried: None,
                calibration: Some(calibration),
            }
        }
        Err(error) => planned(format!("{error:#}")),
    }
}

impl<'a> Findings<'a> {
    fn of(kernel: &'a Kernel, plan: &Plan, trial: Trial) -> Self {
        let watched = Watched::of(&trial.attached, &trial.missing);
        let reach = Reach::of(&trial.attached, watched);
        Self {
            kernel,
            candidates: plan::candidates(kernel, plan),
            answers: CLAUSES
                .iter()
                .map(|clause| (clause, clause.answer(reach)))
                .collect(),
            trial,
        }
    }

    fn chosen(&self, candidate: &Candidate) -> bool {
        self.trial.attached.iter().any(|probe| candidate.is(probe))
    }

    /// Why a hook is missing, as the session or the plan has it.
    fn why(&self, hook: Hook) -> Option<&str> {
        self.trial
            .missing
            .iter()
            .find(|missing| missing.hook == hook)
            .map(|missing| missing.why.as_str())
    }

    /// What would make a clause provable.
    fn change(&self, answer: &Answer) -> Option<String> {
        let hook = *answer.missing.first()?;
        if self.kernel.kprobes().is_err() {
            return Some(
                "a kernel with kprobes (CONFIG_KPROBE_EVENTS=y, no lockdown at confidentiality), as `odio-trace vm -- \
                 CMD` has one"
                    .into(),
            );
        }
        let of_a_module = matches!(hook, Hook::CommitWait | Hook::CommitRun | Hook::FsFsync);
        let absent = self
            .why(hook)
            .is_some_and(|why| why.contains("its module is not loaded"));
        Some(if of_a_module && absent {
            "mount the filesystem before, so that its module is loaded (journal commits: ext4)"
                .into()
        } else {
            "another kernel: `odio-trace vm --kernel 6.12 -- CMD`".into()
        })
    }

    /// Those of this process that bear on tracing.
    fn capabilities(&self) -> Seen<Vec<&'static str>> {
        self.kernel
            .privileges
            .as_ref()
            .map(|privileges| {
                [Cap::SysAdmin, Cap::Perfmon, Cap::Bpf]
                    .into_iter()
                    .filter(|cap| privileges.has(*cap))
                    .map(Cap::name)
                    .collect()
            })
            .map_err(Clone::clone)
    }

    fn text(&self) -> String {
        let mut lines: Vec<String> = Vec::new();
        for (what, value) in self.kernel.facts() {
            lines.push(format!("{what:<14} {}", text::printable(&value)));
        }
        let capabilities = self.capabilities().map_or_else(
            |unseen| format!("not seen: {unseen}"),
            |held| match held.as_slice() {
                [] => "none that bears on tracing".into(),
                held => held.join(", "),
            },
        );
        lines.push(format!("{:<14} {capabilities}", "capabilities"));
        let calibration = match &self.trial.calibration {
            None => "no known requests were made".to_owned(),
            Some(calibration) => {
                let hooks = calibration.tried.len();
                let distrusted = calibration.distrusted().count();
                let mut line = format!("{} of {hooks} hooks saw what was sent", hooks - distrusted);
                for why in &calibration.not_sent {
                    line += &format!("; {}", text::printable(why));
                }
                line
            }
        };
        lines.push(format!("{:<14} {calibration}", "calibration"));

        lines.push("\nWhat can be proven here:".into());
        lines.push(self.clauses().trim_fmt());
        for change in self.changes() {
            lines.push(format!("- To prove more: {change}"));
        }

        lines.push("\nProbes:".into());
        lines.push(self.probes().trim_fmt());
        let missing: Vec<Unseen> = self.trial.missing.iter().map(Unseen::from).collect();
        let missing = unseen(missing.iter());
        if !missing.is_empty() {
            lines.push("\nNot seen here:".into());
            lines.extend(
                missing
                    .iter()
                    .map(|reason| format!("- {}", text::printable_lines(reason))),
            );
        }
        let absent = self.kernel.absent_members();
        if !absent.is_empty() {
            lines.push(format!(
                "\nMembers this kernel does not have (what needs them is not told): {}",
                absent.join(", ")
            ));
        }
        lines.push(match &self.trial.untried {
            Some(why) => format!(
                "\nThis is the plan; nothing was attached, so nothing is proven to work: {}",
                text::printable_lines(why)
            ),
            None => format!(
                "\n{} probes were attached and taken away again.",
                self.trial.attached.len()
            ),
        });
        lines.join("\n")
    }

    fn clauses(&self) -> comfy_table::Table {
        let mut table = text::table(&["clause", "provable", "hooks missing", "what remains"]);
        for (clause, answer) in &self.answers {
            table.add_row([
                clause.what,
                answer.provable.name(),
                &names(&answer.missing).join(", "),
                answer.remains.unwrap_or(""),
            ]);
        }
        table
    }

    /// What would help, each once.
    fn changes(&self) -> Vec<String> {
        let mut changes: Vec<String> = Vec::new();
        for (_, answer) in &self.answers {
            if answer.provable != Provable::Yes
                && let Some(change) = self.change(answer)
                && !changes.contains(&change)
            {
                changes.push(change);
            }
        }
        changes
    }

    /// One line for every hook: the probes chosen, then what else could be had.
    fn probes(&self) -> comfy_table::Table {
        let mut table = text::table(&["hook", "chosen", "could be had as well"]);
        for hook in Hook::ALL {
            let mut chosen: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
            let mut others = chosen.clone();
            for candidate in self.candidates.iter().filter(|c| c.hook == *hook) {
                let list = match (self.chosen(candidate), &candidate.why_not) {
                    (true, _) => &mut chosen,
                    (false, None) => &mut others,
                    (false, Some(_)) => continue,
                };
                list.entry(candidate.kind.name())
                    .or_default()
                    .push(&candidate.target);
            }
            let told = |by_kind: BTreeMap<&str, Vec<&str>>| {
                let kinds: Vec<String> = by_kind
                    .into_iter()
                    .map(|(kind, targets)| format!("{kind} {}", targets.join(", ")))
                    .collect();
                if kinds.is_empty() {
                    "-".to_owned()
                } else {
                    kinds.join("; ")
                }
            };
            table.add_row([hook.name().to_owned(), told(chosen), told(others)]);
        }
        table
    }

    fn json(&self) -> Value {
        let trial = &self.trial;
        json!({
            "type": "doctor",
            "kernel": self.kernel.facts().into_iter().map(|(k, v)| (k.to_owned(), Value::from(v))).collect::<serde_json::Map<_, _>>(),
            "capabilities": self.capabilities().unwrap_or_default(),
            "hooks": trial.attached.iter().map(|p| json!({
                "hook": p.hook.name(), "kind": p.kind.name(), "target": p.target,
            })).collect::<Vec<_>>(),
            "candidates": self.candidates.iter().map(|c| json!({
                "hook": c.hook.name(), "kind": c.kind.name(), "target": c.target,
                "chosen": self.chosen(c), "why_not": c.why_not,
            })).collect::<Vec<_>>(),
            "missing": trial.missing.iter().map(Unseen::from).collect::<Vec<_>>(),
            "clauses": self.answers.iter().map(|(clause, answer)| json!({
                "clause": clause.what,
                "provable": answer.provable,
                "hooks": names(&answer.missing),
                "remains": answer.remains,
                "change": self.change(answer),
            })).collect::<Vec<_>>(),
            "absent_members": self.kernel.absent_members(),
            "calibration": trial.calibration.as_ref().map(|calibration| json!({
                "tried": calibration.tried.iter().map(|(hook, sent, saw)| json!({
                    "hook": hook.name(), "sent": sent, "saw": saw,
                })).collect::<Vec<_>>(),
                "not_sent": calibration.not_sent,
            })),
            "attached": trial.untried.is_none(),
            "why_not": trial.untried,
        })
    }
}

fn names(hooks: &[Hook]) -> Vec<&'static str> {
    hooks.iter().map(|hook| hook.name()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{kernel::canned, output::schema_tests};

    fn kernel(name: &str) -> Kernel {
        Kernel::survey(&canned(name), &plan::functions().collect::<Vec<_>>())
    }

    /// What the doctor would say if this much of the plan were attached.
    fn findings<'a>(kernel: &'a Kernel, change: impl FnOnce(&mut Trial)) -> Findings<'a> {
        let plan = plan::make(kernel, Default::default(), Ok(()));
        let mut trial = Trial {
            attached: plan.probes.clone(),
            missing: plan.missing.clone(),
            untried: None,
            calibration: None,
        };
        change(&mut trial);
        Findings::of(kernel, &plan, trial)
    }

    fn provable(findings: &Findings<'_>, what: &str) -> Provable {
        let mut of = findings
            .answers
            .iter()
            .filter(|(clause, _)| clause.what.starts_with(what));
        of.next().expect("such a clause").1.provable
    }

    #[test]
    fn a_kernel_with_kprobes_proves_what_the_others_cannot() {
        let new = kernel("6.12");
        let seen = findings(&new, |_| ());
        for clause in [
            "buffered",
            "a direct",
            "FUA",
            "an fsync inside",
            "a flush",
            "a journal commit is",
        ] {
            assert_eq!(provable(&seen, clause), Provable::Yes, "{clause}");
        }
        let json = seen.json();
        schema_tests::holds(&json);
        assert_eq!(json["attached"], true);
        // The one probe that is used shows among the ways there are, with those that are not.
        let of_hook = |hook: &str| -> Vec<(String, bool, bool)> {
            let candidates = json["candidates"].as_array().unwrap().iter();
            candidates
                .filter(|c| c["hook"] == hook)
                .map(|c| {
                    let target = c["target"].as_str().unwrap().to_owned();
                    (target, c["chosen"] == true, c["why_not"].is_null())
                })
                .collect()
        };
        assert!(of_hook("bio-submit").contains(&("submit_bio".into(), true, true)));
        assert!(of_hook("bio-submit").contains(&("block_bio_queue".into(), false, true)));
        assert!(of_hook("punt").contains(&("io_queue_async_work".into(), false, false)));
        assert!(of_hook("syscall-exit").contains(&("sys_exit".into(), true, true)));
    }

    #[test]
    fn what_did_not_attach_is_not_provable() {
        let new = kernel("6.12");
        let seen = findings(&new, |trial| {
            trial.attached.retain(|probe| probe.hook != Hook::BioSubmit);
            trial.missing.push(Missing {
                hook: Hook::BioSubmit,
                why: "kprobe submit_bio: refused".into(),
                costs: plan::costs(Hook::BioSubmit),
            });
        });
        assert_eq!(provable(&seen, "FUA"), Provable::No);
        assert_eq!(provable(&seen, "a flush"), Provable::No);
        let json = seen.json();
        schema_tests::holds(&json);
        let flush = json["clauses"].as_array().unwrap().iter();
        let flush: Vec<&Value> = flush
            .filter(|c| c["clause"].as_str().unwrap().starts_with("a flush"))
            .collect();
        assert_eq!(flush[0]["hooks"], json!(["bio-submit"]));
        assert!(
            flush[0]["change"]
                .as_str()
                .unwrap()
                .contains("another kernel")
        );
        assert!(seen.text().contains("bio-submit"), "{}", seen.text());
    }

    #[test]
    fn what_was_not_tried_is_said_to_be_a_plan() {
        let old = kernel("5.10");
        let seen = findings(&old, |trial| trial.untried = Some("no\u{1b}root".into()));
        let text = seen.text();
        assert!(
            text.ends_with("nothing was attached, so nothing is proven to work: no\\u{1b}root"),
            "{text}"
        );
        let json = seen.json();
        schema_tests::holds(&json);
        assert_eq!(
            (&json["attached"], &json["why_not"]),
            (&json!(false), &json!("no\u{1b}root"))
        );
    }

    #[test]
    fn a_machine_that_shows_nothing_gets_an_answer_too() {
        let dir = tempfile::tempdir().unwrap();
        let root = crate::kernel::Root::at(dir.path());
        let kernel = Kernel::survey(&root, &plan::functions().collect::<Vec<_>>());
        let seen = findings(&kernel, |trial| trial.attached.clear());
        schema_tests::holds(&seen.json());
        assert!(
            seen.answers
                .iter()
                .all(|(_, answer)| answer.provable == Provable::No)
        );
        assert!(
            seen.text().contains("a kernel with kprobes"),
            "{}",
            seen.text()
        );
    }

    #[test]
    fn a_calibration_is_told() {
        let new = kernel("6.12");
        let none = findings(&new, |_| ());
        assert!(
            none.text()
                .contains("calibration    no known requests were made")
        );
        assert_eq!(none.json()["calibration"], Value::Null);
        let made = findings(&new, |trial| {
            trial.calibration = Some(Calibration {
                tried: vec![(Hook::BioSubmit, 7, 7), (Hook::VfsFsync, 11, 10)],
                not_sent: vec!["no direct requests: refused".into()],
            });
        });
        let text = made.text();
        assert!(
            text.contains("1 of 2 hooks saw what was sent; no direct requests: refused"),
            "{text}"
        );
        schema_tests::holds(&made.json());
    }
}
