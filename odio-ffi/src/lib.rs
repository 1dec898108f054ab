//! # libodio: the C ABI of odio-core
