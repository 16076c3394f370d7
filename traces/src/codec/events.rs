//! Page accesses, a column per property.

use std::collections::HashMap;

use pagesieve_core::{Access, Gfn, MemSlots, Nanos};

use super::Budget;
use crate::error::Damage;
use crate::model::{KINDS, ORIGINS};
use crate::varint::{self, Cursor};

/// Least bytes of an event in the columns: time, page and actor.
const LEAST: usize = 3;
/// A step beyond a second says nothing about a clock.
const MOST_STEP: u32 = 30;
/// Least bytes of an actor: kind and origin, CPU, thread.
const LEAST_ACTOR: usize = 3;

/// Who did something, and what: few of these make up all events of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Actor {
    /// Kind in the low four bits, origin in the high four.
    what: u8,
    cpu: u16,
    tid: u32,
}

impl Actor {
    fn of(event: &Access) -> Self {
        Self { what: event.kind as u8 | (event.origin as u8) << 4, cpu: event.cpu, tid: event.tid }
    }
}

pub(super) fn encode(start: Nanos, events: &[Access], out: &mut Vec<u8>) -> Result<(), &'static str> {
    check(events)?;
    varint::put(out, events.len() as u64);
    let Some(first) = events.first() else { return Ok(()) };
    // The first event may lie before the frame's start, in the scan that closed the frame before.
    varint::put(out, varint::zigzag(first.time.0.wrapping_sub(start.0)));
    let step = clock_step(events);
    out.push(step as u8);
    let mut before = first.time;
    for event in events {
        varint::put(out, (event.time.0 - before.0) >> step);
        before = event.time;
    }
    let mut before = Gfn(0);
    for event in events {
        varint::put(out, varint::zigzag(event.gfn.0.wrapping_sub(before.0)));
        before = event.gfn;
    }
    encode_actors(events, out);
    Ok(())
}

/// The log2 of the clock's step, as far as the events show it: no bit below it differs.
fn clock_step(events: &[Access]) -> u32 {
    let between = events.windows(2).fold(0, |bits, pair| bits | (pair[1].time.0 - pair[0].time.0));
    between.trailing_zeros().min(MOST_STEP)
}

fn check(events: &[Access]) -> Result<(), &'static str> {
    if !events.is_sorted_by_key(|event| event.time) {
        return Err("its events are not in the order of their time");
    }
    if events.iter().any(|event| event.gfn.0 >= MemSlots::MAX_FRAMES) {
        return Err("an event names a page beyond all memory");
    }
    Ok(())
}

fn encode_actors(events: &[Access], out: &mut Vec<u8>) {
    let mut numbers: HashMap<Actor, u64> = HashMap::new();
    let mut actors = Vec::new();
    let mut column = Vec::with_capacity(events.len());
    for event in events {
        let actor = Actor::of(event);
        let number = *numbers.entry(actor).or_insert_with(|| {
            actors.push(actor);
            actors.len() as u64 - 1
        });
        varint::put(&mut column, number);
    }
    varint::put(out, actors.len() as u64);
    for actor in &actors {
        out.push(actor.what);
        varint::put(out, u64::from(actor.cpu));
        varint::put(out, u64::from(actor.tid));
    }
    out.append(&mut column);
}

pub(super) fn decode(start: Nanos, cursor: &mut Cursor<'_>, budget: &mut Budget) -> Result<Vec<Access>, Damage> {
    let count = cursor.count(LEAST)?;
    if count == 0 {
        return Ok(Vec::new());
    }
    budget.take(count as u64 * size_of::<Access>() as u64)?;
    let mut events = Vec::with_capacity(count);
    let blank = Access { time: start, gfn: Gfn(0), kind: KINDS[0], origin: ORIGINS[0], cpu: 0, tid: 0 };
    let mut time = start.0.wrapping_add(varint::unzigzag(cursor.number()?));
    let step = u32::from(cursor.byte()?);
    if step > MOST_STEP {
        return Err(Damage::Malformed("its clock has an impossible step"));
    }
    for _ in 0..count {
        let after = cursor.number()?;
        let next = after.checked_shl(step).filter(|shifted| shifted >> step == after).and_then(|after| time.checked_add(after));
        time = next.ok_or(Damage::Malformed("an event lies beyond the end of time"))?;
        events.push(Access { time: Nanos(time), ..blank });
    }
    let mut gfn = 0u64;
    for event in &mut events {
        gfn = gfn.wrapping_add(varint::unzigzag(cursor.number()?));
        if gfn >= MemSlots::MAX_FRAMES {
            return Err(Damage::Malformed("an event names a page beyond all memory"));
        }
        event.gfn = Gfn(gfn);
    }
    decode_actors(&mut events, cursor, budget)?;
    Ok(events)
}

fn decode_actors(events: &mut [Access], cursor: &mut Cursor<'_>, budget: &mut Budget) -> Result<(), Damage> {
    let count = cursor.count(LEAST_ACTOR)?;
    budget.take(count as u64 * size_of::<Access>() as u64)?;
    let mut actors = Vec::with_capacity(count);
    for _ in 0..count {
        let what = cursor.byte()?;
        let kind = KINDS.get(usize::from(what & 15)).ok_or(Damage::Malformed("an access of unknown kind"))?;
        let origin = ORIGINS.get(usize::from(what >> 4)).ok_or(Damage::Malformed("an access of unknown origin"))?;
        let cpu = u16::try_from(cursor.number()?).map_err(|_| Damage::Malformed("a CPU number is too large"))?;
        let tid = u32::try_from(cursor.number()?).map_err(|_| Damage::Malformed("a thread number is too large"))?;
        actors.push((*kind, *origin, cpu, tid));
    }
    for event in events {
        let number = usize::try_from(cursor.number()?).unwrap_or(usize::MAX);
        let actor = actors.get(number).ok_or(Damage::Malformed("an event names an actor that is not there"))?;
        (event.kind, event.origin, event.cpu, event.tid) = *actor;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use pagesieve_core::{AccessKind, Origin};

    use super::*;

    #[test]
    fn the_numbers_of_kinds_and_origins_are_those_of_the_format() {
        for (number, kind) in KINDS.into_iter().enumerate() {
            assert_eq!(kind as usize, number);
        }
        for (number, origin) in ORIGINS.into_iter().enumerate() {
            assert_eq!(origin as usize, number);
        }
        assert_eq!((AccessKind::Write as u8, Origin::Gup as u8), (1, 2));
    }
}
