//! Where io_uring tells a program that its request has ended.
//!
//! One tracepoint fires for every completion entry. Where it does not name the request (5.15, and 5.10 since its
//! io_uring is that of 5.15), functions do that are handed the request: some when its entry is posted, the others when
//! its memory is given back, which follows.

use odio_trace_common::Hook;

use super::{Plan, Ways, reasons};

const TRACEPOINT: &str = "io_uring_complete";

/// Program, function, and the types of its arguments. Each request whose entry is posted passes one of them: only all
/// of them together show every end.
const FUNCTIONS: &[(&str, &str, &[&str])] = &[
    (
        "uring_posted",
        "io_req_complete_post",
        &["struct io_kiocb *", "s32", "u32"],
    ),
    ("uring_freed", "__io_free_req", &["struct io_kiocb *"]),
    (
        "uring_freed_of_batch",
        "io_req_free_batch",
        &[
            "struct req_batch *",
            "struct io_kiocb *",
            "struct io_submit_state *",
        ],
    ),
];

pub(super) fn functions() -> impl Iterator<Item = &'static str> {
    FUNCTIONS.iter().map(|(_, function, _)| *function)
}

pub(super) fn ends(ways: &Ways, plan: &mut Plan) {
    let kernel = ways.kernel;
    let program = match kernel.tracepoint_arguments(TRACEPOINT).as_deref() {
        // ctx, req, user_data, res, cflags, ... (6.1)
        Some([_, _, _, _, _, ..]) => "uring_complete_res",
        // ctx, req, cqe (later)
        Some([_, _, cqe]) if cqe.contains("io_uring_cqe") => "uring_complete_cqe",
        Some(_) => {
            return at_functions(ways, plan)
                .unwrap_or_else(|why| plan.miss(Hook::UringComplete, why));
        }
        None => {
            let why = format!("this kernel has no tracepoint {TRACEPOINT}");
            return plan.miss(Hook::UringComplete, why);
        }
    };
    plan.tracepoint(Hook::UringComplete, program, TRACEPOINT);
}

fn at_functions(ways: &Ways, plan: &mut Plan) -> Result<(), String> {
    let unnamed = |why| format!("{TRACEPOINT} does not name the request here, and {why}");
    let mut probes = Vec::new();
    let mut refused = Vec::new();
    for &(program, function, arguments) in FUNCTIONS {
        let probe = ways.entry(Hook::UringComplete, program, function);
        match probe {
            Ok(_) if !ways.kernel.takes(function, arguments) => {
                let why = "the kernel's own types do not describe this function";
                refused.push((function, why.to_owned()));
            }
            Ok(probe) => probes.push(probe),
            Err(why) => refused.push((function, why)),
        }
    }
    if !refused.is_empty() {
        return Err(unnamed(reasons(&refused)));
    }
    if ways.kernel.offset("io_kiocb", "result").is_none() {
        let why = "where a request keeps its result is not known";
        return Err(unnamed(why.into()));
    }
    plan.probes.extend(probes);
    Ok(())
}
