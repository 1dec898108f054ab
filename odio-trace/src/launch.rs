//! # Starting the workload, but not before the probes are in place
//!
//! The workload's process is made first, so that the tracer knows its id; it waits for the tracer's word on a
//! socket and then becomes the command. Nothing of the command runs untraced.

use std::{
    ffi::OsString,
    io::{self, Read},
    os::{
        linux::net::SocketAddrExt,
        unix::{net, process::CommandExt},
    },
    process,
};

use anyhow::{Context, Result, bail};
use tokio::{
    io::AsyncWriteExt,
    net::{UnixListener, UnixStream},
    process::{Child, Command},
};

use crate::cli;

/// A command that is to be traced, and as whom it runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Launch<'a> {
    command: &'a [OsString],
    as_the_caller: bool,
}

impl<'a> Launch<'a> {
    /// As the user that the tracer runs as.
    pub(crate) fn as_it_is(command: &'a [OsString]) -> Self {
        Self {
            command,
            as_the_caller: false,
        }
    }

    /// As the user who called the tracer, under sudo another than it runs as.
    pub(crate) fn as_the_caller(command: &'a [OsString]) -> Self {
        Self {
            command,
            as_the_caller: true,
        }
    }
}

/// A process that waits to become the workload.
pub(crate) struct Waiting {
    child: Child,
    word: UnixStream,
    pid: u32,
}

impl Waiting {
    /// Starts the process; it waits.
    pub(crate) async fn start(launch: &Launch<'_>) -> Result<Self> {
        let name = format!("odio-trace-{}-{}", process::id(), unique());
        let address = net::SocketAddr::from_abstract_name(&name)?;
        let listener = net::UnixListener::bind_addr(&address)
            .context("cannot make a socket for the workload")?;
        listener.set_nonblocking(true)?;
        let listener = UnixListener::from_std(listener)?;

        let mut child = Command::new("/proc/self/exe")
            .arg("launch")
            .arg(&name)
            .arg("--")
            .args(launch.command)
            .kill_on_drop(true)
            .spawn()
            .context("cannot start a process for the workload")?;
        let pid = child.id().context("the workload's process is gone")?;
        let word = tokio::select! {
            word = accept(&listener, pid) => word?,
            status = child.wait() => bail!("the workload's process ended before it was told to start: {}", status?),
        };
        Ok(Self { child, word, pid })
    }

    /// Process id, of the waiting process and of the workload it becomes.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Lets the process become the workload.
    pub(crate) async fn go(mut self) -> Result<Child> {
        self.word
            .write_all(b"!")
            .await
            .context("the workload's process is gone")?;
        Ok(self.child)
    }
}

/// Any local process can connect to an abstract socket; only the one that was started counts.
async fn accept(listener: &UnixListener, pid: u32) -> Result<UnixStream> {
    loop {
        let (stream, _) = listener.accept().await?;
        if stream.peer_cred()?.pid() == i32::try_from(pid).ok() {
            return Ok(stream);
        }
    }
}

fn unique() -> u128 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |t| t.as_nanos())
}

/// The waiting process itself: waits for the word, then becomes the command. Returns only on failure.
pub(crate) fn become_workload(launch: &cli::Launch) -> Result<u8> {
    let address = net::SocketAddr::from_abstract_name(&launch.socket)?;
    let mut word = [0];
    net::UnixStream::connect_addr(&address)?
        .read_exact(&mut word)
        .context("the tracer ended before the workload started")?;
    let (program, arguments) = launch.command.split_first().context("no command")?;
    let error = process::Command::new(program).args(arguments).exec();
    eprintln!("odio-trace: cannot run {}: {error}", program.display());
    Ok(if error.kind() == io::ErrorKind::NotFound {
        127
    } else {
        126
    })
}
