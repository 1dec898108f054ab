//! The attach points: one thin program per hook and probe kind, with no logic of its own.

mod fexit;
mod kprobe;
mod raw_tracepoint;
