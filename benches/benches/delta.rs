//! One page: is it zero, how much of it changed, and how is it put together again?
//!
//! Absolute times are of little use on a shared machine, so after the usual benchmarks comes a table of ratios: each case is timed
//! in turns with a `==` of two equal pages (a `memcmp`), and the table gives how many times longer it takes. Min is the shortest
//! time of the case over the shortest of `==`; median is that of the ratios of single rounds.
#![allow(missing_docs, reason = "the macros of criterion make public items")]

use std::hint::black_box;
use std::time::Instant;

use criterion::{Criterion, Throughput, criterion_group};
use pagesieve_benches::{noise, scattered};
use pagesieve_core::delta::{NoCompression, encode_block, fingerprint, xbzrle, zero};

const PAGE: usize = 4096;
const LIMIT: usize = PAGE - 1;

/// New versions of a page of noise, several where it matters where the changes lie.
fn cases(old: &[u8]) -> Vec<(String, Vec<Vec<u8>>)> {
    let mut cases = vec![("unchanged".to_owned(), vec![old.to_vec()])];
    for changed in [1, 64, 512] {
        cases.push((format!("{changed} even"), vec![scattered(old, changed)]));
        cases.push((format!("{changed} random"), (1..=32).map(|seed| at_random(old, changed, seed)).collect()));
    }
    cases.push(("all differ".to_owned(), vec![old.iter().map(|byte| !byte).collect()]));
    cases.push(("other noise".to_owned(), vec![noise(99, PAGE)]));
    cases
}

/// `page` with `changed` different bytes changed, at pseudo-random places.
fn at_random(page: &[u8], changed: usize, seed: u64) -> Vec<u8> {
    let mut new = page.to_vec();
    let places = noise(seed * 0x9e37_79b9, 1 << 16);
    let mut left = changed;
    for place in places.as_chunks::<2>().0.iter().map(|place| usize::from(u16::from_le_bytes(*place)) % page.len()) {
        if left > 0 && new[place] == page[place] {
            new[place] ^= 0xff;
            left -= 1;
        }
    }
    assert_eq!(left, 0, "there are enough places");
    new
}

fn pages(c: &mut Criterion) {
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
    group.bench_function("fingerprint", |b| b.iter(|| fingerprint(black_box(&old))));
    for (name, versions) in cases(&old) {
        let mut out = Vec::with_capacity(2 * PAGE);
        let mut turn = versions.iter().cycle();
        group.bench_function(format!("xbzrle encode, {name}"), |b| {
            b.iter(|| {
                out.clear();
                xbzrle::encode(black_box(&old), black_box(turn.next().unwrap_or(&old)), &mut out, LIMIT)
            });
        });
        group.bench_function(format!("xbzrle length, {name}"), |b| {
            b.iter(|| xbzrle::encoded_len(black_box(&old), black_box(turn.next().unwrap_or(&old)), LIMIT));
        });
        out.clear();
        if xbzrle::encode(&old, &versions[0], &mut out, LIMIT).is_none() {
            continue;
        }
        let mut page = old.clone();
        xbzrle::decode(&out, &mut page).expect("it was encoded here");
        assert_eq!(page, versions[0], "what is decoded is what was encoded");
        group.bench_function(format!("xbzrle decode, {name}"), |b| b.iter(|| xbzrle::decode(black_box(&out), &mut page)));
    }
    group.finish();
}

fn blocks(c: &mut Criterion) {
    let mut group = c.benchmark_group("block of 64 KiB");
    group.throughput(Throughput::Bytes(16 * PAGE as u64));
    let old = noise(3, 16 * PAGE);
    group.bench_function("fingerprint", |b| b.iter(|| fingerprint(black_box(&old))));
    for changed in [0, 16, 1024] {
        let new = scattered(&old, changed);
        let mut out = Vec::with_capacity(32 * PAGE);
        group.bench_function(format!("encode, {changed} bytes changed"), |b| {
            b.iter(|| {
                out.clear();
                encode_block(black_box(&new), Some(black_box(&old)), &mut NoCompression, &mut out)
            });
        });
    }
    group.finish();
}

/// Runs the cases in turns with `==` and gives a line of the table for each: how often longer encode, length and decode take.
fn ratios(rounds: usize, repeat: usize) -> Vec<String> {
    let old = noise(7, PAGE);
    let twin = old.clone();
    let mut lines = vec![];
    for (name, versions) in cases(&old) {
        let mut out = Vec::with_capacity(2 * PAGE);
        let mut deltas = versions.clone();
        for (delta, version) in deltas.iter_mut().zip(&versions) {
            delta.clear();
            xbzrle::encode(&old, version, delta, LIMIT);
        }
        let mut page = old.clone();
        let mut samples: [Vec<f64>; 4] = Default::default();
        for _ in 0..rounds {
            let mut time = |at: usize, work: &mut dyn FnMut(usize)| {
                let begin = Instant::now();
                (0..repeat).for_each(|turn| work(turn % versions.len()));
                samples[at].push(begin.elapsed().as_secs_f64() / repeat as f64);
            };
            time(0, &mut |_| assert!(black_box(&old) == black_box(&twin)));
            time(1, &mut |turn| {
                out.clear();
                black_box(xbzrle::encode(black_box(&old), black_box(&versions[turn]), &mut out, LIMIT));
            });
            time(2, &mut |turn| {
                black_box(xbzrle::encoded_len(black_box(&old), black_box(&versions[turn]), LIMIT));
            });
            time(3, &mut |turn| {
                black_box(xbzrle::decode(black_box(&deltas[turn]), &mut page)).expect("it was encoded here");
            });
        }
        let equal = &samples[0];
        let mut columns: Vec<String> = samples[1..].iter().map(|case| compare(case, equal)).collect();
        if xbzrle::encoded_len(&old, &versions[0], LIMIT).is_none() {
            columns[2] = "-".to_owned();
        }
        let speed = PAGE as f64 / least(&samples[1]) / 1e9;
        lines.push(format!("| {name} | {} | {speed:.1} |", columns.join(" | ")));
    }
    lines
}

fn least(samples: &[f64]) -> f64 {
    samples.iter().copied().fold(f64::INFINITY, f64::min)
}

/// "min / median" of the times of `case` over those of `base`.
fn compare(case: &[f64], base: &[f64]) -> String {
    let mut single: Vec<f64> = case.iter().zip(base).map(|(case, base)| case / base).collect();
    single.sort_by(f64::total_cmp);
    format!("{:.2} / {:.2}", least(case) / least(base), single[single.len() / 2])
}

criterion_group!(benches, pages, blocks);

#[expect(clippy::print_stdout, reason = "the table is the result")]
fn main() {
    benches();
    Criterion::default().configure_from_args().final_summary();
    // `cargo test` runs everything once.
    if std::env::args().any(|argument| argument == "--bench") {
        println!("\nTimes `==` of two equal pages, min / median:\n");
        println!("| bytes changed | encode | length | decode | encode, GB/s at best |\n|---|---|---|---|---|");
        ratios(400, 320).iter().for_each(|line| println!("{line}"));
    } else {
        assert!(!ratios(1, 32).is_empty());
    }
}
