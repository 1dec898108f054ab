//! # The steps of an op
//!
//! What the hooks saw of it, in order, where `--steps` asks for that. Pure: records of steps go in as they come out of
//! the kernel, and with the record of their op [`Step`]s come out. Field names are the ones of the JSON output.
//!
//! No address of the kernel leaves this module: objects become small numbers, functions and calls become names.

use std::{borrow::Cow, collections::HashMap};

use odio_trace_common::{Hook, OpRecord, StepBits, StepLevel, StepRecord, function_id};
use serde::{Deserialize, Serialize};

use crate::{
    kernel::Kernel,
    op::Comm,
    plan::{Kind, Probe},
};

pub(crate) mod symbols;

use self::symbols::Symbols;

/// One thing that a hook saw of an op.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Step {
    #[serde(rename = "type")]
    pub(crate) kind: Word,
    /// `id` of the op.
    pub(crate) op_id: u64,
    /// Since the op began.
    pub(crate) ns: u64,
    pub(crate) cpu: u32,
    pub(crate) hook: Word,
    /// The function or tracepoint that was hit; null where the hook is watched at several and did not tell.
    pub(crate) function: Option<String>,
    /// Process and thread that ran; in an interrupt those that were interrupted.
    pub(crate) pid: u32,
    pub(crate) tid: u32,
    pub(crate) comm: Comm,
    /// What the hook was handed.
    pub(crate) object: Option<Object>,
    /// Bytes or a negative errno, of a return or an acknowledgement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) result: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) bio: Option<Bio>,
    /// The calls that led here, the function itself first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) stack: Option<Vec<String>>,
    /// Why there is no stack, where one was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) no_stack: Option<String>,
}

/// One of few words.
pub(crate) type Word = Cow<'static, str>;

/// An object of the kernel, told from others of its kind in the same op.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Object {
    pub(crate) kind: Word,
    /// From 1, in the order in which the op's steps meet them. By its address: one that was freed may lend its number
    /// to the next.
    pub(crate) number: u32,
}

/// A bio as it was sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Bio {
    /// `data`, `flush`, `metadata`, `super` or `other`: which count of the op it is in.
    pub(crate) counts_as: Word,
    pub(crate) bytes: u64,
    pub(crate) fua: bool,
    pub(crate) preflush: bool,
}

/// What was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) level: StepLevel,
    /// Why stacks are not had, where they were asked for.
    pub(crate) no_stack: Option<String>,
}

impl Asked {
    /// Steps, or nothing; with their stacks, as far as this kernel shows them.
    pub(crate) fn of(kernel: &Kernel, steps: bool, stacks: bool) -> Self {
        match (steps, stacks) {
            (_, true) => match Symbols::of(kernel) {
                Ok(_) => Self {
                    level: StepLevel::Stacks,
                    no_stack: None,
                },
                Err(why) => Self {
                    level: StepLevel::Steps,
                    no_stack: Some(why),
                },
            },
            (true, false) => Self {
                level: StepLevel::Steps,
                no_stack: None,
            },
            (false, false) => Self::default(),
        }
    }
}

/// Steps of one op that are kept; what is more is counted as lost.
const MOST_OF_OP: usize = 1 << 14;

/// Ops that may have steps here while their records are still to come: more than the programs keep open.
const MOST_OPS: usize = 1 << 16;

/// When an op began, and the thread that asked for it.
type Key = (u64, u32);

/// A step as it came, and its stack.
type Raw = (StepRecord, Vec<u64>);

/// Steps whose ops are not over yet.
pub(crate) struct Steps {
    asked: Asked,
    places: Vec<Place>,
    symbols: Option<Symbols>,
    open: HashMap<Key, Vec<Raw>>,
}

/// Where a hook is watched.
#[derive(Clone, Debug)]
struct Place {
    hook: Hook,
    /// What a step says of it, unless it says an address.
    id: u64,
    address: Option<u64>,
    target: String,
}

/// The steps of an op.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    /// In order.
    pub(crate) steps: Vec<Step>,
    /// How many are not there.
    pub(crate) lost: u64,
}

impl Steps {
    /// `probes` are those that are in place.
    pub(crate) fn new(asked: Asked, probes: &[Probe], kernel: &Kernel) -> Self {
        let places = probes.iter().map(|probe| Place {
            hook: probe.hook,
            id: function_id(&probe.program),
            address: match probe.kind {
                Kind::Kprobe => kernel.address(&probe.target),
                _ => None,
            },
            target: probe.target.clone(),
        });
        let symbols = match asked.level {
            // Again: the programs themselves are in the table now.
            StepLevel::Stacks => Symbols::of(kernel).ok(),
            _ => None,
        };
        Self {
            asked,
            places: places.collect(),
            symbols,
            open: HashMap::new(),
        }
    }

    /// Takes a step as it comes.
    pub(crate) fn learn(&mut self, record: &StepRecord, stack: &[u64]) {
        if self.open.len() >= MOST_OPS {
            // Their records were lost, or they came after them.
            let mut begun: Vec<u64> = self.open.keys().map(|(begin, _)| *begin).collect();
            let (_, &mut median, _) = begun.select_nth_unstable(MOST_OPS / 2);
            self.open.retain(|(begin, _), _| *begin > median);
        }
        let steps = self
            .open
            .entry((record.begin_ns, record.op_tid))
            .or_default();
        if steps.len() < MOST_OF_OP {
            steps.push((*record, stack.into()));
        }
    }

    /// The steps of the op whose record came, which is `id`; `None` where none were asked for.
    pub(crate) fn of(&mut self, op: &OpRecord, id: u64) -> Option<Told> {
        (self.asked.level != StepLevel::Off).then(|| self.told(op, id))
    }

    fn told(&mut self, op: &OpRecord, id: u64) -> Told {
        let mut raw = self.open.remove(&(op.begin_ns, op.tid)).unwrap_or_default();
        // Two processors may hand in theirs the other way around.
        raw.sort_by_key(|(record, _)| record.ns);
        let mut objects = Objects::default();
        let steps: Vec<Step> = raw
            .iter()
            .filter_map(|(record, stack)| self.step(record, stack, id, &mut objects))
            .collect();
        Told {
            lost: op.steps.saturating_sub(steps.len() as u64),
            steps,
        }
    }

    fn step(
        &self,
        record: &StepRecord,
        stack: &[u64],
        op_id: u64,
        objects: &mut Objects,
    ) -> Option<Step> {
        let hook = *Hook::ALL.get(record.hook as usize)?;
        let function = self.function(hook, record.function);
        let has = |bit| record.bits & bit != 0;
        let (stack, no_stack) = self.stack(record, stack, function);
        Some(Step {
            kind: "step".into(),
            op_id,
            ns: record.ns.saturating_sub(record.begin_ns),
            cpu: record.cpu,
            hook: hook.name().into(),
            function: function.map(str::to_owned),
            pid: record.tgid,
            tid: record.tid,
            comm: Comm::Kernel(record.comm),
            object: objects.number(kind_of_object(hook), record.object),
            result: has(StepBits::RESULT).then_some(record.value),
            bio: (hook == Hook::BioSubmit).then(|| Bio {
                counts_as: counts_as(record.bits).into(),
                bytes: u64::try_from(record.value).unwrap_or(0),
                fua: has(StepBits::FUA),
                preflush: has(StepBits::PREFLUSH),
            }),
            stack,
            no_stack,
        })
    }

    fn function(&self, hook: Hook, said: u64) -> Option<&str> {
        /// A kprobe is at most so far into its function: after what marks a branch's target, and the call of ftrace.
        const FIRST_BYTES: u64 = 16;
        let places = || self.places.iter().filter(|place| place.hook == hook);
        let mut said_so = places().filter(|place| {
            let near = |address: u64| (address..address + FIRST_BYTES).contains(&said);
            said != 0 && (place.id == said || place.address.is_some_and(near))
        });
        if let Some(place) = said_so.next() {
            return Some(&place.target);
        }
        let mut all = places();
        let only = &all.next()?.target;
        all.all(|place| place.target == *only).then_some(only)
    }

    fn stack(
        &self,
        record: &StepRecord,
        stack: &[u64],
        function: Option<&str>,
    ) -> (Option<Vec<String>>, Option<String>) {
        match (&self.symbols, record.stack_bytes) {
            _ if self.asked.no_stack.is_some() => (None, self.asked.no_stack.clone()),
            (None, _) => (None, None),
            (Some(_), errno) if errno < 0 => {
                let error = std::io::Error::from_raw_os_error(errno.saturating_neg());
                (None, Some(format!("the kernel gave none: {error}")))
            }
            (Some(symbols), bytes) => {
                let calls = bytes.unsigned_abs() as usize / size_of::<u64>();
                let calls = &stack[..calls.min(stack.len())];
                (Some(symbols.calls(calls, function)), None)
            }
        }
    }
}

/// Numbers for objects, within one op.
#[derive(Default)]
struct Objects(HashMap<&'static str, Vec<u64>>);

impl Objects {
    fn number(&mut self, kind: Option<&'static str>, address: u64) -> Option<Object> {
        let kind = kind.filter(|_| address != 0)?;
        let known = self.0.entry(kind).or_default();
        let at = known.iter().position(|a| *a == address);
        let at = at.unwrap_or_else(|| {
            known.push(address);
            known.len() - 1
        });
        Some(Object {
            kind: kind.into(),
            number: at as u32 + 1,
        })
    }
}

fn kind_of_object(hook: Hook) -> Option<&'static str> {
    Some(match hook {
        Hook::BioSubmit | Hook::FuaIssue => "bio",
        Hook::DataEnd | Hook::DioComplete | Hook::DioAwait => "dio",
        Hook::VfsFsync | Hook::FsFsync => "file",
        Hook::CommitWait => "journal",
        Hook::LogWait => "log-buffer",
        Hook::SyscallExit | Hook::LogForce | Hook::Checksum => return None,
        _ => "request",
    })
}

fn counts_as(bits: u32) -> &'static str {
    match bits {
        b if b & StepBits::DATA != 0 => "data",
        b if b & StepBits::FLUSH != 0 => "flush",
        b if b & StepBits::META != 0 => "metadata",
        b if b & StepBits::SUPER != 0 => "super",
        _ => "other",
    }
}

#[cfg(test)]
mod tests;
