//! One page: is it zero, and how much of it changed?
#![allow(missing_docs, reason = "the macros of criterion make public items")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use pagesieve_benches::{noise, scattered};
use pagesieve_core::delta::{xbzrle, zero};

const PAGE: usize = 4096;

fn delta(c: &mut Criterion) {
    let mut group = c.benchmark_group("page");
    group.throughput(Throughput::Bytes(PAGE as u64));
    let old = noise(7, PAGE);
    let mut late = vec![0; PAGE];
    late[PAGE - 1] = 1;
    group.bench_function("zero test, all zero", |b| {
        let page = vec![0; PAGE];
        b.iter(|| zero::is_zero(black_box(&page)));
    });
    group.bench_function("zero test, last byte set", |b| b.iter(|| zero::is_zero(black_box(&late))));
    group.bench_function("zero test, noise", |b| b.iter(|| zero::is_zero(black_box(&old))));
    for changed in [0, 64, 512] {
        let new = scattered(&old, changed);
        let mut out = Vec::with_capacity(PAGE);
        let limit = PAGE - 1;
        assert!(xbzrle::encode(&old, &new, &mut out, limit).is_some(), "a delta of {changed} bytes pays");
        group.bench_function(format!("xbzrle encode, {changed} bytes changed"), |b| {
            b.iter(|| {
                out.clear();
                xbzrle::encode(black_box(&old), black_box(&new), &mut out, limit)
            });
        });
        group.bench_function(format!("xbzrle length, {changed} bytes changed"), |b| {
            b.iter(|| xbzrle::encoded_len(black_box(&old), black_box(&new), limit));
        });
        let mut page = old.clone();
        group.bench_function(format!("xbzrle decode, {changed} bytes changed"), |b| {
            b.iter(|| xbzrle::decode(black_box(&out), &mut page));
        });
        assert_eq!(page, new, "what is decoded is what was encoded");
    }
    group.finish();
}

criterion_group!(benches, delta);
criterion_main!(benches);
