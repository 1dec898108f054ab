//! # The eBPF programs of odio-trace
//!
//! Each hook's body is one function, called by thin attach points of every probe kind (`attach`). Bodies fold
//! what they see into the [`odio_trace_common::OpRecord`] of the op it belongs to; one ring buffer entry leaves
//! the kernel per op. An op is keyed by its kiocb (a sync call by its thread), bios are tied to it through the
//! objects they point at, or through the task while it is inside the op.
//!
//! Room rule: kernel memory is read only through `read`, with offsets the user side resolved from this kernel's
//! BTF. Nothing here names a kernel version.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod aio;
mod attach;
mod bio;
mod config;
mod file;
mod issue;
mod journal;
mod maps;
mod op;
mod open;
mod ops;
mod read;
mod scope;
mod step;
mod sync;
mod task;
mod threads;
mod uring;
mod writeback;

// The helpers that read kernel memory are for GPL-compatible programs only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}
