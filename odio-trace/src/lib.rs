//! # odio-trace: which kernel path each I/O really took
//!
//! Data goes one way: cli -> kernel -> plan -> session -> op -> verdict -> output. A module reads only from those
//! before it.

mod attach;
mod calibrate;
mod check;
mod clauses;
mod cli;
mod diagnostics;
mod doctor;
mod files;
mod filter;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod glob;
mod kernel;
mod launch;
mod lost;
mod matrix;
mod misses;
mod op;
mod output;
mod plan;
mod policy;
mod privileges;
mod progress;
mod recent;
mod recording;
mod report;
mod requests;
mod run;
mod scope;
mod session;
mod step;
mod sys;
mod unwatched;
mod verdict;
mod verify;
mod vm;
mod workload;
mod writeback;

use std::{process::ExitCode, time::Duration};

use anyhow::Result;
use clap::Parser;
use tracing_subscriber::EnvFilter;

use crate::{
    check::Verdict,
    cli::{Cli, Command},
    kernel::Kernel,
    output::NobodyReads,
};

/// Nothing can be traced here.
const CANNOT_TRACE: u8 = 4;

/// What the program does, and the status it ends with.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    diagnostics(cli.verbose);
    match run(&cli.command) {
        Ok(status) => status.into(),
        // As a shell says it of a program that the pipe has ended.
        Err(error) if error.is::<NobodyReads>() => ExitCode::from(128 + libc::SIGPIPE as u8),
        Err(error) => {
            eprintln!("odio-trace: {error:#}");
            match cli.command {
                Command::Matrix(_) if vm::is_interrupted(&error) => {
                    ExitCode::from(u8::try_from(vm::exit_status(&error)).unwrap_or(1))
                }
                Command::Run(_) | Command::Attach(_) | Command::Matrix(_) => CANNOT_TRACE.into(),
                // A FAIL is of a rule that was broken, and of nothing else.
                Command::Verify(verify) => match verify.recording {
                    Some(_) => Verdict::Inconclusive.status().into(),
                    None => CANNOT_TRACE.into(),
                },
                Command::Vm(_) => {
                    ExitCode::from(u8::try_from(vm::exit_status(&error)).unwrap_or(1))
                }
                _ => ExitCode::FAILURE,
            }
        }
    }
}

fn run(command: &Command) -> Result<u8> {
    match command {
        Command::Launch(launch) => launch::become_workload(launch),
        Command::Requests(requests) => requests::make(requests),
        Command::Vm(vm) => traced(guest(vm)),
        Command::Report(report) => report::run(report),
        Command::Schema => output::json::raw(output::json::SCHEMA.as_bytes()).map(|()| 0),
        Command::Doctor(doctor) => doctor::run(doctor, &survey()),
        Command::Run(arguments) => traced(async { run::run(arguments, &able()?).await }),
        Command::Attach(arguments) => traced(async { attach::run(arguments, &able()?).await }),
        Command::Verify(arguments) => {
            let (policy, pages) = match verify::prepare(arguments) {
                Ok(prepared) => prepared,
                Err(error) => {
                    eprintln!("odio-trace: {error:#}");
                    return Ok(cli::USAGE);
                }
            };
            let judgement = match &arguments.recording {
                Some(recording) => verify::replay(&policy, recording),
                None => traced(async { verify::trace(arguments, &policy, &able()?).await }),
            };
            verify::end(&judgement?, pages)
        }
        Command::Matrix(arguments) => traced(matrix::run(arguments, able)),
    }
}

fn survey() -> Kernel {
    Kernel::of_this_machine(&plan::functions().collect::<Vec<_>>())
}

/// The kernel, if this process may trace it at all.
fn able() -> Result<Kernel> {
    let kernel = survey();
    kernel.may_trace()?;
    Ok(kernel)
}

fn traced<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(work)
}

async fn guest(arguments: &cli::Vm) -> Result<u8> {
    let images = |kernels: &[vm::Kernel]| {
        let is_image = |kernel: &&vm::Kernel| matches!(kernel, vm::Kernel::Image(_));
        kernels.iter().filter(is_image).count()
    };
    if !arguments.modules.is_empty() && arguments.modules.len() != images(&arguments.kernel) {
        eprintln!(
            "odio-trace: --modules names a folder for each bzImage of --kernel, and no other"
        );
        return Ok(cli::USAGE);
    }
    let mut specs = Vec::new();
    for (i, kernel) in arguments.kernel.iter().enumerate() {
        let module_folder = match kernel {
            vm::Kernel::Image(_) => arguments.modules.get(images(&arguments.kernel[..i])),
            vm::Kernel::Series(_) => None,
        };
        for &fs in &arguments.fs {
            for &device in &arguments.device {
                specs.push(vm::Spec {
                    kernel: kernel.clone(),
                    fs,
                    device,
                    memory: arguments.memory,
                    cpus: arguments.cpus,
                    timeout: Duration::from_secs(arguments.timeout),
                    add: arguments.add.clone(),
                    modules: arguments.module.clone(),
                    module_folder: module_folder.cloned(),
                    out: arguments.out.clone(),
                    shell: arguments.shell,
                    icount: arguments.icount,
                    command: match arguments.shell {
                        true => vec!["sh".into()],
                        false => arguments.command.clone(),
                    },
                });
            }
        }
    }
    if arguments.shell && (specs.len() > 1 || !vm::has_terminal()) {
        eprintln!(
            "odio-trace: --shell is for one VM, with a terminal as standard input and output; \
             without: odio-trace vm -- sh -c '...'"
        );
        return Ok(cli::USAGE);
    }
    if specs.len() > 1 {
        for spec in &mut specs {
            spec.out = spec.out.as_ref().map(|out| out.join(spec.folder()));
        }
    }
    let status = vm::run(&specs).await?;
    Ok(u8::try_from(status & 0xff).unwrap_or(1))
}

/// Diagnostics go to standard error; results alone to standard output.
fn diagnostics(verbose: u8) {
    let level = match verbose {
        0 => "warn",
        1 => "odio_trace=debug",
        // Of this tool and its eBPF programs; what the libraries say is for ODIO_LOG to ask for.
        _ => "odio_trace=trace",
    };
    let filter = EnvFilter::try_from_env("ODIO_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .without_time()
        .init();
}
