//! # Records shared by the eBPF programs and the user side
//!
//! Plain data with a fixed layout: what the user side hands to the programs before they are loaded
//! ([`Config`]), and what the programs hand back ([`OpRecord`], [`FileRecord`], [`StepRecord`], [`Hook`] hits, [`Loss`]
//! counters). Next to no logic, no allocation, no unsafe but the promise that the layouts are plain data.
#![no_std]

mod config;
mod hook;
mod open;
mod record;
mod scope;
mod step;

pub use config::{ABSENT, Config, Offsets, PADDING, Symbols};
pub use hook::{Hook, HookHitKey, PROCESS_PLACES, ProcessHits};
pub use open::OpenedKey;
pub use record::{
    COMM_LEN, COUNTED_OPEN, EngineSeen, FILE_PATH_LEN, FS_LEN, FileRecord, Loss, OpFlags, OpKind,
    OpRecord, RecordKind, WritebackKey, WritebackRecord,
};
pub use scope::{ScopeBy, ScopeConfig, comm};
pub use step::{
    STACK_DEPTH, StackRecord, StepBits, StepConfig, StepLevel, StepRecord, function_id,
};
