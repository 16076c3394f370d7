//! Sets of pages: what closing an epoch does with them. The sets speak for 4 GiB of memory.
#![allow(missing_docs, reason = "the macros of criterion make public items")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use pagesieve_benches::pages;

const END: u64 = 1 << 20;

fn bitmap(c: &mut Criterion) {
    let mut group = c.benchmark_group("bitmap");
    group.throughput(Throughput::Elements(END));
    let scattered = pages(END, |gfn| gfn % 10 == 3);
    let runs = pages(END, |gfn| gfn % 1024 < 100);
    group.bench_function("union", |b| {
        let mut all = scattered.clone();
        b.iter(|| all.union_with(black_box(&runs)));
    });
    group.bench_function("subtract", |b| {
        let mut rest = scattered.clone();
        b.iter(|| rest.subtract(black_box(&runs)));
    });
    group.bench_function("count", |b| b.iter(|| black_box(&scattered).count()));
    for (name, set) in [("scattered", &scattered), ("runs", &runs)] {
        group.bench_function(format!("pages, {name}"), |b| b.iter(|| black_box(set).iter().map(|gfn| gfn.0).sum::<u64>()));
        group.bench_function(format!("ranges, {name}"), |b| b.iter(|| black_box(set).ranges().count()));
    }
    group.finish();
}

criterion_group!(benches, bitmap);
criterion_main!(benches);
