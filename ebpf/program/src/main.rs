//! The kernel side of Pagesieve: page faults, discards and forks of one process.
//!
//! The programs run for every fault of the host, so each asks first whether it concerns the target and leaves at once if not.
#![no_std]
#![no_main]

mod access;
mod control;
mod faults;
mod maps;
mod syscalls;

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    // The verifier accepts no program that could get here.
    loop {}
}

// "Dual" lets the program use helpers that the kernel reserves for GPL code.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
