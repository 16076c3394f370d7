//! A network that nobody else is in, so that its counters count a migration and nothing else.

use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, ensure};

/// Says that this process is in a network of its own already.
const INSIDE: &str = "PAGESIEVE_BENCH_INSIDE";

/// Starts this program again in a network namespace with only a loopback device. Returns in the new one.
pub(crate) fn enter_own_network() -> anyhow::Result<()> {
    if std::env::var_os(INSIDE).is_none() {
        let mut command = Command::new("unshare");
        command.arg("--net").arg(std::env::current_exe()?).args(std::env::args_os().skip(1)).env(INSIDE, "1");
        return Err(command.exec()).context("failed to start `unshare`; install util-linux, and run this as root");
    }
    let up = Command::new("ip").args(["link", "set", "lo", "up"]).status();
    let up = up.context("failed to start `ip`; install iproute2")?;
    ensure!(up.success(), "failed to start the loopback device");
    Ok(())
}

/// Bytes that have gone over the loopback device, in both directions, with all headers.
pub(crate) fn bytes() -> anyhow::Result<u64> {
    let devices = std::fs::read_to_string("/proc/self/net/dev")?;
    sent(&devices).context("there is no loopback device")
}

/// The ninth figure of a device is what it has sent. Whatever loopback sends it also receives.
fn sent(devices: &str) -> Option<u64> {
    let counters = devices.lines().find_map(|line| line.trim().strip_prefix("lo:"))?;
    counters.split_whitespace().nth(8)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_sent_are_read_from_the_right_place() {
        let devices = "Inter-|   Receive   |  Transmit\n eth0: 1 2 3 4 5 6 7 8 9 10\n    lo: 11 12 13 14 15 16 17 18 4711 20\n";
        assert_eq!(sent(devices), Some(4711));
        assert!(bytes().is_ok());
    }
}
