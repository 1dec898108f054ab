//! # odio-core: the I/O
