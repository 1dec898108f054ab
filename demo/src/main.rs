//! # The experiment of the source documents, on the running kernel
//!
//! Two documents started this project: one on direct I/O from user space, one that follows ext4 on Linux 4.9 and
//! compares dd with fio. This program repeats what they did under `odio-trace`, prints the path of each, and says of
//! each of their claims what this kernel does. It only runs other programs and reads what odio-trace says; the files
//! it makes are in the folder it is given.

mod claims;
mod record;
mod runs;
mod table;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::Parser;

use crate::runs::Lab;

/// Runs a C program with libodio, dd and fio in different modes under odio-trace, and judges the documents' claims
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    /// Folder on the filesystem to try
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// The program `write_modes` of examples-c
    #[arg(long, default_value = "write_modes")]
    write_modes: PathBuf,
    /// odio-trace
    #[arg(long, default_value = "odio-trace")]
    odio_trace: PathBuf,
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("odio-demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// True where everything could be seen and judged.
fn run(cli: &Cli) -> Result<bool> {
    let lab = Lab::new(&cli.dir, cli.odio_trace.clone(), cli.write_modes.clone())?;

    eprintln!("odio-demo: running write_modes, dd and fio under odio-trace");
    let programs = lab.programs()?;
    println!(
        "The same writes of 4 KiB by three programs\n\n{}\n",
        table::programs(&programs.runs)
    );

    eprintln!("odio-demo: trying every mode and engine");
    let matrix = lab.matrix()?;
    println!(
        "Every engine and mode: {}\n\n{}\n\n{HOW_TO_READ}\n",
        matrix.place(),
        table::matrix(&matrix)
    );

    let claims = claims::judge(&programs, &matrix);
    println!(
        "What became of the source documents' claims\n\n{}",
        table::claims(&claims)
    );

    let whole = programs.summary.whole() && matrix.summary.whole();
    if !whole {
        println!("Something was lost or missed: what is above is not to be relied on.");
    }
    let judged = claims.iter().all(|c| c.outcome != claims::Outcome::Unseen);
    Ok(whole && judged && matrix.passed())
}

const HOW_TO_READ: &str = "\
completion  waited: the task slept until the data was done; queued: it went on, and was told later; inline: asynchronous,
            but done before the call returned; punted: io_uring gave it to a worker
fsyncs      how many, and who ran them: the caller, a kworker, or io_uring's io-wq
durability  where the write is when the program is told that it succeeded";
