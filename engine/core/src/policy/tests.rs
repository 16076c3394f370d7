use alloc::string::ToString;

use super::*;
use crate::evidence::{Evidence, SkipReason};
use crate::{Access, AccessKind, Backing, Epoch, Hva, MemSlot, MemSlots, Origin};

/// Verdicts of a kind on a block of two pages, of which the second may have been touched at time 1, judged at time 8.
fn judge(kind: PolicyKind, proven: bool, touched: bool) -> Verdict {
    let mut slots = MemSlots::new();
    slots.insert(MemSlot { base: Gfn(0), pages: 2, hva: Hva(0), backing: Backing::Shared, numa_node: None }).unwrap();
    let mut evidence = Evidence::new(&slots, Epoch(1), true);
    if proven {
        evidence.set_held(0..2, Epoch(0), false);
    }
    let mut tracker = Tracker::new(2, Nanos(10 << 10), 1);
    if touched {
        let kind = AccessKind::Read;
        tracker.record(Access { time: Nanos(1 << 10), gfn: Gfn(1), kind, origin: Origin::User, cpu: 0, tid: 0 });
    }
    let view = BlockView {
        pages: 0..2,
        proof: evidence.proof(0..2),
        tracker: &tracker,
        redirty: &Redirty::new(2),
        now: Nanos(8 << 10),
        handover_ahead: true,
        round_time: Nanos(5),
    };
    kind.build().judge(&view)
}

#[test]
fn sound_policies_skip_with_proof_only() {
    for kind in PolicyKind::ALL.into_iter().filter(|kind| kind.is_sound()) {
        for touched in [false, true] {
            let verdict = judge(kind, false, touched);
            assert!(matches!(verdict, Verdict::Read | Verdict::Defer(_)), "{kind}: {verdict:?}");
        }
    }
    assert!(matches!(judge(PolicyKind::Proven, true, true), Verdict::Skip(proof) if proof.reason() == SkipReason::Unchanged));
}

#[test]
fn each_policy_keeps_its_word() {
    assert_eq!(judge(PolicyKind::SendAll, true, false), Verdict::Read);
    assert_eq!(judge(PolicyKind::Aging, false, true), Verdict::Defer(DeferReason::Hot));
    assert_eq!(judge(PolicyKind::Aging, false, false), Verdict::Read);
    assert!(matches!(judge(PolicyKind::Aging, true, true), Verdict::Skip(_)), "a proof needs no patience");
    assert_eq!(judge(PolicyKind::Adaptive, false, true), Verdict::Defer(DeferReason::Hot));
    assert_eq!(judge(PolicyKind::Predictive, false, true), Verdict::Read, "an access is no rhythm of writes");
    assert_eq!(judge(PolicyKind::AgingLiteral, false, false), Verdict::PresumeUnused);
    assert_eq!(judge(PolicyKind::AgingLiteral, true, true), Verdict::Read);
}

#[test]
fn names_round_trip_and_a_wrong_one_lists_the_right_ones() {
    for kind in PolicyKind::ALL {
        assert_eq!(kind.to_string().parse(), Ok(kind));
    }
    let error = "lru".parse::<PolicyKind>().unwrap_err().to_string();
    assert_eq!(error, "no such policy; use one of send-all, proven, aging, adaptive, predictive, aging-literal");
}
