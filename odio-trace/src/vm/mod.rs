//! # A throwaway VM with a chosen kernel and filesystem
