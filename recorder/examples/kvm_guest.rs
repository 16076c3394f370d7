//! The smallest guest that KVM can run: code of a few bytes that writes a word into pages of its memory, round after round.
//!
//! No thread of this process writes that memory, so its writes reach the kernel as faults of KVM alone. A recording of it shows
//! whether such writes are seen. Usage: `kvm_guest [PAGES] [anonymous|memfd|huge] [SECONDS]`.

use std::io;
use std::ptr;
use std::time::{Duration, Instant};

use kvm_bindings::{kvm_regs, kvm_segment, kvm_userspace_memory_region};
use kvm_ioctls::{Kvm, VcpuExit, VcpuFd, VmFd};
use pagesieve_recorder::Handover;

const PAGE: usize = 4096;
const HUGE: usize = 2 << 20;
/// Where the guest finds its code: beyond all data. The page is too small to be tracked.
const CODE_AT: u64 = 0xf000_0000;
/// Writes EAX to EDI, steps by EDX, ECX times, and halts.
const CODE: [u8; 8] = [
    0x89, 0x07, // again: mov [edi], eax
    0x01, 0xd7, // add edi, edx
    0x49, // dec ecx
    0x75, 0xf9, // jnz again
    0xf4, // hlt
];
/// Time between two rounds.
const PAUSE: Duration = Duration::from_millis(100);
/// Rounds step by one page, by two, up to this many.
const LONGEST_STEP: u32 = 4;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let pages: u32 = arguments.next().map_or(Ok(1024), |text| text.parse())?;
    let backing = arguments.next().unwrap_or_else(|| "anonymous".to_owned());
    let seconds: u64 = arguments.next().map_or(Ok(10), |text| text.parse())?;

    let handover = Handover::announce()?;
    let vm = Kvm::new()?.create_vm()?;
    give_memory(&vm, 0, 0, map(pages as usize * PAGE, &backing)?, pages as usize * PAGE)?;
    let code = map(PAGE, "anonymous")?;
    // SAFETY: the page was just mapped for writing, and the code is shorter.
    unsafe { ptr::copy_nonoverlapping(CODE.as_ptr(), code, CODE.len()) };
    give_memory(&vm, 1, CODE_AT, code, PAGE)?;
    let mut cpu = flat_cpu(&vm)?;

    // The guest itself touches all of its memory first, so that huge pages are there before they are armed.
    round(&mut cpu, 0, pages)?;
    if let Some(handover) = handover {
        handover.ready()?;
    }
    let deadline = Instant::now() + Duration::from_secs(seconds);
    let mut number = 1;
    while Instant::now() < deadline {
        round(&mut cpu, number, pages)?;
        number += 1;
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

/// Lets the guest write the number of the round into every page, every second, and so on.
fn round(cpu: &mut VcpuFd, number: u32, pages: u32) -> Result<(), Failure> {
    let step = 1 + number % LONGEST_STEP;
    cpu.set_regs(&kvm_regs {
        rip: CODE_AT,
        rflags: 2,
        rax: u64::from(number) + 1,
        rdi: 0,
        rdx: u64::from(step) * PAGE as u64,
        rcx: u64::from(pages.div_ceil(step)),
        ..kvm_regs::default()
    })?;
    loop {
        match cpu.run() {
            Ok(VcpuExit::Hlt) => return Ok(()),
            Ok(exit) => return Err(format!("the guest left its code: {exit:?}").into()),
            // A recorder stops and continues us.
            Err(error) if [libc::EINTR, libc::EAGAIN].contains(&error.errno()) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// A CPU in protected mode, with segments over all of memory and no paging.
fn flat_cpu(vm: &VmFd) -> Result<VcpuFd, Failure> {
    let cpu = vm.create_vcpu(0)?;
    let mut special = cpu.get_sregs()?;
    let data = kvm_segment { base: 0, limit: u32::MAX, selector: 16, type_: 3, present: 1, s: 1, db: 1, g: 1, ..special.ds };
    special.cs = kvm_segment { selector: 8, type_: 11, ..data };
    (special.ds, special.es, special.ss) = (data, data, data);
    special.cr0 |= 1;
    cpu.set_sregs(&special)?;
    Ok(cpu)
}

fn give_memory(vm: &VmFd, slot: u32, at: u64, memory: *mut u8, length: usize) -> Result<(), Failure> {
    let region = kvm_userspace_memory_region {
        slot,
        guest_phys_addr: at,
        memory_size: length as u64,
        userspace_addr: memory as u64,
        flags: 0,
    };
    // SAFETY: the memory is mapped for as long as this process lives, and nothing here relies on what it holds.
    unsafe { vm.set_user_memory_region(region)? };
    Ok(())
}

/// Memory that stays mapped until the process ends: anonymous without huge pages, a memfd, or anonymous with huge pages.
fn map(length: usize, backing: &str) -> Result<*mut u8, Failure> {
    let (flags, file, advice) = match backing {
        "anonymous" => (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, Some(libc::MADV_NOHUGEPAGE)),
        "huge" => (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, Some(libc::MADV_HUGEPAGE)),
        "memfd" => (libc::MAP_SHARED, memfd(length)?, None),
        other => return Err(format!("no backing `{other}`: choose anonymous, memfd or huge").into()),
    };
    // A huge page begins at a multiple of its size; the bytes before are given back.
    let spare = if advice == Some(libc::MADV_HUGEPAGE) { HUGE } else { 0 };
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping at an address of the kernel's choice touches no other memory.
    let at = unsafe { libc::mmap(ptr::null_mut(), length + spare, protection, flags, file, 0) };
    if at == libc::MAP_FAILED {
        return Err(io::Error::last_os_error().into());
    }
    let lead = if spare == 0 { 0 } else { at.cast::<u8>().align_offset(HUGE) };
    // SAFETY: what is unmapped, pointed at and advised lies inside the mapping just made.
    unsafe {
        if spare > 0 {
            if lead > 0 {
                libc::munmap(at, lead);
            }
            libc::munmap(at.add(lead + length), spare - lead);
        }
        let at = at.add(lead);
        if let Some(advice) = advice {
            libc::madvise(at, length, advice);
        }
        Ok(at.cast())
    }
}

fn memfd(length: usize) -> io::Result<i32> {
    // SAFETY: the name is a C string, and the results are checked.
    let file = unsafe { libc::memfd_create(c"guest-ram".as_ptr(), libc::MFD_CLOEXEC) };
    // SAFETY: numbers only.
    if file < 0 || unsafe { libc::ftruncate(file, length as libc::off_t) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(file)
}
