//! # `odio-trace attach`

use anyhow::Result;

use crate::{
    cli,
    kernel::Kernel,
    run::{self, Show},
    scope::Scope,
    workload::Target,
};

/// Traces what runs already.
pub(crate) async fn run(attach: &cli::Attach, kernel: &Kernel) -> Result<u8> {
    let scope = if let Some(path) = &attach.cgroup {
        Scope::cgroup(path)?
    } else if attach.comm.is_empty() {
        Scope::processes(&attach.pid)?
    } else {
        Scope::names(&attach.comm)
    };
    let show = Show {
        json: attach.json,
        filters: &attach.filters,
        choice: &attach.choice,
    };
    run::show(kernel, show, Target::Running(scope, attach.duration)).await?;
    Ok(0)
}
