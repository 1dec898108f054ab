//! # Records shared by the eBPF programs and the user side
#![no_std]
