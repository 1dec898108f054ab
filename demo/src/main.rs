//! # The experiment of the source documents, on the running kernel
//!
//! Two documents started this project: one on direct I/O from user space, one that follows ext4 on Linux 4.9 and
//! compares dd with fio. This program repeats what they did under `odio-trace`, prints the path of each, and says of
//! each of their claims what this kernel does. It only runs other programs and reads what odio-trace says; the files
//! it makes are in the folder it is given.

mod answers;
mod claims;
mod page;
mod programs;
mod record;
mod runs;
mod seen;
mod table;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::Parser;

use crate::{claims::Answer, runs::Lab};

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
    /// Prints the answer to each claim as a line of JSON, and nothing else
    #[arg(long)]
    json: bool,
    /// Runs nothing: prints the page on what became of the claims, from the answers of several places
    #[arg(long, value_name = "ANSWERS", num_args = 1.., conflicts_with_all = ["json", "dir"])]
    page: Vec<PathBuf>,
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
    if !cli.page.is_empty() {
        let places: Vec<_> = cli
            .page
            .iter()
            .map(|file| answers::read(file))
            .collect::<Result<_>>()?;
        print!("{}", page::write(&places));
        return Ok(true);
    }
    let seen = Lab::new(&cli.dir, cli.odio_trace.clone(), cli.write_modes.clone())?.see()?;
    let answers = answers::judge(&seen);
    if cli.json {
        for answer in &answers {
            println!("{}", serde_json::to_string(answer)?);
        }
        // What was not shown is among the answers.
        return Ok(true);
    }
    println!(
        "The same writes of 4 KiB by three programs\n\n{}\n",
        table::programs(&seen.programs.runs)
    );
    println!(
        "Every engine and mode: {}\n\n{}\n\n{HOW_TO_READ}\n",
        seen.matrix.place(),
        table::matrix(&seen.matrix)
    );
    println!(
        "What became of the source documents' claims\n\n{}",
        table::claims(&answers)
    );
    let whole = seen.losses().is_empty();
    if !whole {
        println!("Something was lost or missed: what is above is not to be relied on.");
    }
    let judged = answers.iter().all(|line| line.answer != Answer::NotShown);
    Ok(whole && judged && seen.matrix.passed())
}

const HOW_TO_READ: &str = "\
completion  waited: the task slept until the data was done; queued: it went on, and was told later; inline: asynchronous,
            but done before the call returned; punted: io_uring gave it to a worker
fsyncs      how many, and who ran them: the caller, a kworker, or io_uring's io-wq
durability  where the write is when the program is told that it succeeded";
