//! The attach points: one thin program per hook and probe kind, with no logic of its own.

mod entry;
mod raw_tracepoint;
mod ret;
