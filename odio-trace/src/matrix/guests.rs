//! # The matrix in VMs
//!
//! One VM for each kernel, filesystem and device, side by side as the machine allows. In each this same program runs
//! its matrix with `--json`, and what it prints comes back.

use std::{ffi::OsString, time::Duration};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use serde_json::Value;

use super::{
    Absent, Found,
    line::{Line, Vm},
};
use crate::{check::Verdict, cli, output::summary::Summary, vm};

/// Runs it in every VM that is asked for; `each` is told in the order of the lists.
pub(super) async fn run(
    arguments: &cli::Matrix,
    mut each: impl FnMut(Result<Found, Absent>) -> Result<()>,
) -> Result<()> {
    let specs: Vec<vm::Spec> = arguments
        .guests
        .places()
        .into_iter()
        .map(|(kernel, fs, device)| vm::Spec {
            kernel,
            fs,
            device,
            timeout: Duration::from_secs(arguments.guests.timeout),
            command: command(arguments, fs),
            ..vm::Spec::default()
        })
        .collect();
    vm::each(&specs, |spec, ended| {
        let vm = name(spec);
        each(found(&vm, ended).map_err(|error| Absent {
            vm,
            why: format!("{error:#}"),
        }))
    })
    .await
}

/// What runs in the guest.
fn command(arguments: &cli::Matrix, fs: vm::Filesystem) -> Vec<OsString> {
    let mut words = vec!["odio-trace".to_owned(), "matrix".into(), "--json".into()];
    let mut list = |option: &str, values: Vec<&'static str>| {
        if !values.is_empty() {
            words.extend([option.to_owned(), values.join(",")]);
        }
    };
    list("--mode", arguments.mode.iter().map(|m| m.name()).collect());
    list(
        "--engine",
        arguments.engine.iter().map(|e| e.name()).collect(),
    );
    list(
        "--situation",
        arguments.situation.iter().map(|s| s.name()).collect(),
    );
    words.extend(["--probes".into(), spelled(arguments.choice.probes)]);
    words.extend(["--requests".into(), arguments.requests.to_string()]);
    match fs {
        vm::Filesystem::XfsReflinked => words.push("--reflinked".into()),
        vm::Filesystem::Block => {
            // Only the guest knows its disk's name.
            let script = format!(
                "exec {} --overwrite-disk \"$ODIO_VM_DISK\"",
                words.join(" ")
            );
            words = vec!["sh".into(), "-c".into(), script];
        }
        _ => {}
    }
    words.into_iter().map(OsString::from).collect()
}

fn name(spec: &vm::Spec) -> Vm {
    Vm {
        kernel: spec.kernel.name(),
        fs: spelled(spec.fs),
        device: spelled(spec.device),
    }
}

fn spelled(value: impl ValueEnum) -> String {
    value
        .to_possible_value()
        .map_or_else(String::new, |value| value.get_name().to_owned())
}

/// What a VM printed, if its matrix came to an end.
fn found(vm: &Vm, ended: vm::Ended) -> Result<Found> {
    let said = String::from_utf8_lossy(&ended.err).trim().to_owned();
    match ended.status? {
        0 | 1 | 3 => {}
        status => bail!("exit status {status}: {said}"),
    }
    let mut lines = Vec::new();
    let mut summary = None;
    for text in ended
        .out
        .split(|&byte| byte == b'\n')
        .filter(|l| !l.is_empty())
    {
        let value: Value = serde_json::from_slice(text).context("a line of it is no JSON")?;
        if value["type"] == "row" {
            let mut line: Line = serde_json::from_value(value).context("a row is not whole")?;
            line.vm = Some(vm.clone());
            lines.push(line);
        } else {
            summary = Some(value);
        }
    }
    let mut summary = summary.with_context(|| format!("it ended without a summary: {said}"))?;
    let verdict: Verdict =
        serde_json::from_value(summary["verdict"].clone()).context("its summary has no verdict")?;
    let read: Summary =
        serde_json::from_value(summary.clone()).context("its summary is not whole")?;
    summary["vm"] = serde_json::to_value(vm)?;
    Ok(Found {
        vm: Some(vm.clone()),
        counts: read.counts(),
        caveats: read.caveats(),
        summary,
        verdict,
        lines,
    })
}
