//! # The terminal that a shell in the guest has
//!
//! Keys go to the guest as they are typed, Ctrl-C too, so the terminal of this process is raw as long as that lasts.

use std::{
    io::{IsTerminal as _, Read as _, stdin, stdout},
    thread,
};

use anyhow::{Context as _, Result};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

use super::Error;

/// The end of a VM that answers no more: Ctrl-], as in telnet and virsh.
const ESCAPE: u8 = 0x1d;

pub(crate) fn has_terminal() -> bool {
    stdin().is_terminal() && stdout().is_terminal()
}

/// The settings of the terminal, which come back when this is dropped.
struct Raw(Termios);

impl Raw {
    fn new() -> Result<Self> {
        let before = tcgetattr(stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(stdin(), OptionalActions::Now, &raw)?;
        Ok(Self(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = tcsetattr(stdin(), OptionalActions::Now, &self.0);
    }
}

/// Passes keys, output and window sizes on until the guest's end is closed.
pub(crate) async fn talk(mut guest: UnixStream, control: UnixStream) -> Result<()> {
    eprintln!("odio-trace: a shell in the guest; `exit` leaves, Ctrl-] ends the VM");
    let _raw = Raw::new().context("cannot set the terminal")?;
    let (mut from_guest, to_guest) = guest.split();
    tokio::select! {
        ended = keys(to_guest) => ended,
        ended = output(&mut from_guest) => ended,
        ended = sizes(control) => ended,
    }
}

async fn keys(mut guest: impl tokio::io::AsyncWrite + Unpin) -> Result<()> {
    let (typed, mut keys) = mpsc::unbounded_channel();
    // A read of a terminal cannot be called off, and the runtime waits for its own threads when it ends.
    thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(length @ 1..) = stdin().read(&mut bytes) {
            if typed.send(bytes[..length].to_vec()).is_err() {
                return;
            }
        }
    });
    while let Some(typed) = keys.recv().await {
        if typed.contains(&ESCAPE) {
            return Err(interrupted(SignalKind::interrupt()));
        }
        guest.write_all(&typed).await?;
    }
    // A terminal whose other side is gone.
    Err(interrupted(SignalKind::hangup()))
}

fn interrupted(kind: SignalKind) -> anyhow::Error {
    let signal = kind.as_raw_value();
    Error::Interrupted { signal }.into()
}

async fn output(guest: &mut (impl tokio::io::AsyncRead + Unpin)) -> Result<()> {
    let mut to = tokio::io::stdout();
    let mut bytes = vec![0; 64 << 10];
    loop {
        // A killed QEMU may reset the connection, after its last byte.
        let length = guest.read(&mut bytes).await.unwrap_or(0);
        if length == 0 {
            return Ok(());
        }
        to.write_all(&bytes[..length]).await?;
        to.flush().await?;
    }
}

async fn sizes(mut control: UnixStream) -> Result<()> {
    let mut resized = signal(SignalKind::window_change())?;
    loop {
        let size = tcgetwinsize(stdin())?;
        // A terminal without a size says 0; the guest then keeps its own idea.
        if size.ws_row > 0 && size.ws_col > 0 {
            let told = format!("size {} {}\n", size.ws_row, size.ws_col);
            control.write_all(told.as_bytes()).await?;
        }
        if resized.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }
}
