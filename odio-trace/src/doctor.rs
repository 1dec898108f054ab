//! # `odio-trace doctor`: what can be proven on this kernel

use std::collections::BTreeMap;

use anyhow::Result;
use odio_trace_common::Hook;
use odio_trace_common::ScopeConfig;
use serde_json::{Value, json};

use crate::{
    cli,
    kernel::Kernel,
    output::{json, text},
    plan::{Missing, Plan, Probe},
    session::{self, Session},
};

/// What became of the plan when it was tried.
struct Trial {
    attached: Vec<Probe>,
    missing: Vec<Missing>,
    /// Why it was not tried.
    untried: Option<String>,
}

/// Looks at the kernel, plans, tries to attach, and says all of it. Status 0, or 4 where nothing can be traced.
pub(crate) fn run(arguments: &cli::Doctor, kernel: &Kernel) -> Result<u8> {
    let plan = session::plan(kernel, &arguments.choice);
    let trial = try_out(kernel, &plan);
    if arguments.json {
        json::line(&report(kernel, &trial))?;
    } else {
        print(kernel, &trial)?;
    }
    Ok(if trial.untried.is_some() { 4 } else { 0 })
}

fn try_out(kernel: &Kernel, plan: &Plan) -> Trial {
    let planned = |untried| Trial {
        attached: plan.probes.clone(),
        missing: plan.missing.clone(),
        untried: Some(untried),
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
        Ok(session) => {
            let (attached, missing) = session.stop(|_| ());
            Trial {
                attached,
                missing,
                untried: None,
            }
        }
        Err(error) => planned(format!("{error:#}")),
    }
}

fn print(kernel: &Kernel, trial: &Trial) -> Result<()> {
    for (what, value) in kernel.facts() {
        text::line(format_args!("{what:<14} {value}"))?;
    }
    text::line("")?;
    text::line(table(&trial.attached).trim_fmt())?;
    let missing = text::unseen(trial.missing.iter());
    if !missing.is_empty() {
        text::line("\nNot seen here:")?;
        for reason in missing {
            text::line(format_args!("- {reason}"))?;
        }
    }
    let absent = kernel.absent_members();
    if !absent.is_empty() {
        text::line(format_args!(
            "\nMembers this kernel does not have (what needs them is not told): {}",
            absent.join(", ")
        ))?;
    }
    match &trial.untried {
        Some(why) => text::line(format_args!(
            "\nThis is the plan; nothing was attached: {why}"
        )),
        None => text::line(format_args!(
            "\n{} probes were attached and taken away again.",
            trial.attached.len()
        )),
    }
}

/// One line for every hook and kind of probe.
fn table(probes: &[Probe]) -> comfy_table::Table {
    let mut lines: BTreeMap<(Hook, &str), Vec<&str>> = BTreeMap::new();
    for probe in probes {
        lines
            .entry((probe.hook, probe.kind.name()))
            .or_default()
            .push(&probe.target);
    }
    let mut table = text::table(&["hook", "probe", "at"]);
    for ((hook, kind), targets) in lines {
        table.add_row([hook.name(), kind, &targets.join(", ")]);
    }
    table
}

fn report(kernel: &Kernel, trial: &Trial) -> Value {
    json!({
        "type": "doctor",
        "kernel": kernel.facts().into_iter().map(|(k, v)| (k.to_owned(), Value::from(v))).collect::<serde_json::Map<_, _>>(),
        "hooks": trial.attached.iter().map(|p| json!({
            "hook": p.hook.name(), "kind": p.kind.name(), "target": p.target,
        })).collect::<Vec<_>>(),
        "missing": trial.missing.iter().map(|m| json!({
            "hook": m.hook.name(), "why": m.why, "costs": m.costs,
        })).collect::<Vec<_>>(),
        "absent_members": kernel.absent_members(),
        "attached": trial.untried.is_none(),
        "why_not": trial.untried,
    })
}
